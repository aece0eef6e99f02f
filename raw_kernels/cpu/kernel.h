// What all CPU kernels share: vectors, and how Python calls a kernel.
//
// A kernel is a struct. Its fields are its arguments, pointers first, then whole numbers; `run(first, last)` does that
// part of its work, in items that the kernel defines (rows of an image, vectors of channels, ...). Threads call the same
// arguments with different parts, so no item may write what another one reads or writes.
//
// Rules, so that a result has the same bits for any number of threads, any batch and any build:
// - vectors run over outputs, never over what is summed: each output is one sum in one order, given by its shape alone;
// - a product that is added is always one rounding (-ffp-contract=fast, the tails included);
// - no -ffast-math: NaN and infinity come out as in the `xp` version;
// - nothing is allocated or thrown, and the C++ standard library is not used: inline functions of two builds must not
//   be merged by the linker.
#pragma once

typedef long long i64;

#ifndef VECTOR_BYTES
#define VECTOR_BYTES 32  // x86-64-v3: 16 registers of 32 bytes; v4 has 32 of 64
#endif

// Everything lies in an anonymous namespace, for the same reason.
#define INLINE static inline __attribute__((always_inline))
#define ALWAYS_INLINE __attribute__((always_inline))  // of members
#define UNROLL _Pragma("GCC unroll 32")  // a small loop over registers: all of it, or the registers become memory

namespace {

constexpr int LANES = VECTOR_BYTES / 4;

// Neighbouring floats, at any address.
typedef float vec __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
typedef int mask __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));  // what comparing two vecs gives

INLINE vec load(const float* p) { return *(const vec*)p; }
INLINE void store(float* p, vec v) { *(vec*)p = v; }

// The first `count` lanes, 0 < count <= LANES; the others are 0, and their memory is not touched.
INLINE vec load_part(const float* p, i64 count) {
    if (count == LANES) return load(p);
    vec v = vec{};
    for (i64 lane = 0; lane < count; ++lane) v[lane] = p[lane];
    return v;
}

INLINE void store_part(float* p, vec v, i64 count) {
    if (count == LANES) return store(p, v);
    for (i64 lane = 0; lane < count; ++lane) p[lane] = v[lane];
}

// max(v, 0), and NaN stays NaN, as in NumPy: only what is below 0 (or -0) is replaced.
INLINE vec relu(vec v) { return v < vec{} ? vec{} : v; }

INLINE i64 smaller(i64 a, i64 b) { return a < b ? a : b; }
// Division that rounds up, for numbers of 0 or more.
INLINE i64 divide_up(i64 number, i64 by) { return (number + by - 1) / by; }
INLINE i64 larger(i64 a, i64 b) { return a > b ? a : b; }

}  // namespace

// Makes a struct known to Python under a name: `void name(const void* arguments, i64 first, i64 last)`.
#define KERNEL(name, Arguments)                                                            \
    extern "C" __attribute__((visibility("default"))) void name(const void* arguments, i64 first, i64 last) { \
        const Arguments mine = *(const Arguments*)arguments;  /* in registers: no store can reach it */ \
        mine.run(first, last);                                                                           \
    }
