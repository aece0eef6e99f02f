"""Optimizers, schedules and clipping, compared with what PyTorch does (see recorded/record_optim.py)."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from gpunet import nn
from gpunet.backend import to_cpu
from gpunet.errors import ArgumentError, BackendError, NonFiniteError, StateDictError
from gpunet.optim import SGD, Adam, AdamW, Optimizer, clip_grad_norm_, lr_scheduler
from gpunet.optim.flat import LARGE
from gpunet.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from gpunet.tensor import Tensor, tensor

with safe_open(Path(__file__).with_name("recorded") / "optim.safetensors", framework="numpy") as file:
    CASES = json.loads(file.metadata()["cases"])
    RECORDED = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (the file is no dict)

START = [RECORDED[f"start/{i}"] for i in range(3)]
GRADIENTS = [RECORDED[f"gradients/{i}"] for i in range(3)]  # a gradient of NaN stands for none
STEPS = len(GRADIENTS[0])
KINDS = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW}


@pytest.fixture(autouse=True)
def _on_a_backend(backend):
    """Every test runs on each backend."""


def make_params(start=START, dtype=np.float64):
    return [tensor(values, dtype=dtype, requires_grad=True) for values in start]


def make_optimizer(kind="SGD", params=None, **settings):
    """An optimizer with two groups, the second with a learning rate of its own."""
    params = make_params() if params is None else params
    return KINDS[kind]([{"params": params[:2]}, {"params": params[2:], "lr": 0.02}], **settings)


def set_gradients(params, step, gradients=GRADIENTS):
    for param, grads in zip(params, gradients, strict=True):
        param.grad = None if np.isnan(grads[step]).any() else tensor(grads[step], dtype=param.dtype)


def values(params):
    return [to_cpu(param.array).copy() for param in params]


def make_schedule(optimizer, name, settings, library=lr_scheduler):
    if "schedulers" in settings:
        inner = [make_schedule(optimizer, *each, library) for each in settings["schedulers"]]
        settings = {**settings, "schedulers": inner}
    return getattr(library, name)(optimizer, **settings)


def levels(optimizer):
    """Learning rate and momentum of each group."""
    return [
        [group["lr"], group["betas"][0] if "betas" in group else group["momentum"]] for group in optimizer.param_groups
    ]


def steps_of(scheduler, optimizer, metrics):
    """The levels before the first step, and after each one."""
    yield levels(optimizer)
    for metric in metrics:
        optimizer.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(metric)
        else:
            scheduler.step()
        yield levels(optimizer)


# ---------------------------------------------------------------------- optimizers


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 2e-6)])
@pytest.mark.parametrize("case", CASES["optimizers"])
def test_trajectory_of_every_optimizer(case, dtype, tolerance):
    kind, settings = CASES["optimizers"][case]
    params = make_params(dtype=dtype)
    arrays = [param.array for param in params]
    optimizer = make_optimizer(kind, params, **settings)
    for step in range(STEPS):
        set_gradients(params, step)
        before = values([param.grad for param in params if param.grad is not None])
        optimizer.step()
        after = values([param.grad for param in params if param.grad is not None])
        assert all(map(np.array_equal, before, after))
        for i, found in enumerate(values(params)):
            expected = RECORDED[f"optimizers/{case}/{dtype}/{i}"][step]
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    assert all(param.array is array and array.dtype == dtype for param, array in zip(params, arrays, strict=True))
    for state in optimizer.state.values():
        assert all(value.dtype == dtype for name, value in state.items() if name != "step")


@pytest.mark.parametrize("kind", KINDS)
def test_random_settings_against_pytorch(kind, rng):
    torch = pytest.importorskip("torch")
    for _ in range(12):
        settings = {"lr": float(rng.uniform(0.001, 0.5)), "weight_decay": float(rng.choice([0, rng.uniform(0, 0.5)]))}
        if kind == "SGD":
            settings["momentum"] = float(rng.choice([0, rng.uniform(0.1, 0.99)]))
            settings["nesterov"] = bool(rng.integers(2)) and settings["momentum"] > 0
            settings["dampening"] = 0 if settings["nesterov"] else float(rng.uniform(0, 1))
        else:
            settings["betas"] = (float(rng.uniform(0, 0.99)), float(rng.uniform(0, 0.999)))
            settings["eps"] = float(10 ** rng.uniform(-10, -2))
            settings["amsgrad"] = bool(rng.integers(2))
        start, gradients = rng.normal(size=(5, 2)), rng.normal(size=(15, 5, 2))
        ours, theirs = tensor(start, requires_grad=True), torch.tensor(start, requires_grad=True)
        optimizers = KINDS[kind]([ours], **settings), getattr(torch.optim, kind)([theirs], **settings)
        for grad in gradients:
            ours.grad, theirs.grad = tensor(grad), torch.tensor(grad)
            for optimizer in optimizers:
                optimizer.step()
        np.testing.assert_allclose(to_cpu(ours.array), theirs.detach().numpy(), rtol=1e-11, atol=1e-12)


def test_defaults_are_pytorchs():
    torch = pytest.importorskip("torch")
    for kind, ours in KINDS.items():
        theirs = getattr(torch.optim, kind)([torch.zeros(1, requires_grad=True)])
        assert ours(make_params()).defaults.items() <= theirs.defaults.items()


def test_a_quadratic_is_minimised_through_backward():
    weight = tensor([5.0, -3.0], requires_grad=True)
    optimizer = SGD([weight], lr=0.1, momentum=0.5)
    for _ in range(100):
        optimizer.zero_grad()
        ((weight - 1.0) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(to_cpu(weight.array), [1, 1], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_infinity_travel_on_silently(kind):
    params = make_params()
    optimizer = make_optimizer(kind, params, weight_decay=0.1)
    for bad in (math.nan, math.inf):
        params[1].grad = tensor([bad, 1.0, 0.0, -bad], dtype=np.float64)
        optimizer.step()
    found = to_cpu(params[1].array)
    assert not np.isfinite(found[[0, 3]]).any()
    assert np.isfinite(found[[1, 2]]).all()


def test_numpy_numbers_do_not_widen_float32():
    param = tensor([1.0], requires_grad=True)
    optimizer = SGD([param], lr=np.float64(0.1), momentum=np.float32(0.9))
    optimizer.param_groups[0]["lr"] = np.float64(0.2)
    param.grad = tensor([1.0])
    optimizer.step()
    assert param.array.dtype == optimizer.state[param]["momentum_buffer"].dtype == np.float32
    assert [type(value) for value in optimizer.defaults.values()] == [float, float, float, float, bool, bool]


def test_the_memory_order_of_a_parameter_does_not_matter(rng):
    start, grad = rng.normal(size=(2, 3, 4, 5, 2))
    plain, swapped = (tensor(start, requires_grad=True) for _ in range(2))
    swapped.data = swapped.array.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    plain.grad, swapped.grad = tensor(grad), tensor(grad)
    Adam([plain, swapped], weight_decay=0.1).step()
    assert np.array_equal(to_cpu(plain.array), to_cpu(swapped.array))


TOGETHER = {
    "SGD": (SGD, {"lr": 0.1}),
    "momentum": (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    "nesterov": (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "AMSGrad": (Adam, {"lr": 0.1, "amsgrad": True, "weight_decay": 0.01}),
    "AdamW": (AdamW, {"lr": 0.1}),
}


def parameters_of_all_sorts(dtype=np.float32):
    """Small ones, one of filters in their order in memory, one of another type, one that is not dense, a large one."""
    draw = np.random.default_rng(1).normal
    params = [tensor(draw(size=shape), dtype, requires_grad=True) for shape in [(3,), (), (0,), (2, 5), (7, 1, 2)]]
    filters = tensor(draw(size=(3, 3, 4, 6)), dtype, requires_grad=True)
    filters.data = filters.array.transpose(3, 2, 0, 1)  # (6, 4, 3, 3)
    wide = tensor(draw(size=4), np.float64, requires_grad=True)
    sparse = tensor(draw(size=(4, 7)), dtype, requires_grad=True)
    sparse.data = sparse.array[:, ::2]
    large = tensor(draw(size=(5, LARGE // 5 + 1)), dtype, requires_grad=True)
    return [*params, filters, wide, sparse, large]


def give_gradients(params, step):
    """Gradients; none to a third of the parameters, at each step to others, and to one not before the third step."""
    draw = np.random.default_rng(step).normal
    for number, param in enumerate(params):
        grad = draw(size=param.shape)
        has_one = step != number % 3 + 2 and (number != 1 or step > 2)
        param.grad = tensor(grad, param.dtype) if has_one else None


def no_change(params, optimizers):
    """Nothing happens between two steps."""


def resume(params, optimizers):
    for optimizer in optimizers:
        optimizer.load_state_dict(optimizer.state_dict())


def replace_arrays(params, optimizers):
    for param in params:
        param.data = param.array.copy()


def write_into_arrays(params, optimizers):
    for param in params:
        param.data *= 0.5
    for optimizer in optimizers:
        for state in optimizer.state.values():
            for name, value in state.items():
                if name != "step":
                    value *= 0.5


def replace_a_state(params, optimizers):
    for optimizer in optimizers:
        for param, state in optimizer.state.items():
            if param is params[0]:
                state.update({name: value * 2 for name, value in state.items()})


def forget_a_state(params, optimizers):
    for optimizer in optimizers:
        optimizer.state.pop(params[3], None)


@pytest.mark.parametrize(
    "change", [no_change, resume, replace_arrays, write_into_arrays, replace_a_state, forget_a_state]
)
@pytest.mark.parametrize("case", TOGETHER)
def test_many_parameters_are_updated_as_each_would_be_by_itself(case, change):
    """To the same bits, whatever happens between the steps to the parameters and their states."""
    kind, settings = TOGETHER[case]
    together, apart = parameters_of_all_sorts(), parameters_of_all_sorts()
    arrays = [param.array for param in together]
    one, several = [kind(together, **settings)], [kind([param], **settings) for param in apart]
    for step in range(7):
        for params, optimizers in ((together, one), (apart, several)):
            give_gradients(params, step)
            for optimizer in optimizers:
                optimizer.step()
            change(params, optimizers)
    assert all(map(np.array_equal, values(together), values(apart)))
    if change is not replace_arrays:
        assert all(param.array is array for param, array in zip(together, arrays, strict=True))
    for param, alone, optimizer in zip(together, apart, several, strict=True):
        state, expected = one[0].state.get(param, {}), optimizer.state.get(alone, {})
        assert state.keys() == expected.keys()
        for name, value in state.items():
            assert np.array_equal(value if name == "step" else to_cpu(value), to_cpu(expected[name])), name
            assert name == "step" or (value.shape == param.shape and value.dtype == param.dtype)


def test_parameters_that_share_memory_are_updated_one_after_the_other():
    one, transposed = (tensor(np.zeros((3, 2)), requires_grad=True) for _ in range(2))
    transposed.data = one.array.T
    other = tensor(np.zeros(4), requires_grad=True)
    optimizer = SGD([one, other, transposed], lr=1.0)
    one.grad = tensor(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    transposed.grad = tensor(np.array([[10.0, 30.0, 50.0], [20.0, 40.0, 60.0]]))
    other.grad = tensor(np.ones(4))
    optimizer.step()
    assert one.tolist() == [[-11, -22], [-33, -44], [-55, -66]]
    assert other.tolist() == [-1] * 4


@pytest.mark.parametrize("case", TOGETHER)
def test_many_parameters_against_pytorch(case):
    torch = pytest.importorskip("torch")
    kind, settings = TOGETHER[case]
    ours = parameters_of_all_sorts(np.float64)
    theirs = [torch.tensor(np.array(to_cpu(param.array)), requires_grad=True) for param in ours]
    optimizers = kind(ours, **settings), getattr(torch.optim, kind.__name__)(theirs, **settings)
    for step in range(7):
        give_gradients(ours, step)
        for param, their in zip(ours, theirs, strict=True):
            their.grad = None if param.grad is None else torch.tensor(np.array(to_cpu(param.grad.array)))
        for optimizer in optimizers:
            optimizer.step()
    for param, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(to_cpu(param.array), their.detach().numpy(), rtol=1e-11, atol=1e-12)
        for name, value in optimizers[0].state.get(param, {}).items():
            expected = optimizers[1].state[their][name]
            np.testing.assert_allclose(to_cpu(value) if name != "step" else value, expected, rtol=1e-11, atol=1e-12)


def test_a_deep_copy_trains_by_itself():
    params = make_params(dtype=np.float32)
    optimizer = make_optimizer("Adam", params)
    set_gradients(params, 1)
    optimizer.step()
    copied_params, copied = copy.deepcopy((params, optimizer))
    before = values(copied_params)
    for trained, its_params in ((optimizer, params), (copied, copied_params)):
        set_gradients(its_params, 2)
        trained.step()
        if trained is optimizer:
            assert all(map(np.array_equal, before, values(copied_params)))
    assert all(map(np.array_equal, values(params), values(copied_params)))
    np.testing.assert_equal(optimizer.state_dict(), copied.state_dict())


def test_small_parameters_take_one_call_of_the_formula():
    class Counting(SGD):
        def _update(self, param, grad, state, group):
            calls.append(param.shape)
            super()._update(param, grad, state, group)

    calls = []
    params = [tensor(np.ones((2, 3)), requires_grad=True) for _ in range(20)]
    large = tensor(np.ones((2, LARGE)), requires_grad=True)
    optimizer = Counting([*params, large], momentum=0.9)
    for _ in range(3):
        for param in [*params, large]:
            param.grad = tensor(np.ones(param.shape))
        optimizer.step()
    assert sorted(calls) == sorted([(2, LARGE), (120,)] * 3)


def test_zero_grad():
    params = make_params()
    optimizer = make_optimizer(params=params)
    set_gradients(params, 0)  # the second parameter has none
    optimizer.zero_grad(set_to_none=False)
    assert params[1].grad is None
    assert params[0].grad.tolist() == [[0, 0]] * 3
    assert params[2].grad.tolist() == 0
    optimizer.zero_grad()
    assert all(param.grad is None for param in params)


def test_add_param_group():
    optimizer = SGD(make_params()[:1], lr=0.5)
    group = {"params": tensor([1.0], requires_grad=True), "lr": 0.25}
    optimizer.add_param_group(group)
    group["lr"] = 100
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.25]
    param = optimizer.param_groups[1]["params"][0]
    param.grad = tensor([4.0])
    optimizer.step()
    assert param.tolist() == [0.0]


def test_a_generator_of_parameters_will_do_and_a_group_may_be_empty():
    optimizer = SGD([{"params": (param for param in make_params())}, {"params": []}])
    assert [len(group["params"]) for group in optimizer.param_groups] == [3, 0]


def test_a_changed_setting_is_checked_at_the_next_step():
    optimizer = make_optimizer()
    optimizer.param_groups[1]["lr"] = math.nan
    with pytest.raises(ArgumentError, match="SGD: lr must be a finite number of 0 or more, got nan"):
        optimizer.step()


W = Tensor(np.ones(1), requires_grad=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SGD([W], lr=-1), "SGD: lr must be a finite number of 0 or more, got -1"),
        (lambda: SGD([W], lr=math.nan), "lr must be .* got nan"),
        (lambda: SGD([W], lr=math.inf), "lr must be .* got inf"),
        (lambda: SGD([W], lr="0.1"), "lr must be .* got '0.1'"),
        (lambda: SGD([W], lr=True), "lr must be .* got True"),
        (lambda: SGD([W], momentum=-0.1), "momentum must be"),
        (lambda: SGD([W], weight_decay=-0.1), "weight_decay must be"),
        (lambda: SGD([W], nesterov=True), "nesterov needs a momentum above 0"),
        (lambda: SGD([W], momentum=0.9, dampening=0.1, nesterov=True), "nesterov needs"),
        (lambda: SGD([{"params": [W], "lr": -1}]), "lr must be"),
        (lambda: Adam([W], betas=(1.0, 0.9)), r"Adam: betas\[0\] must be a number of at least 0 and below 1, got 1.0"),
        (lambda: Adam([W], betas=(0.9, -0.1)), r"betas\[1\] must be"),
        (lambda: Adam([W], betas=0.9), "betas must be two numbers, got 0.9"),
        (lambda: Adam([W], eps=-1e-8), "eps must be"),
        (lambda: AdamW([W], weight_decay=math.nan), "AdamW: weight_decay must be"),
        (lambda: SGD([]), "SGD got no parameters"),
        (lambda: SGD(iter([])), "no parameters"),
        (lambda: SGD([{"params": []}]), "no parameters"),
        (lambda: SGD(W), r"expects a list of parameters or of groups, got one; write \[it\]"),
        (lambda: SGD({"params": [W]}), r"write \[it\]"),
        (lambda: SGD({W}), "got a set"),
        (lambda: SGD(3), "expects a list of parameters, got 3"),
        (lambda: SGD([("weight", W), W]), r"parameter 0 of group 0 must be a Tensor, got tuple \(use model.parameters"),
        (lambda: SGD([W, np.ones(1)]), "parameter 1 of group 0 must be a Tensor, got ndarray"),
        (lambda: SGD([tensor([1.0], requires_grad=True) * 2]), "was computed from other Tensors"),
        (lambda: SGD([W, W]), r"parameter 1 of group 0, of shape \(1,\), comes twice"),
        (lambda: SGD([{"params": [W]}, {"params": W}]), "parameter 0 of group 1.* comes twice"),
        (lambda: SGD([{"params": [W]}, W]), "parameter 0 of group 0 must be a Tensor, got dict"),
        (lambda: SGD([{"lr": 1}]), "a dict with 'params'"),
        (lambda: SGD([W]).add_param_group([W]), "a dict with 'params'"),
        (lambda: SGD([{"params": [W], "learning_rate": 1}]), "does not know the setting.* learning_rate"),
    ],
)
def test_bad_arguments_of_optimizers(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_a_state_on_another_backend_is_refused():
    class Foreign:
        shape = (1,)

    param = tensor([1.0], requires_grad=True)
    param.grad = tensor([1.0])
    optimizer = SGD([param], momentum=0.9)
    optimizer.state[param] = {"momentum_buffer": Foreign()}
    with pytest.raises(BackendError, match="momentum_buffer, which SGD keeps"):
        optimizer.step()


# ---------------------------------------------------------------------- saving and resuming an optimizer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES["optimizers"])
def test_resumed_trajectory_has_the_same_bits(case, dtype):
    kind, settings = CASES["optimizers"][case]

    def run(params, optimizer, steps):
        for step in steps:
            set_gradients(params, step)
            optimizer.step()

    params = make_params(dtype=dtype)
    optimizer = make_optimizer(kind, params, **settings)
    run(params, optimizer, range(4))
    saved, weights = optimizer.state_dict(), values(params)
    kept = copy.deepcopy(saved)
    run(params, optimizer, range(4, STEPS))

    resumed_params = make_params(weights, dtype)
    resumed = make_optimizer(kind, resumed_params, lr=123.0)
    resumed.load_state_dict(saved)
    run(resumed_params, resumed, range(4, STEPS))
    assert all(map(np.array_equal, values(params), values(resumed_params)))
    np.testing.assert_equal(saved, kept)  # neither trajectory wrote into it


def test_state_dict_is_plain():
    params = make_params(dtype=np.float32)
    optimizer = make_optimizer("Adam", params)
    set_gradients(params, 0)
    optimizer.step()
    saved = optimizer.state_dict()
    assert sorted(saved["state"]) == [0, 2]  # parameter 1 has had no gradient
    assert saved["state"][0]["step"] == 1
    assert type(saved["state"][2]["exp_avg"]) is np.ndarray
    assert saved["param_groups"][1] == {**optimizer.defaults, "lr": 0.02, "params": [2]}
    json.dumps(saved["param_groups"])


@pytest.mark.parametrize(
    ("spoil", "messages"),
    [
        (lambda saved: saved.pop("state"), ["not a dict with"]),
        (lambda saved: saved.update(param_groups=7), ["not a dict with"]),
        (lambda saved: saved["param_groups"].pop(), [r"1 parameter group\(s\), expected 2"]),
        (lambda saved: saved["param_groups"].__setitem__(0, None), ["group 0: it is not a dict"]),
        (lambda saved: saved["param_groups"][0]["params"].pop(), [r"group 0: it has 1 parameter\(s\), expected 2"]),
        (lambda saved: saved["param_groups"][0]["params"].reverse(), [r"parameters are \[1, 0\], expected \[0, 1\]"]),
        (lambda saved: saved["param_groups"][1].pop("eps"), ["group 1: eps is missing"]),
        (lambda saved: saved["param_groups"][1].update(momentum=0.9), ["group 1: momentum is unexpected"]),
        (lambda saved: saved["param_groups"][1].update(betas=(2, 0)), [r"group 1: Adam: betas\[0\] must be"]),
        (lambda saved: saved["param_groups"][1].update(initial_lr=-1), ["group 1: Adam: initial_lr must be"]),
        (lambda saved: saved["state"].update({3: {}}), ["a state of parameter 3, but there are 3"]),
        (lambda saved: saved["state"].update({"0": {}}), ["a state of parameter '0'"]),
        (lambda saved: saved["state"].update({0: None}), ["parameter 0: its state must be a dict"]),
        (lambda saved: saved["state"][0].pop("step"), ["parameter 0: step is missing"]),
        (lambda saved: saved["state"][0].update(step=1.5), ["parameter 0: its state: step must be a whole number"]),
        (lambda saved: saved["state"][0].update(step=-1), ["step must be 0 or more"]),
        (lambda saved: saved["state"][0].update(velocity=1), ["parameter 0: velocity is unexpected"]),
        (lambda saved: saved["state"][0].update(exp_avg=[1, 2]), ["exp_avg must be an array of floats, got list"]),
        (
            lambda saved: [
                saved["state"][0].update(exp_avg=np.zeros(7), exp_avg_sq=np.zeros((2, 3))),
                saved["state"][2].pop("exp_avg"),
                saved["param_groups"][0].pop("lr"),
            ],
            [
                r"parameter 0: exp_avg has shape \(7,\), expected \(3, 2\)",
                r"parameter 0: exp_avg_sq has shape \(2, 3\)",
                "parameter 2: exp_avg is missing",
                "group 0: lr is missing",
            ],
        ),
    ],
)
def test_a_state_dict_that_does_not_fit_loads_nothing(spoil, messages):
    params = make_params()
    optimizer = make_optimizer("Adam", params, lr=0.7)
    set_gradients(params, 1)
    optimizer.step()
    before, saved = optimizer.state_dict(), optimizer.state_dict()
    saved["param_groups"][1]["lr"] = 0.5
    spoil(saved)
    with pytest.raises(StateDictError) as caught:
        optimizer.load_state_dict(saved)
    for message in messages:
        caught.match(message)
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_the_state_of_another_kind_of_optimizer_is_refused():
    with pytest.raises(StateDictError, match="does not fit SGD") as caught:
        make_optimizer("SGD").load_state_dict(make_optimizer("Adam").state_dict())
    caught.match("group 0: momentum is missing")
    caught.match("group 1: betas is unexpected")


# ---------------------------------------------------------------------- schedules


@pytest.mark.parametrize("case", CASES["schedules"])
def test_trajectory_of_every_schedule(case):
    kind, name, settings, steps = CASES["schedules"][case]
    optimizer = make_optimizer(kind, lr=0.1)
    scheduler = make_schedule(optimizer, name, settings)
    found = []
    for row in steps_of(scheduler, optimizer, RECORDED["metrics"][:steps]):
        found.append(row)
        assert scheduler.get_last_lr() == [lr for lr, _ in row]
    np.testing.assert_allclose(found, RECORDED[f"schedules/{case}"], rtol=1e-12, atol=1e-16)


def random_schedule(name, rng):
    """Random settings of a schedule, and how many steps to make."""
    if name == "StepLR":
        return {"step_size": int(rng.integers(1, 8)), "gamma": float(rng.uniform(0.1, 1))}, 30
    if name == "MultiStepLR":
        return {
            "milestones": sorted(rng.choice(30, 4, replace=False).tolist()),
            "gamma": float(rng.uniform(0.1, 1)),
        }, 30
    if name == "LinearLR":
        start, end = rng.uniform(0.01, 1, 2).tolist()
        return {"start_factor": start, "end_factor": end, "total_iters": int(rng.integers(1, 25))}, 30
    if name == "CosineAnnealingLR":
        return {"T_max": int(rng.integers(1, 25)), "eta_min": float(rng.uniform(0, 0.01))}, 30
    total = int(rng.integers(5, 40))
    settings = {
        "max_lr": rng.uniform(0.1, 1, 2).tolist(),
        "total_steps": total,
        "pct_start": float(rng.uniform(0.25, 0.5)),
        "anneal_strategy": str(rng.choice(["cos", "linear"])),
        "three_phase": bool(rng.integers(2)),
        "div_factor": float(rng.uniform(2, 50)),
        "base_momentum": float(rng.uniform(0.5, 0.8)),
    }
    return settings, total - 1


@pytest.mark.parametrize("name", ["StepLR", "MultiStepLR", "LinearLR", "CosineAnnealingLR", "OneCycleLR"])
def test_random_schedules_against_pytorch(name, rng):
    torch = pytest.importorskip("torch")
    for kind in ("SGD", "Adam") * 5:
        settings, steps = random_schedule(name, rng)
        rows = []
        for library, optimizer in (
            (lr_scheduler, make_optimizer(kind, lr=0.1)),
            (
                torch.optim.lr_scheduler,
                getattr(torch.optim, kind)(
                    [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.02)]
                ),
            ),
        ):
            scheduler = make_schedule(optimizer, name, settings, library)
            rows.append(list(steps_of(scheduler, optimizer, [0.0] * steps)))
        np.testing.assert_allclose(*rows, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("case", CASES["schedules"])
def test_a_resumed_schedule_goes_on_the_same(case):
    kind, name, settings, steps = CASES["schedules"][case]
    optimizer = make_optimizer(kind, lr=0.1)
    scheduler = make_schedule(optimizer, name, settings)
    metrics = RECORDED["metrics"][:steps]
    half = steps // 2
    expected = list(steps_of(scheduler, optimizer, metrics[:half]))
    saved = json.loads(json.dumps(scheduler.state_dict()))
    expected += list(steps_of(scheduler, optimizer, metrics[half:]))[1:]

    resumed_optimizer = make_optimizer(kind, lr=0.1)
    resumed = make_schedule(resumed_optimizer, name, settings)
    resumed.load_state_dict(saved)
    assert resumed.last_epoch == half
    assert list(steps_of(resumed, resumed_optimizer, metrics[half:])) == expected[half:]


def test_optimizer_and_schedule_resume_in_either_order():
    optimizer = make_optimizer(lr=0.1)
    scheduler = StepLR(optimizer, 2)
    for _ in range(5):
        scheduler.step()
    saved = optimizer.state_dict()
    for schedule_first in (True, False):
        resumed = make_optimizer(lr=9.0)
        if not schedule_first:
            resumed.load_state_dict(saved)
        again = StepLR(resumed, 2)
        again.load_state_dict(scheduler.state_dict())
        if schedule_first:
            resumed.load_state_dict(saved)
        again.step()
        np.testing.assert_allclose(again.get_last_lr(), [1e-4, 2e-5], rtol=1e-12)
        assert resumed.param_groups[0]["initial_lr"] == 0.1


def test_formulas_by_hand():
    optimizer = SGD([tensor([1.0], requires_grad=True)], lr=0.8)
    assert CosineAnnealingLR(optimizer, 4).lr_at(1, 0.8) == pytest.approx(0.4 * (1 + math.sqrt(0.5)))
    assert LinearLR(optimizer, 0.25, total_iters=3).lr_at(2, 0.8) == pytest.approx(0.6)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)
    assert optimizer.param_groups[0]["initial_lr"] == 0.8
    assert MultiStepLR(optimizer, [2, 3], 0.5).lr_at(3, 0.8) == pytest.approx(0.2)
    cycle = OneCycleLR(optimizer, 1.0, 11, pct_start=5 / 11, anneal_strategy="linear")
    assert cycle.lr_at(4, 0.04) == pytest.approx(1.0)
    assert cycle.lr_at(7, 0.04) == pytest.approx((1 + 4e-6) / 2)


def test_the_end_of_one_cycle():
    optimizer = make_optimizer("Adam")
    scheduler = OneCycleLR(optimizer, 1.0, 4, anneal_strategy="linear", base_momentum=0.5)
    for _ in range(4):
        scheduler.step()
    end = levels(optimizer)  # the step after the last batch stays at the end of the cycle
    np.testing.assert_allclose(end, [[4e-6, 0.95]] * 2)
    with pytest.raises(ArgumentError, match="is over: it has 4 steps, step 5 was asked for"):
        scheduler.step()
    assert scheduler.last_epoch == 4
    assert levels(optimizer) == end


@pytest.mark.parametrize("total_steps", [1, 2, 10])
@pytest.mark.parametrize("pct_start", [0, 0.1, 0.5, 1])
@pytest.mark.parametrize("three_phase", [False, True])
def test_a_phase_of_one_cycle_may_be_empty(total_steps, pct_start, three_phase):
    optimizer = make_optimizer(momentum=0.5)
    scheduler = OneCycleLR(optimizer, 1.0, total_steps, pct_start=pct_start, three_phase=three_phase)
    for row in steps_of(scheduler, optimizer, range(total_steps)):
        assert all(0 < lr <= 1 and 0.84 < momentum < 0.96 for lr, momentum in row)


def test_plateau_takes_a_tensor_and_nan_is_no_better():
    optimizer = make_optimizer(lr=0.1)
    scheduler = ReduceLROnPlateau(optimizer, patience=1)
    assert scheduler.get_last_lr() == [0.1, 0.02]
    for metric in (tensor(1.0), math.nan, math.nan):
        scheduler.step(metric)
    np.testing.assert_allclose(scheduler.get_last_lr(), [0.01, 0.002])
    assert scheduler.best == 1.0


def test_schedules_are_schedulers():
    assert issubclass(ReduceLROnPlateau, LRScheduler)
    assert issubclass(AdamW, Optimizer)
    with pytest.raises(NotImplementedError):
        LRScheduler(make_optimizer())


def other_optimizers_schedule():
    return StepLR(make_optimizer(), 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda opt: StepLR(None, 1), "StepLR expects an optimizer, got NoneType"),
        (lambda opt: ReduceLROnPlateau(None), "ReduceLROnPlateau expects an optimizer"),
        (lambda opt: OneCycleLR(None, 1.0, 10), "OneCycleLR expects an optimizer"),
        (lambda opt: StepLR(opt, 0), "StepLR: step_size must be 1 or more, got 0"),
        (lambda opt: StepLR(opt, 1.5), "step_size must be a whole number"),
        (lambda opt: StepLR(opt, 1, gamma=-0.1), "gamma must be a finite number of 0 or more"),
        (lambda opt: MultiStepLR(opt, [3, 2]), r"milestones must be increasing, got \[3, 2\]"),
        (lambda opt: MultiStepLR(opt, [2, 2]), "milestones must be increasing"),
        (lambda opt: MultiStepLR(opt, [-1]), "a milestone must be 0 or more"),
        (lambda opt: LinearLR(opt, start_factor=0), "start_factor must be a number above 0 and at most 1"),
        (lambda opt: LinearLR(opt, end_factor=1.1), r"end_factor must lie within \[0, 1\]"),
        (lambda opt: LinearLR(opt, total_iters=0), "total_iters must be 1 or more"),
        (lambda opt: CosineAnnealingLR(opt, 0), "T_max must be 1 or more"),
        (lambda opt: CosineAnnealingLR(opt, 5, eta_min=-1), "eta_min must be"),
        (lambda opt: OneCycleLR(opt, 1.0), "needs total_steps, or both epochs and steps_per_epoch"),
        (lambda opt: OneCycleLR(opt, 1.0, epochs=3), "needs total_steps"),
        (lambda opt: OneCycleLR(opt, 1.0, 0), "total_steps must be 1 or more"),
        (lambda opt: OneCycleLR(opt, 1.0, epochs=0, steps_per_epoch=3), "epochs must be 1 or more"),
        (lambda opt: OneCycleLR(opt, [1.0], 10), r"max_lr has 1 values, but the optimizer has 2 group\(s\)"),
        (lambda opt: OneCycleLR(opt, -1.0, 10), "max_lr must be a finite number above 0"),
        (lambda opt: OneCycleLR(opt, 1.0, 10, pct_start=1.1), "pct_start must lie within"),
        (
            lambda opt: OneCycleLR(opt, 1.0, 10, anneal_strategy="sine"),
            "anneal_strategy must be one of 'cos', 'linear'",
        ),
        (lambda opt: OneCycleLR(opt, 1.0, 10, base_momentum=1), "base_momentum must be"),
        (lambda opt: OneCycleLR(opt, 1.0, 10, div_factor=0), "div_factor must be"),
        (lambda opt: SequentialLR(opt, [], []), "one milestone fewer than schedules"),
        (lambda opt: SequentialLR(opt, [StepLR(opt, 1)], [1]), r"got 1 schedule\(s\) and 1 milestone\(s\)"),
        (lambda opt: SequentialLR(opt, [StepLR(opt, 1)] * 3, [2, 1]), "milestones must be increasing"),
        (lambda opt: SequentialLR(opt, [ReduceLROnPlateau(opt)], []), "cannot hold schedule 0, a ReduceLROnPlateau"),
        (lambda opt: SequentialLR(opt, [opt], []), "cannot hold schedule 0, a SGD"),
        (lambda opt: SequentialLR(opt, [other_optimizers_schedule()], []), "schedule 0 belongs to another optimizer"),
        (lambda opt: ReduceLROnPlateau(opt, "down"), "mode must be one of 'min', 'max', got 'down'"),
        (lambda opt: ReduceLROnPlateau(opt, factor=1.0), "factor must be"),
        (lambda opt: ReduceLROnPlateau(opt, patience=-1), "patience must be 0 or more"),
        (lambda opt: ReduceLROnPlateau(opt, threshold_mode="x"), "threshold_mode must be one of 'rel', 'abs'"),
        (lambda opt: ReduceLROnPlateau(opt, min_lr=[0, 0, 0]), "min_lr has 3 values"),
        (lambda opt: ReduceLROnPlateau(opt, cooldown=-1), "cooldown must be 0 or more"),
    ],
)
def test_bad_arguments_of_schedules(make, message):
    optimizer = make_optimizer(lr=0.1)
    with pytest.raises(ArgumentError, match=message):
        make(optimizer)


def test_one_cycle_needs_a_momentum():
    class Plain(SGD):
        def _checked_options(self, options):
            return {"lr": options["lr"]}

    optimizer = Plain(make_params())
    with pytest.raises(ArgumentError, match="Plain has no momentum; set cycle_momentum=False"):
        OneCycleLR(optimizer, 1.0, 10)
    OneCycleLR(optimizer, 1.0, 10, cycle_momentum=False)


def test_a_group_added_after_the_schedule():
    optimizer = make_optimizer()
    scheduler = StepLR(optimizer, 1)
    optimizer.add_param_group({"params": [tensor([1.0], requires_grad=True)]})
    with pytest.raises(ArgumentError, match=r"made for 2 parameter group\(s\), the optimizer now has 3"):
        scheduler.step()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda saved: saved.clear(), "not the state of a SequentialLR but of None"),
        (lambda saved: saved.update(schedule="StepLR"), "not the state of a SequentialLR but of 'StepLR'"),
        (lambda saved: saved.pop("last_epoch"), "last_epoch is missing"),
        (lambda saved: saved.update(last_epoch=-1), "last_epoch is -1"),
        (lambda saved: saved.update(last_epoch=1.5), "last_epoch is 1.5"),
        (lambda saved: saved.update(base_lrs=[1.0]), r"base_lrs is \[1.0\], expected something like \[0.1, 0.02\]"),
        (lambda saved: saved.update(_last_lr=[1.0, "x"]), "_last_lr is"),
        (lambda saved: saved["schedulers"].pop(), "schedulers must be a list of 2 states"),
        (lambda saved: saved["schedulers"][1].pop("base_lrs"), "schedule 1: base_lrs is missing"),
        (lambda saved: saved["schedulers"].reverse(), "schedule 0: it is not the state of a LinearLR but of 'StepLR'"),
    ],
)
def test_a_schedules_state_that_does_not_fit_loads_nothing(spoil, message):
    optimizer = make_optimizer(lr=0.1)
    scheduler = SequentialLR(optimizer, [LinearLR(optimizer), StepLR(optimizer, 2)], [3])
    scheduler.step()
    before, rows, saved = scheduler.state_dict(), levels(optimizer), scheduler.state_dict()
    spoil(saved)
    with pytest.raises(StateDictError, match=message):
        scheduler.load_state_dict(saved)
    assert scheduler.state_dict() == before
    assert levels(optimizer) == rows


# ---------------------------------------------------------------------- clipping


@pytest.mark.parametrize("case", CASES["clips"])
def test_clip_grad_norm_as_recorded(case):
    params = make_params()
    set_gradients(params, 1)
    arrays = [param.grad.array for param in params]
    norm = clip_grad_norm_(params, *CASES["clips"][case])
    assert isinstance(norm, Tensor)
    assert norm.shape == ()
    np.testing.assert_allclose(norm.item(), RECORDED[f"clips/{case}/norm"], rtol=1e-14)
    for i, (param, array) in enumerate(zip(params, arrays, strict=True)):
        assert param.grad.array is array
        np.testing.assert_allclose(to_cpu(array), RECORDED[f"clips/{case}/{i}"], rtol=1e-14)


def test_clip_grad_norm_is_not_given_a_model():
    with pytest.raises(ArgumentError, match=r"got Linear; of a model give model.parameters\(\)"):
        clip_grad_norm_(nn.Linear(2, 3), 1.0)


def test_clip_grad_norm_by_hand():
    param = tensor([0.0, 0.0], requires_grad=True)
    param.grad = tensor([3.0, -4.0])
    assert clip_grad_norm_(param, math.inf).item() == 5
    assert clip_grad_norm_(iter([param]), 10.0, 1).item() == 7
    assert param.grad.tolist() == [3, -4]
    assert clip_grad_norm_([param], 1.0).dtype == np.float32
    np.testing.assert_allclose(to_cpu(param.grad.array), [0.6, -0.8], rtol=1e-6)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_clip_grad_norm_of_what_is_not_finite(bad, norm_type):
    torch = pytest.importorskip("torch")
    grads = [[1.0, bad], [2.0]]
    ours = [tensor([0.0] * len(grad), requires_grad=True) for grad in grads]
    theirs = [torch.zeros(len(grad), requires_grad=True) for grad in grads]
    for mine, other, grad in zip(ours, theirs, grads, strict=True):
        mine.grad, other.grad = tensor(grad), torch.tensor(grad)
    with pytest.raises(NonFiniteError, match="the gradients have a norm of"):
        clip_grad_norm_(ours, 1.0, norm_type, error_if_nonfinite=True)
    np.testing.assert_equal([param.grad.tolist() for param in ours], grads)
    expected = torch.nn.utils.clip_grad_norm_(theirs, 1.0, norm_type)
    np.testing.assert_equal(clip_grad_norm_(ours, 1.0, norm_type).item(), expected.item())
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_equal(mine.grad.tolist(), other.grad.tolist())


def test_clip_grad_norm_without_gradients():
    assert clip_grad_norm_(make_params(), 1.0).item() == 0
    assert clip_grad_norm_([], 1.0).item() == 0
    empty = tensor(np.zeros((0, 3)), requires_grad=True)
    empty.grad = tensor(np.zeros((0, 3)))
    assert clip_grad_norm_(empty, 1.0, math.inf).item() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([W], -1.0), "clip_grad_norm_: max_norm must be a number of 0 or more, got -1.0"),
        (([W], math.nan), "max_norm must be"),
        (([W], 1.0, 0), "norm_type must be a number above 0, got 0"),
        (([W], 1.0, "fro"), "norm_type must be"),
        (([W, 3], 1.0), "parameter 1 must be a Tensor, got int"),
    ],
)
def test_bad_arguments_of_clip_grad_norm(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        clip_grad_norm_(*arguments)
