"""Data-parallel training: on real ranks, which mpiexec starts, and what of it can be seen in one process.

Programs that run on ranks are in tests/ranks.py. None may hang: each has a time limit.
"""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gpunet
from gpunet import nn, optim, tape
from gpunet.backend import draw_for_whole_batch, uniform, uniform_rows, use_backend
from gpunet.cli import main
from gpunet.data import DataLoader, Digits, DistributedSampler, Mixup, TensorDataset
from gpunet.data.transforms import Compose, RandomCrop, ToFloat
from gpunet.distributed import DataParallel, check_same, launched, predict_scaling, witness
from gpunet.distributed.faults import together
from gpunet.distributed.nccl import join_gpus
from gpunet.errors import ArgumentError, DataError, GradientError, ProcessError, ShapeError
from gpunet.functional import cross_entropy
from gpunet.models import resnet50
from gpunet.ranks import Communicator, alone, communicator, use_communicator
from gpunet.tensor import tensor
from gpunet.train import RunFolder, Trainer, evaluate_run
from tests import ranks
from tests.runs import few_digits

on_ranks = pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
with_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")


class Mirror(Communicator):
    """Stands for ranks that all have what this one has: their means are its own."""

    def __init__(self, size=2, rank=0):
        self.size, self.rank, self.hosts = size, rank, ("here",) * size
        self.local_rank, self.local_size = rank, size
        self.sums = 0

    def gather(self, value):
        return [json.loads(json.dumps(value))] * self.size

    def all_to_all(self, given, received):
        self.sums += 1
        yield  # on its way
        received[...] = given[self.rank]
        self.mine = given.copy()

    def all_gather(self, given, received):
        received[...] = (
            given if received.shape[1:] != given.shape or not hasattr(self, "mine") else self.size * self.mine
        )
        return iter(())


@pytest.fixture
def mirror():
    use_communicator(Mirror())
    yield communicator()
    use_communicator(None)


# ------------------------------------------------------------------------------------- one process, without any MPI


def test_without_a_launcher_nothing_is_imported_and_nothing_changes():
    program = (
        "import sys, gpunet.distributed as d; d.init(); "
        "assert not {name for name in sys.modules if name.startswith('mpi4py')}; "
        "print(d.rank(), d.world_size(), d.local_rank(), d.is_initialized())"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PMI", "OMPI", "SLURM"))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=clean, timeout=60)
    assert done.stdout == "0 1 0 False\n", done.stderr


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}, (4, 3, 1)),
        ({"PMI_SIZE": "2", "PMI_RANK": "0", "MPI_LOCALRANKID": "0"}, (2, 0, 0)),
        ({"PMI_SIZE": "2", "PMI_RANK": "1"}, (2, 1, None)),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "5", "SLURM_LOCALID": "1"}, (8, 5, 1)),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, None),  # the script, and no step of srun
        ({"WORLD_SIZE": "16", "RANK": "9", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "8"}, (16, 9, 1)),
        ({"WORLD_SIZE": "16"}, None),
        ({"PMI_SIZE": "two", "PMI_RANK": "1"}, None),
        # Within SLURM, an mpiexec: what it says counts.
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "PMI_SIZE": "8", "PMI_RANK": "7"}, (8, 7, None)),
    ],
)
def test_launchers_are_understood(variables, expected):
    launch = launched(variables)
    assert (launch and launch[1:]) == expected


def test_a_launcher_that_contradicts_itself_is_an_error():
    with pytest.raises(ProcessError, match="PMI_RANK=2"):
        launched({"PMI_SIZE": "2", "PMI_RANK": "2"})


def test_processes_that_cannot_talk_are_refused_and_not_trained_apart():
    """Started by something that no MPI knows of, such as torchrun, each would train alone, and say nothing of it."""
    pytest.importorskip("mpi4py")
    program = "import gpunet; gpunet.distributed.init()"
    variables = {**os.environ, "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables, timeout=60)
    assert "torchrun has started 2 processes, but" in done.stderr
    program = "import sys; sys.modules['mpi4py'] = None; import gpunet; gpunet.distributed.init()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=variables, timeout=60)
    assert "pip install 'gpunet[mpi]'" in done.stderr


def test_predicted_scaling_is_the_formula():
    found = predict_scaling(8, 1_000_000, 32, 100.0, 1e9, 1e-5, overlap=0.01, bucket_bytes=1_000_000)
    assert found.bytes_per_step == 2 * 7 / 8 * 4e6
    assert found.compute_seconds == 0.32
    assert found.communication_seconds == pytest.approx(7e-3 + 4 * 2 * 7 * 1e-5)
    assert found.step_seconds == pytest.approx(0.32 + 7e-3 + 56e-5 - 0.0032)
    assert found.images_per_second == pytest.approx(8 * 32 / found.step_seconds)
    assert found.efficiency == pytest.approx(0.32 / found.step_seconds)
    alone = predict_scaling(1, 1_000_000, 32, 100.0, 1e9, 1e-5)
    assert (alone.bytes_per_step, alone.efficiency) == (0, 1)
    with pytest.raises(ArgumentError, match="bandwidth"):
        predict_scaling(8, 1, 32, 100.0, 0, 1e-5)


PAGE = (Path(__file__).parent.parent / "docs/distributed.md").read_text(encoding="utf-8")


def test_the_code_on_the_page_runs_and_its_table_is_what_it_prints(numpy_backend, capsys):
    loop, table = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    exec(compile(loop, "docs/distributed.md", "exec"), {})
    assert capsys.readouterr().out.startswith("1 rank(s), loss of the last batch ")
    exec(compile(table, "docs/distributed.md", "exec"), {})
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 7
    assert printed in PAGE
    assert sum(each.numel() for each in resnet50().parameters()) == 25_557_032


def test_the_formula_on_the_page_is_that_of_the_function():
    formula = re.search(r"^    bytes +=.*?efficiency[^\n]*", PAGE, flags=re.MULTILINE | re.DOTALL)[0]
    names = {"N": 24, "P": 1e8, "b": 4, "B": 32, "v": 800.0, "w": 2e9, "l": 1e-5, "k": 96, "o": 0.5}
    exec("\n".join(line.strip().replace("2 (", "2 * (") for line in formula.splitlines()), names)
    found = predict_scaling(24, 10**8, 32, 800.0, 2e9, 1e-5, 0.5)
    assert names["efficiency"] == pytest.approx(found.efficiency)
    assert names["communication"] == pytest.approx(found.communication_seconds)


# Samplers, loaders, random numbers


@pytest.mark.parametrize("count", [1, 7, 8, 9, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_each_item_comes_once_and_in_another_order_each_epoch(count, size):
    samplers = [DistributedSampler(range(count), size, rank, seed=5) for rank in range(size)]
    orders = []
    for epoch in range(4):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        dealt = [list(sampler) for sampler in samplers]
        assert [len(each) for each in dealt] == [len(sampler) for sampler in samplers]
        assert sorted(itertools.chain(*dealt)) == list(range(count))
        orders.append(tuple(map(tuple, dealt)))
    assert count < 7 or len(set(orders)) == 4


def test_items_that_do_not_go_round_may_be_left_out():
    parts = [list(DistributedSampler(range(7), 3, rank, shuffle=False, drop_last=True)) for rank in range(3)]
    assert parts == [[0, 3], [1, 4], [2, 5]]
    with pytest.raises(ArgumentError, match="rank must be less than num_replicas"):
        DistributedSampler(range(7), 2, 2)


def transformed(count=22):
    digits = Digits(True, Compose([RandomCrop(8, padding=2), ToFloat(16)]))
    return gpunet.data.Subset(digits, range(count))


@pytest.mark.parametrize("mixup", [None, Mixup(10, 0.4)])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_parts_of_all_ranks_are_the_batch_of_one(mixup, workers, numpy_backend):
    """Each with the same random transforms, whichever rank has it; also in a last batch that does not go round."""
    settings = {"shuffle": True, "seed": 3, "batch_transform": mixup, "workers": workers}
    whole = list(DataLoader(transformed(), 8, **settings))
    for size in (2, 3, 4):
        parts = [list(DataLoader(transformed(), 8, **settings, shard=(rank, size))) for rank in range(size)]
        assert [len(part) for part in parts] == [len(whole)] * size
        for batch, all_parts in enumerate(whole):
            for part, expected in enumerate(all_parts):
                for rank in range(size):
                    assert np.array_equal(parts[rank][batch][part].numpy(), expected.numpy()[rank::size])


def test_a_distributed_sampler_deals_out_the_same_batches(numpy_backend):
    data = TensorDataset(np.arange(11))
    whole = [batch[0].tolist() for batch in DataLoader(data, 4, shuffle=True, seed=7)]
    loaders = [DataLoader(data, 2, sampler=DistributedSampler(data, 2, rank, seed=7)) for rank in range(2)]
    assert [len(loader) for loader in loaders] == [3, 3]
    for rank, loader in enumerate(loaders):
        assert [batch[0].tolist() for batch in loader] == [each[rank::2] for each in whole]


def test_each_so_manieth_batch_alone_is_made(numpy_backend):
    loader = DataLoader(TensorDataset(np.arange(10)), 2)
    assert [batch[0].tolist() for batch in loader.every(2, 1)] == [[2, 3], [6, 7]]


def test_a_shard_that_makes_no_sense_is_an_error():
    with pytest.raises(ArgumentError, match=r"shard must be \(rank, ranks\)"):
        DataLoader([1, 2], shard=(2, 2))
    with pytest.raises(ArgumentError, match="leave shuffle, shard and samplers away"):
        DataLoader(IterableOnly(), shard=(0, 2))


class IterableOnly:
    def __iter__(self):
        return iter([1, 2])


def test_random_numbers_of_a_part_are_those_of_the_whole(backend):
    gpunet.manual_seed(4)
    whole, after = gpunet.to_cpu(uniform((7, 3, 2))), gpunet.to_cpu(uniform((2,)))
    for size in (2, 3):
        for rank in range(size):
            gpunet.manual_seed(4)
            draw_for_whole_batch(7, slice(rank, None, size))
            try:
                part = gpunet.to_cpu(uniform_rows((len(range(rank, 7, size)), 3, 2)))
            finally:
                draw_for_whole_batch(None)
            assert np.array_equal(part, whole[rank::size])
            assert np.array_equal(gpunet.to_cpu(uniform((2,))), after)


# Gradients that are told of


def test_gradients_are_told_of_as_soon_as_they_are_there(backend):
    """The last layer's first, and one that is used twice when both its parts are there."""
    order = []
    first, twice, last = (tensor([[2.0]], requires_grad=True) for _ in range(3))
    for name, weight in (("first", first), ("twice", twice), ("last", last)):
        weight.register_post_accumulate_grad_hook(lambda param, name=name: order.append((name, param.grad.item())))
    first.register_hook(lambda grad: order.append(("runs first", grad.item())))
    x = tensor([[3.0]])
    (((x @ twice) @ first) @ twice @ last).sum().backward()
    assert order == [("last", 24.0), ("runs first", 24.0), ("first", 24.0), ("twice", 48.0)]


def test_a_hook_on_a_gradient_can_be_removed_and_needs_a_leaf():
    weight, calls = tensor([1.0], requires_grad=True), []
    with weight.register_post_accumulate_grad_hook(calls.append):
        (weight * 2).sum().backward()
    (weight * 2).sum().backward()
    assert len(calls) == 1
    with pytest.raises(GradientError, match="expects a leaf"):
        (weight * 2).register_post_accumulate_grad_hook(calls.append)


def test_the_end_of_backward_comes_once_after_all_gradients():
    weight, ends = tensor([1.0], requires_grad=True), []
    other = tensor([1.0], requires_grad=True)
    weight.register_post_accumulate_grad_hook(
        lambda param: tape.when_backward_ends(lambda: ends.append(other.grad.item()))
    )
    (other * (weight * 2)).sum().backward()
    (other * 2).sum().backward()
    assert ends == [2.0]


def test_buckets_set_out_while_backward_goes_on(mirror, numpy_backend):
    """From the last layer on, each as soon as its gradients are there; the layers before it come after."""
    layers = [nn.Linear(16, 16, bias=False) for _ in range(4)]
    events = []
    parallel = DataParallel(nn.Sequential(*layers), bucket_bytes=16 * 16 * 4)
    for place, layer in enumerate(layers):
        layer.weight.register_hook(lambda grad, place=place: events.append(f"gradient {place}"))
    output = parallel(gpunet.randn(2, 16))
    for place, bucket in enumerate(parallel._buckets):
        set_out = bucket.set_out
        bucket.set_out = lambda place=place, set_out=set_out: (events.append(f"bucket {place}"), set_out())
    output.sum().backward()
    assert events == [name for n in range(4) for name in (f"gradient {3 - n}", f"bucket {n}")]
    assert mirror.sums == 4


def small(rank=0):
    gpunet.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))


def gradients(model, x, labels):
    model.zero_grad()
    cross_entropy(model(x), labels).backward()
    return [each.grad.numpy().copy() for each in model.parameters()]


def test_the_mean_of_equal_gradients_is_the_gradient(mirror, backend):
    x, labels = gpunet.randn(6, 4), tensor([0, 1, 2, 0, 1, 2])
    expected = gradients(small(), x, labels)
    for bucket_bytes in (1, 64, 1 << 20):
        model = small()
        parallel = DataParallel(model, bucket_bytes=bucket_bytes)
        for _ in range(2):
            found = gradients(parallel, x, labels)
            assert all(np.allclose(*pair, atol=1e-7) for pair in zip(found, expected, strict=True))


def test_without_synchronisation_gradients_add_up_until_they_are_averaged(mirror, numpy_backend):
    x, labels = gpunet.randn(6, 4), tensor([0, 1, 2, 0, 1, 2])
    model = small()
    expected = gradients(model, x, labels)
    parallel = DataParallel(model)
    model.zero_grad()
    with parallel.no_sync():
        cross_entropy(parallel(x), labels).backward()
    assert mirror.sums == 0
    cross_entropy(parallel(x), labels).backward()
    assert mirror.sums == 1
    assert all(
        np.allclose(each.grad.numpy(), 2 * grad, atol=1e-6)
        for each, grad in zip(model.parameters(), expected, strict=True)
    )


def test_layers_that_begin_to_learn_later_are_averaged_too(mirror, numpy_backend):
    model = small()
    model[0].weight.requires_grad_(False)
    parallel, x, labels = DataParallel(model), gpunet.randn(6, 4), tensor([0, 1, 2, 0, 1, 2])
    cross_entropy(parallel(x), labels).backward()
    model[0].weight.requires_grad_(True)
    model.zero_grad()
    cross_entropy(parallel(x), labels).backward()
    assert sum(len(bucket.params) for bucket in parallel._buckets) == 4
    assert parallel._buckets[0].flat.size >= sum(each.numel() for each in model.parameters())


def test_a_loader_that_gives_every_rank_the_whole_batch_is_refused(mirror, numpy_backend):
    model = small()
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), 3, show_progress=False)
    data = DataLoader(TensorDataset(np.zeros((4, 4), np.float32), np.zeros(4, np.int64)), 2)
    with pytest.raises(ArgumentError, match="shard="):
        next(trainer.fit(data, data, 1))
    with pytest.raises(ArgumentError, match="graph is for one rank"):
        Trainer(model, optim.SGD(model.parameters(), 0.1), 3, graph=True)


def test_convert_sync_batchnorm_keeps_everything():
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.ModuleList([nn.BatchNorm1d(2, affine=False)]))
    model[1].momentum, model[1].eps = None, 0.5
    model.eval()
    weights = list(model.parameters())
    state = {name: each.numpy() for name, each in model.state_dict().items()}
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert converted is model
    assert [type(each).__name__ for each in (model[1], model[2][0])] == ["SyncBatchNorm"] * 2
    assert (model[1].momentum, model[1].eps, model[1].training, model[2][0].affine) == (None, 0.5, False, False)
    assert all(one is other for one, other in zip(model.parameters(), weights, strict=True))
    assert {name: each.tolist() for name, each in model.state_dict().items()} == {
        name: each.tolist() for name, each in state.items()
    }
    assert isinstance(nn.SyncBatchNorm.convert_sync_batchnorm(nn.BatchNorm1d(4)), nn.SyncBatchNorm)
    with pytest.raises(ArgumentError, match="process_group"):
        nn.SyncBatchNorm(3, process_group=object())


def test_a_single_value_on_all_ranks_together_has_no_variance(numpy_backend):
    class OneHasIt(Mirror):
        def all_gather(self, given, received):
            received[0], received[1:] = given, 0
            return iter(())

    use_communicator(OneHasIt())
    try:
        with pytest.raises(ShapeError, match="on all ranks together"):
            nn.SyncBatchNorm(3)(gpunet.ones(1, 3))
    finally:
        use_communicator(None)


def test_ranks_that_differ_are_named():
    class Other(Mirror):
        def gather(self, value):
            return [value, {**value, "lr": 0.2, "seed": 1}, value]

    use_communicator(Other(3))
    try:
        with pytest.raises(ProcessError) as caught:
            check_same({"lr": 0.1, "data": "digits"}, "settings")
    finally:
        use_communicator(None)
    assert str(caught.value).splitlines() == [
        "all ranks must have the same settings:",
        "  lr: rank 1 has 0.2, rank 0 has 0.1",
        "  seed: rank 1 has 1, rank 0 has 'nothing'",
    ]
    assert caught.value.is_everywhere


def test_an_error_of_one_rank_is_an_error_of_all():
    class SecondFails(Mirror):
        def gather(self, value):
            return [value, ["DataError", "there is no such folder"]]

    use_communicator(SecondFails())
    try:
        with pytest.raises(DataError, match="rank 1: there is no such folder"), together():
            pass
    finally:
        use_communicator(None)


def test_alone_nothing_is_told_otherwise():
    error = DataError("there is no such folder")
    with pytest.raises(DataError) as caught, together():
        raise error
    assert caught.value is error
    with alone():
        assert communicator().size == 1


def test_who_waits_too_long_gives_up():
    waiting = Communicator()
    waiting.timeout = 0.05
    with pytest.raises(ProcessError, match=r"rank 0 has waited 0 s for the others"):
        waiting.wait(iter(lambda: None, 1))


# ------------------------------------------------------------------------------------------------------- real ranks


@on_ranks
def test_ranks_tell_each_other_what_they_have(size):
    output = ranks.run(size, "collectives")
    said = re.findall(r"rank \d of \d on \d: all arrived", output)  # lines of several ranks may run together
    assert sorted(said) == [f"rank {each} of {size} on {each}: all arrived" for each in range(size)]


def learned(path, size, **settings):
    ranks.run(size, "learn", out=str(path), **settings)
    with np.load(path) as file:
        return dict(file)


@on_ranks
def test_ranks_learn_what_one_learns_with_the_whole_batch(size, tmp_path):
    """Fifty steps of a residual network with batch norm and dropout, in float64; ranks agree bit for bit at each."""
    one = learned(tmp_path / "one.npz", 1)
    several = learned(tmp_path / "several.npz", size)
    assert one.keys() == several.keys()
    for name in one:
        assert np.abs(one[name] - several[name]).max() < 1e-10, name


@on_ranks
def test_ranks_learn_the_same_bits_every_time_and_float32_is_near(size, tmp_path):
    found = [
        learned(tmp_path / f"{place}.npz", count, dtype="float32", steps=8, batch=9)
        for place, count in enumerate((1, size, size))
    ]
    for name in found[0]:
        assert np.array_equal(found[1][name], found[2][name]), name
        if name.startswith("gradient"):
            assert np.abs(found[0][name] - found[1][name]).max() < 1e-5, name


@on_ranks
def test_a_batch_that_does_not_go_round_counts_each_image_once(size):
    sizes = json.loads(re.search(r"sizes (.*)", ranks.run(size, "uneven"))[1])
    assert len(sizes) == size
    assert sum(map(sum, sizes)) == 9
    assert min(map(min, sizes)) == 0  # the tail leaves a rank without any


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3, 4])
def test_sync_batch_norm_is_batch_norm_of_the_whole(size):
    assert ranks.run(size, "sync_batch_norm").count("agrees") == size


@on_ranks
def test_metrics_are_those_of_one_rank_bit_for_bit(size):
    assert ranks.run(size, "exact_metrics", out="").count("agrees") == size


@on_ranks
def test_the_path_to_nccl_on_the_emulated_backend(size):
    """With a stand-in for CuPy's communicator: what it asks for, and in which order. Unproven on hardware."""
    assert ranks.run(size, "nccl").count("agrees") == size


@pytest.mark.slow
def test_cupyx_has_the_calls_that_are_made():
    module = pytest.importorskip("cupyx.distributed", exc_type=ImportError)
    import inspect

    from tests.cupyx_stand_in import Gpus

    assert {"n_devices", "rank", "use_mpi"} <= inspect.signature(module.init_process_group).parameters.keys()
    assert hasattr(pytest.importorskip("cupy", exc_type=ImportError).cuda.Device, "pci_bus_id")
    for name in ("broadcast", "all_gather", "all_to_all"):
        theirs = inspect.signature(getattr(module.NCCLBackend, name))
        assert list(theirs.parameters) == list(inspect.signature(getattr(Gpus, name)).parameters), name


def test_cores_are_divided():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert ranks.run(2, "started", threads=max(1, cores // 2)).count("has them") == 2


@on_ranks
def test_what_the_trainer_does_besides_is_that_of_one_rank(size, tmp_path):
    """Accumulated gradients, clipping, averages of the weights, batches that do not go round; and all figures."""
    found = []
    for count in (1, size):
        ranks.run(count, "fitted", out=str(tmp_path / f"{count}.npz"))
        with np.load(tmp_path / f"{count}.npz") as file:
            found.append(dict(file))
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        tolerance = 1e-6 if name == "figures" else 1e-10  # sums of losses are float32
        assert np.abs(found[0][name] - found[1][name]).max() < tolerance, name


def test_gradients_that_overflow_on_one_rank_are_left_out_by_all():
    assert ranks.run(2, "overflows").count("has left it out") == 2


@pytest.mark.slow
def test_statistics_of_batch_norm_are_those_of_rank_0():
    assert ranks.run(2, "own_statistics").count("agrees") == 2


class Cuda:
    """What is asked of `cupy.cuda` to choose a device: of a machine that shows so many."""

    def __init__(self, count):
        self.chosen, self.runtime = None, SimpleNamespace(getDeviceCount=lambda: count)

    def Device(self, number):
        return SimpleNamespace(use=lambda: setattr(self, "chosen", number), pci_bus_id=f"0000:0{number}:00.0")

    def Stream(self, non_blocking):
        return None


class Machine(Communicator):
    """Two ranks on one machine, of which this is the second."""

    rank, size, local_rank, local_size, hosts = 1, 2, 1, 2, ("here", "here")

    def __init__(self, first):
        self.first = first

    def gather(self, value):
        return [["here", self.first], value]


@pytest.mark.parametrize(
    ("count", "given", "first", "chosen"),
    [
        (2, None, "0000:00:00.0", 1),
        (8, 5, "0000:00:00.0", 5),  # as the launcher says
        (1, None, "0000:07:00.0", 0),  # a launcher that shows each rank its own
    ],
)
def test_each_rank_gets_a_gpu(monkeypatch, count, given, first, chosen):
    cuda = Cuda(count)
    monkeypatch.setattr("gpunet.distributed.nccl.xp", SimpleNamespace(cuda=cuda))
    joined = SimpleNamespace(init_process_group=lambda size, rank, use_mpi: (size, rank, use_mpi))
    monkeypatch.setattr("gpunet.distributed.nccl.importlib.import_module", lambda name: joined)
    found = join_gpus(Machine(first), given)
    assert (cuda.chosen, found._gpus) == (chosen, (2, 1, True))


@pytest.mark.parametrize(("count", "first"), [(1, "0000:00:00.0"), (0, None)])
def test_ranks_that_would_share_a_gpu_are_refused(monkeypatch, count, first):
    monkeypatch.setattr("gpunet.distributed.nccl.xp", SimpleNamespace(cuda=Cuda(count)))
    with pytest.raises(ProcessError, match=r"rank [01] has no GPU of its own: here has 2 ranks"):
        join_gpus(Machine(first), None)


def test_bench_lets_one_rank_and_several_take_turns(capsys):
    ranks.mpiexec()
    options = ["--model", "resnet8", "--batch", "2", "--image", "3x8x8", "--repeats", "2", "--backend", "numpy"]
    assert main(["bench", "--ranks", "2", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["ranks"]
    assert (found["ranks"], found["threads"], found["workload"]["batch"]) == (2, 1, 2)
    alone, together = (found[name]["seconds"]["values"] for name in ("alone", "together"))
    assert len(alone) == len(together) == 2
    assert found["speedup_by_round"]["values"] == [2 * a / b for a, b in zip(alone, together, strict=True)]
    assert found["speedup"] == pytest.approx(2 * np.median(alone) / np.median(together))
    assert main(["bench", "--ranks", "2", *options]) == 0
    assert "times as many images/s" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["bench", "--ranks", "2", "--mode", "inference"])


# gpunet train


def train(size, *arguments, fails=False):
    return ranks.run(size, "cli", fails, arguments=[*ranks.OPTIONS, *map(str, arguments)])


def summary(folder):
    return json.loads(Path(folder, "summary.json").read_text(encoding="utf-8"))


@on_ranks
def test_train_writes_once_and_says_how_many(size, tmp_path):
    output = train(size, "--out", tmp_path / "run", "--check-ranks")
    assert output.count("test accuracy") == 5  # of four epochs, and in the end: rank 0 alone
    assert f"backend numpy, {size} ranks" in output
    result = summary(tmp_path / "run")
    assert (result["world_size"], result["epochs_done"], result["steps_done"]) == (size, 4, 32)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 4
    assert sum(map(sum, result["confusion"])) == 40
    with few_digits(), use_backend("numpy"):
        evaluation, _ = evaluate_run(tmp_path / "run")
    assert (evaluation.loss, evaluation.accuracy) == (result["test_loss"], result["test_accuracy"])


@pytest.mark.slow
def test_a_checkpoint_of_some_ranks_goes_on_with_others(tmp_path):
    """To the same bits with as many, and to nearly the same with more, or one alone."""
    train(2, "--out", tmp_path / "whole")
    for size in (2, 4, 1):
        folder = tmp_path / f"on {size}"
        ranks.run(2, "fault", folder=str(folder), rank=1, what="terminate", options=[], fails=True)
        assert summary(folder)["interrupted"]
        assert "going on after 1 epochs and 3 batches" in train(size, "--resume", "--out", folder)
        assert summary(folder)["world_size"] == size
        found, expected = (RunFolder(each).weights_path for each in (folder, tmp_path / "whole"))
        if size == 2:
            assert found.read_bytes() == expected.read_bytes()
        assert summary(folder)["test_loss"] == pytest.approx(summary(tmp_path / "whole")["test_loss"], rel=1e-3)


# Faults


def checkpoints(folder):
    return sorted(path.name for path in Path(folder, "checkpoints").glob("*.json"))


@on_ranks
@pytest.mark.parametrize("what", ["kill", "divide", "refuse", "leave"])
def test_one_rank_fails_and_all_end(what, size, tmp_path):
    """Within seconds, with an error that names the rank; the last checkpoint is whole, and training goes on from it."""
    rank = size - 1
    output = ranks.run(
        size, "fault", True, folder=str(tmp_path / "run"), rank=rank, what=what, options=["--checkpoint-steps", "5"]
    )
    words = {
        "kill": f"rank {rank} of {size} (process ",
        "divide": f"rank {rank} of {size}: ZeroDivisionError: ",
        "refuse": f"rank {rank} of {size}: a file is gone",
        "leave": f"rank {rank} has ended before the others",
    }
    assert "gpunet: error: rank " in output
    assert words[what] in output
    assert checkpoints(tmp_path / "run")[-1] == "epoch-00001-batch-0000002.json"
    assert not Path(tmp_path / "run/summary.json").exists()
    if size == 2 and what == "kill":
        assert "going on after 1 epochs and 2 batches" in train(2, "--resume", "--out", tmp_path / "run")


@pytest.mark.parametrize("what", ["version", "settings", "data", "length", "weights"])
@pytest.mark.slow
def test_ranks_that_are_not_the_same_are_refused_by_name(what, tmp_path):
    output = ranks.run(2, "differs", True, folder=str(tmp_path / "run"), what=what)
    words = {
        "version": "gpunet: rank 1 has '0.0.7', rank 0 has '0.0.6'",
        "settings": "lr: rank 1 has 0.3, rank 0 has 0.1",
        "data": "rank 1: there is no such folder here",
        "length": "images to learn from: rank 1 has 63, rank 0 has 64",
        "weights": "5.weight: rank 1 has",
    }
    assert output.count("gpunet: error: ") == 1
    assert words[what] in output
    assert not Path(tmp_path / "run").exists()


@on_ranks
def test_what_is_not_a_number_on_one_rank_stops_all_at_the_same_step(size, tmp_path):
    ranks.run(size, "not_a_number", True, folder=str(tmp_path), rank=size - 1)
    said = {path.read_text() for path in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) == size
    assert len(said) == 1
    (words,) = said
    assert words.startswith("1 the loss became nan in step 2, with batch 2 of epoch 1")
    assert f"on rank {size - 1} the images of the batch are not finite" in words


@on_ranks
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_to_mpiexec_save_once(size, number, code, tmp_path):
    if size == 2 and number == signal.SIGTERM:
        pytest.skip("the slow tests do it, with four ranks")
    process = ranks.start(size, "waits", folder=str(tmp_path / "run"))
    try:
        deadline, seen = time.monotonic() + ranks.LIMIT, ""
        while "it trains" not in seen and time.monotonic() < deadline:
            seen += process.stdout.readline()
        process.send_signal(number)
        output, _ = process.communicate(timeout=ranks.LIMIT)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code, output
    assert output.count("finishing the batch and saving") == 1
    assert output.count("what was learned is saved") == 1
    assert f"to go on: mpiexec -n {size} gpunet train --resume" in output
    assert summary(tmp_path / "run")["interrupted"]
    assert len(checkpoints(tmp_path / "run")) in (1, 2)


def test_a_signal_to_one_rank_stops_all(tmp_path):
    output = ranks.run(2, "fault", True, folder=str(tmp_path / "run"), rank=1, what="terminate", options=[])
    assert "stopped after 1 whole epochs; what was learned is saved" in output
    assert checkpoints(tmp_path / "run")[-1] == "epoch-00001-batch-0000003.json"


def test_an_error_that_all_make_is_told_once(tmp_path):
    output = train(2, "--out", tmp_path / "run", "--weights", tmp_path / "none.pth", fails=True)
    assert output.count("gpunet: error:") == 1
    assert "none.pth" in output
    output = train(4, "--out", tmp_path / "run", "--batch-size", 3, fails=True)
    assert "a batch of 3 images has none for some of the 4 ranks" in output


# The witness


@with_pipes
def test_the_witness_does_not_outlive_a_rank_that_never_opened_its_pipe(tmp_path):
    """Whoever waits for the end of what is written to stderr would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    reads = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    command = [sys.executable, "-I", "-S", witness.__file__, "2", "there", f"{reads}:1:{gone.pid}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, pass_fds=[reads], timeout=60)
    finally:
        os.close(reads)
    assert f"rank 1 of 2 (process {gone.pid} on there) was killed" in done.stderr


@with_pipes
def test_the_witness_names_the_first_that_ends_and_ends_the_others():
    """One that has said that it goes is not missed."""
    program = (
        "import os, sys, time; end = int(sys.argv[1]); sys.argv[2:] and os.write(end, b'.'); "
        "print('ready', flush=True); time.sleep(60)"
    )
    ends, sleepers, watched = [], [], []
    for rank, orderly in ((4, []), (5, []), (6, ["orderly"]), (7, [])):
        reads, writes = os.pipe()
        command = [sys.executable, "-c", program, str(writes), *orderly]
        sleepers.append(subprocess.Popen(command, pass_fds=[writes], stdout=subprocess.PIPE, text=True))
        os.close(writes)
        ends.append(reads)
        watched.append(f"{reads}:{rank}:{sleepers[-1].pid}")
    command = [sys.executable, "-I", "-S", witness.__file__, "8", "there", *watched]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=ends)
    try:
        assert [each.stdout.readline() for each in sleepers] == ["ready\n"] * 4
        for place in (2, 1):
            sleepers[place].kill()
            sleepers[place].wait()
            time.sleep(0.1)
        _, said = watching.communicate(timeout=60)
        assert said == (
            f"gpunet: error: rank 5 of 8 (process {sleepers[1].pid} on there) was killed, or ended before the others\n"
        )
        assert [each.wait(10) for each in sleepers] == [-signal.SIGKILL] * 4
    finally:
        for each in ends:
            os.close(each)
        for each in [*sleepers, watching]:
            each.kill()
            each.wait()
            for stream in filter(None, (each.stdout, each.stderr)):
                stream.close()
