// Element by element, where CuPy would need several launches.

// What reaches the input of a ReLU that gave y, of V numbers: the gradient where not y <= 0, so also where y is NaN.
template <typename T, int V> __device__ __forceinline__ Pack<T, V> behind_relu(const T* grad, const T* y) {
    Arithmetic<T> output[V];
    load<V>(y, output);
    Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(grad);  // handed on with all its bits
#pragma unroll
    for (int v = 0; v < V; ++v) {
        if (output[v] <= 0) pack.of[v] = T();
    }
    return pack;
}

// The gradient of ReLU, dx.
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
// as long as it is the same.
// Bytes: reads grad and y, writes dx, each once, which is the minimum. As y <= 0, a mask and a product it took three
// launches, and twice the bytes.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
relu_gradient(const T* __restrict__ grad, const T* __restrict__ y, T* __restrict__ dx, i64 count) {
    const i64 item = thread_number();
    if (item >= count) return;
    *reinterpret_cast<Pack<T, V>*>(dx + item * V) = behind_relu<T, V>(grad + item * V, y + item * V);
}

// The same, added to another gradient, `total`: where a shortcut begins, two gradients meet, and one comes from behind
// a ReLU.
//
// The version that a student would write: a thread for each number.
//
//     template <typename T>
//     __global__ void add_relu_gradient(const T* grad, const T* y, T* total, i64 count) {
//         const i64 item = thread_number();
//         if (item < count && !(widen(y[item]) <= 0)) narrow(widen(grad[item]) + widen(total[item]), total[item]);
//     }
//
// Bytes: reads grad, y and total, writes total, each once, which is the minimum.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
add_relu_gradient(const T* __restrict__ grad, const T* __restrict__ y, T* __restrict__ total, i64 count) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const Pack<T, V> pack = behind_relu<T, V>(grad + item * V, y + item * V);
    A sum[V];
    load<V>(total + item * V, sum);
#pragma unroll
    for (int v = 0; v < V; ++v) sum[v] += widen(pack.of[v]);
    store<V>(total + item * V, sum);
}
