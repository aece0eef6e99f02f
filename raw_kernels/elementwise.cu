// Element by element, where CuPy would need several launches.

// What reaches the input of a ReLU that gave y: grad where not y <= 0, so also where y is NaN.
//
// The version that a student would write: a thread for each number.
//
//     template <typename T>
//     __global__ void relu_gradient(const T* grad, const T* y, T* dx, i64 count) {
//         const i64 item = thread_number();
//         if (item < count) dx[item] = widen(y[item]) <= 0 ? T() : grad[item];
//     }
//
// Here a thread takes V numbers, `count` is how many such packs there are, and the arrays may lie in any order of axes,
// as long as it is the same. A gradient is handed on with all its bits.
// Bytes: reads grad and y, writes dx, each once, which is the minimum. As y <= 0, a mask and a product it took three
// launches, and twice the bytes.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
relu_gradient(const T* __restrict__ grad, const T* __restrict__ y, T* __restrict__ dx, i64 count) {
    const i64 item = thread_number();
    if (item >= count) return;
    Arithmetic<T> output[V];
    load<V>(y + item * V, output);
    Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(grad + item * V);
#pragma unroll
    for (int v = 0; v < V; ++v) {
        if (output[v] <= 0) pack.of[v] = T();
    }
    *reinterpret_cast<Pack<T, V>*>(dx + item * V) = pack;
}
