// Pooling over NHWC images.

// Max pooling, forward.
//
//     y[n, k, l, c] = max over i, j of x[n, k*sh - top + i*dh, l*sw - left + j*dw, c]
//
// One thread computes one output value. Threads of a warp differ in c first, so each of their kh*kw reads is one run of
// neighbouring addresses, and so is the write. The winner's place in the window, i*kw + j, is kept for the backward pass:
// the first of equal values wins, NaN always does, and a position outside the image never does.
//
// Memory: reads each input value that some window covers, at least once (windows that overlap meet it again, in cache);
// writes N*Ho*Wo*C values and as many int32 places.
template <typename T>
__global__ void max_pool2d_forward(const T* __restrict__ x, T* __restrict__ y, int* __restrict__ winner, i64 count,
                                   int height, int width, int channels, int out_height, int out_width,
                                   int kh, int kw, int sh, int sw, int top, int left, int dh, int dw) {
    const i64 index = thread_index();
    if (index >= count) return;  // the last block may reach beyond the output

    const int c = (int)(index % channels);
    const int l = (int)(index / channels % out_width);
    const int k = (int)(index / channels / out_width % out_height);
    const i64 n = index / channels / out_width / out_height;

    T best = (T)NEGATIVE_INFINITY;
    int place = -1;
    for (int i = 0; i < kh; ++i) {
        const int row = k * sh - top + i * dh;
        if (row < 0 || row >= height) continue;
        for (int j = 0; j < kw; ++j) {
            const int column = l * sw - left + j * dw;
            if (column < 0 || column >= width) continue;
            const T value = x[((n * height + row) * width + column) * channels + c];
            if (place < 0 || value > best || value != value) {  // value != value: NaN
                best = value;
                place = i * kw + j;
            }
        }
    }
    y[index] = best;
    winner[index] = place;
}
