"""Tensor: an array and its place on the tape.

`apply` is the one gate through which operations run: it takes the arrays out of the Tensors, runs the operation on them
and records it where a gradient will be wanted.
"""

from __future__ import annotations

import contextlib
import functools
import math
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from weakref import ref

import numpy as np

from gpunet import tape
from gpunet.arguments import (
    DType,
    axes_of,
    axis_of,
    check_broadcast,
    check_fits,
    check_numbers,
    flag,
    number_type,
    sizes_of,
)
from gpunet.autocast import input_dtype, is_autocast_enabled
from gpunet.backend import (
    Array,
    active_backend,
    asarray,
    backend_of,
    check_active,
    from_outside,
    is_array,
    is_real,
    quiet,
    to_cpu,
    xp,
)
from gpunet.device import check_device, device, is_device, of_backend
from gpunet.errors import (
    ArgumentError,
    BackendError,
    DTypeError,
    GpunetError,
    GradientError,
    OutOfMemoryError,
    ShapeError,
)
from gpunet.hooks import Hooks, RemovableHandle
from gpunet.notebook import as_pictures, numbers, titled
from gpunet.ops.arithmetic import (
    Abs,
    Add,
    Clamp,
    Divide,
    Exp,
    Log,
    Maximum,
    Minimum,
    Multiply,
    Negate,
    Power,
    Reciprocal,
    Remainder,
    Sqrt,
    Subtract,
    Where,
)
from gpunet.ops.half import float32_inside
from gpunet.ops.matmul import MatMul
from gpunet.ops.operation import Operation
from gpunet.ops.reduction import Extremum, Mean, Sum
from gpunet.ops.shaping import Cast, Expand, Index, Permute, Reshape
from gpunet.ops.waiting import Waiting, hand_out, is_handed_out, is_waiting
from gpunet.ops.writing import about_to_write, keep_copies
from gpunet.views import Root, View

__all__ = ["Extreme", "Tensor", "apply", "as_key", "as_tensor", "operand", "own", "tensor", "watch_operations"]

Number: TypeAlias = bool | int | float

_KEEPDIM = "keepdim (several dimensions are dim=(0, 1))"


class Extreme(NamedTuple):
    """What `max` and `min` along a dimension return: the values, and where along the dimension they were found."""

    values: Tensor
    indices: Tensor


class Tensor:
    """An array of the active backend that remembers how it was computed.

    Made by `gpunet.tensor`; results of operations are Tensors, too. Methods have PyTorch's names and meanings. Those
    that can be done without here are written as functions, in `gpunet.functions`, which makes methods of them.

    Attributes:
        host_range: the smallest and the largest value of labels, or of probabilities of classes, that came from the
            host, where they were looked at on the way: asking a GPU for them would wait until it has finished all its
            work. None if not known.

    Raises:
        DTypeError: if `data` is not an array of NumPy or a backend, which could be held as it is.
        ArgumentError: if `requires_grad` is neither True nor False.
    """

    __slots__ = ("__weakref__", "_array", "_node", "_sharing", "_view", "host_range")
    __array_ufunc__ = None  # `array + tensor` asks Tensor.__radd__ instead of looping over the elements
    __hash__ = object.__hash__  # __eq__ compares element by element; a Tensor is a key by identity, as in PyTorch

    host_range: tuple[float, float] | None
    _array: Any  # an array, or what waits to become one
    _node: tape.Node | tape.Leaf | None
    _sharing: list[ref[Tensor]] | None  # this Tensor, and those that look at the same memory
    _view: View | None  # how it does so

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self._array = _handed_in(data)
        self.host_range = self._node = self._sharing = self._view = None
        if requires_grad:
            self.requires_grad = requires_grad

    # ------------------------------------------------------------------ the array

    @property
    def data(self) -> Tensor:
        """The same memory without its history, as `detach()`; the memory of a Tensor or array that it is set to."""
        return self.detach()

    @data.setter
    def data(self, data: Tensor | Array) -> None:
        if not isinstance(data, Tensor):
            self.array = _handed_in(data)
        elif data.array is not self.array:  # it is after `x.data += 1`
            self.array = data.array
            self.share_with(data)

    def handed_out(self) -> Array:
        """The array itself, for those who may keep it, look at it and write to it."""
        array = self.array
        hand_out(array)
        return array

    @property
    def array(self) -> Array:
        """The array, for code within the library, which neither hands it on nor, but for `settle`, writes to it."""
        array = self._array
        if isinstance(array, Waiting):
            self._array = array = array.value
        return array

    @array.setter
    def array(self, array: Array) -> None:
        self._leave()
        self._array = array
        if isinstance(self._node, tape.Leaf):
            self._node.describe(array)

    # ------------------------------------------------------------------ what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each dimension."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self._array.shape)

    @property
    def dtype(self) -> Any:
        """The type of the numbers."""
        return self._array.dtype

    @property
    def T(self) -> Tensor:  # noqa: N802  (the name that NumPy and PyTorch use)
        """The Tensor with its dimensions in reverse order."""
        return self.permute(*reversed(range(self.ndim)))

    @property
    def mT(self) -> Tensor:  # noqa: N802
        """The Tensor with its last two dimensions exchanged."""
        return self.transpose(-2, -1)

    @property
    def device(self) -> device:
        """Where the values lie: the device of the active backend, but for what was made on another."""
        waits = isinstance(self._array, Waiting)
        return of_backend(active_backend() if waits else backend_of(self._array))

    @property
    def is_cuda(self) -> bool:
        """Whether the values lie on a GPU, or its stand-in."""
        return self.device.type == "cuda"

    @property
    def nbytes(self) -> int:
        """The bytes that the elements take up."""
        return self.numel() * self.element_size()

    def element_size(self) -> int:
        """The bytes that an element takes up."""
        return int(self.dtype.itemsize)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[axis_of(dim, self.ndim, "size")]

    def dim(self) -> int:
        """The number of dimensions."""
        return self.ndim

    def numel(self) -> int:
        """The number of elements."""
        return math.prod(self._array.shape)

    def nelement(self) -> int:
        """The number of elements."""
        return self.numel()

    def is_floating_point(self) -> bool:
        """Whether the numbers are floats: only those can have gradients."""
        return self.dtype.kind == "f"

    def __len__(self) -> int:
        if not self.shape:
            raise DTypeError("len() expects a Tensor with at least one dimension, got a single number")
        return self.shape[0]

    def __repr__(self) -> str:
        values = np.array2string(to_cpu(self.array), separator=", ", precision=4, threshold=200, prefix="tensor(")
        dtype = "" if self.dtype in (np.float32, np.int64, np.bool_) else f", dtype={self.dtype}"
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"tensor({values}{dtype}{grad})"

    def _repr_html_(self) -> str:
        """How a notebook shows it: as pictures where it holds images, or filters, of one or three channels."""
        gradient = ", requires_grad" if self.requires_grad else ""
        values = to_cpu(self.array)
        images = values.ndim == 4 and values.shape[1] in (1, 3) and values.size
        content = as_pictures(values) if images else numbers(values)
        return titled("Tensor", f"{self.shape}, {self.dtype}, {self.device}{gradient}", content)

    def note_range(self, host: np.ndarray[Any, Any]) -> None:
        """Remember the range of the numbers on the host that this Tensor was made of: labels, or rows of floats."""
        rows = host.dtype.kind == "f" and host.ndim <= 2 and active_backend() != "numpy"  # there nobody asks
        if host.size and (host.dtype.kind in "iu" or rows):
            self.host_range = (host.min().item(), host.max().item())

    def known_range(self) -> tuple[float, float] | None:
        """The `host_range`, where it still holds.

        It is worth nothing where somebody may have written there since, or where another type made other numbers.
        """
        if (
            (self.dtype != np.int64 and self.dtype.kind != "f")
            or self._sharing is not None
            or is_handed_out(self.array)
        ):
            return None
        return self.host_range

    # ------------------------------------------------------------------ gradients

    @property
    def requires_grad(self) -> bool:
        """Whether gradients reach this Tensor. Can be set on a Tensor that was not computed from others."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        wanted = flag(wanted, "requires_grad")
        if isinstance(self._node, tape.Node):
            if not wanted:
                raise GradientError("requires_grad of a computed Tensor cannot be turned off; use detach()")
        elif not wanted:
            self._node = None
        elif self._node is None:
            if not self.is_floating_point():
                raise DTypeError(f"requires_grad expects floats, got a Tensor of {self.dtype}")
            self._node = tape.Leaf(self.array)

    @property
    def is_leaf(self) -> bool:
        """Whether the Tensor was made by the user and not computed: only such Tensors keep their gradient."""
        return not isinstance(self._node, tape.Node)

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` has collected so far, as a Tensor without history; changed in place, it is."""
        if self._node is None or self._node.grad is None:
            return None
        hand_out(self._node.grad)  # to this Tensor, and to all that will see the same memory
        return own(self._node.grad)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if not isinstance(self._node, tape.Leaf):
            if value is None:  # there is none: optimizers have frozen parameters, too
                return
            raise GradientError("only a Tensor made with requires_grad=True keeps a gradient")
        if value is not None:
            if not isinstance(value, Tensor):
                raise DTypeError(f"a gradient must be a Tensor or None, got {type(value).__name__}")
            if value.shape != self.shape:
                raise ShapeError(f"the gradient has shape {value.shape}, expected that of its Tensor, {self.shape}")
            if value.dtype != self.dtype:
                raise DTypeError(f"the gradient holds {value.dtype}, expected the type of its Tensor, {self.dtype}")
        self._node.grad = None if value is None else value.array

    @property
    def grad_fn(self) -> tape.Node | None:
        """The place on the tape of what computed this Tensor, None for a leaf."""
        return self._node if isinstance(self._node, tape.Node) else None

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Let gradients reach this Tensor, or stop them; returns the Tensor itself."""
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Keep the gradient in `.grad`, although this Tensor was computed.

        Raises:
            GradientError: if no gradient reaches it.
        """
        if self._node is None:
            raise GradientError("retain_grad expects a Tensor that requires grad")
        if isinstance(self._node, tape.Node):
            self._node.retains_grad = True

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was asked for."""
        return isinstance(self._node, tape.Node) and self._node.retains_grad

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook(gradient)` when the gradient by this Tensor is complete; what it returns takes its place.

        Raises:
            GradientError: if no gradient reaches this Tensor; later, if the hook returns none of the same shape.
        """
        if self._node is None:
            raise GradientError("register_hook expects a Tensor that requires grad")

        def on_arrays(grad: Array) -> Array:
            replacement = hook(own(grad))
            if replacement is None:
                return grad
            if not isinstance(replacement, Tensor) or replacement.shape != grad.shape:
                raise GradientError(f"a hook is expected to return None or a gradient of shape {grad.shape}")
            return replacement.array

        self._node.hooks = Hooks() if self._node.hooks is None else self._node.hooks
        return self._node.hooks.add(on_arrays)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], object]) -> RemovableHandle:
        """Call `hook(self)` as soon as `backward` has added to `self.grad`, while it goes on with what comes before.

        Raises:
            GradientError: if this Tensor collects no gradient.
        """
        if not isinstance(self._node, tape.Leaf):
            raise GradientError("register_post_accumulate_grad_hook expects a leaf that requires grad")
        self._node.after = Hooks() if self._node.after is None else self._node.after
        tape.Leaf.any_watched = True
        return self._node.after.add(lambda: hook(self))

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False
    ) -> None:
        """Compute the gradient of this Tensor by every Tensor that it was computed from, and add it to their `.grad`.

        Args:
            gradient: the gradient of the loss by this Tensor; may be left out where this Tensor is the loss itself.
            retain_graph: True keeps what is needed to go through the history once more.
            create_graph: must be False: there are no gradients of gradients.

        Shape:
            gradient: the shape of this Tensor.

        Raises:
            GradientError: if the Tensor has no history, has more than one element and no `gradient` was given, or if
                backward has run through its history before.
            ShapeError: if `gradient` has another shape.
            DTypeError: if `gradient` is not a Tensor.
            ArgumentError: if `create_graph` is asked for.
        """
        tape.backward(*self._seed(gradient, create_graph), keep=bool(retain_graph))

    def _seed(self, gradient: Tensor | None, create_graph: bool = False) -> tuple[tape.Node | tape.Leaf, Array]:
        """The place on the tape where `backward` starts, and the gradient of the loss by it."""
        if create_graph:
            raise ArgumentError("create_graph=True is not supported: gradients have no history of their own")
        if self._node is None:
            raise GradientError(
                "backward expects a Tensor with a history; none of the Tensors this one was computed from has "
                "requires_grad=True, or it was computed under no_grad()"
            )
        if gradient is None:
            if self.numel() != 1:
                raise GradientError(
                    f"backward on a Tensor of shape {self.shape} needs its `gradient`; "
                    f"only a single number, such as a loss, can do without (did you forget .mean() or .sum()?)"
                )
            seed = xp.ones(self.shape, dtype=self.dtype)
        else:
            if not isinstance(gradient, Tensor):
                raise DTypeError(f"backward expects its gradient as a Tensor, got {type(gradient).__name__}")
            if gradient.shape != self.shape:
                raise ShapeError(f"backward expects a gradient of shape {self.shape}, got {gradient.shape}")
            check_active(gradient.array, "the gradient")
            seed = xp.array(gradient.array, dtype=self.dtype)
        return self._node, seed

    def detach(self) -> Tensor:
        """The same memory without its history."""
        detached = own(self.array)
        detached.share_with(self)
        return detached

    def detach_(self) -> Tensor:
        """Forget the history of this Tensor; returns the Tensor itself.

        Raises:
            GradientError: if it is a view: what it is a view of would keep its history.
        """
        if self._view is not None and self._view.steps != () and self._node is not None:
            raise GradientError("a view cannot be detached in place; use detach()")
        self._node = None
        return self

    # ------------------------------------------------------------------ in place

    def share_with(self, other: Tensor, by: Operation | None = None) -> None:
        """Note that the two look at the same memory, and, where this one is a view, which operation has made it."""
        group = [ref(other)] if other._sharing is None else other._sharing
        group[:] = [each for each in group if each() is not None]
        group.append(ref(self))
        self._sharing = other._sharing = group
        if by is not None:
            if other._view is None:
                other._view = View(Root(other), ())
            self._view = other._view.through(by, self.shape, tape.is_grad_enabled())

    def become(self, result: Tensor) -> Tensor:
        """Take over the values and the history of a result computed from this Tensor: an operation in place.

        Where others look at the memory the values are written over it, for all of them, and views follow: see
        `gpunet.views`. Elsewhere the Tensor takes the memory of the result, and what operations have kept of the old
        one for their gradients stays right.

        Raises:
            GradientError: if operations are being recorded and this Tensor was made with requires_grad, or is a view of
                one that was; or if the history of a view could not be followed.
            ShapeError: if the result has another shape, or elements of this Tensor lie on one another, as after expand.
            DTypeError: if its values are of a wider kind: floats do not become integers.
        """
        recording = tape.is_grad_enabled()
        if recording:
            self.check_change(result.requires_grad)
        if result.shape != self.shape:
            raise ShapeError(f"a Tensor of shape {self.shape} cannot take the values of shape {result.shape} in place")
        if result.dtype != self.dtype:
            if not np.can_cast(result.dtype, self.dtype, "same_kind"):
                raise DTypeError(f"a Tensor of {self.dtype} cannot take values of {result.dtype} in place")
            result = result.to(self.dtype)
        if self._sharers() or isinstance(self._node, tape.Leaf) or is_handed_out(self._array):
            if recording and isinstance(result._node, tape.Node) and result._node.operation is not None:
                keep_copies(result._node.operation, self.array)
            self.write(..., result.array)
        else:
            self._leave()
            self._array, self.host_range = result._array, None
        if recording:
            self._take_history(result._node)
        return self

    def check_change(self, with_history: bool = False) -> None:
        """Make sure that this Tensor may be changed in place, perhaps to values that have a history, and be recorded.

        Raises:
            GradientError: if not.
        """
        whole = None if self._view is None else self._view.root.node
        if isinstance(self._node, tape.Leaf) or isinstance(whole, tape.Leaf):
            raise GradientError(
                "a Tensor made with requires_grad=True, or a view of one, cannot be changed in place while operations "
                "are recorded; do it under no_grad(), or compute a new Tensor"
            )
        if self._view is None or (whole is None and not with_history):
            return
        for each in (self, *self._sharers()):
            view = each._view
            if view is None or view.root is not self._view.root:
                continue
            if view.steps is None or isinstance(each._node, tape.Leaf):
                raise GradientError(
                    "a Tensor cannot be changed in place while operations are recorded if a view of the same memory "
                    "was made under no_grad(), or made to require grad itself; change a clone() of it"
                )

    def _sharers(self) -> list[Tensor]:
        """The other Tensors that look at the same memory."""
        found = [] if self._sharing is None else [each() for each in self._sharing]
        return [each for each in found if each is not None and each is not self]

    def _take_history(self, node: tape.Node | tape.Leaf | None) -> None:
        """Take a place on the tape, and with it all that see the same memory."""
        moved = [(self, self._node)]
        if self._view is not None:
            root = self._view.root
            root.node = whole = self._view.written(node)
            for each in self._sharers():
                if each._view is not None and each._view.root is root:
                    moved.append((each, each._node))
                    each._node = each._view.seen(whole)
            node = self._view.seen(whole)
        self._node = node
        for each, old in moved:
            if isinstance(old, tape.Node) and isinstance(each._node, tape.Node):
                each._node.retains_grad, old.retains_grad = old.retains_grad, False

    def _leave(self) -> None:
        """Look no longer at the memory of others."""
        if self._sharing is not None:
            self._sharing[:] = [each for each in self._sharing if each() is not self]
        if self._view is not None and not self._view.steps:
            self._view.root.let_go(self)
        self._sharing = self._view = None

    def write(self, key: Any, values: Any) -> None:
        """Write over some of the values, unrecorded.

        Raises:
            ShapeError: if elements of this Tensor lie on one another, as after expand.
            ArgumentError: if its memory is read-only.
        """
        array = self.array
        if any(stride == 0 and size > 1 for stride, size in zip(array.strides, array.shape, strict=True)):
            raise ShapeError("elements of this Tensor lie on one another, as after expand(); change a clone() of it")
        about_to_write(array)
        self.host_range = None
        with quiet():
            array[key] = values

    def put_off_by(self, layer: object) -> Tensor:
        """The Tensor itself; where its values wait and the memory turns out not to suffice, this layer is named."""
        if isinstance(self._array, Waiting):
            self._array.origin = layer
        return self

    def clone(self) -> Tensor:
        """A copy that gradients flow through."""
        return apply(Cast(self.dtype), self)

    # ------------------------------------------------------------------ leaving the tape

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: on the NumPy backend the very memory, from a GPU a copy."""
        return to_cpu(self.handed_out())

    def item(self) -> Any:
        """The one value as a Python number.

        Raises:
            ShapeError: if there is not exactly one.
        """
        return self._one("item()")

    def _one(self, what: str) -> Any:
        if self.numel() != 1:
            raise ShapeError(f"{what} expects a Tensor of one element, got shape {self.shape}")
        return self.array.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.array.tolist()

    def __float__(self) -> float:
        return float(self._one("float()"))

    def __int__(self) -> int:
        return int(self._one("int()"))

    def __index__(self) -> int:
        """For `range(t)`, `a_list[t]`: of one whole number."""
        if self.is_floating_point():
            raise DTypeError(f"an index is a whole number, got a Tensor of {self.dtype}; convert with int(t)")
        return int(self._one("an index"))

    def __round__(self, digits: int | None = None) -> Any:
        return round(self._one("round()"), digits)

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise ShapeError(
                f"whether a Tensor of shape {self.shape} is true is not clear; say which is meant: t.any(), t.all(), "
                f"or any(t is each for each in a_list) where `t in a_list` asked"
            )
        return bool(self.array.item())

    def __contains__(self, value: object) -> bool:
        """Whether an element equals a number, or the number in a Tensor."""
        if not _is_operand(value):
            raise DTypeError(f"`x in tensor` looks for a number, got {type(value).__name__}")
        return bool((self == value).any())

    def __format__(self, spec: str) -> str:
        """A single number as numbers are written, `f"{loss:.4f}"`; everything else as `repr` does."""
        if not self.shape:
            return format(self.item(), spec)
        if spec:
            raise ShapeError(f"the format {spec!r} is for single numbers, got shape {self.shape}; see t.item()")
        return repr(self)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    def __array__(self, dtype: DType = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """For NumPy's functions, such as `np.asarray(t)`: what `numpy` gives, where nothing is lost unasked.

        Raises:
            GradientError: if the Tensor requires grad: NumPy's result would have no history. `numpy` goes on without.
            BackendError: if the values lie on a GPU; `numpy` copies them.
        """
        self._check_given_out("NumPy")
        if not isinstance(self.array, np.ndarray):
            raise BackendError(f"NumPy was given a Tensor of {backend_of(self.array)}; t.numpy() copies its values")
        return np.array(self.handed_out(), dtype=dtype, copy=copy)

    def _check_given_out(self, to: str) -> None:
        if self.requires_grad:
            raise GradientError(
                f"{to} cannot compute with a Tensor that requires grad, since the result would have no history; "
                "use t.detach(), or t.numpy()"
            )

    def __dlpack__(self, **how: Any) -> Any:
        """For other libraries, `torch.from_dlpack(t)`: they share the memory, on a GPU, too.

        Raises:
            GradientError: if the Tensor requires grad: what they compute would have no history.
            BackendError: if its array is one of the emulated backend, which stands for memory that nobody can share.
        """
        self._check_given_out("another library")
        self.__dlpack_device__()  # which says it where nobody can share the memory
        return self.handed_out().__dlpack__(**how)

    def __dlpack_device__(self) -> Any:
        if not hasattr(self.array, "__dlpack_device__"):
            raise BackendError(
                f"a Tensor of {backend_of(self.array)} shares its memory with nobody; t.numpy() copies it"
            )
        return self.array.__dlpack_device__()

    @property
    def __cuda_array_interface__(self) -> Any:
        """For libraries that compute on a GPU, such as Numba: there alone a Tensor has it."""
        interface = self.array.__cuda_array_interface__  # an AttributeError on the host
        self._check_given_out("another library")
        self.handed_out()
        return interface

    # ------------------------------------------------------------------ arithmetic

    def __add__(self, other: Any) -> Tensor:
        return _binary(Add(), self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _binary(Add(), other, self)

    def __sub__(self, other: Any) -> Tensor:
        _check_minus(self, other)
        return _binary(Subtract(), self, other)

    def __rsub__(self, other: Any) -> Tensor:
        _check_minus(self, other)
        return _binary(Subtract(), other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _binary(Multiply(), self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _binary(Multiply(), other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _binary(Divide(), _as_float(self), other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _binary(Reciprocal(), other, _as_float(self))

    def __mod__(self, other: Any) -> Tensor:
        return _remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return _remainder(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return _floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _floor_divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _binary(Power(), self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _binary(Power(), other, self)

    def __neg__(self) -> Tensor:
        _check_minus(self, self)
        return apply(Negate(), self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return self.abs()

    def __matmul__(self, other: Any) -> Tensor:
        return self.matmul(operand(other)) if _is_operand(other) else NotImplemented

    def __rmatmul__(self, other: Any) -> Tensor:
        return as_tensor(operand(other)).matmul(self) if _is_operand(other) else NotImplemented

    def matmul(self, other: Tensor) -> Tensor:
        """The matrix product.

        Shape:
            (..., m, k) @ (..., k, n) -> (..., m, n); the leading dimensions broadcast; a 1-D Tensor is a row or column.

        Raises:
            ShapeError: if the inner sizes differ or a factor is a single number.
        """
        other = as_tensor(other)
        inner = other.shape[0 if other.ndim == 1 else -2] if other.ndim else None
        if not self.ndim or inner is None or self.shape[-1] != inner:
            raise ShapeError(f"matmul expects (..., m, k) @ (..., k, n), got {self.shape} @ {other.shape}")
        check_broadcast(self.shape[:-2], other.shape[:-2], "matmul")
        return apply(MatMul(), self, other)

    def pow(self, exponent: Any) -> Tensor:
        """`x ** exponent`, element by element."""
        return self**exponent

    def exp(self) -> Tensor:
        """`e ** x`, element by element."""
        return apply(Exp(), _as_float(self))

    def log(self) -> Tensor:
        """The natural logarithm, element by element."""
        return apply(Log(), _as_float(self))

    def sqrt(self) -> Tensor:
        """The square root, element by element."""
        return apply(Sqrt(), _as_float(self))

    def abs(self) -> Tensor:
        """The absolute value, element by element."""
        return apply(Abs(), self)

    def clamp(self, min: Any = None, max: Any = None) -> Tensor:
        """Every value brought within [min, max]; a bound may be left out, or be a Tensor of bounds.

        Raises:
            ArgumentError: if both are left out, or one does not fit the type of the values.
            ShapeError: if the shapes of Tensors do not broadcast.
        """
        if min is None and max is None:
            raise ArgumentError("clamp expects at least one of min and max")
        low, high = (None if bound is None else operand(bound) for bound in (min, max))
        if isinstance(low, Tensor) or isinstance(high, Tensor):
            clamped = self
            for bound, compare in ((low, operator.lt), (high, operator.gt)):
                if bound is not None:
                    outside = compare(clamped, bound)
                    clamped = apply(Where(outside.array), bound, clamped)
            return clamped
        fractional = isinstance(low, float) or isinstance(high, float)
        clamped = _as_float(self) if fractional else self
        for bound in (low, high):
            if bound is not None:
                check_fits(bound, clamped.dtype)
        return apply(Clamp(low, high), clamped)

    # ------------------------------------------------------------------ comparison: plain results without history

    def __eq__(self, other: object) -> Any:
        """Whether each two elements are equal; a single False beside what is neither Tensor, array nor number.

        `tensor in a_list` compares values like this, as in PyTorch, which is an error or wrong where another Tensor is
        met. To look for the Tensor itself: `any(tensor is each for each in a_list)`, or a set, or a dict.
        """
        return _compare(operator.eq, self, other)

    def __ne__(self, other: object) -> Any:
        """The opposite of `==`."""
        return _compare(operator.ne, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _compare(operator.lt, self, other)

    def __le__(self, other: Any) -> Tensor:
        return _compare(operator.le, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _compare(operator.gt, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _compare(operator.ge, self, other)

    # ------------------------------------------------------------------ masks and bits: plain results without history

    def __invert__(self) -> Tensor:
        return own(xp.asarray(~_bits(self, "~")))

    def __and__(self, other: Any) -> Any:
        return _bitwise(operator.and_, "&", self, other)

    def __or__(self, other: Any) -> Any:
        return _bitwise(operator.or_, "|", self, other)

    def __xor__(self, other: Any) -> Any:
        return _bitwise(operator.xor, "^", self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def any(self, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """Whether any value is not 0: of all, or along one or several dimensions."""
        return own(
            xp.asarray((self.array != 0).any(axis=axes_of(dim, self.ndim, "any"), keepdims=flag(keepdim, _KEEPDIM)))
        )

    def all(self, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """Whether no value is 0: of all, or along one or several dimensions."""
        return own(
            xp.asarray((self.array != 0).all(axis=axes_of(dim, self.ndim, "all"), keepdims=flag(keepdim, _KEEPDIM)))
        )

    # ------------------------------------------------------------------ reductions

    def sum(self, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """The sum of all values, or along one or several dimensions."""
        summed = self.long() if self.dtype.kind in "bu" else self  # NumPy would make uint64 of uint8
        return apply(Sum(axes_of(dim, self.ndim, "sum"), flag(keepdim, _KEEPDIM)), summed)

    def mean(self, dim: int | Sequence[int] | None = None, keepdim: bool = False) -> Tensor:
        """The mean of all values, or along one or several dimensions.

        Raises:
            DTypeError: if the values are not floats.
        """
        if not self.is_floating_point():
            raise DTypeError(f"mean expects floats, got {self.dtype}; convert with .float()")
        return apply(Mean(axes_of(dim, self.ndim, "mean"), flag(keepdim, _KEEPDIM)), self)

    def var(
        self,
        dim: int | Sequence[int] | None = None,
        correction: float | None = 1,
        keepdim: bool = False,
        unbiased: bool | None = None,
    ) -> Tensor:
        """The variance: `sum (x - mean)^2 / (n - correction)`; correction 0 is the biased one of batch norm.

        NaN or infinite where there are no more than `correction` values.

        Args:
            unbiased: True is correction 1, False is correction 0.
        """
        if isinstance(dim, bool):  # PyTorch's x.var(False)
            dim, unbiased = None, dim
        if unbiased is not None:
            correction = int(flag(unbiased, "unbiased"))
        correction = 1 if correction is None else correction
        axes = axes_of(dim, self.ndim, "var")
        count = math.prod(self.shape[axis] for axis in axes)
        deviation = self - self.mean(axes, keepdim=True)
        return (deviation * deviation).sum(axes, keepdim=keepdim) / max(0, count - correction)

    def max(self, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
        """The largest value of all, or along a dimension the pair (values, indices). NaN wins.

        With a Tensor in the place of the dimension, the larger of each two values: `gpunet.maximum`.
        """
        return _binary(Maximum(), self, dim) if isinstance(dim, Tensor) else self._extreme(dim, keepdim, largest=True)

    def min(self, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
        """The smallest value of all, or along a dimension the pair (values, indices). NaN wins.

        With a Tensor in the place of the dimension, the smaller of each two values: `gpunet.minimum`.
        """
        return _binary(Minimum(), self, dim) if isinstance(dim, Tensor) else self._extreme(dim, keepdim, largest=False)

    def _extreme(self, dim: int | None, keepdim: bool, largest: bool) -> Tensor | Extreme:
        name = "max" if largest else "min"
        if dim is None:
            self._check_not_empty(range(self.ndim), name)
            return apply(Extremum(axes_of(None, self.ndim, name), flag(keepdim, _KEEPDIM), largest), self)
        indices = self.argmax(dim, keepdim=True) if largest else self.argmin(dim, keepdim=True)
        values = self._take_along(indices, axis_of(dim, self.ndim, name))
        return Extreme(values, indices) if keepdim else Extreme(values.squeeze(dim), indices.squeeze(dim))

    def _take_along(self, indices: Tensor, axis: int) -> Tensor:
        grid = list(xp.ogrid[tuple(slice(0, size) for size in indices.shape)])
        grid[axis] = indices.array
        return self[tuple(grid)]

    def argmax(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the largest value is: in the flattened Tensor, or along a dimension."""
        return self._where_extreme(xp.argmax, dim, keepdim, "argmax")

    def argmin(self, dim: int | None = None, keepdim: bool = False) -> Tensor:
        """Where the smallest value is: in the flattened Tensor, or along a dimension."""
        return self._where_extreme(xp.argmin, dim, keepdim, "argmin")

    def _where_extreme(self, find: Callable[..., Array], dim: int | None, keepdim: bool, name: str) -> Tensor:
        if dim is None or (not self.ndim and axes_of(dim, 0, name) == ()):
            self._check_not_empty(range(self.ndim), name)
            found = xp.asarray(find(self.array))
            return own(found.reshape((1,) * self.ndim) if flag(keepdim, _KEEPDIM) else found)
        axis = axis_of(dim, self.ndim, name)
        self._check_not_empty([axis], name)
        found = xp.asarray(find(self.array, axis=axis))
        return own(xp.expand_dims(found, axis) if flag(keepdim, _KEEPDIM) else found)

    def _check_not_empty(self, axes: Iterable[int], name: str) -> None:
        if any(self.shape[axis] == 0 for axis in axes):
            raise ShapeError(f"{name} expects at least one element, got shape {self.shape}")

    # ------------------------------------------------------------------ shape

    def reshape(self, *shape: Any) -> Tensor:
        """The same values in another shape; one size may be -1 and is then worked out.

        Raises:
            ShapeError: if the number of elements differs.
        """
        wanted = sizes_of(shape, "reshape")
        known = 1
        for size in wanted:
            known *= size if size != -1 else 1
        unknown = wanted.count(-1)
        fits = known == self.numel() if not unknown else known > 0 and self.numel() % known == 0
        if unknown > 1 or not fits or any(size < -1 for size in wanted):
            raise ShapeError(f"cannot reshape a Tensor of shape {self.shape} ({self.numel()} elements) to {wanted}")
        return apply(Reshape(wanted), self)

    def view(self, *shape: Any) -> Tensor:
        """`reshape` under PyTorch's other name; copies where the memory order asks for it."""
        return self.reshape(*shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Dimensions `start_dim` to `end_dim` joined into one.

        Raises:
            ShapeError: if there is no such dimension.
            ArgumentError: if the last comes before the first.
        """
        if not self.ndim:
            return self.reshape(1)
        start, end = axis_of(start_dim, self.ndim, "flatten"), axis_of(end_dim, self.ndim, "flatten")
        if start > end:
            raise ArgumentError(f"flatten expects start_dim before end_dim, got {start_dim} and {end_dim}")
        joined = 1
        for size in self.shape[start : end + 1]:
            joined *= size
        return self.reshape(*self.shape[:start], joined, *self.shape[end + 1 :])

    def permute(self, *dims: Any) -> Tensor:
        """The dimensions in another order: `x.permute(0, 2, 3, 1)`.

        Raises:
            ShapeError: if not each dimension is named once.
        """
        axes = tuple(axis_of(dim, self.ndim, "permute") for dim in sizes_of(dims, "permute"))
        if sorted(axes) != list(range(self.ndim)):
            raise ShapeError(f"permute expects each of {self.ndim} dimensions once, got {dims}")
        return apply(Permute(axes), self)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two dimensions exchanged."""
        axes = list(range(self.ndim))
        first, second = axis_of(dim0, self.ndim, "transpose"), axis_of(dim1, self.ndim, "transpose")
        axes[first], axes[second] = second, first
        return apply(Permute(tuple(axes)), self)

    def expand(self, *shape: Any) -> Tensor:
        """Broadcast to a larger shape; -1 keeps a size.

        Raises:
            ShapeError: if a size that is not 1 would change.
        """
        wanted = sizes_of(shape, "expand")
        added = len(wanted) - self.ndim
        sizes = tuple(
            self.shape[axis - added] if size == -1 and axis >= added else size for axis, size in enumerate(wanted)
        )
        fits = (
            added >= 0
            and min(sizes, default=0) >= 0
            and all(old in (1, new) for old, new in zip(self.shape, sizes[added:], strict=True))
        )
        if not fits:
            raise ShapeError(f"cannot expand a Tensor of shape {self.shape} to {wanted}")
        return apply(Expand(sizes), self)

    def squeeze(self, dim: int | Sequence[int] | None = None) -> Tensor:
        """Without its dimensions of size 1, or without those of them that are named."""
        axes = () if dim == () else axes_of(dim, self.ndim, "squeeze")
        return self.reshape(tuple(size for axis, size in enumerate(self.shape) if size != 1 or axis not in axes))

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new dimension of size 1 in front of `dim`."""
        axis = axis_of(dim, self.ndim + 1, "unsqueeze")
        return self.reshape(*self.shape[:axis], 1, *self.shape[axis:])

    def __getitem__(self, key: Any) -> Tensor:
        key = as_key(key)
        try:
            return apply(Index(key), self)
        except GpunetError:
            raise
        except (IndexError, TypeError, ValueError) as error:
            raise ShapeError(f"cannot index a Tensor of shape {self.shape}: {error}") from None

    # ------------------------------------------------------------------ type of number

    def to(
        self,
        *target: Any,
        dtype: DType = None,
        device: Any = None,
        non_blocking: bool = False,
        copy: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        """The values as another type of number, `x.to(float16)`, as that of another Tensor, or on a device.

        Gradients flow between floats. The device is that of the active backend; from a GPU, "cpu" makes a copy, to look
        at and to write to files. How the values lie in memory is left to gpunet.

        Raises:
            DTypeError: if there is no such type of number that a Tensor can hold.
            BackendError: if the device is not that of the active backend.
            ArgumentError: for anything else.
        """
        for each in target:
            if isinstance(each, Tensor):
                dtype = each.dtype
            elif is_device(each):
                device = each
            elif not isinstance(each, bool):  # non_blocking, and copy
                dtype = number_type(each)
        moved = self if device is None else self._on(device)
        wanted = moved.dtype if dtype is None else number_type(dtype)
        if wanted == moved.dtype:
            return moved.clone() if copy and moved is self else moved
        if wanted.kind != "f":
            with quiet():
                return own(moved.array.astype(wanted))
        return apply(Cast(wanted), moved)

    def _on(self, wanted: Any) -> Tensor:
        if device(wanted).type == "cpu" and self.is_cuda:
            return own(to_cpu(self.array))
        check_device(wanted, "to")
        return self

    def cpu(self) -> Tensor:
        """The Tensor itself on the NumPy backend; from a GPU a copy without history, to look at and to save."""
        return self.to("cpu")

    def cuda(self, device: Any = "cuda", non_blocking: bool = False) -> Tensor:
        """The Tensor itself on the backend of the GPU; elsewhere an error says how to get there."""
        return self.to("cuda" if device is None else device)

    def contiguous(self, memory_format: Any = None) -> Tensor:
        """The Tensor itself, or, of a view in another order such as `x.T`, a copy, which no longer changes with it.

        How values lie in memory is otherwise left to gpunet, and `view` copies where it must.
        """
        return self.clone() if self._sharers() and not self.array.flags.c_contiguous else self

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """True: see `contiguous`."""
        return True

    if TYPE_CHECKING:  # functions of gpunet.functions that are methods, too

        def __getattr__(self, name: str) -> Any: ...

        def __setitem__(self, key: Any, value: Any) -> None: ...


class _Watching(threading.local):
    """Who is told of what is recorded in this thread."""

    callback: Callable[[Operation, tuple[Any, ...], Tensor], None] | None = None


_watching = _Watching()


@contextlib.contextmanager
def watch_operations(callback: Callable[[Operation, tuple[Any, ...], Tensor], None]) -> Iterator[None]:
    """Call `callback(operation, inputs, result)` for each operation that this thread records, while the block lasts.

    The inputs are Tensors, already of the types that the operation wants, or plain numbers.
    """
    before, _watching.callback = _watching.callback, callback
    try:
        yield
    finally:
        _watching.callback = before


@quiet()
def apply(operation: Operation, *inputs: Any) -> Tensor:
    """Run an operation on Tensors (or plain numbers), and record it where one of them needs a gradient.

    The inputs are first brought to the types that the operation declares.

    Raises:
        DTypeError: if the Tensors are of different types and the operation refuses that.
        BackendError: if an input belongs to another backend than the active one.
        OutOfMemoryError: if the memory does not suffice.
    """
    if operation.autocast is not None and is_autocast_enabled():
        inputs = _cast(inputs, lambda dtype: input_dtype(operation, dtype))
    if operation.mixed is not None:
        inputs = _of_one_type(operation, inputs)
    arrays: list[Any] = []
    nodes: list[tape.Node | tape.Leaf | None] = []
    recording = tape.is_grad_enabled()
    for value in inputs:
        if isinstance(value, Tensor):
            array = value._array
            if not isinstance(array, xp.ndarray) and not (operation.takes_waiting and is_waiting(array)):
                array = value.array
                check_active(array, f"an input of {type(operation).__name__}")
            arrays.append(array)
            nodes.append(value._node if recording else None)
        elif hasattr(value, "dtype") and not is_array(value):
            raise DTypeError(f"{type(operation).__name__}: {_not_a_tensor(value)}")
        else:
            arrays.append(value)
            nodes.append(None)
    if operation.sums:
        operation = float32_inside(operation, arrays[0].dtype)
    operation.needs_grad = needs_grad = tuple([node is not None for node in nodes])
    try:
        made = operation.forward(*arrays)
    except OutOfMemoryError:
        raise  # told by what had been put off
    except MemoryError as error:
        raise OutOfMemoryError.during(operation, arrays) from error
    # A NumPy reduction returns a scalar, not an array.
    result = own(made if isinstance(made, Waiting) else xp.asarray(made))
    if True in needs_grad:
        result._node = tape.Node(operation, tuple(nodes), result.shape)
        if _watching.callback is not None:
            _watching.callback(operation, inputs, result)
    if operation.views and xp.may_share_memory(made, arrays[0]):
        result.share_with(inputs[0], operation)
    return result


def _of_one_type(operation: Operation, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs of an operation that wants its Tensors in one type.

    float64 does not creep in: a float Tensor decides over integers and numbers, and a number makes integers float32.
    Each gradient goes back in the type of its own Tensor.
    """
    dtypes = [value._array.dtype for value in inputs if isinstance(value, Tensor)]
    if not dtypes or (dtypes[0].kind == "f" and dtypes.count(dtypes[0]) == len(dtypes)):  # the usual case
        return inputs
    if operation.mixed == "widest":
        widest = functools.reduce(_common_dtype, dtypes)
        if widest.kind != "f" and any(isinstance(value, float) for value in inputs):
            widest = np.dtype(np.float32)
        for value in inputs:
            if not isinstance(value, Tensor):
                check_fits(value, widest)
        return _cast(inputs, lambda dtype: widest)
    allowed = operation.mixed == "half input" and dtypes[0] == np.float16 and set(dtypes[1:]) == {np.dtype(np.float32)}
    if len(set(dtypes)) > 1 and not allowed:
        raise DTypeError.mixed(operation.function, dict(zip(operation.names, dtypes, strict=False)))
    return inputs


def _cast(inputs: tuple[Any, ...], to: Callable[[Any], Any]) -> tuple[Any, ...]:
    return tuple([value.to(to(value.dtype)) if isinstance(value, Tensor) else value for value in inputs])


def _common_dtype(a: DType, b: DType) -> Any:
    """The type that numbers of two types are brought to: the float of a float and an integer, else the wider."""
    if (a.kind == "f") == (b.kind == "f"):
        return np.promote_types(a, b)
    return a if a.kind == "f" else b


def own(array: Any, requires_grad: bool = False) -> Tensor:
    """A Tensor of memory that nobody outside the library holds, or of what waits: `Tensor` cannot know that."""
    made = object.__new__(Tensor)
    made._array = array
    made.host_range = made._node = made._sharing = made._view = None
    if requires_grad:
        made.requires_grad = requires_grad
    return made


def tensor(data: Any, dtype: DType = None, requires_grad: bool = False, device: Any = None) -> Tensor:
    """Make a Tensor on the active backend from numbers, nested lists, an array or a Tensor. Always copies.

    Python floats become float32 and Python integers int64; an array keeps its type. It may be one of another library,
    such as PyTorch: its values are taken, not its history. bfloat16 becomes float32, exactly.

    Raises:
        DTypeError: if the data are not numbers, or requires_grad is asked for integers.
        ShapeError: if nested lists are ragged.
        ArgumentError: if a number of Python does not fit `dtype`, or 64 bits.
        BackendError: if `device` is not that of the active backend.

    Example:
        >>> tensor([1.0, 2.0], requires_grad=True)
        tensor([1., 2.], requires_grad=True)
    """
    dtype = None if dtype is None else number_type(dtype)
    check_device(device, "tensor")
    if isinstance(data, Tensor):
        data = data.array
    elif hasattr(data, "dtype"):
        data = from_outside(data, "tensor")
        check_numbers(data.dtype)
    else:
        data = _from_python(data, dtype)
        if dtype is None and data.dtype == np.float64:
            dtype = np.dtype(np.float32)
    with quiet():
        made = own(xp.array(asarray(data), dtype=dtype), requires_grad)
    if isinstance(data, np.ndarray):
        made.note_range(data)
    return made


def _from_python(data: Any, dtype: Any) -> np.ndarray[Any, Any]:
    if isinstance(data, list | tuple) and any(hasattr(item, "dtype") for item in data):
        data = [item.array if isinstance(item, Tensor) else from_outside(item, "tensor") for item in data]
        data = [to_cpu(item) for item in data]
    try:
        array = np.array(data) if np.size(data) else np.array(data, dtype=np.float32)
    except ValueError:
        raise ShapeError("tensor expects nested lists of equal lengths, got a ragged list") from None
    largest = np.iinfo(np.int64).max
    if array.dtype == np.uint64 or (array.dtype == object and all(isinstance(one, int) for one in array.flat)):
        raise ArgumentError(f"a Tensor holds whole numbers from {-largest - 1} to {largest}, got {data!r:.60}")
    check_numbers(array.dtype)
    if dtype is not None:
        for number in (array.min().item(), array.max().item()) if array.size else ():  # NaN if there is one
            check_fits(number, dtype)
    return array


def _handed_in(data: Any) -> Array:
    """The array that a Tensor was given to hold, which whoever gave it may still write to.

    Raises:
        DTypeError: if it can only be had as a copy.
    """
    if not is_array(data) or not data.dtype.isnative:
        got = f"one of {data.dtype}" if is_array(data) else type(data).__name__
        raise DTypeError(f"Tensor(data) holds an array as it is, got {got}; gpunet.tensor(data) makes a copy")
    check_numbers(data.dtype)
    data = np.asarray(data) if isinstance(data, np.ndarray | np.generic) else data  # a matrix has a * of its own
    hand_out(data)
    return data


def as_tensor(data: Any, dtype: DType = None, device: Any = None) -> Tensor:
    """The data as a Tensor: a Tensor as it is, an array without a copy, anything else through `tensor`."""
    check_device(device, "as_tensor")
    if isinstance(data, Tensor):
        return data if dtype is None else data.to(dtype)
    if is_array(data) and data.dtype.isnative and not isinstance(data, np.generic):
        check_active(data, "the data")
        return Tensor(xp.asarray(data, dtype=None if dtype is None else number_type(dtype)))
    return tensor(data, dtype)


def _binary(operation: Operation, a: Any, b: Any) -> Tensor:
    if not (_is_operand(a) and _is_operand(b)):
        return NotImplemented
    a, b = operand(a), operand(b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        check_broadcast(a.shape, b.shape, type(operation).__name__.lower())
    return apply(operation, a, b)


def _is_operand(value: Any) -> bool:
    """Whether an operator takes what stands beside the Tensor. Where not, Python asks the other, and then says so."""
    return isinstance(value, (Tensor, int, float)) or hasattr(value, "dtype")


def operand(value: Any) -> Any:
    """A Tensor or a plain number of Python, for what stands beside a Tensor in arithmetic.

    Raises:
        ArgumentError: for a whole number of more than 64 bits.
        DTypeError: for an array of another library, whose history would be lost.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ArgumentError(f"a whole number beside a Tensor may have 64 bits, got one of {value.bit_length()}")
        return value
    if isinstance(value, float):
        return float(value) if isinstance(value, np.generic) else value  # np.float64 is a float, but a strict one
    if isinstance(value, np.generic) and is_real(value.dtype):
        return value.item()
    if hasattr(value, "dtype") and not is_array(value):
        raise DTypeError(_not_a_tensor(value))
    return as_tensor(value)


def _not_a_tensor(value: Any) -> str:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return f"Tensors and a {kind} do not go together; gpunet.tensor(...) makes a Tensor of its values"


def _as_float(value: Tensor) -> Tensor:
    return value if value.is_floating_point() else value.float()


def _remainder(a: Any, b: Any) -> Tensor:
    _check_divisor(a, b)
    return _binary(Remainder(), a, b)


def _floor_divide(a: Any, b: Any) -> Any:
    """Constant but for its steps, so a plain result without history."""
    _check_divisor(a, b)
    return _compare(operator.floordiv, a, b) if isinstance(a, Tensor) else _compare(_reversed_floordiv, b, a)


def _reversed_floordiv(a: Any, b: Any) -> Any:
    return b // a


def _check_divisor(a: Any, b: Any) -> None:
    def is_whole(value: Any) -> bool:
        return value.dtype.kind in "biu" if hasattr(value, "dtype") else isinstance(value, int)

    if is_whole(a) and is_whole(b) and bool((operand(b) == 0).any() if hasattr(b, "dtype") else b == 0):
        raise ArgumentError("a whole number cannot be divided by 0; convert with .float()")


def _check_minus(a: Tensor, b: Any) -> None:
    if a.dtype.kind == "b" and (isinstance(b, bool) or getattr(getattr(b, "dtype", None), "kind", "") == "b"):
        raise DTypeError("there is no minus of booleans; the opposite of a mask is ~mask, where two differ is a ^ b")


def _bitwise(function: Callable[[Any, Any], Any], sign: str, a: Tensor, b: Any) -> Any:
    if not _is_operand(b):
        return NotImplemented
    b = operand(b)
    if isinstance(b, Tensor):
        check_broadcast(a.shape, b.shape, sign)
    elif isinstance(b, float):
        raise DTypeError(f"{sign} is for booleans, such as masks, and whole numbers, got {b}")
    else:
        check_fits(b, a.dtype)
    return own(xp.asarray(function(_bits(a, sign), _bits(b, sign) if isinstance(b, Tensor) else b)))


def _bits(x: Tensor, sign: str) -> Array:
    check_active(x.array, f"an operand of {sign}")
    if x.is_floating_point():
        raise DTypeError(f"{sign} is for booleans, such as masks, and whole numbers, got a Tensor of {x.dtype}")
    return x.array


def _compare(compare: Callable[..., Any], a: Tensor, b: Any) -> Any:
    if not _is_operand(b):
        return NotImplemented
    other = operand(b)
    check_active(a.array, "the left-hand side of a comparison")
    if isinstance(other, Tensor):
        check_broadcast(a.shape, other.shape, "comparison (which `tensor in a_list` makes, too)")
        check_active(other.array, "the right-hand side of a comparison")
        other = other.array
    return own(xp.asarray(compare(a.array, other)))


def as_key(key: Any) -> tuple[Any, ...]:
    """What stands between the brackets of `t[...]`, as one for arrays: a single element is a view, too."""
    parts = tuple(_as_index(part) for part in (key if isinstance(key, tuple) else (key,)))
    return parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)


def _as_index(part: Any) -> Any:
    if isinstance(part, Tensor):
        if part.dtype == np.uint8:
            raise DTypeError("an index of uint8 is a mask in PyTorch, and positions in NumPy; say .to(bool) or .long()")
        return part.array
    if isinstance(part, list) and not part:
        return asarray(part, np.int64)
    if isinstance(part, list) or (backend_of(part) == "numpy" and active_backend() != "numpy"):
        return asarray(part)
    return part
