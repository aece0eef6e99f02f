"""Normalisation of each image alone, and over neighbouring channels; batch normalisation is in `gpunet.nn.batchnorm`.

The formulas and papers are with the functions in `gpunet.functional`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet import functional as F
from gpunet.arguments import DType, sizes_of
from gpunet.backend import xp
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_float, number, whole_number
from gpunet.nn import init
from gpunet.nn.batchnorm import ChannelNorm
from gpunet.nn.module import Module
from gpunet.nn.parameter import Parameter, factory_type
from gpunet.tensor import Tensor, own

__all__ = ["GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class _Scaled(Module):
    """A layer that ends in `* weight + bias`, where there are any."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(self, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: DType) -> None:
        made_of = factory_type(device, dtype, type(self).__name__)
        for name, wanted in (("weight", weight), ("bias", bias)):
            made = Parameter(own(xp.empty(shape, dtype=made_of))) if wanted else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class GroupNorm(_Scaled):
    """Brings each group of channels of each image to mean 0 and variance 1; see `gpunet.functional.group_norm`.

    Args:
        bias: whether a learnt number is added; only with `affine`.

    Shape:
        input: (N, C, ...). output: the same.

    Raises:
        ArgumentError: if the groups do not divide the channels.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = whole_number(num_groups, "num_groups", "GroupNorm", 1)
        self.num_channels = whole_number(num_channels, "num_channels", "GroupNorm", 1)
        if num_channels % num_groups:
            raise ArgumentError(f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}")
        self.eps, self.affine = number(eps, "eps", "GroupNorm"), affine
        self._make_parameters((num_channels,), affine, affine and bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each group."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class LayerNorm(_Scaled):
    """Brings the last dimensions to mean 0 and variance 1; see `gpunet.functional.layer_norm`.

    Shape:
        input: (..., *normalized_shape). output: the same.

    Raises:
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: DType = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = sizes_of((normalized_shape,), "LayerNorm")
        self.eps, self.elementwise_affine = number(eps, "eps", "LayerNorm"), elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the last dimensions."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(_Scaled):
    """Brings the mean square of the last dimensions to 1; see `gpunet.functional.rms_norm`.

    Shape:
        input: (..., *normalized_shape). output: the same.

    Raises:
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: DType = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = sizes_of((normalized_shape,), "RMSNorm")
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, False, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise the last dimensions."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class _InstanceNorm(ChannelNorm):
    """Like batch norm, but for what is normalised, and that single images may come without a batch."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each channel of each image, in evaluation by the running statistics if there are any."""
        name = type(self).__name__
        check_float(input, name)
        if input.ndim not in self._ranks:
            raise ShapeError(f"{name}: input must have shape {self._shapes}, got {input.shape}")
        if input.ndim == self._ranks[0]:
            return self.forward(input.unsqueeze(0)).squeeze(0)
        by_image = self.training or self.running_mean is None
        momentum = 0.0 if self.momentum is None else self.momentum
        return F.instance_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, by_image, momentum, self.eps
        )


class InstanceNorm1d(_InstanceNorm):
    """Brings each channel of each sequence to mean 0 and variance 1; see `gpunet.functional.instance_norm`.

    Args:
        bias: whether a learnt number is added; only with `affine`.

    Shape:
        input: (N, C, L) or (C, L). output: the same.

    Raises:
        ShapeError: when called, for an input that does not fit.
    """

    _ranks, _shapes = (2, 3), "(C, L) or (N, C, L)"


class InstanceNorm2d(_InstanceNorm):
    """Brings each channel of each image to mean 0 and variance 1; see `gpunet.functional.instance_norm`.

    Args:
        bias: whether a learnt number is added; only with `affine`.

    Shape:
        input: (N, C, H, W) or (C, H, W). output: the same.

    Raises:
        ShapeError: when called, for an input that does not fit.
    """

    _ranks, _shapes = (3, 4), "(C, H, W) or (N, C, H, W)"


class LocalResponseNorm(Module):
    """Divides by the strength of neighbouring channels; see `gpunet.functional.local_response_norm`.

    Shape:
        input: (N, C, ...). output: the same.

    Raises:
        ArgumentError: if size is no whole number of 1 or more, or a setting no number.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = whole_number(size, "size", "LocalResponseNorm", 1)
        self.alpha, self.beta, self.k = (number(each, "a setting", "LocalResponseNorm") for each in (alpha, beta, k))

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the neighbours."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """The settings."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
