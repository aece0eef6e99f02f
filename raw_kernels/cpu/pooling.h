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

// Division that rounds up, for numbers of 0 or more.
INLINE i64 divide_up(i64 number, i64 by) { return (number + by - 1) / by; }

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

// The positions along one axis whose windows may cover a place: first .. last, place by place, in rising order. With
// dilation a window may step over a place.
struct Covering {
    i64 stride, positions, first, last;
    i64 end_of_first, start_of_next;  // of the windows: the last place of one, the first place of the other

    ALWAYS_INLINE Covering(i64 stride, i64 before, i64 kernel, i64 dilation, i64 positions)
        : stride(stride), positions(positions), first(0), last(-1), end_of_first((kernel - 1) * dilation - before),
          start_of_next(-before) {}

    ALWAYS_INLINE void move_to(i64 place) {
        for (; end_of_first < place; end_of_first += stride) ++first;
        for (; start_of_next <= place && last + 1 < positions; start_of_next += stride) ++last;
    }
};

// The images and the window, as the kernels are told of them.
struct Geometry {
    i64 height, width, channels, out_height, out_width, kh, kw, sh, sw, top, left, dh, dw;

    ALWAYS_INLINE Inside rows_of(i64 k) const { return inside(k, sh, top, kh, dh, height); }
    ALWAYS_INLINE Inside columns_of(i64 l) const { return inside(l, sw, left, kw, dw, width); }
    ALWAYS_INLINE Covering over_rows() const { return {sh, top, kh, dh, out_height}; }
    ALWAYS_INLINE Covering over_columns() const { return {sw, left, kw, dw, out_width}; }

    // The windows along a row that lie wholly inside the image: they are all alike.
    ALWAYS_INLINE i64 first_whole() const { return smaller(out_width, divide_up(left, sw)); }
    ALWAYS_INLINE i64 end_of_whole() const {
        const i64 room = width + left - (kw - 1) * dw;
        return larger(first_whole(), room > 0 ? smaller(out_width, divide_up(room, sw)) : 0);
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
        const i64 begin = first_whole(), end = end_of_whole();
        for (i64 c = 0; c < channels; ++c)
            for (i64 l = 0, count; l < out_width; l += count) {
                count = l < begin || l >= end ? 1 : smaller(LANES, end - l);
                work(l, c, Lanes{sw * channels, count}, Lanes{channels, count}, Number<1>{});
            }
    }

    // Calls `work` for all pixels of a row: (column, the windows over it, channel, lanes in dy, lanes in dx, number of
    // vectors).
    template <class Work> ALWAYS_INLINE void pixels(const Work& work) const {
        if (channels >= LANES) {
            Covering over = over_columns();
            for (i64 w = 0; w < width; ++w) {
                over.move_to(w);
                over_channels(channels, [&](i64 c, auto vectors) __attribute__((always_inline)) {
                    work(w, over, c, Lanes::whole(), Lanes::whole(), vectors);
                });
            }
            return;
        }
        // Pixels `sw` apart see the same elements of neighbouring windows, where all of these are whole.
        const i64 begin = smaller(width, larger(0, first_whole() * sw + (kw - 1) * dw - left));
        const i64 end = larger(begin, smaller(width, end_of_whole() * sw - left));
        for (i64 c = 0; c < channels; ++c) {
            Covering over = over_columns();
            for (i64 w = 0; w < width; ++w) {
                const bool inner = begin <= w && w < end;
                if (inner && (w - begin) % (LANES * sw) >= sw) continue;  // done together with one before
                const i64 count = inner ? smaller(LANES, divide_up(end - w, sw)) : 1;
                over.move_to(w);
                work(w, over, c, Lanes{channels, count}, Lanes{sw * channels, count}, Number<1>{});
            }
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
//
// Windows are visited backwards, so that the elements i*kw + j that meet the pixel come in ascending order.
template <typename Winner> struct MaxBackward {
    const float* grad;
    const Winner* winner;
    float* dx;
    Geometry g;

    void run(i64 first, i64 last) const {
        const bool many = divide_up(g.kh, g.sh) * divide_up(g.kw, g.sw) > SHORT_SUM;
        for (i64 item = first; item < last; ++item) {
            Covering rows = g.over_rows();
            rows.move_to(item % g.height);
            if (many)
                row<true>(item / g.height, item % g.height, rows);
            else
                row<false>(item / g.height, item % g.height, rows);
        }
    }

    template <bool many> void row(i64 image, i64 h, Covering rows) const {
        const Geometry g = this->g;  // a copy, which no store can change
        const i64 out = g.row_of_x(image, h);
        g.pixels([&](i64 w, const Covering& columns, i64 c, Lanes read, Lanes write, auto vectors) __attribute__((always_inline)) {
            constexpr int V = decltype(vectors)::value;
            Sums<V, many> sums;
            for (i64 k = rows.last; k >= rows.first; --k) {
                const i64 down = h + g.top - k * g.sh;
                if (g.dh > 1 && down % g.dh) continue;  // the pixel lies between two elements of a dilated window
                for (i64 l = columns.last; l >= columns.first; --l) {
                    const i64 across = w + g.left - l * g.sw;
                    if (g.dw > 1 && across % g.dw) continue;
                    const i64 place = (g.dh > 1 ? down / g.dh : down) * g.kw + (g.dw > 1 ? across / g.dw : across);
                    const i64 from = g.row_of_y(image, k) + l * g.channels + c;
                    UNROLL for (int v = 0; v < V; ++v) {
                        const mask won = read.load(winner + from + v * LANES) == mask{} + (int)place;
                        sums.part[v] += won ? read.load(grad + from + v * LANES) : vec{};
                    }
                    sums.next();
                }
            }
            UNROLL for (int v = 0; v < V; ++v)
                write.store(dx + out + w * g.channels + c + v * LANES, sums.total(v));
        });
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
        const bool many = divide_up(g.kh, g.sh) * divide_up(g.kw, g.sw) > SHORT_SUM;
        for (i64 item = first; item < last; ++item) {
            Covering rows = g.over_rows();
            rows.move_to(item % g.height);
            if (many)
                row<true>(item / g.height, item % g.height, rows);
            else
                row<false>(item / g.height, item % g.height, rows);
        }
    }

    template <bool many> void row(i64 image, i64 h, Covering rows) const {
        const Geometry g = this->g;  // a copy, which no store can change
        const i64 out = g.row_of_x(image, h);
        const float known = divisor.whole(g);
        g.pixels([&](i64 w, const Covering& columns, i64 c, Lanes read, Lanes write, auto vectors) __attribute__((always_inline)) {
            constexpr int V = decltype(vectors)::value;
            Sums<V, many> sums;
            for (i64 k = rows.last; k >= rows.first; --k) {
                const i64 in_rows = divisor.rows(g, k);
                for (i64 l = columns.last; l >= columns.first; --l) {
                    const i64 from = g.row_of_y(image, k) + l * g.channels + c;
                    const float scale = divisor.scale(g, in_rows, l, known);
                    UNROLL for (int v = 0; v < V; ++v) sums.part[v] += read.load(grad + from + v * LANES) * scale;
                    sums.next();
                }
            }
            UNROLL for (int v = 0; v < V; ++v)
                write.store(dx + out + w * g.channels + c + v * LANES, sums.total(v));
        });
    }
};

}  // namespace

KERNEL(max_pool2d_forward, MaxForward<unsigned char>)
KERNEL(max_pool2d_forward_int, MaxForward<int>)
KERNEL(max_pool2d_backward, MaxBackward<unsigned char>)
KERNEL(max_pool2d_backward_int, MaxBackward<int>)
KERNEL(avg_pool2d_forward, AvgForward)
KERNEL(avg_pool2d_backward, AvgBackward)
