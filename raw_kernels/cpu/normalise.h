// Batch norm's last pass over a number, shared by the kernel that does nothing else (batchnorm.h) and by convolution,
// which in evaluation applies it to what it holds in registers: both give the same bits.
#pragma once
#include "kernel.h"

namespace {

// (v - center) * scale + shift: rounded after the subtraction, and once more after the fused multiply-add. The center
// is the mean, taken off first: v * scale + (shift - mean * scale) would lose the digits that a large mean has in common
// with v.
INLINE vec normalised(vec v, vec center, vec scale, vec shift) { return (v - center) * scale + shift; }

}  // namespace
