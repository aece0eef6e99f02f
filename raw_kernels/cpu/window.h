// The window that slides over an image, as all convolutions see it.
#pragma once
#include "kernel.h"

namespace {

struct Range {
    i64 first, last;  // from the first to before the last
};

// The positions among [0, positions) at which an element of the window lies inside the image: 0 <= position * stride
// + offset < size.
INLINE Range inside(i64 offset, i64 stride, i64 size, i64 positions) {
    const i64 first = offset < 0 ? (-offset + stride - 1) / stride : 0;
    const i64 last = offset < size ? smaller((size - 1 - offset) / stride + 1, positions) : 0;
    return {smaller(first, last), last};
}

// Images (N, H, W, C), outputs (N, Ho, Wo, O), filters (kh, kw, C/G, O). Arguments of a kernel, in this order.
struct Window {
    i64 images, height, width, channels;
    i64 out_height, out_width, outputs;
    i64 kernel_height, kernel_width, stride_height, stride_width;
    i64 top, left, dilation_height, dilation_width;  // padding: what lies below and on the right follows from the sizes
    i64 groups;

    // The output rows (columns) that see a pixel of the image through row i (column j) of the window.
    Range rows(i64 i) const { return inside(row(0, i), stride_height, height, out_height); }
    Range columns(i64 j) const { return inside(column(0, j), stride_width, width, out_width); }

    // The row (column) of the image that output row p (column q) sees through row i (column j) of the window.
    i64 row(i64 p, i64 i) const { return p * stride_height + i * dilation_height - top; }
    i64 column(i64 q, i64 j) const { return q * stride_width + j * dilation_width - left; }
};

}  // namespace
