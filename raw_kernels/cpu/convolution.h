// Convolution, and its gradient by the input. What a student would write:
//
//     for each pixel (n, r, s) of y, and each output channel o:
//         sum = 0
//         for each element (i, j) of the window, and each channel c:
//             sum += x[n, r*stride - top + i*dilation, s*stride - left + j*dilation, c] * f[i, j, c, o]
//
// Here it is the same sum in the same order, for a block of pixels times a panel of output channels at once. The sums
// stay in registers, P pixels by V vectors of outputs. For each (i, j, c) the V vectors of f are loaded once and used for
// P pixels, and a number of each pixel is used for V vectors: V + P loads for V*P multiply-adds, instead of 2 for 1. With
// 16 registers that is 6 x 2 sums, 2 vectors of f, and 1 number, in all its lanes.
//
// Nothing is copied to pad the images (Dukhan, "The indirect convolution algorithm", 2019): each of the P pixels has a
// pointer to the numbers that its window meets, or to zeros beyond the edge. So a block may run across the end of a row
// or of an image, and no size leaves rests, but for the last block of all.
//
// Only the filters are copied: the outputs o to o + V*LANES of all (i, j, c) lie scattered in memory, and are laid out as
// a panel that stays in the cache while a whole tile of pixels runs over it (Goto and van de Geijn, "Anatomy of
// high-performance matrix multiplication", 2008). If the sum is too long for that, it is cut into chunks; between two of
// them the sums wait in y, which loses nothing.
#pragma once
#include "kernel.h"
#include "normalise.h"
#include "transpose.h"

namespace {

constexpr int PIXELS = VECTOR_BYTES == 64 ? 8 : 6;  // of a block, at most
constexpr int WIDTH = 2 * LANES;                    // outputs of a panel
constexpr i64 ITEM_OUTPUTS = 64;                    // outputs of an item: one panel or several
constexpr i64 CHUNK = 24 << 10;                     // numbers in all panels of an item: 96 KB, of the second-level cache
constexpr int RUNS = 64;                            // pieces of memory that a window has in a chunk
constexpr i64 AHEAD = 16;                           // rows of filters fetched before they are copied

const float zeros[CHUNK / WIDTH] = {};  // what a window meets beyond the edge

// What is known of several pixels at once: a vector of whole numbers, half as many as floats.
constexpr int HALF = LANES / 2;
typedef i64 wholes __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));

INLINE wholes load(const i64* p) { return *(const wholes*)p; }
INLINE void store(i64* p, wholes v) { *(wholes*)p = v; }

// first, first + step, first + 2*step, ...
INLINE wholes in_steps(i64 first, i64 step) {
    wholes v = {};
    UNROLL for (int lane = 0; lane < HALF; ++lane) v[lane] = lane;
    return first + v * step;
}

// y = convolution of x with f, an item for each tile of pixels and ITEM_OUTPUTS channels of a group.
//
// The gradient by the input is a convolution, too, of the gradient by y with f turned around. With a stride s, the pixels
// of dx fall into s*s phases that meet different elements of f, so it is s*s convolutions that each write every s-th row
// and column. Therefore f comes with a step along each of its axes, that along c or that along o being 1, and y with a
// step between pixels.
struct Convolve {
    const float* x;         // (N, height, width, groups*channels)
    const float* filters;   // f[i, j, c, o] of group g is at first + i*by_row + j*by_column + c*by_channel + o*by_output
    const float* bias;      // (groups*outputs), or null
    const float* center;    // batch norm as the epilogue: (groups*outputs) each, or null
    const float* scale;
    const float* shift;
    const float* residual;  // like y, or null
    float* y;               // (N, y_height, y_width, groups*outputs)
    i64 height, width, channels, groups, outputs;  // channels and outputs: of each group
    i64 kernel_rows, kernel_columns, stride_rows, stride_columns, top, left, dilation_rows, dilation_columns;
    i64 n, rows, columns;  // the pixels to compute: (n, r, s) is written to (n, y_top + r*y_rows, y_left + s*y_columns)
    i64 y_height, y_width, y_top, y_left, y_rows, y_columns;
    i64 first, by_row, by_column, by_channel, by_output, by_group;
    i64 tile;    // pixels of an item
    i64 padded;  // whether zeros beyond the edge are part of the sum, where 0 * infinity is NaN; else they are left out
    i64 with_relu;

    void run(i64 first_item, i64 last_item) const {
        const i64 parts = (outputs + ITEM_OUTPUTS - 1) / ITEM_OUTPUTS;  // of a group; they take turns with one tile of x
        for (i64 item = first_item; item < last_item; ++item) {
            const i64 group = item / parts % groups, output = item % parts * ITEM_OUTPUTS;
            const i64 pixel = item / parts / groups * tile;
            run_item(group, output, pixel, smaller(pixel + tile, n * rows * columns));
        }
    }

   private:
    // A piece of the sum that is together in memory: `length` numbers, `offset` after the place of a pixel in x. They
    // belong to the row and column that are so far down and right from there.
    struct Run {
        i64 length, offset, down, right;
    };

    // The elements [begin, end) of the sum, for `count` outputs of a group from `output` on.
    struct Chunk {
        i64 group, output, count, begin, end;
        const float* panels;  // (panels, end - begin, WIDTH)
        bool finite;          // whether no filter is infinite or NaN
        Run apart[RUNS];      // element by element of the window
        Run together[RUNS];   // row by row, for windows that are inside the image
    };

    // Where the window of a pixel begins: the row and column of x, and the place in x, which may lie outside; and where
    // y goes.
    struct Place {
        i64 row, column, x, y;
    };

    // The same of P pixels, for vectors; and the rows and columns between which all of these windows begin.
    template <int P>
    struct Block {
        static constexpr int COUNT = (P + HALF - 1) / HALF * HALF;
        i64 row[COUNT], column[COUNT], x[COUNT], y[P];
        i64 first_row, last_row, first_column, last_column;
    };

    i64 elements() const { return kernel_rows * kernel_columns * channels; }

    void run_item(i64 group, i64 output, i64 pixel, i64 end) const {
        alignas(64) float panels[CHUNK];
        Chunk chunk;
        chunk.group = group;
        chunk.output = output;
        chunk.count = smaller(outputs - output, ITEM_OUTPUTS);
        chunk.end = 0;
        chunk.panels = panels;
        const i64 widths = (chunk.count + WIDTH - 1) / WIDTH * WIDTH;
        const i64 most = smaller(CHUNK / widths, (RUNS - 1) * channels);
        const i64 chunks = (elements() + most - 1) / most;
        i64 number = 0;
        do {  // once also for a window without elements: y is 0 then
            chunk.begin = chunk.end;
            chunk.end = ++number < chunks ? elements() * number / chunks : elements();
            find_runs(chunk.apart, chunk, false);
            find_runs(chunk.together, chunk, true);
            chunk.finite = pack(chunk, panels);
            if (!padded && !chunk.finite)
                blocks<1>(pixel, end, chunk);
            else if (PIXELS > 7 && columns % 8 && columns % 7 == 0)
                blocks<7>(pixel, end, chunk);  // whole rows: of images of 224 pixels and what becomes of them
            else
                blocks<PIXELS>(pixel, end, chunk);
        } while (chunk.end < elements());
    }

    // The pieces of a chunk, where a row of the window is together in memory, or only a pixel.
    void find_runs(Run* runs, const Chunk& chunk, bool together) const {
        for (i64 k = chunk.begin; k < chunk.end; k += runs++->length) {
            const i64 i = k / channels / kernel_columns, j = k / channels % kernel_columns, c = k % channels;
            runs->length = smaller((together ? kernel_columns - j : 1) * channels - c, chunk.end - k);
            runs->down = i * dilation_rows;
            runs->right = j * dilation_columns;
            runs->offset = (runs->down * width + runs->right) * groups * channels + c;
        }
    }

    // Copy the filters of a chunk into panels. Whether all are finite.
    bool pack(const Chunk& chunk, float* panels) const {
        const i64 depth = chunk.end - chunk.begin;
        vec check = vec{};  // 0 as long as the filters are finite
        const float* of_group = filters + first + chunk.group * by_group + chunk.output * by_output;
        for (i64 k = chunk.begin; k < chunk.end;) {
            const i64 i = k / channels / kernel_columns, j = k / channels % kernel_columns, c = k % channels;
            const i64 length = smaller(channels - c, chunk.end - k);
            const float* from = of_group + i * by_row + j * by_column + c * by_channel;
            float* to = panels + (k - chunk.begin) * WIDTH;
            if (by_output == 1)
                copy_panels(from, to, length, chunk.count, depth, check);
            else
                turn_panels(from, to, length, chunk.count, depth, check);
            k += length;
        }
        bool finite = true;
        for (int lane = 0; lane < LANES; ++lane) finite &= check[lane] == 0;
        return finite;
    }

    // From rows of outputs: `length` channels, `count` outputs each.
    void copy_panels(const float* from, float* to, i64 length, i64 count, i64 depth, vec& check) const {
        for (i64 c = 0; c < length; ++c, from += by_channel, to += WIDTH) {
            // Rows are far apart, which the processor does not foresee by itself.
            for (i64 o = 0; o < count; o += 16) __builtin_prefetch(from + AHEAD * by_channel + o);
            float* panel = to;
            i64 o = 0;
            for (; o + WIDTH <= count; o += WIDTH, panel += depth * WIDTH) {
                UNROLL for (int v = 0; v < WIDTH; v += LANES) {
                    const vec f = load(from + o + v);
                    store(panel + v, f);
                    check += f * vec{};
                }
            }
            for (; o < count; o += LANES, panel += LANES) {
                const vec f = load_part(from + o, smaller(count - o, LANES));
                store(panel, f);
                check += f * vec{};
            }
        }
    }

    // From rows of channels, as the gradient by the input and linear layers meet them: LANES x LANES at a time.
    void turn_panels(const float* from, float* to, i64 length, i64 count, i64 depth, vec& check) const {
        for (i64 o = 0; o < count; o += LANES, from += LANES * by_output) {
            float* panel = to + o / WIDTH * depth * WIDTH + o % WIDTH;
            for (i64 c = 0; c < length; c += LANES) {
                const i64 present = smaller(count - o, LANES), together = smaller(length - c, LANES);
                vec rows[LANES];
                UNROLL for (int row = 0; row < LANES; ++row) {
                    rows[row] = row < present ? load_part(from + row * by_output + c, together) : vec{};
                }
                transpose(rows);
                UNROLL for (int row = 0; row < LANES; ++row) {
                    if (row < together) store(panel + (c + row) * WIDTH, rows[row]);
                    check += rows[row] * vec{};
                }
            }
        }
    }

    Place place(i64 pixel, const Chunk& chunk) const {
        const i64 image = pixel / columns / rows, r = pixel / columns % rows, s = pixel % columns;
        const i64 row = r * stride_rows - top, column = s * stride_columns - left;
        return {row, column, ((image * height + row) * width + column) * groups * channels + chunk.group * channels,
                ((image * y_height + y_top + r * y_rows) * y_width + y_left + s * y_columns) * groups * outputs +
                    chunk.group * outputs + chunk.output};
    }

    // Blocks of P pixels from `pixel` on, and what is left as a smaller one.
    template <int P>
    void blocks(i64 pixel, i64 end, const Chunk& chunk) const {
        if (pixel + P <= end) {
            Place next = place(pixel, chunk);
            i64 in_row = columns - pixel % columns;
            for (; pixel + P <= end; pixel += P) {
                Block<P> at;
                fill<P>(at, next, pixel, in_row, chunk);
                block<P>(at, chunk);
            }
        }
        if constexpr (P > 1) {
            if (pixel < end) blocks<P - 1>(pixel, end, chunk);
        }
    }

    // The block whose first pixel is `next`, with so many pixels to the end of its row; both move on behind it.
    template <int P>
    ALWAYS_INLINE void fill(Block<P>& at, Place& next, i64 pixel, i64& in_row, const Chunk& chunk) const {
        const i64 x_step = stride_columns * groups * channels, y_step = y_columns * groups * outputs;
        if (in_row < P) {  // it runs across the end of a row
            UNROLL for (int p = 0; p < P; ++p) {
                at.row[p] = next.row, at.column[p] = next.column, at.x[p] = next.x, at.y[p] = next.y;
                next.column += stride_columns, next.x += x_step, next.y += y_step;
                if (--in_row == 0) next = place(pixel + p + 1, chunk), in_row = columns;
            }
            for (int p = P; p < Block<P>::COUNT; ++p) at.row[p] = at.column[p] = at.x[p] = 0;
            at.first_row = -top, at.last_row = (rows - 1) * stride_rows - top;
            at.first_column = -left, at.last_column = (columns - 1) * stride_columns - left;
            return;
        }
        UNROLL for (int p = 0; p < Block<P>::COUNT; p += HALF) {
            store(at.row + p, wholes{} + next.row);
            store(at.column + p, in_steps(next.column + p * stride_columns, stride_columns));
            store(at.x + p, in_steps(next.x + p * x_step, x_step));
        }
        UNROLL for (int p = 0; p < P; ++p) at.y[p] = next.y + p * y_step;
        at.first_row = at.last_row = next.row;
        at.first_column = next.column, at.last_column = next.column + (P - 1) * stride_columns;
        next.column += P * stride_columns, next.x += P * x_step, next.y += P * y_step;
        in_row -= P;
        if (in_row == 0) next = place(pixel + P, chunk), in_row = columns;
    }

    // P pixels times all panels.
    template <int P>
    void block(const Block<P>& at, const Chunk& chunk) const {
        const bool within = at.first_column >= 0 && at.last_column + kernel_columns <= width;
        const Run* runs = within && dilation_columns == 1 && groups == 1 ? chunk.together : chunk.apart;
        i64 in[RUNS][Block<P>::COUNT];  // addresses
        bool met[RUNS];                 // whether any pixel meets the run, as far as the block's rows and columns tell
        const bool leave_out = chunk.finite || !padded;
        const i64 depth = chunk.end - chunk.begin;
        for (i64 k = 0, r = 0; k < depth; k += runs[r++].length) {
            const i64 down = runs[r].down, right = runs[r].right, start = (i64)(x + runs[r].offset);
            met[r] = !leave_out || (at.last_row + down >= 0 && at.first_row + down < height &&
                                    at.last_column + right >= 0 && at.first_column + right < width);
            UNROLL for (int p = 0; p < Block<P>::COUNT; p += HALF) {
                const wholes row = load(at.row + p) + down, column = load(at.column + p) + right;
                const wholes exists = (row >= 0) & (row < height) & (column >= 0) & (column < width);
                const wholes from = load(at.x + p) * (i64)sizeof(float) + start;
                store(in[r] + p, exists ? from : wholes{} + (i64)zeros);
            }
        }
        for (i64 o = 0; o < chunk.count; o += WIDTH) {
            if (chunk.count - o > LANES)
                multiply<P, 2>(runs, in, met, at.y, chunk, o);
            else
                multiply<P, 1>(runs, in, met, at.y, chunk, o);
        }
    }

    // P pixels times V vectors of outputs. A function of its own, or the loop shares its registers with what surrounds it.
    template <int P, int V>
    __attribute__((noinline)) void multiply(const Run* runs, const i64 (*in)[Block<P>::COUNT], const bool* met,
                                            const i64* at, const Chunk& chunk, i64 output) const {
        const i64 depth = chunk.end - chunk.begin;
        const i64 last = smaller(chunk.count - output - (V - 1) * LANES, LANES);  // lanes of the last vector
        vec sum[P][V];
        UNROLL for (int p = 0; p < P; ++p) {
            UNROLL for (int v = 0; v < V; ++v) sum[p][v] = vec{};
        }
        if (chunk.begin > 0) {
            UNROLL for (int p = 0; p < P; ++p) {
                const float* before = y + at[p] + output;
                UNROLL for (int v = 0; v < V; ++v) sum[p][v] = load_part(before + v * LANES, v < V - 1 ? LANES : last);
            }
        }

        const float* f = chunk.panels + output * depth;
        const float* const end = f + depth * WIDTH;
        for (i64 r = 0; f < end; ++r) {
            const i64 length = runs[r].length;
            if (!met[r]) {
                f += length * WIDTH;
                continue;
            }
            const float* from[P];
            UNROLL for (int p = 0; p < P; ++p) from[p] = (const float*)in[r][p];
            for (i64 e = 0; e < length; ++e, f += WIDTH) {
                vec fv[V];
                UNROLL for (int v = 0; v < V; ++v) fv[v] = load(f + v * LANES);
                UNROLL for (int p = 0; p < P; ++p) {
                    UNROLL for (int v = 0; v < V; ++v) sum[p][v] += from[p][e] * fv[v];
                }
            }
        }

        const bool complete = chunk.end == elements();
        UNROLL for (int v = 0; v < V; ++v) {
            const i64 count = v < V - 1 ? LANES : last, o = output + v * LANES;
            const i64 channel = chunk.group * outputs + chunk.output + o;
            if (complete && bias) {
                const vec b = load_part(bias + channel, count);
                UNROLL for (int p = 0; p < P; ++p) sum[p][v] += b;
            }
            if (complete && scale) {
                const vec mean = load_part(center + channel, count), factor = load_part(scale + channel, count);
                const vec summand = load_part(shift + channel, count);
                UNROLL for (int p = 0; p < P; ++p) sum[p][v] = normalised(sum[p][v], mean, factor, summand);
            }
            if (complete && residual) {
                UNROLL for (int p = 0; p < P; ++p) sum[p][v] += load_part(residual + at[p] + o, count);
            }
            if (complete && with_relu) {
                UNROLL for (int p = 0; p < P; ++p) sum[p][v] = relu(sum[p][v]);
            }
            if (count == LANES) {
                UNROLL for (int p = 0; p < P; ++p) store(y + at[p] + o, sum[p][v]);
            } else {
                UNROLL for (int p = 0; p < P; ++p) store_part(y + at[p] + o, sum[p][v], count);
            }
        }
    }
};

}  // namespace

KERNEL(convolution, Convolve)
