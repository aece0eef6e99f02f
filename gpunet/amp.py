"""Mixed precision: matrix products in float16, weights and everything delicate in float32, and gradients kept alive.

    scaler = GradScaler()
    for images, labels in loader:
        optimizer.zero_grad()
        with autocast():
            loss = cross_entropy(model(images), labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

The smallest number that float16 knows is 6e-8. Many gradients are smaller, and become 0 on their way back: nothing is
learned from them. Multiplying the loss multiplies every gradient, so they are carried through float16 scaled up, and
divided again where they arrive, in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.autocast import autocast, is_autocast_enabled
from gpunet.backend import Array, check_active, quiet, xp
from gpunet.backend.device_numbers import DeviceNumbers
from gpunet.backend.kernels import enabled
from gpunet.backend.recording import each_time, recording, refuse_while_recording
from gpunet.errors import ArgumentError, DTypeError, GradientError, GraphError, StateDictError
from gpunet.functional.checks import check_float, whole_number
from gpunet.ops.writing import about_to_write
from gpunet.optim import Optimizer
from gpunet.optim.at_once import unscale
from gpunet.optim.checks import checked_number, positive
from gpunet.tensor import Tensor, own

__all__ = ["GradScaler", "autocast", "is_autocast_enabled"]

LARGEST_SCALE = float(np.finfo(np.float32).max)  # beyond it every loss would be infinite


class GradScaler:
    """Scales the loss up so that no gradient is lost in float16, by as much as goes without overflow.

    The scale is found by trying. Where a gradient has become infinite or NaN the step is skipped and the scale shrinks;
    after `growth_interval` steps in a row that went well it grows.

        gradients finite:  step, and scale = scale * growth_factor after every growth_interval such steps
        otherwise:         no step, and scale = scale * backoff_factor

    Args:
        init_scale: the scale to begin with.
        growth_factor: above 1.
        backoff_factor: between 0 and 1.
        growth_interval: in steps.
        enabled: False makes a scaler that does nothing, so that a training loop is the same with and without.

    Raises:
        ArgumentError: if a setting makes no sense.

    Reference:
        Micikevicius et al., "Mixed precision training", 2018.

    Example:
        >>> from gpunet.optim import SGD
        >>> from gpunet.tensor import tensor
        >>> weight = tensor([[1.0]], requires_grad=True)
        >>> optimizer, scaler = SGD([weight], lr=2**27), GradScaler()
        >>> with autocast():
        ...     loss = (tensor([[1.0]]) @ weight).sum() * 2**-30  # a gradient that float16 does not know
        >>> scaler.scale(loss).backward()
        >>> scaler.step(optimizer)
        True
        >>> scaler.update()
        >>> weight
        tensor([[0.875]], requires_grad=True)
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._scale = positive(init_scale, "init_scale", "GradScaler")
        self._growth_factor = checked_number(
            growth_factor, "growth_factor", "GradScaler", "a finite number above 1", lambda x: 1 < x < math.inf
        )
        self._backoff_factor = checked_number(
            backoff_factor, "backoff_factor", "GradScaler", "a number between 0 and 1", lambda x: 0 < x < 1
        )
        self._growth_interval = whole_number(growth_interval, "growth_interval", "GradScaler", 1)
        if not isinstance(enabled, bool):
            raise ArgumentError(f"GradScaler: enabled must be True or False, got {enabled!r}")
        self._enabled = enabled
        self._numbers: DeviceNumbers | None = None
        self._good_steps = 0  # since the scale has last changed
        # Of each optimizer whose gradients were unscaled since the last update: whether one was not finite. It stays on
        # the device until `step` looks, once for all gradients: waiting for a GPU takes longer than asking it.
        self._overflow: dict[Optimizer, Any] = {}
        self._stepped: set[Optimizer] = set()

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale at the moment; 1 where the scaler is not enabled."""
        return self._scale if self._enabled else 1.0

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale, in float32 at least: call `backward` of that.

        Raises:
            DTypeError: if the loss is not a Tensor of floats.
        """
        check_float(loss, "GradScaler.scale", "loss")
        if not self._enabled:
            return loss
        if loss.dtype == xp.float16:
            loss = loss.float()
        if not recording():
            return loss * self._scale
        return loss * own(self._on_device().array[0, ...].astype(loss.dtype))

    def _on_device(self) -> DeviceNumbers:
        """The scale and what to divide by it, which kernels and CUDA graphs read there.

        Raises:
            GraphError: if a step is being recorded, and none was made before.
        """
        if self._numbers is None or not isinstance(self._numbers.array, xp.ndarray):
            if recording():
                raise GraphError("GradScaler: let it unscale gradients before the step is recorded, too")
            self._numbers = DeviceNumbers(2)
        numbers = self._numbers
        each_time(lambda: numbers.write([self._scale, 1 / self._scale]))
        return numbers

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer by the scale, in place, to look at them or clip them before `step`.

        With accumulated gradients: once, when the last of them has been added.

        Raises:
            GradientError: if that was done since the last `update`, or there are no gradients.
            DTypeError: if a gradient is float16, because the parameter is.
            BackendError: if a gradient belongs to another backend than the active one.
            GraphError: if the step is being recorded for `cuda_graph` and no kernel takes the gradients.
        """
        if not self._enabled:
            return
        if optimizer in self._overflow:
            raise GradientError(
                "GradScaler.unscale_: the gradients of this optimizer have been unscaled since the last update(); "
                "call it once a step, before step()"
            )
        grads = _gradients(optimizer)
        about_to_write(*grads)
        with quiet():
            overflow = unscale(grads, self._on_device().array[1:]) if enabled() else None
            if overflow is None:
                if recording():
                    raise GraphError("GradScaler: these gradients have no kernel, and only that can be recorded")
                for grad in grads:
                    grad *= 1 / self._scale
                overflow = ~xp.stack([xp.isfinite(grad).all() for grad in grads]).all()
        each_time(lambda: self._overflow.update({optimizer: overflow}))

    def step(self, optimizer: Optimizer) -> bool:
        """Make the step of an optimizer if all gradients are finite, having unscaled them unless that was done.

        Returns:
            Whether the step was made. A schedule should move on only then.

        Raises:
            GradientError: if it was called for this optimizer since the last `update`, or there are no gradients.
            DTypeError: as `unscale_`.
            BackendError: as `unscale_`.
            GraphError: within a step that is being recorded for `cuda_graph`.
        """
        if stepped := self.may_step(optimizer):
            optimizer.step()
        return stepped

    def may_step(self, optimizer: Optimizer) -> bool:
        """What `step` asks: whether all gradients are finite. For those who then make the step by a CUDA graph.

        Raises:
            GradientError: as `step`.
            DTypeError: as `unscale_`.
            BackendError: as `unscale_`.
            GraphError: within a step that is being recorded for `cuda_graph`.
        """
        if not self._enabled:
            return True
        refuse_while_recording(
            "GradScaler.step, which looks whether all gradients are finite: record what comes before, up to unscale_, "
            "and what comes after, optimizer.step(), each by a cuda_graph of its own, and ask may_step in between"
        )
        if optimizer in self._stepped:
            raise GradientError("GradScaler.step: this optimizer has stepped already; call update() once a step")
        if optimizer not in self._overflow:
            self.unscale_(optimizer)
        overflow = self._overflow[optimizer] = bool(self._overflow[optimizer])
        self._stepped.add(optimizer)
        return not overflow

    def update(self) -> None:
        """Shrink or grow the scale; to be called after the steps of all optimizers.

        Raises:
            GradientError: if no gradients were unscaled since the last time.
        """
        if not self._enabled:
            return
        if not self._overflow:
            raise GradientError("GradScaler.update: there was no step since the last update(); call step(optimizer)")
        if any(bool(overflow) for overflow in self._overflow.values()):
            self._scale *= self._backoff_factor
            self._good_steps = 0
        else:
            self._good_steps += 1
            if self._good_steps == self._growth_interval:
                grown = self._scale * self._growth_factor
                self._scale = grown if grown <= LARGEST_SCALE else self._scale
                self._good_steps = 0
        self._overflow.clear()
        self._stepped.clear()

    # ------------------------------------------------------------------ saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """The scale, the steps since it changed, and the settings, under PyTorch's names; empty if not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state, settings included. If anything is wrong nothing changes.

        Raises:
            StateDictError: if it is not the state of a GradScaler, or of one that is not enabled while this one is.
        """
        if not self._enabled and not state_dict:
            return
        if set(state_dict) != set(self.state_dict()):
            raise StateDictError(
                f"the state of this GradScaler holds {sorted(self.state_dict())}, got {state_dict!r:.200}"
            )
        settings = dict(state_dict)
        try:
            good_steps = whole_number(settings.pop("_growth_tracker"), "_growth_tracker", "GradScaler", 0)
            loaded = GradScaler(settings.pop("scale"), **settings)
        except ArgumentError as error:
            raise StateDictError(f"this is not the state of a GradScaler: {error.message}") from error
        self._scale, self._good_steps = loaded._scale, good_steps
        self._growth_factor, self._backoff_factor = loaded._growth_factor, loaded._backoff_factor
        self._growth_interval = loaded._growth_interval


def _gradients(optimizer: Optimizer) -> list[Array]:
    """Every gradient that there is, on the active backend and not float16."""
    grads = []
    for group in optimizer.param_groups:
        for param in group["params"]:
            if param.grad is None:
                continue
            check_active(param.grad.data, "a gradient that GradScaler was given")
            if param.grad.dtype == xp.float16:
                raise DTypeError(
                    "GradScaler: parameters and their gradients must be float32, got a gradient of float16, in which "
                    "small gradients are lost; leave the model float32 and call it under autocast()"
                )
            grads.append(param.grad.data)
    if not grads:
        raise GradientError(
            "GradScaler: the optimizer's parameters have no gradients; call scale(loss).backward() first"
        )
    return grads
