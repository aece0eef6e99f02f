// Depthwise convolution: each channel is convolved with a filter of its own.
//
//     y[n, p, q, c] = sum over i, j of x[n, p*sh + i*dh - top, q*sw + j*dw - left, c] * f[i, j, c]
//
// A student's version is these six loops around one sum, and x is zero outside. There is little to compute, kh * kw
// products for each number, so the kernel minds memory: it writes a row of outputs after the other, vectors of neighbouring
// channels, and meets x while it is still in the cache. A block of P neighbouring outputs stays in registers, so that the
// filter is loaded once for all of them: P + 1 loads for P products.
//
// The gradient by the input is the same sum the other way round: dx[h, w] gathers from the outputs that have seen it.
// Which elements of the window that are, `Axis` says for rows and for columns.
#pragma once
#include "normalise.h"
#include "tiles.h"

namespace {

// What a position reads along one axis: `count` elements of the window, the first of them `element`, and it reads there
// what lies at `source`. `all`: how many elements these would be if nothing lay outside.
struct Line {
    i64 element, source, count, all;
};

struct Axis {
    i64 size, kernel, stride, dilation, padding;  // size: of what is read
    bool back;
    i64 next_element, next_source;  // how far apart the elements of a line are, and what they read

    Axis(i64 size, i64 kernel, i64 stride, i64 dilation, i64 padding, bool back)
        : size(size), kernel(kernel), stride(stride), dilation(dilation), padding(padding), back(back), next_element(1) {
        while (back && next_element * dilation % stride) ++next_element;
        next_source = back ? -next_element * dilation / stride : dilation;
    }

    // With a stride, neighbouring pixels were seen through other elements of the window; so there are phases, and within a
    // phase, one position after the other reads the same elements at sources `step` apart.
    i64 phases() const { return back ? stride : 1; }
    i64 step() const { return back ? 1 : stride; }

    Line line(i64 position) const {
        Line line = {0, 0, 0, 0};
        for (i64 element = 0; element < kernel; ++element) {
            const i64 meets = back ? position + padding - element * dilation : position * stride + element * dilation - padding;
            if (back && meets % stride) continue;
            const i64 source = back ? meets / stride : meets;
            ++line.all;
            if (source < 0 || source >= size) continue;
            if (line.count++ == 0) line.element = element, line.source = source;
        }
        return line;
    }
};

// sum[p] += x * f over the elements of a window, at P positions that lie `step` numbers apart in x.
template <int P>
INLINE void sum_window(vec* sum, const float* x, i64 step, i64 x_row, i64 x_column, const float* f, i64 f_row, i64 f_column,
                       i64 rows, i64 columns, i64 lanes) {
    for (i64 i = 0; i < rows; ++i)
        for (i64 j = 0; j < columns; ++j) {
            const vec filter = load_part(f + i * f_row + j * f_column, lanes);
            const float* from = x + i * x_row + j * x_column;
            UNROLL for (int p = 0; p < P; ++p) sum[p] += load_part(from + p * step, lanes) * filter;
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

    i64 height() const { return back ? at.height : at.out_height; }
    i64 width() const { return back ? at.width : at.out_width; }

    void run(i64 first, i64 last) const {
        const Axis down(back ? at.out_height : at.height, at.kernel_height, at.stride_height, at.dilation_height, at.top, back);
        const Axis across(back ? at.out_width : at.width, at.kernel_width, at.stride_width, at.dilation_width, at.left, back);
        for (i64 item = first; item < last; ++item)
            for (i64 phase = 0; phase < smaller(across.phases(), width()); ++phase) run_phase(down, across, item, phase);
    }

    // The positions phase, phase + phases, ... of a row: those near the edges one by one, those between them in blocks.
    void run_phase(const Axis& down, const Axis& across, i64 item, i64 phase) const {
        const i64 phases = across.phases();
        const auto whole = [&](i64 q) {
            const Line line = across.line(q);
            return line.count == line.all;
        };
        i64 begin = phase, end = phase + (width() - phase + phases - 1) / phases * phases;
        for (; begin < end && !whole(begin); begin += phases) run_block<1>(down, across, item, begin);
        for (; begin < end && !whole(end - phases); end -= phases) run_block<1>(down, across, item, end - phases);
        if (end - begin >= 8 * phases) run_blocks<8>(down, across, item, begin, end);
        else if (end - begin >= 4 * phases) run_blocks<4>(down, across, item, begin, end);
        else run_blocks<1>(down, across, item, begin, end);
    }

    // The last block ends where they all end: it may compute some positions a second time, which changes nothing.
    template <int P>
    void run_blocks(const Axis& down, const Axis& across, i64 item, i64 begin, i64 end) const {
        const i64 wide = P * across.phases();
        for (i64 q = begin; q < end; q += wide) run_block<P>(down, across, item, smaller(q, end - wide));
    }

    // P positions of a row, from q on, with all channels.
    template <int P>
    void run_block(const Axis& down, const Axis& across, i64 item, i64 q) const {
        const Line rows = down.line(item % height()), columns = across.line(q);
        const i64 C = at.channels, f_row = at.kernel_width * C;
        const float* from = x + ((item / height() * down.size + rows.source) * across.size + columns.source) * C;
        const float* f = filters + rows.element * f_row + columns.element * C;
        const i64 to = (item * width() + q) * C;
        const auto run_channels = [&](i64 c, i64 lanes) __attribute__((always_inline)) {
            vec sum[P];
            const vec start = back ? vec{} : padded(rows, columns, c, lanes);
            UNROLL for (int p = 0; p < P; ++p) sum[p] = start;
            sum_window<P>(sum, from + c, across.step() * C, down.next_source * across.size * C, across.next_source * C, f + c,
                          down.next_element * f_row, across.next_element * C, rows.count, columns.count, lanes);
            finish<P>(sum, to + c, c, lanes, across.phases() * C);
        };
        if (C < LANES) return run_channels(0, C);
        for (i64 c = 0; c < C; c += LANES) run_channels(smaller(c, C - LANES), LANES);  // the last ends where they all end
    }

    // What the zeros around the image add: 0, or NaN where the filter is NaN or infinite.
    vec padded(const Line& rows, const Line& columns, i64 c, i64 lanes) const {
        vec sum = {};
        if (rows.count == rows.all && columns.count == columns.all) return sum;
        for (i64 i = 0; i < at.kernel_height; ++i)
            for (i64 j = 0; j < at.kernel_width; ++j)
                if (i < rows.element || i >= rows.element + rows.count || j < columns.element || j >= columns.element + columns.count)
                    sum += load_part(filters + (i * at.kernel_width + j) * at.channels + c, lanes) * 0.0f;
        return sum;
    }

    template <int P>
    void finish(vec* sum, i64 to, i64 c, i64 lanes, i64 step) const {
        if (bias) {
            const vec b = load_part(bias + c, lanes);
            UNROLL for (int p = 0; p < P; ++p) sum[p] += b;
        }
        if (center) {
            const vec m = load_part(center + c, lanes), a = load_part(scale + c, lanes), b = load_part(shift + c, lanes);
            UNROLL for (int p = 0; p < P; ++p) sum[p] = normalised(sum[p], m, a, b);
        }
        if (residual)
            UNROLL for (int p = 0; p < P; ++p) sum[p] += load_part(residual + to + p * step, lanes);
        if (with_relu)
            UNROLL for (int p = 0; p < P; ++p) sum[p] = relu(sum[p]);
        UNROLL for (int p = 0; p < P; ++p) store_part(y + to + p * step, sum[p], lanes);
    }
};

// The gradient by the filters: dw[i, j, c] = sum over n, p, q of x[n, row(p, i), column(q, j), c] * g[n, p, q, c]. Up to 3 x 3
// elements of the window stay in registers while the sum runs over the pixels of a tile (tiles.h): 9 products for 10 loads.
// An item is a chunk of the tiles, with a range of the channels.
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
            for (i64 tile = mine.first; tile < mine.last; ++tile)
                for (i64 c = range; c < smaller(range + CHANNELS, at.channels); c += LANES)
                    sum_elements(tiles.cut(tile, at), c, dw, tile == mine.first);
        }
    }

    // All elements of the window for a vector of channels from c on, in blocks of up to 3 x 3.
    void sum_elements(const Tile& tile, i64 c, float* dw, bool first) const {
        const i64 row_blocks = divided_up(at.kernel_height, 3), column_blocks = divided_up(at.kernel_width, 3);
        for (i64 r = 0; r < row_blocks; ++r)
            for (i64 s = 0; s < column_blocks; ++s)
                sum_block<3, 3>(tile, share(r, row_blocks, at.kernel_height), share(s, column_blocks, at.kernel_width), c, dw, first);
    }

    // A block of a size that is known only now. The last vector of channels ends where they end: its first lanes may have
    // been summed before, and are not added again.
    template <int I, int J>
    void sum_block(const Tile& tile, Range rows, Range columns, i64 c, float* dw, bool first) const {
        if constexpr (I > 1)
            if (rows.last - rows.first < I) return sum_block<I - 1, J>(tile, rows, columns, c, dw, first);
        if constexpr (J > 1)
            if (columns.last - columns.first < J) return sum_block<I, J - 1>(tile, rows, columns, c, dw, first);
        vec sum[I][J] = {};
        const i64 from = larger(smaller(c, at.channels - LANES), 0), end = smaller(c + LANES, at.channels);
        if (at.channels >= LANES) sum_rows<I, J>(sum, tile, rows.first, columns.first, from, LANES);
        else sum_rows<I, J>(sum, tile, rows.first, columns.first, from, at.channels);
        for (int i = 0; i < I; ++i)
            for (int j = 0; j < J; ++j) {
                float* to = dw + ((rows.first + i) * at.kernel_width + columns.first + j) * at.channels;
                float lanes[LANES];
                store(lanes, sum[i][j]);
                for (i64 k = c; k < end; ++k) to[k] = first ? lanes[k - from] : to[k] + lanes[k - from];
            }
    }

    template <int I, int J>
    ALWAYS_INLINE void sum_rows(vec (&sum)[I][J], const Tile& tile, i64 i, i64 j, i64 c, i64 lanes) const {
        // Where all J columns lie inside.
        const Range within = overlap(overlap(at.columns(j), at.columns(j + J - 1)), tile.columns);
        const i64 begin = smaller(within.first, tile.columns.last), end = larger(within.last, begin);
        for (i64 n = tile.images.first; n < tile.images.last; ++n)
            for (i64 p = tile.rows.first; p < tile.rows.last; ++p) {
                const bool inside = at.row(p, i) >= 0 && at.row(p, i + I - 1) < at.height;
                const i64 first = inside ? begin : tile.columns.last, last = inside ? end : first;
                sum_pixels<I, J, false>(sum, n, p, {tile.columns.first, first}, i, j, c, lanes);
                sum_pixels<I, J, true>(sum, n, p, {first, last}, i, j, c, lanes);
                sum_pixels<I, J, false>(sum, n, p, {last, tile.columns.last}, i, j, c, lanes);
            }
    }

    // Some pixels of row p. Outside of the image x is 0, and 0 * g is NaN where g is not finite.
    template <int I, int J, bool INSIDE>
    ALWAYS_INLINE void sum_pixels(vec (&sum)[I][J], i64 n, i64 p, Range columns, i64 i, i64 j, i64 c, i64 lanes) const {
        const float* grad = g + ((n * at.out_height + p) * at.out_width + columns.first) * at.channels + c;
        const i64 top = at.row(p, i);
        i64 left = at.column(columns.first, j);
        const float* pixel = x + ((n * at.height + top) * at.width + left) * at.channels + c;
        const i64 next_row = at.dilation_height * at.width * at.channels, next_column = at.dilation_width * at.channels;
        for (i64 q = columns.first; q < columns.last; ++q) {
            const vec by = load_part(grad, lanes);
            UNROLL for (int r = 0; r < I; ++r) UNROLL for (int s = 0; s < J; ++s) {
                const i64 h = top + r * at.dilation_height, w = left + s * at.dilation_width;
                const bool inside = INSIDE || (h >= 0 && h < at.height && w >= 0 && w < at.width);
                sum[r][s] += (inside ? load_part(pixel + r * next_row + s * next_column, lanes) : vec{}) * by;
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
