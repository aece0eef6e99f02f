// The gradient of a convolution by its filters:
//
//     dw[i, j, c, o] = sum over n, p, q of x[n, p*sh + i*dh - top, q*sw + j*dw - left, c] * g[n, p, q, o]
//
// A student's version, with one number after the other and `x` zero outside of the image:
//
//     for (i, j, c, o)
//         for (n, p, q) dw[i][j][c][o] += x[n][p*sh + i*dh - top][q*sw + j*dw - left][c] * g[n][p][q][o];
//
// It loads two numbers for each product. Here a block of the result, K input channels of one element (i, j) of the
// window times V vectors of outputs, stays in registers while the sum runs over the pixels: a pixel costs K + V loads for
// K * V vector products (6 x 2 in the 16 registers of x86-64-v3).
//
// The pixels are cut into tiles of a few thousand numbers, which stay in the cache while all blocks pass over them. A
// block sums up a tile in registers and adds that to memory, so no float32 sum has more than TILE products in a row, and
// thousands of tiles lose little. Tiles are gathered in chunks; each has its own partial result, and they are added in
// order at last. Tiles and chunks follow from the shape alone: so do the bits.
#pragma once
#include "window.h"

namespace {

constexpr i64 TILE = 256;  // pixels at most; the launcher's rule obeys
constexpr i64 RANGE = 64;  // input channels, and outputs, of an item: its part of dw should stay in the cache
constexpr int WIDE = 2;    // vectors of a block, at most
constexpr i64 PANEL = WIDE * LANES;
constexpr int SUMS = VECTOR_BYTES == 64 ? 28 : 12;  // vectors that the registers hold beside those of g and one number of x

// The tile's part of images with few channels, in numbers at most; see `WeightGradient::joins`.
constexpr i64 PATCH = 1 << 14;

// The pixels of a tile that one element of the window sees inside the image: where x lies, and the gradient beside it.
struct Seen {
    const float* x[TILE];
    const float* g[TILE];
    i64 count;
};

// Where a block reads and writes beyond that.
struct Place {
    i64 x, next_x;  // from Seen's x to the block's first number, and from there to the same in the window's next row
    i64 g;          // from Seen's g to the block's vectors
    float* dw;
    i64 next_dw, row, outputs;  // from one row of the window to the next, from one channel to the next; outputs of a block
    bool first;                 // nothing has been summed yet
};

// dw[r, k, o] (+)= sum over the pixels of x[r, k] * g[o], for R rows of the window, K channels and V vectors of outputs.
template <int R, int K, int V>
void sum_block(const Seen& seen, const Place& place) {
    vec sum[R][K][V] = {};
    for (i64 pixel = 0; pixel < seen.count; ++pixel) {
        const float* x = seen.x[pixel] + place.x;
        const float* g = seen.g[pixel] + place.g;
        vec grad[V];
        UNROLL for (int v = 0; v < V; ++v) grad[v] = load(g + v * LANES);
        UNROLL for (int r = 0; r < R; ++r) UNROLL for (int k = 0; k < K; ++k) UNROLL for (int v = 0; v < V; ++v)
            sum[r][k][v] += x[r * place.next_x + k] * grad[v];
    }
    float sums[R][K][V * LANES];
    UNROLL for (int r = 0; r < R; ++r) UNROLL for (int k = 0; k < K; ++k) UNROLL for (int v = 0; v < V; ++v)
        store(sums[r][k] + v * LANES, sum[r][k][v]);
    for (int r = 0; r < R; ++r) for (int k = 0; k < K; ++k) {
        float* dw = place.dw + r * place.next_dw + k * place.row;
        for (i64 o = 0; o < place.outputs; ++o) dw[o] = place.first ? sums[r][k][o] : dw[o] + sums[r][k][o];
    }
}

// A block of a height that is known only now.
template <int R, int K, int V>
void sum_channels(i64 channels, const Seen& seen, const Place& place) {
    if constexpr (K > 1)
        if (channels < K) return sum_channels<R, K - 1, V>(channels, seen, place);
    sum_block<R, K, V>(seen, place);
}

// Channels [0, channels) of a row in blocks of nearly equal height: a low rest would leave the multipliers waiting.
template <int V>
void sum_row(i64 channels, const Seen& seen, Place place) {
    constexpr i64 K = SUMS / V < 14 ? SUMS / V : 14;
    const i64 blocks = (channels + K - 1) / K;
    for (i64 block = 0, c = 0; block < blocks; ++block) {
        const i64 end = channels * (block + 1) / blocks;
        sum_channels<1, K, V>(end - c, seen, place);
        place.x += end - c;
        place.dw += (end - c) * place.row;
        c = end;
    }
}

// `rows` rows of `channels` channels, as many rows together as the registers hold.
template <int V>
void sum_rows(i64 rows, i64 channels, const Seen& seen, Place place) {
    for (i64 r = 0, together; r < rows; r += together) {
        together = 1;
        if (rows - r >= 3 && 3 * V * channels <= SUMS) sum_channels<3, SUMS / 3 / V, V>(channels, seen, place), together = 3;
        else if (rows - r >= 2 && 2 * V * channels <= SUMS) sum_channels<2, SUMS / 2 / V, V>(channels, seen, place), together = 2;
        else sum_row<V>(channels, seen, place);
        place.x += together * place.next_x;
        place.dw += together * place.next_dw;
    }
}

// An item is a chunk of the tiles, with a range of the input channels and one of the outputs of a group.
struct WeightGradient {
    const float* x;        // (N, H, W, C)
    const float* g;        // (N, Ho, Wo, O)
    float* partial;        // (chunks, kh, kw, C/G, O)
    Window at;
    i64 tile_images, tile_rows, tile_columns, chunks;

    struct Tile {
        Range images, rows, columns;
    };

    void run(i64 first, i64 last) const {
        const i64 tiles = ceil(at.images, tile_images) * bands() * pieces();
        const i64 channels = at.channels / at.groups, outputs = at.outputs / at.groups;
        const i64 channel_ranges = ceil(channels, RANGE), output_ranges = ceil(outputs, RANGE);
        for (i64 item = first; item < last; ++item) {
            i64 rest = item;
            const i64 o = rest % output_ranges;
            rest /= output_ranges;
            const i64 c = rest % channel_ranges;
            rest /= channel_ranges;
            const i64 group = rest % at.groups, chunk = rest / at.groups;
            const i64 begin = tiles * chunk / chunks, end = tiles * (chunk + 1) / chunks;
            for (i64 tile = begin; tile < end; ++tile)
                sum_tile(cut(tile), group, share(c, channels, channel_ranges), share(o, outputs, output_ranges),
                         partial + chunk * at.kernel_height * at.kernel_width * channels * at.outputs, tile == begin);
        }
    }

    static i64 ceil(i64 a, i64 b) { return (a + b - 1) / b; }
    static Range share(i64 i, i64 count, i64 parts) { return {count * i / parts, count * (i + 1) / parts}; }
    i64 bands() const { return ceil(at.out_height, tile_rows); }
    i64 pieces() const { return ceil(at.out_width, tile_columns); }

    Tile cut(i64 tile) const {
        const i64 piece = tile % pieces(), band = tile / pieces() % bands(), block = tile / pieces() / bands();
        return {{block * tile_images, smaller((block + 1) * tile_images, at.images)},
                {band * tile_rows, smaller((band + 1) * tile_rows, at.out_height)},
                {piece * tile_columns, smaller((piece + 1) * tile_columns, at.out_width)}};
    }

    // What a tile adds to dw[:, :, channels, outputs] of a group.
    void sum_tile(const Tile& tile, i64 group, Range channels, Range outputs, float* dw, bool first) const {
        float grad[TILE * RANGE];
        float patch[PATCH];
        Seen seen;
        pack(tile, outputs, group, grad);
        const i64 of_group = at.channels / at.groups, row = at.kernel_width * of_group;
        dw += channels.first * at.outputs + group * (at.outputs / at.groups) + outputs.first;
        if (joins(tile)) {
            copy_patch(tile, patch);
            see_patch(tile, patch, grad, seen);
            const Place place = {0, at.dilation_height * patch_width(tile), 0, dw, row * at.outputs, at.outputs, 0, first};
            return sum_outputs(outputs, at.kernel_height, row, seen, place);
        }
        for (i64 i = 0; i < at.kernel_height; ++i)
            for (i64 j = 0; j < at.kernel_width; ++j) {
                see(tile, i, j, group * of_group + channels.first, grad, seen);
                const Place place = {0, 0, 0, dw + (i * row + j * of_group) * at.outputs, 0, at.outputs, 0, first};
                sum_outputs(outputs, 1, channels.last - channels.first, seen, place);
            }
    }

    void sum_outputs(Range outputs, i64 rows, i64 channels, const Seen& seen, Place place) const {
        for (i64 o = outputs.first; o < outputs.last; o += PANEL) {
            place.outputs = smaller(outputs.last - o, PANEL);
            if (place.outputs <= LANES) sum_rows<1>(rows, channels, seen, place);
            else sum_rows<WIDE>(rows, channels, seen, place);
            place.g += TILE * PANEL;
            place.dw += PANEL;
        }
    }

    // The tile's gradient as panels of PANEL outputs, a pixel after the other: (outputs / PANEL, TILE, PANEL). No cache line is
    // half used, and the last panel ends in zeros.
    void pack(const Tile& tile, Range outputs, i64 group, float* grad) const {
        for (i64 n = tile.images.first; n < tile.images.last; ++n)
            for (i64 p = tile.rows.first; p < tile.rows.last; ++p) {
                const float* from = g + ((n * at.out_height + p) * at.out_width + tile.columns.first) * at.outputs +
                                    group * (at.outputs / at.groups);
                for (i64 q = tile.columns.first; q < tile.columns.last; ++q, from += at.outputs, grad += PANEL) {
                    float* to = grad;
                    i64 o = outputs.first;
                    for (; o + PANEL <= outputs.last; o += PANEL, to += TILE * PANEL)
                        UNROLL for (int v = 0; v < WIDE; ++v) store(to + v * LANES, load(from + o + v * LANES));
                    if (o < outputs.last)
                        for (i64 k = 0; k < PANEL; ++k) to[k] = o + k < outputs.last ? from[o + k] : 0;
                }
            }
    }

    // The pixels that element (i, j) of the window sees; those in the padding are left out.
    void see(const Tile& tile, i64 i, i64 j, i64 c, const float* grad, Seen& seen) const {
        const Range rows = overlap(at.rows(i), tile.rows), columns = overlap(at.columns(j), tile.columns);
        const i64 step = at.stride_width * at.channels;
        const i64 tile_width = tile.columns.last - tile.columns.first;
        i64 count = 0;
        for (i64 n = tile.images.first; n < tile.images.last; ++n, grad += (tile.rows.last - tile.rows.first) * tile_width * PANEL)
            for (i64 p = rows.first; p < rows.last; ++p) {
                const float* pixel =
                    x + ((n * at.height + at.row(p, i)) * at.width + at.column(columns.first, j)) * at.channels + c;
                const float* beside = grad + ((p - tile.rows.first) * tile_width + columns.first - tile.columns.first) * PANEL;
                for (i64 q = 0; q < columns.last - columns.first; ++q) {
                    seen.x[count + q] = pixel + q * step;
                    seen.g[count + q] = beside + q * PANEL;
                }
                count += larger(columns.last - columns.first, 0);
            }
        seen.count = count;
    }

    static Range overlap(Range a, Range b) { return {larger(a.first, b.first), smaller(a.last, b.last)}; }

    // With few channels, such as the 3 of a picture, blocks of one element of the window would be low. But where
    // neighbouring elements lie side by side, a row of the window is one element with kw * C channels: its padding must
    // exist for that, so the tile's part of the image is copied once, with zeros around.
    bool joins(const Tile& tile) const {
        return at.groups == 1 && at.dilation_width == 1 && at.kernel_width > 1 && at.channels <= 4 &&
               at.kernel_width * at.channels <= RANGE &&
               (tile.images.last - tile.images.first) * patch_height(tile) * patch_width(tile) <= PATCH;
    }
    i64 patch_height(const Tile& tile) const {
        return (tile.rows.last - tile.rows.first - 1) * at.stride_height + (at.kernel_height - 1) * at.dilation_height + 1;
    }
    i64 patch_width(const Tile& tile) const {  // in numbers
        return ((tile.columns.last - tile.columns.first - 1) * at.stride_width + at.kernel_width) * at.channels;
    }

    void copy_patch(const Tile& tile, float* patch) const {
        const i64 width = patch_width(tile), height = patch_height(tile);
        const i64 left = at.column(tile.columns.first, 0) * at.channels;  // may lie in the padding, < 0
        for (i64 n = tile.images.first; n < tile.images.last; ++n)
            for (i64 h = 0; h < height; ++h, patch += width) {
                const i64 row = at.row(tile.rows.first, 0) + h;
                const bool within = 0 <= row && row < at.height;
                const float* from = x + (n * at.height + row) * at.width * at.channels + left;
                const i64 start = within ? smaller(larger(-left, 0), width) : width;
                const i64 end = larger(smaller(at.width * at.channels - left, width), start);
                for (i64 k = 0; k < start; ++k) patch[k] = 0;
                for (i64 k = start; k < end; ++k) patch[k] = from[k];
                for (i64 k = end; k < width; ++k) patch[k] = 0;
            }
    }

    // All pixels; a place in the patch for the window's first row.
    void see_patch(const Tile& tile, const float* patch, const float* grad, Seen& seen) const {
        i64 count = 0;
        for (i64 n = tile.images.first; n < tile.images.last; ++n, patch += patch_height(tile) * patch_width(tile))
            for (i64 p = 0; p < tile.rows.last - tile.rows.first; ++p) {
                const float* row = patch + p * at.stride_height * patch_width(tile);
                for (i64 q = 0; q < tile.columns.last - tile.columns.first; ++q, ++count) {
                    seen.x[count] = row + q * at.stride_width * at.channels;
                    seen.g[count] = grad + count * PANEL;
                }
            }
        seen.count = count;
    }
};

// dw = the sum of the partial results of all chunks, in order. An item is one number.
struct AddChunks {
    const float* partial;  // (chunks, size)
    float* dw;             // (size,)
    i64 chunks, size;

    void run(i64 first, i64 last) const {
        for (i64 i = first; i < last; i += LANES) {
            const i64 lanes = smaller(last - i, LANES);
            vec sum = load_part(partial + i, lanes);
            for (i64 chunk = 1; chunk < chunks; ++chunk) sum += load_part(partial + chunk * size + i, lanes);
            store_part(dw + i, sum, lanes);
        }
    }
};

}  // namespace

KERNEL(weight_gradient, WeightGradient)
KERNEL(add_chunks, AddChunks)
