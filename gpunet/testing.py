"""Tools to test an operation with: gradients checked against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gpunet.backend import asarray, to_cpu
from gpunet.errors import DTypeError, GradientError
from gpunet.tape import no_grad
from gpunet.tensor import Tensor

__all__ = ["gradcheck"]


def gradcheck(
    func: Callable[..., Tensor],
    inputs: Tensor | Sequence[Tensor],
    eps: float = 1e-6,
    atol: float = 1e-7,
    rtol: float = 1e-5,
    directions: int = 3,
) -> bool:
    """Compare the gradients that the tape computes with central differences, along random directions.

    For output weights w and a direction v: `<w, f(x + eps v) - f(x - eps v)> / (2 eps)` must equal `<df, v>`, where df
    is what backward makes of w. Each input that requires a gradient is moved on its own.

    Args:
        func: takes the inputs and returns one Tensor; must give the same result each time it is called.
        inputs: float64 Tensors, at points where the function is differentiable.
        directions: how many random directions to try for each input.

    Raises:
        DTypeError: if an input is not float64: in float32 the difference is mostly rounding.
        GradientError: if a gradient is missing or wrong; the message says for which input and by how much.

    Example:
        >>> x = Tensor(np.array([0.5, 2.0]), requires_grad=True)
        >>> gradcheck(lambda x: x * x, x)
        True
    """
    tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for position, each in enumerate(tensors):
        if not isinstance(each, Tensor):
            raise DTypeError(f"gradcheck: input {position} must be a Tensor, got {type(each).__name__}")
        if each.requires_grad and each.dtype != np.float64:
            raise DTypeError(f"gradcheck: input {position} must be float64, got {each.dtype}")
    rng = np.random.default_rng(0)
    tested = [each.detach() for each in tensors]
    for fresh, each in zip(tested, tensors, strict=True):
        fresh.requires_grad = each.requires_grad  # on copies, so that gradients of the caller are left alone
    output = func(*tested)
    if not isinstance(output, Tensor):
        raise DTypeError(f"gradcheck: the function must return a Tensor, got {type(output).__name__}")
    weights = rng.standard_normal(output.shape)
    output.backward(Tensor(asarray(weights, output.dtype)))
    for position, each in enumerate(tested):
        if not each.requires_grad:
            continue
        if each.grad is None:
            raise GradientError(f"gradcheck: no gradient reached input {position}")
        gradient = to_cpu(each.grad.array)
        for _ in range(directions):
            direction = rng.standard_normal(each.shape)
            analytic = float((gradient * direction).sum())
            numeric = _central_difference(func, tested, position, direction, weights, eps)
            if not abs(analytic - numeric) <= atol + rtol * abs(numeric):  # NaN must fail
                raise GradientError(
                    f"gradcheck: along a random direction the gradient of input {position} is {analytic:.9g}, "
                    f"by finite differences {numeric:.9g}"
                )
    return True


def _central_difference(
    func: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    position: int,
    direction: np.ndarray,
    weights: np.ndarray,
    eps: float,
) -> float:
    values = []
    for sign in (1, -1):
        moved = list(inputs)
        moved[position] = Tensor(asarray(inputs[position].array + asarray(sign * eps * direction)))
        with no_grad():
            values.append(to_cpu(func(*moved).array).astype(np.float64))
    return float((weights * (values[0] - values[1])).sum() / (2 * eps))
