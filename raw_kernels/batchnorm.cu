// Batch normalisation over rows of channels: x is (rows, channels), where `rows` counts every position of every image.
//
//     y = (x - mean) * scale + bias  [+ residual]  [then ReLU]        scale = weight / sqrt(var + eps), per channel
//
// Training runs, in this order,
//
//     forward    batch_norm_statistics -> batch_norm_normalise
//     backward   batch_norm_sums       -> batch_norm_input_gradient
//
// and evaluation batch_norm_inference; where a gradient is wanted there, batch_norm_channels -> batch_norm_normalise.
//
// How the work is shared. A block takes a stretch of `chunk_rows` rows and `lanes` packs of channels. Its 256 threads
// form a table of 256/lanes rows by `lanes` columns: thread t works on pack t % lanes and on every (256/lanes)-th row,
// beginning with row t / lanes. `lanes` is a power of two of at most 32, so a warp reads one or a few runs of
// neighbouring addresses, also where there are few channels: with 1 channel, lanes is 1 and a warp reads 32 rows that
// lie side by side.
//
//     rows of the chunk   lane 0    lane 1    ...           (a pack of V channels each)
//          0              thread 0  thread 1  ...
//          1              thread l  thread l+1
//          ...
//          256/lanes      thread 0 again: its second row
//
// Sums over rows are made in two rounds. Each block leaves a partial result for its chunk; blocks cannot wait for each
// other, but they can count: the one that finds itself the last of its channels merges what all have left, in the order
// of the chunks, whichever block it is. Every partial sum is merged in double. How rows are cut into chunks depends on
// the shape alone, so the sums have the same bits on every run and on every GPU.

struct Share {
    i64 chunk, row, end;  // this thread's first row; where the chunk ends
    int step;             // from one of its rows to the next
    int lane, turn;       // its column and row in the table of threads
    int channel;          // the first of its V
    bool works;           // false for a lane beyond the last channel, which still meets every barrier
};

// Blocks of the same group work on the same channels.
template <int V> __device__ __forceinline__ int group_of(int channels, int lanes) {
    return (int)(blockIdx.x % divide_up(channels / V, lanes));
}

template <int V> __device__ __forceinline__ Share share_of(i64 rows, int channels, int lanes, i64 chunk_rows) {
    Share share;
    share.lane = (int)threadIdx.x % lanes;
    share.turn = (int)threadIdx.x / lanes;
    share.step = BLOCK / lanes;
    share.chunk = blockIdx.x / divide_up(channels / V, lanes);
    share.channel = (group_of<V>(channels, lanes) * lanes + share.lane) * V;
    share.works = share.channel < channels;
    share.row = share.chunk * chunk_rows + share.turn;
    share.end = min(rows, (share.chunk + 1) * chunk_rows);
    return share;
}

// Merge the results of all threads of a lane, as a tree: afterwards part[lane] holds the result of the lane. Only the
// thread of turn 0 may read it: the next merge writes to `part` again, each thread to its own place.
template <typename Part> __device__ __forceinline__ void merge_lanes(Part* part, const Part& mine, int lanes) {
    const int thread = (int)threadIdx.x;
    Part merged = mine;
    part[thread] = merged;
    __syncthreads();
    for (int half = BLOCK / 2; half >= lanes; half /= 2) {
        if (thread < half) {
            const Part other = part[thread + half];
            merged.merge(other);
            part[thread] = merged;
        }
        __syncthreads();
    }
}

// Whether this block is the last of those that share its channels, one for each chunk: `finished` counts them, and is 0
// again afterwards, for the next launch. The fences stand for a promise: what a block wrote before it counted is seen by
// the block that counted last.
template <int V> __device__ __forceinline__ bool is_last_block(i64* finished, i64 chunks, int channels, int lanes) {
    bool last = false;
    __threadfence();
    __syncthreads();  // all of the block have written
    if (threadIdx.x == 0) {
        unsigned long long* count = (unsigned long long*)(finished + group_of<V>(channels, lanes));
        last = atomicAdd(count, 1ull) == (unsigned long long)(chunks - 1);
        if (last) atomicExch(count, 0ull);
    }
    last = __syncthreads_or(last);
    __threadfence();
    return last;
}

// How the last block shares the merging: as before, but with a column for each channel of its packs, and a row for each
// chunk.
template <int V> __device__ __forceinline__ Share share_of_chunks(i64 chunks, int channels, int lanes) {
    Share share = share_of<1>(chunks, channels, lanes * V, chunks);
    share.row = share.turn;
    share.end = chunks;
    return share;
}

// ---------------------------------------------------------------------------------------------------------- statistics

// Mean and squared deviations of a set of numbers. Merging is Chan's formula, which unlike E[x^2] - E[x]^2 keeps its
// digits where the mean is large against the deviation.
//
// Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983.
struct Moments {
    double count, mean, squares;  // squares: the sum of (x - mean)^2

    __device__ __forceinline__ void merge(const Moments& other) {
        if (other.count == 0) return;
        const double total = count + other.count;
        const double delta = other.mean - mean;
        const double fraction = other.count / total;
        mean += delta * fraction;
        squares += other.squares + delta * delta * (count * fraction);
        count = total;
    }
};

// What the other kernels need to know of a channel, and the running statistics of evaluation, moved towards the batch's:
// running * (1 - momentum) + batch * momentum. From the sum of the squared deviations of `rows` numbers.
//
// Where affine, moving or counting is 0, there are no weight and bias, no running statistics, or no count of batches:
// their pointers are not followed.
template <typename T> struct Statistics {
    typedef Arithmetic<T> A;
    const A *weight, *bias;
    A *running_mean, *running_var;
    i64* batches;
    double *mean, *var;
    A *center, *inverse_std, *scale, *shift;
    double eps, momentum;
    int affine, moving, counting;

    __device__ __forceinline__ void set(int c, double its_mean, double squares, i64 rows) const {
        mean[c] = its_mean;
        var[c] = squares / (double)rows;
        const A inverse = (A)(1 / sqrt(var[c] + eps));
        center[c] = (A)its_mean;
        inverse_std[c] = inverse;
        scale[c] = affine ? inverse * weight[c] : inverse;
        const A rest = (A)(its_mean - (double)center[c]);  // what rounding has left of the mean
        shift[c] = (affine ? bias[c] : (A)0) - rest * scale[c];
        if (moving) {
            const double kept = 1 - momentum, unbiased = squares / (double)(rows - 1);
            running_mean[c] = (A)(running_mean[c] * kept + its_mean * momentum);
            running_var[c] = (A)(running_var[c] * kept + unbiased * momentum);
        }
        if (counting && c == 0) *batches += 1;
    }
};

// Mean and biased variance per channel, what follows from them, and the running statistics.
//
// The version that a student would write: a thread for each channel. That are few threads, and each adds up all the rows,
// one after the other and twice.
//
//     template <typename T>
//     __global__ void batch_norm_statistics(
//             const T* x, const Arithmetic<T>* weight, const Arithmetic<T>* bias,
//             Arithmetic<T>* running_mean, Arithmetic<T>* running_var, i64* batches,
//             double* chunk_mean, double* chunk_squares, i64* finished, double* mean, double* var,
//             Arithmetic<T>* center, Arithmetic<T>* inverse_std, Arithmetic<T>* scale, Arithmetic<T>* shift,
//             i64 rows, int channels, int lanes, i64 chunk_rows, i64 chunks,
//             double eps, double momentum, int affine, int moving, int counting) {
//         const i64 c = thread_number();
//         if (c >= channels) return;
//         double sum = 0, squares = 0;
//         for (i64 row = 0; row < rows; ++row) sum += widen(x[row * channels + c]);
//         const double average = sum / (double)rows;
//         for (i64 row = 0; row < rows; ++row) {
//             const double deviation = widen(x[row * channels + c]) - average;
//             squares += deviation * deviation;
//         }
//         const Statistics<T> known = {weight, bias, running_mean, running_var, batches, mean, var, center, inverse_std,
//                                      scale, shift, eps, momentum, affine, moving, counting};
//         known.set((int)c, average, squares, rows);
//     }
//
// A thread takes BATCH of its rows at a time, which also keeps that many loads under way. It measures them from the
// first one, so that a large mean cancels before anything is rounded, finds the mean and the squares of the batch in
// float, and merges them with those of its earlier batches in double: one merge in BATCH values costs little even where
// double is slow. The threads of a lane are then merged through shared memory, one channel of the pack after another.
//
// The last block of a group of channels then merges the chunks. As separate operations on a few numbers that were
// fourteen launches more.
// Bytes: reads x once, which is the minimum; writes, and reads again, 2 doubles a channel and chunk. A chunk has at least
// 256 rows where there are that many, so that is 1/64 of x for float, 1/32 for half and 1/128 for double.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, 2)  // 128 registers: the batch is kept in them
batch_norm_statistics(const T* __restrict__ x,
                      const Arithmetic<T>* __restrict__ weight, const Arithmetic<T>* __restrict__ bias,
                      Arithmetic<T>* __restrict__ running_mean, Arithmetic<T>* __restrict__ running_var,
                      i64* __restrict__ batches,
                      double* chunk_mean, double* chunk_squares, i64* finished,
                      double* __restrict__ mean, double* __restrict__ var,
                      Arithmetic<T>* __restrict__ center, Arithmetic<T>* __restrict__ inverse_std,
                      Arithmetic<T>* __restrict__ scale, Arithmetic<T>* __restrict__ shift,
                      i64 rows, int channels, int lanes, i64 chunk_rows, i64 chunks,
                      double eps, double momentum, int affine, int moving, int counting) {
    typedef Arithmetic<T> A;
    constexpr int BATCH = V > 4 ? 4 : 8;
    __shared__ Moments part[BLOCK];
    const Share share = share_of<V>(rows, channels, lanes, chunk_rows);

    int count = 0;
    double own_mean[V] = {}, own_squares[V] = {};
    if (share.works) {
        for (i64 row = share.row; row < share.end; row += BATCH * share.step) {
            A value[BATCH][V];
            int present = 0;  // rows of this batch that exist
#pragma unroll
            for (int b = 0; b < BATCH; ++b) {
                const i64 at = row + b * share.step;
                if (at < share.end) {
                    load<V>(x + at * channels + share.channel, value[b]);
                    present = b + 1;
                }
            }
            const A fraction = (A)present / (A)(count + present);
#pragma unroll
            for (int v = 0; v < V; ++v) {
                A offset = 0, batch_squares = 0;  // offset: the mean of the batch, measured from its first value
#pragma unroll
                for (int b = 1; b < BATCH; ++b) {
                    if (b < present) offset += value[b][v] - value[0][v];
                }
                offset /= (A)present;
#pragma unroll
                for (int b = 0; b < BATCH; ++b) {
                    const A deviation = (value[b][v] - value[0][v]) - offset;
                    if (b < present) batch_squares += deviation * deviation;
                }
                const double delta = ((double)value[0][v] + (double)offset) - own_mean[v];
                own_mean[v] += delta * (double)fraction;
                own_squares[v] += (double)batch_squares + delta * delta * (count * (double)fraction);
            }
            count += present;
        }
    }
#pragma unroll
    for (int v = 0; v < V; ++v) {
        merge_lanes(part, Moments{(double)count, own_mean[v], own_squares[v]}, lanes);
        if (share.turn == 0 && share.works) {
            const i64 at = share.chunk * channels + share.channel + v;
            chunk_mean[at] = part[share.lane].mean;
            chunk_squares[at] = part[share.lane].squares;
        }
    }
    if (!is_last_block<V>(finished, chunks, channels, lanes)) return;

    const Share merging = share_of_chunks<V>(chunks, channels, lanes);
    Moments moments = {0, 0, 0};
    if (merging.works) {
        for (i64 chunk = merging.row; chunk < merging.end; chunk += merging.step) {
            const i64 at = chunk * channels + merging.channel;
            const i64 its_rows = min(chunk_rows, rows - chunk * chunk_rows);
            moments.merge(Moments{(double)its_rows, chunk_mean[at], chunk_squares[at]});
        }
    }
    merge_lanes(part, moments, lanes * V);
    if (merging.turn == 0 && merging.works) {
        const Statistics<T> known = {weight, bias, running_mean, running_var, batches, mean, var, center, inverse_std,
                                     scale, shift, eps, momentum, affine, moving, counting};
        known.set(merging.channel, part[merging.lane].mean, part[merging.lane].squares, rows);
    }
}

// The same numbers in evaluation, from a mean and a variance that are given.
template <typename A>
__device__ __forceinline__ void look_up(A mean, A var, A weight, A bias, double eps, int affine, A& center,
                                        A& inverse_std, A& scale, A& shift) {
    center = mean;
    inverse_std = 1 / sqrt(var + (A)eps);
    scale = affine ? inverse_std * weight : inverse_std;
    const A rest = (mean - mean) * scale;  // nothing, or NaN where the mean is not finite
    shift = affine ? bias + rest : rest;
}

// One thread a channel.
// Bytes: a few numbers a channel.
template <typename T>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
batch_norm_channels(const T* __restrict__ mean, const T* __restrict__ var,
                    const T* __restrict__ weight, const T* __restrict__ bias,
                    Arithmetic<T>* __restrict__ center, Arithmetic<T>* __restrict__ inverse_std,
                    Arithmetic<T>* __restrict__ scale, Arithmetic<T>* __restrict__ shift,
                    i64 channels, double eps, int affine) {
    const i64 c = thread_number();
    if (c >= channels) return;
    look_up(widen(mean[c]), widen(var[c]), widen(weight[c]), widen(bias[c]), eps, affine, center[c], inverse_std[c],
            scale[c], shift[c]);
}

// ----------------------------------------------------------------------------------------------------------- normalise

// The rows of a thread, one pack of x (and of the residual) after another. Each step is rounded to T, as it is where the
// steps are operations of their own: only half precision can tell.
template <int V, typename T, typename A>
__device__ __forceinline__ void normalise_rows(const T* __restrict__ x, const T* __restrict__ residual,
                                               T* __restrict__ y, const Share& share, int channels, const A (&center)[V],
                                               const A (&scale)[V], const A (&shift)[V], int add_residual, int relu) {
    for (i64 row = share.row; row < share.end; row += share.step) {
        const i64 at = row * channels + share.channel;
        A value[V];
        load<V>(x + at, value);
#pragma unroll
        for (int v = 0; v < V; ++v) value[v] = (value[v] - center[v]) * scale[v] + shift[v];
        if (add_residual) {
            A other[V];
            load<V>(residual + at, other);
#pragma unroll
            for (int v = 0; v < V; ++v) value[v] = rounded<T>(value[v]) + other[v];
        }
        if (relu) {
#pragma unroll
            for (int v = 0; v < V; ++v) value[v] = value[v] < 0 ? (A)0 : value[v];
        }
        store<V>(y + at, value);
    }
}

// y = (x - center) * scale + shift  [+ residual]  [then ReLU]
//
// The version that a student would write: a thread for each number, which reads four numbers to write one.
//
//     template <typename T>
//     __global__ void batch_norm_normalise(const T* x, const T* residual, T* y, const Arithmetic<T>* center,
//                                          const Arithmetic<T>* scale, const Arithmetic<T>* shift,
//                                          i64 rows, int channels, int lanes, i64 chunk_rows,
//                                          int add_residual, int relu) {
//         const i64 item = thread_number();
//         if (item >= rows * channels) return;
//         const int c = (int)(item % channels);
//         Arithmetic<T> value = (widen(x[item]) - center[c]) * scale[c] + shift[c];
//         if (add_residual) value = rounded<T>(value) + widen(residual[item]);
//         if (relu && value < 0) value = 0;
//         narrow(value, y[item]);
//     }
//
// The mean goes first: x * scale + shift would cancel badly where the mean is large. A thread reads what it needs to
// know of its V channels once and then works on several rows. NaN passes through the ReLU.
// Bytes: reads x (and the residual), writes y, each once. That is the minimum. As separate operations the addition
// would read y and the residual and write y again, and the ReLU would read and write y once more.
// Asked: 3 packs more for the 8 rows of a thread, of center, scale and shift, which every block finds in the cache.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
batch_norm_normalise(const T* __restrict__ x, const T* __restrict__ residual, T* __restrict__ y,
                     const Arithmetic<T>* __restrict__ center, const Arithmetic<T>* __restrict__ scale,
                     const Arithmetic<T>* __restrict__ shift,
                     i64 rows, int channels, int lanes, i64 chunk_rows, int add_residual, int relu) {
    typedef Arithmetic<T> A;
    const Share share = share_of<V>(rows, channels, lanes, chunk_rows);
    if (!share.works) return;

    A m[V], s[V], b[V];
    load<V>(center + share.channel, m);
    load<V>(scale + share.channel, s);
    load<V>(shift + share.channel, b);
    normalise_rows<V>(x, residual, y, share, channels, m, s, b, add_residual, relu);
}

// The same in evaluation, in one launch: a thread finds out what it needs to know of its channels by itself.
//
// The version that a student would write: a thread for each number.
//
//     template <typename T>
//     __global__ void batch_norm_inference(const T* x, const T* residual, T* y,
//                                          const Arithmetic<T>* mean, const Arithmetic<T>* var,
//                                          const Arithmetic<T>* weight, const Arithmetic<T>* bias,
//                                          i64 rows, int channels, int lanes, i64 chunk_rows,
//                                          double eps, int affine, int add_residual, int relu) {
//         const i64 item = thread_number();
//         if (item >= rows * channels) return;
//         const int c = (int)(item % channels);
//         Arithmetic<T> center, inverse_std, scale, shift;
//         look_up(mean[c], var[c], weight[c], bias[c], eps, affine, center, inverse_std, scale, shift);
//         Arithmetic<T> value = (widen(x[item]) - center) * scale + shift;
//         if (add_residual) value = rounded<T>(value) + widen(residual[item]);
//         if (relu && value < 0) value = 0;
//         narrow(value, y[item]);
//     }
//
// Bytes: as batch_norm_normalise.
// Asked: 4 packs more for the 8 rows of a thread, of mean, var, weight and bias; the cache has them.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
batch_norm_inference(const T* __restrict__ x, const T* __restrict__ residual, T* __restrict__ y,
                     const Arithmetic<T>* __restrict__ mean, const Arithmetic<T>* __restrict__ var,
                     const Arithmetic<T>* __restrict__ weight, const Arithmetic<T>* __restrict__ bias,
                     i64 rows, int channels, int lanes, i64 chunk_rows,
                     double eps, int affine, int add_residual, int relu) {
    typedef Arithmetic<T> A;
    const Share share = share_of<V>(rows, channels, lanes, chunk_rows);
    if (!share.works) return;

    A m[V], s[V], b[V], its_var[V], its_weight[V], its_bias[V], inverse_std;
    load<V>(mean + share.channel, m);
    load<V>(var + share.channel, its_var);
    load<V>(weight + share.channel, its_weight);
    load<V>(bias + share.channel, its_bias);
#pragma unroll
    for (int v = 0; v < V; ++v) {
        look_up(m[v], its_var[v], its_weight[v], its_bias[v], eps, affine, m[v], inverse_std, s[v], b[v]);
    }
    normalise_rows<V>(x, residual, y, share, channels, m, s, b, add_residual, relu);
}

// ------------------------------------------------------------------------------------------------------------ backward

// Let through what the ReLU let through: g where not y <= 0, so also where y is NaN.
template <int V, typename T, typename A>
__device__ __forceinline__ void load_gradient(const T* grad, const T* y, int relu, A (&g)[V]) {
    load<V>(grad, g);
    if (relu) {
        A output[V];
        load<V>(y, output);
#pragma unroll
        for (int v = 0; v < V; ++v) g[v] = output[v] <= 0 ? (A)0 : g[v];
    }
}

// The sums of g and of g * (x - mean). Aligned, so that a thread moves both at once: two halves one after the other
// would lie 16 bytes apart from thread to thread, and every second bank of shared memory would wait.
struct alignas(16) Sums {
    double gradient, product;

    __device__ __forceinline__ void merge(const Sums& other) {
        gradient += other.gradient;
        product += other.product;
    }
};

// What the gradients need of a channel: those by bias, sum of g, and by weight, sum of g * xhat with xhat = (x - mean) /
// std; and what the input gradient is made of, mean_gradient = mean(g) and slope = mean(g * xhat) / std.
template <typename A>
__device__ __forceinline__ void set_gradients(int c, double gradient, double product, i64 rows, const A* inverse_std,
                                              A* dbias, A* dweight, A* mean_gradient, A* slope) {
    const double by_weight = product * (double)inverse_std[c];
    dbias[c] = (A)gradient;
    dweight[c] = (A)by_weight;
    mean_gradient[c] = (A)(gradient / (double)rows);
    slope[c] = (A)(by_weight / (double)rows * (double)inverse_std[c]);
}

// The sums over all rows of g and of g * (x - center), where g is the gradient behind the ReLU, and what follows.
//
// The version that a student would write: a thread for each channel.
//
//     template <typename T>
//     __global__ void batch_norm_sums(
//             const T* grad, const T* x, const T* y, const Arithmetic<T>* center, const Arithmetic<T>* inverse_std,
//             double* chunk_gradient, double* chunk_product, i64* finished,
//             Arithmetic<T>* dbias, Arithmetic<T>* dweight,
//             Arithmetic<T>* mean_gradient, Arithmetic<T>* slope,
//             i64 rows, int channels, int lanes, i64 chunk_rows, i64 chunks, int relu) {
//         const i64 c = thread_number();
//         if (c >= channels) return;
//         double gradient = 0, product = 0;
//         for (i64 row = 0; row < rows; ++row) {
//             const i64 at = row * channels + c;
//             if (relu && widen(y[at]) <= 0) continue;
//             gradient += widen(grad[at]);
//             product += (double)widen(grad[at]) * (double)(widen(x[at]) - center[c]);
//         }
//         set_gradients((int)c, gradient, product, rows, inverse_std, dbias, dweight, mean_gradient, slope);
//     }
//
// A thread adds up its rows in float, at most a few hundred; from there on sums are double.
// Bytes: reads grad, x and, with ReLU, y, each once; and 2 doubles a channel and chunk, as batch_norm_statistics does.
// Without a residual the minimum is grad and x alone, since y > 0 could be found again from x. That y is read all the
// same, half as much again, is on purpose: only the y that was stored says which values the next layer saw as zero.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
batch_norm_sums(const T* __restrict__ grad, const T* __restrict__ x, const T* __restrict__ y,
                const Arithmetic<T>* __restrict__ center, const Arithmetic<T>* __restrict__ inverse_std,
                double* chunk_gradient, double* chunk_product, i64* finished,
                Arithmetic<T>* __restrict__ dbias, Arithmetic<T>* __restrict__ dweight,
                Arithmetic<T>* __restrict__ mean_gradient, Arithmetic<T>* __restrict__ slope,
                i64 rows, int channels, int lanes, i64 chunk_rows, i64 chunks, int relu) {
    typedef Arithmetic<T> A;
    __shared__ Sums part[BLOCK];
    const Share share = share_of<V>(rows, channels, lanes, chunk_rows);

    A gradient[V] = {}, product[V] = {};
    if (share.works) {
        A m[V];
        load<V>(center + share.channel, m);
#pragma unroll 4
        for (i64 row = share.row; row < share.end; row += share.step) {
            const i64 at = row * channels + share.channel;
            A g[V], value[V];
            load_gradient<V>(grad + at, y + at, relu, g);
            load<V>(x + at, value);
#pragma unroll
            for (int v = 0; v < V; ++v) {
                gradient[v] += g[v];
                product[v] += g[v] * (value[v] - m[v]);
            }
        }
    }
#pragma unroll
    for (int v = 0; v < V; ++v) {
        merge_lanes(part, Sums{(double)gradient[v], (double)product[v]}, lanes);
        if (share.turn == 0 && share.works) {
            const i64 at = share.chunk * channels + share.channel + v;
            chunk_gradient[at] = part[share.lane].gradient;
            chunk_product[at] = part[share.lane].product;
        }
    }
    if (!is_last_block<V>(finished, chunks, channels, lanes)) return;

    const Share merging = share_of_chunks<V>(chunks, channels, lanes);
    Sums sums = {0, 0};
    if (merging.works) {
        for (i64 chunk = merging.row; chunk < merging.end; chunk += merging.step) {
            const i64 at = chunk * channels + merging.channel;
            sums.merge(Sums{chunk_gradient[at], chunk_product[at]});
        }
    }
    merge_lanes(part, sums, lanes * V);
    if (merging.turn == 0 && merging.works) {
        const Sums all = part[merging.lane];
        set_gradients(merging.channel, all.gradient, all.product, rows, inverse_std, dbias, dweight, mean_gradient,
                      slope);
    }
}

// dx = scale * (g - mean(g) - xhat * mean(g * xhat)), where g is the gradient behind the ReLU and xhat the normalised x
//
// The version that a student would write: a thread for each number.
//
//     template <typename T>
//     __global__ void batch_norm_input_gradient(const T* grad, const T* x, const T* y, T* dx,
//                                               const Arithmetic<T>* center, const Arithmetic<T>* scale,
//                                               const Arithmetic<T>* mean_gradient, const Arithmetic<T>* slope,
//                                               i64 rows, int channels, int lanes, i64 chunk_rows, int relu) {
//         const i64 item = thread_number();
//         if (item >= rows * channels) return;
//         const int c = (int)(item % channels);
//         const Arithmetic<T> g = relu && widen(y[item]) <= 0 ? (Arithmetic<T>)0 : widen(grad[item]);
//         narrow((g - mean_gradient[c] - (widen(x[item]) - center[c]) * slope[c]) * scale[c], dx[item]);
//     }
//
// Bytes: reads grad, x and, with ReLU, y; writes dx; each once. That is the minimum, but for y without a residual (see
// batch_norm_sums).
// Asked: 4 packs more for the 8 rows of a thread, of what it needs to know of its channels; the cache has them.
template <typename T, int V>
__global__ void __launch_bounds__(BLOCK, RESIDENT)
batch_norm_input_gradient(const T* __restrict__ grad, const T* __restrict__ x, const T* __restrict__ y,
                          T* __restrict__ dx,
                          const Arithmetic<T>* __restrict__ center, const Arithmetic<T>* __restrict__ scale,
                          const Arithmetic<T>* __restrict__ mean_gradient, const Arithmetic<T>* __restrict__ slope,
                          i64 rows, int channels, int lanes, i64 chunk_rows, int relu) {
    typedef Arithmetic<T> A;
    const Share share = share_of<V>(rows, channels, lanes, chunk_rows);
    if (!share.works) return;

    A m[V], s[V], d[V], k[V];
    load<V>(center + share.channel, m);
    load<V>(scale + share.channel, s);
    load<V>(mean_gradient + share.channel, d);
    load<V>(slope + share.channel, k);
    for (i64 row = share.row; row < share.end; row += share.step) {
        const i64 at = row * channels + share.channel;
        A g[V], value[V];
        load_gradient<V>(grad + at, y + at, relu, g);
        load<V>(x + at, value);
#pragma unroll
        for (int v = 0; v < V; ++v) value[v] = (g[v] - d[v] - (value[v] - m[v]) * k[v]) * s[v];
        store<V>(dx + at, value);
    }
}
