// What every kernel of this folder may use. It is put in front of a kernel file as text, not included: NVRTC, which
// compiles the kernels on the user's machine, has no header files, and CuPy's cache of compiled kernels looks at the
// source text alone.
//
// Memory. Arrays are NHWC-contiguous: the channels of a pixel lie side by side. Neighbouring threads work on
// neighbouring channels, so the addresses that the 32 threads of a warp touch in one instruction form one run, which
// the GPU fetches as a few whole 128-byte lines ("coalesced"). Offsets are 64 bits wide: an array may pass 2^31 values.
//
// Traffic. What stands above a kernel as "Bytes" must cross between the chip and its memory: each value once. Its warps
// may ask for more, and caches are there for the rest: "Asked" says why, where that is more than a tenth, and "Sectors"
// why the requests touch more sectors of 32 bytes than their bytes would fill. `gpunet kernels --traffic` counts it.
//
// Packs. A thread works on V channels at once, loaded and stored as one piece of up to 16 bytes: fewer instructions,
// fewer threads, the same bytes. The host picks V = 16 / sizeof(T) where the channels divide by it and every array
// begins at a multiple of 16 bytes, otherwise V = 1.
//
// Sums. Nothing is added up by atomics: every value is written by one thread, and every sum is taken in an order that
// depends on the shape alone. Two runs give the same bits.

typedef long long i64;

constexpr int BLOCK = 256;  // threads of a block, in every launch
constexpr int RESIDENT = 3;  // blocks that must fit on a multiprocessor at once, so that some compute while others wait
                             // for memory: the compiler keeps a thread to 80 registers, enough for all but one kernel

// ---------------------------------------------------------------------------------------------------- types of number

// Half precision is a format for storage: 16 bits in memory, float in registers.
struct half_t {
    unsigned short bits;
};

// The type in which a kernel computes with values of type T.
template <typename T> struct ArithmeticOf { typedef T type; };
template <> struct ArithmeticOf<half_t> { typedef float type; };
template <typename T> using Arithmetic = typename ArithmeticOf<T>::type;

template <typename T> __device__ __forceinline__ T widen(T value) { return value; }

__device__ __forceinline__ float widen(half_t value) {
#ifdef GPUNET_EMULATED
    return gpunet_half_to_float(value.bits);
#else
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
    return result;
#endif
}

__device__ __forceinline__ void narrow(float value, float& result) { result = value; }
__device__ __forceinline__ void narrow(double value, double& result) { result = value; }
__device__ __forceinline__ void narrow(int value, int& result) { result = value; }
__device__ __forceinline__ void narrow(int value, unsigned char& result) { result = (unsigned char)value; }

__device__ __forceinline__ void narrow(float value, half_t& result) {  // to the nearest, ties to even
#ifdef GPUNET_EMULATED
    result.bits = gpunet_float_to_half(value);
#else
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#endif
}

// The value that is left when it is stored as a T and loaded again.
template <typename T> __device__ __forceinline__ Arithmetic<T> rounded(Arithmetic<T> value) {
    T stored;
    narrow(value, stored);
    return widen(stored);
}

// <math.h> and INFINITY do not exist here.
template <typename A> __device__ __forceinline__ A negative_infinity() { return (A)__int_as_float((int)0xff800000); }

// ------------------------------------------------------------------------------------------------------------- packs

// V neighbouring values. The alignment is what makes the compiler load them with one instruction.
template <typename T, int V> struct alignas(sizeof(T) * V < 16 ? sizeof(T) * V : 16) Pack {
    T of[V];
};

template <int V, typename T, typename A> __device__ __forceinline__ void load(const T* from, A (&values)[V]) {
    const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(from);
#pragma unroll
    for (int v = 0; v < V; ++v) values[v] = widen(pack.of[v]);
}

template <int V, typename T, typename A> __device__ __forceinline__ void store(T* to, const A (&values)[V]) {
    Pack<T, V> pack;
#pragma unroll
    for (int v = 0; v < V; ++v) narrow(values[v], pack.of[v]);
    *reinterpret_cast<Pack<T, V>*>(to) = pack;
}

// ------------------------------------------------------------------------------------------------------------- places

// The number of this thread among all threads of the launch. A kernel whose threads each make one item begins with
// `if (item >= count) return;`, because the last block reaches beyond the work.
__device__ __forceinline__ i64 thread_number() { return (i64)blockIdx.x * BLOCK + threadIdx.x; }

// Whether numbers below `count` can be taken apart in 32 bits: a division of 64 bits takes several times as long.
__device__ __forceinline__ bool fits_32_bits(i64 count) { return count <= 0xffffffffLL; }

// Where pack number `item` of an array (N, height, width, channels) lies.
struct Place {
    i64 image;
    int row, column, channel;  // channel: the first of the V
};

template <int V, typename I> __device__ __forceinline__ Place place_in(I item, int height, int width, int channels) {
    const I packs = (I)(channels / V), columns = (I)width, rows = (I)height;
    Place place;
    place.channel = (int)(item % packs) * V;
    item /= packs;
    place.column = (int)(item % columns);
    item /= columns;
    place.row = (int)(item % rows);
    place.image = (i64)(item / rows);
    return place;
}

template <int V> __device__ __forceinline__ Place place_of(i64 item, int height, int width, int channels) {
    return fits_32_bits(item) ? place_in<V>((unsigned)item, height, width, channels)
                              : place_in<V>(item, height, width, channels);
}

// The offset of a value in an array (N, height, width, channels).
__device__ __forceinline__ i64 offset_of(i64 image, int row, int column, int channel,
                                         int height, int width, int channels) {
    return ((image * height + row) * width + column) * channels + channel;
}

// Integer division that rounds up, for numbers of 0 or more.
__device__ __forceinline__ int divide_up(int number, int by) { return (number + by - 1) / by; }

// The positions along one axis whose windows may cover a place: first .. last. With dilation a window may step over it.
struct Covering {
    int first, last;
};

__device__ __forceinline__ Covering covering(int place, int stride, int before, int kernel, int dilation,
                                             int positions) {
    const int reach = place + before;                       // the place, counted from where the padding begins
    const int behind = reach - (kernel - 1) * dilation;     // the earliest start that still reaches it
    Covering axis;
    axis.first = behind > 0 ? divide_up(behind, stride) : 0;
    axis.last = min(positions - 1, reach / stride);
    return axis;
}

// ------------------------------------------------------------------------------------------------------------- sums

// V sums at once. Sixteen numbers lose next to nothing in their own arithmetic; what they come to is added up in double,
// so that the mean of a million pixels is as exact as that of nine.
template <typename A, int V> struct Sum {
    A part[V] = {};
    double whole[V] = {};
    int terms = 0;  // in `part`

    __device__ __forceinline__ void add(const A (&values)[V]) {
#pragma unroll
        for (int v = 0; v < V; ++v) part[v] += values[v];
        if (++terms < 16) return;
#pragma unroll
        for (int v = 0; v < V; ++v) {
            whole[v] += part[v];
            part[v] = 0;
        }
        terms = 0;
    }

    __device__ __forceinline__ void total(A (&sums)[V]) const {
#pragma unroll
        for (int v = 0; v < V; ++v) sums[v] = (A)(whole[v] + part[v]);
    }
};
