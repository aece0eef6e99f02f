"""Images of another size, and channels rearranged into pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpunet.arguments import flag
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_choice, check_float, number, whole_number
from gpunet.functional.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d
from gpunet.ops.resample import Interpolate, interpolation
from gpunet.tensor import Tensor, apply

__all__ = ["channel_shuffle", "interpolate", "pixel_shuffle", "pixel_unshuffle"]

MODES = {"nearest": (3, 4), "nearest-exact": (3, 4), "linear": (3,), "bilinear": (4,), "bicubic": (4,), "area": (3, 4)}
"""Of interpolation: for inputs of how many dimensions."""


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Images, or sequences, of another size: each pixel is a weighted sum of those that lie around its place.

    Args:
        size: Ho and Wo, or one number for both.
        scale_factor: how many times as large, instead of a size; two numbers, or one for both.
        mode: "nearest" and "nearest-exact" (the latter rounds to the centre of a pixel), "bilinear" ("linear" for
            sequences), "bicubic", or "area" (the mean of what a pixel covers).
        align_corners: whether the centres of the outermost pixels stay where they are; else their borders do.
        recompute_scale_factor: go by the sizes rather than by a `scale_factor` that they do not quite keep to.
        antialias: there is none.

    Shape:
        input: (N, C, H, W), or (N, C, L). output: (N, C, Ho, Wo), or (N, C, Lo).

    Raises:
        ShapeError: for a wrong rank or an image without pixels.
        ArgumentError: for an unknown mode, both or none of size and scale_factor, an option that the mode has not, or
            antialias.
        DTypeError: if the input is not a Tensor of floats.
    """
    check_float(input, "interpolate")
    check_choice(mode, tuple(MODES), "mode", "interpolate")
    if input.ndim not in MODES[mode] or 0 in input.shape[2:]:
        ranks = " or ".join(str(rank) for rank in MODES[mode])
        raise ShapeError(f"interpolate: {mode} takes pixels of a Tensor of {ranks} dimensions, got {input.shape}")
    if flag(antialias, "interpolate: antialias"):
        raise ArgumentError("interpolate: antialias is not to be had; a pooling layer makes images smaller smoothly")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ArgumentError(f"interpolate: align_corners is for linear and cubic interpolation, not for {mode}")
    sizes, factors = _target(input.shape[2:], size, scale_factor)
    if recompute_scale_factor:
        factors = [None] * len(sizes)
    if mode == "area":
        return adaptive_avg_pool2d(input, sizes) if input.ndim == 4 else adaptive_avg_pool1d(input, sizes)
    axes = {
        axis: interpolation(input.shape[axis], target, factor, mode, bool(align_corners))
        for axis, (target, factor) in enumerate(zip(sizes, factors, strict=True), 2)
    }
    return apply(Interpolate(axes), input)


def _target(
    before: tuple[int, ...], size: int | Sequence[int] | None, scale_factor: float | Sequence[float] | None
) -> tuple[list[int], list[float | None]]:
    """The sizes that are wanted, and the factors that were given for them."""
    if (size is None) == (scale_factor is None):
        raise ArgumentError(f"interpolate: expected either size or scale_factor, got {size!r} and {scale_factor!r}")
    given = size if size is not None else scale_factor
    each = list(given) if isinstance(given, Sequence) else [given] * len(before)
    if len(each) != len(before):
        raise ArgumentError(f"interpolate: expected one number, or one for each of {before}, got {given!r}")
    if size is not None:
        return [whole_number(one, "size", "interpolate", 1) for one in each], [None] * len(before)
    factors = [number(factor, "scale_factor", "interpolate") for factor in each]
    sizes = [int(one * factor) for one, factor in zip(before, factors, strict=True)]
    if min(sizes) < 1:
        raise ArgumentError(f"interpolate: scale_factor {scale_factor} leaves no pixels of {before}")
    return sizes, list(factors)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Every r^2 channels of a pixel become r x r pixels: `y[n, c, r h + i, r w + j] = x[n, r^2 c + r i + j, h, w]`.

    Shape:
        (..., C r^2, H, W) -> (..., C, r H, r W).

    Raises:
        ShapeError: for fewer than 3 dimensions, or a number of channels that r^2 does not divide.
        ArgumentError: if r is no whole number of 1 or more.
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
        neural network", 2016.
    """
    check_float(input, "pixel_shuffle")
    r = whole_number(upscale_factor, "upscale_factor", "pixel_shuffle", 1)
    *outer, channels, height, width = _with_channels(input, "pixel_shuffle")
    if channels % (r * r):
        raise ShapeError(f"pixel_shuffle: {r}^2 must divide the {channels} channels of input {input.shape}")
    c = channels // (r * r)
    n = math.prod(outer)
    pixels = _channels_last(input).reshape(n, height, width, c, r, r).permute(0, 1, 4, 2, 5, 3)  # (n, H, r, W, r, C)
    return _channels_second(pixels.reshape(n, height * r, width * r, c), outer)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Every r x r pixels become r^2 channels of one: the reverse of `pixel_shuffle`.

    Shape:
        (..., C, r H, r W) -> (..., C r^2, H, W).

    Raises:
        ShapeError: for fewer than 3 dimensions, or a height or width that r does not divide.
        ArgumentError: if r is no whole number of 1 or more.
        DTypeError: if the input is not a Tensor of floats.
    """
    check_float(input, "pixel_unshuffle")
    r = whole_number(downscale_factor, "downscale_factor", "pixel_unshuffle", 1)
    *outer, channels, height, width = _with_channels(input, "pixel_unshuffle")
    if height % r or width % r:
        raise ShapeError(f"pixel_unshuffle: {r} must divide height and width of input {input.shape}")
    n = math.prod(outer)
    blocks = _channels_last(input).reshape(n, height // r, r, width // r, r, channels)  # (n, H, r, W, r, C)
    return _channels_second(
        blocks.permute(0, 1, 3, 5, 2, 4).reshape(n, height // r, width // r, channels * r * r), outer
    )


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of g groups dealt out anew, one of each group in turn, so that groups of the next layer see all of them.

    Shape:
        (N, C, H, W); the output has the same.

    Raises:
        ShapeError: for another rank, or a number of channels that g does not divide.
        ArgumentError: if g is no whole number of 1 or more.
        DTypeError: if the input is not a Tensor of floats.

    Reference:
        Zhang et al., "ShuffleNet: an extremely efficient convolutional neural network for mobile devices", 2018.
    """
    check_float(input, "channel_shuffle")
    groups = whole_number(groups, "groups", "channel_shuffle", 1)
    if input.ndim != 4 or input.shape[1] % groups:
        raise ShapeError(
            f"channel_shuffle: input must have shape (N, C, H, W) with channels for {groups} groups, got {input.shape}"
        )
    n, channels, height, width = input.shape
    grouped = _channels_last(input).reshape(n, height, width, groups, channels // groups)
    return _channels_second(grouped.permute(0, 1, 2, 4, 3).reshape(n, height, width, channels), [n])


def _with_channels(input: Tensor, layer: str) -> tuple[int, ...]:
    if input.ndim < 3:
        raise ShapeError(f"{layer}: input must have shape (..., C, H, W), got {input.shape}")
    return input.shape


def _channels_last(x: Tensor) -> Tensor:
    """(..., C, H, W) to (..., H, W, C), where the rearranging keeps images channels-last in memory."""
    outer = range(x.ndim - 3)
    return x.permute(*outer, x.ndim - 2, x.ndim - 1, x.ndim - 3)


def _channels_second(x: Tensor, outer: Sequence[int]) -> Tensor:
    """(n, H, W, C) to (..., C, H, W)."""
    return (
        x.permute(0, 3, 1, 2).reshape(*outer, x.shape[3], *x.shape[1:3]) if len(outer) != 1 else x.permute(0, 3, 1, 2)
    )
