"""Functions that cut, turn, repeat and join Tensors, and compute nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from gpunet.arguments import axes_of, axis_of, check_broadcast, dimension, number_type, sizes_of
from gpunet.backend import Array, asarray, xp
from gpunet.device import check_device
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_choice, check_tensor, whole_number
from gpunet.functional.shaping import cat, pad, stack, where
from gpunet.ops.shaping import Diagonal
from gpunet.tensor import Tensor, apply, own

__all__ = [
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "broadcast_shapes",
    "broadcast_tensors",
    "broadcast_to",
    "cartesian_prod",
    "chunk",
    "column_stack",
    "combinations",
    "concat",
    "concatenate",
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "diff",
    "dsplit",
    "dstack",
    "expand_as",
    "flip",
    "fliplr",
    "flipud",
    "hsplit",
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
    "split_with_sizes",
    "swapaxes",
    "swapdims",
    "t",
    "tensor_split",
    "tile",
    "tril",
    "tril_indices",
    "triu",
    "triu_indices",
    "unbind",
    "unflatten",
    "view_as",
    "vsplit",
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


def windows(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """The windows of one size along a dimension, `step` apart, in a new dimension at the end: the method `unfold`.

    They are copies: changed in place they leave the input as it was.

    Shape:
        (..., L, ...) to (..., (L - size) // step + 1, ..., size).

    Raises:
        ShapeError: if a window is larger than the dimension.
        ArgumentError: if the step is not 1 or more.
    """
    axis = axis_of(dimension, input.ndim, "unfold")
    width, apart = whole_number(size, "size", "unfold", 0), whole_number(step, "step", "unfold", 1)
    if width > input.shape[axis]:
        raise ShapeError(f"unfold: a window of {width} is larger than dimension {dimension} of shape {input.shape}")
    places = xp.arange(0, input.shape[axis] - width + 1, apart)[:, None] + xp.arange(width)
    return movedim(input[_along(axis, places)], axis + 1, -1)


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


def split_with_sizes(input: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """`split` into parts of the sizes that are listed.

    Shape:
        (..., L, ...) to parts (..., size, ...).

    Raises:
        ShapeError: if they do not add up to that of the dimension.
    """
    return split(input, list(split_sizes), dim)


def _split_along(name: str, least: int, axis: int) -> Callable[[Tensor, Any], tuple[Tensor, ...]]:
    def function(input: Tensor, indices_or_sections: Any) -> tuple[Tensor, ...]:
        check_tensor(input, name)
        if input.ndim < least:
            raise ShapeError(f"{name} expects at least {least} dimension(s), got shape {input.shape}")
        along = min(axis, input.ndim - 1)
        if isinstance(indices_or_sections, int) and input.shape[along] % max(1, indices_or_sections):
            raise ShapeError(f"{name}: {input.shape[along]} cannot be split into {indices_or_sections} equal parts")
        return tensor_split(input, indices_or_sections, along)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""`tensor_split` along dimension {axis}, into equal parts where a number is given.

    Shape:
        (..., L, ...) to parts (..., size, ...).

    Raises:
        ShapeError: if there are fewer than {least} dimensions, or it cannot be split evenly.
    """
    return function


hsplit = _split_along("hsplit", 1, 1)
vsplit = _split_along("vsplit", 2, 0)
dsplit = _split_along("dsplit", 3, 2)


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices of zeros in two new dimensions, with the last dimension on a diagonal.

    Shape:
        (..., n) to (..., n, n), for offset 0 and the last two dimensions.

    Raises:
        ArgumentError: if both dimensions are the same.
    """
    check_tensor(input, "diag_embed")
    first, second = axes_of((dim1, dim2), input.ndim + 1, "diag_embed")
    size, below, above = input.shape[-1] + abs(offset), max(0, -offset), max(0, offset)
    columns = pad(input, (above, below)).unsqueeze(-2)  # the value that each column has
    on = own(xp.arange(size)[:, None] + offset == xp.arange(size))
    return movedim(where(on, columns, input.new_zeros(())), (-2, -1), (first, second))


def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix with all values on its diagonal.

    Shape:
        any, n values in all, to (n, n) for offset 0.

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "diagflat")
    return diag_embed(input.flatten(), offset)


def _indices_of(name: str, what: str, inside: Callable[[Any, Any], Any]) -> Callable[..., Tensor]:
    def function(row: int, col: int, offset: int = 0, dtype: Any = "int64", device: Any = None) -> Tensor:
        check_device(device, name)
        rows, columns = whole_number(row, "row", name, 0), whole_number(col, "col", name, 0)
        places = xp.nonzero(inside(xp.arange(rows)[:, None] + dimension(offset, name), xp.arange(columns)))
        return own(xp.stack(places).astype(number_type(dtype)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""Where the values of a matrix (row, col) are that `{what}` keeps, row by row.

    Shape:
        (2, n): rows and columns.

    Raises:
        ArgumentError: if a size is negative.
    """
    return function


tril_indices = _indices_of("tril_indices", "tril", lambda rows, columns: columns <= rows)
triu_indices = _indices_of("triu_indices", "triu", lambda rows, columns: columns >= rows)


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


def broadcast_shapes(*shapes: Any) -> tuple[int, ...]:
    """The one shape that all of these broadcast to; a number is a shape of one dimension.

    Shape:
        all broadcast.

    Raises:
        ShapeError: if they do not.
    """
    given = [tuple(each) if isinstance(each, list | tuple) else (each,) for each in shapes]
    joined: tuple[int, ...] = ()
    for each in given:
        check_broadcast(joined, each, "broadcast_shapes")
        ndim = max(len(joined), len(each))
        pairs = zip((1,) * (ndim - len(joined)) + joined, (1,) * (ndim - len(each)) + each, strict=True)
        joined = tuple(b if a == 1 else a for a, b in pairs)
    return joined


def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All rows of one value from each vector.

    Shape:
        vectors of sizes a, b, ... -> (a * b * ..., number of vectors); one vector as it is.

    Raises:
        ShapeError: if one is not a vector.
    """
    if any(each.ndim != 1 for each in tensors):
        raise ShapeError(f"cartesian_prod expects vectors, got shapes {[each.shape for each in tensors]}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([each.flatten() for each in meshgrid(*tensors)], 1)


def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of `r` values of a vector, one in each row.

    Shape:
        (n,) -> (number of choices, r).

    Raises:
        ShapeError: if the input is not a vector.
        ArgumentError: if `r` is negative.
    """
    check_tensor(input, "combinations")
    count = whole_number(r, "r", "combinations", 0)
    if input.ndim != 1:
        raise ShapeError(f"combinations expects a vector, got shape {input.shape}")
    if not count:
        return input.new_zeros((0,))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = [place for choice in choose(range(len(input)), count) for place in choice]
    return input[_whole(places)].reshape(len(places) // count, count)


def _atleast(least: int) -> Callable[..., Any]:
    name = f"atleast_{least}d"

    def function(*tensors: Any) -> Any:
        if len(tensors) != 1 or isinstance(tensors[0], list | tuple):
            given = tensors[0] if len(tensors) == 1 else tensors
            return tuple(function(each) for each in given)
        (input,) = tensors
        check_tensor(input, name)
        if input.ndim >= least:
            return input
        if least == 3 and input.ndim == 2:
            return input.unsqueeze(-1)
        shape = {1: (-1,), 2: (1, -1), 3: (1, -1, 1)}[least]
        return input.reshape(shape) if input.numel() else input.reshape(tuple(0 if s == -1 else s for s in shape))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"""The Tensor, or each of several, with dimensions of size 1 where it has fewer than {least}.

    Shape:
        any; the output has at least {least} dimension(s).

    Raises:
        DTypeError: if one is not a Tensor.
    """
    return function


atleast_1d, atleast_2d, atleast_3d = _atleast(1), _atleast(2), _atleast(3)

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


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dimension 2, which is added where there is none.

    Shape:
        equal but for that dimension.

    Raises:
        ArgumentError: if there are no Tensors.
        ShapeError: if other sizes differ.
    """
    return cat(list(atleast_3d(list(tensors))), 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dimension 1; vectors are columns.

    Shape:
        equal but for that dimension.

    Raises:
        ArgumentError: if there are no Tensors.
        ShapeError: if other sizes differ.
    """
    return cat([each.reshape(-1, 1) if each.ndim < 2 else each for each in tensors], 1)


def block_diag(*tensors: Tensor) -> Tensor:
    """The matrix with these matrices along its diagonal, zeros elsewhere; a vector is a row.

    Shape:
        (a, b), (c, d), ... -> (a + c + ..., b + d + ...).

    Raises:
        ShapeError: if one has more than two dimensions.
        ArgumentError: if there are none.
    """
    blocks = [atleast_2d(each) for each in tensors]
    if any(each.ndim > 2 for each in blocks):
        raise ShapeError(f"block_diag expects matrices, got shapes {[each.shape for each in tensors]}")
    columns, before, rows = sum(each.shape[1] for each in blocks), 0, []
    for each in blocks:
        rows.append(pad(each, (before, columns - before - each.shape[1])))
        before += each.shape[1]
    return cat(rows, 0)
