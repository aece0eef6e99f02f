// Element by element: ReLU, its gradient, and additions. Memory is all that they wait for: each reads its inputs and
// writes its output once. An item is one number; the arrays are equally long.
#pragma once
#include "kernel.h"

namespace {

// y = max(x, 0).
struct Relu {
    const float* x;
    float* y;

    void run(i64 first, i64 last) const {
        i64 i = first;
        for (; i + LANES <= last; i += LANES) store(y + i, relu(load(x + i)));
        if (i < last) store_part(y + i, relu(load_part(x + i, last - i)), last - i);
    }
};

}  // namespace

KERNEL(relu_forward, Relu)
