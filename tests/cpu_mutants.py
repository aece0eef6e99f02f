"""Do the tests of the CPU kernels bite? Bugs made by rule, one at a time: `python -m tests.cpu_mutants`.

Every operator, number and bound in raw_kernels/cpu/*.h is a place for a mutant. Of all some are drawn by a seed,
compiled with AddressSanitizer and put in the place of the kernels of their file; then every case of tests/passes/ runs:
values against the page, NaN and infinity, the same bits on several threads and at other addresses. A mutant is caught
when a comparison fails, the sanitizer reports an access outside of an array, or nothing comes back in time.
"""

import argparse
import collections
import contextlib
import ctypes
import hashlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from setup import BUILDS, FLAGS
from tests.cpu_variants import ROOT, SOURCES, copy_sources

SECONDS = 60  # of the processor, for all cases of a file; a mutant that takes longer hangs
NOT_JUDGED = {"peak.h", "threads.h"}  # one measures how fast multiply-adds are, the other has no kernel to compare

# What stands in a line, and what a careless author might have written there.
RULES = [
    (r"(?<![+\-*/=<>!&|])\+(?![+=])", "-"),
    (r"(?<=[\w\])] )-(?![-=>])", "+"),
    (r"(?<=[\w\])] )\*(?= [\w(])", "+"),
    (r"(?<=[\w\])] )/(?= [\w(])", "*"),
    (r"(?<=[\w\])] )%(?= [\w(])", "/"),
    (r"\+=", "="),
    (r"(?<= )<(?= )", "<="),
    (r"(?<= )<=(?= )", "<"),
    (r"(?<= )>(?= )", ">="),
    (r"(?<= )>=(?= )", ">"),
    (r"==", "!="),
    (r"!=", "=="),
    (r"&&", "||"),
    (r"\|\|", "&&"),
    (r"\bsmaller\(", "larger("),
    (r"\blarger\(", "smaller("),
    (r"(?<![\w.])\d+(?![\w.])", lambda number: str(int(number) + 1)),
]
# Not code, or nothing that a result depends on: declarations, and constants that say how the work is cut.
LEFT_OUT = re.compile(
    r"\s*(#|KERNEL|typedef|template|static_assert|UNROLL$|__builtin_prefetch|struct|extern|namespace)|.*constexpr"
    r"|\s*(const )?(float|double|i64|int|unsigned char)\b[^=({]*;$"
    r"|.*SHUFFLE|[\s\d,]+\d\)"  # tables of which lane comes from where: of most entries nobody reads what they yield
    # Which of two ways leads to the same numbers, how large steps or buffers are: the other is right, too, and slower.
    r"|.*(__builtin_prefetch|<= PATCH|<= SUMS|SHORT_SUM|int terms = 0|4 \* LANES <=|return at.groups == 1 &&|\] = {};$"
    r"|check \+=|/ WIDTH \* WIDTH|columns % 7)"
)

EXPLAINED: dict[str, str] = {
    "pooling.h: start < size ? smaller(kernel, divide_up(size - start, dilation)) : 0}; -> "
    "start <= size ? smaller(kernel, divide_up(size - start, dilation)) : 0};": "at start == size both are 0",
    "pooling.h: const i64 end = tile.end + shift > 0 ? smaller(out_width, divide_up(tile.end + shift, sw)) : 0; -> "
    "const i64 end = tile.end + shift > 0 ? smaller(out_width, divide_up(tile.end + shift, sw)) : 1;": (
        "the first tile of a row is wider than any window reaches, so it is never the second value"
    ),
    "convolution.h (2): UNROLL for (int p = 0; p < Block<P>::COUNT; p += HALF) { -> "
    "UNROLL for (int p = 0; p <= Block<P>::COUNT; p += HALF) {": (
        "beyond a piece's addresses lie those of the next one, which are written after it"
    ),
    "depthwise.h: for (i64 number = mine.first; number < mine.last; ++number) { -> "
    "for (i64 number = mine.first; number <= mine.last; ++number) {": "one item more, with the values it has anyway",
    "depthwise.h: Line line = {0, 0, 0, 0}; -> Line line = {0, 0, 0, 1};": "no line counts as whole: the slower way",
    "depthwise.h: if (t >= j && (t - j) % S == 0 && (t - j) / S < P) sum[(t - j) / S][v] += pixel * filter[j][v]; -> "
    "if (t >= j && (t + j) % S == 0 && (t - j) / S < P) sum[(t - j) / S][v] += pixel * filter[j][v];": (
        "S is 1 or 2, and t + j and t - j are odd together"
    ),
    "depthwise.h: const bool inside = at.row(p, i) >= 0 && at.row(p, i + I - 1) < at.height; -> "
    "const bool inside = at.row(p, i) >= 1 && at.row(p, i + I - 1) < at.height;": "the first row goes the slower way",
    "softmax.h: const mask whole = __builtin_convertvector(n == n ? n : vec{}, mask), half = whole >> 1; -> "
    "const mask whole = __builtin_convertvector(n == n ? n : vec{}, mask), half = whole >> 2;": (
        "the power of two is made of two factors, wherever it is parted"
    ),
    "softmax.h: if (bests[lane] > best || bests[lane] != bests[lane]) best = bests[lane]; -> "
    "if (bests[lane] >= best || bests[lane] != bests[lane]) best = bests[lane];": "equal values are equal",
    "batchnorm.h: partial[width + c] = variance < 0 ? 0 : variance; -> "
    "partial[width + c] = variance < 0 ? 1 : variance;": (
        "a guard: where rounding could make it negative the sums are taken again about the mean, and it is not"
    ),
}
"""Mutants that survive, by their key, and why no result can tell them from the original."""


@dataclass(frozen=True)
class Mutant:
    """One change in one line of a file."""

    file: str
    line: int
    before: str
    after: str
    again: int = 0  # how many lines above are the same

    @property
    def key(self):
        """What it is recognised by when lines above it come and go."""
        again = f" ({self.again + 1})" if self.again else ""
        return f"{self.file}{again}: {self.before.strip()} -> {self.after.strip()}"


def all_mutants():
    """Every place where a rule applies, in the order of the sources."""
    found = []
    for path in sorted(SOURCES.glob("*.h")):
        if path.name in NOT_JUDGED:
            continue
        lines = collections.Counter()
        for number, whole in enumerate(path.read_text(encoding="utf-8").splitlines()):
            code = whole.partition("//")[0].rstrip()
            if not code or LEFT_OUT.match(code):
                continue
            again = lines[code.strip()]
            lines[code.strip()] += 1
            for pattern, other in RULES:
                for match in re.finditer(pattern, code):
                    put = other(match[0]) if callable(other) else other
                    changed = code[: match.start()] + put + code[match.end() :]
                    found.append(Mutant(path.name, number, code, changed, again))
    return found


def drawn(seed, file=None):
    """All mutants (of a file) in an order of chance that a change of one line leaves to all others."""
    mutants = [mutant for mutant in all_mutants() if file in (None, mutant.file)]
    return sorted(mutants, key=lambda mutant: hashlib.sha256(f"{seed} {mutant.key}".encode()).digest())


# Compiling: the kernels that include the file, and no others


def compile_mutant(mutant, folder):
    """The library of a mutant (None: of all kernels as they are) and the names of its kernels.

    None where it does not compile.
    """
    copy_sources(folder)
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.h")}
    if mutant is not None:
        lines = texts[mutant.file].splitlines()
        lines[mutant.line] = mutant.after
        (folder / mutant.file).write_text("\n".join(lines) + "\n", encoding="utf-8")
        texts = {name: text for name, text in texts.items() if mutant.file in _included(name, texts)}
    includes = (f'#include "{name}"\n' for name, text in texts.items() if "\nKERNEL(" in text)
    (folder / "kernels.cpp").write_text("".join(includes), encoding="utf-8")
    names = re.findall(r"^KERNEL\((\w+),", "".join(texts.values()), re.M)
    usual = [flag for flag in (*FLAGS, *BUILDS["kernels_v3"][1]) if flag != "-O3"]
    flags = [
        *usual,
        "-O0",
        "-w",
        "-fsanitize=address,bounds",
        "-fno-sanitize-recover=all",
    ]  # -O1 compiles ten times as long
    target = folder / "mutant.so"
    command = [os.environ.get("CXX") or "g++", *flags, str(folder / "kernels.cpp"), "-lm", "-o", str(target)]
    if subprocess.run(command, capture_output=True).returncode:
        return None
    return target, names


def _included(name, texts):
    """A file and all that it includes, directly or not."""
    found = {name}
    for other in re.findall(r'^#include "([^"]+)"', texts[name], re.M):
        found |= _included(other, texts)
    return found


# Judging: a process that knows what is right, and forks for each mutant


def judge():
    """Read `library kernel ...` from stdin, a line each, and answer each with what became of it."""
    import numpy as np

    from gpunet.backend import cpu_kernels, set_num_threads, use_backend
    from tests import test_passes as suite

    use_backend("numpy")
    cpu_kernels.LEAST_WORK = 1  # so that small work is shared among threads, too
    set_num_threads(1)
    launched = set()
    usual = cpu_kernels.CpuKernel.address

    def noted(kernel):
        launched.add(kernel.name)
        return usual(kernel)

    cpu_kernels.CpuKernel.address = noted
    cases = []  # (names of kernels, run, case, page, exact, tolerance); without `exact` only NaN is looked at
    for name, one in suite.PASSES.items():
        for kernel in one.kernels.get("cpu", ()):
            makers = [(case, True) for case in suite.CASES[name].make(np.random.default_rng(0))]
            if suite.CASES[name].special:
                rng = np.random.default_rng(0)
                makers += [(suite.with_special_values(rng, case), False) for case in suite.CASES[name].make(rng)]
            for case, finite in makers:
                if not kernel.takes(*case):
                    continue
                with suite.without_kernels():
                    page = suite.call(one.page, suite.spared(name, case))
                    exact = (
                        suite.call(one.page, suite.each_array(suite.in_float64, suite.spared(name, case)))
                        if finite
                        else None
                    )
                launched.clear()
                suite.call(kernel.run, suite.spared(name, case))
                cases.append((set(launched), name, kernel.run, case, page, exact, suite.CASES[name].tolerance))

    def examine(path, names):
        opened = ctypes.CDLL(path)
        for name in set(names) & set(cpu_kernels.KERNELS):
            cpu_kernels.KERNELS[name]._address = ctypes.cast(getattr(opened, name), ctypes.c_void_p).value
        for used, name, run, case, page, exact, tolerance in cases:
            if not used & set(names):
                continue
            set_num_threads(1)
            got = suite.call(run, suite.spared(name, case))
            if exact is None:
                for value, want in zip(got, page, strict=True):
                    for special in (np.isnan, np.isposinf, np.isneginf):
                        np.testing.assert_array_equal(special(value), special(want))
                continue
            suite.assert_near(got, page, exact, tolerance)
            set_num_threads(3)
            suite.assert_same_bits(suite.call(run, suite.spared(name, case)), got)
            suite.assert_same_bits(suite.call(run, suite.each_array(suite.misaligned, case)), got)

    print("ready", flush=True)
    for line in sys.stdin:
        path, *names = line.split()
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            try:
                examine(path, names)
            except BaseException as error:
                if os.environ.get("SHOW"):
                    print(error, file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        answers = {0: "survived", 1: "caught", -signal.SIGXCPU: "hangs", -signal.SIGKILL: "hangs"}
        print(answers.get(code, "crashes"), flush=True)


# What nobody wrote is NaN, and no number that was right for another mutant.
ASAN_OPTIONS = "detect_leaks=0:exitcode=99:malloc_fill_byte=255:max_malloc_fill_size=1000000000"


class Judge:
    """A judging process, asked from here."""

    def __init__(self):
        runtime = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        variables = {"LD_PRELOAD": runtime.stdout.strip(), "ASAN_OPTIONS": ASAN_OPTIONS}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cpu_mutants", "--judge"],
            cwd=ROOT,
            env={**os.environ, **variables, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("SHOW") else subprocess.DEVNULL,
            text=True,
        )
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("the judge did not start; run it alone: python -m tests.cpu_mutants --judge")

    def ask(self, library, names):
        print(library, *names, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip() or "crashes"

    def close(self):
        self.process.stdin.close()  # after which it ends
        self.process.wait()
        self.process.stdout.close()


def verdicts(count, seed=0, file=None, workers=2, tell=lambda number, mutant, verdict: None):
    """So many mutants that compile, drawn by a seed, and for each what became of it."""
    left = iter(drawn(seed, file))
    lock, local, found = threading.Lock(), threading.local(), []

    def work(number):
        if not hasattr(local, "judge"):
            local.judge = Judge()
            judges.callback(local.judge.close)
        while True:
            with lock:
                mutant = next(left, None)
            if mutant is None:
                return
            with tempfile.TemporaryDirectory() as folder:
                made = compile_mutant(mutant, Path(folder) / "cpu")
                verdict = made and local.judge.ask(*made)
            if verdict:
                with lock:
                    found.append((mutant, verdict))
                    tell(len(found), mutant, verdict)
                return

    with contextlib.ExitStack() as judges, ThreadPoolExecutor(workers) as pool:
        list(pool.map(work, range(count)))
    return found


def nothing_changed():
    """What the judge says of all kernels as they are: anything but "survived" is a fault of the judge."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Judge()) as judge:
        return judge.ask(*compile_mutant(None, Path(folder) / "cpu"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("count", nargs="?", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", help="of this file alone, such as pooling.h")
    parser.add_argument("--judge", action="store_true", help="used by this program itself")
    options = parser.parse_args()
    if options.judge:
        judge()
        return
    print("unchanged:", nothing_changed(), flush=True)

    def tell(number, mutant, verdict):
        print(f"{number:4} {verdict:9}{mutant.key}", flush=True)

    found = verdicts(options.count, options.seed, options.file, tell=tell)
    survivors = [mutant.key for mutant, verdict in found if verdict == "survived"]
    print(json.dumps({"mutants": len(found), "caught": len(found) - len(survivors), "survivors": survivors}, indent=2))


if __name__ == "__main__":
    main()
