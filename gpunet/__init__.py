"""gpunet: a GPU array framework for convolutional and residual image classifiers. CuPy on a GPU, NumPy without one."""

import importlib as _importlib
from typing import Any as _Any

import numpy as _np

from gpunet import amp, data, errors, functional, models, nn, optim, testing
from gpunet.backend import (
    active_backend,
    asarray,
    get_num_threads,
    manual_seed,
    set_num_threads,
    to_cpu,
    use_backend,
)
from gpunet.functional import cat, maximum, minimum, stack, where
from gpunet.graph import cuda_graph
from gpunet.ops.operation import Operation
from gpunet.tape import is_grad_enabled, no_grad
from gpunet.tensor import Tensor, apply, as_tensor, tensor
from gpunet.version import __version__

float16, float32, float64 = _np.float16, _np.float32, _np.float64
uint8, int32, int64 = _np.uint8, _np.int32, _np.int64


def __getattr__(name: str) -> _Any:
    """Import what trains networks and looks at them only when somebody asks for it: `import gpunet` stays light."""
    if name in ("report", "train", "visualize"):
        return _importlib.import_module(f"gpunet.{name}")
    if name in ("Classifier", "load"):
        return getattr(_importlib.import_module("gpunet.classifier"), name)
    raise AttributeError(f"module 'gpunet' has no attribute {name!r}")


__all__ = [
    "Classifier",
    "Operation",
    "Tensor",
    "__version__",
    "active_backend",
    "amp",
    "apply",
    "as_tensor",
    "asarray",
    "cat",
    "cuda_graph",
    "data",
    "errors",
    "float16",
    "float32",
    "float64",
    "functional",
    "get_num_threads",
    "int32",
    "int64",
    "is_grad_enabled",
    "load",
    "manual_seed",
    "maximum",
    "minimum",
    "models",
    "nn",
    "no_grad",
    "optim",
    "report",
    "set_num_threads",
    "stack",
    "tensor",
    "testing",
    "to_cpu",
    "train",
    "uint8",
    "use_backend",
    "visualize",
    "where",
]
