"""The relatives of Adam: RMSprop, Adagrad, Adadelta, Adamax, NAdam and RAdam."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from gpunet.backend import Array, xp
from gpunet.optim.checks import below_one, check_ways, checked_betas, not_negative
from gpunet.optim.optimizer import Optimizer, Options, Params, State

__all__ = ["Adadelta", "Adagrad", "Adamax", "NAdam", "RAdam", "RMSprop"]


class _Adaptive(Optimizer):
    """What they share: settings of 0 or more, `betas` or other shares below 1, and weight decay as an L2 penalty."""

    _shares: tuple[str, ...] = ()
    _switches: tuple[str, ...] = ()

    def __init__(self, params: Params, defaults: Options, maximize: bool, ways: Mapping[str, Any]) -> None:
        check_ways(ways, self._name)
        super().__init__(params, {**defaults, "maximize": maximize})

    def _checked_options(self, options: Options) -> Options:
        checked: Options = {}
        for name, value in options.items():
            if name in ("params", "initial_lr", "name", "param_names"):
                continue
            if name == "betas":
                checked[name] = checked_betas(value, self._name)
            elif name == "maximize" or name in self._switches:
                checked[name] = bool(value)
            else:
                check = below_one if name in self._shares else not_negative
                checked[name] = check(value, name, self._name)
        return checked

    def _decayed(self, param: Array, grad: Array, group: Options) -> Array:
        if group.get("decoupled_weight_decay"):
            param *= 1 - group["lr"] * group["weight_decay"]
            return grad
        return group["weight_decay"] * param + grad if group["weight_decay"] else grad

    def _begin(self, param: Array, state: State, *names: str) -> int:
        """Make the state at the first step; the number of the step."""
        for name in names:
            if name not in state:
                state[name] = xp.zeros_like(param)
        state["step"] = state.get("step", 0) + 1
        return int(state["step"])


def _average(mean: Array, value: Array, share: float) -> None:
    """Take a value into a running mean, of which this share is kept."""
    mean *= share
    mean += (1 - share) * value


class RMSprop(_Adaptive):
    """RMSprop: the gradient divided by the root of a running mean of its square.

        v = alpha * v + (1 - alpha) * g^2             (centered: v - mean(g)^2 in the root)
        w = w - lr * g / (sqrt(v) + eps)              (momentum: of that quotient)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        alpha: how much of the running mean is kept at each step.
        eps: keeps the divisor away from 0.
        weight_decay: adds `weight_decay * w` to the gradient.
        momentum: how much of the earlier steps is kept.
        centered: whether to divide by the root of the variance.
        maximize: whether to go up the gradient instead of down.
        ways: PyTorch's `foreach`, `fused` and `capturable`, which make no difference here.

    Raises:
        ArgumentError: if a setting is negative.

    Reference:
        Tieleman and Hinton, "Lecture 6.5 - RMSProp", 2012.
    """

    _switches = ("centered",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        **ways: Any,
    ) -> None:
        settings = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "momentum": momentum, "centered": centered}, maximize, ways)

    def _state_names(self, options: Options) -> set[str]:
        names = {"step", "square_avg"} | ({"momentum_buffer"} if options["momentum"] else set())
        return names | ({"grad_avg"} if options["centered"] else set())

    def _update(self, param: Array, grad: Array, state: State, group: Options) -> None:
        self._begin(param, state, *sorted(self._state_names(group) - {"step"}))
        grad = self._decayed(param, grad, group)
        square = state["square_avg"]
        _average(square, grad * grad, group["alpha"])
        if group["centered"]:
            _average(state["grad_avg"], grad, group["alpha"])
            square = square - state["grad_avg"] * state["grad_avg"]
        change = grad / (xp.sqrt(square) + group["eps"])
        if group["momentum"]:
            state["momentum_buffer"] *= group["momentum"]
            state["momentum_buffer"] += change
            change = state["momentum_buffer"]
        param -= group["lr"] * change


class Adagrad(_Adaptive):
    """Adagrad: the gradient divided by the root of the sum of its squares so far.

        s = s + g^2
        w = w - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        lr_decay: how fast it falls.
        weight_decay: adds `weight_decay * w` to the gradient.
        initial_accumulator_value: where s starts.
        eps: keeps the divisor away from 0.
        maximize: whether to go up the gradient instead of down.
        ways: PyTorch's `foreach`, `fused` and `capturable`, which make no difference here.

    Raises:
        ArgumentError: if a setting is negative.

    Reference:
        Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning", 2011.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        **ways: Any,
    ) -> None:
        settings = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "initial_accumulator_value": initial_accumulator_value}, maximize, ways)

    def _state_names(self, options: Options) -> set[str]:
        return {"step", "sum"}

    def _update(self, param: Array, grad: Array, state: State, group: Options) -> None:
        t = self._begin(param, state, "sum")
        if t == 1:
            state["sum"] += group["initial_accumulator_value"]
        grad = self._decayed(param, grad, group)
        state["sum"] += grad * grad
        rate = group["lr"] / (1 + (t - 1) * group["lr_decay"])
        param -= rate * grad / (xp.sqrt(state["sum"]) + group["eps"])


class Adadelta(_Adaptive):
    """Adadelta: steps as large as the earlier ones, by running means of the squares of gradients and of steps.

        v = rho * v + (1 - rho) * g^2
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d^2
        w = w - lr * d

    Args:
        params: the parameters, or groups of them.
        lr: scales the steps.
        rho: how much of the running means is kept at each step.
        eps: keeps the roots away from 0.
        weight_decay: adds `weight_decay * w` to the gradient.
        maximize: whether to go up the gradient instead of down.
        ways: PyTorch's `foreach`, `fused` and `capturable`, which make no difference here.

    Raises:
        ArgumentError: if a setting is negative, or rho is not below 1.

    Reference:
        Zeiler, "ADADELTA: an adaptive learning rate method", 2012.
    """

    _shares = ("rho",)

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ways: Any,
    ) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay}, maximize, ways)

    def _state_names(self, options: Options) -> set[str]:
        return {"step", "square_avg", "acc_delta"}

    def _update(self, param: Array, grad: Array, state: State, group: Options) -> None:
        self._begin(param, state, "square_avg", "acc_delta")
        grad = self._decayed(param, grad, group)
        _average(state["square_avg"], grad * grad, group["rho"])
        change = xp.sqrt(state["acc_delta"] + group["eps"]) / xp.sqrt(state["square_avg"] + group["eps"]) * grad
        _average(state["acc_delta"], change * change, group["rho"])
        param -= group["lr"] * change


class Adamax(_Adaptive):
    """Adamax: Adam with the largest gradient of late in place of the root of a mean of squares.

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        w = w - lr / (1 - beta1^t) * m / u

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate, the largest change of a weight in a step.
        betas: how much of the running mean, and of the largest gradient, is kept at each step.
        eps: keeps the divisor away from 0.
        weight_decay: adds `weight_decay * w` to the gradient.
        maximize: whether to go up the gradient instead of down.
        ways: PyTorch's `foreach`, `fused` and `capturable`, which make no difference here.

    Raises:
        ArgumentError: if a setting is negative, or a beta is not in [0, 1).

    Reference:
        Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
        **ways: Any,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, settings, maximize, ways)

    def _state_names(self, options: Options) -> set[str]:
        return {"step", "exp_avg", "exp_inf"}

    def _update(self, param: Array, grad: Array, state: State, group: Options) -> None:
        t = self._begin(param, state, "exp_avg", "exp_inf")
        beta1, beta2 = group["betas"]
        grad = self._decayed(param, grad, group)
        _average(state["exp_avg"], grad, beta1)
        state["exp_inf"] *= beta2
        largest = xp.maximum(state["exp_inf"], xp.abs(grad) + group["eps"], out=state["exp_inf"])
        param -= group["lr"] / (1 - beta1**t) * state["exp_avg"] / largest


class NAdam(_Adaptive):
    """NAdam: Adam that looks ahead along its running mean, as Nesterov's momentum does.

        mu_t = beta1 * (1 - 0.96^(t * momentum_decay) / 2)
        m, v as in Adam
        w = w - lr * (mu_(t+1) m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) g / (1 - mu_1 ... mu_t))
                / (sqrt(v / (1 - beta2^t)) + eps)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: how much of the two running means is kept at each step.
        eps: keeps the divisor away from 0.
        weight_decay: adds `weight_decay * w` to the gradient.
        momentum_decay: how fast mu approaches beta1.
        decoupled_weight_decay: whether weights shrink by `1 - lr * weight_decay` instead, as in AdamW.
        maximize: whether to go up the gradient instead of down.
        ways: PyTorch's `foreach`, `fused` and `capturable`, which make no difference here.

    Raises:
        ArgumentError: if a setting is negative, or a beta is not in [0, 1).

    Reference:
        Dozat, "Incorporating Nesterov momentum into Adam", 2016.
    """

    _switches = ("decoupled_weight_decay",)

    def __init__(
        self,
        params: Params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **ways: Any,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        settings |= {"momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay}
        super().__init__(params, settings, maximize, ways)

    def _state_names(self, options: Options) -> set[str]:
        return {"step", "exp_avg", "exp_avg_sq"}

    def _update(self, param: Array, grad: Array, state: State, group: Options) -> None:
        t = self._begin(param, state, "exp_avg", "exp_avg_sq")
        beta1, beta2 = group["betas"]
        grad = self._decayed(param, grad, group)
        _average(state["exp_avg"], grad, beta1)
        _average(state["exp_avg_sq"], grad * grad, beta2)
        now, following, product = _momenta(beta1, group["momentum_decay"], t)
        ahead = following / (1 - product * following) * state["exp_avg"] + (1 - now) / (1 - product) * grad
        param -= group["lr"] * ahead / (xp.sqrt(state["exp_avg_sq"] / (1 - beta2**t)) + group["eps"])


@functools.lru_cache(maxsize=64)
def _momenta(beta1: float, momentum_decay: float, t: int) -> tuple[float, float, float]:
    """Mu_t, mu_(t+1) and mu_1 ... mu_t: once a step, for all parameters."""
    mus = [beta1 * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in range(1, t + 2)]
    return mus[-2], mus[-1], math.prod(mus[:-1])


class RAdam(_Adaptive):
    """RAdam: Adam whose first steps, while the running mean of squares is still uncertain, are those of momentum.

        rho = 2 / (1 - beta2) - 1,  rho_t = rho - 2 t beta2^t / (1 - beta2^t)
        w = w - lr * m / (1 - beta1^t)                                    while rho_t <= 5
        w = w - lr * m / (1 - beta1^t) * r_t * sqrt(1 - beta2^t) / (sqrt(v) + eps)

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: how much of the two running means is kept at each step.
        eps: keeps the divisor away from 0.
        weight_decay: adds `weight_decay * w` to the gradient.
        decoupled_weight_decay: whether weights shrink by `1 - lr * weight_decay` instead, as in AdamW.
        maximize: whether to go up the gradient instead of down.
        ways: PyTorch's `foreach`, `fused` and `capturable`, which make no difference here.

    Raises:
        ArgumentError: if a setting is negative, or a beta is not in [0, 1).

    Reference:
        Liu et al., "On the variance of the adaptive learning rate and beyond", 2020.
    """

    _switches = ("decoupled_weight_decay",)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        **ways: Any,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        settings["decoupled_weight_decay"] = decoupled_weight_decay
        super().__init__(params, settings, maximize, ways)

    def _state_names(self, options: Options) -> set[str]:
        return {"step", "exp_avg", "exp_avg_sq"}

    def _update(self, param: Array, grad: Array, state: State, group: Options) -> None:
        t = self._begin(param, state, "exp_avg", "exp_avg_sq")
        beta1, beta2 = group["betas"]
        grad = self._decayed(param, grad, group)
        _average(state["exp_avg"], grad, beta1)
        _average(state["exp_avg_sq"], grad * grad, beta2)
        change = group["lr"] / (1 - beta1**t) * state["exp_avg"]
        most = 2 / (1 - beta2) - 1
        length = most - 2 * t * beta2**t / (1 - beta2**t)
        if length > 5:
            certainty = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
            change *= math.sqrt(certainty * (1 - beta2**t)) / (xp.sqrt(state["exp_avg_sq"]) + group["eps"])
        param -= change
