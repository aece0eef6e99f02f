"""Convolution as matrix products over lowered rows, and its gradients; `lowering` says how rows are lowered."""

from __future__ import annotations

from gpunet.backend import Array
from gpunet.ops.lowering import (
    correlate,
    filter_rows,
    image_rows,
    lower,
    lowered_bytes,
    lowers_whole_windows,
    whole_filters,
)
from gpunet.ops.phases import Phase, phases
from gpunet.ops.window import Window

__all__ = ["Lowered"]


class Lowered:
    """y = sum over i of rows[i] @ F[i]: any stride, padding, dilation and number of groups."""

    def __init__(self, weight: Array, window: Window, groups: int) -> None:
        self.weight, self.window, self.groups = weight, window, groups
        self.whole = lowers_whole_windows(weight, groups)
        self.filters = (whole_filters if self.whole else filter_rows)(weight, groups)

    def tile_bytes(self, x: Array, y: Array) -> int:
        """How much one image takes, lowered, or as products."""
        kh, lowered, product = self.window.kernel[0], lowered_bytes(x, self.window), y.nbytes // len(y)
        return max(lowered * kh // self.window.stride[0], product) if self.whole else max(lowered, product * kh)

    def forward(self, x: Array, window: Window, y: Array) -> None:
        """Fill y (n, Ho, Wo, O) of a tile (n, H, W, C)."""
        correlate(lower(x, window, self.groups, self.whole), self.filters, y)

    def gradient_bytes(self, x: Array, grad: Array, needs_x: bool) -> int:
        """How much one image takes on the way back."""
        if not needs_x:
            return self.tile_bytes(x, grad)
        (kh, kw), (sh, sw) = self.window.kernel, self.window.stride
        return max(grad.nbytes * kw, x.nbytes * kh // (sh * sw)) // len(x)

    def gradients(self, x: Array, needs_x: bool) -> list[_TurnedGradient] | list[_WeightGradient]:
        """What computes the gradients by x, if needed, and by the filters: for each phase, where there are several."""
        if not needs_x:
            return [_WeightGradient(self.window, self.groups, self.whole)]
        return [_TurnedGradient(self.weight, phase, self.groups) for phase in phases(self.window, *x.shape[1:3])]


class _TurnedGradient:
    """The gradient by the input is itself a convolution, of g with the filters turned around.

        dI[k, l] = sum over i, j of g[k - D*i + P, l - D*j + P] * F[i, j]

    for a stride of 1, and with a larger one the like for each phase of pixels. The rows of g that are lowered for it
    serve for the gradient by the filters, too: xᵀ @ rows.
    """

    def __init__(self, weight: Array, phase: Phase, groups: int) -> None:
        self.phase, self.groups = phase, groups
        met = phase.elements(weight)
        self.shape = outputs, channels, kh, kw = met.shape
        grouped = met[:, :, ::-1, ::-1].reshape(groups, outputs // groups, channels, kh, kw)
        inputs = grouped.transpose(0, 2, 1, 3, 4).reshape(groups * channels, outputs // groups, kh, kw)
        self.filters = filter_rows(inputs, groups)  # (kh, G, kw*O/G, C/G)
        self.window = phase.turned_window((kh, kw))

    def __call__(self, x: Array, grad: Array, dx: Array | None, needs_weight: bool) -> Array | None:
        """Fill dx (n, H, W, C) of a tile; return the gradient by the filters, (kh, G, C/G, kw*O/G)."""
        lowered = lower(self.phase.positions(grad), self.window, self.groups)
        if dx is not None:
            correlate(lowered, self.filters, self.phase.pixels(dx))
        if not needs_weight:
            return None
        rows = image_rows(self.phase.pixels(x), self.groups)  # (G, H*n*W, C/G)
        return lowered.left_times(rows.swapaxes(1, 2))

    def put(self, dfilters: Array, dweight: Array) -> None:
        """Write the gradient by the filters to its place in that by the weight (O, C/G, kh, kw)."""
        outputs, channels, kh, kw = self.shape
        grouped = dfilters.reshape(kh, self.groups, channels, kw, outputs // self.groups)
        turned = grouped.transpose(1, 4, 2, 0, 3)[:, :, :, ::-1, ::-1]
        self.phase.elements(dweight)[...] = turned.reshape(self.shape)


class _WeightGradient:
    """Where nobody needs the gradient by the input, as in a first layer: gᵀ @ rows over the lowered rows of x."""

    def __init__(self, window: Window, groups: int, whole: bool) -> None:
        self.window, self.groups, self.whole = window, groups, whole

    def __call__(self, x: Array, grad: Array, dx: Array | None, needs_weight: bool) -> Array | None:
        """Return the gradient by the filters, (kh, G, O/G, kw*C/G), or (1, G, O/G, kh*kw*C/G)."""
        if not needs_weight:
            return None
        g = image_rows(grad, self.groups)  # (G, Ho*n*Wo, O/G)
        return lower(x, self.window, self.groups, self.whole).left_times(g.swapaxes(1, 2))

    def put(self, dfilters: Array, dweight: Array) -> None:
        """Write the gradient by the filters to its place in that by the weight (O, C/G, kh, kw)."""
        outputs, channels, kh, kw = dweight.shape
        by_output = dfilters.reshape(len(dfilters), outputs, -1).swapaxes(0, 1).reshape(outputs, kh, kw, channels)
        dweight[...] = by_output.transpose(0, 3, 1, 2)
