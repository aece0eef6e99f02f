"""Clipping: gradients are scaled down together when their norm is too large."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence

from gpunet.backend import Array, check_active, quiet, xp
from gpunet.errors import ArgumentError, NonFiniteError
from gpunet.functional.checks import checked_number
from gpunet.tensor import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients, in place and by one factor, so that their common norm is at most `max_norm`.

        total_norm = (sum |g|^p)^(1/p) over every element of every gradient;  p = inf: max |g|
        g = g * min(1, max_norm / (total_norm + 1e-6))

    Where the norm is NaN every gradient becomes NaN; where it is infinite the finite ones become 0 and the infinite
    ones NaN. Nothing is read back from a GPU unless `error_if_nonfinite` asks for it.

    Args:
        parameters: a Tensor or several; those without a gradient are passed over.
        max_norm: the largest norm allowed; infinity only measures.
        norm_type: p, above 0, or infinity.
        error_if_nonfinite: whether a norm that is NaN or infinite is an error.
        foreach: PyTorch's choice of a way, which makes no difference here.

    Returns:
        The norm before clipping, a Tensor without dimensions.

    Raises:
        ArgumentError: if `max_norm` is negative, `norm_type` is not above 0, or a parameter is not a Tensor.
        NonFiniteError: if the norm is not finite and `error_if_nonfinite` is set; no gradient has been changed then.

    Reference:
        Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
    """
    max_norm = checked_number(max_norm, "max_norm", "clip_grad_norm_", "a number of 0 or more", lambda x: x >= 0)
    norm_type = checked_number(norm_type, "norm_type", "clip_grad_norm_", "a number above 0", lambda x: x > 0)
    grads = _gradients(parameters, "clip_grad_norm_")
    total_norm = _total_norm(grads, norm_type, error_if_nonfinite, "clip_grad_norm_")
    _scale(grads, max_norm, total_norm)
    return Tensor(total_norm)


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The common norm of Tensors, such as gradients: what `clip_grad_norm_` compares with `max_norm`.

    Args:
        tensors: a Tensor or several.
        norm_type: p, above 0, or infinity.
        error_if_nonfinite: whether a norm that is NaN or infinite is an error.
        foreach: PyTorch's choice of a way, which makes no difference here.

    Returns:
        A Tensor without dimensions.

    Raises:
        ArgumentError: if `norm_type` is not above 0, or one is not a Tensor.
        NonFiniteError: if the norm is not finite and `error_if_nonfinite` is set.
    """
    norm_type = checked_number(norm_type, "norm_type", "get_total_norm", "a number above 0", lambda x: x > 0)
    several = _several(tensors, "get_total_norm")
    for position, each in enumerate(several):
        check_active(each.array, f"get_total_norm: Tensor {position}")
    arrays = [each.array for each in several if each.numel()]
    return Tensor(_total_norm(arrays, norm_type, error_if_nonfinite, "get_total_norm"))


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients as `clip_grad_norm_` does, by a norm that is known already.

    Args:
        parameters: a Tensor or several; those without a gradient are passed over.
        max_norm: the largest norm allowed.
        total_norm: what `get_total_norm` returned.
        foreach: PyTorch's choice of a way, which makes no difference here.

    Raises:
        ArgumentError: if `max_norm` is negative, or a parameter or the norm is not a Tensor.
    """
    name = "clip_grads_with_norm_"
    max_norm = checked_number(max_norm, "max_norm", name, "a number of 0 or more", lambda x: x >= 0)
    if not isinstance(total_norm, Tensor) or total_norm.numel() != 1:
        raise ArgumentError(f"{name}: total_norm must be a Tensor of one number, got {total_norm!r}")
    _scale(_gradients(parameters, name), max_norm, total_norm.array.reshape(()))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Bring every element of every gradient into [-clip_value, clip_value], in place.

    Args:
        parameters: a Tensor or several; those without a gradient are passed over.
        clip_value: the largest magnitude allowed.
        foreach: PyTorch's choice of a way, which makes no difference here.

    Raises:
        ArgumentError: if `clip_value` is negative, or a parameter is not a Tensor.
    """
    limit = checked_number(clip_value, "clip_value", "clip_grad_value_", "a number of 0 or more", lambda x: x >= 0)
    with quiet():
        for grad in _gradients(parameters, "clip_grad_value_"):
            grad[...] = xp.clip(grad, -limit, limit)


def _gradients(parameters: Tensor | Iterable[Tensor], name: str) -> list[Array]:
    grads = []
    for position, param in enumerate(_several(parameters, name)):
        grad = param.grad
        if grad is not None and grad.numel():
            check_active(grad.array, f"{name}: the gradient of parameter {position}")
            grads.append(grad.handed_out())
    return grads


def _several(tensors: Tensor | Iterable[Tensor], name: str) -> list[Tensor]:
    if not isinstance(tensors, Tensor | Iterable):
        raise ArgumentError(f"{name} expects Tensors, got {type(tensors).__name__}; of a model give model.parameters()")
    several = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    for position, each in enumerate(several):
        if not isinstance(each, Tensor):
            raise ArgumentError(f"{name}: parameter {position} must be a Tensor, got {type(each).__name__}")
    return several


def _total_norm(arrays: Sequence[Array], norm_type: float, error_if_nonfinite: bool, name: str) -> Array:
    if not arrays:
        return xp.zeros((), dtype=xp.float32)
    with quiet():
        total_norm = _norms([_norms(arrays, norm_type)], norm_type)[0, ...]
        if error_if_nonfinite and not bool(xp.isfinite(total_norm)):
            raise NonFiniteError(f"{name}: the gradients have a norm of {float(total_norm)}; nothing was clipped")
    return total_norm


def _scale(grads: Sequence[Array], max_norm: float, total_norm: Array) -> None:
    with quiet():
        factor = xp.minimum(max_norm / (total_norm + 1e-6), 1.0)
        for grad in grads:
            grad *= factor


def _norms(arrays: Sequence[Array], norm_type: float) -> Array:
    """The p-norm of all elements of each, (arrays,). No BLAS: its sums depend on the number of threads.

    They are written side by side at once: to join many arrays CuPy would upload their addresses.
    """
    norms = xp.empty(len(arrays), dtype=functools.reduce(xp.promote_types, [each.dtype for each in arrays]))
    for place, values in enumerate(arrays):
        norm = norms[place, ...]
        if norm_type == math.inf:
            xp.max(xp.abs(values), out=norm)
        elif norm_type == 2:
            xp.sum(values * values, out=norm)
        elif norm_type == 1:
            xp.sum(xp.abs(values), out=norm)
        else:
            xp.sum(xp.abs(values) ** norm_type, out=norm)
    if norm_type == 2:
        return xp.sqrt(norms)
    return norms if norm_type in (1, math.inf) else norms ** (1 / norm_type)
