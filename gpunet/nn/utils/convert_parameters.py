"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from gpunet.errors import ShapeError
from gpunet.functional import cat
from gpunet.tape import no_grad
from gpunet.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All numbers of the parameters one after the other, through which gradients flow.

    Shape:
        output: (all numbers,).
    """
    return cat([each.reshape(-1) for each in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy the numbers of a vector into the parameters, in the order of `parameters_to_vector`.

    Shape:
        vec: (all numbers,).

    Raises:
        ShapeError: if the vector has more or fewer numbers than the parameters; nothing is changed then.
    """
    several = list(parameters)
    sizes = [each.numel() for each in several]
    if vec.shape != (sum(sizes),):
        raise ShapeError(f"vector_to_parameters: the parameters have {sum(sizes)} numbers, got a Tensor of {vec.shape}")
    with no_grad():
        for each, part in zip(several, vec.detach().split(sizes), strict=True):
            each.copy_(part.reshape(each.shape))
