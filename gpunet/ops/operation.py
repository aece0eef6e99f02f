"""The contract of a differentiable operation: arrays in, arrays out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from gpunet.backend import Array, active_backend, as_nchw, as_nhwc, run_tiles, sees_channels_last, tiles, xp
from gpunet.backend.layout import in_memory_order

__all__ = ["ARRAYS", "ElementWise", "Operation", "in_tiles"]


class Operation:
    """One run of one differentiable operation.

    An instance serves one call. `forward` computes the output and keeps on `self` what `backward` will need;
    `backward` turns the gradient of the loss by the output into its gradients by the inputs, in their order. Settings
    such as a stride are arguments of the constructor, so that inputs are arrays (or plain numbers) alone.

    What holds for every run of it is declared in attributes of the class. `gpunet.tensor.apply` acts on them, and
    tests/test_operations.py puts them to the test.

    An array that `backward` returns belongs to the caller: return the gradient it was given or a view of it, which the
    caller leaves as it is, or new memory, over which the caller may write. Never the same new memory for two inputs.
    """

    autocast: ClassVar[Literal["half", "full"] | None] = None
    """What autocast does with its inputs: brings float32 to float16 (half), float16 to float32 (full), or nothing."""

    mixed: ClassVar[Literal["widest", "refused", "half input"] | None] = None
    """What happens to Tensors of different types: all become the widest; or it is an error, but perhaps for a float16
    input beside float32 parameters (half input); or nothing."""

    sums: ClassVar[bool] = False
    """Whether it adds many numbers up: then float16 is computed in float32 where no kernel does so by itself."""

    function: ClassVar[str] = ""
    """The public function that errors are to name, such as conv2d."""

    names: ClassVar[tuple[str, ...]] = ()
    """What that function calls the inputs."""

    takes_waiting: ClassVar[bool] = False
    """Whether `forward` goes on from inputs, and `backward` from a gradient, that wait (`gpunet.ops.waiting`)."""

    views: ClassVar[bool] = False
    """Whether the output may be the input's own memory, seen otherwise."""

    needs_grad: tuple[bool, ...] = ()
    """For each input, whether anybody wants its gradient; set before `forward`. A gradient nobody needs may be None."""

    def forward(self, *inputs: Any) -> Array:
        """The output."""
        raise NotImplementedError

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        """The gradients of the loss by the inputs, given its gradient by the output."""
        raise NotImplementedError


class ElementWise(Operation):
    """An operation on each element alone, whose output lies in memory as its inputs do.

    Where a backend needs that for it, `forward` and `backward` of every subclass see channels-last arrays as they lie
    there, (N, H, W, C). Element by element it makes no difference.
    """

    _channels_last = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "forward" in vars(cls):
            cls.forward = _forward_as_it_lies(cls.forward)  # type: ignore[method-assign]
        if "backward" in vars(cls):
            cls.backward = _backward_as_it_lies(cls.backward)  # type: ignore[method-assign]


def _forward_as_it_lies(forward: Any) -> Any:
    @functools.wraps(forward)
    def run(self: ElementWise, *inputs: Any) -> Array:
        self._channels_last = sees_channels_last(inputs)
        return as_nchw(forward(self, *map(as_nhwc, inputs))) if self._channels_last else forward(self, *inputs)

    return run


def _backward_as_it_lies(backward: Any) -> Any:
    """As the forward pass saw its inputs, and has kept them."""

    @functools.wraps(backward)
    def run(self: ElementWise, grad: Array) -> tuple[Array | None, ...]:
        if not self._channels_last:
            return backward(self, grad)
        return tuple(part if part is None else as_nchw(part) for part in backward(self, as_nhwc(grad)))

    return run


ARRAYS = 4  # that lie in the cache while NumPy works a formula off step by step: its operands, and what is between


def in_tiles(function: Callable[..., Array], *arrays: Array) -> Array:
    """What a function of arrays makes of these, element by element: of the type of the first, and lying as it does.

    On a CPU it is called for a few elements at a time, so that what it computes on the way stays in the cache.
    """
    first = arrays[0]
    cut = tiles(first.size, ARRAYS * first.itemsize)
    alike = all((each.shape, each.strides, each.dtype) == (first.shape, first.strides, first.dtype) for each in arrays)
    if active_backend() != "numpy" or len(cut) < 2 or not alike or not in_memory_order(first).flags.c_contiguous:
        return function(*arrays)
    y = xp.empty_like(first)
    out, *flat = (in_memory_order(each).reshape(-1) for each in (y, *arrays))

    def one_tile(some: slice) -> None:
        out[some] = function(*(each[some] for each in flat))

    run_tiles(one_tile, cut)
    return y
