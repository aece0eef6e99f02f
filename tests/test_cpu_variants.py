"""The CPU kernels under sanitizers, and with vectors of other widths, which must give the same bits."""

import json
import shutil
import subprocess
import sys

import pytest

from gpunet.backend import cpu_library
from tests.cpu_variants import ROOT, copy_sources, environment, make_variant, run_tests

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not cpu_library.on_tried_platform(), reason="CPU kernels are built on Linux x86-64"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++"),
]


def sanitizer_library(name):
    """The path of a sanitizer's runtime, which must be in the process from its beginning."""
    found = subprocess.run(["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    path = found.stdout.strip()
    if "/" not in path:
        pytest.skip(f"g++ has no {name}")
    return path


def test_no_access_outside_of_arrays_and_nothing_undefined(tmp_path):
    flags = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert make_variant(tmp_path / "asan", *flags)
    others = {"LD_PRELOAD": sanitizer_library("libasan.so"), "ASAN_OPTIONS": "detect_leaks=0"}
    done = run_tests(tmp_path / "asan", **others)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def under_thread_sanitizer():
    """The variables of a process that uses libraries with it."""
    return {
        "LD_PRELOAD": sanitizer_library("libtsan.so"),
        "TSAN_OPTIONS": "halt_on_error=1 exitcode=66 die_after_fork=0",
        "OPENBLAS_NUM_THREADS": "1",  # its own threads synchronise in ways that the sanitizer does not know
    }


def test_no_race_between_threads(tmp_path):
    assert make_variant(tmp_path / "tsan", "-O1", "-g", "-fsanitize=thread")
    done = run_tests(tmp_path / "tsan", "-k", "threads", **under_thread_sanitizer())
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


# What a careless author might have written in threads.h: (what stands there, what would stand there).
FAULTS = {
    "a part too many": ("if (part >= parts) return", "if (part > parts) return"),
    "parts are left out": ("__atomic_fetch_add(&next, 1", "__atomic_fetch_add(&next, 2"),
    "a ticket is given twice": ("__atomic_fetch_add(&next, 1, __ATOMIC_RELAXED)", "next++"),
    "nobody waits for helpers": ("__ATOMIC_ACQUIRE) > 0", "__ATOMIC_ACQUIRE) > 99"),
    "the end is not announced": ("__ATOMIC_RELEASE);", "__ATOMIC_RELAXED);"),
    "helpers join a job that is over": ("&team.wanted, 0,", "&team.wanted, 1,"),
    "two callers at a time": ("pthread_mutex_trylock(&team.called) != 0", "false"),
    "a fork counts on helpers that it has not": ("team = NOBODY; }", "}"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_team_of_threads_is_noticed(fault, tmp_path):
    right, wrong = FAULTS[fault]
    folder = copy_sources(tmp_path / "fault")
    source = (folder / "threads.h").read_text(encoding="utf-8")
    assert source.count(right) == 1
    (folder / "threads.h").write_text(source.replace(right, wrong), encoding="utf-8")
    kernels = '#include "elementwise.h"\n#include "threads.h"\n'  # all that the tests need
    kernels += 'extern "C" __attribute__((visibility("default"))) const char* source_hash() { return SOURCE_HASH; }\n'
    (folder / "kernels.cpp").write_text(kernels, encoding="utf-8")
    assert make_variant(folder, "-O1", "-g", "-fsanitize=thread")
    done = run_tests(folder, "tests/test_cpu_threads.py", timeout=300, **under_thread_sanitizer())
    assert done.returncode != 0


def test_every_width_of_vector_gives_the_same_bits(tmp_path):
    """Those of SSE, AVX and AVX-512, all compiled for AVX2: what does not fit a register takes several."""
    digests = {}
    for width in (16, 32, 64):
        assert make_variant(tmp_path / str(width), "-UVECTOR_BYTES", f"-DVECTOR_BYTES={width}", "-O2")
        command = [sys.executable, "-m", "tests.cpu_bits"]
        done = subprocess.run(
            command, cwd=ROOT, env=environment(tmp_path / str(width)), capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr[-4000:]
        digests[width] = json.loads(done.stdout)
    assert digests[16] == digests[32] == digests[64]


def test_every_build_that_runs_here_gives_the_same_bits():
    digests = []
    for name in cpu_library.built():
        if cpu_library.BUILDS[name] > cpu_library.BUILDS[cpu_library.build_name()]:
            continue
        command = [sys.executable, "-m", "tests.cpu_bits", "--train"]
        variables = {**environment(""), "GPUNET_CPU_BUILD": name}
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-4000:]
        digests.append(json.loads(done.stdout))
    if len(digests) < 2:
        pytest.skip("this machine runs one build alone")
    assert all(each == digests[0] for each in digests)
