// Softmax and its logarithm over rows of `classes` numbers, both ways. An item is a row.
//
//     y_i = e^(x_i - m) / sum_k e^(x_k - m),  m = max x            log y_i = (x_i - m) - log sum_k e^(x_k - m)
//
// A student would write one loop for the maximum, one for the sum, one for the outputs. Here each goes over a row in
// vectors. Number i of a row always belongs to partial sum i % 16, and the 16 are added up in the same way whatever the
// length of a vector, so every build gives the same bits.
#pragma once
#include "kernel.h"

namespace {

constexpr int PARTS = 16;         // partial sums of a row
constexpr i64 LONG_ROW = 4096;    // what so many numbers come to is added up in double
constexpr int VECTORS = PARTS / LANES;

// e^x, within one unit in the last place: x = n ln 2 + r with |r| <= ln 2 / 2, then e^x = 2^n e^r, and e^r is a
// polynomial (Cephes' expf). ln 2 comes in two parts, so that the subtraction loses nothing. 2^n is multiplied in two
// halves, because it may lie outside of what a float holds while 2^n e^r does not. NaN passes the comparisons, and all.
INLINE vec exp(vec x) {
    x = x > vec{} + 89.f ? vec{} + 89.f : x;      // e^89 is infinite
    x = x < vec{} - 104.f ? vec{} - 104.f : x;    // e^-104 is 0
    const float ROUND = 12582912.f;               // 1.5 * 2^23: behind it floats are whole numbers
    const vec n = (x * 1.44269504f + ROUND) - ROUND;
    const vec r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    vec p = vec{} + 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.f;
    const mask whole = __builtin_convertvector(n == n ? n : vec{}, mask), half = whole >> 1;
    return p * (vec)((half + 127) << 23) * (vec)((whole - half + 127) << 23);
}

// Calls `work(first number, how many)` for every vector of a row.
template <class Work> INLINE void over_row(i64 from, i64 to, const Work& work) {
    i64 i = from;
    for (; i + LANES <= to; i += LANES) work(i, (i64)LANES);
    if (i < to) work(i, to - i);
}

// The lanes that count, 0 in the others.
INLINE vec keep(vec v, i64 count) {
    if (count == LANES) return v;
    for (i64 lane = count; lane < LANES; ++lane) v[lane] = 0;
    return v;
}

// The sum of what `terms(first number, how many)` gives for a row.
template <class Terms> INLINE double sum_of_row(i64 classes, const Terms& terms) {
    double total = 0;
    for (i64 from = 0; from < classes; from += LONG_ROW) {
        float part[PARTS] = {};
        over_row(from, smaller(classes, from + LONG_ROW), [&](i64 i, i64 count) __attribute__((always_inline)) {
            float* mine = part + i / LANES % VECTORS * LANES;
            store(mine, load(mine) + keep(terms(i, count), count));
        });
        for (int half = PARTS / 2; half; half /= 2)
            for (int i = 0; i < half; ++i) part[i] += part[i + half];
        total += part[0];
    }
    return total;
}

INLINE float max_of_row(const float* x, i64 classes) {
    float best = -__builtin_inff();
    vec bests = vec{} + best;
    over_row(0, classes, [&](i64 i, i64 count) __attribute__((always_inline)) {
        const vec value = load_part(x + i, count);
        if (count == LANES)
            bests = (value > bests) | (value != value) ? value : bests;  // NaN wins, and stays
        else
            for (i64 lane = 0; lane < count; ++lane)
                if (value[lane] > best || value[lane] != value[lane]) best = value[lane];
    });
    for (int lane = 0; lane < LANES; ++lane)
        if (bests[lane] > best || bests[lane] != bests[lane]) best = bests[lane];
    return best;
}

struct SoftmaxForward {
    const float* x;
    float* y;
    i64 classes;

    void run(i64 first, i64 last) const {
        for (i64 row = first; row < last; ++row) {
            const float* in = x + row * classes;
            float* out = y + row * classes;
            const float best = max_of_row(in, classes);
            const float sum = (float)sum_of_row(classes, [&](i64 i, i64 count) __attribute__((always_inline)) {
                const vec power = exp(load_part(in + i, count) - best);
                store_part(out + i, power, count);
                return power;
            });
            over_row(0, classes, [&](i64 i, i64 count) __attribute__((always_inline)) {
                store_part(out + i, load_part(out + i, count) / sum, count);
            });
        }
    }
};

// dx = y (g - sum_k g_k y_k)
struct SoftmaxBackward {
    const float* grad;
    const float* y;
    float* dx;
    i64 classes;

    void run(i64 first, i64 last) const {
        for (i64 row = first; row < last; ++row) {
            const float *g = grad + row * classes, *p = y + row * classes;
            const float sum = (float)sum_of_row(classes, [&](i64 i, i64 count) __attribute__((always_inline)) {
                return load_part(g + i, count) * load_part(p + i, count);
            });
            over_row(0, classes, [&](i64 i, i64 count) __attribute__((always_inline)) {
                const vec slope = load_part(p + i, count) * (load_part(g + i, count) - sum);
                store_part(dx + row * classes + i, slope, count);
            });
        }
    }
};

struct LogSoftmaxForward {
    const float* x;
    float* y;
    i64 classes;

    void run(i64 first, i64 last) const {
        for (i64 row = first; row < last; ++row) {
            const float* in = x + row * classes;
            const float best = max_of_row(in, classes);
            const double sum = sum_of_row(classes, [&](i64 i, i64 count) __attribute__((always_inline)) {
                return exp(load_part(in + i, count) - best);
            });
            const float log_sum = (float)__builtin_log(sum);
            over_row(0, classes, [&](i64 i, i64 count) __attribute__((always_inline)) {
                store_part(y + row * classes + i, load_part(in + i, count) - best - log_sum, count);
            });
        }
    }
};

// dx = g - e^y sum_k g_k
struct LogSoftmaxBackward {
    const float* grad;
    const float* y;
    float* dx;
    i64 classes;

    void run(i64 first, i64 last) const {
        for (i64 row = first; row < last; ++row) {
            const float *g = grad + row * classes, *log_p = y + row * classes;
            const float sum = (float)sum_of_row(classes, [&](i64 i, i64 count) __attribute__((always_inline)) {
                return load_part(g + i, count);
            });
            over_row(0, classes, [&](i64 i, i64 count) __attribute__((always_inline)) {
                const vec slope = load_part(g + i, count) - exp(load_part(log_p + i, count)) * sum;
                store_part(dx + row * classes + i, slope, count);
            });
        }
    }
};

}  // namespace

KERNEL(softmax_forward, SoftmaxForward)
KERNEL(softmax_backward, SoftmaxBackward)
KERNEL(log_softmax_forward, LogSoftmaxForward)
KERNEL(log_softmax_backward, LogSoftmaxBackward)
