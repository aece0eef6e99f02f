"""Gradients of chosen Tensors, and operations of one's own, under PyTorch's names (`torch.autograd`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from gpunet import tape
from gpunet.backend import Array, xp
from gpunet.errors import ArgumentError, DTypeError, GradientError
from gpunet.ops.operation import Operation
from gpunet.tape import enable_grad, inference_mode, no_grad, set_grad_enabled
from gpunet.tensor import Tensor, apply, own

__all__ = [
    "Context",
    "Function",
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "no_grad",
    "set_grad_enabled",
]


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of the sum of the outputs by each input; no `.grad` changes.

    Args:
        inputs: Tensors that were made with requires_grad, or computed on the way.
        grad_outputs: the gradient of the loss by each output; may be left out for single numbers.
        retain_graph: True keeps what is needed to go through the history once more.
        create_graph: must be False: there are no gradients of gradients.
        allow_unused: whether None is given for an input that the outputs do not depend on; else that is an error.

    Shape:
        each gradient has the shape of its input.

    Raises:
        GradientError: if an output or an input does not require grad, or does not depend on the other.
        ArgumentError: if `create_graph` is asked for, or there is not one gradient for each output.

    Example:
        >>> from gpunet.tensor import tensor
        >>> x = tensor([1.0, 2.0], requires_grad=True)
        >>> grad((x * x).sum(), x)
        (tensor([2., 4.]),)
    """
    sources, targets = _listed(outputs), _listed(inputs)
    seeds = [None] * len(sources) if grad_outputs is None else _listed(grad_outputs)
    if len(seeds) != len(sources):
        raise ArgumentError(f"grad expects one gradient for each of {len(sources)} outputs, got {len(seeds)}")
    nodes = [target._node for target in targets]
    for place, node in enumerate(nodes):
        if node is None:
            raise GradientError(f"grad: input {place} does not require grad")
    roots = [source._seed(seed, create_graph) for source, seed in zip(sources, seeds, strict=True)]
    found = tape.gradients_of(roots, {node for node in nodes if node is not None}, bool(retain_graph))
    by_inputs = [found.get(node) if node is not None else None for node in nodes]
    if not allow_unused and any(each is None for each in by_inputs):
        raise GradientError(
            f"grad: the outputs do not depend on input {by_inputs.index(None)}; allow_unused=True gives None for it"
        )
    return tuple(None if each is None else own(each.copy()) for each in by_inputs)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> None:
    """`Tensor.backward` of several Tensors at once.

    Shape:
        grad_tensors: each has the shape of its Tensor.

    Raises:
        ArgumentError: if there is not one gradient for each Tensor, or `create_graph` is asked for.
    """
    sources = _listed(tensors)
    seeds = [None] * len(sources) if grad_tensors is None else _listed(grad_tensors)
    if len(seeds) != len(sources):
        raise ArgumentError(f"backward expects one gradient for each of {len(sources)} Tensors, got {len(seeds)}")
    roots = [source._seed(seed, create_graph) for source, seed in zip(sources, seeds, strict=True)]
    tape.backward_from(roots, bool(retain_graph))


def _listed(given: Any) -> list[Any]:
    return [given] if isinstance(given, Tensor) else list(given)


class Context:
    """What `Function.forward` keeps for `Function.backward`: any attributes, and Tensors by `save_for_backward`."""

    def __init__(self, needs_input_grad: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs_input_grad
        self.saved_tensors: tuple[Any, ...] = ()
        self._constant: set[int] = set()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep Tensors, which must not be changed in place until `backward` has run."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Say that no gradient comes by these outputs: `backward` is given zeros for them."""
        self._constant |= {id(output) for output in outputs}

    def mark_dirty(self, *inputs: Tensor) -> None:
        """Changing an input in place is not supported.

        Raises:
            ArgumentError: always.
        """
        raise ArgumentError("a Function does not change its inputs in place: it returns new Tensors")

    def set_materialize_grads(self, value: bool) -> None:
        """Where nothing depends on an output, `backward` is given zeros.

        Raises:
            ArgumentError: if None is asked for in their place.
        """
        if not value:
            raise ArgumentError("backward is given zeros, not None, by an output that nothing depends on")


class Function:
    """An operation of one's own, written in Tensors; `gpunet.Operation` is one written in arrays.

    A subclass has the static methods `forward(ctx, *inputs)`, which returns a Tensor or a tuple of them, and
    `backward(ctx, *grads)`, which is given the gradient by each of these, and returns that by each input, None for what
    is not a Tensor. Or `forward(*inputs)` and `setup_context(ctx, inputs, output)`.

    Raises:
        DTypeError: if `forward` returns anything else.

    Example:
        >>> from gpunet.tensor import tensor
        >>> class Cube(Function):
        ...     @staticmethod
        ...     def forward(ctx, x):
        ...         ctx.save_for_backward(x)
        ...         return x * x * x
        ...
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         (x,) = ctx.saved_tensors
        ...         return grad * 3 * x * x
        >>> x = tensor([2.0], requires_grad=True)
        >>> Cube.apply(x).sum().backward()
        >>> x.grad
        tensor([12.])
    """

    @staticmethod
    def forward(*args: Any) -> Any:
        """Compute the output; every subclass defines its own."""
        raise NotImplementedError("a Function defines forward and backward")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep on `ctx` what `backward` will need, where `forward` is not given it."""

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients by the inputs; every subclass defines its own."""
        raise NotImplementedError("a Function defines forward and backward")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward` on Tensors and other arguments, and record it where a gradient will be wanted."""
        call = _Call(cls, args)
        return call.handed_out(apply(call, *(each for each in args if isinstance(each, Tensor))))


class _Call(Operation):
    """One run of a Function: Tensors of their own stand for the inputs within it.

    Its output, as an operation, is the one Tensor that `forward` has returned; or all that have gradients, one behind
    the other, of which they are cut out again.
    """

    def __init__(self, function: type[Function], args: tuple[Any, ...]) -> None:
        self.kind, self.args = function, args

    def forward(self, *arrays: Array) -> Array:
        args, kind, self.args = self.args, self.kind, ()
        self.places = [place for place, each in enumerate(args) if isinstance(each, Tensor)]
        needs = dict(zip(self.places, self.needs_grad, strict=True))
        self.context = Context(tuple(needs.get(place, False) for place in range(len(args))))
        inputs = list(args)
        for place, array in zip(self.places, arrays, strict=True):
            inputs[place] = own(array)
        with no_grad():
            if kind.setup_context is Function.setup_context:
                output = kind.forward(self.context, *inputs)
            else:
                output = kind.forward(*inputs)
                kind.setup_context(self.context, tuple(inputs), output)
        self.several = isinstance(output, tuple)
        outputs = output if self.several else (output,)
        if not any(isinstance(each, Tensor) for each in outputs):
            raise DTypeError(f"{kind.__name__}.forward is expected to return a Tensor, got {type(output).__name__}")
        saved = [each for each in self.context.saved_tensors if isinstance(each, Tensor)]
        self.saved = [each.array for each in saved]  # the tape looks here for what has been changed in place
        self.described = [_Output.of(each, self.context) for each in outputs]
        self.plain = [None if each.differs else made for each, made in zip(self.described, outputs, strict=True)]
        flat = [made.array for each, made in zip(self.described, outputs, strict=True) if each.differs]
        if len(flat) == 1:
            return flat[0]
        return xp.concatenate([each.reshape(-1) for each in flat]) if flat else xp.zeros(0)

    def handed_out(self, made: Tensor) -> Any:
        """What `forward` has returned, cut out of the output."""
        outputs, self.plain, start = list(self.plain), [], 0
        alone = sum(each.differs for each in self.described) == 1
        for place, each in enumerate(self.described):
            if each.differs:
                size = math.prod(each.shape)
                part = made if alone else made[start : start + size].reshape(each.shape).to(each.dtype)
                outputs[place], start = part, start + size
        return tuple(outputs) if self.several else outputs[0]

    def backward(self, grad: Array) -> tuple[Array | None, ...]:
        grads: list[Tensor | None] = []
        start = 0
        rows = grad.reshape(-1)
        for each in self.described:
            size = math.prod(each.shape)
            if each.differs:
                grads.append(own(rows[start : start + size].reshape(each.shape).astype(each.dtype, copy=False)))
                start += size
            else:
                grads.append(None if each.dtype is None else own(xp.zeros(each.shape, dtype=each.dtype)))
        with no_grad():
            given = self.kind.backward(self.context, *grads)
        by_input = given if isinstance(given, tuple) else (given,)
        if len(by_input) != len(self.context.needs_input_grad):
            raise GradientError(
                f"{self.kind.__name__}.backward is expected to return {len(self.context.needs_input_grad)} gradients, "
                f"one for each input of forward, got {len(by_input)}"
            )
        parts = [by_input[place] for place in self.places]
        return tuple(part.array if isinstance(part, Tensor) else None for part in parts)


class _Output(NamedTuple):
    """What is known of an output of a Function; without a type, if it is no Tensor."""

    shape: tuple[int, ...]
    dtype: Any
    differs: bool

    @classmethod
    def of(cls, output: Any, context: Context) -> _Output:
        if not isinstance(output, Tensor):
            return cls((), None, False)
        return cls(output.shape, output.dtype, output.is_floating_point() and id(output) not in context._constant)
