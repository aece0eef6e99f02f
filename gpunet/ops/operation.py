"""The contract of a differentiable operation: arrays in, arrays out."""

from __future__ import annotations

from typing import Any

from gpunet.backend import Array

__all__ = ["Operation"]


class Operation:
    """One run of one differentiable operation.

    An instance serves one call. `forward` computes the output and keeps on `self` what `backward` will need;
    `backward` turns the gradient of the loss by the output into its gradients by the inputs, in their order. Settings
    such as a stride are arguments of the constructor, so that inputs are arrays (or plain numbers) alone.

    An array that `backward` returns belongs to the caller: return the gradient it was given or a view of it, which the
    caller leaves as it is, or new memory, over which the caller may write. Never the same new memory for two inputs.
    """

    needs_grad: tuple[bool, ...] = ()
    """For each input, whether anybody wants its gradient; set before `forward`. A gradient nobody needs may be None."""

    def forward(self, *inputs: Any) -> Array:
        """The output."""
        raise NotImplementedError

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        """The gradients of the loss by the inputs, given its gradient by the output."""
        raise NotImplementedError
