# ruff: noqa: F405  (some names are imported only when somebody asks for them, see __getattr__)
"""gpunet: a GPU array framework for convolutional and residual image classifiers. CuPy on a GPU, NumPy without one."""

import importlib as _importlib
import math as _math
from typing import Any as _Any
from typing import TypeAlias as _TypeAlias
from typing import TypeGuard as _TypeGuard

import numpy as _np

from gpunet import (
    accelerator,
    amp,
    autograd,
    backends,
    cuda,
    data,
    errors,
    functional,
    functions,
    fx,
    jit,
    models,
    nn,
    optim,
    testing,
    utils,
)
from gpunet.amp import autocast
from gpunet.backend import (
    active_backend,
    asarray,
    get_num_threads,
    manual_seed,
    set_num_threads,
    to_cpu,
    use_backend,
)
from gpunet.backends import get_default_dtype, set_default_dtype, set_float32_matmul_precision
from gpunet.device import device
from gpunet.functional import (
    avg_pool1d,
    cat,
    celu,
    channel_shuffle,
    conv1d,
    conv2d,
    conv_transpose2d,
    cosine_similarity,
    dropout,
    flatten,
    group_norm,
    hardshrink,
    log_softmax,
    max_pool1d,
    max_pool2d,
    maximum,
    minimum,
    pairwise_distance,
    pixel_shuffle,
    pixel_unshuffle,
    prelu,
    relu,
    selu,
    sigmoid,
    softmax,
    stack,
    tanh,
    threshold,
    where,
)
from gpunet.functions import *  # noqa: F403
from gpunet.generator import Generator
from gpunet.graph import cuda_graph
from gpunet.jit import compile
from gpunet.ops.operation import Operation
from gpunet.tape import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from gpunet.tensor import Tensor, apply, as_tensor, tensor
from gpunet.version import __version__

float16, float32, float64 = _np.float16, _np.float32, _np.float64
half, float, double = float16, float32, float64
uint8, int8, int16, int32, int64 = _np.uint8, _np.int8, _np.int16, _np.int32, _np.int64
dtype, finfo, iinfo = _np.dtype, _np.finfo, _np.iinfo
e, inf, nan, pi = _math.e, _math.inf, _math.nan, _math.pi
Size: _TypeAlias = tuple[int, ...]
short, int, long, bool = int16, int32, int64, _np.bool_
# How values lie in memory is left to gpunet; these names are taken where PyTorch takes them.
contiguous_format, channels_last, preserve_format = "contiguous_format", "channels_last", "preserve_format"


def is_tensor(obj: _Any) -> _TypeGuard[Tensor]:
    """Whether it is a Tensor."""
    return isinstance(obj, Tensor)


def __getattr__(name: str) -> _Any:
    """Import what trains networks and looks at them only when somebody asks for it: `import gpunet` stays light."""
    if name in ("distributed", "onnx", "report", "train", "visualize"):
        return _importlib.import_module(f"gpunet.{name}")
    if name == "save":
        return _importlib.import_module("gpunet.train.objects").save
    if name in ("load_weights", "save_weights"):
        return getattr(_importlib.import_module("gpunet.weights"), name)
    if name in ("Classifier", "load"):
        return getattr(_importlib.import_module("gpunet.classifier"), name)
    raise AttributeError(f"module 'gpunet' has no attribute {name!r}")


__all__ = [
    "Classifier",
    "Generator",
    "Operation",
    "Size",
    "Tensor",
    "__version__",
    "accelerator",
    "active_backend",
    "amp",
    "apply",
    "as_tensor",
    "asarray",
    "autocast",
    "autograd",
    "avg_pool1d",
    "backends",
    "bool",
    "cat",
    "celu",
    "channel_shuffle",
    "channels_last",
    "compile",
    "contiguous_format",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "cosine_similarity",
    "cuda",
    "cuda_graph",
    "data",
    "device",
    "distributed",
    "double",
    "dropout",
    "dtype",
    "e",
    "enable_grad",
    "errors",
    "finfo",
    "flatten",
    "float",
    "float16",
    "float32",
    "float64",
    "functional",
    "functions",
    "fx",
    "get_default_dtype",
    "get_num_threads",
    "group_norm",
    "half",
    "hardshrink",
    "iinfo",
    "inf",
    "inference_mode",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "is_tensor",
    "jit",
    "load",
    "log_softmax",
    "long",
    "manual_seed",
    "max_pool1d",
    "max_pool2d",
    "maximum",
    "minimum",
    "models",
    "nan",
    "nn",
    "no_grad",
    "onnx",
    "optim",
    "pairwise_distance",
    "pi",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prelu",
    "preserve_format",
    "relu",
    "report",
    "save",
    "selu",
    "set_default_dtype",
    "set_float32_matmul_precision",
    "set_grad_enabled",
    "set_num_threads",
    "short",
    "sigmoid",
    "softmax",
    "stack",
    "tanh",
    "tensor",
    "testing",
    "threshold",
    "to_cpu",
    "train",
    "uint8",
    "use_backend",
    "utils",
    "visualize",
    "where",
]
__all__ += functions.__all__
