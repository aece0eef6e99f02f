// LANES vectors, turned: lane i of vector j becomes lane j of vector i.
#pragma once
#include "kernel.h"

namespace {

// LaneNumbers<0, 1, 2, ...>: for what needs a list of lanes written out.
template <int... L>
struct LaneNumbers {};
template <int N, int... L>
struct CountTo : CountTo<N - 1, N - 1, L...> {};
template <int... L>
struct CountTo<0, L...> {
    typedef LaneNumbers<L...> lanes;
};

// Of every 2*HALF lanes, the second half of `a` and the first half of `b` change places.
template <int HALF, int... L>
INLINE void swap_halves(vec& a, vec& b, LaneNumbers<L...>) {
    const vec before = a;
    a = __builtin_shufflevector(before, b, (L & HALF ? LANES + L - HALF : L)...);
    b = __builtin_shufflevector(before, b, (L & HALF ? LANES + L : L + HALF)...);
}

// A square is turned when its quarters are turned and two of them have changed places; so down to single lanes.
template <int HALF = LANES / 2>
INLINE void transpose(vec (&rows)[LANES]) {
    UNROLL for (int i = 0; i < LANES; ++i) {
        if (!(i & HALF)) swap_halves<HALF>(rows[i], rows[i + HALF], typename CountTo<LANES>::lanes());
    }
    if constexpr (HALF > 1) transpose<HALF / 2>(rows);
}

}  // namespace
