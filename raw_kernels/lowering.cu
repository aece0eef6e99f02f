// Lowering for convolution: the padded rows of NHWC images, each as its windows (gpunet/ops/lowering.py says why).
//
//     rows[g, p, q, n, l, j, c] = x[n, q*sh + p - top, l*sw - left + j*dw, g*C/G + c]        0 outside the image
//
// p is the phase of the padded row q*sh + p, and g the group of channels.
//
// One thread makes one pack of rows: it reads V channels of one pixel, or nothing where that lies in the padding.
// Threads of a warp differ in c first, then in j and l, so that they read runs of x and write one run of rows.
// Bytes: reads x once (windows overlap, but a value that was read is found in the cache), writes rows once. That is the
// minimum; with `xp` the padded images are written and read as well.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
lower_rows(const T* __restrict__ x, T* __restrict__ rows, i64 count,
           int images, int height, int width, int channels, int groups, int per_phase, int out_width,
           int kw, int sh, int sw, int top, int left, int dw) {
    typedef Arithmetic<T> A;
    const i64 item = thread_number();
    if (item >= count) return;
    const int group_channels = channels / groups;
    const int packs = group_channels / V;

    i64 rest = item;
    const int c = (int)(rest % packs) * V;
    rest /= packs;
    const int j = (int)(rest % kw);
    rest /= kw;
    const int l = (int)(rest % out_width);
    rest /= out_width;
    const int n = (int)(rest % images);
    rest /= images;
    const int q = (int)(rest % per_phase);
    rest /= per_phase;
    const int p = (int)(rest % sh);
    const int g = (int)(rest / sh);

    const int row = q * sh + p - top;
    const int column = l * sw - left + j * dw;
    A values[V];
    if (row >= 0 && row < height && column >= 0 && column < width) {
        load<V>(x + offset_of(n, row, column, g * group_channels + c, height, width, channels), values);
    } else {
#pragma unroll
        for (int v = 0; v < V; ++v) values[v] = 0;
    }
    store<V>(rows + item * V, values);
}
