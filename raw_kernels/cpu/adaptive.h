// Adaptive pooling over NHWC images: the size of the output is given, and the cells follow from it.
//
//     of `cells` cells over `size` places, cell i covers the places floor(i*size/cells) .. ceil((i+1)*size/cells) - 1
//
// Cells may overlap. The rule is its own reverse: the cells that cover place p are floor(p*cells/size) ..
// ceil((p+1)*cells/size) - 1, the same formula with the two numbers exchanged. (Cell i covers p when i*size/cells < p+1
// and (i+1)*size/cells > p; solve both for i.) That makes the backward passes gathers, like the forward passes.
//
// A vector holds neighbouring channels of one cell, or of one pixel on the way back; see pooling.h for the loops that a
// student would write. Memory: each array is read or written once. That is the minimum.
#pragma once
#include "kernel.h"
#include "lanes.h"

namespace {

struct Span {
    i64 first, end;

    ALWAYS_INLINE i64 size() const { return end - first; }
};

INLINE Span span(i64 index, i64 size, i64 cells) {
    if (cells == 1) return {0, size};  // the mean of the whole image, without divisions
    if (size == 1) return {0, 1};
    return {index * size / cells, ((index + 1) * size + cells - 1) / cells};
}

struct Cells {
    i64 height, width, channels, out_height, out_width;

    ALWAYS_INLINE Span rows_of(i64 i) const { return span(i, height, out_height); }
    ALWAYS_INLINE Span columns_of(i64 j) const { return span(j, width, out_width); }
    ALWAYS_INLINE i64 pixel(i64 image, i64 row, i64 column) const {
        return ((image * height + row) * width + column) * channels;
    }
    ALWAYS_INLINE i64 cell(i64 image, i64 i, i64 j) const {
        return ((image * out_height + i) * out_width + j) * channels;
    }

    // Calls `work(first column, end, cells along the rows, cells along the columns)` for each run of pixels of a row that
    // lie in the same cells.
    template <class Work> ALWAYS_INLINE void runs(i64 row, const Work& work) const {
        const Span above = span(row, out_height, height);
        for (i64 w = 0, end; w < width; w = end) {
            const Span beside = span(w, out_width, width);
            end = columns_of(beside.first).end;
            if (beside.end < out_width) end = smaller(end, columns_of(beside.end).first);
            work(w, end, above, beside);
        }
    }

    // Calls `work(channel, lanes, number of vectors)` for all channels.
    template <class Work> ALWAYS_INLINE void vectors(const Work& work) const {
        if (channels < LANES) return work(0, Lanes{1, channels}, Number<1>{});
        over_channels(channels, [&](i64 c, auto vectors) __attribute__((always_inline)) {
            work(c, Lanes::whole(), vectors);
        });
    }
};

// y[n, i, j, c] = mean of x over cell (i, j); an item is a row (n, i) of y.
struct AdaptiveAvgForward {
    const float* x;
    float* y;
    Cells g;

    void run(i64 first, i64 last) const {
        for (i64 item = first; item < last; ++item) {
            const i64 image = item / g.out_height, i = item % g.out_height;
            const Span rows = g.rows_of(i);
            for (i64 j = 0; j < g.out_width; ++j)
                if (rows.size() * g.columns_of(j).size() > SHORT_SUM)
                    cell<true>(image, i, j, rows, g.columns_of(j));
                else
                    cell<false>(image, i, j, rows, g.columns_of(j));
        }
    }

    template <bool many> void cell(i64 image, i64 i, i64 j, Span rows, Span columns) const {
        const float scale = (float)(1.0 / (double)(rows.size() * columns.size()));
        g.vectors([&](i64 c, Lanes lanes, auto vectors) __attribute__((always_inline)) {
            constexpr int V = decltype(vectors)::value;
            Sums<V, many> sums;
            for (i64 row = rows.first; row < rows.end; ++row)
                for (i64 column = columns.first; column < columns.end; ++column) {
                    const float* from = x + g.pixel(image, row, column) + c;
                    UNROLL for (int v = 0; v < V; ++v) sums.part[v] += lanes.load(from + v * LANES);
                    sums.next();
                }
            UNROLL for (int v = 0; v < V; ++v)
                lanes.store(y + g.cell(image, i, j) + c + v * LANES, sums.total(v) * scale);
        });
    }
};

// dx[n, h, w, c] = sum of dy[n, i, j, c] / area over the cells (i, j) that cover (h, w); an item is a row (n, h) of dx.
// Pixels of a row that lie in the same cells have the same gradient: it is computed once and stored in all of them.
struct AdaptiveAvgBackward {
    const float* grad;
    float* dx;
    Cells g;

    void run(i64 first, i64 last) const {
        for (i64 item = first; item < last; ++item) {
            const i64 image = item / g.height, h = item % g.height;
            g.runs(h, [&](i64 w, i64 end, Span above, Span beside) __attribute__((always_inline)) {
                if (above.size() * beside.size() > SHORT_SUM)
                    pixels<true>(g.pixel(image, h, w), end - w, image, above, beside);
                else
                    pixels<false>(g.pixel(image, h, w), end - w, image, above, beside);
            });
        }
    }

    template <bool many> void pixels(i64 to, i64 count, i64 image, Span above, Span beside) const {
        g.vectors([&](i64 c, Lanes lanes, auto vectors) __attribute__((always_inline)) {
            constexpr int V = decltype(vectors)::value;
            Sums<V, many> sums;
            for (i64 i = above.first; i < above.end; ++i)
                for (i64 j = beside.first; j < beside.end; ++j) {
                    const float scale = (float)(1.0 / (double)(g.rows_of(i).size() * g.columns_of(j).size()));
                    const float* from = grad + g.cell(image, i, j) + c;
                    UNROLL for (int v = 0; v < V; ++v) sums.part[v] += lanes.load(from + v * LANES) * scale;
                    sums.next();
                }
            vec gradient[V];
            UNROLL for (int v = 0; v < V; ++v) gradient[v] = sums.total(v);
            for (i64 pixel = 0; pixel < count; ++pixel)
                UNROLL for (int v = 0; v < V; ++v)
                    lanes.store(dx + to + pixel * g.channels + c + v * LANES, gradient[v]);
        });
    }
};

// y[n, i, j, c] = max of x over cell (i, j); an item is a row (n, i) of y.
//
// The winner's place in its cell, counted row by row, is kept for the backward pass. The first of equal values wins, and
// the first NaN wins over everything.
struct AdaptiveMaxForward {
    const float* x;
    float* y;
    int* winner;  // null where nobody will ask
    Cells g;

    void run(i64 first, i64 last) const {
        for (i64 item = first; item < last; ++item) {
            const i64 image = item / g.out_height, i = item % g.out_height;
            for (i64 j = 0; j < g.out_width; ++j) cell(image, i, j, g.rows_of(i), g.columns_of(j));
        }
    }

    void cell(i64 image, i64 i, i64 j, Span rows, Span columns) const {
        g.vectors([&](i64 c, Lanes lanes, auto vectors) __attribute__((always_inline)) {
            constexpr int V = decltype(vectors)::value;
            vec best[V];
            mask place[V] = {};
            UNROLL for (int v = 0; v < V; ++v) best[v] = vec{} - __builtin_inff();
            int here = 0;
            for (i64 row = rows.first; row < rows.end; ++row)
                for (i64 column = columns.first; column < columns.end; ++column, ++here) {
                    const float* from = x + g.pixel(image, row, column) + c;
                    UNROLL for (int v = 0; v < V; ++v) {
                        const vec value = lanes.load(from + v * LANES);
                        const mask wins = (value > best[v]) | ((value != value) & (best[v] == best[v]));
                        best[v] = wins ? value : best[v];
                        place[v] = wins ? mask{} + here : place[v];
                    }
                }
            const i64 to = g.cell(image, i, j) + c;
            UNROLL for (int v = 0; v < V; ++v) {
                lanes.store(y + to + v * LANES, best[v]);
                if (winner) lanes.store(winner + to + v * LANES, place[v]);
            }
        });
    }
};

// dx[n, h, w, c] = sum of dy[n, i, j, c] over the cells (i, j) that (h, w) won; an item is a row (n, h) of dx.
struct AdaptiveMaxBackward {
    const float* grad;
    const int* winner;
    float* dx;
    Cells g;

    void run(i64 first, i64 last) const {
        for (i64 item = first; item < last; ++item) {
            const i64 image = item / g.height, h = item % g.height;
            g.runs(h, [&](i64 w, i64 end, Span above, Span beside) __attribute__((always_inline)) {
                if (above.size() * beside.size() > SHORT_SUM)
                    pixels<true>(g.pixel(image, h, w), w, end, h, image, above, beside);
                else
                    pixels<false>(g.pixel(image, h, w), w, end, h, image, above, beside);
            });
        }
    }

    template <bool many>
    void pixels(i64 to, i64 w, i64 end, i64 h, i64 image, Span above, Span beside) const {
        for (; w < end; ++w, to += g.channels)
            g.vectors([&](i64 c, Lanes lanes, auto vectors) __attribute__((always_inline)) {
                constexpr int V = decltype(vectors)::value;
                Sums<V, many> sums;
                for (i64 i = above.first; i < above.end; ++i)
                    for (i64 j = beside.first; j < beside.end; ++j) {
                        const Span rows = g.rows_of(i), columns = g.columns_of(j);
                        const mask place = mask{} + (int)((h - rows.first) * columns.size() + w - columns.first);
                        const i64 from = g.cell(image, i, j) + c;
                        UNROLL for (int v = 0; v < V; ++v)
                            sums.part[v] += lanes.load(winner + from + v * LANES) == place
                                                ? lanes.load(grad + from + v * LANES)
                                                : vec{};
                        sums.next();
                    }
                UNROLL for (int v = 0; v < V; ++v) lanes.store(dx + to + c + v * LANES, sums.total(v));
            });
    }
};

}  // namespace

KERNEL(adaptive_avg_pool2d_forward, AdaptiveAvgForward)
KERNEL(adaptive_avg_pool2d_backward, AdaptiveAvgBackward)
KERNEL(adaptive_max_pool2d_forward, AdaptiveMaxForward)
KERNEL(adaptive_max_pool2d_backward, AdaptiveMaxBackward)
