// The steps of optimizers: every parameter of a group in one launch.
//
// A network has dozens of parameters, most of them small, and a launch takes longer than the arithmetic of a bias. So a
// launch takes many arrays along: a table of where they begin travels by value with its arguments, as in PyTorch's
// multi_tensor_apply, and nothing is uploaded. Each array is cut into chunks of CHUNK numbers, a block each; a block
// looks up whose chunk it has. The arrays of a row lie alike in memory, in any order of axes, without gaps.
//
// Learning rate, momentum and the like are read from the device: a launch that a CUDA graph replays takes the same
// arguments each time, and finds what the host has written there meanwhile. So is whether the step is made at all: in
// mixed precision it is not where a gradient has overflowed, and the host would have to wait to hear of that.

constexpr int CHUNK = 4 * BLOCK;   // numbers of one array that a block works on
constexpr int TABLE_BYTES = 3840;  // of the 4096 that the parameters of a kernel may have

// Up to MOST rows of K arrays of one size each: parameters with their gradients, for instance.
template <typename T, int K> struct Tensors {
    static constexpr int MOST = TABLE_BYTES / (K * 8 + 12);
    T* at[K][MOST];
    i64 size[MOST];
    int first_block[MOST];  // of the launch, that works on this row
    int count;              // of rows
};

// The chunk of this block: numbers begin .. end of a row.
struct Chunk {
    int row;
    i64 begin, end;
};

template <typename T, int K> __device__ __forceinline__ Chunk chunk_of_block(const Tensors<T, K>& tensors) {
    int row = 0, behind = tensors.count;
    while (behind - row > 1) {  // the last row that begins at this block or before
        const int middle = (row + behind) / 2;
        if (tensors.first_block[middle] <= (int)blockIdx.x) {
            row = middle;
        } else {
            behind = middle;
        }
    }
    Chunk chunk;
    chunk.row = row;
    chunk.begin = (i64)((int)blockIdx.x - tensors.first_block[row]) * CHUNK;
    chunk.end = min(tensors.size[row], chunk.begin + CHUNK);
    return chunk;
}

// A step of gradient descent; rows are weights, gradients and velocities.
//
// The version that a student would write: a launch for each parameter, a thread for each number.
//
//     template <typename T>
//     __global__ void sgd(T* w, const T* grad, T* velocity, i64 count, float rate, float momentum) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         velocity[item] = momentum * velocity[item] + grad[item];
//         w[item] -= rate * velocity[item];
//     }
//
// The numbers: the learning rate, the momentum, 1 - dampening, the weight decay. Without `moving` there are no
// velocities. Where `go` is 0 nothing happens.
// Bytes: reads weights, gradients and velocities, writes weights and velocities, each once, which is the minimum.
template <typename T>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
sgd(Tensors<T, 3> tensors, const double* __restrict__ numbers, const unsigned char* __restrict__ go, int moving,
    int nesterov) {
    typedef Arithmetic<T> A;
    if (!go[0]) return;
    const A rate = (A)numbers[0], momentum = (A)numbers[1], kept = (A)numbers[2], decay = (A)numbers[3];
    const Chunk chunk = chunk_of_block(tensors);
    T* const weights = tensors.at[0][chunk.row];
    const T* const grads = tensors.at[1][chunk.row];
    T* const velocities = tensors.at[2][chunk.row];
    for (i64 i = chunk.begin + threadIdx.x; i < chunk.end; i += BLOCK) {
        const A w = widen(weights[i]);
        A step = widen(grads[i]);
        if (decay != 0) step = decay * w + step;
        if (moving) {
            const A v = momentum * widen(velocities[i]) + kept * step;
            narrow(v, velocities[i]);
            step = nesterov ? momentum * v + step : v;
        }
        narrow(w - rate * step, weights[i]);
    }
}

// The numbers of `adam` that depend on how many steps were made. A step that is left out is none, and only the device
// knows whether it was: so they are counted here. One thread does it, once for all parameters.
//
// The numbers: those that the host writes, of which 0, 1 and 3 are the learning rate, beta1 and beta2; behind them t,
// the rate and the root.
// Bytes: reads and writes a few numbers.
__global__ void __launch_bounds__(BLOCK, RESIDENT) begin_adam(double* numbers, const unsigned char* __restrict__ go) {
    if (thread_number() != 0 || !go[0]) return;
    const double t = numbers[8] + 1;
    numbers[8] = t;
    numbers[9] = numbers[0] / (1 - pow(numbers[1], t));
    numbers[10] = sqrt(1 - pow(numbers[3], t));
}

// A step of Adam or AdamW; rows are weights, gradients, running means, running squares and, for AMSGrad, the largest
// squares so far.
//
// The version that a student would write: a launch for each parameter, a thread for each number.
//
//     template <typename T>
//     __global__ void adam(T* w, const T* grad, T* mean, T* square, i64 count, float rate, float beta1, float beta2,
//                          float root, float eps) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         const float g = grad[item];
//         mean[item] = beta1 * mean[item] + (1 - beta1) * g;
//         square[item] = beta2 * square[item] + (1 - beta2) * g * g;
//         w[item] -= rate * mean[item] / (sqrt(square[item]) / root + eps);
//     }
//
// `begin_adam` has made `rate` and `root` from the learning rate and the step: lr / (1 - beta1^t) and sqrt(1 - beta2^t).
// `kept1` and `kept2` are 1 - beta1 and 1 - beta2. `decay` is Adam's, which joins the gradient; `shrink` is AdamW's, a
// factor of the weight. Where `go` is 0 nothing happens.
// Bytes: reads weights, gradients and the running numbers, writes all but the gradients, each once: the minimum.
template <typename T>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
adam(Tensors<T, 5> tensors, const double* __restrict__ numbers, const unsigned char* __restrict__ go, int amsgrad) {
    typedef Arithmetic<T> A;
    if (!go[0]) return;
    const A beta1 = (A)numbers[1], kept1 = (A)numbers[2], beta2 = (A)numbers[3], kept2 = (A)numbers[4];
    const A eps = (A)numbers[5], decay = (A)numbers[6], shrink = (A)numbers[7];
    const A rate = (A)numbers[9], root = (A)numbers[10];
    const Chunk chunk = chunk_of_block(tensors);
    T* const weights = tensors.at[0][chunk.row];
    const T* const grads = tensors.at[1][chunk.row];
    T* const means = tensors.at[2][chunk.row];
    T* const squares = tensors.at[3][chunk.row];
    T* const largest = tensors.at[4][chunk.row];
    for (i64 i = chunk.begin + threadIdx.x; i < chunk.end; i += BLOCK) {
        A w = widen(weights[i]);
        A g = widen(grads[i]);
        if (decay != 0) g = decay * w + g;
        w *= shrink;
        const A mean = beta1 * widen(means[i]) + kept1 * g;
        A square = beta2 * widen(squares[i]) + kept2 * g * g;
        narrow(mean, means[i]);
        narrow(square, squares[i]);
        if (amsgrad) {
            const A before = widen(largest[i]);
            square = square > before || square != square ? square : before;
            narrow(square, largest[i]);
        }
        narrow(w - rate * mean / (sqrt(square) / root + eps), weights[i]);
    }
}

// Divides gradients by the scale of the loss; rows are gradients. Each block notes whether all of its numbers are finite:
// of those, and of no others, x - x is 0.
//
// The version that a student would write: a launch for each gradient, a thread for each number.
//
//     template <typename T>
//     __global__ void unscale(T* grad, unsigned char* finite, i64 count, float factor) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         grad[item] *= factor;
//         if (grad[item] - grad[item] != 0) *finite = 0;  // all that write, write the same; still, it is a race
//     }
//
// Bytes: reads and writes gradients, each once, and writes a byte for each block.
template <typename T>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
unscale(Tensors<T, 1> tensors, const double* __restrict__ factor, unsigned char* __restrict__ finite) {
    typedef Arithmetic<T> A;
    const A scale = (A)factor[0];
    const Chunk chunk = chunk_of_block(tensors);
    T* const grads = tensors.at[0][chunk.row];
    bool met = false;
    for (i64 i = chunk.begin + threadIdx.x; i < chunk.end; i += BLOCK) {
        const A g = widen(grads[i]) * scale;
        narrow(g, grads[i]);
        met = met || g - g != 0;
    }
    const int any = __syncthreads_or(met);
    if (threadIdx.x == 0) finite[blockIdx.x] = any == 0;
}

// Lets the scale of the loss shrink where gradients have overflowed, and grow after `interval` steps in a row that went
// well, unless it would pass `largest`. One thread does it.
//
// The numbers: the scale, 1 / scale, and how many steps went well since it has changed.
// Bytes: reads and writes a few numbers.
__global__ void __launch_bounds__(BLOCK, RESIDENT)
rescale(double* numbers, const unsigned char* __restrict__ finite, double growth, double backoff, i64 interval,
        double largest) {
    if (thread_number() != 0) return;
    double scale = numbers[0], good = numbers[2] + 1;
    if (!finite[0]) {
        scale *= backoff;
        good = 0;
    } else if (good == (double)interval) {
        if (scale * growth <= largest) scale *= growth;
        good = 0;
    }
    numbers[0] = scale;
    numbers[1] = 1 / scale;
    numbers[2] = good;
}
