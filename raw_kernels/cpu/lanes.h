// What the pooling kernels do to a vector of outputs: reading and writing it wherever its numbers lie, the places of
// winners in bytes, and long sums.
#pragma once
#include "kernel.h"

namespace {

// Which numbers of an array a vector holds: `count` of them, `step` apart.
struct Lanes {
    i64 step, count;

    static ALWAYS_INLINE Lanes whole() { return {1, LANES}; }
    ALWAYS_INLINE bool are_neighbours() const { return step == 1 && count == LANES; }

    ALWAYS_INLINE vec load(const float* p) const { return are_neighbours() ? *(const vec*)p : gather<vec>(p); }

    ALWAYS_INLINE void store(float* p, vec v) const {
        if (are_neighbours())
            *(vec*)p = v;
        else
            scatter(p, v);
    }

    ALWAYS_INLINE mask load(const int* p) const { return are_neighbours() ? *(const mask*)p : gather<mask>(p); }

    ALWAYS_INLINE void store(int* p, mask v) const {
        if (are_neighbours())
            *(mask*)p = v;
        else
            scatter(p, v);
    }

    ALWAYS_INLINE mask load(const unsigned char* p) const { return are_neighbours() ? widen(p) : gather<mask>(p); }

    ALWAYS_INLINE void store(unsigned char* p, mask v) const {
        if (are_neighbours())
            narrow(p, v);
        else
            scatter(p, v);
    }

  private:
    template <typename V, typename T> ALWAYS_INLINE V gather(const T* p) const {
        V v = V{};
        if (count == LANES) {
            UNROLL for (int lane = 0; lane < LANES; ++lane) v[lane] = p[lane * step];
        } else {
            for (i64 lane = 0; lane < count; ++lane) v[lane] = p[lane * step];
        }
        return v;
    }

    template <typename V, typename T> ALWAYS_INLINE void scatter(T* p, V v) const {
        if (count == LANES) {
            UNROLL for (int lane = 0; lane < LANES; ++lane) p[lane * step] = (T)v[lane];
        } else {
            for (i64 lane = 0; lane < count; ++lane) p[lane * step] = (T)v[lane];
        }
    }

    // LANES bytes to ints and back. Compilers convert 16 bytes at once, but 8 one after the other; hence the shuffles.
#if VECTOR_BYTES == 32
    typedef unsigned char bytes __attribute__((vector_size(32)));
    typedef i64 words __attribute__((vector_size(32)));
    typedef i64 word __attribute__((aligned(1), may_alias));
#ifdef __clang__
#define SHUFFLE(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#else
#define SHUFFLE(v, ...) __builtin_shuffle(v, (bytes){__VA_ARGS__})
#endif
    static ALWAYS_INLINE mask widen(const unsigned char* p) {
        const i64 eight = *(const word*)p;
        const bytes twice = (bytes)(words){eight, eight, eight, eight};  // bytes do not cross between the halves
        return (mask)SHUFFLE(twice, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3,  //
                             20, 20, 20, 20, 21, 21, 21, 21, 22, 22, 22, 22, 23, 23, 23, 23) & 255;
    }

    static ALWAYS_INLINE void narrow(unsigned char* p, mask v) {
        const bytes low = SHUFFLE((bytes)v, 0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0,  //
                                  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        *(word*)p = ((words)low)[0];
    }
#undef SHUFFLE
#else
    typedef unsigned char bytes __attribute__((vector_size(LANES), aligned(1), may_alias));
    static ALWAYS_INLINE mask widen(const unsigned char* p) { return __builtin_convertvector(*(const bytes*)p, mask); }
    static ALWAYS_INLINE void narrow(unsigned char* p, mask v) { *(bytes*)p = __builtin_convertvector(v, bytes); }
#endif
};

// V vectors of sums. Sixteen numbers lose next to nothing in float; what they come to is added up in double, so that the
// mean of a million pixels is as exact as that of nine. `many` says whether there may be more than sixteen.
constexpr int SHORT_SUM = 16;

template <int V, bool many> struct Sums {
    typedef float half __attribute__((vector_size(VECTOR_BYTES / 2), may_alias));
    typedef double wide __attribute__((vector_size(VECTOR_BYTES), may_alias));

    vec part[V] = {};
    wide whole[many ? 2 * V : 1] = {};
    int terms = 0;  // in `part`

    ALWAYS_INLINE void next() {
        if (!many || ++terms < SHORT_SUM) return;
        UNROLL for (int v = 0; v < 2 * V; ++v) whole[v] += __builtin_convertvector(((const half*)part)[v], wide);
        UNROLL for (int v = 0; v < V; ++v) part[v] = vec{};
        terms = 0;
    }

    ALWAYS_INLINE vec total(int v) const {
        vec sum = part[v];
        if (many)
            UNROLL for (int lane = 0; lane < LANES; ++lane)
                sum[lane] = (float)(((const double*)whole)[v * LANES + lane] + sum[lane]);
        return sum;
    }
};

template <int n> struct Number {
    static constexpr int value = n;
};

// Calls `work(channel, number of vectors)` for all channels, a few vectors at a time. The last one begins earlier where
// it would reach beyond the channels: some outputs are then computed twice, to the same bits.
template <class Work> INLINE void over_channels(i64 channels, const Work& work) {
    i64 channel = 0;
    for (; channel + 4 * LANES <= channels; channel += 4 * LANES) work(channel, Number<4>{});
    if (channel + 2 * LANES <= channels) {
        work(channel, Number<2>{});
        channel += 2 * LANES;
    }
    for (; channel < channels; channel += LANES) work(smaller(channel, channels - LANES), Number<1>{});
}

}  // namespace
