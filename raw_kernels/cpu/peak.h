// The most multiply-adds that a core can do: what the speed of the convolutions is measured against.
#pragma once
#include "kernel.h"

namespace {

// Twelve sums in registers, so that none waits for the one before; nothing is read from memory.
// An item is 2^20 times 192 multiply-adds, whatever the width of a vector, and writes 16 sums, so that none is left out.
struct MultiplyAddPeak {
    float* sums;  // (items, 16)

    void run(i64 first, i64 last) const {
        for (i64 item = first; item < last; ++item) {
            vec sum[12];
            UNROLL for (int i = 0; i < 12; ++i) sum[i] = vec{} + (float)i;
            const vec slope = vec{} + 0.999f, shift = vec{} + 0.001f;
            for (i64 round = 0; round < (1 << 20) * (16 / LANES); ++round) {
                UNROLL for (int i = 0; i < 12; ++i) sum[i] = sum[i] * slope + shift;
            }
            UNROLL for (int i = 1; i < 12; ++i) sum[0] += sum[i];
            store(sums + item * 16, sum[0]);
        }
    }
};

}  // namespace

KERNEL(multiply_add_peak, MultiplyAddPeak)
