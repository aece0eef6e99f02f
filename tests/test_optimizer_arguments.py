"""Optimizers' arguments that programs for PyTorch give besides the numbers of the formula: names, switches, ways.

What `maximize` and `decoupled_weight_decay` compute is compared with PyTorch in `test_adaptive_optimizers`.
"""

import inspect

import numpy as np
import pytest

import gpunet
from gpunet import nn, optim
from gpunet.errors import ArgumentError, GraphError, StateDictError
from gpunet.functional import cross_entropy
from tests.reference import close

pytestmark = pytest.mark.usefixtures("backend")

OPTIMIZERS = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"]


def weight():
    return gpunet.ones(2, requires_grad=True)


# ----------------------------------------------------------------------------------------------------------- switches


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_argument_of_pytorch_is_taken_or_refused_by_name(torch, name):
    make = getattr(optim, name)
    defaults = torch.optim.SGD([torch.ones(1, requires_grad=True)]).defaults
    assert "foreach" in defaults
    for argument, usual in inspect.signature(getattr(torch.optim, name)).parameters.items():
        if argument != "params":
            make([weight()], **{argument: usual.default})  # what PyTorch does of itself
    for way in ("foreach", "fused", "capturable"):
        for value in (None, True, False):
            assert way not in make([weight()], **{way: value}).param_groups[0]
        with pytest.raises(ArgumentError, match=f"{name}: {way} must be True or False, got 'no'"):
            make([weight()], **{way: "no"})
    with pytest.raises(ArgumentError, match=f"{name}: differentiable=True is not there"):
        make([weight()], differentiable=True)
    with pytest.raises(ArgumentError, match=f"{name} has no argument 'momentun'"):
        make([weight()], momentun=0.9)


def test_adam_with_decoupled_decay_has_a_name_of_its_own():
    with pytest.raises(ArgumentError, match="AdamW"):
        optim.Adam([weight()], decoupled_weight_decay=True)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_a_step_up_is_the_kernel_s_and_can_be_recorded(name, counters):
    results = []
    for record in (False, True):
        gpunet.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3 * 9, 2))
        optimizer = getattr(optim, name)(model.parameters(), lr=0.01, maximize=True)

        def step(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = gpunet.cuda_graph(step) if record else step
        x, y = gpunet.randn(4, 2, 5, 5), gpunet.tensor([0, 1, 1, 0])
        losses = [run(x, y).item() for _ in range(6)]
        if record:
            assert counters.graph_launches > 0
        assert losses == sorted(losses)  # up, not down
        results.append((losses, [each.tolist() for each in model.parameters()]))
    assert results[0] == results[1]
    optimizer.param_groups[0]["maximize"] = False
    with pytest.raises(GraphError, match="record it again"):
        run(x, y)


def test_the_direction_is_a_setting_of_each_group():
    up, down = weight(), weight()
    optimizer = optim.SGD([{"params": [up], "maximize": True}, {"params": [down]}], lr=0.5)
    up.grad, down.grad = gpunet.ones(2), gpunet.ones(2)
    optimizer.step()
    assert (up.tolist(), down.tolist(), up.grad.tolist()) == ([1.5, 1.5], [0.5, 0.5], [1.0, 1.0])


@pytest.mark.parametrize("name", ["SGD", "NAdam"])
def test_a_state_from_before_there_was_a_switch(name):
    optimizer = getattr(optim, name)([weight()], lr=0.5)
    state = optimizer.state_dict()
    for switch in ("maximize", "decoupled_weight_decay"):
        state["param_groups"][0].pop(switch, None)
    optimizer.param_groups[0]["maximize"] = True
    optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["maximize"] is False


# ------------------------------------------------------------------------------------------------- states of PyTorch

STATES = {
    "SGD": [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "foreach": True}],
    "Adadelta": [{}],
    "Adagrad": [{"lr": 0.1}],
    "Adam": [{"amsgrad": True, "lr": 0.1}, {"maximize": True}],
    "AdamW": [{"weight_decay": 0.5}],
    "Adamax": [{}],
    "NAdam": [{"decoupled_weight_decay": True, "weight_decay": 0.5}],
    "RAdam": [{"lr": 0.1}],
    "RMSprop": [{"momentum": 0.9, "centered": True}],
}


@pytest.mark.parametrize("way", ["directly", "by a file", "onto another setting"])
@pytest.mark.parametrize(("name", "settings"), [(name, each) for name, several in STATES.items() for each in several])
def test_an_optimizer_goes_on_where_pytorch_s_stopped(torch, name, settings, way, tmp_path):
    theirs = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten(), torch.nn.Linear(27, 2)).double()
    ours = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(27, 2)).double()
    right = getattr(torch.optim, name)(theirs.parameters(), **settings)
    torch.optim.lr_scheduler.ExponentialLR(right, 0.9)
    xs = np.random.default_rng(0).standard_normal((8, 2, 2, 5, 5))

    def train(model, optimizer, make, some):
        for x in some:
            optimizer.zero_grad()
            (model(make(x)) ** 2).mean().backward()
            optimizer.step()

    train(theirs, right, torch.tensor, xs[:4])
    state = {"model": theirs.state_dict(), "optimizer": right.state_dict()}
    if way == "by a file":
        torch.save(state, tmp_path / "checkpoint.pt")
        state = gpunet.load(tmp_path / "checkpoint.pt")
    ours.load_state_dict(state["model"])
    mine = getattr(optim, name)(ours.parameters(), **({"lr": 7.0} if way == "onto another setting" else {}))
    mine.load_state_dict(state["optimizer"])
    assert "foreach" not in mine.param_groups[0]
    train(theirs, right, torch.tensor, xs[4:])
    train(ours, mine, gpunet.tensor, xs[4:])
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(one.detach().numpy(), other.detach().numpy(), 1e-6, 1e-8)


def test_a_state_of_pytorch_that_is_another_s(torch):
    parameter = torch.ones(2, requires_grad=True)
    for theirs, ours, words in (
        (
            torch.optim.AdamW([parameter]),
            optim.Adam([weight()]),
            "decoupled_weight_decay is True, as it is not in Adam",
        ),
        (
            torch.optim.Adam([parameter]),
            optim.AdamW([weight()]),
            "decoupled_weight_decay is False, as it is not in Adam",
        ),
        (torch.optim.SGD([parameter]), optim.Adam([weight()]), "betas is missing"),
        (torch.optim.SGD([parameter], differentiable=True), optim.SGD([weight()]), "differentiable is True"),
    ):
        with pytest.raises(StateDictError, match=words):
            ours.load_state_dict(theirs.state_dict())
    state = optim.Adam([weight()]).state_dict()
    for entry, words in (
        ({"step": 1.5, "exp_avg": np.ones(2), "exp_avg_sq": np.ones(2)}, "step must be a whole number, got 1.5"),
        ({"step": 1, "exp_avg": [1, 1], "exp_avg_sq": np.ones(2)}, "exp_avg must be an array of floats, got list"),
        ({"step": 1, "exp_avg": np.ones(2, int), "exp_avg_sq": np.ones(2)}, "an array of floats, got int64"),
        ({"step": 1, "exp_avg": np.ones(3), "exp_avg_sq": np.ones(2)}, r"exp_avg has shape \(3,\), expected \(2,\)"),
    ):
        with pytest.raises(StateDictError, match=words):
            optim.Adam([weight()]).load_state_dict({**state, "state": {0: entry}})


# -------------------------------------------------------------------------------------------------------------- names


def test_parameters_may_come_with_their_names(torch):
    groups = []
    for library, optimizers in ((nn, optim), (torch.nn, torch.optim)):
        model = library.Sequential(library.Linear(2, 2), library.ReLU(), library.Linear(2, 1))
        optimizer = optimizers.AdamW(model.named_parameters(), lr=0.1)
        optimizer.add_param_group({"params": [("more", library.Parameter(model[0].weight.detach()))], "name": "head"})
        groups.append([(each["param_names"], each.get("name")) for each in optimizer.state_dict()["param_groups"]])
        assert optimizer.param_groups[0]["params"][0] is model[0].weight
    assert groups[0] == groups[1]
    assert groups[0] == [(["0.weight", "0.bias", "2.weight", "2.bias"], None), (["more"], "head")]


def test_names_in_some_groups_only():
    optimizer = optim.SGD([("a", weight())])
    with pytest.raises(ArgumentError, match="in all, or in none"):
        optimizer.add_param_group({"params": [weight()]})


def test_a_state_of_parameters_with_other_names_is_another_s():
    one, other = (optim.Adam([{"params": [(name, weight())], "name": "x"}]) for name in "ab")
    other.load_state_dict(other.state_dict())
    plain = optim.Adam([weight()])
    plain.load_state_dict(one.state_dict())
    one.load_state_dict(plain.state_dict())
    with pytest.raises(StateDictError, match=r"group 0: the names of its parameters are \['a'\], expected \['b'\]"):
        other.load_state_dict(one.state_dict())
    assert one.param_groups[0]["param_names"] == ["a"]
    assert one.param_groups[0]["name"] == "x"


# --------------------------------------------------------------------------------------------------- what is not there


def test_an_optimizer_prints_as_in_pytorch(torch):
    settings = {"lr": 0.5, "momentum": 0.9}
    lines = repr(optim.SGD([{"params": [weight()], "name": "x"}, {"params": [weight()], "lr": 0.25}], **settings))
    groups = [{"params": [torch.ones(2)], "name": "x"}, {"params": [torch.ones(2)], "lr": 0.25}]
    theirs = [line for line in repr(torch.optim.SGD(groups, **settings)).splitlines() if line.strip()]
    for line in lines.replace("0.0\n", "0\n").splitlines():
        assert line in theirs


def test_every_public_name_of_an_optimizer_is_there_or_says_what_to_do(torch):
    optimizer = optim.SGD([weight()], lr=0.1)
    types = ("OptimizerPreHook", "OptimizerPostHook")
    for name in dir(torch.optim.Optimizer):
        if not name.startswith("_") and name not in types and not hasattr(optimizer, name):
            with pytest.raises(AttributeError, match=f"SGD has no attribute '{name}': "):
                getattr(optimizer, name)
    with pytest.raises(AttributeError, match="before step"):
        optimizer.register_step_pre_hook(print)
    with pytest.raises(AttributeError, match="has no attribute 'weird'"):
        optimizer.weird  # noqa: B018


def test_every_optimizer_and_schedule_of_pytorch_is_there_or_says_what_is(torch):
    for place in ("optim", "optim.lr_scheduler", "optim.swa_utils"):
        ours, theirs = gpunet, torch
        for name in place.split("."):
            ours, theirs = getattr(ours, name), getattr(theirs, name)
        lacking = [
            name
            for name, value in vars(theirs).items()
            if inspect.isclass(value)
            and issubclass(value, torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler)
            if not name.startswith("_")
            if not hasattr(ours, name)
        ]
        assert set(lacking) == (set(optim.NOT_HERE) if place == "optim" else set()), place
    with pytest.raises(AttributeError, match=r"gpunet.optim has no LBFGS: .*Adam"):
        optim.LBFGS  # noqa: B018
    with pytest.raises(AttributeError, match="'weird'"):
        optim.weird  # noqa: B018
