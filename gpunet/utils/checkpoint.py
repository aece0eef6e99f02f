"""Checkpointing: part of a network keeps nothing for its gradient but its inputs; on the way back it runs again.

That costs its forward pass once more, and saves the memory of all that lies between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunet import tape
from gpunet.autocast import autocast, is_autocast_enabled
from gpunet.backend import Array, random_state, set_random_state
from gpunet.errors import ArgumentError, DTypeError
from gpunet.ops.operation import Operation
from gpunet.tape import enable_grad, is_grad_enabled
from gpunet.tensor import Tensor, own

__all__ = ["checkpoint", "checkpoint_sequential"]


def checkpoint(
    function: Callable[..., Tensor],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    **kwargs: Any,
) -> Tensor:
    """`function(*args, **kwargs)`, of which only the arguments are kept; `backward` computes it again.

    Random numbers repeat themselves (`preserve_rng_state`), so that dropout drops the same, and autocast is as it was:
    values and gradients are the same bits as without. What the function does besides is done twice: batch norm takes
    the batch into its running statistics once more, as in PyTorch.

    Args:
        use_reentrant: of PyTorch's two ways of doing it, which here are one.

    Shape:
        that of the function's output, which is one Tensor.

    Raises:
        DTypeError: if the function returns anything else.

    Reference:
        Chen et al., "Training deep nets with sublinear memory cost", 2016.
    """
    state = random_state() if preserve_rng_state and is_grad_enabled() else None
    output = function(*args, **kwargs)
    if not isinstance(output, Tensor):
        raise DTypeError(f"checkpoint expects a function that returns one Tensor, got {type(output).__name__}")
    if not output.requires_grad or not is_grad_enabled():
        return output
    inputs = [each for each in args if isinstance(each, Tensor)]
    again = own(output.array)  # without the history, which is let go here
    operation = _Again(function, args, kwargs, state)
    again._node = tape.Node(operation, tuple(each._node for each in inputs), again.shape)
    return again


class _Again(Operation):
    """Runs a function a second time, on the way back, and goes back through it."""

    def __init__(
        self, function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any], state: Any
    ) -> None:
        self.call, self.args, self.kwargs, self.state = function, args, kwargs, state
        self.autocasts = is_autocast_enabled()
        self.kept = [each.array for each in args if isinstance(each, Tensor)]  # must not be changed in the meantime

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        copies = {id(each): own(each.array, each.requires_grad) for each in self.args if isinstance(each, Tensor)}
        now = random_state() if self.state is not None else None
        try:
            if self.state is not None:
                set_random_state(self.state)
            with enable_grad(), autocast(enabled=self.autocasts):
                output = self.call(*(copies.get(id(each), each) for each in self.args), **self.kwargs)
        finally:
            if now is not None:
                set_random_state(now)
        tape.backward(*output._seed(own(grad)))
        gradients = []
        for each in self.args:
            if isinstance(each, Tensor):  # one that is given twice tells the gradient of both once
                copy = copies.pop(id(each), None)
                gradients.append(None if copy is None or copy.grad is None else copy.grad.array)
        return tuple(gradients)


def checkpoint_sequential(
    functions: Sequence[Any] | Any, segments: int, input: Tensor, use_reentrant: bool | None = None, **kwargs: Any
) -> Tensor:
    """Layers one after the other in so many segments, each of which but the last is a `checkpoint`.

    Shape:
        that of the last layer's output.

    Raises:
        ArgumentError: if there are fewer layers than segments.
    """
    layers = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not 1 <= segments <= len(layers):
        raise ArgumentError(f"checkpoint_sequential: {len(layers)} layers cannot be cut into {segments} segments")
    size = len(layers) // segments

    def run(some: Sequence[Any]) -> Callable[[Tensor], Tensor]:
        def segment(x: Tensor) -> Tensor:
            for layer in some:
                x = layer(x)
            return x

        return segment

    for start in range(0, size * (segments - 1), size):
        input = checkpoint(run(layers[start : start + size]), input, **kwargs)
    return run(layers[size * (segments - 1) :])(input)
