"""Autocast: the type of number in which each operation runs while mixed precision is on.

float16 takes half the memory, and the tensor cores of a GPU multiply matrices of it several times as fast. But it has
11 binary digits and ends at 65504: sums, exponentials and losses need more. So each operation takes its inputs in the
type that suits it, as in PyTorch:

float16           conv2d, linear, matmul
float32           softmax, log_softmax, the losses, sum, mean (float16 in PyTorch), exp, log, powers, 1 / x
the wider type    whatever combines several Tensors: +, *, cat, maximum
what it is given  everything else: ReLU, pooling, dropout; and batch_norm, whose parameters and statistics are float32

Casts are on the tape, so the gradient of a float32 weight is float32, however its product was computed. float64 is left
as it is.
"""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np

__all__ = ["autocast", "full_precision", "half_precision", "is_autocast_enabled"]

Given = TypeVar("Given")
"""A Tensor, which this module knows nothing else of than its `dtype` and `to`, or None."""


class _Mode(threading.local):
    enabled = False


_mode = _Mode()


def is_autocast_enabled() -> bool:
    """Whether autocast is on in this thread."""
    return _mode.enabled


class autocast(contextlib.ContextDecorator):
    """Run matrix products in float16, and what needs it in float32, inside this block or the function it decorates.

    For the forward pass and the loss; `backward` is called outside, and each gradient has the type of what it is the
    gradient of. Parameters stay float32: never call `model.half()` for it.

    Args:
        enabled: False turns autocast off, also within a block where it is on.

    Reference:
        Micikevicius et al., "Mixed precision training", 2018.

    Example:
        >>> from gpunet.tensor import tensor
        >>> x = tensor([[1.0, 2.0]])
        >>> with autocast():
        ...     (x @ x.T).dtype, (x + x).dtype
        (dtype('float16'), dtype('float32'))
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._before: list[bool] = []

    def _recreate_cm(self) -> autocast:
        return autocast(self.enabled)  # each call of a decorated function remembers its own thread's mode

    def __enter__(self) -> autocast:
        self._before.append(_mode.enabled)
        _mode.enabled = self.enabled
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        _mode.enabled = self._before.pop()
        return False


def half_precision(tensor: Given) -> Given:
    """A factor of a matrix product: while autocast is on, a float32 Tensor as float16."""
    return _cast(tensor, np.float32, np.float16)


def full_precision(tensor: Given) -> Given:
    """An input of what float16 is too coarse or too short for: while autocast is on, a float16 Tensor as float32."""
    return _cast(tensor, np.float16, np.float32)


def _cast(tensor: Any, before: Any, after: Any) -> Any:
    return tensor.to(after) if _mode.enabled and tensor is not None and tensor.dtype == before else tensor
