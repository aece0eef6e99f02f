"""Schedules and averages of weights beside those of PyTorch, where `test_adaptive_optimizers` and `test_optim` stop.

Cycles, chains, products, going on with `last_epoch`, `swa_utils`.
"""

import copy
import json

import numpy as np
import pytest

import gpunet
from gpunet import nn, optim
from gpunet.errors import ArgumentError
from tests.reference import close

pytestmark = [pytest.mark.usefixtures("backend"), pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler")]

SCHEDULES = {
    "ConstantLR": [{"factor": 0.25, "total_iters": 6}, {}],
    "CosineAnnealingLR": [{"T_max": 8, "eta_min": 0.1}],
    "CosineAnnealingWarmRestarts": [{"T_0": 3, "T_mult": 2}],
    "CyclicLR": [
        {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 3, "step_size_down": 2},
        {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 4, "mode": "triangular2", "base_momentum": 0.5},
        {"base_lr": 0.2, "max_lr": 0.7, "step_size_up": 2, "mode": "exp_range", "gamma": 0.9},
        {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 3, "scale_fn": lambda n: 1 / n, "cycle_momentum": False},
        {"base_lr": 0.1, "max_lr": 0.9, "step_size_up": 3, "scale_fn": lambda n: 0.9**n, "scale_mode": "iterations"},
    ],
    "ExponentialLR": [{"gamma": 0.8}],
    "LambdaLR": [{"lr_lambda": lambda epoch: 0.9**epoch}],
    "LinearLR": [{"start_factor": 0.25, "total_iters": 4}],
    "MultiplicativeLR": [{"lr_lambda": lambda epoch: 0.9 if epoch % 2 else 0.5}],
    "MultiStepLR": [{"milestones": [2, 5], "gamma": 0.5}],
    "OneCycleLR": [{"max_lr": 0.9, "total_steps": 12}],
    "PolynomialLR": [{"total_iters": 6, "power": 2.0}],
    "StepLR": [{"step_size": 3}],
}
CASES = [
    pytest.param(name, each, id=f"{name}{i}") for name, all_of in SCHEDULES.items() for i, each in enumerate(all_of)
]


def optimizers(torch, kind="SGD", **settings):
    settings = {"lr": 0.5, **({"momentum": 0.9} if kind == "SGD" else {}), **settings}
    mine = getattr(optim, kind)([gpunet.ones(1, requires_grad=True)], **settings)
    return mine, getattr(torch.optim, kind)([torch.ones(1, requires_grad=True)], **settings)


def settings_of(optimizer):
    group = optimizer.param_groups[0]
    return [group["lr"], group.get("momentum", 0), *group.get("betas", ())]


def beside(mine, right, ours, theirs, steps):
    for _ in range(steps):
        np.testing.assert_allclose(settings_of(mine), settings_of(right), rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(ours.get_last_lr(), theirs.get_last_lr(), rtol=1e-10, atol=1e-15)
        for each in (mine, right, ours, theirs):
            each.step()


# ---------------------------------------------------------------------------------------------------------- schedules


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_every_step(torch, name, settings, kind):
    mine, right = optimizers(torch, kind)
    ours, theirs = (getattr(each, name) for each in (optim.lr_scheduler, torch.optim.lr_scheduler))
    beside(mine, right, ours(mine, **settings), theirs(right, **settings), 11)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_going_on_with_last_epoch(torch, name, settings):
    mine, right = optimizers(torch)
    ours, theirs = (getattr(each, name) for each in (optim.lr_scheduler, torch.optim.lr_scheduler))
    beside(mine, right, ours(mine, **settings), theirs(right, **settings), 4)
    states = json.loads(json.dumps(mine.state_dict())), right.state_dict()
    mine, right = optimizers(torch)
    mine.load_state_dict(states[0])
    fresh = ours(mine, **settings, last_epoch=3)
    for _ in range(6):
        mine.step()
        fresh.step()
    full, _ = optimizers(torch)
    whole = ours(full, **settings)
    for _ in range(10):
        full.step()
        whole.step()
    assert (fresh.last_epoch, settings_of(mine)) == (whole.last_epoch, settings_of(full))
    right.load_state_dict(states[1])
    again = theirs(right, **settings, last_epoch=3)
    for _ in range(6):
        right.step()
        again.step()
    np.testing.assert_allclose(settings_of(mine)[0], settings_of(right)[0], rtol=1e-10)


def test_a_sequence_that_would_have_to_go_on_from_where_it_is(torch):
    mine = optimizers(torch)[0]
    several = [optim.ExponentialLR(mine, 0.9), optim.MultiplicativeLR(mine, lambda epoch: 0.9)]
    with pytest.raises(ArgumentError, match="a MultiplicativeLR can only come first"):
        optim.SequentialLR(mine, several, [3])


def test_a_sequence_goes_on_with_last_epoch(torch):
    def sequence(optimizer, last_epoch=-1):
        several = [optim.LinearLR(optimizer, total_iters=3), optim.ExponentialLR(optimizer, 0.9)]
        return optim.SequentialLR(optimizer, several, [3], last_epoch)

    whole, part = optimizers(torch)[0], optimizers(torch)[0]
    schedule = sequence(whole)
    for _ in range(5):
        schedule.step()
    part.load_state_dict(whole.state_dict())
    fresh = sequence(part, 4)
    for _ in range(3):
        assert settings_of(part) == settings_of(whole)
        schedule.step()
        fresh.step()
    assert settings_of(part)[0] == pytest.approx(0.5 * 0.9**5)


def test_going_on_without_a_beginning(torch):
    mine, _ = optimizers(torch)
    with pytest.raises(ArgumentError, match=r"StepLR: last_epoch=3 .* load the state of the optimizer first"):
        optim.StepLR(mine, 3, last_epoch=3)


@pytest.mark.parametrize("name", ["ConstantLR", "CyclicLR", "MultiplicativeLR"])
def test_the_state_of_a_schedule(torch, name):
    settings, mine = SCHEDULES[name][0], optimizers(torch)[0]
    ours = getattr(optim, name)(mine, **settings)
    for _ in range(5):
        mine.step()
        ours.step()
    state = json.loads(json.dumps(ours.state_dict()))
    other = optimizers(torch)[0]
    fresh = getattr(optim, name)(other, **settings)
    fresh.load_state_dict(state)
    assert settings_of(mine) == settings_of(other)
    mine.step(), ours.step(), other.step(), fresh.step()
    assert settings_of(mine) == settings_of(other)


def chained(library, optimizer):
    several = [
        library.ConstantLR(optimizer, factor=0.5, total_iters=3),
        library.ExponentialLR(optimizer, gamma=0.9),
        library.MultiStepLR(optimizer, [4, 6], gamma=0.1),
        library.LinearLR(optimizer, total_iters=6),
        library.MultiplicativeLR(optimizer, lambda epoch: 0.99),
        library.PolynomialLR(optimizer, total_iters=20),
    ]
    return library.ChainedScheduler(several)


def test_a_chain_multiplies(torch):
    mine, right = optimizers(torch)
    ours = chained(optim.lr_scheduler, mine)
    beside(mine, right, ours, chained(torch.optim.lr_scheduler, right), 12)
    other = optimizers(torch)[0]
    fresh = chained(optim.lr_scheduler, other)
    fresh.load_state_dict(json.loads(json.dumps(ours.state_dict())))
    assert settings_of(other) == settings_of(mine)
    assert ours.lr_at(5, 0.5) == pytest.approx(0.5 * 0.9**5 * 0.1 * (1 / 3 + 2 / 3 * 5 / 6) * 0.99**5 * 15 / 20)


def test_what_a_chain_refuses(torch):
    mine, other = optimizers(torch)[0], optimizers(torch)[0]
    for schedules, words in (
        ([], "one schedule or more"),
        ([optim.StepLR(mine, 1), optim.CosineAnnealingLR(mine, 5)], "schedule 1, a CosineAnnealingLR, is none that"),
        ([optim.StepLR(mine, 1), optim.StepLR(other, 1)], "schedule 1 belongs to another optimizer"),
    ):
        with pytest.raises(ArgumentError, match=words):
            optim.ChainedScheduler(schedules)
    with pytest.raises(ArgumentError, match="belongs to another"):
        optim.ChainedScheduler([optim.StepLR(mine, 1)], other)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda o: optim.CyclicLR(o, 0.1, 1.0, step_size_up=0), "step_size_up"),
        (lambda o: optim.CyclicLR(o, 0.1, 1.0, mode="square"), "mode"),
        (lambda o: optim.CyclicLR(o, 0.1, [1.0, 2.0]), "max_lr has 2 values"),
        (lambda o: optim.ConstantLR(o, factor=2.0), "factor"),
        (lambda o: optim.MultiplicativeLR(o, 0.9), "expects one function"),
        (lambda o: optim.StepLR(o, 1, last_epoch=-2), "last_epoch"),
        (lambda o: optim.swa_utils.SWALR(o, 0.1, anneal_strategy="sine"), "anneal_strategy"),
        (lambda o: optim.swa_utils.SWALR(o, 0.1, anneal_epochs=-1), "anneal_epochs"),
    ],
)
def test_settings_that_make_no_sense(make, words, torch):
    with pytest.raises(ArgumentError, match=words):
        make(optimizers(torch)[0])


def test_a_schedule_of_one_s_own_in_pytorch_s_way_says_what_to_write(torch):
    class Own(optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [0.1]

    with pytest.raises(NotImplementedError, match=r"lr_at\(epoch, base_lr\)"):
        Own(optimizers(torch)[0])


# ------------------------------------------------------------------------------------------------------------ averages


AT_ONCE = {"anneal_epochs": 0}


@pytest.mark.parametrize("settings", [{}, {"anneal_epochs": 3, "anneal_strategy": "linear"}, AT_ONCE])
def test_the_schedule_of_averaging_after_another(torch, settings):
    mine, right = optimizers(torch)
    pairs = []
    for library, optimizer in ((optim, mine), (torch.optim, right)):
        first = library.lr_scheduler.ExponentialLR(optimizer, 0.9)
        found = [optimizer.param_groups[0]["lr"]]
        last = library.swa_utils.SWALR(optimizer, swa_lr=0.05, **settings) if settings != AT_ONCE else None
        for step in range(16):
            optimizer.step()
            if step == 4 and last is None:  # it has written its learning rate as soon as it is made
                last = library.swa_utils.SWALR(optimizer, swa_lr=0.05, **settings)
            (first if step < 4 else last).step()
            found.append(optimizer.param_groups[0]["lr"])
        pairs.append(found)
    np.testing.assert_allclose(*pairs, rtol=1e-10)


def networks(torch):
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1)).double()
    ours = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("way", ["mean", "ema", "own", "multi ema", "multi mean"])
def test_averages_are_those_of_pytorch(torch, way, use_buffers):
    torch.manual_seed(0)
    ours, theirs = networks(torch)
    if use_buffers and way == "multi mean":  # PyTorch cannot average whole numbers so
        theirs[1].num_batches_tracked = ours[1].num_batches_tracked = None
    averages = []
    for library, model in ((optim.swa_utils, ours), (torch.optim.swa_utils, theirs)):
        how = {
            "mean": {},
            "ema": {"avg_fn": library.get_ema_avg_fn(0.9)},
            "own": {"avg_fn": lambda average, weight, count: average + (weight - average) / (count * 2 + 3)},
            "multi ema": {"multi_avg_fn": library.get_ema_multi_avg_fn(0.9)},
            "multi mean": {"multi_avg_fn": library.get_swa_multi_avg_fn()},
        }[way]
        averages.append(library.AveragedModel(model, use_buffers=use_buffers, **how))
    mine, right = averages
    rng = np.random.default_rng(0)
    for _ in range(4):
        for one, other in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
            new = rng.standard_normal(tuple(other.shape)) * 10
            one.copy_(gpunet.tensor(new))
            other.copy_(torch.tensor(new))
        mine.update_parameters(ours)
        right.update_parameters(theirs)
    expected, found = right.state_dict(), mine.state_dict()
    assert list(found) == list(expected)
    for name, value in expected.items():
        close(found[name].numpy(), value.numpy(), 1e-6 if way == "multi mean" else 1e-9)  # 1 / count in float32
        assert str(found[name].dtype) == str(value.dtype).removeprefix("torch.")
    fresh = optim.swa_utils.AveragedModel(ours)
    fresh.load_state_dict(expected)
    assert fresh.n_averaged.item() == 4


def test_running_statistics_anew(torch):
    torch.manual_seed(0)
    ours, theirs = networks(torch)
    batches = np.random.default_rng(0).standard_normal((3, 8, 3))
    ours.eval()
    theirs.eval()
    optim.swa_utils.update_bn([(gpunet.tensor(each), None) for each in batches], ours)
    torch.optim.swa_utils.update_bn([[torch.tensor(each)] for each in batches], theirs)
    for name, value in theirs.state_dict().items():
        close(ours.state_dict()[name].numpy(), value.numpy(), 1e-9)
    assert (ours[1].momentum, ours.training) == (0.1, False)
    before = copy.deepcopy(nn.Linear(1, 1))
    optim.swa_utils.update_bn(iter(()), before)  # there is nothing to compute


def test_an_averaged_model_computes_with_the_averages():
    model = nn.Linear(1, 1, bias=False)
    average = optim.swa_utils.AveragedModel(model)
    for weight in (1.0, 2.0, 6.0):
        nn.init.constant_(model.weight, weight)
        average.update_parameters(model)
    assert average(gpunet.ones(1, 1)).item() == 3.0
    assert model.weight.item() == 6.0
    with pytest.raises(ArgumentError, match="got both"):
        optim.swa_utils.AveragedModel(model, avg_fn=lambda a, b, c: a, multi_avg_fn=lambda a, b, c: None)
