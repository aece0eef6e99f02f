"""The tape: which operation made which value, and the walk back along it.

There is no global list. Each Tensor refers to its node; a node refers to its operation and to the nodes of the inputs.
What nothing refers to any more is gone, and the activations with it, by reference count alone.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, ClassVar

from gpunet.backend import Array, quiet, xp
from gpunet.errors import GradientError, OutOfMemoryError
from gpunet.hooks import Hooks
from gpunet.mode import Mode, ModeSwitch
from gpunet.ops.activation import Masked
from gpunet.ops.arithmetic import add
from gpunet.ops.operation import Operation
from gpunet.ops.waiting import Waiting, computed, is_waiting, memory_of
from gpunet.ops.writing import changed_since, now

__all__ = [
    "Leaf",
    "Node",
    "backward",
    "backward_from",
    "enable_grad",
    "gradients_of",
    "inference_mode",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
    "when_backward_ends",
]


class Leaf:
    """The start of a path: a Tensor that the user made with requires_grad, such as a weight. Collects its gradient."""

    __slots__ = ("after", "dtype", "grad", "hooks", "shape")

    any_watched: ClassVar[bool] = False
    """Whether any has functions in `after`: only then `backward` counts who still has a part to deliver."""

    def __init__(self, array: Array) -> None:
        self.grad: Array | None = None
        self.hooks: Hooks | None = None
        self.after: Hooks | None = None  # called when backward has added to the gradient, while it still goes on
        self.describe(array)

    def describe(self, array: Array) -> None:
        """Note the shape and the dtype, which its gradient has, too."""
        self.shape, self.dtype = array.shape, array.dtype


class Node:
    """One recorded operation. `inputs` holds None for each input that needs no gradient; `shape` is the output's."""

    __slots__ = ("grad", "hooks", "inputs", "operation", "retains_grad", "sequence", "shape")

    def __init__(self, operation: Operation, inputs: tuple[Node | Leaf | None, ...], shape: tuple[int, ...]) -> None:
        self.operation: Operation | None = operation
        self.inputs = inputs
        self.shape = shape
        self.sequence = now()
        self.retains_grad = False  # `Tensor.retain_grad` asks for it
        self.grad: Array | None = None
        self.hooks: Hooks | None = None

    def run_backward(self, grad: Array, keep: bool = False) -> tuple[Array | None, ...]:
        """The gradients by the inputs. Lets go of the operation, and so of every array that it had kept, unless asked.

        Raises:
            GradientError: if that has happened before, if what the operation kept has been written over since, or if
                they are not one for each input.
        """
        if self.operation is None:
            raise GradientError(
                "backward has already run through this part of the graph and released what it had kept; "
                "run the forward pass again, add the losses up and call backward once, or call it with "
                "retain_graph=True before"
            )
        if changed_since(self.sequence, self.operation):
            raise GradientError(
                f"{type(self.operation).__name__} needs for its gradient a Tensor that has been changed in place; "
                "change a clone(), or change it after backward"
            )
        operation = self.operation
        if not keep:
            self.operation = None
        try:
            parts = operation.backward(grad)
        except OutOfMemoryError:
            raise  # told by what had been put off
        except MemoryError as error:
            raise OutOfMemoryError.during(operation, [grad]) from error
        if not isinstance(parts, tuple) or len(parts) != len(self.inputs):
            got = f"{len(parts)} of them" if isinstance(parts, tuple) else type(parts).__name__
            raise GradientError(
                f"{type(operation).__name__}.backward is expected to return a tuple of {len(self.inputs)} gradients, "
                f"one for each input, got {got}"
            )
        return parts


_grad_mode = Mode(True)


def is_grad_enabled() -> bool:
    """Whether operations are being recorded on the tape in this thread."""
    return _grad_mode.enabled


class no_grad(ModeSwitch):
    """Record nothing inside this block, or inside the function it decorates: for evaluation, and to change weights.

    Example:
        >>> with no_grad():
        ...     is_grad_enabled()
        False
    """

    def __init__(self) -> None:
        super().__init__(_grad_mode, False)


class enable_grad(ModeSwitch):
    """Record inside this block, or inside the function it decorates, although it is within `no_grad`."""

    def __init__(self) -> None:
        super().__init__(_grad_mode, True)


class set_grad_enabled(ModeSwitch):
    """Record from now on, or not; as a block, or as what decorates a function, only there.

    Example:
        >>> with set_grad_enabled(False):
        ...     is_grad_enabled()
        False
    """

    def __init__(self, mode: bool) -> None:
        super().__init__(_grad_mode, bool(mode))
        self._outside = _grad_mode.enabled
        _grad_mode.enabled = self.enabled

    def __enter__(self) -> set_grad_enabled:
        self._before.append(self._outside)
        _grad_mode.enabled = self.enabled
        return self

    def __call__(self, function: Any) -> Any:
        """Decorate a function; outside of it everything is as before."""
        _grad_mode.enabled = self._outside
        return super().__call__(function)


class inference_mode(ModeSwitch):
    """`no_grad` under PyTorch's other name. What is computed here can be used anywhere afterwards."""

    def __init__(self, mode: bool = True) -> None:
        super().__init__(_grad_mode, _grad_mode.enabled and not mode)


def backward(root: Node | Leaf, grad: Array, keep: bool = False) -> None:
    """Walk back from `root`, adding to each Leaf the gradient of the loss by it; `grad` is the gradient by the root.

    Args:
        keep: whether the operations keep what they need to go back once more.

    Raises:
        GradientError: if a gradient is not of the shape of what it is the gradient by.
    """
    backward_from([(root, grad)], keep)


class _Walk(threading.local):
    """The backward that is under way in this thread: within how many others, and what is to be done at its end."""

    def __init__(self) -> None:
        self.depth = 0
        self.endings: list[Callable[[], object]] = []


_walk = _Walk()


def when_backward_ends(ending: Callable[[], object]) -> None:
    """Call a function when the backward that is under way has added all gradients; one that fails calls none."""
    _walk.endings.append(ending)


def backward_from(roots: Iterable[tuple[Node | Leaf, Array]], keep: bool = False) -> None:
    """`backward` from several roots at once, each with the gradient by it."""
    roots = list(roots)
    _walk.depth += 1
    try:
        with quiet():
            for leaf, total in gradients_of(roots, keep=keep, waited_for=_parts_to_come(roots)).items():
                if isinstance(leaf, Leaf):
                    _collect(leaf, total)
        if _walk.depth == 1:
            for ending in _walk.endings:
                ending()
    finally:
        _walk.depth -= 1
        if not _walk.depth:
            _walk.endings = []


def _collect(leaf: Leaf, total: Array) -> None:
    """Add to the gradient of a leaf, and tell whoever has asked to be told."""
    leaf.grad = total if leaf.grad is None else xp.add(leaf.grad, total, out=total)
    for after in tuple((leaf.after or {}).values()):
        after()


def _parts_to_come(roots: Sequence[tuple[Node | Leaf, Array]]) -> dict[Leaf, int]:
    """How many parts the gradient of each watched leaf is the sum of."""
    parts: dict[Leaf, int] = {}
    if not Leaf.any_watched:
        return parts
    seen = {root for root, _ in roots if isinstance(root, Node)}
    stack = list(seen)
    while stack:
        for target in stack.pop().inputs:
            if isinstance(target, Leaf):
                if target.after:
                    parts[target] = parts.get(target, 0) + 1
            elif target is not None and target not in seen:
                seen.add(target)
                stack.append(target)
    return parts


def gradients_of(
    roots: Iterable[tuple[Node | Leaf, Array]],
    by: Collection[Node | Leaf] = (),
    keep: bool = False,
    waited_for: dict[Leaf, int] | None = None,
) -> dict[Node | Leaf, Array]:
    """The gradients by every Leaf that is reached walking back from some roots, and by the nodes `by`.

    Nodes are visited from the latest to the earliest. An operation is always recorded after its inputs, so whenever a
    node is reached, every path that leads back to it has already delivered its part: no recursion, no sorting.

    Args:
        roots: each with the gradient of the loss by it.
        waited_for: leaves with how many parts their gradient is the sum of; it is added to theirs with the last.

    Raises:
        GradientError: if a gradient is not of the shape of what it is the gradient by.
    """
    gradients: dict[Node | Leaf, Array] = {}
    wanted: dict[Node | Leaf, Array] = {}
    queue: list[tuple[int, Node]] = []
    for root, grad in roots:
        if root in gradients:
            gradients[root] = add(gradients[root], grad)
            continue
        gradients[root] = grad
        if isinstance(root, Node):
            heapq.heappush(queue, (-root.sequence, root))
    with quiet():
        while queue:
            node = heapq.heappop(queue)[1]
            grad = gradients.pop(node)
            if node.hooks or node.retains_grad or node in by:
                grad = _through_hooks(node, computed(grad))
                if node.retains_grad:
                    node.grad = grad.copy() if node.grad is None else node.grad + grad
                if node in by:
                    wanted[node] = grad
            kind = type(node.operation)
            parts = node.run_backward(grad, keep)
            if isinstance(grad, Waiting) and not is_waiting(grad):
                grad = grad.value  # which a part may be
            for target, part in zip(node.inputs, parts, strict=True):
                if target is None or part is None:
                    continue
                if part.shape != target.shape:  # it would broadcast, or be kept
                    raise GradientError(
                        f"{kind.__name__}.backward returned a gradient of shape {part.shape} by an input of shape "
                        f"{target.shape}"
                    )
                earlier = gradients.get(target)
                new = _is_new(part, grad)
                if isinstance(part, Waiting) and (earlier is not None or not _takes_waiting(target)):
                    part = part.value
                if earlier is not None:
                    part = _sum(earlier, part, new)
                elif isinstance(target, Node):
                    heapq.heappush(queue, (-target.sequence, target))
                elif not new:
                    part = part.copy(order="K")  # a leaf keeps its gradient, and clipping writes into it
                gradients[target] = part
            if waited_for:
                for target in node.inputs:
                    if isinstance(target, Leaf) and target in waited_for:
                        waited_for[target] -= 1
                        if not waited_for[target] and target in gradients:
                            _collect(target, _finished(target, gradients.pop(target)))
        for leaf, total in gradients.items():
            if isinstance(leaf, Leaf):  # as are all that are left
                wanted[leaf] = _finished(leaf, total)
    return wanted


def _finished(leaf: Leaf, total: Array) -> Array:
    """The gradient by a leaf, of whose parts none is missing."""
    return _through_hooks(leaf, xp.asarray(total, dtype=leaf.dtype))


def _through_hooks(place: Node | Leaf, grad: Array) -> Array:
    """What the hooks that were registered there make of a gradient, one after the other."""
    for hook in tuple((place.hooks or {}).values()):
        grad = hook(grad)
    return grad


def _takes_waiting(target: Node | Leaf) -> bool:
    return isinstance(target, Node) and target.operation is not None and target.operation.takes_waiting


def _sum(earlier: Array, part: Array, new: bool) -> Array:
    """The sum of two parts of a gradient, written over the second where an operation has just made it."""
    if not new or not part.ndim:
        return add(computed(earlier), part)
    return earlier.add_to(part) if isinstance(earlier, Masked) else add(computed(earlier), part, part)


def _is_new(part: Array, grad: Array) -> bool:
    """Whether what an operation returned is memory of its own, which may be written over.

    That is not the gradient it was given, nor a view of it, nor an array that is stretched or that NumPy protects; nor
    what waits, which several inputs may have been given.
    """
    if isinstance(part, Waiting):
        return False
    if part.base is None:
        return part is not grad
    whole = memory_of(part).size == part.size and getattr(part.flags, "writeable", True)
    return whole and (isinstance(grad, Waiting) or not xp.may_share_memory(part, grad))
