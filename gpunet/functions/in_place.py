"""Operations in place: `x += y`, `x[0] = y`, `x.zero_()`. Each computes a result, which the Tensor becomes.

They are methods alone; what follows from a change for views, and for the tape, is in `gpunet.tensor` and
`gpunet.views`. Functions that have an in-place form, such as `add_`, are in `gpunet.functions.methods`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from gpunet import tape
from gpunet.arguments import check_broadcast, check_fits
from gpunet.backend import xp
from gpunet.errors import GpunetError, ShapeError
from gpunet.ops.shaping import Put
from gpunet.tensor import Tensor, apply, as_key, as_tensor, operand, own

__all__: list[str] = []


def set_item(input: Tensor, key: Any, value: Any) -> None:
    """`x[key] = value`; the gradient by what was there before is 0 from then on."""
    value, key = operand(value), as_key(key)
    if not isinstance(value, Tensor):
        check_fits(value, input.dtype)
    recorded = False
    if tape.is_grad_enabled():
        recorded = input.requires_grad or (isinstance(value, Tensor) and value.requires_grad)
        input.check_change(recorded)
    try:
        if recorded:
            input.become(apply(Put(key, False), input, value))
        else:
            input.write(key, value.array if isinstance(value, Tensor) else value)
    except GpunetError:
        raise
    except (IndexError, TypeError, ValueError) as error:
        raise ShapeError(f"cannot set t[...] of a Tensor of shape {input.shape}: {error}") from None


def fill_(input: Tensor, value: Any) -> Tensor:
    """Every element set to one value, a number or a Tensor of no dimension, in place.

    Raises:
        ShapeError: if the value is a Tensor with dimensions.
        ArgumentError: if it does not fit the type of the elements.
    """
    value = operand(value)
    if isinstance(value, Tensor):
        if value.shape:
            raise ShapeError(f"fill_ expects one value, got a Tensor of shape {value.shape}; see copy_")
        return copy_(input, value)
    check_fits(value, input.dtype)
    return input.become(own(xp.full_like(input.array, value)))


def zero_(input: Tensor) -> Tensor:
    """Every element set to 0, in place."""
    return fill_(input, 0)


def copy_(input: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """The values of another Tensor, converted and broadcast to this one, in place."""
    source = as_tensor(src)
    check_broadcast(input.shape, source.shape, "copy_")
    return input.become(source.to(input.dtype).expand(*input.shape).clone())


def _by_operator(name: str, compute: Callable[[Any, Any], Any]) -> Callable[[Tensor, Any], Tensor]:
    def method(input: Tensor, other: Any) -> Tensor:
        return input.become(compute(input, other))

    method.__name__ = method.__qualname__ = name
    method.__doc__ = "The operator in place."
    return method


METHODS: dict[str, Callable[..., Any]] = {"__setitem__": set_item, "fill_": fill_, "zero_": zero_, "copy_": copy_}
METHODS |= {
    f"__i{name}__": _by_operator(f"__i{name}__", getattr(operator, f"__{name}__"))
    for name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv", "and", "or", "xor")
}
"""What Tensors have of these, by name."""
