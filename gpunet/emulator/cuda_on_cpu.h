// CUDA C as a C++17 compiler sees it: this header goes in front of a kernel file that is to run on the CPU.
//
// It has no #include but its own, as NVRTC has none: what a kernel may use on a GPU without a header it may use here,
// and nothing else. The text of the kernel is left as it is, except for declarations of shared memory (see source.py).
#pragma once
#include "interface.h"

#define GPUNET_EMULATED 1

// ---------------------------------------------------------------- qualifiers and built-in variables

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

#define threadIdx (gpunet_emulator::thread_index())
#define blockIdx (gpunet_emulator::block_index())
#define blockDim (gpunet_emulator::block_size())
#define gridDim (gpunet_emulator::grid_size())
constexpr int warpSize = 32;

extern "C" int printf(const char* format, ...);

// ---------------------------------------------------------------- vector types

#define GPUNET_VECTOR2(type, element, bytes) \
    struct __align__(bytes) type { element x, y; }; \
    inline type make_##type(element x, element y) { return {x, y}; }
#define GPUNET_VECTOR3(type, element) \
    struct type { element x, y, z; }; \
    inline type make_##type(element x, element y, element z) { return {x, y, z}; }
#define GPUNET_VECTOR4(type, element, bytes) \
    struct __align__(bytes) type { element x, y, z, w; }; \
    inline type make_##type(element x, element y, element z, element w) { return {x, y, z, w}; }

GPUNET_VECTOR2(char2, signed char, 2)
GPUNET_VECTOR2(uchar2, unsigned char, 2)
GPUNET_VECTOR2(short2, short, 4)
GPUNET_VECTOR2(ushort2, unsigned short, 4)
GPUNET_VECTOR2(int2, int, 8)
GPUNET_VECTOR2(uint2, unsigned int, 8)
GPUNET_VECTOR2(float2, float, 8)
GPUNET_VECTOR2(longlong2, long long, 16)
GPUNET_VECTOR2(ulonglong2, unsigned long long, 16)
GPUNET_VECTOR2(double2, double, 16)
GPUNET_VECTOR3(int3, int)
GPUNET_VECTOR3(float3, float)
GPUNET_VECTOR4(char4, signed char, 4)
GPUNET_VECTOR4(uchar4, unsigned char, 4)
GPUNET_VECTOR4(short4, short, 8)
GPUNET_VECTOR4(ushort4, unsigned short, 8)
GPUNET_VECTOR4(int4, int, 16)
GPUNET_VECTOR4(uint4, unsigned int, 16)
GPUNET_VECTOR4(float4, float, 16)
GPUNET_VECTOR4(double4, double, 16)

// ---------------------------------------------------------------- barriers, shuffles, votes

// The place of each call comes along, so that a fault can name it.
#define GPUNET_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(GPUNET_PLACE) { gpunet_emulator::sync_block(false, {file, line}); }
inline int __syncthreads_count(int predicate, GPUNET_PLACE) {
    return (int)gpunet_emulator::sync_block(predicate != 0, {file, line});
}
inline int __syncthreads_or(int predicate, GPUNET_PLACE) { return __syncthreads_count(predicate, file, line) != 0; }
inline int __syncthreads_and(int predicate, GPUNET_PLACE) { return __syncthreads_count(!predicate, file, line) == 0; }
inline void __syncwarp(unsigned mask = 0xffffffffu, GPUNET_PLACE) { gpunet_emulator::sync_warp(mask, {file, line}); }

inline unsigned __ballot_sync(unsigned mask, int predicate, GPUNET_PLACE) {
    return gpunet_emulator::ballot(mask, predicate != 0, {file, line});
}
inline int __any_sync(unsigned mask, int predicate, GPUNET_PLACE) {
    return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, GPUNET_PLACE) {
    return __ballot_sync(mask, !predicate, file, line) == 0;
}

namespace gpunet_emulator {

template <class T> T shuffle(unsigned mask, T value, int source_lane, Place place) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves int, long long, float, double or their like");
    Word bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    bits = exchange(mask, bits, source_lane, place);
    __builtin_memcpy(&value, &bits, sizeof(T));
    return value;
}

inline int first_lane(int width) { return (int)lane() / width * width; }  // of the calling thread's part of the warp

}  // namespace gpunet_emulator

// A source beyond the part of the warp, `width` lanes, gives the thread its own value back.
template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32, GPUNET_PLACE) {
    const int from = gpunet_emulator::first_lane(width) + (source & (width - 1));
    return gpunet_emulator::shuffle(mask, value, from, {file, line});
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, GPUNET_PLACE) {
    const int self = (int)gpunet_emulator::lane(), from = self + (int)delta;
    const bool inside = from < gpunet_emulator::first_lane(width) + width;
    return gpunet_emulator::shuffle(mask, value, inside ? from : self, {file, line});
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, GPUNET_PLACE) {
    const int self = (int)gpunet_emulator::lane(), from = self - (int)delta;
    const bool inside = from >= gpunet_emulator::first_lane(width);
    return gpunet_emulator::shuffle(mask, value, inside ? from : self, {file, line});
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32, GPUNET_PLACE) {
    const int self = (int)gpunet_emulator::lane(), from = self ^ lane_mask;
    const bool inside = from < gpunet_emulator::first_lane(width) + width;
    return gpunet_emulator::shuffle(mask, value, inside ? from : self, {file, line});
}

inline void __threadfence() { gpunet_emulator::memory_fence(); }
inline void __threadfence_block() {}

// ---------------------------------------------------------------- atomics

namespace gpunet_emulator {

template <class T, class Change> T atomic_update(T* address, Change change) {
    for (;;) {
        const Word before = atomic_load(address, sizeof(T));
        T value;
        __builtin_memcpy(&value, &before, sizeof(T));
        const T changed = change(value);
        Word after = 0;
        __builtin_memcpy(&after, &changed, sizeof(T));
        if (atomic_exchange_if(address, sizeof(T), before, after)) return value;
    }
}

}  // namespace gpunet_emulator

#define GPUNET_ATOMIC(name, type, result) \
    inline type name(type* address, type value) { \
        return gpunet_emulator::atomic_update(address, [value](type old) -> type { return result; }); \
    }
#define GPUNET_ATOMICS_OF_INTEGERS(type) \
    GPUNET_ATOMIC(atomicAdd, type, old + value) \
    GPUNET_ATOMIC(atomicExch, type, value) \
    GPUNET_ATOMIC(atomicMin, type, old < value ? old : value) \
    GPUNET_ATOMIC(atomicMax, type, old > value ? old : value) \
    GPUNET_ATOMIC(atomicAnd, type, old & value) \
    GPUNET_ATOMIC(atomicOr, type, old | value) \
    GPUNET_ATOMIC(atomicXor, type, old ^ value) \
    inline type atomicCAS(type* address, type expected, type desired) { \
        const auto choose = [=](type old) -> type { return old == expected ? desired : old; }; \
        return gpunet_emulator::atomic_update(address, choose); \
    }

GPUNET_ATOMIC(atomicAdd, float, old + value)
GPUNET_ATOMIC(atomicExch, float, value)
GPUNET_ATOMIC(atomicAdd, double, old + value)
GPUNET_ATOMICS_OF_INTEGERS(int)
GPUNET_ATOMICS_OF_INTEGERS(unsigned int)
GPUNET_ATOMICS_OF_INTEGERS(unsigned long long)  // CUDA has no atomicAdd for long long

// ---------------------------------------------------------------- mathematics

// CUDA overloads each function by type, and calls the float one also by its C name.
#define GPUNET_FUNCTION1(name) \
    extern "C" double name(double); \
    extern "C" float name##f(float); \
    inline float name(float x) { return name##f(x); }
#define GPUNET_FUNCTION2(name) \
    extern "C" double name(double, double); \
    extern "C" float name##f(float, float); \
    inline float name(float x, float y) { return name##f(x, y); }

GPUNET_FUNCTION1(sqrt)
GPUNET_FUNCTION1(cbrt)
GPUNET_FUNCTION1(exp)
GPUNET_FUNCTION1(exp2)
GPUNET_FUNCTION1(expm1)
GPUNET_FUNCTION1(log)
GPUNET_FUNCTION1(log2)
GPUNET_FUNCTION1(log10)
GPUNET_FUNCTION1(log1p)
GPUNET_FUNCTION1(sin)
GPUNET_FUNCTION1(cos)
GPUNET_FUNCTION1(tan)
GPUNET_FUNCTION1(tanh)
GPUNET_FUNCTION1(erf)
GPUNET_FUNCTION1(erfc)
GPUNET_FUNCTION1(floor)
GPUNET_FUNCTION1(ceil)
GPUNET_FUNCTION1(trunc)
GPUNET_FUNCTION1(round)
GPUNET_FUNCTION1(rint)
GPUNET_FUNCTION1(fabs)
GPUNET_FUNCTION2(pow)
GPUNET_FUNCTION2(fmod)
GPUNET_FUNCTION2(fmin)
GPUNET_FUNCTION2(fmax)
GPUNET_FUNCTION2(copysign)
extern "C" double fma(double, double, double);
extern "C" float fmaf(float, float, float);
inline float fma(float x, float y, float z) { return fmaf(x, y, z); }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }

inline int abs(int x) { return x < 0 ? -x : x; }
inline long long abs(long long x) { return x < 0 ? -x : x; }
inline float abs(float x) { return fabsf(x); }
inline double abs(double x) { return fabs(x); }

inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isnan(double x) { return __builtin_isnan(x); }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isinf(double x) { return __builtin_isinf(x); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }
inline bool isfinite(double x) { return __builtin_isfinite(x); }

namespace gpunet_emulator {

template <class T> constexpr bool is_floating = false;
template <> constexpr bool is_floating<float> = true;
template <> constexpr bool is_floating<double> = true;

}  // namespace gpunet_emulator

// Mixed types have the result of the usual conversions; between floats, a NaN loses, as in fmax. A floating number and
// a whole one are ambiguous on a GPU.
template <class A, class B> inline auto max(A a, B b) {
    static_assert(gpunet_emulator::is_floating<A> == gpunet_emulator::is_floating<B>, "max of a float and an integer");
    const decltype(true ? a : b) x = a, y = b;
    return x > y || y != y ? x : y;
}
template <class A, class B> inline auto min(A a, B b) {
    static_assert(gpunet_emulator::is_floating<A> == gpunet_emulator::is_floating<B>, "min of a float and an integer");
    const decltype(true ? a : b) x = a, y = b;
    return x < y || y != y ? x : y;
}

// ---------------------------------------------------------------- intrinsics

namespace gpunet_emulator {

template <class To, class From> inline To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "the same number of bits");
    To to;
    __builtin_memcpy(&to, &from, sizeof(To));
    return to;
}

}  // namespace gpunet_emulator

inline float __int_as_float(int x) { return gpunet_emulator::same_bits<float>(x); }
inline int __float_as_int(float x) { return gpunet_emulator::same_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return gpunet_emulator::same_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return gpunet_emulator::same_bits<unsigned>(x); }
inline double __longlong_as_double(long long x) { return gpunet_emulator::same_bits<double>(x); }
inline long long __double_as_longlong(double x) { return gpunet_emulator::same_bits<long long>(x); }

inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned x, unsigned y) { return (unsigned)((unsigned long long)x * y >> 32); }

template <class T> inline T __ldg(const T* address) { return *address; }
template <class T> inline T __ldcs(const T* address) { return *address; }
template <class T> inline void __stcs(T* address, T value) { *address = value; }

// ---------------------------------------------------------------- half precision

// IEEE 754 binary16 as its 16 bits. Every half is exactly a float.
inline float gpunet_half_to_float(unsigned short half) {
    const unsigned sign = (unsigned)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
    if (exponent == 0) return __uint_as_float(sign | __float_as_uint((float)fraction * 0x1p-24f));  // 0 and subnormal
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000u | fraction << 13);                // infinity and NaN
    return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
}

// Rounds to the nearest half, of two equally near ones to the even one, as `cvt.rn.f16.f32` does.
inline unsigned short gpunet_float_to_half(float x) {
    const unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return 0x7fff;                             // NaN
    if (magnitude >= 0x477ff000u) return (unsigned short)(sign | 0x7c00u);  // 65520 and more round to infinity
    if (magnitude < 0x38800000u) {  // below 2^-14: beside 0.5, a float's last place is a subnormal half's, 2^-24
        return (unsigned short)(sign | (__float_as_uint(__uint_as_float(magnitude) + 0.5f) - 0x3f000000u));
    }
    const unsigned round_up = 0xfffu + (magnitude >> 13 & 1);  // carries into the kept bits from half a place onwards
    return (unsigned short)(sign | (magnitude + round_up - 0x38000000u) >> 13);
}

// ---------------------------------------------------------------- what the launcher asks

// Nothing here is part of a kernel, so its memory accesses are not followed.
#define GPUNET_NOT_FOLLOWED __attribute__((no_sanitize_thread))

namespace gpunet_emulator {

template <class T> struct Bare { typedef T type; };
template <class T> struct Bare<const T> { typedef T type; };
template <class T> struct Bare<volatile T> { typedef T type; };

// One letter a type, as in Python's struct and NumPy: "f" float, "i" int, "q" long long, ...; "e" two bytes of a class
// (half precision), "V" any other class.
template <class T> constexpr char type_code(T*) { return sizeof(T) == 2 ? 'e' : 'V'; }
constexpr char type_code(bool*) { return '?'; }
constexpr char type_code(char*) { return 'b'; }
constexpr char type_code(signed char*) { return 'b'; }
constexpr char type_code(unsigned char*) { return 'B'; }
constexpr char type_code(short*) { return 'h'; }
constexpr char type_code(unsigned short*) { return 'H'; }
constexpr char type_code(int*) { return 'i'; }
constexpr char type_code(unsigned int*) { return 'I'; }
constexpr char type_code(long*) { return sizeof(long) == 8 ? 'q' : 'i'; }
constexpr char type_code(unsigned long*) { return sizeof(long) == 8 ? 'Q' : 'I'; }
constexpr char type_code(long long*) { return 'q'; }
constexpr char type_code(unsigned long long*) { return 'Q'; }
constexpr char type_code(float*) { return 'f'; }
constexpr char type_code(double*) { return 'd'; }

template <class T> struct Parameter {  // by value: "i", or of a struct its bytes, too: "V2056"
    GPUNET_NOT_FOLLOWED static char* describe(char* out) {
        const char code = type_code((typename Bare<T>::type*)nullptr);
        *out++ = code;
        Size unit = 1;
        while (sizeof(T) / unit >= 10) unit *= 10;
        for (; code == 'V' && unit; unit /= 10) *out++ = (char)('0' + sizeof(T) / unit % 10);
        return out;
    }
};
template <class T> struct Parameter<T*> {  // "f*", or "const f*"
    GPUNET_NOT_FOLLOWED static char* describe(char* out) {
        *out++ = type_code((T*)nullptr);
        *out++ = '*';
        return out;
    }
};
template <class T> struct Parameter<const T*> {
    GPUNET_NOT_FOLLOWED static char* describe(char* out) {
        for (const char* word = "const "; *word; ++word) *out++ = *word;
        return Parameter<T*>::describe(out);
    }
};
template <class T> struct Parameter<T* const> : Parameter<T*> {};

// The parameters of a kernel, a comma after each.
template <class... T> GPUNET_NOT_FOLLOWED void describe(void (*)(T...), char* out) {
    ((out = Parameter<T>::describe(out), *out++ = ','), ...);
    *out = 0;
}

template <Size... index> struct Indices {};
template <Size count, Size... rest> struct UpTo : UpTo<count - 1, count - 1, rest...> {};  // Indices<0, ..., count - 1>
template <Size... index> struct UpTo<0, index...> {
    typedef Indices<index...> type;
};

// Run a kernel for one thread; `arguments` points at the values, as for cuLaunchKernel.
template <class... T, Size... index>
GPUNET_NOT_FOLLOWED void call(void (*kernel)(T...), void** arguments, Indices<index...>) {
    kernel(*(T*)arguments[index]...);
}
template <class... T> GPUNET_NOT_FOLLOWED void call(void (*kernel)(T...), void** arguments) {
    call(kernel, arguments, typename UpTo<sizeof...(T)>::type());
}

}  // namespace gpunet_emulator
