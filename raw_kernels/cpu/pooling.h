// Max and average pooling over NHWC images.
//
//     window position (k, l) covers the rows k*sh - top + i*dh, i < kh, and the columns l*sw - left + j*dw, j < kw
//
// A student would write, for one image and one channel:
//
//     for k < out_height, l < out_width:
//         best = -inf
//         for i < kh, j < kw:
//             value = x[k*sh - top + i*dh, l*sw - left + j*dw]     // where that lies inside the image
//             if (value > best || isnan(value)) best = value, winner[k, l] = i*kw + j
//         y[k, l] = best
//
// Here one vector does that for LANES outputs at once: neighbouring channels of one position or, where there are fewer
// channels than lanes, one channel of neighbouring positions. An item is one row of what is written, so that threads
// share nothing. Backward gathers: a pixel looks at the windows that cover it, and nothing is written twice.
//
// Memory: forward reads x once (what windows share is found in the cache) and writes y and the winners, a quarter of y;
// backward reads these and writes dx. That is the minimum.
#pragma once
#include "kernel.h"
#include "lanes.h"

namespace {

// What of one axis of a window lies inside the image: elements first .. last-1 of its `kernel` elements.
struct Inside {
    i64 start, first, last;  // start: the place of element 0, which may be negative
};

INLINE Inside inside(i64 position, i64 stride, i64 before, i64 kernel, i64 dilation, i64 size) {
    const i64 start = position * stride - before;
    if (start >= 0 && start + (kernel - 1) * dilation < size) return {start, 0, kernel};  // nearly always
    return {start, start < 0 ? divide_up(-start, dilation) : 0,
            start < size ? smaller(kernel, divide_up(size - start, dilation)) : 0};
}

// The images and the window, as the kernels are told of them.
struct Geometry {
    i64 height, width, channels, out_height, out_width, kh, kw, sh, sw, top, left, dh, dw;

    ALWAYS_INLINE Inside rows_of(i64 k) const { return inside(k, sh, top, kh, dh, height); }
    ALWAYS_INLINE Inside columns_of(i64 l) const { return inside(l, sw, left, kw, dw, width); }

    // How many windows of a row from l on, before `end`, a vector can take: those that lie wholly inside the image are all
    // alike, others come alone.
    ALWAYS_INLINE i64 alike(i64 l, i64 end) const {
        const i64 room = width + left - (kw - 1) * dw;  // whole windows begin before it, counted from the padding
        if (l * sw < left || l * sw >= room) return 1;
        return smaller(smaller(LANES, end - l), divide_up(room - l * sw, sw));
    }

    // Calls `work` for all outputs of a row: (position, channel, lanes in x, lanes in y, number of vectors).
    template <class Work> ALWAYS_INLINE void outputs(const Work& work) const {
        if (channels >= LANES) {
            for (i64 l = 0; l < out_width; ++l)
                over_channels(channels, [&](i64 c, auto vectors) __attribute__((always_inline)) {
                    work(l, c, Lanes::whole(), Lanes::whole(), vectors);
                });
            return;
        }
        for (i64 l = 0, count; l < out_width; l += count) {
            count = alike(l, out_width);
            for (i64 c = 0; c < channels; ++c)
                work(l, c, Lanes{sw * channels, count}, Lanes{channels, count}, Number<1>{});
        }
    }

    // Adds up row h of dx, an image's: what its pixels receive from the windows over them. Element (i, j) of all windows of
    // a row comes at once, in an order that is the same for every pixel; `window(k, l, place)` is a function that says
    // what the window passes to that element: of the numbers of dy at an offset, in a vector.
    template <class Window> ALWAYS_INLINE void gather(float* dx, i64 image, i64 h, const Window& window) const {
        if (divide_up(kh, sh) * divide_up(kw, sw) <= SHORT_SUM)
            return gather_tile<false>(dx, image, h, {0, width, 0, channels}, window);
        const i64 step = smaller(channels, TILE);
        for (i64 c = 0; c < channels; c += step)
            for (i64 w = 0; w < width; w += TILE / step)
                gather_tile<true>(dx, image, h,
                                  {w, smaller(width, w + TILE / step), c, smaller(channels, c + step)}, window);
    }

    // A part of a row of dx.
    struct Tile {
        i64 column, end, channel, end_channel;
    };
    static constexpr int TILE = 512;  // numbers in it where its sums are long

    template <bool many, class Window>
    ALWAYS_INLINE void gather_tile(float* dx, i64 image, i64 h, Tile tile, const Window& window) const {
        double whole[many ? TILE : 1] = {};
        int terms = 0;  // in dx
        const auto all = [&](const auto& work) __attribute__((always_inline)) {
            i64 number = 0;
            for (i64 w = tile.column; w < tile.end; ++w)
                for (i64 c = tile.channel; c < tile.end_channel; ++c) work(dx[w * channels + c], whole[number++]);
        };
        if (many)
            all([](float& sum, double&) { sum = 0; });
        else
            __builtin_memset(dx, 0, width * channels * sizeof(float));  // the whole row
        for (i64 i = 0; i < kh; ++i) {
            const i64 down = h + top - i * dh;  // where the window begins whose element i meets the row, if there is one
            if (down < 0 || down % sh || down / sh >= out_height) continue;
            for (i64 j = 0; j < kw; ++j) {
                const i64 shift = left - j * dw;  // element j of window l meets column l*sw - shift
                const i64 begin = tile.column + shift > 0 ? divide_up(tile.column + shift, sw) : 0;
                const i64 end = tile.end + shift > 0 ? smaller(out_width, divide_up(tile.end + shift, sw)) : 0;
                add_element(dx - shift * channels, row_of_y(image, down / sh), begin, end, tile,
                            [&](i64 l) __attribute__((always_inline)) { return window(down / sh, l, i * kw + j); });
                if (many && ++terms == SHORT_SUM) {
                    all([](float& sum, double& total) { total += sum, sum = 0; });
                    terms = 0;
                }
            }
        }
        if (many) all([](float& sum, double& total) { sum = (float)(total + sum); });
    }

    template <class Window>
    ALWAYS_INLINE void add_element(float* dx, i64 from, i64 begin, i64 end, Tile tile, const Window& window) const {
        const auto add = [&](const auto& given, i64 l, i64 c, Lanes read, Lanes write) __attribute__((always_inline)) {
            float* to = dx + l * sw * channels + c;
            write.store(to, write.load(to) + given(from + l * channels + c, read));
        };
        if (channels >= LANES) {
            for (i64 l = begin; l < end; ++l) {
                const auto given = window(l);
                i64 c = tile.channel;
#pragma GCC unroll 2
                for (; c + LANES <= tile.end_channel; c += LANES) add(given, l, c, Lanes::whole(), Lanes::whole());
                if (const i64 rest = tile.end_channel - c) add(given, l, c, Lanes{1, rest}, Lanes{1, rest});
            }
            return;
        }
        for (i64 l = begin, count; l < end; l += count) {
            count = alike(l, end);
            const auto given = window(l);
            for (i64 c = 0; c < channels; ++c)
                add(given, l, c, Lanes{channels, count}, Lanes{sw * channels, count});
        }
    }

    // The images' values from one row on, in x (or dx) and in y (or dy).
    ALWAYS_INLINE i64 row_of_x(i64 image, i64 row) const { return (image * height + row) * width * channels; }
    ALWAYS_INLINE i64 row_of_y(i64 image, i64 row) const { return (image * out_height + row) * out_width * channels; }
};

// ------------------------------------------------------------------------------------------------------------- maximum

// y[n, k, l, c] = max over i, j of x[n, k*sh - top + i*dh, l*sw - left + j*dw, c]; an item is a row (n, k) of y.
//
// The winner's place in its window, i*kw + j, is kept for the backward pass. The first of equal values wins, NaN always
// does (the last one), and padding never: it is not looked at.
template <typename Winner> struct MaxForward {
    const float* x;
    float* y;
    Winner* winner;  // null where nobody will ask
    Geometry g;

    void run(i64 first, i64 last) const {
        for (i64 item = first; item < last; ++item) {
            const i64 image = item / g.out_height, k = item % g.out_height;
            const Inside rows = g.rows_of(k);
            if (winner)
                row<true>(g.row_of_x(image, 0), rows, g.row_of_y(image, k));
            else
                row<false>(g.row_of_x(image, 0), rows, g.row_of_y(image, k));
        }
    }

    template <bool remember> void row(i64 in, Inside rows, i64 out) const {
        const Geometry g = this->g;  // a copy, which no store can change
        g.outputs([&](i64 l, i64 c, Lanes read, Lanes write, auto vectors) __attribute__((always_inline)) {
            constexpr int V = decltype(vectors)::value;  // vectors of best values, and of their places, in registers
            const Inside columns = g.columns_of(l);
            vec best[V];
            mask place[V];
            UNROLL for (int v = 0; v < V; ++v) {
                best[v] = vec{} - __builtin_inff();
                place[v] = mask{} + (int)(rows.first * g.kw + columns.first);  // wins where everything is -inf
            }
            for (i64 i = rows.first; i < rows.last; ++i) {
                const float* line = x + in + (rows.start + i * g.dh) * g.width * g.channels + c;
                for (i64 j = columns.first; j < columns.last; ++j) {
                    const float* from = line + (columns.start + j * g.dw) * g.channels;
                    UNROLL for (int v = 0; v < V; ++v) {
                        const vec value = read.load(from + v * LANES);
                        const mask wins = (value > best[v]) | (value != value);  // NaN differs from itself
                        best[v] = wins ? value : best[v];
                        if (remember) place[v] = wins ? mask{} + (int)(i * g.kw + j) : place[v];
                    }
                }
            }
            const i64 to = out + l * g.channels + c;
            UNROLL for (int v = 0; v < V; ++v) {
                write.store(y + to + v * LANES, best[v]);
                if (remember) write.store(winner + to + v * LANES, place[v]);
            }
        });
    }
};

// dx[n, h, w, c] = sum of dy[n, k, l, c] over the windows (k, l) that (h, w) won; an item is a row (n, h) of dx.
template <typename Winner> struct MaxBackward {
    const float* grad;
    const Winner* winner;
    float* dx;
    Geometry g;

    void run(i64 first, i64 last) const {
        const Geometry g = this->g;  // copies, which no store can change
        const float* grad = this->grad;
        const Winner* winner = this->winner;
        for (i64 item = first; item < last; ++item) {
            const i64 image = item / g.height, h = item % g.height;
            g.gather(dx + g.row_of_x(image, h), image, h, [&](i64, i64, i64 place) __attribute__((always_inline)) {
                return [=](i64 from, Lanes read) __attribute__((always_inline)) {
                    return read.load(winner + from) == mask{} + (int)place ? read.load(grad + from) : vec{};
                };
            });
        }
    }
};

// ------------------------------------------------------------------------------------------------------------- average

// What the sum of a window is divided by.
struct Divisor {
    i64 bottom, right, count_include_pad, override;  // override: 0 for none

    // Along one axis: the window's elements within the padded image, or within the image where padding does not count.
    // What ceil_mode adds beyond the padding never counts.
    ALWAYS_INLINE i64 elements(i64 position, i64 stride, i64 kernel, i64 size, i64 before, i64 after) const {
        const i64 start = position * stride - before;
        const i64 low = count_include_pad ? -before : 0, high = count_include_pad ? size + after : size;
        return smaller(start + kernel, high) - larger(start, low);
    }

    ALWAYS_INLINE i64 rows(const Geometry& g, i64 k) const {
        return elements(k, g.sh, g.kh, g.height, g.top, bottom);
    }

    // 1 / divisor of window (k, l), given `rows(k)`. Nearly all windows are whole; for them it is known already.
    ALWAYS_INLINE float scale(const Geometry& g, i64 in_rows, i64 l, float known) const {
        if (override) return known;
        const i64 count = in_rows * elements(l, g.sw, g.kw, g.width, g.left, right);
        return count == g.kh * g.kw ? known : (float)(1.0 / (double)count);
    }

    ALWAYS_INLINE float whole(const Geometry& g) const {
        return (float)(1.0 / (double)(override ? override : g.kh * g.kw));
    }
};

// y[n, k, l, c] = (sum over i, j of x[n, k*sh - top + i, l*sw - left + j, c]) / divisor; an item is a row (n, k) of y.
struct AvgForward {
    const float* x;
    float* y;
    Geometry g;
    Divisor divisor;

    void run(i64 first, i64 last) const {
        for (i64 item = first; item < last; ++item)
            if (g.kh * g.kw > SHORT_SUM)
                row<true>(item / g.out_height, item % g.out_height);
            else
                row<false>(item / g.out_height, item % g.out_height);
    }

    template <bool many> void row(i64 image, i64 k) const {
        const Geometry g = this->g;  // a copy, which no store can change
        const Inside rows = g.rows_of(k);
        const i64 in = g.row_of_x(image, 0), out = g.row_of_y(image, k), in_rows = divisor.rows(g, k);
        const float known = divisor.whole(g);
        g.outputs([&](i64 l, i64 c, Lanes read, Lanes write, auto vectors) __attribute__((always_inline)) {
            constexpr int V = decltype(vectors)::value;
            const Inside columns = g.columns_of(l);
            Sums<V, many> sums;
            for (i64 i = rows.first; i < rows.last; ++i) {
                const float* line = x + in + (rows.start + i) * g.width * g.channels + c;
                for (i64 j = columns.first; j < columns.last; ++j) {
                    const float* from = line + (columns.start + j) * g.channels;
                    UNROLL for (int v = 0; v < V; ++v) sums.part[v] += read.load(from + v * LANES);
                    sums.next();
                }
            }
            const float scale = divisor.scale(g, in_rows, l, known);
            UNROLL for (int v = 0; v < V; ++v)
                write.store(y + out + l * g.channels + c + v * LANES, sums.total(v) * scale);
        });
    }
};

// dx[n, h, w, c] = sum of dy[n, k, l, c] / divisor over the windows (k, l) that cover (h, w); an item is a row of dx.
struct AvgBackward {
    const float* grad;
    float* dx;
    Geometry g;
    Divisor divisor;

    void run(i64 first, i64 last) const {
        const Geometry g = this->g;  // copies, which no store can change
        const float* grad = this->grad;
        const float known = divisor.whole(g);
        for (i64 item = first; item < last; ++item) {
            const i64 image = item / g.height, h = item % g.height;
            g.gather(dx + g.row_of_x(image, h), image, h, [&](i64 k, i64 l, i64) __attribute__((always_inline)) {
                const float scale = divisor.scale(g, divisor.rows(g, k), l, known);
                return [=](i64 from, Lanes read) __attribute__((always_inline)) {
                    return read.load(grad + from) * scale;
                };
            });
        }
    }
};

}  // namespace

KERNEL(max_pool2d_forward, MaxForward<unsigned char>)
KERNEL(max_pool2d_forward_int, MaxForward<int>)
KERNEL(max_pool2d_backward, MaxBackward<unsigned char>)
KERNEL(max_pool2d_backward_int, MaxBackward<int>)
KERNEL(avg_pool2d_forward, AvgForward)
KERNEL(avg_pool2d_backward, AvgBackward)
