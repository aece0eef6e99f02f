// A step of stochastic gradient descent, in place:
//
//     step = grad + decay * w
//     v    = momentum * v + kept * step          kept: 1 - dampening
//     w   -= rate * v                            nesterov: rate * (step + momentum * v); without momentum: rate * step
//
// An item is one number. Each array is read once, and w and v are written once; line by line it would be three times that.
#pragma once
#include "elementwise.h"

namespace {

struct Descend {
    const float* grad;
    float *w, *v;  // v is null where there is no momentum
    i64 nesterov;
    double rate, momentum, kept, decay;

    void run(i64 first, i64 last) const {
        const float m = (float)momentum, k = (float)kept, d = (float)decay, r = (float)rate;
        by_vectors(first, last, [=](i64 i, i64 lanes) ALWAYS_INLINE {
            const vec before = load_part(w + i, lanes);
            vec step = load_part(grad + i, lanes);
            if (d > 0) step += d * before;  // or infinity would become NaN
            if (v) {
                const vec sum = m * load_part(v + i, lanes) + k * step;
                store_part(v + i, sum, lanes);
                step = nesterov ? step + m * sum : sum;
            }
            store_part(w + i, before - r * step, lanes);
        });
    }
};

}  // namespace

KERNEL(descend, Descend)
