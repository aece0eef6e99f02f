"""Programs for several ranks, `mpiexec -n N python -m tests.ranks PROGRAM JSON`, and how tests start them."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import gpunet
from gpunet import distributed, nn, optim
from gpunet.backend import use_backend
from gpunet.cli import main
from gpunet.data import DataLoader, DistributedSampler, TensorDataset
from gpunet.errors import DataError
from gpunet.functional import cross_entropy
from gpunet.models import resnet8
from gpunet.ranks import alone
from gpunet.train import Callback, TrainConfig, Trainer, TrainingRun, evaluate
from tests.runs import TINY, few_digits

LIMIT = 100  # seconds, for a machine that has much else to do; most programs take two


@functools.cache
def mpiexec():
    """The command that starts ranks, having tried it; a skip where there is no MPI."""
    path = shutil.which("mpiexec", path=os.path.dirname(sys.executable)) or shutil.which("mpiexec")
    there = "from mpi4py import MPI; raise SystemExit(MPI.COMM_WORLD.Get_size() != 2)"
    try:
        tried = path and subprocess.run([path, "-n", "2", sys.executable, "-c", there], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        tried = None
    if not tried or tried.returncode:
        pytest.skip("MPI is not installed: pip install -e '.[mpi]'")
    return path


def command(ranks, program, **settings):
    return [mpiexec(), "-n", str(ranks), sys.executable, "-m", "tests.ranks", program, json.dumps(settings)]


def environment():
    return {**os.environ, "GPUNET_NUM_THREADS": "1"}


def start(ranks, program, **settings):
    """Begin a program on so many ranks."""
    return subprocess.Popen(
        command(ranks, program, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        cwd=Path(__file__).parent.parent,
    )


def run(ranks, program, fails=False, **settings):
    """What a program has written; it ends within the limit."""
    process = start(ranks, program, **settings)
    try:
        output, _ = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
        process.wait()
    assert bool(process.returncode) == fails, output
    return output


# --------------------------------------------------------------------------------------------------------- programs


def images(count, dtype):
    rng = np.random.default_rng(0)
    return TensorDataset(rng.standard_normal((count, 3, 8, 8)).astype(dtype), rng.integers(0, 10, count))


class Dropped(nn.Module):
    """A residual network with batch norm, and with dropout of pixels before it."""

    def __init__(self):
        super().__init__()
        self.drop, self.net = nn.Dropout(0.2), resnet8(10, in_channels=3)

    def forward(self, x):
        return self.net(self.drop(x))


def learn(out, dtype="float64", steps=50, batch=8, count=40):
    """Steps of SGD on batches of which each rank has a part; weights and the first gradients go to a file."""
    ranks = distributed.init()
    gpunet.manual_seed(ranks.rank)  # other numbers on each: `DataParallel` shares those of rank 0
    model = nn.SyncBatchNorm.convert_sync_batchnorm(Dropped()).to(dtype)
    parallel = distributed.DataParallel(model, bucket_bytes=1 << 16)
    loader = DataLoader(images(count, dtype), batch, shuffle=True, seed=1, shard=(ranks.rank, ranks.size))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    first, losses = [], 0
    while steps > 0:
        for x, labels in loader:
            optimizer.zero_grad()
            cross_entropy(parallel(x), labels).backward()
            first = first or [each.grad.numpy().copy() for each in model.parameters()]
            optimizer.step()
            distributed.check_same_weights(model)
            steps -= 1
    state = {name: each.numpy() for name, each in model.state_dict().items()}
    if ranks.rank == 0:
        np.savez(out, **state, **{f"gradient {place}": each for place, each in enumerate(first)})
    return losses


def exact_metrics(out):
    """Evaluating in turns, and alone: the same bits."""
    distributed.init()
    gpunet.manual_seed(0)
    model, loader = resnet8(10, in_channels=3), DataLoader(images(25, "float32"), 4)
    together = evaluate(model, loader, 10)
    with alone():
        single = evaluate(model, loader, 10)
    assert together.loss == single.loss
    assert np.array_equal(together.confusion, single.confusion)
    assert together.confusion.sum() == 25
    print(f"rank {distributed.rank()} of {distributed.world_size()} agrees")


def collectives():
    """What ranks tell each other arrives as it was; sums are in the order of the ranks."""
    ranks = distributed.init()
    rank, size = ranks.rank, ranks.size
    for value in ({"a": [1.5, None, "ü"]}, "x" * 1000, ["short", "long" * 300][rank % 2]):
        gathered = ranks.gather([rank, value])
        assert [each[0] for each in gathered] == list(range(size))
        assert gathered[rank][1] == value
    assert [len(each) for each in ranks.gather("y" * rank * 200)] == [200 * each for each in range(size)]
    for dtype in ("float32", "float64", "float16", "int64"):
        tensor = gpunet.tensor(np.full((3, 2), rank + 1)).to(dtype)
        ranks.broadcast(tensor.array)
        assert tensor.tolist() == [[1, 1]] * 3, tensor
    values = [np.random.default_rng(each).standard_normal(6 * size).astype(np.float32) for each in range(size)]
    flats = [gpunet.asarray(values[rank].copy()) for _ in range(3)]
    on_the_way = [ranks.channel(number).sum(flat) for number, flat in enumerate(flats)]
    for steps in on_the_way:
        next(steps, None)
    for steps in reversed(on_the_way):  # however far each has come
        ranks.wait(steps)
    expected = values[0].copy()
    for other in values[1:]:
        expected += other
    for flat in flats:
        assert np.array_equal(gpunet.to_cpu(flat), expected)
    assert gpunet.to_cpu(ranks.total(gpunet.asarray(np.array([rank, 1])))).tolist() == [sum(range(size)), size]
    ranks.barrier()
    print(f"rank {rank} of {size} on {distributed.local_rank()}: all arrived")


class Unused(nn.Module):
    """Layers of which some get no gradient: one on no rank, one on rank 0 alone."""

    def __init__(self, rank):
        super().__init__()
        self.rank = rank
        self.used, self.mine, self.never = (nn.Linear(4, 3) for _ in range(3))

    def forward(self, x):
        return self.used(x) + (self.mine(x) if self.rank == 0 else 0)


def uneven():
    """Ranks with batches of several sizes, also with none, and layers without gradients: the mean over all images."""
    ranks = distributed.init()
    gpunet.manual_seed(0)
    net = Unused(ranks.rank)
    parallel = distributed.DataParallel(net)
    data = TensorDataset(np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32), np.arange(9) % 3)
    loader = DataLoader(data, 2, sampler=DistributedSampler(data, shuffle=False))
    sizes = []
    for x, labels in loader:
        net.zero_grad()
        cross_entropy(parallel(x), labels).backward()
        sizes.append(len(labels))
        start = sum(map(sum, zip(*ranks.gather(sizes[:-1]), strict=True))) if len(sizes) > 1 else 0
        everyone = range(start, start + sum(parallel.counts))
        expected = loop_gradients(net, data, everyone, ranks.size)
        for name, param in net.named_parameters():
            if name in expected:
                assert np.allclose(param.grad.numpy(), expected[name], atol=1e-6), (name, sizes)
            else:
                assert param.grad is None, name
    everywhere = ranks.gather(sizes)
    assert len(set(map(len, everywhere))) == 1
    if ranks.rank == 0:
        print("sizes", json.dumps(everywhere))


def loop_gradients(net, data, which, size):
    """The gradients of the mean loss over some items, written out: of softmax and cross-entropy."""
    weights = {name: each.numpy().astype(np.float64) for name, each in net.named_parameters()}
    sums = {}
    for place, item in enumerate(which):
        x, label = (part[item] for part in data.arrays)
        layers = ["used", "mine"] if place % size == 0 else ["used"]
        logits = sum(weights[f"{layer}.weight"] @ x + weights[f"{layer}.bias"] for layer in layers)
        by_logits = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum() - np.eye(3)[label]
        for layer in layers:
            for name, part in (("weight", np.outer(by_logits, x)), ("bias", by_logits)):
                sums[f"{layer}.{name}"] = sums.get(f"{layer}.{name}", 0) + part / len(which)
    return sums


def sync_batch_norm():
    """SyncBatchNorm of parts against batch norm of the whole, forward, backward and running statistics."""
    ranks = distributed.init()
    rng = np.random.default_rng(0)
    whole, grad = rng.standard_normal((2, 7, 3, 4, 5)) * 3 + 5
    weight, bias = rng.standard_normal((2, 3))
    for rows in (slice(ranks.rank, None, ranks.size), slice(0, 0 if ranks.rank else 7)):  # the second: all on rank 0
        found = []
        for layer, part in ((nn.SyncBatchNorm(3), rows), (nn.BatchNorm2d(3), slice(None))):
            layer.double()
            with gpunet.no_grad():
                layer.weight.copy_(gpunet.tensor(weight))
                layer.bias.copy_(gpunet.tensor(bias))
            x = gpunet.tensor(whole[part], requires_grad=True)
            y = layer(x)
            y.backward(gpunet.tensor(grad[part]))
            sums = [layer.weight.grad.array, layer.bias.grad.array]
            if isinstance(layer, nn.SyncBatchNorm):
                sums = [ranks.total(each) for each in sums]
            found.append(
                [
                    y.numpy(),
                    x.grad.numpy(),
                    layer.running_mean.numpy(),
                    layer.running_var.numpy(),
                    *map(gpunet.to_cpu, sums),
                ]
            )
        for place, (part, expected) in enumerate(zip(*found, strict=True)):
            assert np.allclose(part, expected[rows] if place < 2 else expected, atol=1e-12), place
    print(f"rank {ranks.rank} agrees")


def started(threads):
    """Whether cores are divided."""
    os.environ.pop("GPUNET_NUM_THREADS", None)
    distributed.init()
    assert gpunet.get_num_threads() == threads
    print(f"rank {distributed.rank()} has them")


def fitted(out):
    """What `Trainer` makes of gradients of several batches, clipping and averages, in float64; and of batch norm."""
    ranks = distributed.init()
    gpunet.manual_seed(0)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(Dropped()).double()
    trainer = Trainer(
        model, optim.SGD(model.parameters(), 0.05, momentum=0.9), 10, None, cross_entropy, False, 0.5, 0.9, accumulate=2
    )
    shard = (ranks.rank, ranks.size) if ranks.size > 1 else None
    loader = DataLoader(images(45, "float64"), 9, shuffle=True, seed=1, shard=shard)
    results = list(trainer.fit(loader, DataLoader(images(20, "float64"), 6), 4))
    state = {name: each.numpy() for name, each in model.state_dict().items()}
    if ranks.rank == 0:
        figures = [[each.train_loss, each.train_accuracy, each.test_loss, each.test_accuracy] for each in results]
        np.savez(out, figures=figures, **state, **{f"mean {name}": a for name, a in trainer.averages.averages.items()})


def overflows():
    """Mixed precision: gradients that are infinite on one rank are left out by all."""
    ranks = distributed.init()
    gpunet.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))
    steps = []

    def spoil(grad):
        steps.append(0)
        return grad * np.inf if ranks.rank == 1 and len(steps) == 2 else grad

    model[1].weight.register_hook(spoil)
    scaler = gpunet.amp.GradScaler(init_scale=8.0)
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), 10, show_progress=False, amp=scaler)
    loader = DataLoader(images(24, "float32"), 8, shard=(ranks.rank, ranks.size))
    list(trainer.fit(loader, DataLoader(images(8, "float32"), 8), 1))
    distributed.check_same_weights(model)
    assert (trainer.progress.step, int(trainer.progress.skipped_steps), scaler.get_scale()) == (3, 1, 4.0)
    print(f"rank {ranks.rank} has left it out")


def own_statistics():
    """Batch norm that is each rank's own: the running statistics of rank 0 are those of all."""
    ranks = distributed.init()
    gpunet.manual_seed(0)
    model = nn.BatchNorm1d(2)
    parallel = distributed.DataParallel(model)
    for _ in range(2):
        parallel(
            gpunet.tensor(np.random.default_rng(ranks.rank).standard_normal((4, 2)), dtype="float32")
        ).sum().backward()
    mine = np.random.default_rng(0).standard_normal((4, 2))
    mean = 0.1 * mine.mean(axis=0) * 0.9 + 0.1 * np.random.default_rng(ranks.rank).standard_normal((4, 2)).mean(axis=0)
    assert np.allclose(model.running_mean.numpy(), mean, atol=1e-6)  # rank 0's after the first batch, then its own
    print(f"rank {ranks.rank} agrees")


class Breaks(Callback):
    """Lets something happen on one rank at one step."""

    def __init__(self, rank, step, what):
        self.rank, self.step, self.what = rank, step, what

    def on_step_end(self, trainer):
        if distributed.rank() == self.rank and trainer.progress.step == self.step:
            self.what()


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def divide():
    return 1 // 0


def refuse():
    raise DataError("a file is gone")


def leave():
    raise SystemExit(0)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def fault(folder, rank, what, options):
    """`gpunet train` of few digits, on one rank of which something happens after 11 steps."""
    happens = {each.__name__: each for each in (kill, divide, refuse, leave, terminate)}[what]

    def made(config, folder, *args, **settings):
        return TrainingRun(config, folder, *args, **settings, callbacks=[Breaks(rank, 11, happens)])

    with few_digits(), mock.patch("gpunet.cli.train.TrainingRun", made):
        raise SystemExit(main([*OPTIONS, "--out", folder, *options]))


OPTIONS = ["train", "--model", "tiny", "--epochs", "4", "--batch-size", "8", "--backend", "numpy"]


def cli(arguments):
    """`gpunet`, with few digits."""
    with few_digits():
        raise SystemExit(main(arguments))


def waits(folder):
    """A training that says when it has begun, and goes on for long."""

    class Slow(Callback):
        def on_step_end(self, trainer):
            if trainer.progress.step == 3 and distributed.rank() == 0:
                print("it trains", flush=True)
            time.sleep(0.02)

    def made(config, folder, *args, **settings):
        return TrainingRun(config, folder, *args, **settings, callbacks=[Slow()])

    with few_digits(), mock.patch("gpunet.cli.train.TrainingRun", made):
        raise SystemExit(main([*OPTIONS, "--epochs", "1000", "--out", folder]))


def differs(folder, what):
    """A run that is another on rank 1."""
    other = what if int(os.environ["PMI_RANK"]) == 1 else ""
    with mock.patch("gpunet.distributed.start.__version__", "0.0.7" if other == "version" else "0.0.6"):
        config = TrainConfig(**{**vars(TINY), "lr": 0.3 if other == "settings" else 0.1})
        with distributed.session(), few_digits() as _, mock.patch.multiple("gpunet.train.job", **changed(other)):
            TrainingRun(config, folder, show_progress=False)


def changed(what):
    """What to put in the place of functions of gpunet.train.job, so that a rank has less data, or other weights."""
    from gpunet.train import job

    find, create = job.find_dataset, job.create_model

    def fewer(*args, **settings):
        recipe = find(*args, **settings)
        load = recipe.load

        def less(train, transform):
            whole = load(train, transform)
            return type(whole)(whole.images[:-1], whole.labels[:-1], transform, whole.classes)

        return job.replace(recipe, load=less)

    def other(*args, **settings):
        model = create(*args, **settings)
        with gpunet.no_grad():
            model[5].weight[0, 0] += 1
        return model

    def none(*args, **settings):
        raise DataError("there is no such folder here")

    finds = {"length": fewer, "data": none}
    return {"find_dataset": finds.get(what, find), "create_model": other if what == "weights" else create}


def not_a_number(folder, rank):
    """An image that is not a number, in the part that one rank has of the second batch."""
    ranks = distributed.init()
    data = images(24, "float32")
    data.arrays[0][8 + rank] = np.nan
    gpunet.manual_seed(0)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(resnet8(10, in_channels=3))
    trainer = Trainer(model, optim.SGD(model.parameters(), 0.1), 10, show_progress=False)
    loader = DataLoader(data, 8, shard=(ranks.rank, ranks.size))
    try:
        list(trainer.fit(loader, DataLoader(images(8, "float32"), 8), 1))
    except gpunet.errors.NonFiniteError as error:
        Path(folder, str(ranks.rank)).write_text(f"{trainer.progress.step} {error}")
        raise


def nccl(emulated=True):
    """The ranks of `NcclCommunicator`, with a stand-in for CuPy's, learn as those of MPI do."""
    from gpunet.distributed.nccl import NcclCommunicator
    from gpunet.ranks import communicator, use_communicator
    from tests.cupyx_stand_in import Gpus

    with use_backend("emulated"):
        host = distributed.init()
        found = []
        for ranks in (host, NcclCommunicator(host, Gpus(host))):
            use_communicator(ranks)
            assert communicator() is ranks
            gpunet.manual_seed(0)
            model = nn.SyncBatchNorm.convert_sync_batchnorm(
                nn.Sequential(
                    nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 10)
                )
            )
            parallel = distributed.DataParallel(model, bucket_bytes=512)
            optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
            for x, labels in DataLoader(images(14, "float32"), 4, shard=(ranks.rank, ranks.size)):
                optimizer.zero_grad()
                cross_entropy(parallel(x), labels).backward()
                optimizer.step()
            assert len(parallel._buckets) > 1
            distributed.check_same_weights(model)
            found.append([gpunet.to_cpu(each.array) for each in model.state_dict().values()])
        use_communicator(host)
        assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
        print(f"rank {host.rank} agrees")


if __name__ == "__main__":
    program, settings = sys.argv[1:]
    globals()[program](**json.loads(settings))
