"""Layers that make images of another size, or channels into pixels; see the functions in `gpunet.functional`."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet import functional as F
from gpunet.functional.checks import whole_number
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = [
    "ChannelShuffle",
    "PixelShuffle",
    "PixelUnshuffle",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
]


class Upsample(Module):
    """Images of another size, by interpolation; see `gpunet.functional.interpolate`.

    Args:
        size: Ho and Wo, or one number for both.
        scale_factor: how many times as large, instead of a size.

    Shape:
        input: (N, C, H, W), or (N, C, L). output: (N, C, Ho, Wo), or (N, C, Lo).

    Raises:
        ArgumentError: when called, for settings that make no sense.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = align_corners, recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        """Interpolate."""
        return F.interpolate(
            input, self.size, self.scale_factor, self.mode, self.align_corners, self.recompute_scale_factor
        )

    def extra_repr(self) -> str:
        """The settings."""
        target = f"size={self.size}" if self.scale_factor is None else f"scale_factor={self.scale_factor}"
        return f"{target}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Images of another size, each pixel that of the nearest place.

    Shape:
        input: (N, C, H, W). output: (N, C, Ho, Wo).
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """Images of another size by bilinear interpolation, with corners aligned.

    Shape:
        input: (N, C, H, W). output: (N, C, Ho, Wo).
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Module):
    """Every r^2 channels of a pixel become r x r pixels; see `gpunet.functional.pixel_shuffle`.

    Shape:
        (..., C r^2, H, W) -> (..., C, r H, r W).

    Raises:
        ArgumentError: if r is no whole number of 1 or more.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = whole_number(upscale_factor, "upscale_factor", "PixelShuffle", 1)

    def forward(self, input: Tensor) -> Tensor:
        """Channels to pixels."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        """The settings."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Every r x r pixels become r^2 channels of one; see `gpunet.functional.pixel_unshuffle`.

    Shape:
        (..., C, r H, r W) -> (..., C r^2, H, W).

    Raises:
        ArgumentError: if r is no whole number of 1 or more.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = whole_number(downscale_factor, "downscale_factor", "PixelUnshuffle", 1)

    def forward(self, input: Tensor) -> Tensor:
        """Pixels to channels."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        """The settings."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Channels of g groups dealt out anew, one of each group in turn; see `gpunet.functional.channel_shuffle`.

    Shape:
        (N, C, H, W); the output has the same.

    Raises:
        ArgumentError: if g is no whole number of 1 or more.
        ShapeError: when called, for an input that does not fit.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = whole_number(groups, "groups", "ChannelShuffle", 1)

    def forward(self, input: Tensor) -> Tensor:
        """Deal the channels out."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        """The settings."""
        return f"groups={self.groups}"
