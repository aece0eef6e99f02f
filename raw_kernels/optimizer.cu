// The steps of optimizers: every parameter of a group in one launch.
//
// A network has dozens of parameters, most of them small, and a launch takes longer than the arithmetic of a bias. So a
// launch takes many arrays along: a table of where they begin travels by value with its arguments, as in PyTorch's
// multi_tensor_apply, and nothing is uploaded. Each array is cut into chunks of CHUNK numbers, a block each; a block
// looks up whose chunk it has. The arrays of a row lie alike in memory, in any order of axes, without gaps.

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
// `kept` is 1 - dampening. Without `moving` there are no velocities.
// Bytes: reads weights, gradients and velocities, writes weights and velocities, each once, which is the minimum.
template <typename T>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
sgd(Tensors<T, 3> tensors, double rate, double momentum, double kept, double decay, int moving, int nesterov) {
    typedef Arithmetic<T> A;
    const Chunk chunk = chunk_of_block(tensors);
    T* const weights = tensors.at[0][chunk.row];
    const T* const grads = tensors.at[1][chunk.row];
    T* const velocities = tensors.at[2][chunk.row];
    for (i64 i = chunk.begin + threadIdx.x; i < chunk.end; i += BLOCK) {
        const A w = widen(weights[i]);
        A step = widen(grads[i]);
        if (decay != 0) step = (A)decay * w + step;
        if (moving) {
            const A v = (A)momentum * widen(velocities[i]) + (A)kept * step;
            narrow(v, velocities[i]);
            step = nesterov ? (A)momentum * v + step : v;
        }
        narrow(w - (A)rate * step, weights[i]);
    }
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
// The host makes `rate` and `root` from the learning rate and the step: lr / (1 - beta1^t) and sqrt(1 - beta2^t). `decay`
// is Adam's, which joins the gradient; `shrink` is AdamW's, a factor of the weight.
// Bytes: reads weights, gradients and the running numbers, writes all but the gradients, each once: the minimum.
template <typename T>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
adam(Tensors<T, 5> tensors, double rate, double beta1, double kept1, double beta2, double kept2, double root, double eps,
     double decay, double shrink, int amsgrad) {
    typedef Arithmetic<T> A;
    const Chunk chunk = chunk_of_block(tensors);
    T* const weights = tensors.at[0][chunk.row];
    const T* const grads = tensors.at[1][chunk.row];
    T* const means = tensors.at[2][chunk.row];
    T* const squares = tensors.at[3][chunk.row];
    T* const largest = tensors.at[4][chunk.row];
    for (i64 i = chunk.begin + threadIdx.x; i < chunk.end; i += BLOCK) {
        A w = widen(weights[i]);
        A g = widen(grads[i]);
        if (decay != 0) g = (A)decay * w + g;
        w *= (A)shrink;
        const A mean = (A)beta1 * widen(means[i]) + (A)kept1 * g;
        A square = (A)beta2 * widen(squares[i]) + (A)kept2 * g * g;
        narrow(mean, means[i]);
        narrow(square, squares[i]);
        if (amsgrad) {
            const A before = widen(largest[i]);
            square = square > before || square != square ? square : before;
            narrow(square, largest[i]);
        }
        narrow(w - (A)rate * mean / (sqrt(square) / (A)root + (A)eps), weights[i]);
    }
}

// Divides gradients by the scale of the loss; rows are gradients. Each block notes whether it has met a number that is
// not finite: x - x is 0 of all others.
//
// The version that a student would write: a launch for each gradient, a thread for each number.
//
//     template <typename T>
//     __global__ void unscale(T* grad, int* not_finite, i64 count, float factor) {
//         const i64 item = thread_number();
//         if (item >= count) return;
//         grad[item] *= factor;
//         if (grad[item] - grad[item] != 0) *not_finite = 1;  // all that write, write the same; still, it is a race
//     }
//
// Bytes: reads and writes gradients, each once, and writes a number for each block.
template <typename T>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
unscale(Tensors<T, 1> tensors, int* __restrict__ not_finite, double factor) {
    typedef Arithmetic<T> A;
    const Chunk chunk = chunk_of_block(tensors);
    T* const grads = tensors.at[0][chunk.row];
    bool met = false;
    for (i64 i = chunk.begin + threadIdx.x; i < chunk.end; i += BLOCK) {
        const A g = widen(grads[i]) * (A)factor;
        narrow(g, grads[i]);
        met = met || g - g != 0;
    }
    const int any = __syncthreads_or(met);
    if (threadIdx.x == 0) not_finite[blockIdx.x] = any != 0;
}
