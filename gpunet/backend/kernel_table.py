"""Every kernel of raw_kernels/ and its signature, one table a source file.

`gpunet.backend.kernels.launch` checks what it is given against these. That they say what the sources say is a test, as
is that the compiler finds the same parameter sizes.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError

__all__ = [
    "ADAM",
    "ADAPTIVE_AVG_POOL2D_BACKWARD",
    "ADAPTIVE_AVG_POOL2D_FORWARD",
    "ADAPTIVE_MAX_POOL2D_BACKWARD",
    "ADAPTIVE_MAX_POOL2D_FORWARD",
    "ADD_RELU_GRADIENT",
    "AVG_POOL2D_BACKWARD",
    "AVG_POOL2D_FORWARD",
    "BATCH_NORM_CHANNELS",
    "BATCH_NORM_INFERENCE",
    "BATCH_NORM_INPUT_GRADIENT",
    "BATCH_NORM_NORMALISE",
    "BATCH_NORM_STATISTICS",
    "BATCH_NORM_SUMS",
    "BEGIN_ADAM",
    "COL2IM",
    "IM2COL",
    "KERNELS",
    "MAX_POOL2D_BACKWARD",
    "MAX_POOL2D_FORWARD",
    "PACK_BYTES",
    "RELU_GRADIENT",
    "RESCALE",
    "SGD",
    "TEMPLATE_DTYPES",
    "UNIFORM",
    "UNSCALE",
    "Instance",
    "Kernel",
    "Parameter",
    "arithmetic_dtype",
]

PACK_BYTES = 16  # what one thread can load or store at once
TABLE_BYTES = 3840  # of a table of arrays, at most: TABLE_BYTES in optimizer.cu

_C_NAMES: dict[np.dtype[Any], str] = {
    np.dtype(np.float16): "half_t",
    np.dtype(np.float32): "float",
    np.dtype(np.float64): "double",
    np.dtype(np.int32): "int",
    np.dtype(np.uint8): "unsigned char",
}
_DTYPES: dict[str, np.dtype[Any]] = {name: dtype for dtype, name in _C_NAMES.items()} | {"i64": np.dtype(np.int64)}
TEMPLATE_DTYPES: dict[str, tuple[np.dtype[Any], ...]] = {  # what a template parameter may stand for
    "T": (np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)),
    "W": (np.dtype(np.uint8), np.dtype(np.int32)),
}


def arithmetic_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type in which a kernel computes with numbers of this type: Arithmetic<T> in common.cuh."""
    return np.dtype(np.float32) if dtype == np.float16 else np.dtype(dtype)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: `const T* grad` is a pointer to T, `int width` a number."""

    name: str
    type: str  # T, W, Arithmetic<T>, or a C type
    is_pointer: bool
    columns: int = 0  # of a table of arrays of this type, `Tensors<T, 3>`; 0 for anything else

    @property
    def most(self) -> int:
        """How many rows a table has room for: MOST in optimizer.cu."""
        return TABLE_BYTES // (8 * self.columns + 12)

    @functools.cached_property
    def table(self) -> np.dtype[Any]:
        """A table as it lies in memory: the struct Tensors of optimizer.cu, with addresses as whole numbers."""
        fields = [
            ("at", np.uint64, (self.columns, self.most)),
            ("size", np.int64, self.most),
            ("first_block", np.int32, self.most),
            ("count", np.int32),
        ]
        return np.dtype(fields, align=True)

    def bytes(self, bound: dict[str, np.dtype[Any]]) -> int:
        """Its size among the parameters of a launch."""
        if self.columns:
            return self.table.itemsize
        return 8 if self.is_pointer else self.dtype(bound).itemsize

    def dtype(self, bound: dict[str, np.dtype[Any]]) -> np.dtype[Any]:
        """The dtype of the array or number, where the template parameters are bound to these."""
        if self.type == "Arithmetic<T>":
            return arithmetic_dtype(bound["T"])
        return bound[self.type] if self.type in bound else _DTYPES[self.type]


@dataclass(frozen=True)
class Instance:
    """A kernel with its template arguments: what is compiled."""

    kernel: Kernel
    dtypes: tuple[np.dtype[Any], ...]  # of T and W, as far as the kernel has them
    vector: int  # of V

    @property
    def expression(self) -> str:
        """The instance as C++ names it, such as `max_pool2d_forward<float, unsigned char, 4>`."""
        arguments = [_C_NAMES[dtype] for dtype in self.dtypes]
        if "V" in self.kernel.template:
            arguments.append(str(self.vector))
        return f"{self.kernel.name}<{', '.join(arguments)}>" if arguments else self.kernel.name

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values that it works on: T, the first of each template; double where there is none."""
        return self.dtypes[0] if self.dtypes else np.dtype(np.float64)

    @property
    def parameter_bytes(self) -> tuple[int, ...]:
        """The size of each parameter."""
        bound = self.kernel.bind(self.dtypes)
        return tuple(each.bytes(bound) for each in self.kernel.parameters)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel as its source file declares it: a table of arrays if it has one, its arrays, its numbers.

    Args:
        source: the file in raw_kernels/, without its ending.
        template: its template parameters in their order: T and W are types of number (T of the values, W of the places
            that max pooling remembers), V is the number of values in a pack.
        signature: its parameters, as in the source but without __restrict__.
        thread: what one thread does.
    """

    source: str
    name: str
    template: tuple[str, ...]
    signature: str
    thread: str

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters one by one."""
        return tuple(_parameter(declaration) for declaration in re.split(r",(?![^<]*>)", self.signature))

    @functools.cached_property
    def arrays(self) -> int:
        """How many of the parameters are arrays, or tables of them."""
        return sum(each.is_pointer or each.columns > 0 for each in self.parameters)

    def bind(self, dtypes: Sequence[np.dtype[Any]]) -> dict[str, np.dtype[Any]]:
        """What T and W stand for, given their dtypes in the order of the template."""
        return dict(zip(self.template, dtypes, strict=False))

    def instances(self, dtype: np.dtype[Any] | None = None) -> Iterator[Instance]:
        """Every instance that can be launched; those of one T where it is given."""
        choices = [
            (dtype,) if name == "T" and dtype is not None else TEMPLATE_DTYPES[name]
            for name in self.template
            if name in TEMPLATE_DTYPES
        ]
        for dtypes in itertools.product(*choices):
            widths = (1, PACK_BYTES // dtypes[0].itemsize) if "V" in self.template else (1,)
            for vector in widths:
                yield Instance(self, dtypes, vector)


def _parameter(declaration: str) -> Parameter:
    if table := re.fullmatch(r"\s*Tensors<(\w+), (\d+)> (\w+)\s*", declaration):
        return Parameter(table[3], table[1], False, int(table[2]))
    parts = re.fullmatch(r"\s*(?:const )?([\w<> ]+?)(\*?) (\w+)\s*", declaration)
    if parts is None:
        raise ArgumentError(f"cannot read the kernel parameter {declaration!r}")
    return Parameter(parts[3], parts[1], bool(parts[2]))


# -------------------------------------------------------------------------------------------------------- pooling.cu

_SIZES = "int height, int width, int channels, int out_height, int out_width"
_KERNEL = "int kh, int kw, int sh, int sw"
_MAX = f"{_SIZES}, {_KERNEL}, int top, int left, int dh, int dw"
_AVG = f"{_SIZES}, {_KERNEL}, int top, int bottom, int left, int right, int count_include_pad, int divisor_override"

MAX_POOL2D_FORWARD = Kernel(
    "pooling",
    "max_pool2d_forward",
    ("T", "W", "V"),
    f"const T* x, T* y, W* winner, i64 count, {_MAX}, int remember",
    "makes a pack of y, the largest of each window, and the places of the largest",
)
MAX_POOL2D_BACKWARD = Kernel(
    "pooling",
    "max_pool2d_backward",
    ("T", "W", "V"),
    f"const T* grad, const W* winner, T* dx, i64 count, {_MAX}",
    "makes a pack of dx, from the windows that its pixel won",
)
AVG_POOL2D_FORWARD = Kernel(
    "pooling",
    "avg_pool2d_forward",
    ("T", "V"),
    f"const T* x, T* y, i64 count, {_AVG}",
    "makes a pack of y, the mean of each window",
)
AVG_POOL2D_BACKWARD = Kernel(
    "pooling",
    "avg_pool2d_backward",
    ("T", "V"),
    f"const T* grad, T* dx, i64 count, {_AVG}",
    "makes a pack of dx, from the windows over its pixel",
)

# ----------------------------------------------------------------------------------------------- adaptive_pooling.cu

ADAPTIVE_AVG_POOL2D_FORWARD = Kernel(
    "adaptive_pooling",
    "adaptive_avg_pool2d_forward",
    ("T", "V"),
    f"const T* x, T* y, i64 count, {_SIZES}",
    "makes a pack of y, the mean of each cell",
)
ADAPTIVE_AVG_POOL2D_BACKWARD = Kernel(
    "adaptive_pooling",
    "adaptive_avg_pool2d_backward",
    ("T", "V"),
    f"const T* grad, T* dx, i64 count, {_SIZES}",
    "makes a pack of dx, from the cells over its pixel",
)
ADAPTIVE_MAX_POOL2D_FORWARD = Kernel(
    "adaptive_pooling",
    "adaptive_max_pool2d_forward",
    ("T", "V"),
    f"const T* x, T* y, int* winner, i64 count, {_SIZES}, int remember",
    "makes a pack of y, the largest of each cell, and the places of the largest",
)
ADAPTIVE_MAX_POOL2D_BACKWARD = Kernel(
    "adaptive_pooling",
    "adaptive_max_pool2d_backward",
    ("T", "V"),
    f"const T* grad, const int* winner, T* dx, i64 count, {_SIZES}",
    "makes a pack of dx, from the cells that its pixel won",
)

# --------------------------------------------------------------------------------------------------------- im2col.cu

_WINDOWS = (
    "i64 count, int images, int height, int width, int channels, int groups, int out_height, int out_width, "
    f"{_KERNEL}, int top, int left, int dh, int dw"
)

IM2COL = Kernel(
    "im2col",
    "im2col",
    ("T", "V"),
    f"const T* x, T* rows, {_WINDOWS}",
    "makes a pack of the rows, from one pixel or the padding",
)
COL2IM = Kernel(
    "im2col",
    "col2im",
    ("T", "V"),
    f"const T* rows, T* dx, {_WINDOWS}",
    "makes a pack of dx, from the rows of the windows over its pixel",
)

# ------------------------------------------------------------------------------------------------------ batchnorm.cu

_SHARE = "i64 rows, int channels, int lanes, i64 chunk_rows"

_MADE_OF_CHANNELS = "Arithmetic<T>* center, Arithmetic<T>* inverse_std, Arithmetic<T>* scale, Arithmetic<T>* shift"
BATCH_NORM_STATISTICS = Kernel(
    "batchnorm",
    "batch_norm_statistics",
    ("T", "V"),
    "const T* x, const Arithmetic<T>* weight, const Arithmetic<T>* bias, "
    "Arithmetic<T>* running_mean, Arithmetic<T>* running_var, i64* batches, "
    f"double* chunk_mean, double* chunk_squares, i64* finished, double* mean, double* var, {_MADE_OF_CHANNELS}, "
    f"{_SHARE}, i64 chunks, double eps, double momentum, int affine, int moving, int counting",
    "takes a pack of channels through some rows of a chunk; its block merges them, the last one all chunks",
)
BATCH_NORM_CHANNELS = Kernel(
    "batchnorm",
    "batch_norm_channels",
    ("T",),
    f"const T* mean, const T* var, const T* weight, const T* bias, {_MADE_OF_CHANNELS}, "
    "i64 channels, double eps, int affine",
    "makes the numbers of one channel that the other kernels need",
)
BATCH_NORM_NORMALISE = Kernel(
    "batchnorm",
    "batch_norm_normalise",
    ("T", "V"),
    "const T* x, const T* residual, T* y, "
    "const Arithmetic<T>* center, const Arithmetic<T>* scale, const Arithmetic<T>* shift, "
    f"{_SHARE}, int add_residual, int relu",
    "makes a pack of channels of y in some rows of a chunk",
)
BATCH_NORM_INFERENCE = Kernel(
    "batchnorm",
    "batch_norm_inference",
    ("T", "V"),
    "const T* x, const T* residual, T* y, const Arithmetic<T>* mean, const Arithmetic<T>* var, "
    "const Arithmetic<T>* weight, const Arithmetic<T>* bias, "
    f"{_SHARE}, double eps, int affine, int add_residual, int relu",
    "makes a pack of channels of y in some rows of a chunk, in evaluation",
)
BATCH_NORM_SUMS = Kernel(
    "batchnorm",
    "batch_norm_sums",
    ("T", "V"),
    "const T* grad, const T* x, const T* y, const Arithmetic<T>* center, const Arithmetic<T>* inverse_std, "
    "double* chunk_gradient, double* chunk_product, i64* finished, "
    "Arithmetic<T>* dbias, Arithmetic<T>* dweight, Arithmetic<T>* mean_gradient, Arithmetic<T>* slope, "
    f"{_SHARE}, i64 chunks, int relu",
    "takes a pack of channels through some rows of a chunk; its block adds up, the last one all chunks",
)
BATCH_NORM_INPUT_GRADIENT = Kernel(
    "batchnorm",
    "batch_norm_input_gradient",
    ("T", "V"),
    "const T* grad, const T* x, const T* y, T* dx, const Arithmetic<T>* center, "
    "const Arithmetic<T>* scale, const Arithmetic<T>* mean_gradient, const Arithmetic<T>* slope, "
    f"{_SHARE}, int relu",
    "makes a pack of channels of dx in some rows of a chunk",
)

# ----------------------------------------------------------------------------------------------------- elementwise.cu

RELU_GRADIENT = Kernel(
    "elementwise",
    "relu_gradient",
    ("T", "V"),
    "const T* grad, const T* y, T* dx, i64 count",
    "hands on a pack of a gradient, without what a ReLU has cut off",
)

ADD_RELU_GRADIENT = Kernel(
    "elementwise",
    "add_relu_gradient",
    ("T", "V"),
    "const T* grad, const T* y, T* total, i64 count",
    "adds a pack of a gradient, without what a ReLU has cut off, to another",
)

# ------------------------------------------------------------------------------------------------------- optimizer.cu

SGD = Kernel(
    "optimizer",
    "sgd",
    ("T",),
    "Tensors<T, 3> tensors, const double* numbers, const unsigned char* go, int moving, int nesterov",
    "makes a few numbers of the weights and velocities of one parameter",
)
BEGIN_ADAM = Kernel(
    "optimizer",
    "begin_adam",
    (),
    "double* numbers, const unsigned char* go",
    "counts a step of Adam and makes the numbers that depend on how many there were; the others do nothing",
)
ADAM = Kernel(
    "optimizer",
    "adam",
    ("T",),
    "Tensors<T, 5> tensors, const double* numbers, const unsigned char* go, int amsgrad",
    "makes a few numbers of the weights and running means of one parameter",
)
UNSCALE = Kernel(
    "optimizer",
    "unscale",
    ("T",),
    "Tensors<T, 1> tensors, const double* factor, unsigned char* finite",
    "divides a few numbers of one gradient; its block notes whether all are finite",
)
RESCALE = Kernel(
    "optimizer",
    "rescale",
    (),
    "double* numbers, const unsigned char* finite, double growth, double backoff, i64 interval, double largest",
    "lets the scale of the loss grow or shrink; the others do nothing",
)

# ---------------------------------------------------------------------------------------------------------- random.cu

UNIFORM = Kernel(
    "random",
    "uniform",
    ("T",),
    "const i64* state, T* u, i64 count",
    "makes one random number, from the seed and the number of those before it",
)

KERNELS = (
    MAX_POOL2D_FORWARD,
    MAX_POOL2D_BACKWARD,
    AVG_POOL2D_FORWARD,
    AVG_POOL2D_BACKWARD,
    ADAPTIVE_AVG_POOL2D_FORWARD,
    ADAPTIVE_AVG_POOL2D_BACKWARD,
    ADAPTIVE_MAX_POOL2D_FORWARD,
    ADAPTIVE_MAX_POOL2D_BACKWARD,
    IM2COL,
    COL2IM,
    BATCH_NORM_STATISTICS,
    BATCH_NORM_CHANNELS,
    BATCH_NORM_NORMALISE,
    BATCH_NORM_INFERENCE,
    BATCH_NORM_SUMS,
    BATCH_NORM_INPUT_GRADIENT,
    RELU_GRADIENT,
    ADD_RELU_GRADIENT,
    SGD,
    BEGIN_ADAM,
    ADAM,
    UNSCALE,
    RESCALE,
    UNIFORM,
)
"""All kernels, in the order of their source files."""
