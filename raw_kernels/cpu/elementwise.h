// Element by element: ReLU, its gradient, and additions. Memory is all that they wait for: each reads its inputs and
// writes its output once. An item is one number; the arrays are equally long, and lie in memory alike.
#pragma once
#include "kernel.h"

namespace {

// Calls `body(i, lanes)` for the vectors of numbers first to last - 1, four at a time; the last may have fewer lanes.
template <typename Body>
INLINE void by_vectors(i64 first, i64 last, const Body& body) {
    i64 i = first;
    for (; i + 4 * LANES <= last; i += 4 * LANES) {
        UNROLL for (int v = 0; v < 4; ++v) body(i + v * LANES, LANES);
    }
    for (; i < last; i += LANES) body(i, smaller(LANES, last - i));
}

// y = max(x, 0).
struct Relu {
    const float* x;
    float* y;

    void run(i64 first, i64 last) const {
        by_vectors(first, last, [=](i64 i, i64 lanes) ALWAYS_INLINE {
            store_part(y + i, relu(load_part(x + i, lanes)), lanes);
        });
    }
};

// What a ReLU that gave y lets through of a gradient: 0 where y is 0. NaN is not below, and lets pass.
INLINE vec behind_relu(vec grad, vec y) { return y <= vec{} ? vec{} : grad; }

struct ReluGradient {
    const float *grad, *y;
    float* dx;

    void run(i64 first, i64 last) const {
        by_vectors(first, last, [=](i64 i, i64 lanes) ALWAYS_INLINE {
            store_part(dx + i, behind_relu(load_part(grad + i, lanes), load_part(y + i, lanes)), lanes);
        });
    }
};

// The same, added to another gradient.
struct AddReluGradient {
    const float *grad, *y;
    float* total;

    void run(i64 first, i64 last) const {
        by_vectors(first, last, [=](i64 i, i64 lanes) ALWAYS_INLINE {
            const vec part = behind_relu(load_part(grad + i, lanes), load_part(y + i, lanes));
            store_part(total + i, part + load_part(total + i, lanes), lanes);
        });
    }
};

// y = a + b.
struct Add {
    const float *a, *b;
    float* y;

    void run(i64 first, i64 last) const {
        by_vectors(first, last, [=](i64 i, i64 lanes) ALWAYS_INLINE {
            store_part(y + i, load_part(a + i, lanes) + load_part(b + i, lanes), lanes);
        });
    }
};

// y += a: gradients of several paths, added up where one of them lies.
struct AddTo {
    const float* a;
    float* y;

    void run(i64 first, i64 last) const {
        by_vectors(first, last, [=](i64 i, i64 lanes) ALWAYS_INLINE {
            store_part(y + i, load_part(a + i, lanes) + load_part(y + i, lanes), lanes);
        });
    }
};

}  // namespace

KERNEL(relu_forward, Relu)
KERNEL(relu_gradient, ReluGradient)
KERNEL(add_relu_gradient, AddReluGradient)
KERNEL(add, Add)
KERNEL(add_to, AddTo)
