// Random numbers of which each can be had without those before it: SplitMix64 (Steele, Lea and Flood, "Fast splittable
// pseudorandom number generators", 2014). Number k of a stream is made of the seed and k alone, so no thread waits for
// another, and to go on with a stream it is enough to know how many numbers were drawn.

// How many random bits a number takes: those of its mantissa, so that none is rounded up to 1.
template <typename T> struct Digits { static constexpr int COUNT = 24; };
template <> struct Digits<half_t> { static constexpr int COUNT = 11; };
template <> struct Digits<double> { static constexpr int COUNT = 53; };

// Numbers from the uniform distribution over [0, 1), one a thread. `state` holds the seed and how many were drawn
// before; it lies on the device, so that a launch that is recorded in a CUDA graph draws others each time.
//
// Bytes: writes u once, and all threads read the 16 bytes of the state.
// Asked: the state once for each warp, which the cache has.
template <typename T>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
uniform(const i64* __restrict__ state, T* __restrict__ u, i64 count) {
    const i64 item = thread_number();
    if (item >= count) return;
    typedef Arithmetic<T> A;
    unsigned long long z = (unsigned long long)(state[1] + item + 1) * 0x9E3779B97F4A7C15ull + (unsigned long long)state[0];
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    narrow((A)(z >> (64 - Digits<T>::COUNT)) / (A)(1ull << Digits<T>::COUNT), u[item]);
}
