// Sums over all pixels of a batch, as the gradients by the filters are, in parts that follow from the shape alone.
//
// The pixels are cut into tiles. A tile is summed up in registers and then added to memory, so no float32 sum has
// more than TILE products in a row, and thousands of tiles lose little. Tiles are gathered in chunks, for the
// threads; each has its own partial result, and these are added in order at last. So the bits follow from the shape
// alone, too.
#pragma once
#include "window.h"

namespace {

constexpr i64 TILE = 256;  // pixels at most; the launcher's rule obeys

INLINE i64 divided_up(i64 a, i64 b) { return (a + b - 1) / b; }
INLINE Range share(i64 i, i64 parts, i64 count) { return {count * i / parts, count * (i + 1) / parts}; }
INLINE Range overlap(Range a, Range b) { return {larger(a.first, b.first), smaller(a.last, b.last)}; }

// Output pixels: some images, or some rows of one, or a part of a row.
struct Tile {
    Range images, rows, columns;

    i64 height() const { return rows.last - rows.first; }
    i64 width() const { return columns.last - columns.first; }
    i64 pixels() const { return (images.last - images.first) * height() * width(); }
};

// Arguments of a kernel, in this order: the size of a tile, and how many chunks there are.
struct Tiles {
    i64 images, rows, columns, chunks;

    // The tiles of a chunk.
    Range of_chunk(i64 chunk, const Window& at) const {
        const i64 of_images = divided_up(at.out_height, rows) * divided_up(at.out_width, columns);
        const i64 tiles = divided_up(at.images, images) * of_images;
        return share(chunk, chunks, tiles);
    }

    Tile cut(i64 tile, const Window& at) const {
        const i64 pieces = divided_up(at.out_width, columns), bands = divided_up(at.out_height, rows);
        const i64 piece = tile % pieces, band = tile / pieces % bands, block = tile / pieces / bands;
        return {{block * images, smaller((block + 1) * images, at.images)},
                {band * rows, smaller((band + 1) * rows, at.out_height)},
                {piece * columns, smaller((piece + 1) * columns, at.out_width)}};
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

KERNEL(add_chunks, AddChunks)
