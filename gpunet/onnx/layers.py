"""Operators of ONNX that are layers, on images of two dimensions: convolution, pooling, norms, products, softmax."""

from __future__ import annotations

import math
from typing import Any

from gpunet import functional as F
from gpunet.arguments import axis_of
from gpunet.errors import ArgumentError
from gpunet.onnx.operators import ABSENT, LARGEST, Call, bounded, operator, unsupported
from gpunet.ops.conv import Conv2d
from gpunet.ops.conv_transpose import ConvTranspose2d
from gpunet.ops.pooling import AvgPool2d, MaxPool2d
from gpunet.ops.window import Window
from gpunet.tensor import Tensor, apply

__all__: list[str] = []

_Array = Any

# ----------------------------------------------------------------------------------------------------------- windows

_WINDOW: dict[str, Any] = {"auto_pad": "NOTSET", "kernel_shape": None, "pads": None, "strides": None}


def _images(call: Call, x: Tensor) -> None:
    if x.ndim != 4:
        raise unsupported(call, f"of images of {x.ndim} dimensions")
    if 0 in x.shape:
        raise unsupported(call, "of images without pixels")


def _window(
    call: Call,
    x: Tensor,
    kernel: Any,
    auto_pad: str,
    pads: list[int] | None,
    strides: list[int] | None,
    dilations: list[int] | None = None,
    ceil_mode: int = 0,
) -> Window:
    """The window over images (N, C, H, W) that the attributes describe."""
    _images(call, x)
    step = tuple(strides or (1, 1))
    apart = tuple(dilations or (1, 1))
    if len(kernel or ()) != 2 or len(step) != 2 or len(apart) != 2 or min(*kernel, *step, *apart) < 1:
        raise ArgumentError(f"{call.operator}: two sizes of 1 or more are expected of kernel, strides and dilations")
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, apart, strict=True)]
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        padding = []
        for size, reach, stride in zip(x.shape[2:], extent, step, strict=True):
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
            less, more = total // 2, total - total // 2
            padding.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    elif auto_pad in ("NOTSET", "VALID", ""):
        given = list(pads or (0, 0, 0, 0)) if auto_pad != "VALID" else [0, 0, 0, 0]
        if len(given) != 4 or min(given) < 0:
            raise unsupported(call, f"with pads {given}")
        padding = [(given[0], given[2]), (given[1], given[3])]
    else:
        raise unsupported(call, f"with auto_pad {auto_pad:.20}")
    window = Window(tuple(kernel), step, (padding[0], padding[1]), apart, bool(ceil_mode))
    sizes = window.output_size(*x.shape[2:])
    if min(sizes) < 1:
        raise ArgumentError(f"{call.operator}: a window of {extent} does not fit into images of {x.shape[2:]}")
    bounded(call, (*x.shape[:2], *window.padded_size(*x.shape[2:])))
    bounded(call, (x.shape[0], *sizes))
    return window


def _inside(call: Call, window: Window) -> Window:
    """For pooling: that no window lies in the padding alone."""
    if any(pad >= reach for pads, reach in zip(window.padding, window.extent, strict=True) for pad in pads):
        raise unsupported(call, "with padding as large as its windows")
    return window


@operator("Conv", **_WINDOW, dilations=None, group=1)
def _conv(
    call: Call,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel_shape: list[int] | None,
    group: int,
    **geometry: Any,
) -> Tensor:
    _images(call, x)
    _check_filters(call, weight, kernel_shape)
    outputs, channels = weight.shape[:2]
    if group < 1 or outputs % group or channels * group != x.shape[1]:
        raise ArgumentError(f"{call.operator}: images of {x.shape} and filters of {weight.shape} in {group} groups")
    window = _window(call, x, weight.shape[2:], **geometry)
    if math.prod(window.output_size(*x.shape[2:])) * math.prod(weight.shape[1:]) > 8 * LARGEST:  # rows of an image
        raise ArgumentError(f"{call.operator}: the windows of {weight.shape[2:]} over {x.shape[2:]} are too large")
    _check_bias(call, bias, outputs)
    return apply(Conv2d(window, group), x, weight, *(() if bias is None else (bias,)))


def _check_filters(call: Call, weight: Tensor, kernel_shape: list[int] | None) -> None:
    if weight.ndim != 4 or 0 in weight.shape or tuple(kernel_shape or weight.shape[2:]) != weight.shape[2:]:
        raise ArgumentError(f"{call.operator}: filters of shape {weight.shape} are not those of kernel {kernel_shape}")


def _check_bias(call: Call, bias: Tensor | None, outputs: int) -> None:
    if bias is not None and bias.shape != (outputs,):
        raise ArgumentError(f"{call.operator}: the bias has shape {bias.shape}, expected {(outputs,)}")


@operator("ConvTranspose", **_WINDOW, dilations=None, group=1, output_padding=None, output_shape=None)
def _conv_transpose(
    call: Call,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str,
    kernel_shape: list[int] | None,
    pads: list[int] | None,
    strides: list[int] | None,
    dilations: list[int] | None,
    group: int,
    output_padding: list[int] | None,
    output_shape: list[int] | None,
) -> Tensor:
    _images(call, x)
    _check_filters(call, weight, kernel_shape)
    outputs = weight.shape[1] * group
    if group < 1 or weight.shape[0] != x.shape[1] or x.shape[1] % group:
        raise ArgumentError(f"{call.operator}: images of {x.shape} and filters of {weight.shape} in {group} groups")
    _check_bias(call, bias, outputs)
    step, apart, added = (
        list(each or default) for each, default in ((strides, (1, 1)), (dilations, (1, 1)), (output_padding, (0, 0)))
    )
    if auto_pad not in ("NOTSET", "VALID", "") or output_shape is not None:
        raise unsupported(call, "with auto_pad or output_shape")
    around = list(pads or (0, 0, 0, 0)) if auto_pad != "VALID" else [0] * 4
    if [len(each) for each in (step, apart, added, around)] != [2, 2, 2, 4] or min(*step, *apart) < 1:
        raise ArgumentError(f"{call.operator}: two numbers each are expected of strides, dilations and output_padding")
    if min(*added, *around) < 0:
        raise unsupported(call, "with negative padding")
    kernel = (weight.shape[2], weight.shape[3])
    padding = ((around[0], around[2]), (around[1], around[3]))
    window = Window(kernel, (step[0], step[1]), padding, (apart[0], apart[1]))
    sizes = [
        step[axis] * (x.shape[2 + axis] - 1) + added[axis] + window.extent[axis] - sum(window.padding[axis])
        for axis in (0, 1)
    ]
    if min(sizes) < 1 or any(window.output_size(*sizes)[i] != x.shape[2 + i] for i in (0, 1)):
        raise unsupported(call, f"to images of {sizes}")
    bounded(call, (x.shape[0], outputs, *sizes))
    return apply(ConvTranspose2d(window, group, (sizes[0], sizes[1])), x, weight, *(() if bias is None else (bias,)))


@operator("MaxPool", **_WINDOW, dilations=None, ceil_mode=0, storage_order=0)
def _max_pool(call: Call, x: Tensor, *, kernel_shape: Any, storage_order: int, **geometry: Any) -> Tensor:
    return apply(MaxPool2d(_inside(call, _window(call, x, kernel_shape, **geometry))), x)


@operator("AveragePool", **_WINDOW, dilations=None, ceil_mode=0, count_include_pad=0)
def _average_pool(
    call: Call, x: Tensor, *, kernel_shape: Any, count_include_pad: int, dilations: Any, **geometry: Any
) -> Tensor:
    if any(each != 1 for each in dilations or ()):
        raise unsupported(call, "with dilations")
    window = _inside(call, _window(call, x, kernel_shape, **geometry))
    return apply(AvgPool2d(window, bool(count_include_pad), None), x)


@operator("GlobalAveragePool")
def _global_average_pool(call: Call, x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.ndim)), keepdim=True) if x.ndim > 2 else x


@operator("GlobalMaxPool")
def _global_max_pool(call: Call, x: Tensor) -> Tensor:
    return x.amax(tuple(range(2, x.ndim)), keepdim=True) if x.ndim > 2 else x


# ----------------------------------------------------------------------------------------------------- normalisation


@operator(
    "BatchNormalization",
    settings=(3, 4),
    epsilon=1e-5,
    momentum=0.9,
    training_mode=0,
    spatial=1,
    is_test=0,
)
def _batch_norm(
    call: Call,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float,
    momentum: float,
    training_mode: int,
    spatial: int,
    is_test: int,
) -> Tensor:
    """While the Module trains, statistics are those of the batch, towards which its own move, as in a layer."""
    if training_mode or (call.version < 7 and not is_test) or not spatial:
        raise unsupported(call, "with training_mode, without is_test or not spatial")
    if not 2 <= x.ndim <= 4:
        raise unsupported(call, f"of {x.ndim} dimensions")
    if {each.dtype for each in (x, weight, bias, mean, var)} != {x.dtype}:
        raise unsupported(call, "of several types of number")
    return F.batch_norm(x, mean, var, weight, bias, call.training, 1 - momentum, epsilon)


@operator("InstanceNormalization", epsilon=1e-5)
def _instance_norm(call: Call, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    return F.instance_norm(x, weight=weight, bias=bias, eps=epsilon)


@operator("GroupNormalization", epsilon=1e-5, num_groups=0, stash_type=1)
def _group_norm(
    call: Call, x: Tensor, weight: Tensor, bias: Tensor, epsilon: float, num_groups: int, stash_type: int
) -> Tensor:
    if call.version < 21:
        raise unsupported(call, "of versions before 21")
    return F.group_norm(x, num_groups, weight, bias, epsilon)


@operator("LayerNormalization", axis=-1, epsilon=1e-5, stash_type=1)
def _layer_norm(
    call: Call, x: Tensor, weight: Tensor, bias: Tensor | None = None, *, axis: int, epsilon: float, stash_type: int
) -> Any:
    axes = tuple(range(axis_of(axis, x.ndim, call.operator), x.ndim))
    y = F.layer_norm(x, x.shape[axes[0] :], eps=epsilon) * weight
    y = y if bias is None else y + bias
    if call.needed < 2:
        return y
    mean = x.mean(axes, keepdim=True)
    return y, mean, 1 / (((x - mean) * (x - mean)).mean(axes, keepdim=True) + epsilon).sqrt()


@operator("RMSNormalization", axis=-1, epsilon=1e-5, stash_type=1)
def _rms_norm(call: Call, x: Tensor, weight: Tensor, axis: int, epsilon: float, stash_type: int) -> Tensor:
    return F.rms_norm(x, x.shape[axis_of(axis, x.ndim, call.operator) :], eps=epsilon) * weight


@operator("LRN", alpha=1e-4, beta=0.75, bias=1.0, size=0)
def _lrn(call: Call, x: Tensor, alpha: float, beta: float, bias: float, size: int) -> Tensor:
    if size % 2 == 0:
        raise unsupported(call, "of an even size")
    return F.local_response_norm(x, size, alpha, beta, bias)


@operator("Dropout", host=(1, 2), kinds="f", ratio=0.5, seed=0, is_test=0)
def _dropout(
    call: Call,
    x: Tensor,
    given: _Array | None = None,
    training: _Array | None = None,
    *,
    ratio: float,
    seed: int,
    is_test: int,
) -> Any:
    """Of the Module's mode, as a layer; a file that asks for random numbers in any case gets none."""
    if (training is not None and training.item()) or (call.version < 7 and not is_test):
        raise unsupported(call, "with training_mode, or without is_test")
    if given is not None:
        ratio = float(given.item())
    if call.training:
        return F.dropout(x, ratio, training=True)
    if call.needed < 2:
        return x
    if call.version < 10:
        raise unsupported(call, "with a mask, before version 10,")
    return x, (x == x) | (x != x)  # nothing is dropped


# ----------------------------------------------------------------------------------------------------------- products


@operator("MatMul")
def _matmul(call: Call, a: Tensor, b: Tensor) -> Tensor:
    return a @ b


@operator("Gemm", alpha=1.0, beta=1.0, transA=0, transB=0, broadcast=0)
def _gemm(
    call: Call,
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float,
    beta: float,
    transA: int,  # noqa: N803
    transB: int,  # noqa: N803
    broadcast: int,
) -> Tensor:
    if a.ndim != 2 or b.ndim != 2:
        raise ArgumentError(f"{call.operator} is of matrices, got shapes {a.shape} and {b.shape}")
    if transB and not transA and alpha == beta == 1 and c is not None and c.shape == (b.shape[0],):
        return F.linear(a, b, c)
    y = (a.T if transA else a) @ (b.T if transB else b)
    y = y if alpha == 1 else y * alpha
    if c is None:
        return y
    if call.version < 7 and not broadcast and c.shape != y.shape:
        raise unsupported(call, "of other shapes without broadcast")
    return y + (c if beta == 1 else c * beta)


# ------------------------------------------------------------------------------------------------------------ softmax


def _along(function: Any) -> Any:
    def run(call: Call, x: Tensor, axis: int) -> Tensor:
        if call.version >= 13:
            return function(x, axis_of(-1 if axis == ABSENT else axis, x.ndim, call.operator))
        # All dimensions from the axis on are one.
        at = axis_of(1 if axis == ABSENT else axis, x.ndim, call.operator)
        rows = x.reshape(math.prod(x.shape[:at]), math.prod(x.shape[at:]))
        return function(rows, 1).reshape(x.shape)

    return run


operator("Softmax", axis=ABSENT)(_along(F.softmax))
operator("LogSoftmax", axis=ABSENT)(_along(F.log_softmax))
