// Max and average pooling over NHWC images.
//
//     window position (k, l) covers the rows k*sh - top + i*dh, i < kh, and the columns l*sw - left + j*dw, j < kw
//
// One thread makes one pack: V channels of one pixel of its result. Threads of a warp differ in the channel first, then
// in the column, so every read and every write of a warp is one run of neighbouring addresses, or a few.
//
// A value that several windows cover is read from memory once and found in the cache afterwards: they are the windows of
// neighbouring threads.
//
// Backward passes gather: a thread owns one input pixel and walks over the windows that cover it. Nothing is added to
// memory that another thread also adds to, so there are no atomics, and the order of each sum is fixed. (Their inner
// loops are not unrolled: they mostly run once or twice, and the copies would cost registers.)

// What of one axis of a window lies inside the image: elements first .. last-1 of its `kernel` elements.
struct Inside {
    int start, first, last;  // start: the place of element 0, which may be negative
};

__device__ __forceinline__ Inside inside(int position, int stride, int before, int kernel, int dilation, int size) {
    Inside axis;
    axis.start = position * stride - before;
    axis.first = axis.start < 0 ? divide_up(-axis.start, dilation) : 0;
    axis.last = axis.start < size ? min(kernel, divide_up(size - axis.start, dilation)) : 0;
    return axis;
}

// ------------------------------------------------------------------------------------------------------------- maximum

// y[n, k, l, c] = max over i, j of x[n, k*sh - top + i*dh, l*sw - left + j*dw, c]
//
// The winner's place in its window, i*kw + j, is kept for the backward pass (in a byte where kh*kw <= 256). The first
// of equal values wins, NaN always does (the last one), and padding never: it is not looked at.
//
// The version that a student would write: a thread for each number of y, which asks of every element whether it lies
// inside the image.
//
//     template <typename T, typename W>
//     __global__ void max_pool2d_forward(const T* x, T* y, W* winner, i64 count,
//                                        int height, int width, int channels, int out_height, int out_width,
//                                        int kh, int kw, int sh, int sw, int top, int left, int dh, int dw,
//                                        int remember) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         const Place out = place_of<1>(item, out_height, out_width, channels);
//         Arithmetic<T> best = negative_infinity<Arithmetic<T>>();
//         int place = -1;
//         for (int i = 0; i < kh; ++i) {
//             for (int j = 0; j < kw; ++j) {
//                 const int row = out.row * sh - top + i * dh, column = out.column * sw - left + j * dw;
//                 if (row < 0 || row >= height || column < 0 || column >= width) continue;
//                 const Arithmetic<T> value =
//                     widen(x[offset_of(out.image, row, column, out.channel, height, width, channels)]);
//                 if (value > best || value != value || place < 0) {
//                     best = value;
//                     place = i * kw + j;
//                 }
//             }
//         }
//         narrow(best, y[item]);
//         if (remember) narrow(place, winner[item]);
//     }
//
// A thread reads kh*kw packs of x and writes a pack of y and of winners.
// Bytes: reads x once, writes y and the winners (1/4 of y, for float and bytes). That is the minimum.
// Asked: x once for each window over a value, up to kh*kw/(sh*sw) times where windows overlap.
// Sectors: with few channels (a first layer's 3) a warp's windows begin sw pixels apart, and what lies between is not
// asked for; the next elements of the same windows find it in the cache.
template <typename T, typename W, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
max_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, W* __restrict__ winner, i64 count,
                   int height, int width, int channels, int out_height, int out_width,
                   int kh, int kw, int sh, int sw, int top, int left, int dh, int dw, int remember) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const Place out = place_of<V>(item, out_height, out_width, channels);
    const Inside rows = inside(out.row, sh, top, kh, dh, height);
    const Inside columns = inside(out.column, sw, left, kw, dw, width);

    A best[V];
    int place[V];
#pragma unroll
    for (int v = 0; v < V; ++v) {
        best[v] = negative_infinity<A>();
        place[v] = rows.first * kw + columns.first;  // wins where everything is -inf
    }
    for (int i = rows.first; i < rows.last; ++i) {
        for (int j = columns.first; j < columns.last; ++j) {
            A value[V];
            load<V>(x + offset_of(out.image, rows.start + i * dh, columns.start + j * dw, out.channel,
                                  height, width, channels), value);
#pragma unroll
            for (int v = 0; v < V; ++v) {
                if (value[v] > best[v] || value[v] != value[v]) {  // value != value: NaN
                    best[v] = value[v];
                    place[v] = i * kw + j;
                }
            }
        }
    }
    store<V>(y + item * V, best);
    if (remember) store<V>(winner + item * V, place);
}

// dx[n, h, w, c] = sum of dy[n, k, l, c] over the windows (k, l) that (h, w) won
//
// A student would let each window add its dy to the pixel that won it. Where windows overlap that is a race, so a
// thread owns a pixel; without packs, and with a loop over all elements of the window:
//
//     template <typename T, typename W>
//     __global__ void max_pool2d_backward(const T* grad, const W* winner, T* dx, i64 count,
//                                         int height, int width, int channels, int out_height, int out_width,
//                                         int kh, int kw, int sh, int sw, int top, int left, int dh, int dw) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         const Place in = place_of<1>(item, height, width, channels);
//         Arithmetic<T> sum = 0;
//         for (int i = 0; i < kh; ++i) {
//             for (int j = 0; j < kw; ++j) {
//                 const int down = in.row + top - i * dh, across = in.column + left - j * dw;
//                 if (down < 0 || down % sh != 0 || down / sh >= out_height) continue;  // no window begins there
//                 if (across < 0 || across % sw != 0 || across / sw >= out_width) continue;
//                 const i64 at =
//                     offset_of(in.image, down / sh, across / sw, in.channel, out_height, out_width, channels);
//                 if (winner[at] == i * kw + j) sum += widen(grad[at]);
//             }
//         }
//         narrow(sum, dx[item]);
//     }
//
// A thread reads the packs of dy and of winners of each window that covers its pixel and writes one pack of dx.
// Windows are visited backwards, so that the elements i*kw + j that meet the pixel come in ascending order.
// Bytes: reads dy and the winners once, writes dx. That is the minimum.
// Asked: dy and the winners once for each pixel under a window, up to kh*kw times.
// Sectors: with few channels (a first layer's 3) a warp asks for short runs of dy, which begin anywhere in a sector.
template <typename T, typename W, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
max_pool2d_backward(const T* __restrict__ grad, const W* __restrict__ winner, T* __restrict__ dx, i64 count,
                    int height, int width, int channels, int out_height, int out_width,
                    int kh, int kw, int sh, int sw, int top, int left, int dh, int dw) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const Place in = place_of<V>(item, height, width, channels);
    const Covering rows = covering(in.row, sh, top, kh, dh, out_height);
    const Covering columns = covering(in.column, sw, left, kw, dw, out_width);

    Sum<A, V> sum;
    for (int k = rows.last; k >= rows.first; --k) {
        const int down = in.row + top - k * sh;
        if (down % dh != 0) continue;  // the pixel lies between two elements of a dilated window
#pragma unroll 1
        for (int l = columns.last; l >= columns.first; --l) {
            const int across = in.column + left - l * sw;
            if (across % dw != 0) continue;
            const int place = down / dh * kw + across / dw;
            const i64 offset = offset_of(in.image, k, l, in.channel, out_height, out_width, channels);
            A value[V];
            int won[V];
            load<V>(grad + offset, value);
            load<V>(winner + offset, won);
#pragma unroll
            for (int v = 0; v < V; ++v) value[v] = won[v] == place ? value[v] : (A)0;
            sum.add(value);
        }
    }
    A gradient[V];
    sum.total(gradient);
    store<V>(dx + item * V, gradient);
}

// ------------------------------------------------------------------------------------------------------------- average

// What the sum of the window at a position is divided by: the window's size within the padded image, or within the
// image where padding does not count. What ceil_mode adds beyond the padding never counts.
__device__ __forceinline__ int elements(int position, int stride, int kernel, int size, int before, int after,
                                        int count_include_pad) {
    const int start = position * stride - before;
    const int low = count_include_pad ? -before : 0;
    const int high = count_include_pad ? size + after : size;
    return min(start + kernel, high) - max(start, low);
}

// y[n, k, l, c] = (sum over i, j of x[n, k*sh - top + i, l*sw - left + j, c]) / divisor
//
// The version that a student would write: a thread for each number of y.
//
//     template <typename T>
//     __global__ void avg_pool2d_forward(const T* x, T* y, i64 count,
//                                        int height, int width, int channels, int out_height, int out_width,
//                                        int kh, int kw, int sh, int sw, int top, int bottom, int left, int right,
//                                        int count_include_pad, int divisor_override) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         const Place out = place_of<1>(item, out_height, out_width, channels);
//         double sum = 0;
//         for (int i = 0; i < kh; ++i) {
//             for (int j = 0; j < kw; ++j) {
//                 const int row = out.row * sh - top + i, column = out.column * sw - left + j;
//                 if (row < 0 || row >= height || column < 0 || column >= width) continue;
//                 sum += widen(x[offset_of(out.image, row, column, out.channel, height, width, channels)]);
//             }
//         }
//         const int in_window = elements(out.row, sh, kh, height, top, bottom, count_include_pad) *
//                               elements(out.column, sw, kw, width, left, right, count_include_pad);
//         narrow((Arithmetic<T>)(sum / (divisor_override > 0 ? divisor_override : in_window)), y[item]);
//     }
//
// A thread reads kh*kw packs of x and writes a pack of y.
// Bytes: reads x once, writes y. That is the minimum.
// Asked, and Sectors: as in max_pool2d_forward.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
avg_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, i64 count,
                   int height, int width, int channels, int out_height, int out_width, int kh, int kw, int sh, int sw,
                   int top, int bottom, int left, int right, int count_include_pad, int divisor_override) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const Place out = place_of<V>(item, out_height, out_width, channels);
    const Inside rows = inside(out.row, sh, top, kh, 1, height);
    const Inside columns = inside(out.column, sw, left, kw, 1, width);

    Sum<A, V> sum;
    for (int i = rows.first; i < rows.last; ++i) {
        for (int j = columns.first; j < columns.last; ++j) {
            A value[V];
            load<V>(x + offset_of(out.image, rows.start + i, columns.start + j, out.channel, height, width, channels),
                    value);
            sum.add(value);
        }
    }
    const A scale = (A)1 / (divisor_override > 0
                                ? (A)divisor_override
                                : (A)elements(out.row, sh, kh, height, top, bottom, count_include_pad) *
                                      (A)elements(out.column, sw, kw, width, left, right, count_include_pad));
    A mean[V];
    sum.total(mean);
#pragma unroll
    for (int v = 0; v < V; ++v) mean[v] *= scale;
    store<V>(y + item * V, mean);
}

// dx[n, h, w, c] = sum of dy[n, k, l, c] / divisor over the windows (k, l) that cover (h, w)
//
// The version that a student would write, once no window adds to a pixel that others add to (see max_pool2d_backward):
//
//     template <typename T>
//     __global__ void avg_pool2d_backward(const T* grad, T* dx, i64 count,
//                                         int height, int width, int channels, int out_height, int out_width,
//                                         int kh, int kw, int sh, int sw, int top, int bottom, int left, int right,
//                                         int count_include_pad, int divisor_override) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         const Place in = place_of<1>(item, height, width, channels);
//         double sum = 0;
//         for (int i = 0; i < kh; ++i) {
//             for (int j = 0; j < kw; ++j) {
//                 const int down = in.row + top - i, across = in.column + left - j;
//                 if (down < 0 || down % sh != 0 || down / sh >= out_height) continue;
//                 if (across < 0 || across % sw != 0 || across / sw >= out_width) continue;
//                 const int k = down / sh, l = across / sw;
//                 const int in_window = elements(k, sh, kh, height, top, bottom, count_include_pad) *
//                                       elements(l, sw, kw, width, left, right, count_include_pad);
//                 const i64 at = offset_of(in.image, k, l, in.channel, out_height, out_width, channels);
//                 sum += (double)widen(grad[at]) / (divisor_override > 0 ? divisor_override : in_window);
//             }
//         }
//         narrow((Arithmetic<T>)sum, dx[item]);
//     }
//
// A thread reads the pack of dy of each window that covers its pixel and writes one pack of dx.
// Bytes: reads dy once, writes dx. That is the minimum.
// Asked, and Sectors: as in max_pool2d_backward.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
avg_pool2d_backward(const T* __restrict__ grad, T* __restrict__ dx, i64 count,
                    int height, int width, int channels, int out_height, int out_width, int kh, int kw, int sh, int sw,
                    int top, int bottom, int left, int right, int count_include_pad, int divisor_override) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const Place in = place_of<V>(item, height, width, channels);
    const Covering rows = covering(in.row, sh, top, kh, 1, out_height);
    const Covering columns = covering(in.column, sw, left, kw, 1, out_width);

    Sum<A, V> sum;
    for (int k = rows.last; k >= rows.first; --k) {
        const A in_rows = (A)elements(k, sh, kh, height, top, bottom, count_include_pad);
#pragma unroll 1
        for (int l = columns.last; l >= columns.first; --l) {
            const A in_columns = (A)elements(l, sw, kw, width, left, right, count_include_pad);
            const A scale = (A)1 / (divisor_override > 0 ? (A)divisor_override : in_rows * in_columns);
            A value[V];
            load<V>(grad + offset_of(in.image, k, l, in.channel, out_height, out_width, channels), value);
#pragma unroll
            for (int v = 0; v < V; ++v) value[v] *= scale;
            sum.add(value);
        }
    }
    A gradient[V];
    sum.total(gradient);
    store<V>(dx + item * V, gradient);
}
