"""Functions that pick values out of a Tensor, put values into it, or bring them into order."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from gpunet.arguments import axis_of, check_broadcast, check_fits, flag
from gpunet.backend import Array, check_active, xp
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.functional.checks import check_choice, check_tensor, whole_number
from gpunet.functional.shaping import where
from gpunet.functions.shaping import flip
from gpunet.ops.scatter import ScatterExtremum
from gpunet.ops.shaping import Put
from gpunet.tensor import Tensor, apply, as_key, as_tensor, operand, own

__all__ = [
    "Sorted",
    "argsort",
    "argwhere",
    "bincount",
    "bucketize",
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "isin",
    "kthvalue",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "median",
    "msort",
    "nonzero",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "searchsorted",
    "sort",
    "take",
    "take_along_dim",
    "topk",
    "unique",
    "unique_consecutive",
]


class Sorted(NamedTuple):
    """What `sort`, `topk`, `kthvalue` and `median` return: the values, and where along the dimension they were."""

    values: Tensor
    indices: Tensor


# ---------------------------------------------------------------------- picking


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """`output[i][j] = input[index[i][j]][j]` for dim 0, `input[i][index[i][j]]` for dim 1, and so on.

    Shape:
        index: as many dimensions as the input, no larger but for `dim`. output: that of index.

    Raises:
        ShapeError: if the shapes do not go together, or an index lies beyond the end.
        DTypeError: if the index does not hold whole numbers.
    """
    check_tensor(input, "gather")
    return input[_grid(input, dim, index, "gather")]


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather`, where the two broadcast but for the dimension; without one, of the flattened Tensors.

    Shape:
        equal but for `dim`, or broadcast.

    Raises:
        ShapeError: if the shapes do not go together, or an index lies beyond the end.
        DTypeError: if the index does not hold whole numbers.
    """
    check_tensor(input, "take_along_dim")
    check_tensor(indices, "take_along_dim", "indices")
    if dim is None:
        return gather(input.flatten(), 0, indices.flatten())
    axis = axis_of(dim, input.ndim, "take_along_dim")
    if indices.ndim != input.ndim:
        raise ShapeError(f"take_along_dim: expected {input.ndim} dimensions of indices, got {indices.ndim}")
    joined = [max(a, b) for a, b in zip(input.shape, indices.shape, strict=True)]

    def stretched(each: Tensor) -> Tensor:
        return each.expand(*(-1 if i == axis else size for i, size in enumerate(joined)))

    size = input.shape[axis]
    _check_index(indices, "take_along_dim", "indices")
    counted = where(indices < 0, indices + size, indices)  # from the end
    return gather(stretched(input), axis, stretched(counted))


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The positions along a dimension that a vector of whole numbers lists.

    Shape:
        (..., L, ...) and (n,) -> (..., n, ...).

    Raises:
        ShapeError: if the index is not a vector, or one lies beyond the end.
        DTypeError: if the index does not hold whole numbers.
    """
    check_tensor(input, "index_select")
    return input[_places(input, dim, index, "index_select")]


def take(input: Tensor, index: Tensor) -> Tensor:
    """The values at positions of the flattened Tensor.

    Shape:
        that of index.

    Raises:
        ShapeError: if a position lies beyond the end.
        DTypeError: if the index does not hold whole numbers.
    """
    check_tensor(input, "take")
    _check_index(index, "take")
    return input.flatten()[index.long()]


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The values where a mask holds, in one dimension.

    Shape:
        the two broadcast; the output is a vector.

    Raises:
        DTypeError: if the mask does not hold booleans.
        ShapeError: if the shapes do not broadcast.
    """
    check_tensor(input, "masked_select")
    _check_mask(mask, input, "masked_select")
    shape = [max(a, b) if a and b else 0 for a, b in zip(*_aligned(input.shape, mask.shape), strict=True)]
    return input.expand(*shape)[mask.expand(*shape)]


def nonzero(input: Tensor, as_tuple: bool = False) -> Any:
    """Where the values are not 0: one row of indices for each, or a vector for each dimension. A plain result.

    Shape:
        any -> (n, number of dimensions), or as many vectors (n,).

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "nonzero")
    check_active(input.array, "nonzero: input")
    found = [own(xp.asarray(each)) for each in xp.nonzero((input.array != 0).reshape(input.shape or (1,)))]
    if flag(as_tuple, "as_tuple"):
        return tuple(found)
    rows = xp.stack([each.array for each in found], axis=1)
    return own(rows[:, :0] if not input.ndim else rows)


def argwhere(input: Tensor) -> Tensor:
    """`nonzero` under NumPy's name.

    Shape:
        any -> (n, number of dimensions).

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    return nonzero(input)


def isin(elements: Any, test_elements: Any, *, invert: bool = False) -> Tensor:
    """Whether each of some values is among others, or is not (invert): a plain result.

    Each is compared with each, which takes memory.

    Shape:
        that of elements.

    Raises:
        DTypeError: for what is neither Tensor nor number.
    """
    a, b = as_tensor(operand(elements)), as_tensor(operand(test_elements))
    found = (a.unsqueeze(-1) == b.flatten()).any(-1) if b.numel() else a != a
    return ~found if flag(invert, "invert") else found


# ---------------------------------------------------------------------- putting


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """One value where a mask holds, the input elsewhere.

    Shape:
        the two broadcast.

    Raises:
        DTypeError: if the mask does not hold booleans.
        ShapeError: if the shapes do not broadcast, or the value is not a single one.
        ArgumentError: if the value does not fit the type of the input.
    """
    check_tensor(input, "masked_fill")
    _check_mask(mask, input, "masked_fill")
    return where(mask, _fitting(value, input, "masked_fill"), input)


def scatter(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None) -> Tensor:
    """The input with values put in: `output[index[i][j]][j] = src[i][j]` for dim 0, and so on.

    Where an index comes twice, one of its values is kept, which on a GPU may be any.

    Args:
        src: a Tensor, or one number.
        value: the same under PyTorch's other name for a number.

    Shape:
        index: as many dimensions as the input. src: at least as large.

    Raises:
        ShapeError: if the shapes do not go together, or an index lies beyond the end.
        DTypeError: if the index does not hold whole numbers, or the two Tensors hold different types.
    """
    check_tensor(input, "scatter")
    given = src if value is None else value
    return apply(Put(_grid(input, dim, index, "scatter"), False), input, _values(given, input, index, "scatter"))


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """The input with values added: `output[index[i][j]][j] += src[i][j]` for dim 0, and so on.

    Shape:
        index: as many dimensions as the input. src: at least as large.

    Raises:
        ShapeError: if the shapes do not go together, or an index lies beyond the end.
        DTypeError: if the index does not hold whole numbers, or the two Tensors hold different types.
    """
    check_tensor(input, "scatter_add")
    values = _values(src, input, index, "scatter_add")
    return apply(Put(_grid(input, dim, index, "scatter_add"), True), input, values)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, alpha: float = 1) -> Tensor:
    """The input with the slices of `source` added at the positions along a dimension that a vector lists.

    Shape:
        input (..., L, ...), index (n,), source (..., n, ...).

    Raises:
        ShapeError: if the shapes do not go together, or an index lies beyond the end.
        DTypeError: if the index does not hold whole numbers.
    """
    check_tensor(input, "index_add")
    check_tensor(source, "index_add", "source")
    key = _places(input, dim, index, "index_add")
    _check_slices(input, dim, index, source, "index_add")
    return apply(Put(key, True), input, source if alpha == 1 else source * alpha)


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """The input with the slices of `source` at the positions along a dimension that a vector lists.

    Shape:
        input (..., L, ...), index (n,), source (..., n, ...).

    Raises:
        ShapeError: if the shapes do not go together, or an index lies beyond the end.
        DTypeError: if the index does not hold whole numbers.
    """
    check_tensor(input, "index_copy")
    check_tensor(source, "index_copy", "source")
    key = _places(input, dim, index, "index_copy")
    _check_slices(input, dim, index, source, "index_copy")
    return apply(Put(key, False), input, source)


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """The input with one value at the positions along a dimension that a vector lists.

    Shape:
        input (..., L, ...), index (n,).

    Raises:
        ShapeError: if the index is not a vector, or one lies beyond the end.
        DTypeError: if the index does not hold whole numbers.
    """
    check_tensor(input, "index_fill")
    mask = xp.zeros(input.shape, dtype=bool)
    mask[_places(input, dim, index, "index_fill")] = True
    return where(own(mask), _fitting(value, input, "index_fill"), input)


def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """The input but for `output[indices] = values`, or `+= values`, as often as an index comes (accumulate).

    Shape:
        values broadcast to what the indices, one Tensor for each of the first dimensions, select.

    Raises:
        ShapeError: if they do not, or an index lies beyond the end.
        DTypeError: if the two hold different types.
    """
    check_tensor(input, "index_put")
    check_tensor(values, "index_put", "values")
    if values.dtype != input.dtype:
        raise DTypeError.mixed("index_put", {"input": input.dtype, "values": values.dtype})
    for each in indices:
        check_tensor(each, "index_put", "each of the indices")
    try:
        return apply(Put(as_key(tuple(indices)), flag(accumulate, "accumulate")), input, values)
    except (IndexError, ValueError) as error:
        raise ShapeError(f"index_put: cannot set a Tensor of shape {input.shape}: {error}") from None


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """The input with the first values of `source` where a mask holds, one after the other.

    Shape:
        input and mask broadcast; source: at least as many values as places.

    Raises:
        DTypeError: if the mask does not hold booleans, or the two hold different types.
        ShapeError: if the shapes do not broadcast, or there are too few values.
    """
    check_tensor(input, "masked_scatter")
    check_tensor(source, "masked_scatter", "source")
    _check_mask(mask, input, "masked_scatter")
    shape = tuple(max(a, b) if a and b else 0 for a, b in zip(*_aligned(input.shape, mask.shape), strict=True))
    places = mask.expand(*shape).array
    count = int(places.sum())
    if count > source.numel():
        raise ShapeError(f"masked_scatter: there are {count} places, and {source.numel()} values")
    if source.dtype != input.dtype:
        raise DTypeError.mixed("masked_scatter", {"input": input.dtype, "source": source.dtype})
    return apply(Put((places, Ellipsis), False), input.expand(*shape), source.flatten()[:count])


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The input with values of `src` added, or reduced otherwise, where an index sends them; see `scatter_add`.

    Args:
        reduce: "sum", "mean", "amax" or "amin"; equal ones share the gradient.
        include_self: whether the value of the input at a place counts, too, if any comes there.

    Shape:
        index: as many dimensions as the input. src: at least as large.

    Raises:
        ShapeError: if the shapes do not go together, or an index lies beyond the end.
        DTypeError: if the index does not hold whole numbers, or the two Tensors hold different types.
        ArgumentError: for another reduction.
    """
    check_tensor(input, "scatter_reduce")
    check_choice(reduce, ("sum", "mean", "amax", "amin"), "reduce", "scatter_reduce")
    grid = _grid(input, dim, index, "scatter_reduce")
    values = _values(src, input, index, "scatter_reduce")
    if reduce in ("amax", "amin"):
        return apply(ScatterExtremum(grid, reduce == "amax", include_self), input, values)
    ones = values.new_ones(values.shape, dtype="int64")
    counts = apply(Put(grid, True), input.new_zeros(input.shape, dtype="int64"), ones)
    start = input if include_self else where(counts == 0, input, input.new_zeros(()))
    total = apply(Put(grid, True), start, values)
    if reduce == "sum":
        return total
    counts = (counts + int(include_self)).clamp(min=1)
    return total / counts.to(input.dtype) if input.is_floating_point() else (total // counts).to(input.dtype)


# ---------------------------------------------------------------------- order


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Where the values are that come first, second, ... in ascending or descending order; equal ones keep theirs.

    NaN counts as the largest. It is always `stable`.

    Shape:
        any; the output has the same and holds int64.

    Raises:
        ShapeError: if there is no such dimension.
    """
    check_tensor(input, "argsort")
    check_active(input.array, "argsort: input")
    if not input.ndim:
        return own(xp.zeros((), dtype="int64"))
    axis = axis_of(dim, input.ndim, "argsort")
    if not flag(descending, "descending"):
        return own(xp.argsort(input.array, axis=axis, kind="stable"))
    backwards = flip(own(input.array), axis).array  # equal values keep their order in the end
    last = input.shape[axis] - 1
    return own(last - flip(own(xp.argsort(backwards, axis=axis, kind="stable")), axis).array)


def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Sorted:
    """The values in ascending or descending order, and where they were; see `argsort`.

    Shape:
        any; both have the same.

    Raises:
        ShapeError: if there is no such dimension.
    """
    order = argsort(input, dim, descending, stable)
    return Sorted(input.clone() if not input.ndim else gather(input, dim, order), order)


def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Sorted:
    """The `k` largest values along a dimension, the largest first, or the smallest; and where they were.

    They are always `sorted`.

    Shape:
        (..., L, ...) -> (..., k, ...), both.

    Raises:
        ShapeError: if there are fewer than k.
        ArgumentError: if k is negative.
    """
    check_tensor(input, "topk")
    count = whole_number(k, "k", "topk", 0)
    flat = input if input.ndim else input.reshape(1)
    axis = axis_of(dim, flat.ndim, "topk")
    if count > flat.shape[axis]:
        raise ShapeError(f"topk: there are no {count} values along dimension {dim} of shape {input.shape}")
    order = argsort(flat, axis, flag(largest, "largest"))[(slice(None),) * axis + (slice(0, count),)]
    values = gather(flat, axis, order)
    return Sorted(values, order) if input.ndim else Sorted(values.reshape(()), order.reshape(()))


def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Sorted:
    """The k-th smallest value along a dimension, counted from 1, and where it was.

    Shape:
        (..., L, ...) -> (..., ...), or (..., 1, ...) with keepdim.

    Raises:
        ShapeError: if there are fewer than k.
        ArgumentError: if k is not 1 or more.
    """
    check_tensor(input, "kthvalue")
    count = whole_number(k, "k", "kthvalue", 1)
    if not input.ndim:
        return Sorted(input.clone(), own(xp.zeros((), dtype="int64")))
    axis = axis_of(dim, input.ndim, "kthvalue")
    if count > input.shape[axis]:
        raise ShapeError(f"kthvalue: there are no {count} values along dimension {dim} of shape {input.shape}")
    place = (slice(None),) * axis + (slice(count - 1, count),)
    order = argsort(input, axis)[place]
    values = gather(input, axis, order)
    return Sorted(values, order) if keepdim else Sorted(values.squeeze(axis), order.squeeze(axis))


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle of the values in order, the lower of two middles: of all, or along a dimension with its place.

    NaN wins.

    Shape:
        any -> (), or (..., L, ...) -> (..., ...) twice.

    Raises:
        ShapeError: if there are no values.
    """
    check_tensor(input, "median")
    if dim is None:
        return median(input.flatten(), 0).values
    axis = axis_of(dim, max(1, input.ndim), "median")
    size = input.shape[axis] if input.ndim else 1
    if not size:
        raise ShapeError(f"median expects at least one value, got shape {input.shape}")
    middle = kthvalue(input, (size + 1) // 2, axis, keepdim)
    if not input.is_floating_point():
        return middle
    last = kthvalue(input, size, axis, keepdim)  # NaN if there is one
    hit = last.values != last.values
    return Sorted(where(hit, last.values, middle.values), where(hit, last.indices, middle.indices))


def unique(
    input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: None = None
) -> Any:
    """Each value once, in ascending order: a plain result.

    Args:
        return_inverse: also tell for each element which of them it is.
        return_counts: also tell how often each occurs.
        dim: None: the slices along a dimension are not compared.

    Shape:
        any -> (n,); the inverse has the shape of the input.

    Raises:
        DTypeError: if the input is not a Tensor.
        ArgumentError: if a dimension is named.
    """
    check_tensor(input, "unique")
    if dim is not None:
        raise ArgumentError(f"unique compares values, not slices along a dimension: dim must be None, got {dim!r}")
    check_active(input.array, "unique: input")
    values, inverse, counts = xp.unique(input.array.reshape(-1), return_inverse=True, return_counts=True)
    wanted = [own(values)]
    if flag(return_inverse, "return_inverse"):
        wanted.append(own(inverse.reshape(input.shape)))
    if flag(return_counts, "return_counts"):
        wanted.append(own(counts))
    return wanted[0] if len(wanted) == 1 else tuple(wanted)


def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Each value once for each run of equal ones, in the order in which they come: a plain result.

    Args:
        return_inverse: also tell for each element which of them it is.
        return_counts: also tell how long each run is.
        dim: None: the slices along a dimension are not compared.

    Shape:
        any -> (n,); the inverse has the shape of the input.

    Raises:
        DTypeError: if the input is not a Tensor.
        ArgumentError: if a dimension is named.
    """
    check_tensor(input, "unique_consecutive")
    if dim is not None and (input.ndim != 1 or dim not in (0, -1)):
        raise ArgumentError(f"unique_consecutive compares values, not slices along a dimension, got dim {dim!r}")
    flat = input.detach().flatten()
    begins = own(xp.ones(flat.shape, dtype=bool))
    if flat.numel() > 1:
        begins[1:] = flat[1:] != flat[:-1]
    runs = begins.long().cumsum(0) - 1
    found = [flat[begins]]
    if flag(return_inverse, "return_inverse"):
        found.append(runs.reshape(input.shape))
    if flag(return_counts, "return_counts"):
        found.append(bincount(runs))
    return found[0] if len(found) == 1 else tuple(found)


def msort(input: Tensor) -> Tensor:
    """The values in ascending order along the first dimension.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor.
    """
    check_tensor(input, "msort")
    return sort(input, 0 if input.ndim else -1).values


def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where values would have to be inserted into ascending ones, to keep the order: a plain result.

    Args:
        right: behind equal ones, instead of in front of them.
        side: "left" or "right", in the place of `right`.
        sorter: the order that the sequence is brought into before, as `argsort` gives it.

    Shape:
        (L,), or the shape of input but for the last dimension; the output has the shape of input.

    Raises:
        ShapeError: if the shapes do not go together.
        ArgumentError: for another side.
    """
    check_tensor(sorted_sequence, "searchsorted", "sorted_sequence")
    if sorter is not None:
        sorted_sequence = gather(sorted_sequence, -1, sorter)
    check_choice(side or "left", ("left", "right"), "side", "searchsorted")
    if flag(right, "right") and side == "left":
        raise ArgumentError("searchsorted: right=True and side='left' say different things")
    values = as_tensor(operand(input))
    if sorted_sequence.ndim != 1 and sorted_sequence.shape[:-1] != values.shape[:-1]:
        raise ShapeError(f"searchsorted: {sorted_sequence.shape} and {values.shape} differ in more than the last size")
    behind = right or side == "right"
    kind = "int32" if flag(out_int32, "out_int32") else "int64"
    rows = math.prod(sorted_sequence.shape[:-1])
    many = sorted_sequence.array.reshape(rows, sorted_sequence.shape[-1])
    sought = values.array.reshape(rows, values.numel() // max(1, rows))
    found = [_rank(many[row], sought[row], behind) for row in range(rows)]
    return own((xp.stack(found) if found else xp.zeros(0)).astype(kind).reshape(values.shape))


def _rank(row: Array, values: Array, behind: bool) -> Array:
    """How many of an ascending row come before each value: both are brought into one order."""
    parts = [values, row] if not behind else [row, values]
    order = xp.argsort(xp.concatenate(parts), kind="stable")
    of_row = order >= values.size if not behind else order < row.size
    before = xp.cumsum(of_row.astype("int64"))
    ranks = xp.zeros(order.size, dtype="int64")
    ranks[order] = before
    return ranks[: values.size] if not behind else ranks[row.size :]


def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """In which interval between ascending boundaries each value lies; see `searchsorted`.

    Shape:
        boundaries: (L,); the output has the shape of input.

    Raises:
        ShapeError: if the boundaries are not a vector.
    """
    check_tensor(boundaries, "bucketize", "boundaries")
    if boundaries.ndim != 1:
        raise ShapeError(f"bucketize expects boundaries of one dimension, got shape {boundaries.shape}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each whole number from 0 upwards occurs, or the sum of the weights where it does: a plain result.

    Shape:
        (n,) -> (max(largest + 1, minlength),).

    Raises:
        ShapeError: if the input is not a vector, or the weights have another shape.
        DTypeError: if the input does not hold whole numbers.
        ArgumentError: if one is negative.
    """
    _check_index(input, "bincount", "input")
    if input.ndim != 1 or (weights is not None and weights.shape != input.shape):
        raise ShapeError(f"bincount expects a vector, and as many weights, got shape {input.shape}")
    if input.numel() and int(input.min()) < 0:
        raise ArgumentError("bincount expects whole numbers of 0 or more")
    counted = xp.bincount(
        input.array,
        weights=None if weights is None else weights.array,
        minlength=whole_number(minlength, "minlength", "bincount", 0),
    )
    return own(counted.astype("float32") if weights is not None and weights.dtype == "float32" else counted)


# ---------------------------------------------------------------------- checks


def _check_index(index: Any, name: str, what: str = "index") -> None:
    check_tensor(index, name, what)
    check_active(index.array, f"{name}: {what}")
    if index.dtype.kind not in "iu":
        raise DTypeError(f"{name}: {what} must hold whole numbers, got {index.dtype}; convert with .long()")


def _check_range(index: Tensor, size: int, name: str) -> None:
    """NumPy takes negative positions, a GPU any: PyTorch takes neither."""
    if index.numel():
        low, high = index.known_range() or (int(index.array.min()), int(index.array.max()))
        if low < 0 or high >= size:
            raise ShapeError(f"{name}: an index must lie within [0, {size - 1}], got {low if low < 0 else high}")


def _grid(input: Tensor, dim: int, index: Tensor, name: str) -> tuple[Any, ...]:
    """The key of `gather`: along `dim` what the index says, along the others each position."""
    _check_index(index, name)
    if index.ndim != input.ndim:
        raise ShapeError(f"{name}: index must have {input.ndim} dimensions, as the input, got shape {index.shape}")
    axis = axis_of(dim, input.ndim, name)
    if any(a > b for i, (a, b) in enumerate(zip(index.shape, input.shape, strict=True)) if i != axis):
        raise ShapeError(f"{name}: index of shape {index.shape} is larger than the input, {input.shape}")
    _check_range(index, input.shape[axis], name)
    grid: list[Array] = list(xp.ogrid[tuple(slice(0, size) for size in index.shape)])
    grid[axis] = index.array
    return tuple(grid)


def _places(input: Tensor, dim: int, index: Tensor, name: str) -> tuple[Any, ...]:
    _check_index(index, name)
    if index.ndim > 1:
        raise ShapeError(f"{name}: index must be a vector, got shape {index.shape}")
    axis = axis_of(dim, input.ndim, name)
    _check_range(index, input.shape[axis], name)
    return (slice(None),) * axis + (index.array.reshape(-1),)


def _check_slices(input: Tensor, dim: int, index: Tensor, source: Tensor, name: str) -> None:
    axis = axis_of(dim, input.ndim, name)
    expected = (*input.shape[:axis], index.numel(), *input.shape[axis + 1 :])
    if source.shape != expected:
        raise ShapeError(f"{name}: source must have shape {expected}, got {source.shape}")
    if source.dtype != input.dtype:
        raise DTypeError.mixed(name, {"input": input.dtype, "source": source.dtype})


def _values(given: Any, input: Tensor, index: Tensor, name: str) -> Any:
    """What is put in: the part of a Tensor that the index reaches, or one number."""
    if not isinstance(given, Tensor):
        return _fitting(given, input, name)
    if given.ndim != index.ndim or any(a > b for a, b in zip(index.shape, given.shape, strict=True)):
        raise ShapeError(f"{name}: index of shape {index.shape} is larger than src, {given.shape}")
    if given.dtype != input.dtype:
        raise DTypeError.mixed(name, {"input": input.dtype, "src": given.dtype})
    return given[tuple(slice(0, size) for size in index.shape)]


def _fitting(value: Any, input: Tensor, name: str) -> Any:
    """One value, a number or a Tensor of no dimension, that the type of the input can hold."""
    value = operand(value)
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError(f"{name} expects one value, got a Tensor of shape {value.shape}")
        return value.to(input.dtype)
    check_fits(value, input.dtype)
    if isinstance(value, float) and not input.is_floating_point():
        raise ArgumentError(f"{name}: {value} does not fit a Tensor of {input.dtype}; convert with .float()")
    return value


def _check_mask(mask: Any, input: Tensor, name: str) -> None:
    check_tensor(mask, name, "mask")
    if mask.dtype.kind != "b":
        raise DTypeError(f"{name}: mask must hold booleans, got {mask.dtype}; convert with .to(bool)")
    check_broadcast(input.shape, mask.shape, name)


def _aligned(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    ndim = max(len(a), len(b))
    return (1,) * (ndim - len(a)) + a, (1,) * (ndim - len(b)) + b
