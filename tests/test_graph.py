"""CUDA graphs: a step that is recorded and replayed has the bits of one that is not, and nothing is silently wrong.

On the emulated backend, which does nothing while a stream is captured, and does it all when the graph is launched.
"""

from dataclasses import replace

import numpy as np
import pytest

import gpunet
from gpunet import emulated, nn, optim, tensor
from gpunet.amp import GradScaler
from gpunet.autocast import autocast
from gpunet.backend import device_numbers, manual_seed, random_state, to_cpu, use_backend
from gpunet.cli import main
from gpunet.data import DataLoader, TensorDataset
from gpunet.errors import (
    ArgumentError,
    BackendError,
    DTypeError,
    GradientError,
    GraphError,
    KernelError,
    LabelError,
    NonFiniteError,
    ShapeError,
)
from gpunet.functional import cross_entropy
from gpunet.graph import WARM_UP
from gpunet.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from gpunet.train import RunFolder, RunOptions, Trainer, TrainingRun, saved_options
from tests.runs import TINY, StopAfter, figures, tiny_network, weights

pytestmark = pytest.mark.usefixtures("counters")  # the emulated backend


def drawn(count, size=8, batch=4):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((count, batch, 1, size, size)).astype(np.float32)
    labels = rng.integers(0, 10, (count, batch))
    return [(tensor(images[i]), tensor(labels[i])) for i in range(count)]


class Learner:
    """A network with all that changes from step to step: running statistics, masks of dropout, optimizer, schedule."""

    def __init__(
        self,
        make=lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
        schedule=lambda optimizer: OneCycleLR(optimizer, 0.1, total_steps=99),
        model=lambda: tiny_network(10, 1),
    ):
        manual_seed(0)
        self.model = model()
        self.optimizer = make(self.model.parameters())
        self.schedule = schedule(self.optimizer)

    def step(self, images, labels):
        self.optimizer.zero_grad()
        loss = cross_entropy(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def losses(self, step, batches):
        found = []
        for batch in batches:
            found.append(step(*batch).item())
            self.schedule.step()
        return found

    def state(self):
        """Weights, running statistics, the optimizer's state and the random streams, to be compared bit by bit."""
        arrays = {name: to_cpu(each.array) for name, each in self.model.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            arrays |= {f"{index}.{name}": np.asarray(value) for name, value in values.items()}
        return {name: (each.dtype.str, each.tobytes()) for name, each in arrays.items()}, random_state()


@pytest.fixture
def recorded():
    """A learner and its step, which is being replayed by now, and a batch."""
    learner, batch = Learner(), drawn(1)[0]
    step = gpunet.cuda_graph(learner.step)
    learner.losses(step, [batch] * (WARM_UP + 2))
    return learner, step, batch


# The same bits


@pytest.mark.parametrize(
    "make",
    [
        lambda params: optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=1e-3),
        lambda params: optim.SGD(params, lr=0.1),
        lambda params: optim.Adam(params, lr=0.01, amsgrad=True),
        lambda params: optim.AdamW(params, lr=0.01),
        lambda params: optim.AdamW(two_groups(params), lr=0.01),
    ],
    ids=["momentum", "plain", "amsgrad", "adamw", "two groups"],
)
def test_twenty_steps(make, counters):
    ordinary, graph = (Learner(make, lambda optimizer: CosineAnnealingLR(optimizer, 30)) for _ in range(2))
    batches = drawn(5) * 4
    manual_seed(1)
    expected = ordinary.losses(ordinary.step, batches), ordinary.state()
    manual_seed(1)
    assert (graph.losses(gpunet.cuda_graph(graph.step), batches), graph.state()) == expected
    assert counters.graph_launches == 20 - WARM_UP


def two_groups(params):
    first, *others = params
    return [{"params": [first], "weight_decay": 0.0}, {"params": others, "lr": 0.02}]


def test_a_replay_asks_for_no_more_than_it_must(recorded, counters):
    """Two inputs and one output are copied, and two numbers of the optimizer have changed."""
    _, step, batch = recorded
    counters.reset()
    step(*batch)
    assert (counters.graph_launches, counters.launches, counters.functions.total()) == (1, 0, 2 + 1 + 2)
    assert counters.host_to_device == counters.device_to_host == 0


@pytest.mark.parametrize("settings", [{}, {"clip": 0.5}, {"ema": 0.9}, {"amp": True, "clip": 0.5, "ema": 0.9}], ids=str)
def test_a_trainer(settings):
    """The last batch of an epoch is a smaller one."""

    def trained(graph):
        learner = Learner()
        images, labels = (
            np.concatenate([to_cpu(each.array) for each in parts]) for parts in zip(*drawn(6), strict=True)
        )
        data = TensorDataset(images[:-1], labels[:-1])
        options = {**settings, "amp": GradScaler(2.0**40, growth_interval=4)} if "amp" in settings else settings
        trainer = Trainer(
            learner.model, learner.optimizer, 10, learner.schedule, show_progress=False, graph=graph, **options
        )
        manual_seed(1)
        results = list(trainer.fit(DataLoader(data, 4, shuffle=True, seed=0), DataLoader(data, 4), epochs=3))
        averages = {} if trainer.averages is None else trainer.averages.state_dict()
        return (
            learner.state(),
            [(each.train_loss, each.test_loss, each.gradient_norms) for each in results],
            {name: each.tobytes() for name, each in averages.items()},
            trainer.scaler.state_dict(),
            trainer.progress.skipped_steps,
        )

    assert trained(graph=True) == trained(graph=False)


# What cannot be recorded


def refused(change, batch=4):
    """Record a step that does something else besides."""
    learner, batch = Learner(), drawn(1, batch=batch)[0]

    def step(images, labels):
        loss = learner.step(images, labels)
        return change(learner, loss)

    graph = gpunet.cuda_graph(step)
    for _ in range(WARM_UP + 1):
        graph(*batch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda learner, loss: loss * 2 if loss.item() < 0 else loss, "ndarray.item"),
        (lambda learner, loss: loss * 2 if loss > 100 else loss, "truth|item"),
        (lambda learner, loss: loss * tensor([2.0]), "a copy to the device"),
        (lambda learner, loss: gpunet.stack([loss] * 9), "joining more than 8"),
        (
            lambda learner, loss: tensor(emulated.matmul(*[loss.array.reshape(1, 1) + emulated.ones((2, 2))] * 2)),
            "cuBLAS",
        ),
        (lambda learner, loss: loss.item(), "may return Tensors|ndarray.item"),
        (lambda learner, loss: emulated.cuda.Device().synchronize(), "waiting for the device"),
        (lambda learner, loss: emulated.cuda.get_current_stream().synchronize(), "waiting for the stream"),
    ],
)
def test_what_a_step_may_not_do(change, message):
    with pytest.raises(GraphError, match=f"cuda_graph: .*({message})"):
        refused(change)


def test_a_step_that_returns_a_number():
    with pytest.raises(GraphError, match=r"the step may return Tensors, .*, got float"):
        refused(lambda learner, loss: 1.0)


def test_a_failed_recording_leaves_everything_as_it_was():
    learner, batch = Learner(), drawn(1)[0]
    graph = gpunet.cuda_graph(
        lambda *given: learner.step(*given) if len(losses) < WARM_UP else learner.step(*given).item()
    )
    losses = []
    for _ in range(WARM_UP):
        losses.append(graph(*batch))
    before = learner.state(), [to_cpu(each.grad.array).tobytes() for each in learner.model.parameters()]
    with pytest.raises(GraphError):
        graph(*batch)
    assert (learner.state(), [to_cpu(each.grad.array).tobytes() for each in learner.model.parameters()]) == before
    learner.step(*batch)


class Counting(nn.Module):
    """Remembers something of its last call, in one way or another."""

    def __init__(self, remember):
        super().__init__()
        self.calls = 0
        self.register_buffer("mean", tensor([0.0]))
        self.inner, self.remember = tiny_network(10, 1), remember

    def forward(self, x):
        self.remember(self, x)
        return self.inner(x)


@pytest.mark.parametrize(
    ("remember", "message"),
    [
        (lambda self, x: setattr(self, "calls", self.calls + 1), "sets 'calls' of a Counting"),
        (lambda self, x: setattr(self, "mean", self.mean * 0.9 + x.mean()), "sets 'mean' of a Counting"),
        (lambda self, x: setattr(self.mean, "data", (self.mean * 0.9 + x.mean()).data), "sets 'data' of a Tensor"),
        (lambda self, x: setattr(self, f"x{id(x)}", x), "makes an attribute 'x"),
    ],
    ids=["number", "buffer", "array", "new"],
)
def test_what_a_module_remembers_on_the_host(remember, message):
    learner, batch = Learner(model=lambda: Counting(remember)), drawn(1)[0]
    step = gpunet.cuda_graph(learner.step)
    for _ in range(WARM_UP):
        step(*batch)
    before = learner.state(), learner.model.calls
    with pytest.raises(GraphError, match=message):
        step(*batch)
    assert (learner.state(), learner.model.calls) == before


def test_a_buffer_that_is_written_in_place():
    def run(graph):
        learner = Learner(model=lambda: Counting(lambda self, x: self.mean.array.__iadd__(x.mean().array)))
        learner.losses(gpunet.cuda_graph(learner.step) if graph else learner.step, drawn(6))
        return learner.state()

    assert run(graph=True) == run(graph=False)


def test_two_steps_of_an_optimizer():
    with pytest.raises(GraphError, match="SGD makes two steps in the one that is recorded"):
        refused(lambda learner, loss: learner.optimizer.step())


class MixedLearner(Learner):
    """With a scale that is too large at first, and grows again soon: some steps are left out."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.scaler = GradScaler(2.0**24, growth_interval=3)

    def differentiate(self, images, labels):
        self.optimizer.zero_grad()
        with autocast():
            loss = cross_entropy(self.model(images), labels)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        return loss

    def learn(self):
        made = self.scaler.step(self.optimizer)
        self.scaler.update()
        return made

    def step(self, images, labels):
        loss = self.differentiate(images, labels)
        return loss * self.learn()

    def state(self):
        return super().state(), self.scaler.state_dict()


SCALED = {
    "momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "plain": lambda params: optim.SGD(params, lr=0.1),
    "adam": lambda params: optim.Adam(params, lr=0.01),
    "adamw": lambda params: optim.AdamW(two_groups(params), lr=0.01, amsgrad=True),
}


@pytest.mark.parametrize("make", SCALED.values(), ids=SCALED)
def test_steps_that_the_device_leaves_out(make, counters):
    ordinary, graph, parts = (MixedLearner(make) for _ in range(3))
    batches = drawn(5) * 5
    manual_seed(1)
    losses = ordinary.losses(ordinary.step, batches)
    expected = losses, ordinary.state()
    assert 2 < losses.count(0.0) < 15  # those that were left out
    manual_seed(1)
    step = gpunet.cuda_graph(graph.step)
    assert (graph.losses(step, batches), graph.state()) == expected
    counters.reset()
    step(*batches[0])
    assert counters.device_to_host == counters.host_to_device == 0
    manual_seed(1)
    differentiate = gpunet.cuda_graph(parts.differentiate)  # what is found in one graph, the host uses, or another
    for images, labels in batches:
        loss = differentiate(images, labels)
        with pytest.raises(GradientError, match="have been unscaled since the last update"):
            parts.scaler.unscale_(parts.optimizer)
        assert (loss * parts.learn()).item() == losses.pop(0)
        parts.schedule.step()
    assert parts.state() == expected[1]


@pytest.mark.parametrize(
    "make",
    [lambda params: optim.SGD(params, lr=0.1, momentum=0.9, dampening=0.1), optim.RMSprop],
    ids=["SGD", "RMSprop"],
)
def test_steps_on_which_the_host_decides(make):
    learner, batch = MixedLearner(make), drawn(1)[0]
    graph = gpunet.cuda_graph(learner.step)
    for _ in range(WARM_UP):
        graph(*batch)
    before = learner.state()
    with pytest.raises(
        GraphError, match=f"a step of {type(learner.optimizer).__name__} on which the host has to decide"
    ):
        graph(*batch)
    assert learner.state() == before
    learner.step(*batch)  # what the recording had begun is forgotten


def test_other_settings_of_a_scaler_than_when_it_was_recorded():
    learner, batch = MixedLearner(), drawn(1)[0]
    step = gpunet.cuda_graph(learner.step)
    for _ in range(WARM_UP + 2):
        step(*batch)
    learner.scaler.load_state_dict({**learner.scaler.state_dict(), "growth_factor": 4.0})
    with pytest.raises(GraphError, match="GradScaler: other settings were loaded"):
        step(*batch)


def test_a_scaler_that_has_done_nothing_before():
    learner, batch = MixedLearner(), drawn(1)[0]
    graph = gpunet.cuda_graph(
        lambda *given: (MixedLearner.step if len(losses) == WARM_UP else Learner.step)(learner, *given)
    )
    losses = []
    for _ in range(WARM_UP):
        losses.append(graph(*batch))
    with pytest.raises(GraphError, match="a GradScaler that has not made a step before"):
        graph(*batch)


def test_a_graph_within_another():
    learner, batch = Learner(), drawn(1)[0]
    inner = gpunet.cuda_graph(learner.step)
    outer = gpunet.cuda_graph(lambda *given: inner(*given))
    outer(*batch)
    outer(*batch)
    with pytest.raises(GraphError, match="another recorded step in it"):
        outer(*batch)


def test_a_recording_after_one_that_failed(monkeypatch):
    """Its stream may have the number of the other's: what is kept for that is of a graph that was never launched."""
    monkeypatch.setattr(emulated.streams, "id", lambda stream: 7, raising=False)
    with pytest.raises(GraphError):
        refused(lambda learner, loss: loss * 2 if loss.item() < 0 else loss, batch=300)
    ordinary, batches = Learner(), drawn(4, batch=300)  # so many rows that several blocks share a channel
    expected = ordinary.losses(ordinary.step, batches)
    graph = Learner()
    assert graph.losses(gpunet.cuda_graph(graph.step), batches) == expected


def test_gradients_of_before_may_not_be_added_to():
    learner, batch = Learner(), drawn(1)[0]

    def step(images, labels):
        cross_entropy(learner.model(images), labels).backward()
        learner.optimizer.step()

    graph = gpunet.cuda_graph(step)
    for _ in range(WARM_UP):
        graph(*batch)
    with pytest.raises(GraphError, match=r"begin with optimizer.zero_grad\(\)"):
        graph(*batch)


def test_a_formula_without_a_kernel():
    class Mine(optim.SGD):
        pass

    learner = Learner(lambda params: Mine(params, lr=0.1, momentum=0.9))
    graph = gpunet.cuda_graph(learner.step)
    with pytest.raises(GraphError, match=r"Mine updates parameter .* by other means"):
        learner.losses(graph, drawn(1) * 3)


def test_on_the_numpy_backend():
    with use_backend("numpy"):
        with pytest.raises(BackendError, match="needs a GPU"):
            gpunet.cuda_graph(print)
        with pytest.raises(BackendError, match="needs a GPU"):
            Trainer(tiny_network(10, 1), optim.SGD([tensor([1.0], requires_grad=True)]), 10, graph=True)


def test_accumulated_gradients():
    with pytest.raises(ArgumentError, match="graph and accumulate"):
        Trainer(tiny_network(10, 1), optim.SGD([tensor([1.0], requires_grad=True)]), 10, graph=True, accumulate=2)


# What has changed since


def replace_data(learner):
    weight = learner.model[0].weight
    weight.data = weight.array.copy()


def load_optimizer(learner):
    learner.optimizer.load_state_dict(learner.optimizer.state_dict())


def add_parameters(learner):
    learner.optimizer.add_param_group({"params": [tensor([1.0], requires_grad=True)]})


@pytest.mark.parametrize(
    "change",
    [
        lambda learner: learner.model.eval(),
        lambda learner: learner.model.requires_grad_(False),
        lambda learner: setattr(learner.model[3], "p", 0.5),
        lambda learner: setattr(learner.model[1], "momentum", 0.5),
        lambda learner: setattr(learner.model[5], "weight", nn.Parameter(tensor(np.zeros((10, 36), np.float32)))),
        lambda learner: learner.optimizer.param_groups[0].update(nesterov=False),
        replace_data,
        load_optimizer,
        add_parameters,
    ],
    ids=["eval", "freeze", "dropout", "momentum", "layer", "nesterov", "data", "optimizer", "group"],
)
def test_a_change_is_an_error(recorded, change):
    learner, step, batch = recorded
    change(learner)
    before = learner.state()
    with pytest.raises(GraphError, match=r"record it again|Record the step again"):
        step(*batch)
    assert learner.state() == before


def test_a_change_that_is_taken_back_is_none(recorded):
    learner, step, batch = recorded
    learner.model.eval()
    learner.model(batch[0])
    learner.model.train()
    step(*batch)


@pytest.mark.parametrize("mode", [autocast, gpunet.no_grad])
def test_another_mode_is_an_error(recorded, mode):
    _, step, batch = recorded
    with mode(), pytest.raises(GraphError, match="autocast or no_grad"):
        step(*batch)


@pytest.mark.parametrize(
    "change",
    [
        lambda learner: learner.optimizer.param_groups[0].update(lr=0.5, momentum=0.1, weight_decay=0.3),
        lambda learner: learner.model.load_state_dict({k: v * 2 for k, v in learner.model.state_dict().items()}),
        lambda learner: learner.model[0].weight.array.fill(0.25),
        lambda learner: manual_seed(3),
    ],
    ids=["settings", "weights", "in place", "seed"],
)
def test_a_change_that_is_honoured(change):
    def run(graph):
        learner, batches = Learner(), drawn(5)
        step = gpunet.cuda_graph(learner.step) if graph else learner.step
        learner.losses(step, batches)
        change(learner)
        return [step(*batch).item() for batch in batches], learner.state()

    assert run(graph=True) == run(graph=False)


def test_a_schedule_within_the_step():
    def run(graph):
        learner = Learner()

        def step(*batch):
            loss = learner.step(*batch)
            learner.schedule.step()
            return loss

        step = gpunet.cuda_graph(step) if graph else step
        return [step(*batch).item() for batch in drawn(8)], learner.state(), learner.schedule.state_dict()

    assert run(graph=True) == run(graph=False)


def test_two_graphs_for_two_shapes():
    def run(graph):
        learner, batches = Learner(lambda params: optim.Adam(params, lr=0.01)), drawn(8)
        large, small = [gpunet.cuda_graph(learner.step) if graph else learner.step for _ in range(2)]
        found = []
        for images, labels in batches:
            found += [*learner.losses(large, [(images, labels)]), *learner.losses(small, [(images[:2], labels[:2])])]
        return found, learner.state()

    assert run(graph=True) == run(graph=False)


def test_ordinary_steps_in_between():
    def run(graph):
        learner, batches = Learner(), drawn(8)
        step = gpunet.cuda_graph(learner.step) if graph else learner.step
        smaller = [(images[:2], labels[:2]) for images, labels in batches]
        found = []
        for one, other in zip(batches, smaller, strict=True):
            found += learner.losses(step, [one])
            found += learner.losses(learner.step, [other])
        return found, learner.state()

    assert run(graph=True) == run(graph=False)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (lambda x, y: (x[:2], y[:2]), ShapeError, r"begun with inputs \(4, 1, 8, 8\) float32, .*, got \(2, 1, 8, 8\)"),
        (lambda x, y: (x.double(), y), DTypeError, "got .* float64"),
        (lambda x, y: (x,), ShapeError, "one shape only"),
        (lambda x, y: (x.array, y), ArgumentError, "input 0 of the step must be a Tensor of data, got ndarray"),
        (lambda x, y: (tensor(to_cpu(x.array), requires_grad=True), y), ArgumentError, "requires a gradient"),
        (lambda x, y: (x, tensor([1, 2, 3, 10])), LabelError, "labels must lie within 0 .. 9"),
    ],
)
def test_inputs_that_do_not_fit(recorded, inputs, error, message):
    learner, step, batch = recorded
    before = learner.state()
    with pytest.raises(error, match=message):
        step(*inputs(*batch))
    assert learner.state() == before


def test_labels_whose_range_is_not_known_are_looked_at(recorded, counters):
    _, step, (images, labels) = recorded
    counters.reset()
    step(images, labels + 0)
    assert counters.device_to_host == 1
    with pytest.raises(LabelError):
        step(images, labels + 10)


def test_what_is_returned_is_not_written_over(recorded):
    _, step, batch = recorded
    first = step(*batch)
    value = first.item()
    step(*batch)
    assert first.item() == value


def test_another_backend(recorded):
    _, step, batch = recorded
    with use_backend("numpy"), pytest.raises(BackendError, match="on emulated; active is numpy"):
        step(*batch)


def test_a_learning_rate_of_the_recording_would_be_noticed(monkeypatch):
    """The tests above do not pass by chance: with numbers that are written once, as a launch has them, they fail."""

    def once(self, numbers):
        if self._written[0] is None:
            write(self, numbers)

    ordinary, graph = Learner(), Learner()
    batches = drawn(5)
    expected = ordinary.losses(ordinary.step, batches)
    write = device_numbers.DeviceNumbers.write
    monkeypatch.setattr(device_numbers.DeviceNumbers, "write", once)
    assert graph.losses(gpunet.cuda_graph(graph.step), batches) != expected


# The stand-in captures as CUDA does


def captured(work, pool):
    stream = emulated.cuda.Stream(non_blocking=True)
    with stream, emulated.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        assert stream.is_capturing()
        work()
        return stream.end_capture()


def test_nothing_is_done_before_the_launch():
    x, total = emulated.arange(3.0), emulated.zeros(3)
    pool = emulated.cuda.MemoryPool()
    made = []

    def work():
        made.append(x * 2)
        total.__iadd__(made[0])
        made.append(made[0][emulated.arange(2)])

    graph = captured(work, pool)
    assert np.isnan(made[0].get()).all()
    assert total.get().tolist() == [0, 0, 0]
    for launches in (1, 2):
        graph.launch()
        assert total.get().tolist() == [0, 2 * launches, 4 * launches]
    x.fill(5)
    graph.launch()
    assert made[1].get().tolist() == [10, 10]


@pytest.mark.parametrize(
    ("work", "what"),
    [
        (lambda x: x.get(), "ndarray.get, which waits"),
        (lambda x: x.item(), "ndarray.item, which waits"),
        (lambda x: float(x), "ndarray.get, which waits"),
        (lambda x: x.tolist(), "ndarray.tolist, which waits"),
        (lambda x: bool(x), "the truth of an array"),
        (lambda x: x.set(np.zeros(1)), "ndarray.set, a copy"),
        (lambda x: emulated.asarray([1.0]), "values of the host"),
        (lambda x: x[np.array([0])], "an index of the host"),
        (lambda x: x[x > 0], "a mask"),
        (lambda x: emulated.concatenate([x] * 9), "joining more than 8"),
        (lambda x: emulated.bincount(x.astype(int)), "the largest number"),
        (lambda x: emulated.cuda.get_current_stream().synchronize(), "waiting for the stream"),
        (lambda x: emulated.cuda.Event().synchronize(), "waiting for an event"),
        (lambda x: emulated.cuda.runtime.deviceSynchronize(), "waiting for the device"),
        (lambda x: emulated.cuda.Event().record(), "an event"),
        (lambda x: emulated.cuda.get_current_stream().wait_event(emulated.cuda.Event()), "another stream"),
    ],
)
def test_what_cuda_refuses_is_refused_and_loses_the_capture(work, what):
    x = emulated.ones(1)
    pool, stream = emulated.cuda.MemoryPool(), emulated.cuda.Stream(non_blocking=True)
    with stream, emulated.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        with pytest.raises(RuntimeError, match=f"cudaErrorStreamCaptureUnsupported: .*{what}"):
            work(x)
        with pytest.raises(RuntimeError, match="cudaErrorStreamCaptureInvalidated"):
            stream.end_capture()
    assert x.get() == 1


def test_the_default_stream_cannot_be_captured():
    with pytest.raises(RuntimeError, match="default"):
        emulated.cuda.Stream.null.begin_capture()
    stream = emulated.cuda.Stream(non_blocking=True)
    with pytest.raises(RuntimeError, match="IllegalState"):
        stream.end_capture()
    stream.begin_capture()
    with pytest.raises(RuntimeError, match="IllegalState"):
        stream.begin_capture()


def test_memory_of_the_common_pool_is_refused():
    x, stream = emulated.ones(1), emulated.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        with pytest.raises(KernelError, match="an array of 8 bytes was made of the common memory pool"):
            x + 1
        stream.end_capture()


def test_a_graph_whose_memory_is_gone():
    arrays, pool = [emulated.ones(1)], emulated.cuda.MemoryPool()
    graph = captured(lambda: arrays[0] + 1, pool)
    graph.launch()
    assert pool.used_bytes() > 0  # though nobody refers to the sum any more
    arrays[0] = emulated.ones(1)
    with pytest.raises(KernelError, match="1 of the arrays that it reads or writes are freed"):
        graph.launch()


def test_a_graph_whose_pool_is_gone():
    x, pools = emulated.ones(1), [emulated.cuda.MemoryPool()]
    graph = captured(lambda: x + 1, pools[0])
    graph.launch()
    pools.clear()
    with pytest.raises(KernelError, match="freed"):
        graph.launch()


# gpunet train --graph


def run(folder, graph, steps=None, resume=False, **settings):
    callbacks = [] if steps is None else [StopAfter(steps)]
    options = RunOptions(graph=graph)
    config = replace(TINY, **settings)
    TrainingRun(config, folder, show_progress=False, options=options, resume=resume, callbacks=callbacks).run()
    return weights(folder), figures(folder)


@pytest.fixture
def runs(tiny_runs):
    with use_backend("emulated"):
        yield


@pytest.mark.parametrize("first", [False, True])
def test_a_run_is_the_same_with_and_without_and_so_is_one_that_goes_on(runs, tmp_path, first):
    settings = {"clip": 1.0, "ema": 0.9}
    whole = run(tmp_path / "whole", graph=False, **settings)
    assert run(tmp_path / "graph", graph=True, **settings) == whole
    run(tmp_path / "parts", graph=first, steps=11, **settings)
    assert run(tmp_path / "parts", graph=not first, resume=True, **settings) == whole


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "step", "plateau", "constant"])
@pytest.mark.parametrize("others", [{}, {"amp": True}, {"mixup": 0.4}, {"label_smoothing": 0.1}], ids=str)
def test_every_kind_of_run(runs, tmp_path, optimizer, schedule, others):
    settings = {"optimizer": optimizer, "schedule": schedule, "lr": 0.05 if optimizer == "sgd" else 1e-3, **others}
    assert run(tmp_path / "graph", graph=True, **settings) == run(tmp_path / "whole", graph=False, **settings)


def test_the_command(runs, tmp_path, capsys):
    command = ["train", "--model", "tiny", "--epochs", "1", "--batch-size", "8", "--quiet", "--graph"]
    assert main([*command, "--backend", "numpy", "--out", str(tmp_path / "numpy")]) == 1
    assert "needs a GPU" in capsys.readouterr().err
    assert not (tmp_path / "numpy").exists()
    assert main([*command, "--backend", "emulated", "--out", str(tmp_path / "run")]) == 0
    resumed = ["train", "--resume", "--out", str(tmp_path / "run"), "--no-graph", "--quiet"]
    assert main(resumed) == 0
    assert not saved_options(RunFolder(tmp_path / "run")).graph


def test_a_loss_that_is_not_finite_is_explained(runs, tmp_path):
    with pytest.raises(NonFiniteError, match=r"in step .*layer"):
        run(tmp_path / "run", graph=True, lr=1e30)
