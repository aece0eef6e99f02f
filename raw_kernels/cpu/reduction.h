// Sums over the rows of matrices, accurate however many rows there are: FEW rows are added in float32, in registers, and
// their sums in double. (One float32 sum over a million numbers would be off by a percent.)
//
// What a student would write, for one matrix x of `rows` rows and `width` columns:
//
//     for (row = 0; row < rows; ++row)
//         for (column = 0; column < width; ++column) sums[column] += x[row * width + column];
//
// Here vectors run along the columns, the outputs. A block of registers holds the sums of BLOCK vectors of columns while
// it goes down FEW rows: nothing is written but once in FEW rows, and x is read once. The host takes several rows side by
// side as one where there are few columns, so that a row has at least 64 numbers, and a multiple of 16: whole vectors in
// every build. What is left over by that is a last row that ends early.
#pragma once
#include "kernel.h"

namespace {

constexpr i64 FEW = 64;   // rows that float32 adds up one after the other: off by less than 1e-6, even all alike
constexpr int BLOCK = 4;  // vectors of columns at a time: with two sums each, 8 registers

// Adds to `totals` what registers hold.
INLINE void add_to_totals(double* totals, vec sum, i64 count) {
    for (i64 lane = 0; lane < count; ++lane) totals[lane] += sum[lane];
}

// Sums over rows first to last - 1 of `width` columns, of which there are `numbers` numbers in all. Terms says what is
// summed: `COUNT` sums for each column, to which `add(i, column, lanes, sum)` adds what stands at place i of the arrays.
// They are added to totals[COUNT][width].
template <typename Terms>
struct RowSums {
    const Terms& terms;
    i64 numbers, width;
    double* totals;

    void run(i64 first, i64 last) const {
        const i64 whole = smaller(last, numbers / width);
        for (i64 row = first; row < whole; row += FEW) {
            const i64 end = smaller(whole, row + FEW);
            i64 column = 0;
            for (; column + BLOCK * LANES <= width; column += BLOCK * LANES) block<BLOCK>(row, end, column);
            for (; column < width; column += LANES) block<1>(row, end, column);
        }
        if (last > whole) {  // the row that ends early
            const i64 rest = numbers - whole * width;
            for (i64 column = 0; column < rest; column += LANES) {
                const i64 lanes = smaller(LANES, rest - column);
                vec sum[Terms::COUNT] = {};
                terms.add(whole * width + column, column, lanes, sum);
                for (int t = 0; t < Terms::COUNT; ++t) add_to_totals(totals + t * width + column, sum[t], lanes);
            }
        }
    }

    // The registers: `VECTORS` vectors of columns, with COUNT sums each.
    template <int VECTORS>
    ALWAYS_INLINE void block(i64 row, i64 end, i64 column) const {
        vec sum[VECTORS][Terms::COUNT] = {};
        for (; row < end; ++row) {
            UNROLL for (int v = 0; v < VECTORS; ++v) {
                const i64 at = column + v * LANES;
                terms.add(row * width + at, at, LANES, sum[v]);
            }
        }
        UNROLL for (int v = 0; v < VECTORS; ++v) {
            UNROLL for (int t = 0; t < Terms::COUNT; ++t) {
                add_to_totals(totals + t * width + column + v * LANES, sum[v][t], LANES);
            }
        }
    }
};

// An item is a chunk of rows: all chunks but the last have `chunk_rows`. Its totals[COUNT][width] begin at 0.
template <typename Terms>
INLINE void sum_chunk(const Terms& terms, i64 chunk, i64 chunk_rows, i64 numbers, i64 width, double* totals) {
    for (i64 i = 0; i < Terms::COUNT * width; ++i) totals[i] = 0;
    const i64 rows = (numbers + width - 1) / width;
    RowSums<Terms>{terms, numbers, width, totals}.run(chunk * chunk_rows, smaller(rows, (chunk + 1) * chunk_rows));
}

// Whether this thread has ended the last of the chunks: then it sees what all others have written. It merges in the order
// of the chunks, so that the result does not depend on which thread it is.
INLINE bool is_last(int* done, i64 chunks) { return __atomic_add_fetch(done, 1, __ATOMIC_ACQ_REL) == chunks; }

// The sums of all chunks, and of the rows that lie side by side, to the first `columns` places of the first chunk.
INLINE void merge_chunks(double* partial, int count, i64 width, i64 columns, i64 chunks) {
    const i64 size = count * width;
    for (i64 chunk = 1; chunk < chunks; ++chunk) {
        for (i64 i = 0; i < size; ++i) partial[i] += partial[chunk * size + i];
    }
    for (i64 t = 0; t < count; ++t) {
        for (i64 i = columns; i < width; ++i) partial[t * width + i % columns] += partial[t * width + i];
    }
}

struct NumbersAlone {
    static constexpr int COUNT = 1;
    const float* x;

    ALWAYS_INLINE void add(i64 i, i64, i64 lanes, vec* sum) const { sum[0] += load_part(x + i, lanes); }
};

// Sums of several matrices of `numbers` numbers. An item is a chunk of one of them; its sums are one row of `partial`.
struct SumRows {
    const float* x;
    double* partial;  // (matrices, chunks, width)
    i64 numbers, width, chunk_rows, chunks;

    void run(i64 first, i64 last) const {
        for (i64 item = first; item < last; ++item) {
            const NumbersAlone terms = {x + item / chunks * numbers};
            sum_chunk(terms, item % chunks, chunk_rows, numbers, width, partial + item * width);
        }
    }
};

}  // namespace

KERNEL(sum_rows, SumRows)
