"""Views: Tensors that see the same memory, and what becomes of their histories when one of them is changed in place.

After `y = x[0]`, `y += w` changes x, too. It is a whole other x from then on, computed from the old one and the new y,
and every view sees a part of it:

    x = written(x, y)      the old x, but for what y sees of it, which is the new y
    y = x[0]               as every other view of x: looked at anew

So a view remembers whose memory it sees, and through which operations.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import ref

from gpunet import tape
from gpunet.ops.operation import Operation
from gpunet.ops.shaping import Written

__all__ = ["Root", "Step", "View"]


class Step(NamedTuple):
    """One operation on the way from the whole to a view, and the shape of what it returned."""

    operation: Operation
    shape: tuple[int, ...]


class Root:
    """The Tensor whose memory views see. Its history is kept here as well, since it may be gone before they are."""

    __slots__ = ("_node", "_tensor", "shape")

    def __init__(self, tensor: Any) -> None:
        self._tensor: ref[Any] | None = ref(tensor)
        self._node: tape.Node | tape.Leaf | None = tensor._node
        self.shape: tuple[int, ...] = tensor.shape

    @property
    def node(self) -> tape.Node | tape.Leaf | None:
        """Its place on the tape."""
        tensor = None if self._tensor is None else self._tensor()
        return self._node if tensor is None else tensor._node

    @node.setter
    def node(self, node: tape.Node | tape.Leaf | None) -> None:
        self._node = node

    def let_go(self, tensor: Any) -> None:
        """The Tensor is about to get other memory, and views are left with the one that it had."""
        self._tensor, self._node = None, tensor._node


class View(NamedTuple):
    """Whose memory a Tensor sees, and how: None for a view that was made while nothing was recorded."""

    root: Root
    steps: tuple[Step, ...] | None

    def through(self, operation: Operation, shape: tuple[int, ...], recorded: bool) -> View:
        """What sees the memory through one operation more."""
        return View(self.root, None if self.steps is None or not recorded else (*self.steps, Step(operation, shape)))

    def written(self, node: tape.Node | tape.Leaf | None) -> tape.Node | tape.Leaf | None:
        """The history of the whole, where that of the view is now `node`."""
        if not self.steps:
            return node
        before = self.root.node
        if before is None and node is None:
            return None
        operation = Written([step.operation for step in self.steps])
        operation.needs_grad = (before is not None, node is not None)
        return tape.Node(operation, (before, node), self.root.shape)

    def seen(self, whole: tape.Node | tape.Leaf | None) -> tape.Node | tape.Leaf | None:
        """The history of the view, where that of the whole is now `whole`."""
        for step in self.steps or () if whole is not None else ():
            whole = tape.Node(step.operation, (whole,), step.shape)
        return whole
