// im2col and col2im: the windows of NHWC images as the rows of a matrix, and rows laid back into images. Between them
// a convolution is one matrix product (gpunet/ops/conv.py).
//
//     rows[g, n, k, l, i, j, c] = x[n, k*sh - top + i*dh, l*sw - left + j*dw, g*C/G + c]        0 outside the image
//
// (k, l) is the position of the window, (i, j) the element within it, and g the group of channels.
//
// Both are gathers: a thread makes one pack of its result, V channels, and reads what belongs there. Threads of a warp
// differ in the channel first. An index is taken apart in 32 bits where the number of packs allows it, and where it
// does not in 64, which takes several times as long.

// The last of the axes that a number counts through: its index there, which is taken off the number.
template <typename I> __device__ __forceinline__ int last_axis(I& number, int size) {
    const I quotient = number / (I)size;
    const int index = (int)(number - quotient * (I)size);
    number = quotient;
    return index;
}

// ------------------------------------------------------------------------------------------------------------- im2col

struct Element {
    int g, n, k, l, i, j, c;  // c: the first of the V channels, within the group
};

template <int V, typename I> __device__ __forceinline__ Element element_of(
        I item, int images, int out_height, int out_width, int kh, int kw, int group_channels) {
    Element at;
    at.c = last_axis(item, group_channels / V) * V;
    at.j = last_axis(item, kw);
    at.i = last_axis(item, kh);
    at.l = last_axis(item, out_width);
    at.k = last_axis(item, out_height);
    at.n = last_axis(item, images);
    at.g = (int)item;
    return at;
}

// rows of x. The version that a student would write: a thread for each number of the rows.
//
//     template <typename T>
//     __global__ void im2col(const T* x, T* rows, i64 count,
//                            int images, int height, int width, int channels, int groups,
//                            int out_height, int out_width, int kh, int kw, int sh, int sw,
//                            int top, int left, int dh, int dw) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         i64 rest = item;
//         const int c = rest % (channels / groups);  rest /= channels / groups;
//         const int j = rest % kw;                   rest /= kw;
//         const int i = rest % kh;                   rest /= kh;
//         const int l = rest % out_width;            rest /= out_width;
//         const int k = rest % out_height;           rest /= out_height;
//         const int n = rest % images;
//         const int g = rest / images;
//         const int row = k * sh - top + i * dh, column = l * sw - left + j * dw;
//         const bool inside = row >= 0 && row < height && column >= 0 && column < width;
//         const int channel = g * (channels / groups) + c;
//         rows[item] = inside ? x[offset_of(n, row, column, channel, height, width, channels)] : T();
//     }
//
// Here a thread takes V channels at once, so that seven divisions are made for 16 bytes and not for each number.
//
// A warp writes one run of rows. It reads a run of x for each row of the kernel: neighbouring elements of the window
// lie side by side there, too, unless it is dilated.
// Bytes: reads x once, writes rows once. That is the minimum. With `xp` the padded images are written and read as well,
// and each element of the window takes a launch.
// Asked: x once for each window over a value, kh*kw/(sh*sw) times where windows overlap, as often as rows hold it.
// Sectors: with few channels (a first layer's 3) a run of x is short, kw pixels, and begins anywhere in a sector.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
im2col(const T* __restrict__ x, T* __restrict__ rows, i64 count,
       int images, int height, int width, int channels, int groups, int out_height, int out_width,
       int kh, int kw, int sh, int sw, int top, int left, int dh, int dw) {
    const i64 item = thread_number();
    if (item >= count) return;
    const int group_channels = channels / groups;
    const Element at = fits_32_bits(count)
                           ? element_of<V>((unsigned)item, images, out_height, out_width, kh, kw, group_channels)
                           : element_of<V>(item, images, out_height, out_width, kh, kw, group_channels);
    const int row = at.k * sh - top + at.i * dh;
    const int column = at.l * sw - left + at.j * dw;

    Pack<T, V> pack = {};
    if (row >= 0 && row < height && column >= 0 && column < width) {
        const i64 offset = offset_of(at.n, row, column, at.g * group_channels + at.c, height, width, channels);
        pack = *reinterpret_cast<const Pack<T, V>*>(x + offset);
    }
    *reinterpret_cast<Pack<T, V>*>(rows + item * V) = pack;
}

// ------------------------------------------------------------------------------------------------------------- col2im

// dx[n, h, w, g*C/G + c] = sum of rows[g, n, k, l, i, j, c] over the windows (k, l) that cover (h, w), with the element
// (i, j) that meets it
//
// The version that a student would write goes the other way: a thread for each number of the rows, which adds it to the
// pixel that it came from. Several threads then add to one pixel at the same time. `dx[...] += rows[item]` would lose
// some of it, and with atomicAdd the order, and with it the last bits, would be another in every run. So a thread owns
// a pixel, and looks for what belongs to it. With a loop over all elements of the window that is:
//
//     template <typename T>
//     __global__ void col2im(const T* rows, T* dx, i64 count,
//                            int images, int height, int width, int channels, int groups,
//                            int out_height, int out_width, int kh, int kw, int sh, int sw,
//                            int top, int left, int dh, int dw) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         const Place in = place_of<1>(item, height, width, channels);
//         const int group_channels = channels / groups;
//         const int g = in.channel / group_channels, c = in.channel % group_channels;
//         Arithmetic<T> sum = 0;
//         for (int i = 0; i < kh; ++i) {
//             for (int j = 0; j < kw; ++j) {
//                 const int down = in.row + top - i * dh, across = in.column + left - j * dw;
//                 if (down < 0 || down % sh != 0 || down / sh >= out_height) continue;  // no window begins there
//                 if (across < 0 || across % sw != 0 || across / sw >= out_width) continue;
//                 const i64 window = ((g * (i64)images + in.image) * out_height + down / sh) * out_width + across / sw;
//                 sum += widen(rows[((window * kh + i) * kw + j) * group_channels + c]);
//             }
//         }
//         narrow(sum, dx[item]);
//     }
//
// Here a thread takes V channels at once and visits only the positions whose windows may cover its pixel, backwards, so
// that the elements (i, j) come in ascending order.
// Bytes: reads rows once, without what met the padding, and writes dx once. That is the minimum.
// Sectors: neighbouring threads read one run of channels from each row, and neighbouring pixels lie in different rows:
// where a pixel's channels fill no sector (a first layer's 3), the rest of it is found in the cache at the next element.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
col2im(const T* __restrict__ rows, T* __restrict__ dx, i64 count,
       int images, int height, int width, int channels, int groups, int out_height, int out_width,
       int kh, int kw, int sh, int sw, int top, int left, int dh, int dw) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const Place in = place_of<V>(item, height, width, channels);
    const Covering above = covering(in.row, sh, top, kh, dh, out_height);
    const Covering beside = covering(in.column, sw, left, kw, dw, out_width);
    const int group_channels = channels / groups;
    const int g = in.channel / group_channels;
    const i64 image = (i64)g * images + in.image;  // of the rows
    const int c = in.channel - g * group_channels;

    Sum<A, V> sum;
    for (int k = above.last; k >= above.first; --k) {
        const int down = in.row + top - k * sh;
        if (down % dh != 0) continue;  // the pixel lies between two elements of a dilated window
        const int i = down / dh;
#pragma unroll 1
        for (int l = beside.last; l >= beside.first; --l) {
            const int across = in.column + left - l * sw;
            if (across % dw != 0) continue;
            const i64 window = (image * out_height + k) * out_width + l;
            A value[V];
            load<V>(rows + ((window * kh + i) * kw + across / dw) * group_channels + c, value);
            sum.add(value);
        }
    }
    A gradient[V];
    sum.total(gradient);
    store<V>(dx + item * V, gradient);
}
