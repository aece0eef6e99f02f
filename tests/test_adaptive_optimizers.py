"""RMSprop and its relatives, schedules and clipping, beside those of PyTorch."""

import numpy as np
import pytest

import gpunet
from gpunet import optim
from gpunet.errors import ArgumentError

pytestmark = pytest.mark.usefixtures("backend")

SETTINGS = {
    "RMSprop": [{}, {"momentum": 0.9, "weight_decay": 0.1}, {"centered": True, "alpha": 0.9}],
    "Adagrad": [{}, {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}],
    "Adadelta": [{}, {"rho": 0.5, "lr": 0.3, "weight_decay": 0.1}],
    "NAdam": [{}, {"betas": (0.8, 0.95), "weight_decay": 0.1, "momentum_decay": 0.1}],
    "RAdam": [{}, {"betas": (0.8, 0.95), "weight_decay": 0.1}],
    "Adamax": [{}, {"betas": (0.8, 0.5), "weight_decay": 0.1, "lr": 0.1, "eps": 1e-3}],
}
for _name in ("NAdam", "RAdam"):
    SETTINGS[_name].append({"weight_decay": 0.5, "lr": 0.1, "decoupled_weight_decay": True})
for _name in (*SETTINGS, "SGD", "Adam", "AdamW"):
    SETTINGS.setdefault(_name, []).append({"lr": 0.1, "weight_decay": 0.1, "maximize": True})
CASES = [
    pytest.param(name, each, id=f"{name}{i}") for name, all_of in SETTINGS.items() for i, each in enumerate(all_of)
]


def gradients():
    rng = np.random.default_rng(1)
    return [rng.standard_normal((4, 3)) for _ in range(12)]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_steps_are_those_of_pytorch(torch, name, settings):
    start = np.random.default_rng(0).standard_normal((4, 3))
    ours, theirs = gpunet.tensor(start, requires_grad=True), torch.tensor(start, requires_grad=True)
    mine, right = getattr(optim, name)([ours], **settings), getattr(torch.optim, name)([theirs], **settings)
    for gradient in gradients():
        ours.grad, theirs.grad = gpunet.tensor(gradient), torch.tensor(gradient)
        mine.step()
        right.step()
        least = 1e-8 if name == "NAdam" else 1e-10  # which in PyTorch keeps its products of momenta in float32
        np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-7, atol=least)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_it_goes_on_with_the_same_bits(name, settings):
    def train(steps, param, optimizer):
        for gradient in steps:
            param.grad = gpunet.tensor(gradient)
            optimizer.step()

    param = gpunet.ones(4, 3, dtype="float64", requires_grad=True)
    optimizer = getattr(optim, name)([param], **settings)
    train(gradients()[:6], param, optimizer)
    again = param.detach().clone().requires_grad_()
    other = getattr(optim, name)([again], lr=0.5)
    other.load_state_dict(optimizer.state_dict())
    train(gradients()[6:], param, optimizer)
    train(gradients()[6:], again, other)
    assert param.tolist() == again.tolist()


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_make_no_sense(name):
    param = gpunet.ones(1, requires_grad=True)
    with pytest.raises(ArgumentError, match=f"{name}.*lr"):
        getattr(optim, name)([param], lr=-1)


def test_frozen_parameters_stay_as_they_are():
    frozen, free = gpunet.ones(2), gpunet.ones(2, requires_grad=True)
    optimizer = optim.SGD([frozen, free], lr=0.5)
    free.grad = gpunet.ones(2)
    optimizer.step()
    assert (frozen.tolist(), free.tolist()) == ([1.0, 1.0], [0.5, 0.5])
    frozen.requires_grad_().grad = gpunet.ones(2)  # thawed
    optimizer.step()
    assert frozen.tolist() == [0.5, 0.5]


def test_a_closure_computes_the_loss():
    weight = gpunet.tensor([3.0], requires_grad=True)
    optimizer = optim.SGD([weight], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (weight * weight).sum()
        loss.backward()
        return loss

    with gpunet.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert weight.tolist() == [1.5]


SCHEDULES = {
    "CosineAnnealingWarmRestarts": [{"T_0": 3}, {"T_0": 2, "T_mult": 2, "eta_min": 0.01}],
    "ExponentialLR": [{"gamma": 0.8}],
    "LambdaLR": [{"lr_lambda": lambda epoch: 0.9**epoch}, {"lr_lambda": [lambda epoch: 1 / (1 + epoch)]}],
    "PolynomialLR": [{"total_iters": 4, "power": 2.0}, {}],
}


@pytest.mark.parametrize(
    ("name", "settings"), [(name, settings) for name, several in SCHEDULES.items() for settings in several]
)
def test_schedules_are_those_of_pytorch(torch, name, settings):
    mine = optim.SGD([gpunet.ones(1, requires_grad=True)], lr=0.5)
    right = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.5)
    ours = getattr(optim.lr_scheduler, name)(mine, **settings)
    theirs = getattr(torch.optim.lr_scheduler, name)(right, **settings)
    for _ in range(10):
        np.testing.assert_allclose(ours.get_last_lr(), theirs.get_last_lr(), rtol=1e-12, atol=1e-15)
        mine.step()
        ours.step()
        right.step()
        theirs.step()


def test_gradients_are_clipped_one_by_one():
    weight = gpunet.ones(3, requires_grad=True)
    weight.grad = gpunet.tensor([-3.0, 0.5, 2.0])
    optim.clip_grad_value_([weight, gpunet.ones(1)], 1.0)
    assert weight.grad.tolist() == [-1.0, 0.5, 1.0]
    with pytest.raises(ArgumentError, match="clip_value"):
        optim.clip_grad_value_(weight, -1)
