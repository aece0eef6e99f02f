"""Batch normalisation layers."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import DType
from gpunet.backend import xp
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_float, number, whole_number
from gpunet.functional.normalization import normalise_batch
from gpunet.nn import init
from gpunet.nn.module import Module
from gpunet.nn.parameter import Parameter, factory_type
from gpunet.ops.batchnorm import BatchNorm
from gpunet.ops.sync_batchnorm import SyncBatchNorm as SyncBatchNormOperation
from gpunet.ranks import communicator
from gpunet.tensor import Tensor, own

__all__ = ["BatchNorm1d", "BatchNorm2d", "ChannelNorm", "SyncBatchNorm"]


class ChannelNorm(Module):
    """Batch norm, whatever the shape of its input; instance norm has the same parameters and running statistics.

    Raises:
        ShapeError: when called, for an input that does not fit.
    """

    _ranks: tuple[int, ...]
    _shapes: str
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = whole_number(num_features, "num_features", type(self).__name__, 1)
        self.eps = number(eps, "eps", type(self).__name__)
        self.momentum = None if momentum is None else number(momentum, "momentum", type(self).__name__)
        self.affine, self.track_running_stats = affine, track_running_stats

        made_of = factory_type(device, dtype, type(self).__name__)

        def vector() -> Tensor:
            return own(xp.empty(num_features, dtype=made_of))

        self.register_parameter("weight", Parameter(vector()) if affine else None)
        self.register_parameter("bias", Parameter(vector()) if affine and bias else None)
        self.register_buffer("running_mean", vector() if track_running_stats else None)
        self.register_buffer("running_var", vector() if track_running_stats else None)
        self.register_buffer("num_batches_tracked", own(xp.zeros((), xp.int64)) if track_running_stats else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Back to the identity: weight 1, bias 0, running mean 0, running variance 1."""
        self.reset_running_stats()
        _fill((self.weight, 1), (self.bias, 0))

    def reset_running_stats(self) -> None:
        """Running mean 0, running variance 1, over no batches."""
        _fill((self.running_mean, 0), (self.running_var, 1), (self.num_batches_tracked, 0))

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each channel, by the batch while training and by the running statistics in evaluation."""
        name = type(self).__name__
        check_float(input, name)
        if input.ndim not in self._ranks:
            raise ShapeError(f"{name}: input must have shape {self._shapes}, got {input.shape}")
        if input.shape[1] != self.num_features:
            raise ShapeError(f"{name}: input must have {self.num_features} channels, got shape {input.shape}")
        use_batch = self.training or self.running_mean is None
        count = self.num_batches_tracked if self.training else None
        output = normalise_batch(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            use_batch,
            0.0 if count is None else self.momentum,
            self.eps,
            count,
            self._operation(),
        )
        return output.put_off_by(self)

    def _operation(self) -> type[BatchNorm]:
        """What normalises in training."""
        return BatchNorm

    def extra_repr(self) -> str:
        """The settings."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(ChannelNorm):
    """Batch normalisation of features: `y = (x - mean) / sqrt(var + eps) * weight + bias`, per feature.

    Args:
        momentum: how far the running statistics move towards each batch; None averages over all batches.
        bias: whether a learnt number is added; only with `affine`.

    Shape:
        input: (N, C) or (N, C, L). output: the same.

    Raises:
        ShapeError: when called, for an input that does not fit, or training on a single value per feature.

    Reference:
        Ioffe and Szegedy, "Batch Normalization", 2015.
    """

    _ranks, _shapes = (2, 3), "(N, C) or (N, C, L)"


class BatchNorm2d(ChannelNorm):
    """Batch normalisation of images: `y = (x - mean) / sqrt(var + eps) * weight + bias`, per channel over N, H and W.

    Args:
        momentum: how far the running statistics move towards each batch; None averages over all batches.
        bias: whether a learnt number is added; only with `affine`.

    Shape:
        input: (N, C, H, W). output: the same.

    Raises:
        ShapeError: when called, for an input that does not fit, or training on a single value per channel.

    Reference:
        Ioffe and Szegedy, "Batch Normalization", 2015.
    """

    _ranks, _shapes = (4,), "(N, C, H, W)"


class SyncBatchNorm(ChannelNorm):
    """Batch normalisation by the statistics of the whole batch, of which each rank has a part: PyTorch's.

    Where there is one rank alone, and in evaluation, it is plain batch normalisation.

    Args:
        process_group: must be None: all ranks.
        bias: whether a learnt number is added; only with `affine`.

    Shape:
        input: (N, C), (N, C, L) or (N, C, H, W). output: the same.

    Raises:
        ArgumentError: for a process group.
        ShapeError: when called, for an input that does not fit, or training on a single value per channel.

    Reference:
        Peng et al., "MegDet: a large mini-batch object detector", 2018.
    """

    _ranks, _shapes = (2, 3, 4), "(N, C), (N, C, L) or (N, C, H, W)"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: Any = None,
        dtype: DType = None,
        *,
        bias: bool = True,
    ) -> None:
        _check_group(process_group, "SyncBatchNorm")
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _operation(self) -> type[BatchNorm]:
        return SyncBatchNormOperation if communicator().size > 1 else BatchNorm

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Put a SyncBatchNorm in the place of every batch norm in a Module, with its parameters and statistics.

        Returns:
            the Module itself; where it is a batch norm, what takes its place.

        Raises:
            ArgumentError: for a process group.
        """
        _check_group(process_group, "convert_sync_batchnorm")
        if isinstance(module, BatchNorm1d | BatchNorm2d):
            return cls._in_the_place_of(module)
        for name, child in module.named_children():
            setattr(module, name, cls.convert_sync_batchnorm(child))
        return module

    @classmethod
    def _in_the_place_of(cls, layer: ChannelNorm) -> SyncBatchNorm:
        made = cls(layer.num_features, layer.eps, layer.momentum, False, False)
        made.affine, made.track_running_stats = layer.affine, layer.track_running_stats
        for name in ("weight", "bias"):
            made.register_parameter(name, getattr(layer, name))
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            made.register_buffer(name, getattr(layer, name))
        return made.train(layer.training)


def _check_group(process_group: Any, name: str) -> None:
    if process_group is not None:
        raise ArgumentError(f"{name}: process_group must be None: all ranks compute together")


def _fill(*pairs: tuple[Tensor | None, float]) -> None:
    for tensor, value in pairs:
        if tensor is not None:
            init.constant_(tensor, value)
