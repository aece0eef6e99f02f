"""The program for the first minutes on a GPU: it must get through whatever happens, and here it is rehearsed."""

import importlib
import json
import os
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import tools.first_light.__main__ as first_light
from gpunet.backend import use_backend
from gpunet.errors import BackendError
from gpunet.tensor import tensor
from tools.first_light import checks, processes, speed
from tools.first_light.processes import Results, Step, run_steps
from tools.first_light.settings import Settings

REHEARSAL, REAL = Settings(rehearse=True), Settings(rehearse=False)
SLEEP = "import time; time.sleep(600)"


def python(program):
    return [sys.executable, "-c", program]


def finding(name, **figures):
    """A program that finds something, without the time that it takes to import what finds it."""
    return f"import json; print({processes._MARK!r} + json.dumps({dict(name=name, **figures)!r}), flush=True)"


def run(folder, *steps, seconds=600.0):
    """What was found; the file of results must hold the same."""
    told = {}
    results = Results(folder / "results.json")
    run_steps(steps, results, folder / "log.txt", seconds, {}, told.__setitem__)
    assert json.loads((folder / "results.json").read_text())["steps"] == told
    return told


FINE = Step("fine", 60, [python(finding("it", ok=True))])


# ------------------------------------------------------------------------------------ whatever a step does, others run


def test_a_step_that_hangs_is_ended_at_its_limit(tmp_path):
    """And the processes that it has started; what it has found by then is kept."""
    child = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid, flush=True)"
    hangs = Step(
        "hangs", 1.0, [python(f"{finding('it', figure=3)}\n{child}\n{SLEEP}"), python("print('side by side')")]
    )
    told = run(tmp_path, hangs, FINE)
    assert told["hangs"]["state"] == "ended at its limit"
    assert told["hangs"]["found"] == [{"name": "it", "figure": 3}]
    assert told["hangs"]["exit codes"] == [None, 0]
    assert told["fine"]["state"] == "ok"
    [pid] = [int(line) for line in told["hangs"]["said"] if line.isdecimal()]
    assert is_gone(pid)


def is_gone(pid):
    """Whether a process has ended; one that nobody has waited for yet is a zombie."""
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("program", "code"), [("import os; os.abort()", -signal.SIGABRT), ("raise OSError('no such card')", 1)]
)
def test_a_step_that_crashes_does_not_stop_the_next(tmp_path, program, code):
    crashes = Step("crashes", 60, [python(f"{finding('it', ok=True)}\n{program}")])
    told = run(tmp_path, crashes, FINE)
    assert (told["crashes"]["state"], told["crashes"]["exit codes"]) == ("failed", [code])
    assert told["crashes"]["found"] == [{"name": "it", "ok": True}]
    assert told["fine"]["state"] == "ok"
    if code == 1:
        assert told["crashes"]["said"][-1] == "OSError: no such card"
        assert "OSError: no such card" in (tmp_path / "log.txt").read_text()


def test_a_program_that_is_not_there(tmp_path):
    told = run(tmp_path, Step("lost", 60, [[str(tmp_path / "nowhere")]]), FINE)
    assert told["lost"]["state"] == "failed"
    assert "nowhere" in told["lost"]["said"][0]
    assert told["fine"]["state"] == "ok"


def test_what_is_wrong_makes_a_step_fail(tmp_path):
    told = run(tmp_path, Step("wrong", 60, [python(finding("it", ok=False)), python(finding("other", ok=True))]))
    assert told["wrong"]["state"] == "failed"
    assert told["wrong"]["exit codes"] == [0, 0]


def test_all_of_them_have_one_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_LEAST_SECONDS", 0.2)
    hangs = Step("hangs", 600, [python(SLEEP)])
    told = run(tmp_path, hangs, replace(hangs, name="later"), replace(FINE, missing="no such tool"), seconds=0.5)
    assert [each["state"] for each in told.values()] == ["ended at its limit", "left out", "left out"]
    assert told["hangs"]["limit"] <= 0.5
    assert told["later"]["why"] == "no time was left"
    assert told["fine"]["why"] == "no such tool"


RUNS_STEPS = """
import sys
from pathlib import Path
from tools.first_light.processes import Results, Step, run_steps
folder = Path(sys.argv[1])
steps = [Step(str(i), 60, [[sys.executable, "-c", program]]) for i, program in enumerate(sys.argv[2:])]
run_steps(steps, Results(folder / "results.json"), folder / "log.txt", 600, {}, lambda *_: None)
"""


def test_results_are_whole_after_a_kill(tmp_path, processes):
    programs = [finding("it", ok=True), SLEEP]
    runner = processes([*python(RUNS_STEPS), tmp_path, *programs], start_new_session=True)
    results = tmp_path / "results.json"

    def steps():
        return json.loads(results.read_text())["steps"] if results.exists() else {}  # at any moment it can be read

    while "1" not in steps():
        assert runner.poll() is None
    runner.kill()
    assert runner.wait() == -signal.SIGKILL
    end_processes_that_say(str(tmp_path))
    assert steps()["0"]["found"] == [{"name": "it", "ok": True}]
    assert steps()["1"] == {"state": "running"}


def end_processes_that_say(text):
    """What the kill has left behind writes into a file of this folder."""
    for folder in os.listdir("/proc"):
        if folder.isdecimal() and int(folder) != os.getpid():
            try:
                if os.readlink(f"/proc/{folder}/fd/1").startswith(text):
                    os.kill(int(folder), signal.SIGKILL)
            except OSError:
                continue


def test_findings_are_json(capsys):
    """What has no number there, has a text."""
    processes.emit("it", ok=False, distance=float("inf"), of=np.nan)
    [line] = capsys.readouterr().out.splitlines()
    found, _ = processes._findings([line])
    assert found == [{"name": "it", "ok": False, "distance": "inf", "of": "nan"}]


def test_half_a_line_is_no_finding():
    assert processes._findings(['FOUND {"name": "it"}', "words", 'FOUND {"name": "ha']) == ([{"name": "it"}], ["words"])


# -------------------------------------------------------------------------------------------------------- the program


def test_the_plan(monkeypatch):
    monkeypatch.setattr(first_light, "find_sanitizer", lambda: "/somewhere/compute-sanitizer")
    planned = {step.name: step for step in first_light.plan(rehearse=False)}
    assert next(iter(planned)) == "environment"
    started = set()
    for step in planned.values():
        assert not step.missing
        for command in step.commands:
            assert "--rehearse" not in command
            started.add(command[command.index("--step") + 1])
    for module, names in first_light.MODULES.items():
        for name in names:
            started.remove(name)
            assert callable(getattr(importlib.import_module(f"tools.first_light.{module}"), name))
    assert not started
    assert planned["memcheck"].commands[0][:3] == ["/somewhere/compute-sanitizer", "--tool", "memcheck"]
    assert all("--rehearse" in command for step in first_light.plan(rehearse=True) for command in step.commands)


def test_without_a_sanitizer(monkeypatch, tmp_path):
    for name in ("PATH", "CUDA_PATH", "CUDA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    if first_light.find_sanitizer():
        pytest.skip("/usr/local/cuda has one")
    left_out = [step.name for step in first_light.plan(rehearse=False) if "not here" in step.missing]
    assert left_out == ["memcheck", "racecheck"]
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "compute-sanitizer"
    tool.touch(0o755)
    assert first_light.find_sanitizer() == str(tool)


def test_the_table(capsys):
    found = [{"name": "conv2d", "ok": True, "distance": 1e-7}, {"name": "linear", "ok": False, "error": "no"}]
    first_light.show("operations", {"state": "failed", "seconds": 3.25, "found": found, "said": ["a warning"]})
    first_light.show("bandwidth", {"state": "ok", "seconds": 1.0, "found": [{"name": "copy", "gb_per_second": 4321.5}]})
    first_light.show("memcheck", {"state": "left out", "why": "no time was left"})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "operations failed 3.2 s 1 of 2 are right",
        "linear WRONG error no",
        "| a warning",
        "bandwidth ok 1.0 s",
        "copy gb_per_second 4322",
        "memcheck left out no time was left",
    ]
    wrong = [{"name": str(number), "ok": False} for number in range(100)]
    first_light.show("gpu tests", {"state": "failed", "seconds": 1.0, "found": wrong})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + first_light.ROWS + 1
    assert lines[-1] == "    and 40 more, in results.json"


# ---------------------------------------------------------------------------------------------------------- the steps


@pytest.fixture
def found(monkeypatch):
    """What is emitted."""
    emitted = []
    for module in (checks, speed):
        monkeypatch.setattr(module, "emit", lambda name, **figures: emitted.append({"name": name, **figures}))
    return emitted


def numbers(*values):
    return lambda dtype: [tensor(np.array(values), dtype)]


def test_a_case_is_compared_with_float64(found):
    checks.compare(checks.Case("third", "float16", numbers(1 / 3)), "numpy")
    checks.compare(checks.Case("third", "float64", numbers(1 / 3)), "numpy")
    assert [(each["name"], each["ok"], each["repeats"]) for each in found] == [
        ("third, float16", True, True),
        ("third, float64", True, True),
    ]
    assert 0 < found[0]["distance"] < 1e-3
    assert found[1]["distance"] == 0


@pytest.mark.parametrize("values", [[(1, 2), (1, 2.1)], [(1, 2), (1, np.nan)], [(1, 2), (1, 2, 3)]])
def test_a_case_that_differs_is_wrong(values, found):
    expected, given = values
    calls = iter([expected, given, given])
    checks.compare(checks.Case("it", "float32", lambda dtype: numbers(*next(calls))(dtype)), "numpy")
    assert [each["ok"] for each in found] == [False]


def test_a_case_that_does_not_repeat_itself_is_wrong(found):
    calls = iter([1.0, 1.0, 1.0 + 1e-6])
    checks.compare(checks.Case("it", "float32", lambda dtype: numbers(next(calls))(dtype)), "numpy")
    assert [(each["ok"], each["repeats"]) for each in found] == [(False, False)]


def test_a_case_that_raises_is_wrong(found):
    def fails(dtype):
        raise MemoryError("no room")

    checks.compare(checks.Case("it", "float32", fails), "numpy")
    assert found == [{"name": "it, float32", "ok": False, "error": "MemoryError: no room"}]


def test_cases_have_every_operation_in_every_type():
    from tests.test_operations import OPERATIONS

    for dtype in ("float16", "float32", "float64"):
        of_type = {case.name.partition(" ")[0] for case in checks.cases() if case.dtype == dtype}
        assert {*OPERATIONS} - {"Dropout"} <= of_type


class Report:
    def __init__(self, nodeid, when, outcome, longrepr=""):
        self.nodeid, self.when, self.outcome, self.longrepr = nodeid, when, outcome, longrepr


def test_tests_are_counted_by_file(found):
    counts = checks._Counts()
    counts.pytest_runtest_logreport(Report("a.py::one", "setup", "passed"))
    counts.pytest_runtest_logreport(Report("a.py::one", "call", "passed"))
    counts.pytest_runtest_logreport(Report("a.py::two", "setup", "skipped"))
    counts.pytest_runtest_logreport(Report("b.py::one", "call", "failed", "line\nE   AssertionError: not so"))
    counts.pytest_runtest_logreport(Report("c.py::one", "setup", "skipped"))
    counts.close()
    assert found == [
        {"name": "a.py", "ok": True, "passed": 1, "skipped": 1},
        {"name": "b.py::one", "ok": False, "error": "E   AssertionError: not so"},
        {"name": "b.py", "ok": False, "failed": 1},
        {"name": "c.py", "skipped": 1},
    ]


def test_without_pytorch(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(speed, "prepare", lambda workload, **settings: lambda: None)
    try:
        with use_backend("emulated"):
            speed.networks(REHEARSAL, "resnet20", "128")
    except BackendError as error:
        pytest.skip(str(error))
    assert "not here" in found[0]["says"]
    systems = [each["name"].partition(": ")[2] for each in found[1:]]
    assert systems == ["gpunet", "gpunet, TF32", "gpunet, AMP"] * 2
    assert all("of_pytorch" not in each and "error" not in each for each in found)


def test_a_system_that_fails_does_not_stop_the_others(found, monkeypatch):
    def prepare(workload, amp=False, wait=True):
        if amp:
            raise MemoryError("no room")
        return lambda: None

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(speed, "prepare", prepare)
    try:
        with use_backend("emulated"):
            speed.networks(REHEARSAL, "resnet20", "128")
    except BackendError as error:
        pytest.skip(str(error))
    assert [each.get("error") for each in found[1:]] == [None, None, "MemoryError: no room"] * 2


class Event:
    """Of a device on which every step takes 2 ms."""

    def __init__(self, now):
        self.now = now

    def synchronize(self):
        pass

    def elapsed_time(self, other):
        return other.now - self.now


def test_the_clock_times_what_the_device_does(monkeypatch):
    milliseconds = [0.0]

    def step():
        milliseconds[0] += 2

    clock = speed.Clock(REAL, torch=True)
    monkeypatch.setattr(clock, "mark", lambda: Event(milliseconds[0]))
    seconds, host = clock.time(step)
    assert seconds == pytest.approx(2e-3)
    assert host >= 0


@pytest.mark.slow
def test_the_rehearsal(tmp_path, processes):
    """All of it, as it will run, on the emulated backend."""
    try:
        with use_backend("emulated"):
            pass
    except BackendError as error:
        pytest.skip(str(error))
    command = [sys.executable, "-m", "tools.first_light", "--rehearse", "--seconds", "3600", "--out", tmp_path]
    with (tmp_path / "table.txt").open("w") as table:
        assert processes(command, stdout=table).wait() == 0, (tmp_path / "table.txt").read_text()
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["rehearsal"]
    planned = first_light.plan(rehearse=True)
    assert list(results["steps"]) == [step.name for step in planned]
    for name, what in results["steps"].items():
        assert what["state"] == "ok", name
        assert what["found"], name
        assert not [each for each in what["found"] if "error" in each]
    assert len(results["steps"]["operations"]["found"]) > 200
    assert sorted(os.listdir(tmp_path)) == ["log.txt", "results.json", "table.txt"]
    assert (tmp_path / "table.txt").read_text().count("\n") > 50
