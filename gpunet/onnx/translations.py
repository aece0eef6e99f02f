"""The table of operations and what each is in ONNX: one operator, or a few.

A translation is given the operation, the graph that it adds nodes to, and the names of the inputs; it returns the name
of the result. It sees the shapes of the inputs in `graph.shapes`. Heights and widths are those of the example; where
the number of images counts, `Graph.size` notes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gpunet.backend import to_cpu
from gpunet.errors import ArgumentError
from gpunet.onnx.graph import Graph
from gpunet.ops import (
    activation,
    adaptive_pooling,
    arithmetic,
    batchnorm,
    conv,
    conv_transpose,
    elementary,
    formulas,
    groupnorm,
    linear,
    matmul,
    pooling,
    reduction,
    resample,
    shaping,
    softmax,
)
from gpunet.ops.operation import Operation
from gpunet.ops.window import Window

__all__ = ["TRANSLATIONS", "Translation", "translate"]

Translation: TypeAlias = Callable[..., str]  # (operation, graph, *names) -> name


def translate(operation: Operation, graph: Graph, *inputs: str) -> str:
    """Add to the graph what an operation does; the name of the result.

    Raises:
        ArgumentError: if ONNX has nothing for it, or not with its settings.
    """
    translation = TRANSLATIONS.get(type(operation))
    if translation is None:
        raise ArgumentError(f"export: there is no translation of the operation {type(operation).__name__} to ONNX")
    return translation(operation, graph, *inputs)


def _cannot(what: str) -> ArgumentError:
    return ArgumentError(f"export: there is no translation of {what} to ONNX")


# ------------------------------------------------------------------------------------------------- tables of one kind


def _plain(operator: str, **attributes: Any) -> Translation:
    """One operator, whatever the settings."""
    return lambda op, graph, *inputs: graph.node(operator, *inputs, **attributes)


def _setting(operator: str, *names: str) -> Translation:
    """One operator whose attributes are the settings of a formula, in their order."""
    return lambda op, graph, x: graph.node(operator, x, **dict(zip(names, map(float, op.settings), strict=True)))


def _along_axis(operator: str) -> Translation:
    return lambda op, graph, *inputs: graph.node(operator, *inputs, axis=op.axis)


def _reduced(operator: str) -> Translation:
    return lambda op, graph, x: _reduce(graph, operator, x, op.axes, op.keepdims)


def _reduce(graph: Graph, operator: str, x: str, axes: tuple[int, ...], keepdims: bool) -> str:
    if not axes:  # of a single number; no axes are all axes to ONNX
        return graph.node("Identity", x)
    return graph.node(operator, x, graph.whole(*axes), keepdims=int(keepdims))


# ------------------------------------------------------------------------------------------------------ windows


def _geometry(window: Window) -> dict[str, Any]:
    (top, bottom), (left, right) = window.padding
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": [top, left, bottom, right],
        "dilations": list(window.dilation),
    }


def _conv(op: conv.Conv2d, graph: Graph, *inputs: str) -> str:
    return graph.node("Conv", *inputs, **_geometry(op.window), group=op.groups)


def _conv_transpose(op: conv_transpose.ConvTranspose2d, graph: Graph, *inputs: str) -> str:
    window, sizes = op.window, graph.shapes[inputs[0]][2:]
    given = [
        window.stride[axis] * (sizes[axis] - 1) + window.extent[axis] - sum(window.padding[axis]) for axis in (0, 1)
    ]
    added = [op.size[axis] - given[axis] for axis in (0, 1)]
    return graph.node("ConvTranspose", *inputs, **_geometry(window), group=op.groups, output_padding=added)


def _floored(window: Window, height: int, width: int) -> Window:
    """The same windows without ceil_mode: what it reaches beyond the padding is padding, too."""
    positions = window.output_size(height, width)
    padding = []
    for axis, size in enumerate((height, width)):
        before, after = window.padding[axis]
        reach = (positions[axis] - 1) * window.stride[axis] + window.extent[axis]
        padding.append((before, max(after, reach - size - before)))
    return window._replace(padding=(padding[0], padding[1]), ceil_mode=False)


def _max_pool(op: pooling.MaxPool2d, graph: Graph, x: str) -> str:
    return graph.node("MaxPool", x, **_geometry(_floored(op.window, *graph.shapes[x][2:])))


def _avg_pool(op: pooling.AvgPool2d, graph: Graph, x: str) -> str:
    """What counts is made part of the image, so that all other padding never counts."""
    window, (include, divisor), sizes = op.window, op.divisor_rule, graph.shapes[x][2:]
    floored = _floored(window, *sizes)
    counts = floored.padding if divisor else window.padding if include else ((0, 0), (0, 0))
    if any(sum(each) for each in counts):
        x = _pad(graph, x, ((0, 0), (0, 0), *counts), 0.0)
    left = [(f[0] - c[0], f[1] - c[1]) for f, c in zip(floored.padding, counts, strict=True)]
    geometry = _geometry(floored._replace(padding=(left[0], left[1])))
    del geometry["dilations"]  # there are none
    y = graph.node("AveragePool", x, **geometry)
    return graph.node("Mul", y, graph.constant(math.prod(window.kernel) / divisor)) if divisor else y


def _adaptive(whole: str, blocks: str) -> Translation:
    """One value an image, or equal blocks."""

    def translation(op: Any, graph: Graph, x: str) -> str:
        sizes, target = graph.shapes[x][2:], op.output_size
        if tuple(target) == (1, 1):
            return graph.node(whole, x)
        if any(size % cells for size, cells in zip(sizes, target, strict=True)):
            raise _cannot(f"{type(op).__name__} from {sizes} to {tuple(target)}, whose blocks are not all alike,")
        block = [size // cells for size, cells in zip(sizes, target, strict=True)]
        return graph.node(blocks, x, kernel_shape=block, strides=block)

    return translation


# ------------------------------------------------------------------------------------------------------ normalisation


def _batch_norm(op: batchnorm.BatchNormInference, graph: Graph, x: str, *learnt: str) -> str:
    mean, var = op.given
    affine = [*learnt, *(graph.constant(np.full(mean.shape, value)) for value in (1, 0)[len(learnt) :])]
    return graph.node("BatchNormalization", x, *affine, graph.weight(mean), graph.weight(var), epsilon=op.eps)


def _group_norm(op: groupnorm.GroupNorm, graph: Graph, x: str) -> str:
    """Each group as a channel of its own, which instance norm takes by itself."""
    rows = graph.node("Reshape", x, graph.whole(0, op.groups, -1))  # (N, G, C/G * pixels)
    one, zero = graph.constant(np.ones(op.groups)), graph.constant(np.zeros(op.groups))
    y = graph.node("InstanceNormalization", rows, one, zero, epsilon=op.eps)
    return graph.node("Reshape", y, graph.size(graph.shapes[x]))


def _layer_norm(op: groupnorm.LayerNorm, graph: Graph, x: str) -> str:
    one = graph.constant(np.ones(graph.shapes[x][-op.ndim :]))
    return graph.node("LayerNormalization", x, one, axis=-op.ndim, epsilon=op.eps)


# ------------------------------------------------------------------------------------------------------ products


def _linear(op: linear.Linear, graph: Graph, x: str, weight: str, *bias: str) -> str:
    if len(graph.shapes[x]) == 2:
        return graph.node("Gemm", x, weight, *bias, transB=1)
    y = graph.node("MatMul", x, graph.node("Transpose", weight, perm=[1, 0]))
    return graph.node("Add", y, *bias) if bias else y


# ------------------------------------------------------------------------------------------------------ shapes


def _reshape(op: shaping.Reshape, graph: Graph, x: str) -> str:
    return graph.node("Reshape", x, graph.size(op.shape))


def _expand(op: shaping.Expand, graph: Graph, x: str) -> str:
    """A size that is there already stays, and so is 1 to ONNX: it may be that of the batch."""
    before, after = graph.shapes[x], op.shape
    before = (1,) * (len(after) - len(before)) + before
    return graph.node("Expand", x, graph.whole(*(1 if a == b else b for a, b in zip(before, after, strict=True))))


def _index(op: shaping.Index, graph: Graph, x: str) -> str:
    """Slices, then dimensions that go or are new; one list of places for an axis."""
    key = op.key if isinstance(op.key, tuple) else (op.key,)
    if any(getattr(part, "dtype", None) == np.bool_ for part in key):
        raise _cannot("an index that is a mask")
    taken = sum(part is not None and part is not Ellipsis for part in key)
    rest = (slice(None),) * (len(graph.shapes[x]) - taken)
    at = next((i for i, part in enumerate(key) if part is Ellipsis), len(key))
    key = (*key[:at], *rest, *key[at + 1 :])
    slices: list[tuple[int, slice]] = []
    gone: list[int] = []
    new: list[int] = []
    places: list[tuple[int, Any]] = []
    axis, place = 0, 0
    for part in key:
        if part is None:
            new.append(place)
            place += 1
            continue
        if isinstance(part, slice):
            if part != slice(None):
                slices.append((axis, part))
            place += 1
        elif isinstance(part, int | np.integer):
            gone.append(axis)
            slices.append((axis, slice(int(part), int(part) + 1 if part != -1 else None)))
        else:
            places.append((axis, np.asarray(to_cpu(part) if hasattr(part, "dtype") else part)))
            place += 1
        axis += 1
    if len(places) > 1 or (places and (gone or new or places[0][1].ndim != 1)):
        raise _cannot("an index of several lists of places")
    for axis, where in places:
        x = graph.node("Gather", x, graph.constant(where, np.int64), axis=axis)
    if slices:
        x = _slice(graph, x, slices)
    if gone:
        x = graph.node("Squeeze", x, graph.whole(*gone))
    return (
        graph.node("Unsqueeze", x, graph.whole(*new)) if new else x if slices or places else graph.node("Identity", x)
    )


def _slice(graph: Graph, x: str, slices: list[tuple[int, slice]]) -> str:
    far = 2**31 - 1
    steps = [1 if part.step is None else int(part.step) for _, part in slices]
    starts = [
        (0 if step > 0 else far) if part.start is None else int(part.start)
        for (_, part), step in zip(slices, steps, strict=True)
    ]
    ends = [
        (far if step > 0 else -far) if part.stop is None else int(part.stop)
        for (_, part), step in zip(slices, steps, strict=True)
    ]
    axes = [axis for axis, _ in slices]
    return graph.node("Slice", x, *(graph.whole(*numbers) for numbers in (starts, ends, axes, steps)))


def _pad(graph: Graph, x: str, widths: Any, value: float) -> str:
    before, after = zip(*widths, strict=True)
    return graph.node("Pad", x, graph.whole(*before, *after), graph.constant(value))


def _resample(op: Any, graph: Graph, x: str) -> str:
    """Axis by axis the weighted sum of a few rows, as the operation does it."""
    dims = len(graph.shapes[x])
    for axis, taps in op.axes.items():
        parts = []
        for rows, weights in taps:
            part = graph.node("Gather", x, graph.constant(rows, np.int64), axis=axis)
            if weights is not None:
                part = graph.node("Mul", part, graph.constant(np.reshape(weights, (-1, *(1,) * (dims - axis - 1)))))
            parts.append(part)
        x = parts[0]
        for part in parts[1:]:
            x = graph.node("Add", x, part)
    return graph.node("Identity", x) if not op.axes else x


def _cast(op: shaping.Cast, graph: Graph, x: str) -> str:
    if op.dtype != np.float32:
        raise _cannot(f"a change to {np.dtype(op.dtype)}: ONNX files are written in float32, and it")
    return graph.node("Identity", x)


# ------------------------------------------------------------------------------------------------------ formulas


def _clip(graph: Graph, x: str, low: float | None, high: float | None) -> str:
    return graph.node("Clip", x, *("" if bound is None else graph.constant(bound) for bound in (low, high)))


def _remainder(op: arithmetic.Remainder, graph: Graph, a: str, b: str) -> str:
    times = graph.node("Floor", graph.node("Div", a, b))
    return graph.node("Sub", a, graph.node("Mul", times, b))


def _where(op: arithmetic.Where, graph: Graph, a: str, b: str) -> str:
    return graph.node("Where", graph.constant(to_cpu(op.condition), np.bool_), a, b)


def _silu(op: Operation, graph: Graph, x: str) -> str:
    return graph.node("Mul", x, graph.node("Sigmoid", x))


def _gelu(op: Operation, graph: Graph, x: str) -> str:
    """X (1 + erf(x / sqrt 2)) / 2."""
    erf = graph.node("Erf", graph.node("Mul", x, graph.constant(math.sqrt(0.5))))
    half = graph.node("Mul", x, graph.constant(0.5))
    return graph.node("Mul", half, graph.node("Add", erf, graph.constant(1.0)))


def _tanh_gelu(op: activation.TanhGELU, graph: Graph, x: str) -> str:
    """X (1 + tanh(u)) / 2 with u = scale (x + cubic x^3)."""
    cube = graph.node("Mul", graph.node("Mul", x, x), x)
    inner = graph.node("Add", x, graph.node("Mul", cube, graph.constant(op.CUBIC)))
    tanh = graph.node("Tanh", graph.node("Mul", inner, graph.constant(op.SCALE)))
    half = graph.node("Mul", x, graph.constant(0.5))
    return graph.node("Mul", half, graph.node("Add", tanh, graph.constant(1.0)))


def _softplus(op: formulas.Softplus, graph: Graph, x: str) -> str:
    """Where beta x > threshold it is x, which beyond 16 makes no difference in float32."""
    beta, threshold = op.settings
    if threshold < 16:
        raise _cannot(f"Softplus with a threshold of {threshold:g}, below 16,")
    if beta == 1:
        return graph.node("Softplus", x)
    scaled = graph.node("Softplus", graph.node("Mul", x, graph.constant(beta)))
    return graph.node("Div", scaled, graph.constant(beta))


def _threshold(op: formulas.Threshold, graph: Graph, x: str) -> str:
    limit, value = (graph.constant(each) for each in op.settings)
    return graph.node("Where", graph.node("LessOrEqual", x, limit), value, x)


def _shrink(soft: bool) -> Translation:
    return lambda op, graph, x: graph.node(
        "Shrink", x, lambd=float(op.settings[0]), bias=float(op.settings[0]) if soft else 0.0
    )


def _norm(op: reduction.Norm, graph: Graph, x: str) -> str:
    if op.p in (1, 2):
        return _reduce(graph, f"ReduceL{op.p:g}", x, op.axes, op.keepdims)
    if math.isinf(op.p):
        extreme = "ReduceMax" if op.p > 0 else "ReduceMin"
        return _reduce(graph, extreme, graph.node("Abs", x), op.axes, op.keepdims)
    raise _cannot(f"Norm with p={op.p:g}")


_SAME_NAME = (
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "ceil",
    "cos",
    "cosh",
    "erf",
    "floor",
    "reciprocal",
    "round",
    "sign",
    "sin",
    "sinh",
    "tan",
)
_ELEMENTARY: dict[str, Callable[[Graph, str], str]] = {
    "expm1": lambda graph, x: graph.node("Sub", graph.node("Exp", x), graph.constant(1.0)),
    "frac": lambda graph, x: graph.node("Sub", x, _ELEMENTARY["trunc"](graph, x)),
    "log10": lambda graph, x: graph.node("Mul", graph.node("Log", x), graph.constant(1 / math.log(10))),
    "log1p": lambda graph, x: graph.node("Log", graph.node("Add", x, graph.constant(1.0))),
    "log2": lambda graph, x: graph.node("Mul", graph.node("Log", x), graph.constant(1 / math.log(2))),
    "rsqrt": lambda graph, x: graph.node("Reciprocal", graph.node("Sqrt", x)),
    "square": lambda graph, x: graph.node("Mul", x, x),
    "trunc": lambda graph, x: graph.node("Mul", graph.node("Sign", x), graph.node("Floor", graph.node("Abs", x))),
}


def _elementary(op: elementary.Elementary, graph: Graph, x: str) -> str:
    (name,) = (name for name, rule in elementary.TABLE.items() if rule is op.rule)
    return graph.node(name.capitalize(), x) if name in _SAME_NAME else _ELEMENTARY[name](graph, x)


TRANSLATIONS: dict[type[Operation], Translation] = {
    activation.GELU: _gelu,
    activation.LeakyReLU: lambda op, graph, x: graph.node("LeakyRelu", x, alpha=float(op.slope)),
    activation.PReLU: _plain("PRelu"),
    activation.ReLU: _plain("Relu"),
    activation.SiLU: _silu,
    activation.Sigmoid: _plain("Sigmoid"),
    activation.Tanh: _plain("Tanh"),
    activation.TanhGELU: _tanh_gelu,
    adaptive_pooling.AdaptiveAvgPool2d: _adaptive("GlobalAveragePool", "AveragePool"),
    adaptive_pooling.AdaptiveMaxPool2d: _adaptive("GlobalMaxPool", "MaxPool"),
    arithmetic.Abs: _plain("Abs"),
    arithmetic.Add: _plain("Add"),
    arithmetic.Clamp: lambda op, graph, x: _clip(graph, x, op.low, op.high),
    arithmetic.Divide: _plain("Div"),
    arithmetic.Exp: _plain("Exp"),
    arithmetic.Log: _plain("Log"),
    arithmetic.Maximum: _plain("Max"),
    arithmetic.Minimum: _plain("Min"),
    arithmetic.Multiply: _plain("Mul"),
    arithmetic.Negate: _plain("Neg"),
    arithmetic.Power: _plain("Pow"),
    arithmetic.Reciprocal: _plain("Div"),
    arithmetic.Remainder: _remainder,
    arithmetic.Sqrt: _plain("Sqrt"),
    arithmetic.Subtract: _plain("Sub"),
    arithmetic.Where: _where,
    batchnorm.BatchNormInference: _batch_norm,
    conv.Conv2d: _conv,
    conv_transpose.ConvTranspose2d: _conv_transpose,
    elementary.Elementary: _elementary,
    elementary.PreciseElementary: _elementary,
    formulas.CELU: _setting("Celu", "alpha"),
    formulas.ELU: _setting("Elu", "alpha"),
    formulas.Hardshrink: _shrink(soft=False),
    formulas.Hardsigmoid: _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    formulas.Hardswish: _plain("HardSwish"),
    formulas.Hardtanh: lambda op, graph, x: _clip(graph, x, *op.settings),
    formulas.LogSigmoid: lambda op, graph, x: graph.node("Neg", graph.node("Softplus", graph.node("Neg", x))),
    formulas.Mish: _plain("Mish"),
    formulas.SELU: _plain("Selu", alpha=formulas.SELU.ALPHA, gamma=formulas.SELU.SCALE),
    formulas.Softplus: _softplus,
    formulas.Softshrink: _shrink(soft=True),
    formulas.Softsign: _plain("Softsign"),
    formulas.Tanhshrink: lambda op, graph, x: graph.node("Sub", x, graph.node("Tanh", x)),
    formulas.Threshold: _threshold,
    groupnorm.GroupNorm: _group_norm,
    groupnorm.LayerNorm: _layer_norm,
    linear.Linear: _linear,
    matmul.MatMul: _plain("MatMul"),
    pooling.AvgPool2d: _avg_pool,
    pooling.MaxPool2d: _max_pool,
    reduction.CumulativeSum: lambda op, graph, x: graph.node("CumSum", x, graph.constant(op.axis, np.int64)),
    reduction.Extremum: lambda op, graph, x: _reduce(
        graph, "ReduceMax" if op.largest else "ReduceMin", x, op.axes, op.keepdims
    ),
    reduction.Mean: _reduced("ReduceMean"),
    reduction.Norm: _norm,
    reduction.Product: lambda op, graph, x: _reduce(graph, "ReduceProd", x, (op.axis,), op.keepdims),
    reduction.Sum: _reduced("ReduceSum"),
    resample.Interpolate: _resample,
    resample.Repeat: _resample,
    shaping.Cast: _cast,
    shaping.Concatenate: _along_axis("Concat"),
    shaping.Expand: _expand,
    shaping.Index: _index,
    shaping.Pad: lambda op, graph, x: _pad(graph, x, op.widths, op.value),
    shaping.Permute: lambda op, graph, x: graph.node("Transpose", x, perm=[int(axis) for axis in op.axes]),
    shaping.Reshape: _reshape,
    shaping.Same: _plain("Identity"),
    softmax.LogSoftmax: _along_axis("LogSoftmax"),
    softmax.Softmax: _along_axis("Softmax"),
}
"""By class; what is missing cannot be exported, and is said to by its name."""
