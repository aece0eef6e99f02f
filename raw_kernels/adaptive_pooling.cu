// Adaptive pooling over NHWC images: the size of the output is given, and the cells follow from it.
//
//     of `cells` cells over `size` places, cell i covers the places floor(i*size/cells) .. ceil((i+1)*size/cells) - 1
//
// Cells may overlap. The rule is its own reverse: the cells that cover place p are floor(p*cells/size) ..
// ceil((p+1)*cells/size) - 1, the same formula with the two numbers exchanged. (Cell i covers p when i*size/cells < p+1
// and (i+1)*size/cells > p; solve both for i.) That makes the backward passes gathers, like the forward passes.
//
// One thread makes one pack: V channels of one pixel of its result. Threads of a warp differ in the channel first, so
// every read and every write of a warp is one run of neighbouring addresses, or a few.

struct Span {
    int first, end;
};

__device__ __forceinline__ Span span(int index, int size, int cells) {
    Span s;
    s.first = (int)((i64)index * size / cells);
    s.end = (int)((((i64)index + 1) * size + cells - 1) / cells);
    return s;
}

// y[n, i, j, c] = mean of x over cell (i, j)
//
// The version that a student would write: a thread for each number of y.
//
//     template <typename T>
//     __global__ void adaptive_avg_pool2d_forward(const T* x, T* y, i64 count,
//                                                 int height, int width, int channels, int out_height, int out_width) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         const Place out = place_of<1>(item, out_height, out_width, channels);
//         const Span rows = span(out.row, height, out_height), columns = span(out.column, width, out_width);
//         double sum = 0;
//         for (int row = rows.first; row < rows.end; ++row) {
//             for (int column = columns.first; column < columns.end; ++column) {
//                 sum += widen(x[offset_of(out.image, row, column, out.channel, height, width, channels)]);
//             }
//         }
//         const int area = (rows.end - rows.first) * (columns.end - columns.first);
//         narrow((Arithmetic<T>)(sum / area), y[item]);
//     }
//
// A thread reads the packs of its cell.
// Bytes: reads x once, writes y. That is the minimum.
// Asked: what overlapping cells share once for each of them, up to 4 times where there are more pixels than cells.
// Sectors: with few channels (a first layer's 3) a warp reads from many cells, a few bytes of each; the next elements of
// the cells find the rest of the sectors in the cache.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
adaptive_avg_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, i64 count,
                            int height, int width, int channels, int out_height, int out_width) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const Place out = place_of<V>(item, out_height, out_width, channels);
    const Span rows = span(out.row, height, out_height);
    const Span columns = span(out.column, width, out_width);

    Sum<A, V> sum;
    for (int row = rows.first; row < rows.end; ++row) {
        for (int column = columns.first; column < columns.end; ++column) {
            A value[V];
            load<V>(x + offset_of(out.image, row, column, out.channel, height, width, channels), value);
            sum.add(value);
        }
    }
    A mean[V];
    sum.total(mean);
    const A area = (A)(rows.end - rows.first) * (A)(columns.end - columns.first);
#pragma unroll
    for (int v = 0; v < V; ++v) mean[v] /= area;
    store<V>(y + item * V, mean);
}

// dx[n, h, w, c] = sum of dy[n, i, j, c] / area over the cells (i, j) that cover (h, w)
//
// The version that a student would write: a thread for each number of dx asks every cell whether it covers the pixel.
//
//     template <typename T>
//     __global__ void adaptive_avg_pool2d_backward(const T* grad, T* dx, i64 count, int height, int width,
//                                                  int channels, int out_height, int out_width) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         const Place in = place_of<1>(item, height, width, channels);
//         double sum = 0;
//         for (int i = 0; i < out_height; ++i) {
//             for (int j = 0; j < out_width; ++j) {
//                 const Span rows = span(i, height, out_height), columns = span(j, width, out_width);
//                 if (in.row < rows.first || in.row >= rows.end) continue;
//                 if (in.column < columns.first || in.column >= columns.end) continue;
//                 const int area = (rows.end - rows.first) * (columns.end - columns.first);
//                 const i64 at = offset_of(in.image, i, j, in.channel, out_height, out_width, channels);
//                 sum += (double)widen(grad[at]) / area;
//             }
//         }
//         narrow((Arithmetic<T>)sum, dx[item]);
//     }
//
// A thread reads the pack of dy of each cell that covers its pixel and writes one pack of dx.
// Bytes: reads dy once, writes dx. That is the minimum.
// Asked: dy once for each pixel of a cell; neighbouring threads ask for the same, so the cache has it.
// Sectors: with few channels (a first layer's 3) a warp asks for short runs of dy, which begin anywhere in a sector.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
adaptive_avg_pool2d_backward(const T* __restrict__ grad, T* __restrict__ dx, i64 count,
                             int height, int width, int channels, int out_height, int out_width) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const Place in = place_of<V>(item, height, width, channels);
    const Span above = span(in.row, out_height, height);  // the cells that cover the row
    const Span beside = span(in.column, out_width, width);

    Sum<A, V> sum;
    for (int i = above.first; i < above.end; ++i) {
        const Span rows = span(i, height, out_height);
#pragma unroll 1
        for (int j = beside.first; j < beside.end; ++j) {
            const Span columns = span(j, width, out_width);
            const A area = (A)(rows.end - rows.first) * (A)(columns.end - columns.first);
            A value[V];
            load<V>(grad + offset_of(in.image, i, j, in.channel, out_height, out_width, channels), value);
#pragma unroll
            for (int v = 0; v < V; ++v) value[v] /= area;
            sum.add(value);
        }
    }
    A gradient[V];
    sum.total(gradient);
    store<V>(dx + item * V, gradient);
}

// y[n, i, j, c] = max of x over cell (i, j)
//
// The winner's place in its cell, counted row by row, is kept for the backward pass. The first of equal values wins,
// and the first NaN wins over everything.
//
// The version that a student would write: a thread for each number of y.
//
//     template <typename T>
//     __global__ void adaptive_max_pool2d_forward(const T* x, T* y, int* winner, i64 count,
//                                                 int height, int width, int channels, int out_height, int out_width,
//                                                 int remember) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         const Place out = place_of<1>(item, out_height, out_width, channels);
//         const Span rows = span(out.row, height, out_height), columns = span(out.column, width, out_width);
//         Arithmetic<T> best = negative_infinity<Arithmetic<T>>();
//         int place = 0, here = 0;
//         for (int row = rows.first; row < rows.end; ++row) {
//             for (int column = columns.first; column < columns.end; ++column, ++here) {
//                 const Arithmetic<T> value =
//                     widen(x[offset_of(out.image, row, column, out.channel, height, width, channels)]);
//                 if (value > best || (value != value && best == best)) {
//                     best = value;
//                     place = here;
//                 }
//             }
//         }
//         narrow(best, y[item]);
//         if (remember) winner[item] = place;
//     }
//
// A thread reads the packs of its cell and writes a pack of y and of winners.
// Bytes: reads x once, writes y and the winners (as many bytes as y, for float). That is the minimum.
// Asked, and Sectors: as in adaptive_avg_pool2d_forward.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
adaptive_max_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, int* __restrict__ winner, i64 count,
                            int height, int width, int channels, int out_height, int out_width, int remember) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const Place out = place_of<V>(item, out_height, out_width, channels);
    const Span rows = span(out.row, height, out_height);
    const Span columns = span(out.column, width, out_width);

    A best[V];
    int place[V] = {};
#pragma unroll
    for (int v = 0; v < V; ++v) best[v] = negative_infinity<A>();
    int here = 0;
    for (int row = rows.first; row < rows.end; ++row) {
        for (int column = columns.first; column < columns.end; ++column, ++here) {
            A value[V];
            load<V>(x + offset_of(out.image, row, column, out.channel, height, width, channels), value);
#pragma unroll
            for (int v = 0; v < V; ++v) {
                if (value[v] > best[v] || (value[v] != value[v] && best[v] == best[v])) {  // value != value: NaN
                    best[v] = value[v];
                    place[v] = here;
                }
            }
        }
    }
    store<V>(y + item * V, best);
    if (remember) store<V>(winner + item * V, place);
}

// dx[n, h, w, c] = sum of dy[n, i, j, c] over the cells (i, j) that (h, w) won
//
// The version that a student would write: a thread for each number of dx asks every cell.
//
//     template <typename T>
//     __global__ void adaptive_max_pool2d_backward(const T* grad, const int* winner, T* dx, i64 count, int height,
//                                                  int width, int channels, int out_height, int out_width) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         const Place in = place_of<1>(item, height, width, channels);
//         double sum = 0;
//         for (int i = 0; i < out_height; ++i) {
//             for (int j = 0; j < out_width; ++j) {
//                 const Span rows = span(i, height, out_height), columns = span(j, width, out_width);
//                 if (in.row < rows.first || in.row >= rows.end) continue;
//                 if (in.column < columns.first || in.column >= columns.end) continue;
//                 const int place = (in.row - rows.first) * (columns.end - columns.first) + in.column - columns.first;
//                 const i64 at = offset_of(in.image, i, j, in.channel, out_height, out_width, channels);
//                 if (winner[at] == place) sum += widen(grad[at]);
//             }
//         }
//         narrow((Arithmetic<T>)sum, dx[item]);
//     }
//
// A thread reads the packs of dy and of winners of each cell that covers its pixel and writes one pack of dx.
// Bytes: reads dy and the winners once, writes dx. That is the minimum.
// Asked, and Sectors: as in adaptive_avg_pool2d_backward, of dy and the winners.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
adaptive_max_pool2d_backward(const T* __restrict__ grad, const int* __restrict__ winner, T* __restrict__ dx, i64 count,
                             int height, int width, int channels, int out_height, int out_width) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const Place in = place_of<V>(item, height, width, channels);
    const Span above = span(in.row, out_height, height);  // the cells that cover the row
    const Span beside = span(in.column, out_width, width);

    Sum<A, V> sum;
    for (int i = above.first; i < above.end; ++i) {
        const Span rows = span(i, height, out_height);
#pragma unroll 1
        for (int j = beside.first; j < beside.end; ++j) {
            const Span columns = span(j, width, out_width);
            const int place = (in.row - rows.first) * (columns.end - columns.first) + in.column - columns.first;
            const i64 offset = offset_of(in.image, i, j, in.channel, out_height, out_width, channels);
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
