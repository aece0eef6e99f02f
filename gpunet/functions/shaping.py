"""Functions that cut, turn, repeat and join Tensors, and compute nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from gpunet.arguments import axes_of, axis_of, dimension, sizes_of
from gpunet.backend import Array, asarray, xp
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_choice, check_tensor, whole_number
from gpunet.functional.shaping import cat, where
from gpunet.ops.shaping import Diagonal
from gpunet.tensor import Tensor, apply, own

__all__ = [
    "broadcast_tensors",
    "broadcast_to",
    "chunk",
    "concat",
    "concatenate",
    "diag",
    "diagonal",
    "diff",
    "expand_as",
    "flip",
    "fliplr",
    "flipud",
    "hstack",
    "meshgrid",
    "moveaxis",
    "movedim",
    "narrow",
    "ravel",
    "repeat",
    "repeat_interleave",
    "reshape_as",
    "roll",
    "rot90",
    "select",
    "split",
    "swapaxes",
    "swapdims",
    "t",
    "tensor_split",
    "tile",
    "tril",
    "triu",
    "unbind",
    "unflatten",
    "view_as",
    "vstack",
]

concat = concatenate = cat

# ---------------------------------------------------------------------- cutting


def split(tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of one size, the last perhaps smaller; or parts of the sizes that are listed.

    Shape:
        (..., L, ...) to parts (..., size, ...).

    Raises:
        ShapeError: if listed sizes do not add up to that of the dimension.
        ArgumentError: if a size is negative, or the one size is 0.
    """
    check_tensor(tensor, "split")
    axis = axis_of(dim, tensor.ndim, "split")
    length = tensor.shape[axis]
    if isinstance(split_size_or_sections, list | tuple):
        sizes = [whole_number(size, "each size", "split", 0) for size in split_size_or_sections]
        if sum(sizes) != length:
            raise ShapeError(f"split: the sizes {sizes} must add up to {length}, that of dimension {dim}")
    else:
        size = whole_number(split_size_or_sections, "split_size", "split", 1 if length else 0)
        sizes = [min(size, length - start) for start in range(0, length, size)] if length else [0]
    return _parts(tensor, axis, sizes)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most so many parts of one size, the last perhaps smaller.

    Shape:
        (..., L, ...) to parts (..., ceil(L / chunks), ...).

    Raises:
        ArgumentError: if `chunks` is not 1 or more.
    """
    check_tensor(input, "chunk")
    length = input.shape[axis_of(dim, input.ndim, "chunk")]
    count = whole_number(chunks, "chunks", "chunk", 1)
    return split(input, max(1, -(-length // count)), dim) if length else _parts(input, dim % input.ndim, [0] * count)


def tensor_split(input: Tensor, indices_or_sections: int | Sequence[int] | Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """So many parts of sizes that differ by at most 1, or the parts between the positions that are listed.

    Shape:
        (..., L, ...) to parts (..., size, ...).

    Raises:
        ArgumentError: if their number is not 1 or more.
    """
    check_tensor(input, "tensor_split")
    axis = axis_of(dim, input.ndim, "tensor_split")
    length = input.shape[axis]
    if isinstance(indices_or_sections, Tensor):
        indices_or_sections = indices_or_sections.tolist()
    if isinstance(indices_or_sections, list | tuple):
        places = [dimension(place, "tensor_split") for place in indices_or_sections]
        return tuple(input[_along(axis, slice(start, end))] for start, end in itertools.pairwise([0, *places, length]))
    count = whole_number(indices_or_sections, "sections", "tensor_split", 1)
    return _parts(input, axis, [length // count + (part < length % count) for part in range(count)])


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along a dimension, without it.

    Shape:
        (..., L, ...) to L Tensors (..., ...).

    Raises:
        ShapeError: if there is no such dimension.
    """
    check_tensor(input, "unbind")
    axis = axis_of(dim, input.ndim, "unbind")
    return tuple(input[_along(axis, place)] for place in range(input.shape[axis]))


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """The slice at a position along a dimension, without it.

    Shape:
        (..., L, ...) to (..., ...).

    Raises:
        ShapeError: if there is no such dimension or position.
    """
    check_tensor(input, "select")
    return input[_along(axis_of(dim, input.ndim, "select"), dimension(index, "select"))]


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`length` positions along a dimension, from `start` on.

    Shape:
        (..., L, ...) to (..., length, ...).

    Raises:
        ShapeError: if they reach beyond its end.
        ArgumentError: if the length is negative.
    """
    check_tensor(input, "narrow")
    axis = axis_of(dim, input.ndim, "narrow")
    size, start = input.shape[axis], dimension(start, "narrow")
    first, count = start + size if start < 0 else start, whole_number(length, "length", "narrow", 0)
    if not 0 <= first <= first + count <= size:
        raise ShapeError(f"narrow: {count} positions from {start} on do not fit into dimension {dim}, of size {size}")
    return input[_along(axis, slice(first, first + count))]


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of the matrices in two dimensions; it becomes the last dimension.

    Shape:
        (..., m, n) to (..., min(m, n)) for offset 0 and the last two dimensions.

    Raises:
        ArgumentError: if both dimensions are the same.
    """
    check_tensor(input, "diagonal")
    first, second = axes_of((dim1, dim2), input.ndim, "diagonal")
    others = [axis for axis in range(input.ndim) if axis not in (first, second)]
    matrices = input.permute(*others, first, second)
    rows, columns = matrices.shape[-2:]
    start = (max(0, -offset), max(0, offset))
    return apply(Diagonal(start, max(0, min(rows - start[0], columns - start[1]))), matrices)


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with that diagonal.

    Shape:
        (m, n) to (min(m, n),), or (n,) to (n, n), for diagonal 0.

    Raises:
        ShapeError: if the input has another number of dimensions.
    """
    check_tensor(input, "diag")
    if input.ndim == 2:
        return _diagonal(input, diagonal).clone()
    if input.ndim != 1:
        raise ShapeError(f"diag expects a vector or a matrix, got shape {input.shape}")
    size = len(input) + abs(diagonal)
    below, above = (max(0, -diagonal), max(0, diagonal))
    spread = cat([cat([input.new_zeros(above), input]), input.new_zeros(below)]).expand(size, size)
    rows = xp.arange(size)[:, None]
    return where(own(rows + diagonal == xp.arange(size)), spread, input.new_zeros(()))


_diagonal = diagonal


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrices with zeros above their diagonal, or above another that many columns further right.

    Shape:
        (..., m, n); the output has the same.

    Raises:
        ShapeError: if the input has fewer than two dimensions.
    """
    return _triangle(input, "tril", lambda rows, columns: columns <= rows + dimension(diagonal, "tril"))


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrices with zeros below their diagonal, or below another that many columns further right.

    Shape:
        (..., m, n); the output has the same.

    Raises:
        ShapeError: if the input has fewer than two dimensions.
    """
    return _triangle(input, "triu", lambda rows, columns: columns >= rows + dimension(diagonal, "triu"))


def _triangle(input: Tensor, name: str, inside: Any) -> Tensor:
    check_tensor(input, name)
    if input.ndim < 2:
        raise ShapeError(f"{name} expects matrices, got shape {input.shape}")
    kept = inside(xp.arange(input.shape[-2])[:, None], xp.arange(input.shape[-1]))
    return where(own(kept), input, input.new_zeros(()))


def diff(
    input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """The differences between neighbours along a dimension, taken `n` times.

    Shape:
        (..., L, ...) to (..., L - n, ...).

    Raises:
        ShapeError: if there is no such dimension.
        ArgumentError: if `n` is negative.
    """
    check_tensor(input, "diff")
    axis = axis_of(dim, input.ndim, "diff")
    times = whole_number(n, "n", "diff", 0)
    ends = [part for part in (prepend, input, append) if part is not None]
    result = cat(ends, axis) if len(ends) > 1 and times else input.clone()
    for _ in range(times):
        later, earlier = result[_along(axis, slice(1, None))], result[_along(axis, slice(None, -1))]
        result = later ^ earlier if result.dtype.kind == "b" else later - earlier
    return result


def _along(axis: int, part: Any) -> tuple[Any, ...]:
    """The key that takes a part along one dimension, and all along the others."""
    return (slice(None),) * axis + (part,)


def _parts(input: Tensor, axis: int, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    ends = list(itertools.accumulate(sizes, initial=0))
    return tuple(input[_along(axis, slice(start, end))] for start, end in itertools.pairwise(ends))


# ---------------------------------------------------------------------- turning


def flip(input: Tensor, *axes: Any, dims: Any = ()) -> Tensor:
    """The values in the opposite order along some dimensions: `flip(x, (0, 1))`, `x.flip(0, 1)`.

    Shape:
        any; the output has the same.

    Raises:
        ArgumentError: if a dimension comes twice.
    """
    check_tensor(input, "flip")
    turned = [axis_of(dim, input.ndim, "flip") for dim in sizes_of(axes or (dims,), "flip")]
    if len(set(turned)) < len(turned):
        raise ArgumentError(f"flip got a dimension twice: {axes or dims}")
    return input[tuple(slice(None, None, -1 if axis in turned else None) for axis in range(input.ndim))].clone()


def fliplr(input: Tensor) -> Tensor:
    """The values in the opposite order along dimension 1.

    Shape:
        (n, m, ...); the output has the same.

    Raises:
        ShapeError: if there is no dimension 1.
    """
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """The values in the opposite order along dimension 0.

    Shape:
        (n, ...); the output has the same.

    Raises:
        ShapeError: if there is no dimension 0.
    """
    return flip(input, 0)


def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """The values moved on along dimensions; what falls off at the end comes in at the beginning.

    Without `dims` the Tensor is rolled as if it were flat.

    Shape:
        any; the output has the same.

    Raises:
        ArgumentError: if there is not one shift for each dimension.
    """
    check_tensor(input, "roll")
    if dims is None:
        return roll(input.flatten(), shifts, 0).reshape(input.shape)
    steps = shifts if isinstance(shifts, list | tuple) else (shifts,)
    axes = dims if isinstance(dims, list | tuple) else (dims,)
    if len(steps) != len(axes):
        raise ArgumentError(f"roll expects one shift for each dimension, got {shifts} and {dims}")
    for step, dim in zip(steps, axes, strict=True):
        axis = axis_of(dim, input.ndim, "roll")
        place = -dimension(step, "roll") % max(1, input.shape[axis])
        if place:
            input = cat([input[_along(axis, slice(place, None))], input[_along(axis, slice(None, place))]], axis)
        else:
            input = input.clone()
    return input


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by 90 degrees `k` times, from the first of two dimensions towards the second.

    Shape:
        (..., m, n) to (..., n, m) where k is odd.

    Raises:
        ArgumentError: if the dimensions are not two.
    """
    check_tensor(input, "rot90")
    axes = axes_of(dims, input.ndim, "rot90")
    if len(axes) != 2:
        raise ArgumentError(f"rot90 expects two dimensions, got {dims}")
    quarter = dimension(k, "rot90") % 4
    if quarter == 2:
        return flip(input, axes)
    if quarter == 1:
        return flip(input, axes[1]).transpose(*axes)
    return flip(input, axes[0]).transpose(*axes) if quarter else input.clone()


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Some dimensions moved to other places; the others keep their order.

    Shape:
        (a, b, c) with source 0 and destination 2 -> (b, c, a).

    Raises:
        ArgumentError: if there are not as many places as dimensions, or one comes twice.
    """
    check_tensor(input, "movedim")
    sources = axes_of(source, input.ndim, "movedim") if source != () else ()
    places = axes_of(destination, input.ndim, "movedim") if destination != () else ()
    if len(sources) != len(places):
        raise ArgumentError(f"movedim expects as many places as dimensions, got {source} and {destination}")
    order = [axis for axis in range(input.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return input.permute(*order)


moveaxis = movedim


def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two dimensions exchanged: `transpose` under NumPy's name.

    Shape:
        (a, b, c) with 0 and 2 -> (c, b, a).

    Raises:
        ShapeError: if there is no such dimension.
    """
    check_tensor(input, "swapaxes")
    return input.transpose(axis0, axis1)


swapdims = swapaxes


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; a vector as it is.

    Shape:
        (m, n) -> (n, m).

    Raises:
        ShapeError: if there are more dimensions.
    """
    check_tensor(input, "t")
    if input.ndim > 2:
        raise ShapeError(f"t expects a matrix, got shape {input.shape}; see transpose and permute")
    return input.T


def ravel(input: Tensor) -> Tensor:
    """All values in one dimension.

    Shape:
        (a, b, ...) -> (a * b * ...,).

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "ravel")
    return input.flatten()


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One dimension cut up into several, whose sizes have its size as their product; one may be -1.

    Shape:
        (..., a * b, ...) -> (..., a, b, ...).

    Raises:
        ShapeError: if the product is another.
    """
    check_tensor(input, "unflatten")
    axis = axis_of(dim, input.ndim, "unflatten")
    return input.reshape(*input.shape[:axis], *sizes_of((sizes,), "unflatten"), *input.shape[axis + 1 :])


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` to the shape of another Tensor.

    Shape:
        that of `other`.

    Raises:
        ShapeError: if the number of elements differs.
    """
    check_tensor(other, "view_as", "other")
    return input.reshape(other.shape)


reshape_as = view_as


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`expand` to the shape of another Tensor.

    Shape:
        that of `other`.

    Raises:
        ShapeError: if a size that is not 1 would change.
    """
    check_tensor(other, "expand_as", "other")
    return input.expand(other.shape)


def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """`expand` as a function.

    Shape:
        that which is asked for.

    Raises:
        ShapeError: if a size that is not 1 would change.
    """
    check_tensor(input, "broadcast_to")
    return input.expand(*sizes_of((size,), "broadcast_to"))


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All expanded to the one shape that they broadcast to.

    Shape:
        all broadcast.

    Raises:
        ShapeError: if they do not.
    """
    for each in tensors:
        check_tensor(each, "broadcast_tensors")
    ndim = max((each.ndim for each in tensors), default=0)
    shapes = [(1,) * (ndim - each.ndim) + each.shape for each in tensors]
    joined = tuple(next((size for size in sizes if size != 1), 1) for sizes in zip(*shapes, strict=True))
    return tuple(each.expand(joined) for each in tensors)


def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid: of vectors of sizes a and b two Tensors (a, b), or (b, a) with indexing "xy".

    Shape:
        vectors, or single numbers.

    Raises:
        ShapeError: if one has more dimensions.
        ArgumentError: for another way of indexing.
    """
    vectors = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else list(tensors)
    check_choice(indexing, ("ij", "xy"), "indexing", "meshgrid")
    for each in vectors:
        check_tensor(each, "meshgrid")
        if each.ndim > 1:
            raise ShapeError(f"meshgrid expects vectors, got shape {each.shape}")
    order = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        order[:2] = [1, 0]
    laid = [
        each.reshape(tuple(-1 if axis == order.index(i) else 1 for axis in range(len(vectors))))
        for i, each in enumerate(vectors)
    ]
    return broadcast_tensors(*laid)


# ---------------------------------------------------------------------- repeating and joining


def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """The Tensor, so many times along each dimension; dimensions that it lacks are put in front.

    Shape:
        (a, b) with repeats (2, 3, 4) -> (2, 3 * a, 4 * b).

    Raises:
        ShapeError: if there are fewer numbers than dimensions.
        ArgumentError: if one is negative.
    """
    check_tensor(input, "repeat")
    times = [whole_number(each, "each number", "repeat", 0) for each in sizes_of(repeats, "repeat")]
    if len(times) < input.ndim:
        raise ShapeError(f"repeat expects a number for each of {input.ndim} dimensions, got {tuple(times)}")
    shape = (1,) * (len(times) - input.ndim) + input.shape
    between = [size for pair in zip([1] * len(shape), shape, strict=True) for size in pair]  # (1, a, 1, b)
    spread = [size for pair in zip(times, shape, strict=True) for size in pair]  # (times, a, times, b)
    joined = [many * size for many, size in zip(times, shape, strict=True)]
    return input.reshape(between).expand(spread).clone().reshape(joined)


def tile(input: Tensor, dims: Sequence[int]) -> Tensor:
    """`repeat`, where dimensions that are not named are repeated once.

    Shape:
        (a, b) with dims (3,) -> (a, 3 * b).

    Raises:
        ArgumentError: if a number is negative.
    """
    check_tensor(input, "tile")
    times = sizes_of((dims,), "tile")
    return repeat(input, *(1,) * (input.ndim - len(times)), *times)


def repeat_interleave(
    input: Tensor, repeats: int | Tensor, dim: int | None = None, output_size: int | None = None
) -> Tensor:
    """Each value so many times in a row, along a dimension, or of the flattened Tensor.

    Args:
        output_size: what it comes to; it need not be told.

    Shape:
        (a, b) with 2 along dimension 1 -> (a, 2 * b).

    Raises:
        ShapeError: if there is not one number for each position.
        ArgumentError: if one is negative.
    """
    check_tensor(input, "repeat_interleave")
    if dim is None:
        return repeat_interleave(input.flatten(), repeats, 0)
    axis = axis_of(dim, input.ndim, "repeat_interleave")
    size = input.shape[axis]
    times = repeats.tolist() if isinstance(repeats, Tensor) else repeats
    counts = [whole_number(each, "each number", "repeat_interleave", 0) for each in _as_list(times)]
    if len(counts) not in (1, size):
        raise ShapeError(f"repeat_interleave expects one number, or {size}, got {len(counts)}")
    counts = counts * size if len(counts) == 1 else counts
    places = [place for place, count in enumerate(counts) for _ in range(count)]
    return input[_along(axis, _whole(places))]


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _whole(places: list[int]) -> Array:
    return asarray(places, "int64")


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dimension 1, vectors along their only one.

    Shape:
        equal but for that dimension.

    Raises:
        ArgumentError: if there are no Tensors.
        ShapeError: if other sizes differ.
    """
    rows = [each.reshape(1) if not each.ndim else each for each in tensors]
    return cat(rows, 0 if rows and rows[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dimension 0; vectors are rows.

    Shape:
        equal but for that dimension.

    Raises:
        ArgumentError: if there are no Tensors.
        ShapeError: if other sizes differ.
    """
    return cat([each.reshape(1, -1) if each.ndim < 2 else each for each in tensors], 0)
