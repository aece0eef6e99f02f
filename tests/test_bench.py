"""`gpunet bench`: that it measures what it says, that both systems compute the same; never how long anything takes."""

import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

from gpunet import functional, nn
from gpunet.backend import use_backend
from gpunet.backend.cpu_library import library
from gpunet.backend.kernels import kernels_in_use
from gpunet.bench import BENCH_MODELS, TABLE, LayerTime, Sample, Settings, Workload, default_image, report, runner
from gpunet.bench.against_torch import build_torch, prepare_torch, time_torch_operation
from gpunet.bench.bandwidth import KernelSpeed, time_kernels
from gpunet.bench.layers import convolution_speed, time_layers
from gpunet.bench.memory import peak_rss
from gpunet.bench.networks import define
from gpunet.bench.peak import ITEM, arithmetic_peak
from gpunet.bench.processes import Worker
from gpunet.bench.tape_overhead import time_tape_operation
from gpunet.bench.timing import quickest, take_turns, time_call, time_step
from gpunet.bench.worker import serve
from gpunet.bench.workloads import build, cost, draw_batch, prepare
from gpunet.cli import main
from gpunet.errors import ArgumentError, BackendError
from gpunet.functional import cross_entropy
from gpunet.models import summary
from gpunet.nn import Conv2d
from gpunet.ops import waiting
from gpunet.ops.passes import Pass
from gpunet.tensor import Tensor

TINY = Workload("resnet8", "train", 2, (3, 8, 8))
TINY_OPTIONS = ["--model", "resnet8", "--batch", "2", "--image", "3x8x8", "--repeats", "1", "--threads", "1"]
needs_cpu_kernels = pytest.mark.skipif(library() is None, reason="no CPU kernels were built")
linux_only = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks into /proc")


@pytest.fixture(autouse=True)
def _numpy():
    with use_backend("numpy"):
        yield


def ticking(*times):
    """A clock that tells these times, one a call; without any, a second more at each call."""
    return (iter(times) if times else itertools.count()).__next__


# Timing


def test_short_steps_are_timed_several_in_a_row():
    called = []
    assert time_step(lambda: called.append(1), ticking(10.0, 10.03, 10.06, 10.12)) == pytest.approx(0.04)
    assert len(called) == 3
    assert time_step(lambda: called.append(1), ticking(10.0, 12.5)) == 2.5
    assert len(called) == 4


def test_time_call():
    called = []
    assert time_call(lambda: called.append(1), ticking(10.0, 12.5)) == 2.5
    assert called == [1]


def test_quickest_leaves_the_first_call_out():
    called = []
    assert quickest(lambda: called.append(1), 3, ticking(0, 5, 10, 12, 20, 29)) == 2
    assert len(called) == 4


def test_systems_take_turns_and_warm_up():
    order = []

    def step(name):
        order.append(name)
        return float(len(order))

    pauses = []
    times = take_turns({name: lambda name=name: step(name) for name in "abc"}, 3, 1, lambda: pauses.append(1))
    assert "".join(order) == "cab abc bca cab".replace(" ", "")  # each round begins with another
    assert times == {"a": Sample((4, 9, 11)), "b": Sample((5, 7, 12)), "c": Sample((6, 8, 10))}
    assert len(pauses) == 12


def test_sample():
    sample = Sample((5.0, 1.0, 2.0, 4.0, 30.0))
    assert sample.median == 4
    assert sample.quartiles == (2, 5)
    assert Sample((3.0,)).quartiles == (3, 3)
    assert sample.as_dict() == {
        "median": 4,
        "quartile_low": 2,
        "quartile_high": 5,
        "min": 1,
        "max": 30,
        "values": [5, 1, 2, 4, 30],
    }
    with pytest.raises(ArgumentError, match="at least one"):
        Sample(())


# Workloads


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("vgg", "train", 1, (3, 8, 8)), "unknown model 'vgg'"),
        (("resnet8", "sleep", 1, (3, 8, 8)), "mode"),
        (("resnet8", "train", 0, (3, 8, 8)), "batch must be 1 or more"),
        (("resnet8", "train", 1, (3, 8)), "image must be"),
        (("resnet8", "train", 1, (3, 8, 0)), "image must be 1 or more"),
        (("mobile_block", "train", 1, (3, 8, 8)), "choose inference"),
        (("vgg11", "train", 1, (3, 32, 31)), "vgg11 takes images of 32x32 or more, got 32x31"),
        (("lenet5", "train", 1, (1, 28, 28)), "lenet5 takes images of 32x32, got 28x28"),
    ],
)
def test_workloads_that_make_no_sense(fields, message):
    with pytest.raises(ArgumentError, match=message):
        Workload(*fields)


def test_a_workload_survives_json():
    assert Workload.from_dict(json.loads(json.dumps(TINY.as_dict()))) == TINY
    assert str(TINY) == "resnet8 train, 2 x 3x8x8"


def test_the_table_is_complete():
    assert [str(row.workload) for row in TABLE] == [
        "resnet20 train, 128 x 3x32x32",
        "resnet20 inference, 128 x 3x32x32",
        "small_cnn train, 128 x 1x28x28",
        "resnet18 inference, 1 x 3x224x224",
        "resnet18 inference, 16 x 3x224x224",
        "resnet18 train, 16 x 3x224x224",
        "mobile_block inference, 16 x 32x112x112",
        "resnet20 train, 8 x 3x8x8",
    ]


def test_the_same_weights_and_images_every_time():
    first, second = build(TINY).state_dict(), build(TINY).state_dict()
    assert all((first[name].numpy() == second[name].numpy()).all() for name in first)
    assert all((a == b).all() for a, b in zip(draw_batch(TINY), draw_batch(TINY), strict=True))


def test_cost_counts_additions_and_multiplications():
    work = Workload("small_cnn", "inference", 3, (1, 8, 12))
    conv1, conv2, fc = 32 * 1 * 9 * 8 * 12, 64 * 32 * 9 * 4 * 6, 64 * 2 * 3 * 10
    outputs = 3 * 32 * 8 * 12 + 32 * 4 * 6 + 3 * 64 * 4 * 6 + 2 * 64 * 2 * 3 + 10  # with those of ReLU and Flatten
    assert cost(work).flops == 3 * 2 * (conv1 + conv2 + fc)
    assert cost(work).activation_bytes == 3 * 4 * outputs
    train = Workload("small_cnn", "train", 3, (1, 8, 12))
    assert cost(train).flops == 3 * 2 * (2 * conv1 + 3 * conv2 + 3 * fc)  # nobody asks for the images' gradient


def test_a_step_of_training_changes_weights_and_one_of_inference_does_not(monkeypatch):
    for mode in ("train", "inference"):
        model = build(Workload("resnet8", mode, 2, (3, 8, 8)))
        monkeypatch.setattr("gpunet.bench.workloads.build", lambda workload, model=model: model)
        before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
        prepare(Workload("resnet8", mode, 2, (3, 8, 8)))()
        changed = [name for name, value in model.state_dict().items() if (value.numpy() != before[name]).any()]
        assert len(changed) == (len(before) if mode == "train" else 0)
        assert model.training == (mode == "train")


@pytest.fixture
def convolutions(monkeypatch):
    """The convolutions done so far, forward, whether they wait for batch norm or not."""
    done, within = [], []  # within: the page of the one that does not wait alone calls the other
    call = Pass.__call__

    def counting(self, *args):
        if self.name not in ("convolve", "convolve_normalise") or within:
            return call(self, *args)
        done.append(self.name)
        within.append(self.name)
        try:
            return call(self, *args)
        finally:
            within.pop()

    monkeypatch.setattr(Pass, "__call__", counting)
    return done


@pytest.mark.parametrize("model", ["mobile_block", "resnet8", "plain8", "small_cnn", "lenet5"])
def test_a_step_of_inference_runs_every_convolution(model, convolutions):
    """Also the last ones of a network, whose output nobody but the bench looks at."""
    work = Workload(model, "inference", 1, (default_image(model)[0], 32, 32))
    step = prepare(work)
    step()
    assert len(convolutions) == sum(isinstance(layer, Conv2d) for layer in build(work).modules())


# PyTorch computes the same

COMPARED = ["lenet5", "resnet8", "plain8", "small_cnn"]
WRITTEN = define(nn, functional)
SLOW = [model for model in WRITTEN if model not in (*COMPARED, "mobile_block")]
COMPARED += [pytest.param(model, marks=pytest.mark.slow) for model in SLOW]


@pytest.mark.parametrize("mode", ["train", "inference"])
@pytest.mark.parametrize("model", COMPARED)
def test_both_systems_compute_the_same(model, mode, torch):
    """In float64, where nothing but a difference in the networks can make a difference in the results."""
    work = Workload(model, mode, 2, (default_image(model)[0], 32, 32))
    ours, theirs = build(work).double(), build_torch(work).double()
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})
    assert theirs.training == ours.training == (mode == "train")
    images, labels = draw_batch(work)
    images = images.astype(np.float64)
    logits, expected = ours(Tensor(images)), theirs(torch.from_numpy(images))
    np.testing.assert_allclose(logits.numpy(), expected.detach().numpy(), rtol=1e-6, atol=1e-6)
    cross_entropy(logits, Tensor(labels)).backward()
    torch.nn.functional.cross_entropy(expected, torch.from_numpy(labels)).backward()
    gradients = {name: value.grad.numpy() for name, value in theirs.named_parameters()}
    assert [name for name, _ in ours.named_parameters()] == list(gradients)
    for name, value in ours.named_parameters():
        scale = np.abs(gradients[name]).max()
        np.testing.assert_allclose(value.grad.numpy(), gradients[name], rtol=0, atol=1e-5 * scale, err_msg=name)


def test_both_systems_compute_the_same_block(torch):
    work = Workload("mobile_block", "inference", 2, (8, 9, 7))
    ours, theirs = build(work), build_torch(work)
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})
    images = draw_batch(work)[0]
    expected = theirs(torch.from_numpy(images)).detach().numpy()
    np.testing.assert_allclose(ours(Tensor(images)).numpy(), expected, rtol=1e-5, atol=1e-5)


def test_what_is_not_written_here_is_of_gpunet_and_of_torchvision(torch, monkeypatch):
    assert set(BENCH_MODELS) - set(WRITTEN) >= {"preact_resnet20", "mobilenet_v2", "resnext50_32x4d", "alexnet"}
    work = Workload("mobilenet_v2", "inference", 1, (3, 32, 32))
    ours = build(work)
    assert (type(ours).__name__, ours.classifier[1].out_features, ours.training) == ("MobileNetV2", 1000, False)
    stand_in = types.SimpleNamespace(mobilenet_v2=lambda num_classes: torch.nn.Linear(7, num_classes))
    monkeypatch.setitem(sys.modules, "torchvision.models", stand_in)
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(models=stand_in))
    theirs = build_torch(work)
    assert (theirs.in_features, theirs.out_features, theirs.training) == (7, 1000, False)
    with pytest.raises(ArgumentError, match="torchvision's mobilenet_v2 takes images of 3 channels, got 1"):
        build_torch(Workload("mobilenet_v2", "inference", 1, (1, 32, 32)))
    with pytest.raises(ArgumentError, match="preact_resnet20 is not among torchvision's models: leave out --against"):
        build_torch(Workload("preact_resnet20", "inference", 1, (3, 32, 32)))
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(BackendError, match="takes mobilenet_v2 from torchvision, which cannot be imported"):
        build_torch(work)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("mode", ["train", "inference"])
def test_a_step_of_pytorch(mode, channels_last, torch):
    step = prepare_torch(Workload("small_cnn", mode, 2, (1, 8, 8)), channels_last, threads=2)
    step()
    assert torch.get_num_threads() == 2


def test_without_pytorch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["bench", "--against", "torch"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "gpunet: error: --against torch needs PyTorch, which is not installed: pip install torch\n"


# What is measured inside a process, with a clock that ticks once at each look


def test_layers():
    layers = time_layers(TINY, 2, ticking())
    expected = summary(build(TINY), TINY.input_shape).layers
    assert [(layer.name, layer.output_shape) for layer in layers] == [
        (each.name, each.output_shape) for each in expected
    ]
    assert [layer.flops for layer in layers] == [2 * each.multiply_adds for each in expected]
    assert {layer.seconds for layer in layers} == {1}
    assert LayerTime.from_dict(json.loads(json.dumps(layers[0].as_dict()))) == layers[0]


@pytest.mark.parametrize("mode", ["train", "inference"])
def test_what_a_layer_does_counts_for_it(mode, convolutions):
    """By a clock that tells how many convolutions have been done: one in each such layer's time, none in any other's.

    In evaluation they wait for batch norm, unless they are looked at.
    """
    layers = time_layers(Workload("resnet8", mode, 1, (3, 8, 8)), 1, lambda: float(len(convolutions)))
    assert [layer.seconds for layer in layers] == [layer.kind == "Conv2d" for layer in layers]
    assert convolutions


def test_no_layer_waits_for_the_next(monkeypatch):
    """Nor do batch norm and ReLU, which a network does in one pass with what follows."""
    kept = []
    monkeypatch.setattr("gpunet.bench.layers.synchronize", lambda: kept.append(len(waiting._waiting)))
    time_layers(Workload("resnet8", "train", 1, (3, 8, 8)), 1, ticking())
    assert set(kept) == {0}


def test_speed_of_the_convolutions():
    layers = [
        LayerTime("a", "Conv2d", (1,), 2.0, 100),
        LayerTime("b", "ReLU", (1,), 5.0, 0),
        LayerTime("c", "Conv2d", (1,), 3.0, 400),
        LayerTime("d", "Linear", (1,), 1.0, 900),
    ]
    assert convolution_speed(layers) == 100
    assert convolution_speed(layers[1:2]) is None


def test_peak_of_matrix_products(threads, monkeypatch):
    monkeypatch.setattr("gpunet.backend.kernels._turned_off", True)
    threads(3)
    assert arithmetic_peak(size=8, repeats=2, clock=ticking()) == 2 * 4 * 3 * 8**3


@needs_cpu_kernels
def test_peak_of_the_cores(threads):
    threads(2)
    assert arithmetic_peak(repeats=1, clock=ticking()) == 2 * 2 * ITEM


def test_tape_operation(torch):
    ours = time_tape_operation(10, 2, ticking())
    assert ours == {"array": 0.1, "no_tape": 0.1, "forward": 0.1, "backward": 0.1}
    assert time_torch_operation(10, 2, ticking()) == {"no_tape": 0.1, "forward": 0.1, "backward": 0.1}


def test_kernels():
    try:
        switch = use_backend("emulated")
    except BackendError as error:
        pytest.skip(str(error))
    with switch:
        kernels = {kernel.name: kernel for kernel in time_kernels((1, 4, 4, 4), 1, ticking())}
    values = 4 * 4 * 4 * 4  # bytes of the images
    assert kernels["copy"] == KernelSpeed("copy", 2 * values, 1 / 20)
    assert kernels["max_pool2d_forward"].bytes == values + values // 4 + values // 16  # images, maxima, a byte each
    assert kernels["batch_norm_statistics"].bytes == values
    assert kernels["batch_norm_input_gradient, ReLU"].bytes == 4 * values
    assert kernels["im2col, 3x3"].bytes == kernels["col2im, 3x3"].bytes == 10 * values
    assert kernels["sgd, momentum"].bytes == 5 * values
    assert kernels["copy"].bytes_per_second == 40 * values
    assert "copy" in report.kernels_text(list(kernels.values()))


def test_kernels_need_a_gpu():
    with pytest.raises(BackendError, match="active is numpy"):
        time_kernels()


def test_peak_memory():
    size = 64 << 20
    before = peak_rss()
    if before is None:
        pytest.skip("the system does not say")
    filled = np.ones(size, np.uint8)
    assert peak_rss() >= max(before, filled.nbytes)


# Workers


def test_a_worker_answers_requests(threads):
    threads(1)
    job = {"system": "gpunet", "workload": TINY.as_dict(), "threads": 1, "backend": "numpy"}
    asked = [{"ask": "set_up", "job": job}, {"ask": "about"}, {"ask": "kernels"}, {"ask": "step"}, {"ask": "cost"}]
    replies = io.StringIO()
    serve(map(json.dumps, asked), replies)
    ready, about, kernels, step, counted = map(json.loads, replies.getvalue().splitlines())
    assert ready == {"answer": None}
    assert about["answer"]["backend"] == "numpy"
    assert "active is numpy" in kernels["error"]
    assert step["answer"] > 0
    assert counted["answer"]["flops"] == cost(TINY).flops


def test_a_worker_that_cannot_be_set_up():
    with pytest.raises(BackendError, match=r"gpunet cannot be measured: unknown backend 'abacus'"):
        Worker("gpunet", TINY, 1, "abacus")


def test_a_worker_that_cannot_take_a_step():
    with (
        Worker("gpunet", Workload("resnet8", "train", 1, (3, 1, 1)), 1, "numpy") as worker,
        pytest.raises(BackendError, match=r"gpunet cannot be measured: in layer bn1 .*more than one value"),
    ):
        worker.step()


def test_a_worker_that_dies():
    with Worker("gpunet", TINY, 1, "numpy") as worker:
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(BackendError, match="measures gpunet was killed by signal 9; did memory run out"):
            worker.step()


def children_of(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"  # nobody waits for orphans
    except FileNotFoundError:
        return True


@linux_only
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -15), (signal.SIGKILL, -9)])
def test_no_worker_outlives_the_command(sent, code):
    options = ["--mode", "train", "--backend", "numpy", "--repeats", "1000000"]
    command = [sys.executable, "-m", "gpunet", "bench", *TINY_OPTIONS, *options]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start this with SIGINT ignored
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        deadline = time.monotonic() + 60
        while not (workers := children_of(process.pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(sent)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == code
    assert (out, err) == ("", "gpunet: stopped\n" if sent == signal.SIGINT else "")
    while not all(map(is_gone, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers
    assert all(map(is_gone, workers))


# The command


SYSTEM_KEYS = {
    "version",
    "seconds",
    "peak_rss_bytes",
    "rss_before_first_step_bytes",
    "images_per_second",
    "flops_per_second",
}


def run_json(arguments, capsys):
    assert main(["bench", *arguments, "--backend", "numpy", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    return json.loads(out)


def test_json(capsys, tmp_path):
    document = run_json([*TINY_OPTIONS, "--out", str(tmp_path / "bench.json")], capsys)
    assert json.loads((tmp_path / "bench.json").read_text()) == document
    assert set(document) == {"machine", "threads", "repeats", "results"}
    assert set(document["machine"]) == {"gpunet", "python", "numpy", "cpu", "cores", "system", "load"}
    assert (document["threads"], document["repeats"]) == (1, 1)
    assert [result["workload"]["mode"] for result in document["results"]] == ["train", "inference"]
    for result in document["results"]:
        ours = result["systems"]["gpunet"]
        assert set(ours) == SYSTEM_KEYS
        assert result["backend"] == "numpy"
        assert result["flops"] == cost(Workload.from_dict(result["workload"])).flops
        assert ours["images_per_second"] == 2 / ours["seconds"]["median"]
        assert ours["flops_per_second"] == result["flops"] / ours["seconds"]["median"]
        assert len(ours["seconds"]["values"]) == 1
        assert result["against"] == {}
        assert len(result["layers"]) == len(summary(build(TINY), TINY.input_shape).layers)
        assert result["convolutions_forward_flops_per_second"] > 0
        assert result["peak_flops_per_second"] > 0


def test_json_against_torch(capsys, torch):
    document = run_json([*TINY_OPTIONS, "--mode", "train", "--against", "torch"], capsys)
    (result,) = document["results"]
    assert list(result["systems"]) == ["gpunet", "torch", "torch_channels_last"]
    assert list(result["against"]) == ["torch", "torch_channels_last"]
    for name, against in result["against"].items():
        theirs, ours = result["systems"][name], result["systems"]["gpunet"]
        assert set(theirs) == SYSTEM_KEYS
        assert against["speed"] == theirs["seconds"]["median"] / ours["seconds"]["median"]
        assert against["speed_by_quickest"] == theirs["seconds"]["min"] / ours["seconds"]["min"]
        assert against["memory"] is None or against["memory"] == ours["peak_rss_bytes"] / theirs["peak_rss_bytes"]
    assert result["systems"]["torch"]["version"] == torch.__version__


def test_text(capsys):
    assert main(["bench", *TINY_OPTIONS, "--mode", "inference", "--layers", "--backend", "numpy"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == f"resnet8 inference, 2 x 3x8x8, backend numpy, kernels: {kernels_in_use()}"
    assert lines[1].split() == ["images/s", "step", "quartiles", "quickest", "peak", "memory", "before", "GFLOPS"]
    assert lines[2].startswith("gpunet ")
    assert lines[3].startswith("convolutions, forward: ")
    assert lines[5].split() == ["layer", "type", "output", "shape", "time", "share", "GFLOPS", "of", "peak"]
    assert lines[6].split()[:2] == ["conv1", "Conv2d"]


def test_a_busy_machine_is_mentioned():
    quiet = {"cpu": "Zuse Z3", "cores": 4, "system": "relays", "gpunet": "1", "python": "3", "numpy": "2", "load": 1.9}
    expected = "Zuse Z3, 4 cores, relays; gpunet 1, Python 3, NumPy 2; 2 thread(s) each"
    assert report.machine_text(quiet, 2) == expected
    assert report.machine_text({**quiet, "load": None}, 2) == expected
    busy = report.machine_text({**quiet, "load": 2.1}, 2)
    assert busy == f"{expected}\nthe machine was busy already (load 2.1): repeat this when it is quiet"


def test_scaling():
    points = runner.scaling(TINY, Settings(1, 1, "numpy", show_progress=False), (2, 4))
    assert [point.workload.batch for point in points] == [2, 4]
    assert points[1].activation_bytes == cost(TINY.with_batch(4)).activation_bytes
    assert points[0].seconds_per_image == points[0].seconds.median / 2
    assert set(points[0].as_dict()) == {
        "system",
        "workload",
        "seconds",
        "seconds_per_image",
        "peak_rss_bytes",
        "activation_bytes",
    }
    assert "resnet8 train, 3x8x8" in report.scaling_text(points)


def test_overhead(capsys):
    document = run_json(["--overhead", "--repeats", "1", "--threads", "1"], capsys)
    assert document["overhead"]["step"]["workload"] == Workload("resnet20", "train", 8, (3, 8, 8)).as_dict() | {
        "image": [3, 8, 8]
    }
    assert set(document["overhead"]["operation_seconds"]["gpunet"]) == {"array", "no_tape", "forward", "backward"}


def test_the_table(monkeypatch, capsys):
    def measured(workload, settings):
        seconds = {"gpunet": 2.0, "torch": 3.0, "torch_channels_last": 1.0}
        systems = {
            name: runner.Measured("1", Sample((each,)), int(each * 1e8), int(1e7)) for name, each in seconds.items()
        }
        return runner.Result(workload, "numpy", "none", 2, 10**9, 1e11, (), systems)

    monkeypatch.setattr("gpunet.cli.bench.measure", measured)
    assert main(["bench", "--table"]) == 0
    rows = capsys.readouterr().out.split("\n\n")[len(TABLE)].splitlines()
    assert len(rows) == 1 + len(TABLE)
    assert re.split(" {2,}", rows[1]) == [
        "resnet20 train, 128 x 3x32x32",
        "64 images/s",
        "1.50 (>= 1.3)",
        "0.50 (>= 1.0)",
        "0.67 (<= 0.5)",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "--model", "resnet8"], "--table has workloads of its own: leave out --model"),
        (["--scaling", "--batch", "8"], "leave out --batch"),
        (["--overhead", "--layers"], "--layers goes with"),
        (["--kernels", "--against", "torch"], "leave out --against"),
        (["--kernels", "--no-kernels"], "leave out --no-kernels"),
    ],
)
def test_options_that_do_not_go_together(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *arguments])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: gpunet bench")
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "nowhere/bench.json"], "there is no folder nowhere"),
        (["--kernels", "--backend", "numpy"], "active is numpy"),
    ],
)
def test_errors(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_pytorch_is_compared_with_on_the_cpu(capsys, torch):
    try:
        use_backend("emulated").__exit__(None, None, None)
    except BackendError as error:
        pytest.skip(str(error))
    assert main(["bench", *TINY_OPTIONS, "--against", "torch", "--backend", "emulated"]) == 1
    assert "choose --backend numpy" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--image", "3x32"],
        ["--image", "3x0x32"],
        ["--batch", "0"],
        ["--model", "vgg"],
        ["--against", "jax"],
        ["--table", "--scaling"],
    ],
)
def test_options_that_are_not_understood(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["bench", *arguments])
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err
