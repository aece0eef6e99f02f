"""The linear layer on a CPU: a convolution of 1x1, over its rows as the pixels of one image (convolution.h)."""

from __future__ import annotations

import functools
from typing import Any

from gpunet.backend import Array, xp
from gpunet.backend.cpu_kernels import Launch, launch
from gpunet.ops.cpu_conv import cut
from gpunet.ops.linear import linear, linear_back_input
from gpunet.ops.passes import is_float32


def _takes(x: Array, weight: Array, *others: Any) -> bool:
    return is_float32(x, weight, *others) and x.size > 0 and weight.size > 0


@linear.on("cpu", takes=_takes)
def _linear(x: Array, weight: Array, bias: Array | None) -> Array:
    outputs, inputs = weight.shape
    return _multiply(x, weight, bias, outputs, _launch(len(x), inputs, outputs, 1, inputs))


@linear_back_input.on("cpu", takes=_takes)
def _linear_back_input(grad: Array, weight: Array) -> Array:
    outputs, inputs = weight.shape
    return _multiply(grad, weight, None, inputs, _launch(len(grad), outputs, inputs, inputs, 1))


def _multiply(x: Array, weight: Array, bias: Array | None, columns: int, prepared: Launch) -> Array:
    y = xp.empty((len(x), columns), dtype=x.dtype)
    bias = None if bias is None else xp.ascontiguousarray(bias)
    arrays = (xp.ascontiguousarray(x), xp.ascontiguousarray(weight), bias, None, None, None, None, y)
    launch(prepared, *arrays)
    return y


@functools.lru_cache(maxsize=1024)
def _launch(rows: int, inputs: int, outputs: int, by_input: int, by_output: int) -> Launch:
    geometry = (1, rows, inputs, 1, outputs, 1, 1, 1, 1, 0, 0, 1, 1)
    pixels = (1, 1, rows, 1, rows, 0, 0, 1, 1)
    return cut((*geometry, *pixels, 0, 0, 0, by_input, by_output, 0), inputs, padded=True)
