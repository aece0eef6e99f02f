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
// window times V vectors of outputs, stays in registers while the sum runs over the pixels: a pixel costs K + V loads
// for K * V vector products (6 x 2 in the 16 registers of x86-64-v3).
//
// The blocks take turns with a tile of the pixels (tiles.h), which stays in the cache meanwhile.
#pragma once
#include "tiles.h"

namespace {

constexpr i64 RANGE = 64;  // input channels, and outputs, of an item: its part of dw should stay in the cache
constexpr int WIDE = 2;    // vectors of a block, at most
constexpr i64 PANEL = WIDE * LANES;
constexpr int SUMS = VECTOR_BYTES == 64 ? 28 : 12;  // vectors in registers, beside those of g and x

// The tile's part of images with few channels, in numbers at most; see `WeightGradient::joins`.
constexpr i64 PATCH = 1 << 14;

// A piece of a row of pixels: where the first number of x lies, the gradient beside it, and how many they are.
struct Piece {
    const float *x, *g;
    i64 pixels;
};

// The pixels of a tile as one element of the window sees them, in pieces. The first `count` lie inside the image; in the
// others, from `outside` on to the end, x lies outside, and is 0.
struct Seen {
    Piece pieces[TILE];  // each has a pixel at least
    i64 count, outside, step;  // step: from a pixel's x to the next

    void add(const float* x, const float* g, i64 pixels) {
        if (pixels > 0) pieces[count++] = {x, g, pixels};
    }
    void add_outside(const float* g, i64 pixels) {
        if (pixels > 0) pieces[--outside] = {nullptr, g, pixels};
    }
};

// Where a block reads and writes beyond that.
struct Place {
    i64 x, next_x;  // from Seen's x to the block's first number, and from there to the same in the window's next row
    i64 g;          // from Seen's g to the block's vectors
    const float* outside;  // what the pixels outside add to all
    float* dw;
    i64 next_dw, row, outputs;  // from a row of the window, and from a channel, to the next; of a block
    bool first;                 // nothing has been summed yet
};

// dw[r, k, o] (+)= sum over the pixels of x[r, k] * g[o], for R rows of the window, K channels and V vectors of
// outputs.
template <int R, int K, int V>
void sum_block(const Seen& seen, const Place& place) {
    vec sum[R][K][V];
    UNROLL for (int r = 0; r < R; ++r) UNROLL for (int k = 0; k < K; ++k) UNROLL for (int v = 0; v < V; ++v)
        sum[r][k][v] = load(place.outside + v * LANES);
    for (i64 piece = 0; piece < seen.count; ++piece) {
        const float* x = seen.pieces[piece].x + place.x;
        const float* g = seen.pieces[piece].g + place.g;
        for (const float* end = g + seen.pieces[piece].pixels * PANEL; g < end; g += PANEL, x += seen.step) {
            vec grad[V];
            UNROLL for (int v = 0; v < V; ++v) grad[v] = load(g + v * LANES);
            UNROLL for (int r = 0; r < R; ++r) UNROLL for (int k = 0; k < K; ++k) UNROLL for (int v = 0; v < V; ++v)
                sum[r][k][v] += x[r * place.next_x + k] * grad[v];
        }
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
        if (rows - r >= 3 && 3 * V * channels <= SUMS)
            sum_channels<3, SUMS / 3 / V, V>(channels, seen, place), together = 3;
        else if (rows - r >= 2 && 2 * V * channels <= SUMS)
            sum_channels<2, SUMS / 2 / V, V>(channels, seen, place), together = 2;
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
    Tiles tiles;

    void run(i64 first, i64 last) const {
        const i64 channels = at.channels / at.groups, outputs = at.outputs / at.groups;
        const i64 channel_ranges = divided_up(channels, RANGE), output_ranges = divided_up(outputs, RANGE);
        for (i64 item = first; item < last; ++item) {
            const i64 o = item % output_ranges, c = item / output_ranges % channel_ranges;
            const i64 group = item / output_ranges / channel_ranges % at.groups;
            const i64 chunk = item / output_ranges / channel_ranges / at.groups;
            float* dw = partial + chunk * at.kernel_height * at.kernel_width * channels * at.outputs;
            const Range mine = tiles.of_chunk(chunk, at);
            for (i64 tile = mine.first; tile < mine.last; ++tile)
                sum_tile(tiles.cut(tile, at), group, share(c, channel_ranges, channels), 
                         {o * RANGE, smaller((o + 1) * RANGE, outputs)}, dw, tile == mine.first);
        }
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
            const i64 next_x = at.dilation_height * patch_width(tile);
            const Place place = {0, next_x, 0, nullptr, dw, row * at.outputs, at.outputs, 0, first};
            return sum_outputs(outputs, at.kernel_height, row, seen, place);
        }
        for (i64 i = 0; i < at.kernel_height; ++i)
            for (i64 j = 0; j < at.kernel_width; ++j) {
                see(tile, i, j, group * of_group + channels.first, grad, seen);
                float* to = dw + (i * row + j * of_group) * at.outputs;
                const Place place = {0, 0, 0, nullptr, to, 0, at.outputs, 0, first};
                sum_outputs(outputs, 1, channels.last - channels.first, seen, place);
            }
    }

    void sum_outputs(Range outputs, i64 rows, i64 channels, const Seen& seen, Place place) const {
        for (i64 o = outputs.first; o < outputs.last; o += PANEL) {
            float outside[PANEL];
            sum_outside(seen, place.g, outside);
            place.outside = outside;
            place.outputs = smaller(outputs.last - o, PANEL);
            if (place.outputs <= LANES) sum_rows<1>(rows, channels, seen, place);
            else sum_rows<WIDE>(rows, channels, seen, place);
            place.g += TILE * PANEL;
            place.dw += PANEL;
        }
    }

    // 0 * g over the pixels outside: 0, or NaN where g is not finite, as if the zeros around the image existed.
    void sum_outside(const Seen& seen, i64 g, float* outside) const {
        vec sum[WIDE] = {};
        for (i64 piece = seen.outside; piece < TILE; ++piece)
            for (i64 pixel = 0; pixel < seen.pieces[piece].pixels; ++pixel)
                UNROLL for (int v = 0; v < WIDE; ++v)
                    sum[v] += 0.0f * load(seen.pieces[piece].g + g + pixel * PANEL + v * LANES);
        UNROLL for (int v = 0; v < WIDE; ++v) store(outside + v * LANES, sum[v]);
    }

    // The tile's gradient as panels of PANEL outputs, a pixel after the other: (outputs / PANEL, TILE, PANEL). No
    // cache line is half used, and the last panel ends in zeros.
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

    // The pixels as element (i, j) of the window sees them.
    void see(const Tile& tile, i64 i, i64 j, i64 c, const float* grad, Seen& seen) const {
        const Range rows = at.rows(i), columns = overlap(at.columns(j), tile.columns);
        const i64 begin = smaller(columns.first, tile.columns.last), end = larger(columns.last, begin);
        seen.count = 0, seen.outside = TILE, seen.step = at.stride_width * at.channels;
        for (i64 n = tile.images.first; n < tile.images.last; ++n)
            for (i64 p = tile.rows.first; p < tile.rows.last; ++p, grad += tile.width() * PANEL) {
                const bool inside = rows.first <= p && p < rows.last;
                const i64 first = inside ? begin : tile.columns.last, last = inside ? end : first;
                const i64 row = (n * at.height + at.row(p, i)) * at.width;
                const float* beside = grad - tile.columns.first * PANEL;
                seen.add(x + (row + at.column(first, j)) * at.channels + c, beside + first * PANEL, last - first);
                seen.add_outside(grad, first - tile.columns.first);
                seen.add_outside(beside + last * PANEL, tile.columns.last - last);
            }
    }

    // With few channels, such as the 3 of a picture, blocks of one element of the window would be low. But where
    // neighbouring elements lie side by side, a row of the window is one element with kw * C channels: its padding must
    // exist for that, so the tile's part of the image is copied once, with zeros around.
    bool joins(const Tile& tile) const {
        return at.groups == 1 && at.dilation_width == 1 && at.kernel_width > 1 && at.channels <= 4 &&
               at.kernel_width * at.channels <= RANGE &&
               (tile.images.last - tile.images.first) * patch_height(tile) * patch_width(tile) <= PATCH;
    }
    i64 patch_height(const Tile& tile) const {
        return (tile.height() - 1) * at.stride_height + (at.kernel_height - 1) * at.dilation_height + 1;
    }
    i64 patch_width(const Tile& tile) const {  // in numbers
        return ((tile.width() - 1) * at.stride_width + at.kernel_width) * at.channels;
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

    // All pixels, as the window's first row sees them in the patch.
    void see_patch(const Tile& tile, const float* patch, const float* grad, Seen& seen) const {
        seen.count = 0, seen.outside = TILE, seen.step = at.stride_width * at.channels;
        for (i64 n = tile.images.first; n < tile.images.last; ++n, patch += patch_height(tile) * patch_width(tile))
            for (i64 p = 0; p < tile.height(); ++p, grad += tile.width() * PANEL)
                seen.add(patch + p * at.stride_height * patch_width(tile), grad, tile.width());
    }
};

}  // namespace

KERNEL(weight_gradient, WeightGradient)
