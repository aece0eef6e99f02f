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

import functools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gpunet.autocast import autocast, is_autocast_enabled
from gpunet.backend import Array, asarray, check_active, quiet, to_cpu, xp
from gpunet.backend.kernels import enabled
from gpunet.backend.recording import each_time, recording, refuse_while_recording
from gpunet.device import is_device
from gpunet.errors import ArgumentError, DTypeError, GradientError, GraphError, StateDictError
from gpunet.functional.checks import check_float, whole_number
from gpunet.ops.writing import about_to_write
from gpunet.optim import Optimizer
from gpunet.optim.at_once import rescale, unscale
from gpunet.optim.checks import checked_number, positive
from gpunet.tensor import Tensor, own

__all__ = ["GradScaler", "autocast", "is_autocast_enabled"]

LARGEST_SCALE = float(np.finfo(np.float32).max)  # beyond it every loss would be infinite


class _Found(NamedTuple):
    """What is known of the gradients of an optimizer that were unscaled: a single bool, and whether it has stepped."""

    finite: Array
    stepped: bool = False


class GradScaler:
    """Scales the loss up so that no gradient is lost in float16, by as much as goes without overflow.

    The scale is found by trying. Where a gradient has become infinite or NaN the step is skipped and the scale shrinks;
    after `growth_interval` steps in a row that went well it grows.

        gradients finite:  step, and scale = scale * growth_factor after every growth_interval such steps
        otherwise:         no step, and scale = scale * backoff_factor

    Args:
        device: "cuda", or "cpu", as PyTorch has it first: the loss is scaled wherever it is. A number in its place is
            taken as `init_scale`, as by `torch.cuda.amp.GradScaler`.
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
        >>> bool(scaler.step(optimizer))
        True
        >>> scaler.update()
        >>> weight
        tensor([[0.875]], requires_grad=True)
    """

    def __init__(
        self,
        device: Any = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if isinstance(device, int | float):
            init_scale = device
        elif not is_device(device):
            raise ArgumentError(f"GradScaler: a device is 'cuda' or 'cpu', got {device!r}")
        scale = positive(init_scale, "init_scale", "GradScaler")
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
        # The scale, 1 / scale, and how many steps went well since it has changed: float64, from the first use on on the
        # device, which alone knows them. Waiting for a GPU takes longer than all the work for which one would wait.
        self._numbers: Array = np.array([scale, 1 / scale, 0])
        self._found: dict[Optimizer, _Found] = {}  # since the last update

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale at the moment; 1 where the scaler is not enabled. A GPU is asked for it, and waited for."""
        return float(self._numbers[0]) if self._enabled else 1.0

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
        return loss * own(self._here()[0, ...].astype(loss.dtype))

    def _here(self) -> Array:
        """The numbers, on the active backend.

        Raises:
            GraphError: if a step is being recorded, and none was made there before.
        """
        if not isinstance(self._numbers, xp.ndarray):
            refuse_while_recording("a GradScaler that has not made a step before")
            self._numbers = asarray(to_cpu(self._numbers)).copy()
        return self._numbers

    def _pending(self) -> dict[Optimizer, _Found]:
        """What was found since the last update; within a step that is being recorded, what its replay will find."""
        now = recording()
        return self._found if now is None else now.memory.setdefault(self, dict(self._found))

    def _note(self, change: Callable[[dict[Optimizer, _Found]], object]) -> None:
        """Change what was found, now and in each replay."""
        change(self._pending())
        if recording():
            each_time(lambda: change(self._found))

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer by the scale, in place, to look at them or clip them before `step`.

        With accumulated gradients: once, when the last of them has been added.

        Raises:
            GradientError: if that was done since the last `update`, or there are no gradients.
            DTypeError: if a gradient is float16, because the parameter is.
            BackendError: if a gradient belongs to another backend than the active one.
            GraphError: if the step is being recorded for `cuda_graph`, and the scaler has made none before.
        """
        if not self._enabled:
            return
        if optimizer in self._pending():
            raise GradientError(
                "GradScaler.unscale_: the gradients of this optimizer have been unscaled since the last update(); "
                "call it once a step, before step()"
            )
        grads = _gradients(optimizer)
        about_to_write(*grads)
        with quiet():
            factor = self._here()[1:2]
            finite = unscale(grads, factor)
            if finite is None:
                for grad in grads:
                    grad *= factor.astype(grad.dtype)
                finite = xp.stack([xp.isfinite(grad).all() for grad in grads]).all()
        self._note(lambda found: found.update({optimizer: _Found(finite)}))

    def step(self, optimizer: Optimizer) -> bool | Tensor:
        """Make the step of an optimizer if all gradients are finite, having unscaled them unless that was done.

        On a GPU nobody waits to hear of it, where kernels make the step (SGD without dampening, Adam, AdamW). So it
        can be recorded by `cuda_graph`, too.

        Returns:
            Whether the step was made, a single bool; who asks waits. True where the scaler is not enabled.

        Raises:
            GradientError: if it was called for this optimizer since the last `update`, or there are no gradients.
            DTypeError: as `unscale_`.
            BackendError: as `unscale_`.
            GraphError: within a step that is being recorded for `cuda_graph`, if other optimizers, or no kernels, make
                the step.
        """
        if not self._enabled:
            optimizer.step()
            return True
        if optimizer not in self._pending():
            self.unscale_(optimizer)
        finite, stepped = self._pending()[optimizer]
        if stepped:
            raise GradientError("GradScaler.step: this optimizer has stepped already; call update() once a step")
        optimizer.step_if(finite)
        self._note(lambda found: found.update({optimizer: _Found(finite, stepped=True)}))
        return own(xp.asarray(finite))

    def update(self) -> None:
        """Shrink or grow the scale; to be called after the steps of all optimizers.

        Raises:
            GradientError: if no gradients were unscaled since the last time.
        """
        if not self._enabled:
            return
        found = self._pending()
        if not found:
            raise GradientError("GradScaler.update: there was no step since the last update(); call step(optimizer)")
        finite = functools.reduce(operator.and_, (each.finite for each in found.values()))
        factors, interval = (self._growth_factor, self._backoff_factor), self._growth_interval
        if enabled():
            rescale(self._here(), finite, *factors, interval, LARGEST_SCALE)
        else:
            self._rescale(finite, *factors)
        self._note(dict.clear)
        if (now := recording()) is not None:
            now.checks.append(lambda: self._check_replay(*factors, interval))

    def _check_replay(self, *settings: float) -> None:
        if settings != (self._growth_factor, self._backoff_factor, self._growth_interval):
            raise GraphError("GradScaler: other settings were loaded since the step was recorded: record it again")

    def _rescale(self, finite: Array, growth: float, backoff: float) -> None:
        """What the kernel of the same name does."""
        numbers = self._here()
        scale, good = numbers[0], numbers[2] + 1
        grows = good == self._growth_interval
        larger = xp.where(grows & (scale * growth <= LARGEST_SCALE), scale * growth, scale)
        numbers[0] = xp.where(finite, larger, scale * backoff)
        numbers[1] = 1 / numbers[0]
        numbers[2] = xp.where(finite & ~grows, good, 0)

    # ------------------------------------------------------------------ saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """The scale, the steps since it changed, and the settings, under PyTorch's names; empty if not enabled."""
        if not self._enabled:
            return {}
        scale, _, good_steps = to_cpu(self._numbers).tolist()
        return {
            "scale": scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": int(good_steps),
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
            loaded = GradScaler(init_scale=settings.pop("scale"), **settings)
        except ArgumentError as error:
            raise StateDictError(f"this is not the state of a GradScaler: {error.message}") from error
        loaded._numbers[2] = good_steps
        self._here()[...] = asarray(loaded._numbers)  # in place: a CUDA graph may know where they are
        self._growth_factor, self._backoff_factor = loaded._growth_factor, loaded._backoff_factor
        self._growth_interval = loaded._growth_interval


def _gradients(optimizer: Optimizer) -> list[Array]:
    """Every gradient that there is, on the active backend and not float16."""
    grads = []
    for group in optimizer.param_groups:
        for param in group["params"]:
            if param.grad is None:
                continue
            check_active(param.grad.array, "a gradient that GradScaler was given")
            if param.grad.dtype == xp.float16:
                raise DTypeError(
                    "GradScaler: parameters and their gradients must be float32, got a gradient of float16, in which "
                    "small gradients are lost; leave the model float32 and call it under autocast()"
                )
            grads.append(param.grad.handed_out())
    if not grads:
        raise GradientError(
            "GradScaler: the optimizer's parameters have no gradients; call scale(loss).backward() first"
        )
    return grads
