// Depthwise convolution: each channel is convolved with a filter of its own.
//
//     y[n, p, q, c] = sum over i, j of x[n, p*sh + i*dh - top, q*sw + j*dw - left, c] * f[i, j, c]
//
// A student's version is these six loops around one sum, and x is zero outside. There is little to compute, kh * kw
// products for each number, so the kernel minds memory: it writes a row of outputs after the other, and all channels
// of some pixels before it moves on, so that x streams in as it lies. A block of P neighbouring outputs times a cache
// line of their channels stays in registers; what its outputs share, the filter and most of x, is loaded once for all
// of them.
//
// The gradient by the input is the same sum the other way round: dx[h, w] gathers from the outputs that have seen it.
// Which elements of the window that are, `Axis` says for rows and for columns.
#pragma once
#include "normalise.h"
#include "tiles.h"

namespace {

// What a position reads along one axis: `count` elements of the window, the first of them `element`, and there it reads
// what lies at `source`. `all`: how many elements these would be if nothing lay outside.
struct Line {
    i64 element, source, count, all;
};

struct Axis {
    i64 size, kernel, stride, dilation, padding;  // size: of what is read
    bool back;
    i64 next_element, next_source;  // how far apart the elements of a line are, and what they read

    Axis(i64 size, i64 kernel, i64 stride, i64 dilation, i64 padding, bool back)
        : size(size), kernel(kernel), stride(stride), dilation(dilation), padding(padding), back(back) {
        next_element = 1;
        while (back && next_element * dilation % stride) ++next_element;
        next_source = back ? next_element * dilation / stride : dilation;
        if (back) next_element = -next_element;  // from the window's last element on: what is read moves on, too
    }

    // With a stride, neighbouring pixels were seen through other elements of the window; so there are phases, and
    // within a phase, one position after the other reads through the same elements what lies `step` further on.
    i64 phases() const { return back ? stride : 1; }
    i64 step() const { return back ? 1 : stride; }

    Line line(i64 position) const {
        Line line = {0, 0, 0, 0};
        for (i64 k = 0; k < kernel; ++k) {
            const i64 element = back ? kernel - 1 - k : k;
            const i64 meets = back ? position + padding - element * dilation
                                   : position * stride + element * dilation - padding;
            if (back && meets % stride) continue;
            const i64 source = back ? meets / stride : meets;
            ++line.all;
            if (source < 0 || source >= size) continue;
            if (line.count++ == 0) line.element = element, line.source = source;
        }
        return line;
    }
};

// Vectors of channels in a block: a cache line of them. And positions: what 16 registers hold beside the filter.
constexpr int LINE = 64 / VECTOR_BYTES;
constexpr int LINE_CHANNELS = LINE * LANES;
constexpr int POSITIONS = 8 / LINE;

// sum[p] += x[p, j] * f[j] for J neighbouring elements of a row of the window, at P positions. Where each position
// lies S elements after the one before, x is loaded once for all elements through which it is seen: P * S + J loads
// for P * J products. S is 0 where the positions lie otherwise, `step` numbers apart.
template <int P, int J, int S>
INLINE void sum_elements(vec (&sum)[P][LINE], const float* x, i64 column, i64 step, const float* f, i64 f_column) {
    vec filter[J][LINE];
    UNROLL for (int j = 0; j < J; ++j) UNROLL for (int v = 0; v < LINE; ++v)
        filter[j][v] = load(f + j * f_column + v * LANES);
    if constexpr (S == 0) {
        UNROLL for (int j = 0; j < J; ++j) UNROLL for (int p = 0; p < P; ++p) UNROLL for (int v = 0; v < LINE; ++v)
            sum[p][v] += load(x + j * column + p * step + v * LANES) * filter[j][v];
    } else {
        UNROLL for (int t = 0; t < (P - 1) * S + J; ++t, x += column)
            UNROLL for (int v = 0; v < LINE; ++v) {
                const vec pixel = load(x + v * LANES);
                UNROLL for (int j = 0; j < J; ++j)
                    if (t >= j && (t - j) % S == 0 && (t - j) / S < P) sum[(t - j) / S][v] += pixel * filter[j][v];
            }
    }
}

// y from x and f; or, going back, dx from the gradient by y and f. An item is a row of an image of what is written.
struct Depthwise {
    const float* x;        // (N, H, W, C); going back the gradient (N, Ho, Wo, C)
    const float* filters;  // (kh, kw, C)
    const float* bias;     // (C,), as the next three, or null; going back there are none
    const float* center;   // batch norm as the epilogue
    const float* scale;
    const float* shift;
    const float* residual;  // like y, or null
    float* y;               // (N, Ho, Wo, C); going back (N, H, W, C)
    Window at;
    i64 with_relu, back;

    // What the blocks of a row have in common. Steps are in numbers.
    struct Row {
        Line rows;
        const float *x, *f;              // what the first of `rows` reads, and with which row of the window
        i64 y;                           // where the row is written
        i64 x_row, x_column, f_row, f_column;  // from one element of the window that is met to the next
        i64 x_step, y_step;              // from one position to the next
        bool see_padding;                // whether the zeros around the image make a difference
    };

    i64 height() const { return back ? at.height : at.out_height; }
    i64 width() const { return back ? at.width : at.out_width; }

    void run(i64 first, i64 last) const {
        const i64 read_height = back ? at.out_height : at.height, read_width = back ? at.out_width : at.width;
        const Axis down(read_height, at.kernel_height, at.stride_height, at.dilation_height, at.top, back);
        const Axis across(read_width, at.kernel_width, at.stride_width, at.dilation_width, at.left, back);
        const i64 C = at.channels, wide = at.kernel_width * C;
        const bool see_padding = !back && !all_finite();
        for (i64 item = first; item < last; ++item) {
            const Line rows = down.line(item % height());
            const Row row = {rows,
                             x + (item / height() * down.size + rows.source) * across.size * C,
                             filters + rows.element * wide,
                             item * width() * C,
                             down.next_source * across.size * C,
                             across.next_source * C,
                             down.next_element * wide,
                             across.next_element * C,
                             across.step() * C,
                             across.phases() * C,
                             see_padding};
            for (i64 phase = 0; phase < smaller(across.phases(), width()); ++phase) run_phase(row, across, phase);
        }
    }

    // The positions phase, phase + phases, ... of a row: those near the edges one by one, those between them in
    // blocks of nearly equal size.
    void run_phase(const Row& row, const Axis& across, i64 phase) const {
        const i64 phases = across.phases();
        i64 begin = phase, end = phase + divided_up(width() - phase, phases) * phases;
        Line columns = {};
        for (; begin < end; begin += phases) {
            columns = across.line(begin);
            if (columns.count == columns.all) break;
            run_block<1, 1>(row, columns, 0, begin);
        }
        for (; begin < end; end -= phases) {
            const Line last = across.line(end - phases);
            if (last.count == last.all) break;
            run_block<1, 1>(row, last, 0, end - phases);
        }
        const i64 positions = (end - begin) / phases, blocks = divided_up(positions, POSITIONS);
        if (blocks == 0) return;
        const i64 size = divided_up(positions, blocks);
        if (row.x_step == row.x_column) run_blocks<POSITIONS, 1>(size, row, columns, begin, positions);
        else if (row.x_step == 2 * row.x_column) run_blocks<POSITIONS, 2>(size, row, columns, begin, positions);
        else run_blocks<POSITIONS, 0>(size, row, columns, begin, positions);
    }

    // Blocks of a size that is known only now. The last ends where they all end: it may compute some positions a second
    // time, which changes nothing.
    template <int P, int S>
    void run_blocks(i64 size, const Row& row, const Line& columns, i64 begin, i64 positions) const {
        if constexpr (P > 1)
            if (size < P) return run_blocks<P - 1, S>(size, row, columns, begin, positions);
        for (i64 position = 0; position < positions; position += P)
            run_block<P, S>(row, columns, smaller(position, positions - P), begin);
    }

    // P positions of a row, the first of them so many after `begin`, and all channels. The last line ends where they
    // all end; there are as many channels as it has.
    template <int P, int S>
    void run_block(const Row& row, const Line& columns, i64 position, i64 begin) const {
        // Copied, since a vector that is stored might lie anywhere, in `this` or `row` for all that the compiler knows.
        const i64 C = at.channels, to = row.y + begin * C + position * row.y_step;
        const i64 x_row = row.x_row, x_column = row.x_column, f_row = row.f_row, f_column = row.f_column;
        const i64 x_step = row.x_step, y_step = row.y_step, rows = row.rows.count, elements = columns.count;
        const float* from = row.x + columns.source * C + position * x_step;
        const float* first = row.f + columns.element * C;
        const bool padded = row.see_padding && (rows < row.rows.all || elements < columns.all);
        const bool plain = !bias && !center && !residual && !with_relu;
        float* const out = y;
        for (i64 k = 0; k < C; k += LINE_CHANNELS) {
            const i64 c = smaller(k, C - LINE_CHANNELS);
            vec sum[P][LINE] = {};
            if (padded)
                for (int v = 0; v < LINE; ++v) {
                    const vec start = sum_padding(row.rows, columns, c + v * LANES);
                    UNROLL for (int p = 0; p < P; ++p) sum[p][v] = start;
                }
            for (i64 i = 0; i < rows; ++i) {
                const float* x = from + i * x_row + c;
                const float* f = first + i * f_row + c;
                i64 left = elements;
                for (; left >= 3; left -= 3, x += 3 * x_column, f += 3 * f_column)
                    sum_elements<P, 3, S>(sum, x, x_column, x_step, f, f_column);
                if (left == 2) sum_elements<P, 2, S>(sum, x, x_column, x_step, f, f_column);
                if (left == 1) sum_elements<P, 1, S>(sum, x, x_column, x_step, f, f_column);
            }
            if (!plain)
                for (int p = 0; p < P; ++p)
                    for (int v = 0; v < LINE; ++v)
                        sum[p][v] = finish(sum[p][v], to + p * y_step + c + v * LANES, c + v * LANES);
            UNROLL for (int p = 0; p < P; ++p) UNROLL for (int v = 0; v < LINE; ++v)
                store(out + to + p * y_step + c + v * LANES, sum[p][v]);
        }
    }

    vec finish(vec sum, i64 to, i64 c) const {
        if (bias) sum += load(bias + c);
        if (center) sum = normalised(sum, load(center + c), load(scale + c), load(shift + c));
        if (residual) sum += load(residual + to);
        return with_relu ? relu(sum) : sum;
    }

    // Zeros around the image add 0 * f, which makes a difference where the filter is NaN or infinite.
    bool all_finite() const {
        float sum = 0;
        for (i64 k = 0; k < at.kernel_height * at.kernel_width * at.channels; ++k) sum += filters[k] * 0.0f;
        return sum == 0;
    }

    vec sum_padding(const Line& rows, const Line& columns, i64 c) const {
        vec sum = {};
        for (i64 i = 0; i < at.kernel_height; ++i)
            for (i64 j = 0; j < at.kernel_width; ++j)
                if (i < rows.element || i >= rows.element + rows.count || j < columns.element ||
                    j >= columns.element + columns.count)
                    sum += load(filters + (i * at.kernel_width + j) * at.channels + c) * 0.0f;
        return sum;
    }
};

// The gradient by the filters: dw[i, j, c] = sum over n, p, q of x[n, row(p, i), column(q, j), c] * g[n, p, q, c]. Up
// to 3 x 3 elements of the window stay in registers while the sum runs over the pixels of a tile (tiles.h): 9
// products for 10 loads. An item is a chunk of the tiles, with a range of the channels.
struct DepthwiseWeightGradient {
    const float* x;  // (N, H, W, C)
    const float* g;  // (N, Ho, Wo, C)
    float* partial;  // (chunks, kh, kw, C)
    Window at;
    Tiles tiles;

    static constexpr i64 CHANNELS = 64;  // of an item

    void run(i64 first, i64 last) const {
        const i64 ranges = divided_up(at.channels, CHANNELS);
        for (i64 item = first; item < last; ++item) {
            const i64 chunk = item / ranges, range = item % ranges * CHANNELS;
            const Range mine = tiles.of_chunk(chunk, at);
            float* dw = partial + chunk * at.kernel_height * at.kernel_width * at.channels;
            for (i64 number = mine.first; number < mine.last; ++number) {
                const Tile tile = tiles.cut(number, at);
                for (i64 c = range; c < smaller(range + CHANNELS, at.channels); c += LANES)
                    sum_elements(tile, c, dw, number == mine.first);
            }
        }
    }

    // All elements of the window for a vector of channels from c on, in blocks of up to 3 x 3.
    void sum_elements(const Tile& tile, i64 c, float* dw, bool first) const {
        const i64 row_blocks = divided_up(at.kernel_height, 3), column_blocks = divided_up(at.kernel_width, 3);
        for (i64 r = 0; r < row_blocks; ++r)
            for (i64 s = 0; s < column_blocks; ++s)
                sum_block<3, 3>(tile, share(r, row_blocks, at.kernel_height),
                                share(s, column_blocks, at.kernel_width), c, dw, first);
    }

    // A block of a size that is known only now. The last vector of channels ends where they end: its first lanes may
    // have been summed before, and are not added again.
    template <int I, int J>
    void sum_block(const Tile& tile, Range rows, Range columns, i64 c, float* dw, bool first) const {
        if constexpr (I > 1)
            if (rows.last - rows.first < I) return sum_block<I - 1, J>(tile, rows, columns, c, dw, first);
        if constexpr (J > 1)
            if (columns.last - columns.first < J) return sum_block<I, J - 1>(tile, rows, columns, c, dw, first);
        vec sum[I][J] = {};
        const i64 from = smaller(c, at.channels - LANES), end = smaller(c + LANES, at.channels);
        sum_rows<I, J>(sum, tile, rows.first, columns.first, from);
        for (int i = 0; i < I; ++i)
            for (int j = 0; j < J; ++j) {
                float* to = dw + ((rows.first + i) * at.kernel_width + columns.first + j) * at.channels;
                float lanes[LANES];
                store(lanes, sum[i][j]);
                for (i64 k = c; k < end; ++k) to[k] = first ? lanes[k - from] : to[k] + lanes[k - from];
            }
    }

    template <int I, int J>
    ALWAYS_INLINE void sum_rows(vec (&sum)[I][J], const Tile& tile, i64 i, i64 j, i64 c) const {
        // Where all J columns lie inside.
        const Range within = overlap(overlap(at.columns(j), at.columns(j + J - 1)), tile.columns);
        const i64 begin = smaller(within.first, tile.columns.last), end = larger(within.last, begin);
        for (i64 n = tile.images.first; n < tile.images.last; ++n)
            for (i64 p = tile.rows.first; p < tile.rows.last; ++p) {
                const bool inside = at.row(p, i) >= 0 && at.row(p, i + I - 1) < at.height;
                const i64 first = inside ? begin : tile.columns.last, last = inside ? end : first;
                sum_pixels<I, J, false>(sum, n, p, {tile.columns.first, first}, i, j, c);
                sum_pixels<I, J, true>(sum, n, p, {first, last}, i, j, c);
                sum_pixels<I, J, false>(sum, n, p, {last, tile.columns.last}, i, j, c);
            }
    }

    // Some pixels of row p. Outside of the image x is 0, and 0 * g is NaN where g is not finite.
    template <int I, int J, bool INSIDE>
    ALWAYS_INLINE void sum_pixels(vec (&sum)[I][J], i64 n, i64 p, Range columns, i64 i, i64 j, i64 c) const {
        const float* grad = g + ((n * at.out_height + p) * at.out_width + columns.first) * at.channels + c;
        const i64 top = at.row(p, i);
        i64 left = at.column(columns.first, j);
        const float* pixel = x + ((n * at.height + top) * at.width + left) * at.channels + c;
        const i64 next_row = at.dilation_height * at.width * at.channels, next_column = at.dilation_width * at.channels;
        for (i64 q = columns.first; q < columns.last; ++q) {
            const vec by = load(grad);
            UNROLL for (int r = 0; r < I; ++r) UNROLL for (int s = 0; s < J; ++s) {
                const i64 h = top + r * at.dilation_height, w = left + s * at.dilation_width;
                const bool inside = INSIDE || (h >= 0 && h < at.height && w >= 0 && w < at.width);
                sum[r][s] += (inside ? load(pixel + r * next_row + s * next_column) : vec{}) * by;
            }
            grad += at.channels;
            pixel += at.stride_width * at.channels;
            left += at.stride_width;
        }
    }
};

}  // namespace

KERNEL(depthwise, Depthwise)
KERNEL(depthwise_weight_gradient, DepthwiseWeightGradient)
