// Batch normalisation over rows of channels, x (rows, C): every pixel of every image is a row. Each pass reads what it
// needs once and writes its result once; memory is all that it waits for.
//
//     y  = relu((x - center) * scale + shift + residual)              per channel scale = weight / sqrt(var + eps)
//     dx = scale * (g - mean(g) - xhat * mean(g * xhat))              g: the gradient behind the ReLU
//
// As in reduction.h the host takes several rows side by side as one of `width` numbers where there are few channels. What
// is known of the channels (center, scale, ...) begins anew after `period` numbers: the channels, where they are whole
// vectors, else as many rows as were taken together.
#pragma once
#include "elementwise.h"
#include "normalise.h"
#include "reduction.h"

namespace {

// ---------------------------------------------------------------------------------------------------------- statistics

constexpr double LARGE_MEAN = 4;  // standard deviations

// Per column the sums of x and x^2; about a center, if there is one: where the mean is large, x^2 would lose the digits.
struct Deviations {
    static constexpr int COUNT = 2;
    const float *x, *center;

    ALWAYS_INLINE void add(i64 i, i64 column, i64 lanes, vec* sum) const {
        vec d = load_part(x + i, lanes);
        if (center) d -= load_part(center + column, lanes);
        sum[0] += d;
        sum[1] += d * d;
    }
};

// Mean and variance of the channels, and what follows from them. An item is a chunk of rows; the thread that ends the
// last of them merges.
struct BatchNormMoments {
    const float *x, *center, *weight, *bias, *running_mean, *running_var;
    double* partial;  // (chunks, 2, width); in the end mean and variance, at the beginning of the first two rows
    float* known;     // if wanted: center, inverse_std, scale, shift; and running mean and variance, moved: (6, channels)
    int* state;       // how many chunks are done; whether sums of x^2 have lost digits of some variance
    i64 numbers, width, channels, chunk_rows, chunks;
    double eps, momentum;

    void run(i64 first, i64 last) const {
        for (i64 chunk = first; chunk < last; ++chunk) {
            sum_chunk(Deviations{x, center}, chunk, chunk_rows, numbers, width, partial + chunk * 2 * width);
            if (is_last(state, chunks)) merge();
        }
    }

    void merge() const {
        merge_chunks(partial, 2, width, channels, chunks);
        const double rows = (double)(numbers / channels);
        for (i64 c = 0; c < channels; ++c) {
            const double offset = partial[c] / rows;
            const double variance = partial[width + c] / rows - offset * offset;
            partial[c] = center ? center[c] + offset : offset;
            partial[width + c] = variance < 0 ? 0 : variance;
            if (!(offset * offset <= LARGE_MEAN * LARGE_MEAN * variance)) state[1] = 1;
            if (known) follow(c, partial[c], partial[width + c], rows / (rows - 1));
        }
    }

    // As `channels` and `running_statistics` in gpunet/ops/batchnorm.py.
    void follow(i64 c, double mean, double variance, double unbiased) const {
        const double inverse_std = 1 / __builtin_sqrt(variance + eps);
        const double scale = weight ? inverse_std * weight[c] : inverse_std;
        const float rounded = (float)mean;
        const double rest = (rounded - mean) * scale;
        known[c] = rounded;
        known[channels + c] = (float)inverse_std;
        known[2 * channels + c] = (float)scale;
        known[3 * channels + c] = (float)(bias ? rest + bias[c] : rest);
        if (running_mean) {
            const float kept = (float)(1 - momentum);
            known[4 * channels + c] = (float)(running_mean[c] * kept + mean * momentum);
            known[5 * channels + c] = (float)(running_var[c] * kept + variance * unbiased * momentum);
        }
    }
};

// ----------------------------------------------------------------------------------------------------------- normalise

// y = (x - center) * scale + shift  [+ residual]  [then ReLU]. An item is a row.
//
// Moves x, y and the residual, once each. As separate operations the addition would read y and the residual and write y
// again, and the ReLU would read and write y once more.
struct BatchNormNormalise {
    const float *x, *center, *scale, *shift, *residual;
    float* y;
    i64 numbers, width, period, relu_follows;

    void run(i64 first, i64 last) const {
        if (residual) relu_follows ? rows<true, true>(first, last) : rows<true, false>(first, last);
        else relu_follows ? rows<false, true>(first, last) : rows<false, false>(first, last);
    }

    template <bool ADD, bool RELU>
    ALWAYS_INLINE void rows(i64 first, i64 last) const {
        for (i64 row = first; row < last; ++row) {
            const i64 end = smaller(width, numbers - row * width);
            for (i64 column = 0, channel = 0; column < end; column += LANES) {
                put<ADD, RELU>(row * width + column, channel, smaller(LANES, end - column));
                channel = channel + LANES < period ? channel + LANES : 0;
            }
        }
    }

    template <bool ADD, bool RELU>
    ALWAYS_INLINE void put(i64 i, i64 channel, i64 lanes) const {
        const vec m = load(center + channel), s = load(scale + channel), b = load(shift + channel);
        vec value = normalised(load_part(x + i, lanes), m, s, b);
        if (ADD) value += load_part(residual + i, lanes);
        store_part(y + i, RELU ? relu(value) : value, lanes);
    }
};

// ------------------------------------------------------------------------------------------------------------ backward

// Per column the sums of g and g * (x - center).
template <bool RELU>
struct GradientTerms {
    static constexpr int COUNT = 2;
    const float *grad, *x, *y, *center;

    ALWAYS_INLINE void add(i64 i, i64 column, i64 lanes, vec* sum) const {
        vec g = load_part(grad + i, lanes);
        if (RELU) g = behind_relu(g, load_part(y + i, lanes));
        sum[0] += g;
        sum[1] += g * (load_part(x + i, lanes) - load_part(center + column, lanes));
    }
};

// The gradients by bias and weight, and what dx is made of. An item is a chunk of rows; the thread that ends the last of
// them merges. Reads grad, x and, behind a ReLU, its output y.
struct BatchNormSums {
    const float *grad, *x, *y, *center, *inverse_std;
    double* partial;  // (chunks, 2, width)
    float* sums;      // dbias, dweight, mean_gradient, slope: (4, channels)
    int* state;  // how many chunks are done
    i64 numbers, width, channels, chunk_rows, chunks;

    void run(i64 first, i64 last) const { y ? sum<true>(first, last) : sum<false>(first, last); }

    template <bool RELU>
    ALWAYS_INLINE void sum(i64 first, i64 last) const {
        for (i64 chunk = first; chunk < last; ++chunk) {
            const GradientTerms<RELU> terms = {grad, x, y, center};
            sum_chunk(terms, chunk, chunk_rows, numbers, width, partial + chunk * 2 * width);
            if (is_last(state, chunks)) merge();
        }
    }

    void merge() const {
        merge_chunks(partial, 2, width, channels, chunks);
        const double rows = (double)(numbers / channels);
        for (i64 c = 0; c < channels; ++c) {
            const double by_bias = partial[c], by_weight = partial[width + c] * inverse_std[c];
            sums[c] = (float)by_bias;
            sums[channels + c] = (float)by_weight;
            sums[2 * channels + c] = (float)(by_bias / rows);
            sums[3 * channels + c] = (float)(by_weight * inverse_std[c] / rows);
        }
    }
};

// dx = (g - mean_gradient - (x - center) * slope) * scale. An item is a row.
struct BatchNormInputGradient {
    const float *grad, *x, *y, *center, *mean_gradient, *slope, *scale;
    float* dx;
    i64 numbers, width, period;

    void run(i64 first, i64 last) const {
        y ? rows<true>(first, last) : rows<false>(first, last);
    }

    template <bool RELU>
    ALWAYS_INLINE void rows(i64 first, i64 last) const {
        for (i64 row = first; row < last; ++row) {
            const i64 end = smaller(width, numbers - row * width);
            for (i64 column = 0, channel = 0; column < end; column += LANES) {
                put<RELU>(row * width + column, channel, smaller(LANES, end - column));
                channel = channel + LANES < period ? channel + LANES : 0;
            }
        }
    }

    template <bool RELU>
    ALWAYS_INLINE void put(i64 i, i64 channel, i64 lanes) const {
        vec g = load_part(grad + i, lanes);
        if (RELU) g = behind_relu(g, load_part(y + i, lanes));
        const vec from_mean = g - load(mean_gradient + channel);
        const vec deviation = load_part(x + i, lanes) - load(center + channel);
        store_part(dx + i, (from_mean - deviation * load(slope + channel)) * load(scale + channel), lanes);
    }
};

// Both in one launch, where the arrays are not worth several threads, and channels are whole vectors. One item.
struct BatchNormBackward {
    const float *grad, *x, *y, *center, *inverse_std, *scale;
    double* partial;
    float* sums;
    int* state;
    float* dx;
    i64 numbers, width, channels, chunk_rows, chunks;

    void run(i64, i64) const {
        const BatchNormSums first = {grad, x, y, center, inverse_std, partial, sums, state,
                                     numbers, width, channels, chunk_rows, chunks};
        first.run(0, chunks);
        const float *mean_gradient = sums + 2 * channels, *slope = sums + 3 * channels;
        const BatchNormInputGradient then = {grad, x, y, center, mean_gradient, slope, scale, dx,
                                             numbers, width, channels};
        then.run(0, divide_up(numbers, width));
    }
};

}  // namespace

KERNEL(batch_norm_moments, BatchNormMoments)
KERNEL(batch_norm_normalise, BatchNormNormalise)
KERNEL(batch_norm_sums, BatchNormSums)
KERNEL(batch_norm_input_gradient, BatchNormInputGradient)
KERNEL(batch_norm_backward, BatchNormBackward)
