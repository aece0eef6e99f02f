"""Functions that are methods, too: `gpunet.exp(x)` is `x.exp()`, and `x.sort()` is `gpunet.sort(x)`.

What a Tensor cannot do without (`gpunet.tensor`) is written as a method, and becomes a function here; everything else
is written as a function, and becomes a method. Some have an in-place form, `x.exp_()`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from gpunet import functional as F
from gpunet.functional.checks import check_tensor
from gpunet.functions import (
    comparison,
    conversion,
    creation,
    elementary,
    in_place,
    pairs,
    products,
    reduction,
    selection,
    shaping,
    statistics,
)
from gpunet.tensor import Tensor

__all__ = [
    "abs",
    "all",
    "any",
    "argmax",
    "argmin",
    "clamp",
    "clone",
    "detach",
    "exp",
    "is_floating_point",
    "log",
    "matmul",
    "max",
    "mean",
    "min",
    "numel",
    "permute",
    "reshape",
    "sqrt",
    "squeeze",
    "sum",
    "transpose",
    "unsqueeze",
    "var",
]

_F = TypeVar("_F", bound=Callable[..., Any])


def _function(method: _F) -> _F:
    """A method as a function, whose first argument is called `input`."""
    name = method.__name__

    @functools.wraps(method)
    def function(input: Any, *args: Any, **kwargs: Any) -> Any:
        check_tensor(input, name)
        return method(input, *args, **kwargs)

    signature = inspect.signature(method)
    first, *others = signature.parameters.values()
    function.__signature__ = signature.replace(parameters=[first.replace(name="input", annotation="Tensor"), *others])  # type: ignore[attr-defined]
    function.__qualname__, function.__module__ = name, __name__
    return function  # type: ignore[return-value]


abs = _function(Tensor.abs)
all = _function(Tensor.all)
any = _function(Tensor.any)
argmax = _function(Tensor.argmax)
argmin = _function(Tensor.argmin)
clamp = _function(Tensor.clamp)
clone = _function(Tensor.clone)
detach = _function(Tensor.detach)
exp = _function(Tensor.exp)
is_floating_point = _function(Tensor.is_floating_point)
log = _function(Tensor.log)
matmul = _function(Tensor.matmul)
max = _function(Tensor.max)
mean = _function(Tensor.mean)
min = _function(Tensor.min)
numel = _function(Tensor.numel)
permute = _function(Tensor.permute)
reshape = _function(Tensor.reshape)
sqrt = _function(Tensor.sqrt)
squeeze = _function(Tensor.squeeze)
sum = _function(Tensor.sum)
transpose = _function(Tensor.transpose)
unsqueeze = _function(Tensor.unsqueeze)
var = _function(Tensor.var)

_NO_METHODS = {
    "Bounds",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block_diag",
    "broadcast_shapes",
    "bucketize",
    "cartesian_prod",
    "cdist",
    "column_stack",
    "combinations",
    "dstack",
    "searchsorted",
    "tril_indices",
    "triu_indices",
    "broadcast_tensors",
    "concat",
    "concatenate",
    "hstack",
    "meshgrid",
    "std_mean",
    "tensordot",
    "einsum",
    "var_mean",
    "vstack",
    "Sorted",
}
_OF_LAYERS = (F.relu, F.sigmoid, F.tanh, F.softmax, F.log_softmax, F.maximum, F.minimum, F.prelu)
_IN_PLACE = [
    *("abs", "ceil", "cos", "erf", "erfinv", "exp", "expm1", "floor", "frac", "log", "log10", "log1p", "log2", "neg"),
    *("reciprocal", "relu", "round", "rsqrt", "sigmoid", "sign", "sin", "sqrt", "square", "tan", "tanh", "trunc"),
    *(
        "add",
        "addcdiv",
        "addcmul",
        "addmm",
        "clamp",
        "div",
        "mul",
        "sub",
        "clip",
        "floor_divide",
        "lerp",
        "multiply",
        "pow",
        "remainder",
        "subtract",
    ),
    *("eq", "ge", "gt", "le", "lt", "ne", "logical_and", "logical_not", "logical_or", "tril", "triu", "cumsum"),
    *("absolute", "acos", "acosh", "asin", "asinh", "atan", "atanh", "clamp_max", "clamp_min", "cosh", "deg2rad"),
    *("erfc", "exp2", "fmod", "hypot", "index_put", "logical_xor", "logit", "masked_scatter", "nan_to_num", "rad2deg"),
    *("scatter_reduce", "sgn", "sinc", "sinh", "cumprod", "baddbmm", "xlogy", "negative", "divide", "true_divide"),
    *("bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "greater", "greater_equal", "less", "less_equal"),
    *("index_add", "index_copy", "index_fill", "masked_fill", "scatter", "scatter_add"),
]


def _in_place(name: str) -> Callable[..., Tensor]:
    change = getattr(Tensor, name)

    @functools.wraps(change)
    def method(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return input.become(change(input, *args, **kwargs))

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"""`{name}` in place.

    Shape:
        that of the Tensor must not change.

    Raises:
        ShapeError: if it does.
        GradientError: if the history of what is changed could not be followed.
    """
    return method


def _give_methods() -> None:
    for module in (comparison, elementary, pairs, products, reduction, selection, shaping, statistics):
        for name in module.__all__:
            if name not in _NO_METHODS:
                setattr(Tensor, name, getattr(module, name))
    for function in (*_OF_LAYERS, creation.bernoulli, creation.multinomial):
        setattr(Tensor, function.__name__, function)
    Tensor.unfold = shaping.windows  # type: ignore[attr-defined]
    for name in ("tensor", "full", "zeros", "ones", "empty"):
        setattr(Tensor, f"new_{name}", getattr(creation, f"new_{name}"))
    for name in ("uniform_", "normal_", "bernoulli_", "random_"):
        setattr(Tensor, name, getattr(creation, name))
    for name, method in {**in_place.METHODS, **conversion.METHODS}.items():
        setattr(Tensor, name, method)
    for name in _IN_PLACE:
        setattr(Tensor, f"{name}_", _in_place(name))


_give_methods()
