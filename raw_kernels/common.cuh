// What every kernel of this folder may use. It is put in front of a kernel file as text, not included: NVRTC, which
// compiles the kernels on the user's machine, has no header files, and CuPy's cache of compiled kernels looks at the
// source text alone.
//
// Arrays are NHWC-contiguous: the channels of a pixel lie side by side, so that neighbouring threads, which work on
// neighbouring channels, read neighbouring addresses ("coalesced"). Offsets are 64 bits wide.

typedef long long i64;

#define NEGATIVE_INFINITY __int_as_float(0xff800000)  // <math.h> and INFINITY do not exist here

// The index of this thread among all threads of the launch.
__device__ __forceinline__ i64 thread_index() {
    return (i64)blockIdx.x * blockDim.x + threadIdx.x;
}
