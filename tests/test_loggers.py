"""The callbacks of docs/loggers.md, with stand-ins for the services: what they are sent, by resumed runs, too."""

import re
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np

from gpunet.train import RunFolder, TrainingRun
from tests.runs import TINY

PAGE = (Path(__file__).parent.parent / "docs" / "loggers.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def callback(library):
    """The class of the page that uses a library."""
    (snippet,) = [each for each in SNIPPETS if re.search(rf"^(import|from) {library}\b", each, flags=re.MULTILINE)]
    names = {}
    exec(compile(snippet, library, "exec"), names)
    (found,) = [each for each in names.values() if isinstance(each, type) and each.__module__ == "builtins"]
    return found


class Service:
    """Stands in for a library that is asked for functions: remembers every call."""

    def __init__(self, monkeypatch, name, **functions):
        self.calls = []
        module = types.ModuleType(name)
        for function, result in functions.items():
            setattr(module, function, self.noting(function, result))
        monkeypatch.setitem(sys.modules, name, module)

    def noting(self, function, result=None):
        def call(*args, **settings):
            self.calls.append((function, args, dict(settings)))
            return result

        return call

    def of(self, function):
        return [(args, settings) for name, args, settings in self.calls if name == function]


def run_twice(folder, make):
    """A run of one epoch, and the same resumed for another, as after an interruption; the figures of both epochs."""
    TrainingRun(replace(TINY, epochs=1), folder, show_progress=False, callbacks=[make()]).run()
    TrainingRun(replace(TINY, epochs=2), folder, show_progress=False, callbacks=[make()], resume=True).run()
    return RunFolder(folder).read_metrics()


def test_weights_and_biases(monkeypatch, tmp_path, tiny_runs):
    run = types.SimpleNamespace(id="a1")
    service = Service(monkeypatch, "wandb", init=run)
    run.log, run.finish = service.noting("log"), service.noting("finish")
    first, second = run_twice(tmp_path, lambda: callback("wandb")(project="digits"))
    begun = [settings for _, settings in service.of("init")]
    assert begun == [
        {"project": "digits", "resume": "allow", "id": None},
        {"project": "digits", "resume": "allow", "id": "a1"},  # the run goes on there, too
    ]
    assert len(service.of("finish")) == 2
    sent = service.of("log")
    for ((figures,), _), line in zip(sent, (first, second), strict=True):
        assert figures["test_loss"] == line["test_loss"]
        norms = {name.partition("/")[2]: norm for name, norm in figures.items() if name.startswith("gradient_norms/")}
        assert norms == line["gradient_norms"]
        assert all(type(value) in (int, float) for value in figures.values())
    steps = [settings["step"] for _, settings in sent]
    assert steps[1] == 2 * steps[0] > 0


def test_mlflow(monkeypatch, tmp_path, tiny_runs):
    begun = types.SimpleNamespace(info=types.SimpleNamespace(run_id="b2"))
    functions = dict.fromkeys(("log_params", "log_metrics", "end_run"))
    service = Service(monkeypatch, "mlflow", start_run=begun, **functions)
    lines = run_twice(tmp_path, lambda: callback("mlflow")(seed=3))
    assert [settings["run_id"] for _, settings in service.of("start_run")] == [None, "b2"]
    assert all(parameters["seed"] == 3 for (parameters,), _ in service.of("log_params"))
    assert len(service.of("end_run")) == 2
    sent = service.of("log_metrics")
    assert [settings["step"] for _, settings in sent] == [1, 1, 2, 2]
    for line, (((figures,), _), ((norms,), _)) in zip(lines, zip(sent[::2], sent[1::2], strict=True), strict=True):
        assert figures == {name: value for name, value in line.items() if name != "gradient_norms"}
        assert norms == {f"gradient_norms/{name}": norm for name, norm in line["gradient_norms"].items()}


def test_tensorboard(monkeypatch, tmp_path, tiny_runs):
    writer = types.SimpleNamespace()
    service = Service(monkeypatch, "tensorboardX", SummaryWriter=writer)
    for name in ("add_scalar", "add_histogram", "close"):
        setattr(writer, name, service.noting(name))
    lines = run_twice(tmp_path / "run", lambda: callback("tensorboardX")("events"))
    assert service.of("SummaryWriter") == [(("events",), {})] * 2
    scalars = {(name, epoch): value for (name, value, epoch), _ in service.of("add_scalar")}
    for epoch, line in enumerate(lines, start=1):
        for name in line.keys() - {"epoch", "gradient_norms"}:
            assert scalars.pop((name, epoch)) == line[name]
    assert scalars == {}
    histograms = [args for args, _ in service.of("add_histogram")]
    assert {name for name, _, _ in histograms} == set(lines[0]["gradient_norms"])
    assert all(isinstance(values, np.ndarray) and values.size for _, values, _ in histograms)
