"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

from gpunet.backend import Array, xp
from gpunet.errors import ArgumentError
from gpunet.ops.descent import Descent, descend
from gpunet.optim import at_once
from gpunet.optim.checks import check_ways, not_negative
from gpunet.optim.optimizer import Optimizer, Options, Params, State

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent: a step against the gradient, or against its decaying sum, the momentum.

        g = gradient + weight_decay * w
        v = momentum * v + (1 - dampening) * g        (v = g at the first step)
        w = w - lr * v                                (nesterov: w - lr * (g + momentum * v))

    Args:
        params: the parameters, or groups of them.
        lr: the learning rate.
        momentum: how much of the earlier steps is kept; 0 keeps nothing.
        dampening: how much of the gradient is kept out of the momentum.
        weight_decay: adds `weight_decay * w` to the gradient, the slope of an L2 penalty.
        nesterov: whether to look ahead along the momentum; needs a momentum, and no dampening.
        maximize: whether to go up the gradient instead of down.
        ways: PyTorch's `foreach`, `fused` and `capturable`, which make no difference here.

    Raises:
        ArgumentError: if a setting is negative, or nesterov does not fit.

    Reference:
        Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        **ways: Any,
    ) -> None:
        check_ways(ways, "SGD")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _checked_options(self, options: Options) -> Options:
        checked: Options = {
            name: not_negative(options[name], name, self._name)
            for name in ("lr", "momentum", "dampening", "weight_decay")
        }
        checked["nesterov"], checked["maximize"] = bool(options["nesterov"]), bool(options["maximize"])
        if checked["nesterov"] and (checked["momentum"] == 0 or checked["dampening"] != 0):
            raise ArgumentError(
                f"{self._name}: nesterov needs a momentum above 0 and a dampening of 0, "
                f"got momentum={options['momentum']} and dampening={options['dampening']}"
            )
        return checked

    def _state_names(self, options: Options) -> set[str]:
        return {"momentum_buffer"}

    _recipe = staticmethod(at_once.sgd)

    def _update(self, param: Array, grad: Array, state: State, group: Options) -> None:
        momentum, dampening = group["momentum"], group["dampening"]
        if momentum and "momentum_buffer" not in state:
            state["momentum_buffer"], dampening = xp.zeros_like(param), 0.0
        velocity = state["momentum_buffer"] if momentum else None
        how = Descent(group["lr"], momentum, dampening, group["weight_decay"], group["nesterov"])
        descend(param, grad, velocity, how)
