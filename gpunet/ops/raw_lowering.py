"""Lowering by a raw kernel: what `lowering.py` computes with `xp`, in one launch and without a padded copy."""

from __future__ import annotations

from gpunet.backend import Array
from gpunet.backend.kernel_table import LOWER_ROWS
from gpunet.backend.kernels import launch, vector_width
from gpunet.ops.window import Window

__all__ = ["lower_rows"]


def lower_rows(x: Array, rows: Array, window: Window) -> None:
    """Fill rows (G, stride, rows/stride, n, Wo, kw, C/G) from images x (n, H, W, C), NHWC-contiguous."""
    groups, _, per_phase, images, out_width, kw, group_channels = rows.shape
    (sh, sw), ((top, _), (left, _)) = window.stride, window.padding
    vector = vector_width(group_channels, rows, x)
    count = rows.size // vector
    sizes = (images, *x.shape[1:], groups, per_phase, out_width, kw, sh, sw, top, left, window.dilation[1])
    launch(LOWER_ROWS, x, rows, count, *sizes, threads=count, vector=vector)
