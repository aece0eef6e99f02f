"""Adam and AdamW: steps whose size each weight sets for itself."""

from __future__ import annotations

import functools
import math
from typing import Any

from gpunet.backend import Array, xp
from gpunet.errors import ArgumentError
from gpunet.optim import at_once
from gpunet.optim.checks import check_ways, checked_betas, not_negative
from gpunet.optim.optimizer import Optimizer, Options, Params, State

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam: a running mean of the gradient, divided by the root of a running mean of its square.

        g = gradient + weight_decay * w
        m = beta1 * m + (1 - beta1) * g               (from 0)
        v = beta2 * v + (1 - beta2) * g^2             (from 0)
        w = w - lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    The divisions by `1 - beta^t` at step t make up for the start at 0.

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate, roughly the largest change of a weight in a step.
        betas: how much of the two running means is kept at each step.
        eps: keeps the divisor away from 0.
        weight_decay: adds `weight_decay * w` to the gradient, the slope of an L2 penalty.
        amsgrad: whether to divide by the root of the largest v so far, so that steps never grow back.
        maximize: whether to go up the gradient instead of down.
        decoupled_weight_decay: PyTorch's way to make this AdamW, which is an error here: take that.
        ways: PyTorch's `foreach`, `fused` and `capturable`, which make no difference here.

    Raises:
        ArgumentError: if a setting is negative, or a beta is not in [0, 1).

    Reference:
        Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
        Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018 (AMSGrad).
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        **ways: Any,
    ) -> None:
        check_ways(ways, self._name)
        if decoupled_weight_decay:
            raise ArgumentError(f"{self._name}: for decoupled_weight_decay=True there is AdamW, which is the same")
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "amsgrad": amsgrad, "maximize": maximize})

    def _checked_options(self, options: Options) -> Options:
        checked: Options = {
            name: not_negative(options[name], name, self._name) for name in ("lr", "eps", "weight_decay")
        }
        checked["betas"] = checked_betas(options["betas"], self._name)
        checked["amsgrad"], checked["maximize"] = bool(options["amsgrad"]), bool(options["maximize"])
        return checked

    def _state_names(self, options: Options) -> set[str]:
        names = {"step", "exp_avg", "exp_avg_sq"}
        return names | {"max_exp_avg_sq"} if options["amsgrad"] else names

    def _decay(self, param: Array, grad: Array, group: Options) -> Array:
        """Apply the weight decay, and return the gradient that the running means take in."""
        return group["weight_decay"] * param + grad if group["weight_decay"] else grad

    _recipe = staticmethod(at_once.adam)

    def _update(self, param: Array, grad: Array, state: State, group: Options) -> None:
        if not state:
            state.update(step=0, exp_avg=xp.zeros_like(param), exp_avg_sq=xp.zeros_like(param))
        state["step"] += 1
        beta1, beta2 = group["betas"]
        correction1 = 1 - beta1 ** state["step"]
        correction2 = 1 - beta2 ** state["step"]

        grad = self._decay(param, grad, group)
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean *= beta1
        mean += (1 - beta1) * grad
        square *= beta2
        square += (1 - beta2) * grad * grad
        if group["amsgrad"]:
            if "max_exp_avg_sq" not in state:
                state["max_exp_avg_sq"] = xp.zeros_like(param)
            square = xp.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])

        divisor = xp.sqrt(square)
        divisor /= math.sqrt(correction2)
        divisor += group["eps"]
        param -= group["lr"] / correction1 * mean / divisor


class AdamW(Adam):
    """Adam with decoupled weight decay: weights shrink by a factor of their own, past the running means.

        w = w * (1 - lr * weight_decay), then the step of Adam with the bare gradient

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        betas: how much of the two running means is kept at each step.
        eps: keeps the divisor away from 0.
        weight_decay: the part of a weight, times lr, that a step takes away.
        amsgrad: whether to divide by the root of the largest v so far.
        maximize: whether to go up the gradient instead of down.
        ways: PyTorch's `foreach`, `fused` and `capturable`, which make no difference here.

    Raises:
        ArgumentError: if a setting is negative, or a beta is not in [0, 1).

    Reference:
        Loshchilov and Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        **ways: Any,
    ) -> None:
        check_ways(ways, self._name)
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    _decoupled = True
    _recipe = staticmethod(functools.partial(at_once.adam, decoupled=True))

    def _decay(self, param: Array, grad: Array, group: Options) -> Array:
        param *= 1 - group["lr"] * group["weight_decay"]
        return grad
