"""Operators of ONNX that move values, reduce them, or make sizes of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet import functional as F
from gpunet import functions
from gpunet.arguments import axis_of
from gpunet.errors import ArgumentError
from gpunet.onnx.operators import ABSENT, Call, bounded, operator, unsupported
from gpunet.ops.resample import Interpolate, Tap
from gpunet.tensor import Tensor, apply, tensor

__all__: list[str] = []

_Array = Any
_ALL = "fiub"


def _axes(call: Call, given: Any, ndim: int) -> tuple[int, ...]:
    """Axes that are given in any order; none are none, and not all."""
    axes = tuple(axis_of(int(axis), ndim, call.operator) for axis in np.asarray(given).reshape(-1))
    if len(set(axes)) != len(axes):
        raise ArgumentError(f"{call.operator}: an axis is given twice, of {axes}")
    return axes


# ------------------------------------------------------------------------------------------------------------ shapes


@operator("Reshape", host=(1,), kinds=_ALL, allowzero=0, shape=None)
def _reshape(call: Call, x: Tensor, given: _Array | None = None, *, allowzero: int, shape: Any) -> Tensor:
    sizes = [int(size) for size in np.asarray(shape if given is None else given).reshape(-1)]
    if not allowzero:
        if any(size == 0 and place >= x.ndim for place, size in enumerate(sizes)):
            raise ArgumentError(f"{call.operator}: {sizes} keeps a size that {x.shape} has not")
        sizes = [x.shape[place] if size == 0 else size for place, size in enumerate(sizes)]
    return x.reshape(tuple(sizes))


@operator("Flatten", kinds=_ALL, axis=1)
def _flatten(call: Call, x: Tensor, axis: int) -> Tensor:
    at = x.ndim if axis == x.ndim else axis_of(axis, x.ndim, call.operator)
    return x.reshape(math.prod(x.shape[:at]), math.prod(x.shape[at:]))


@operator("Transpose", kinds=_ALL, perm=None)
def _transpose(call: Call, x: Tensor, perm: list[int] | None) -> Tensor:
    return x.permute(*(perm if perm is not None else reversed(range(x.ndim)))) if x.ndim else x


@operator("Squeeze", host=(1,), kinds=_ALL, axes=None)
def _squeeze(call: Call, x: Tensor, given: _Array | None = None, *, axes: list[int] | None) -> Tensor:
    wanted = axes if given is None else given
    gone = [i for i, size in enumerate(x.shape) if size == 1] if wanted is None else _axes(call, wanted, x.ndim)
    if any(x.shape[axis] != 1 for axis in gone):
        raise ArgumentError(f"{call.operator}: of {x.shape} the axes {gone} are not all of size 1")
    return x.reshape(tuple(size for i, size in enumerate(x.shape) if i not in gone))


@operator("Unsqueeze", host=(1,), kinds=_ALL, axes=None)
def _unsqueeze(call: Call, x: Tensor, given: _Array | None = None, *, axes: list[int] | None) -> Tensor:
    wanted = np.asarray(axes if given is None else given).reshape(-1)
    new = _axes(call, wanted, x.ndim + len(wanted))
    sizes = iter(x.shape)
    return x.reshape(tuple(1 if i in new else next(sizes) for i in range(x.ndim + len(new))))


@operator("Expand", host=(1,), kinds=_ALL)
def _expand(call: Call, x: Tensor, shape: _Array) -> Tensor:
    wanted = bounded(call, shape)
    return x.expand(*bounded(call, np.broadcast_shapes(x.shape, wanted)))


@operator("Shape", kinds=_ALL, start=0, end=2**63 - 1)
def _shape(call: Call, x: Tensor, start: int, end: int) -> _Array:
    return np.array(x.shape[start:end], np.int64)


@operator("Size", kinds=_ALL)
def _size(call: Call, x: Tensor) -> _Array:
    return np.array(x.numel(), np.int64)


@operator("ConstantOfShape", host=(0,), value=np.zeros(1, np.float32))
def _constant_of_shape(call: Call, shape: _Array, value: _Array) -> Tensor:
    if value.size != 1:
        raise ArgumentError(f"{call.operator}: one value is expected, got {value.size}")
    return functions.full(bounded(call, shape), value.item(), dtype=value.dtype)


@operator("Concat", kinds=_ALL, axis=ABSENT)
def _concat(call: Call, *values: Tensor, axis: int) -> Tensor:
    return F.cat(list(values), axis_of(axis, values[0].ndim, call.operator))


@operator("Split", host=(1,), kinds=_ALL, axis=0, split=None, num_outputs=0)
def _split(
    call: Call, x: Tensor, given: _Array | None = None, *, axis: int, split: list[int] | None, num_outputs: int
) -> tuple[Tensor, ...]:
    at = axis_of(axis, x.ndim, call.operator)
    wanted = split if given is None else [int(size) for size in given.reshape(-1)]
    if wanted is None:
        each = -(-x.shape[at] // call.outputs)
        wanted = [min(each, max(x.shape[at] - i * each, 0)) for i in range(call.outputs)]
    if sum(wanted) != x.shape[at] or min(wanted, default=0) < 0 or len(wanted) != call.outputs:
        raise ArgumentError(f"{call.operator}: {x.shape[at]} cannot be split into {wanted}")
    ends = np.cumsum(wanted).tolist()
    return tuple(x[_at(at, slice(end - size, end))] for size, end in zip(wanted, ends, strict=True))


def _at(axis: int, key: Any) -> tuple[Any, ...]:
    return (*(slice(None),) * axis, key)


@operator("Slice", host=(1, 2, 3, 4), kinds=_ALL, starts=None, ends=None, axes=None)
def _slice(
    call: Call,
    x: Tensor,
    first: _Array | None = None,
    last: _Array | None = None,
    along: _Array | None = None,
    steps: _Array | None = None,
    *,
    starts: Any,
    ends: Any,
    axes: Any,
) -> Tensor:
    if call.version >= 10:
        if any(each is not None for each in (starts, ends, axes)):
            raise unsupported(call, "with its bounds among its attributes, from version 10 on,")
        starts, ends, axes = first, last, along
    starts, ends = np.asarray(starts).reshape(-1), np.asarray(ends).reshape(-1)
    which = _axes(call, range(len(starts)) if axes is None else axes, x.ndim)
    step = np.ones(len(starts), np.int64) if steps is None else steps.reshape(-1)
    if not len(starts) == len(ends) == len(which) == len(step):
        raise ArgumentError(f"{call.operator}: as many ends, axes and steps as starts are expected")
    key: list[Any] = [slice(None)] * x.ndim
    for axis, start, end, by in zip(which, starts.tolist(), ends.tolist(), step.tolist(), strict=True):
        size = x.shape[axis]
        if by == 0:
            raise ArgumentError(f"{call.operator}: a step of 0")
        # What lies beyond the axis is its end. Backwards, past the first is None: Python counts -1 as the last.
        start, end = (each + size if each < 0 else each for each in (start, end))
        if by > 0:
            key[axis] = slice(min(max(start, 0), size), min(max(end, 0), size), by)
        else:
            stop = min(max(end, -1), size - 1)
            key[axis] = slice(min(max(start, 0), size - 1), None if stop < 0 else stop, by) if size else slice(0, 0)
    return x[tuple(key)]


@operator("Gather", host=(1,), kinds=_ALL, axis=0)
def _gather(call: Call, x: Tensor, places: _Array, axis: int) -> Tensor:
    at = axis_of(axis, x.ndim, call.operator)
    places = np.asarray(places)
    if places.dtype.kind not in "iu" or (
        places.size and not -x.shape[at] <= places.min() <= places.max() < x.shape[at]
    ):
        raise ArgumentError(f"{call.operator}: places beyond the {x.shape[at]} along axis {axis}")
    return x[_at(at, tensor(places.astype(np.int64)))]


@operator("Tile", host=(1,), kinds=_ALL)
def _tile(call: Call, x: Tensor, repeats: _Array) -> Tensor:
    if repeats.shape != (x.ndim,):
        raise unsupported(call, f"{repeats.size} times of {x.ndim} dimensions")
    bounded(call, [a * b for a, b in zip(x.shape, bounded(call, repeats), strict=True)])
    return functions.tile(x, [int(each) for each in repeats])


@operator("Pad", host=(1, 2, 3), settings=(2,), mode="constant", pads=None, value=0.0)
def _pad(
    call: Call,
    x: Tensor,
    widths: _Array | None = None,
    constant: _Array | None = None,
    axes: _Array | None = None,
    *,
    mode: str,
    pads: list[int] | None,
    value: float,
) -> Tensor:
    if call.version >= 11:
        if value or pads is not None:
            raise unsupported(call, "with widths or a value among its attributes, from version 11 on,")
        value = 0.0 if constant is None else float(constant.item())
    given = [int(each) for each in np.asarray(widths if widths is not None else pads).reshape(-1)]
    which = _axes(call, range(x.ndim) if axes is None else axes, x.ndim)
    if len(given) != 2 * len(which):
        raise ArgumentError(f"{call.operator}: {2 * len(which)} widths are expected, got {len(given)}")
    modes = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    if mode not in modes:
        raise unsupported(call, f"with mode {mode:.20}")
    around = {axis: (given[i], given[i + len(which)]) for i, axis in enumerate(which)}
    every = [around.get(axis, (0, 0)) for axis in range(x.ndim)]
    bounded(call, [size + max(a, 0) + max(b, 0) for size, (a, b) in zip(x.shape, every, strict=True)])
    if mode != "constant" and (x.ndim != 4 or any(every[0]) or any(every[1]) or min(map(min, every)) < 0):
        raise unsupported(call, f"with mode {mode}, of other than heights and widths,")
    flat = [width for pair in reversed(every if mode == "constant" else every[2:]) for width in pair]
    return F.pad(x, flat, modes[mode], value) if mode == "constant" else F.pad(x, flat, modes[mode])


@operator("DepthToSpace", blocksize=1, mode="DCR")
def _depth_to_space(call: Call, x: Tensor, blocksize: int, mode: str) -> Tensor:
    n, channels, height, width = _four(call, x)
    b = blocksize
    if b < 1 or channels % (b * b) or mode not in ("DCR", "CRD"):
        raise ArgumentError(f"{call.operator}: {channels} channels in blocks of {b}, mode {mode:.20}")
    if mode == "CRD":
        return F.pixel_shuffle(x, b)
    y = x.reshape(n, b, b, channels // (b * b), height, width).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, channels // (b * b), height * b, width * b)


@operator("SpaceToDepth", blocksize=1)
def _space_to_depth(call: Call, x: Tensor, blocksize: int) -> Tensor:
    n, channels, height, width = _four(call, x)
    b = blocksize
    if b < 1 or height % b or width % b:
        raise ArgumentError(f"{call.operator}: images of {x.shape} in blocks of {b}")
    y = x.reshape(n, channels, height // b, b, width // b, b).permute(0, 3, 5, 1, 2, 4)
    return y.reshape(n, channels * b * b, height // b, width // b)


def _four(call: Call, x: Tensor) -> tuple[int, ...]:
    if x.ndim != 4:
        raise unsupported(call, f"of {x.ndim} dimensions")
    return x.shape


# -------------------------------------------------------------------------------------------------------- reductions


def _reduction(name: str, reduce: Callable[[Tensor, tuple[int, ...], bool], Tensor], kinds: str = "f") -> None:
    @operator(name, host=(1,), kinds=kinds, axes=None, keepdims=1, noop_with_empty_axes=0)
    def run(
        call: Call, x: Tensor, given: _Array | None = None, *, axes: Any, keepdims: int, noop_with_empty_axes: int
    ) -> Tensor:
        wanted = np.asarray(axes or ()) if given is None else given
        if wanted.size == 0 and noop_with_empty_axes:
            if name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
                return x
            raise unsupported(call, "with noop_with_empty_axes")
        if x.numel() == 0:
            raise unsupported(call, "of no elements")
        which = _axes(call, wanted, x.ndim) if wanted.size else tuple(range(x.ndim))
        if not which:  # a single number
            raise unsupported(call, "of a single number")
        return reduce(x, which, bool(keepdims))


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = functions.prod(x, axis, keep)
    return x


_reduction("ReduceSum", lambda x, axes, keep: x.sum(axes, keep).to(x.dtype), "fi")
_reduction("ReduceMean", lambda x, axes, keep: x.mean(axes, keep))
_reduction("ReduceMax", lambda x, axes, keep: functions.amax(x, axes, keep), "fi")
_reduction("ReduceMin", lambda x, axes, keep: functions.amin(x, axes, keep), "fi")
_reduction("ReduceProd", _product)
_reduction("ReduceL1", lambda x, axes, keep: abs(x).sum(axes, keep))
_reduction("ReduceL2", lambda x, axes, keep: (x * x).sum(axes, keep).sqrt())
_reduction("ReduceSumSquare", lambda x, axes, keep: (x * x).sum(axes, keep))
_reduction("ReduceLogSum", lambda x, axes, keep: x.sum(axes, keep).log())
_reduction("ReduceLogSumExp", lambda x, axes, keep: functions.logsumexp(x, axes, keep))


def _extreme(name: str, find: Callable[[Tensor, int, bool], Tensor]) -> None:
    @operator(name, axis=0, keepdims=1, select_last_index=0)
    def run(call: Call, x: Tensor, axis: int, keepdims: int, select_last_index: int) -> Tensor:
        if select_last_index:
            raise unsupported(call, "with select_last_index")
        return find(x, axis_of(axis, x.ndim, call.operator), bool(keepdims))


_extreme("ArgMax", lambda x, axis, keep: x.argmax(axis, keep))
_extreme("ArgMin", lambda x, axis, keep: x.argmin(axis, keep))


@operator("CumSum", host=(1,), exclusive=0, reverse=0)
def _cumsum(call: Call, x: Tensor, axis: _Array, exclusive: int, reverse: int) -> Tensor:
    if exclusive or reverse:
        raise unsupported(call, "with exclusive or reverse")
    return functions.cumsum(x, axis_of(int(axis.item()), x.ndim, call.operator))


# ------------------------------------------------------------------------------------------ images of another size


@operator("Upsample", host=(1,), settings=(1,), mode="nearest")
def _upsample(call: Call, x: Tensor, given: _Array, mode: str) -> Tensor:
    if mode != "nearest" or given.shape != (x.ndim,):
        raise unsupported(call, f"with mode {mode:.20}")
    return _taken(
        call,
        x,
        [(int(size * scale), float(scale)) for size, scale in zip(x.shape, given, strict=True)],
        lambda places, size: _rounded(places, size, math.floor),
        "asymmetric",
    )


@operator(
    "Resize",
    host=(1, 2, 3),
    settings=(1, 2),
    mode="nearest",
    coordinate_transformation_mode="half_pixel",
    nearest_mode="round_prefer_floor",
    antialias=0,
    cubic_coeff_a=-0.75,
    exclude_outside=0,
    extrapolation_value=0.0,
    axes=None,
    keep_aspect_ratio_policy="stretch",
)
def _resize(
    call: Call,
    x: Tensor,
    region: _Array | None = None,
    scales: _Array | None = None,
    sizes: _Array | None = None,
    *,
    mode: str,
    coordinate_transformation_mode: str,
    nearest_mode: str,
    antialias: int,
    axes: list[int] | None,
    keep_aspect_ratio_policy: str,
    **cubic: float,
) -> Tensor:
    if call.version < 11 or antialias or mode not in ("nearest", "linear") or keep_aspect_ratio_policy != "stretch":
        raise unsupported(call, f"with mode {mode:.20}, antialias or a policy, or before version 11,")
    if coordinate_transformation_mode not in _PLACES or nearest_mode not in _ROUNDING:
        raise unsupported(call, f"with {coordinate_transformation_mode:.40} and {nearest_mode:.40}")
    which = _axes(call, range(x.ndim) if axes is None else axes, x.ndim)
    by_scale = scales is not None and scales.size > 0
    given = scales if by_scale else sizes
    if given is None or given.shape != (len(which),):
        raise ArgumentError(f"{call.operator}: a size or a scale is expected for each of {len(which)} axes")
    targets = [(size, 1.0) for size in x.shape]
    for axis, number in zip(which, given.tolist(), strict=True):
        targets[axis] = (math.floor(x.shape[axis] * number), number) if by_scale else (number, number / x.shape[axis])
    if mode == "linear":
        return _taken(call, x, targets, _linear, coordinate_transformation_mode)
    round_to = _ROUNDING[nearest_mode]
    return _taken(
        call, x, targets, lambda places, size: _rounded(places, size, round_to), coordinate_transformation_mode
    )


# Where row i of `target` rows lies among the `size` rows that there were, `scale` times as many being wanted.
_PLACES: dict[str, Callable[[int, int, int, float], float]] = {
    "half_pixel": lambda i, size, target, scale: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, size, target, scale: (i + 0.5) / scale - 0.5 if target > 1 else 0.0,
    "align_corners": lambda i, size, target, scale: i * (size - 1) / (size * scale - 1) if target > 1 else 0.0,
    "asymmetric": lambda i, size, target, scale: i / scale,
}
_ROUNDING: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda place: math.ceil(place - 0.5),
    "round_prefer_ceil": lambda place: math.floor(place + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


def _rounded(places: list[float], size: int, round_to: Callable[[float], int]) -> list[Tap]:
    return [Tap([min(max(round_to(place), 0), size - 1) for place in places])]


def _linear(places: list[float], size: int) -> list[Tap]:
    inside = [min(max(place, 0.0), size - 1.0) for place in places]
    first = [int(place) for place in inside]
    rest = [place - i for place, i in zip(inside, first, strict=True)]
    return [Tap(first, [1 - part for part in rest]), Tap([min(i + 1, size - 1) for i in first], rest)]


def _taken(
    call: Call, x: Tensor, targets: list[tuple[int, float]], taps: Callable[[list[float], int], list[Tap]], places: str
) -> Tensor:
    bounded(call, [target for target, _ in targets])
    if x.numel() == 0 or min(target for target, _ in targets) < 1 or not all(math.isfinite(s) for _, s in targets):
        raise unsupported(call, "to or of no pixels")
    axes = {
        axis: taps([_PLACES[places](i, size, target, scale) for i in range(target)], size)
        for axis, (size, (target, scale)) in enumerate(zip(x.shape, targets, strict=True))
        if (target, scale) != (size, 1.0)
    }
    return apply(Interpolate(axes), x) if axes else x
