"""Autocast: the type of number in which each operation runs while mixed precision is on.

float16 takes half the memory, and the tensor cores of a GPU multiply matrices of it several times as fast. But it has
11 binary digits and ends at 65504: sums, exponentials and losses need more. So each operation takes its inputs in the
type that suits it, as in PyTorch:

float16           convolutions, linear, matmul, prelu
float32           softmax, log_softmax, the losses, sum, mean (float16 in PyTorch), exp, log, powers, 1 / x, softplus,
                  group, instance and layer norm, interpolation
the wider type    whatever combines several Tensors: +, *, cat, maximum
what it is given  everything else: ReLU, pooling, dropout; and batch_norm, whose parameters and statistics are float32

Which it is, each operation declares (`Operation.autocast`, `Operation.mixed`), and `gpunet.tensor.apply` acts on it.
Casts are on the tape, so the gradient of a float32 weight is float32, however its product was computed. float64 is left
as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import flag
from gpunet.errors import ArgumentError
from gpunet.mode import Mode, ModeSwitch
from gpunet.ops.operation import Operation

__all__ = ["autocast", "input_dtype", "is_autocast_enabled"]

_CASTS = {"half": (np.dtype(np.float32), np.dtype(np.float16)), "full": (np.dtype(np.float16), np.dtype(np.float32))}


_mode = Mode(False)


def is_autocast_enabled() -> bool:
    """Whether autocast is on in this thread."""
    return _mode.enabled


class autocast(ModeSwitch):
    """Run matrix products in float16, and what needs it in float32, inside this block or the function it decorates.

    For the forward pass and the loss; `backward` is called outside, and each gradient has the type of what it is the
    gradient of. Parameters stay float32: never call `model.half()` for it.

    Args:
        device_type: "cuda", as PyTorch has it first; float16 is computed on whatever backend is active. What PyTorch
            calls "cpu" computes in bfloat16, which there is not. A bool in its place is taken as `enabled`.
        dtype: float16, if anything.
        enabled: False turns autocast off, also within a block where it is on.

    Raises:
        ArgumentError: for another device or another type, or if `enabled` is neither True nor False.

    Reference:
        Micikevicius et al., "Mixed precision training", 2018.

    Example:
        >>> from gpunet.tensor import tensor
        >>> x = tensor([[1.0, 2.0]])
        >>> with autocast():
        ...     (x @ x.T).dtype, (x + x).dtype
        (dtype('float16'), dtype('float32'))
    """

    def __init__(self, device_type: str | bool = "cuda", dtype: Any = None, enabled: bool = True) -> None:
        if isinstance(device_type, bool):
            enabled = device_type
        elif enabled is not False and (
            device_type != "cuda" or (dtype is not None and dtype not in ("float16", np.float16))
        ):
            raise ArgumentError(
                f"autocast knows device_type 'cuda' and dtype float16, whatever the backend, got {device_type!r} and "
                f"{dtype!r}; write autocast()"
            )
        super().__init__(_mode, flag(enabled, "autocast: enabled"))


def input_dtype(operation: Operation | type[Operation], dtype: Any) -> Any:
    """The type in which an operation takes an input of this type, here and now."""
    if not _mode.enabled or operation.autocast is None:
        return dtype
    before, after = _CASTS[operation.autocast]
    return after if dtype == before else dtype
