"""Slow references: loops straight from the formulas of the lecture, in float64, and the way tests run gpunet on arrays.

Settings such as a stride are pairs, (for rows, for columns). Only the last section knows gpunet.
"""

# ruff: noqa: E741  (the lecture's indices are i, j, k and l)

import itertools
import math

import numpy as np

from gpunet.tensor import tensor

# ------------------------------------------------------------------------------------------------------ convolution


def conv2d(x, weight, bias=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """O[n,o,k,l] = b[o] + sum over c, i, j of I'[n, c, S*k + D*i - P, S*l + D*j - P] * F[o,c,i,j]."""
    n, _, *size = x.shape
    outputs, channels, *kernel = weight.shape
    rows, columns = (spans(*axis) for axis in zip(size, kernel, stride, padding, dilation, strict=True))
    y = np.zeros((n, outputs, len(rows), len(columns)))
    for image, o, k, l in np.ndindex(y.shape):
        first = o // (outputs // groups) * channels  # where the input channels of this output's group begin
        for c, (i, row), (j, column) in itertools.product(range(channels), enumerate(rows[k]), enumerate(columns[l])):
            if 0 <= row < size[0] and 0 <= column < size[1]:
                y[image, o, k, l] += x[image, first + c, row, column] * weight[o, c, i, j]
        if bias is not None:
            y[image, o, k, l] += bias[o]
    return y


def conv2d_gradients(x, weight, grad, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """The gradients by input, weight and bias, by the lecture's formulas for the backward pass.

    dI[i,j,k,l] = sum over q, r, s of dO[i,q,r,s] * F[q, j, (k - S*r + P) / D, (l - S*s + P) / D]
    dF[i,j,k,l] = sum over p, r, s of dO[p,i,r,s] * I'[p, j, S*r + D*k - P, S*s + D*l - P]

    Terms whose index falls outside or between the elements of the filter are absent.
    """
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    outputs, channels, kh, kw = weight.shape
    per_group = outputs // groups
    positions = list(np.ndindex(grad.shape[2:]))

    dx = np.zeros(x.shape)
    for i, j, k, l in np.ndindex(x.shape):
        group = j // channels
        for r, s in positions:
            (row, between_rows), (column, between_columns) = divmod(k - sh * r + ph, dh), divmod(l - sw * s + pw, dw)
            if between_rows == between_columns == 0 and 0 <= row < kh and 0 <= column < kw:
                for q in range(group * per_group, (group + 1) * per_group):
                    dx[i, j, k, l] += grad[i, q, r, s] * weight[q, j - group * channels, row, column]

    dweight = np.zeros(weight.shape)
    for i, j, k, l in np.ndindex(weight.shape):
        channel = i // per_group * channels + j
        for r, s in positions:
            row, column = sh * r + dh * k - ph, sw * s + dw * l - pw
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
                for p in range(len(x)):
                    dweight[i, j, k, l] += grad[p, i, r, s] * x[p, channel, row, column]

    dbias = np.array([sum(grad[p, i, r, s] for p in range(len(x)) for r, s in positions) for i in range(outputs)])
    return dx, dweight, dbias


# ---------------------------------------------------------------------------------------------------------- pooling


def spans(size, kernel, stride, padding=0, dilation=1, ceil_mode=False):
    """For each window position along one axis the indices it covers; those outside 0 .. size-1 are padding.

    The last window fits into the padded image. With ceil_mode it is the first one that reaches the end of it, unless it
    begins beyond the image.
    """
    end = size + padding - (dilation * (kernel - 1) + 1)  # where the last window that fits begins
    starts = [-padding]
    while starts[-1] + stride <= end or (ceil_mode and starts[-1] < end and starts[-1] + stride < size):
        starts.append(starts[-1] + stride)
    return [[start + dilation * i for i in range(kernel)] for start in starts]


def adaptive_spans(size, cells):
    """For each cell the indices floor(i*H/k) .. ceil((i+1)*H/k) - 1."""
    return [list(range(math.floor(i * size / cells), math.ceil((i + 1) * size / cells))) for i in range(cells)]


def _windows(shape, rows, columns):
    """For each image, channel and window position the places of the window that lie inside the image."""
    n, channels, height, width = shape
    for image, c, (k, over), (l, across) in itertools.product(
        range(n), range(channels), enumerate(rows), enumerate(columns)
    ):
        inside = [(image, c, i, j) for i in over for j in across if 0 <= i < height and 0 <= j < width]
        yield (image, c, k, l), inside


def max_pool(x, rows, columns):
    """The largest value of each window; NaN where there is one."""
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for place, window in _windows(x.shape, rows, columns):
        y[place] = x[_winner(x, window)]
    return y


def max_pool_gradient(x, grad, rows, columns):
    """The winner of each window receives the gradient."""
    dx = np.zeros(x.shape)
    for place, window in _windows(x.shape, rows, columns):
        dx[_winner(x, window)] += grad[place]
    return dx


def _winner(x, window):
    """The first of the largest values in reading order, or a NaN."""
    winner = window[0]
    for place in window:
        if x[place] > x[winner] or math.isnan(x[place]):
            winner = place
    return winner


def avg_pool(x, rows, columns, divisor):
    """The sum of each window over `divisor(k, l, the number of its elements inside the image)`."""
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for place, window in _windows(x.shape, rows, columns):
        y[place] = sum(x[inside] for inside in window) / divisor(*place[2:], len(window))
    return y


def avg_pool_gradient(x, grad, rows, columns, divisor):
    """Every element of a window receives its share of the gradient."""
    dx = np.zeros(x.shape)
    for place, window in _windows(x.shape, rows, columns):
        for inside in window:
            dx[inside] += grad[place] / divisor(*place[2:], len(window))
    return dx


# -------------------------------------------------------------------------------------------- batch normalisation


def batch_norm(x, weight, bias, eps):
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel; also its means and biased variances."""
    y, means, variances = np.zeros(x.shape), [], []
    for c in range(x.shape[1]):
        values = [float(value) for value in x[:, c].flat]
        means.append(math.fsum(values) / len(values))
        variances.append(math.fsum((value - means[c]) ** 2 for value in values) / len(values))
        y[:, c] = (x[:, c] - means[c]) / math.sqrt(variances[c] + eps) * weight[c] + bias[c]
    return y, np.array(means), np.array(variances)


def batch_norm_gradients(x, grad, weight, eps):
    """The gradients by x, weight and bias, by way of the variance and the mean as in the paper (section 3)."""
    dx, dweight, dbias = np.zeros(x.shape), np.zeros(len(weight)), np.zeros(len(weight))
    _, means, variances = batch_norm(x, weight, np.zeros(len(weight)), eps)
    for c in range(x.shape[1]):
        g, deviation, root = grad[:, c], x[:, c] - means[c], math.sqrt(variances[c] + eps)
        by_normalised = g * weight[c]
        by_variance = math.fsum((by_normalised * deviation).flat) * -0.5 / root**3
        by_mean = -math.fsum(by_normalised.flat) / root - 2 * by_variance * math.fsum(deviation.flat) / g.size
        dx[:, c] = by_normalised / root + by_variance * 2 * deviation / g.size + by_mean / g.size
        dweight[c], dbias[c] = math.fsum((g * deviation).flat) / root, math.fsum(g.flat)
    return dx, dweight, dbias


# ------------------------------------------------------------------------------------------------ softmax and losses


def softmax(row):
    """y_i = e^x_i / sum over k of e^x_k for a list of numbers."""
    return [math.exp(x) / math.fsum(math.exp(other) for other in row) for x in row]


def softmax_gradient(row, grad):
    """dx_i = sum over k of g_k * y_k * ([i = k] - y_i)."""
    y = softmax(row)
    return [math.fsum(g * y[k] * ((i == k) - y[i]) for k, g in enumerate(grad)) for i in range(len(row))]


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """-sum over i of w_i t_i log softmax(x)_i for rows of logits; t is one-hot where the target is a label.

    The mean over rows with labels is a mean weighted by the weight of each row's label.
    """
    classes = x.shape[1]
    weight = np.ones(classes) if weight is None else weight
    losses, counts = [], []
    for row, right in zip(x, target, strict=True):
        labelled = np.ndim(right) == 0
        if labelled and right == ignore_index:
            losses.append(0.0)
            counts.append(0.0)
            continue
        t = [float(i == right) for i in range(classes)] if labelled else list(right)
        t = [(1 - label_smoothing) * p + label_smoothing / classes for p in t]
        y = softmax(row)
        losses.append(-math.fsum(weight[i] * t[i] * math.log(y[i]) for i in range(classes)))
        counts.append(float(weight[right]) if labelled else 1.0)
    return reduce(losses, reduction, math.fsum(counts))


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean"):
    """-w[t] * x[t] for rows of log-probabilities."""
    weight = np.ones(x.shape[1]) if weight is None else weight
    kept = [float(label != ignore_index) for label in target]
    losses = [-weight[t] * row[t] if keep else 0.0 for row, t, keep in zip(x, target, kept, strict=True)]
    return reduce(losses, reduction, math.fsum(weight[t] for t, keep in zip(target, kept, strict=True) if keep))


def binary_cross_entropy(y, t, reduction="mean"):
    """-t log y - (1-t) log(1-y), where 0 * log 0 is 0 and no logarithm is below -100."""
    return _elements(lambda y, t: -t * _log(y) - (1 - t) * _log(1 - y), y, t, reduction=reduction)


def binary_cross_entropy_with_logits(x, t, pos_weight=1.0, reduction="mean"):
    """-w t log s(x) - (1-t) log(1 - s(x)) with s(x) = 1 / (1 + e^-x)."""

    def loss(x, t, w):
        s = 1 / (1 + math.exp(-x))
        return -w * t * math.log(s) - (1 - t) * math.log(1 - s)

    return _elements(loss, x, t, np.broadcast_to(pos_weight, x.shape), reduction=reduction)


def kl_div(log_q, p, reduction="mean"):
    """The sum over i of p_i (log p_i - log q_i), where 0 * log 0 is 0."""
    if reduction == "batchmean":
        return kl_div(log_q, p, "sum") / len(p)
    return _elements(lambda q, p: p * (math.log(p) - q) if p > 0 else 0.0, log_q, p, reduction=reduction)


def mse_loss(x, t, reduction="mean"):
    """(x - t)^2."""
    return _elements(lambda x, t: (x - t) ** 2, x, t, reduction=reduction)


def reduce(losses, reduction, count):
    """The losses one by one, their sum, or their sum over `count`."""
    if reduction == "none":
        return np.array(losses)
    return math.fsum(losses) / (count if reduction == "mean" else 1)


def _elements(loss, *arrays, reduction):
    losses = [loss(*values) for values in zip(*(np.asarray(each).flat for each in arrays), strict=True)]
    reduced = reduce(losses, reduction, len(losses))
    return reduced.reshape(np.shape(arrays[0])) if reduction == "none" else reduced


def _log(x):
    return max(math.log(x), -100.0) if x > 0 else -100.0


# --------------------------------------------------------------------------------------------- inputs for any function

DIFFERENTIABLE = ("normal", "uniform")
"""The kinds of input that have a gradient."""


def draw(kind, shape, rng):
    """An input for a function: numbers of either sign, within (0, 1), distributions along axis 1, or class labels."""
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind in ("uniform", "constant"):
        return rng.uniform(0.05, 0.95, shape)
    if kind == "distribution":
        p = rng.uniform(0.05, 0.95, shape)
        return p / p.sum(axis=1, keepdims=True)
    if kind == "signs":
        return rng.choice([-1.0, 1.0], shape)
    return rng.integers(0, 4, shape)  # labels of 4 classes


# -------------------------------------------------------------------------------------------- running gpunet on arrays


def upstream(shape):
    """The gradient that `run` sends into an output of this shape: the same for a test and for its reference."""
    return np.random.default_rng(1).standard_normal(shape)


def run(function, *arrays):
    """Call a gpunet function on arrays and run backward: its output, and the gradient by each array of floats."""
    inputs = [tensor(array, requires_grad=np.asarray(array).dtype.kind == "f") for array in arrays]
    output = function(*inputs)
    output.backward(tensor(upstream(output.shape), dtype=output.dtype))
    return output.numpy(), [each.grad.numpy() for each in inputs if each.requires_grad]


def close(actual, expected, rtol=1e-10, atol=1e-12):
    """Assert that arrays, or lists of arrays, agree in shape and value."""
    if isinstance(actual, list | tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            close(one, other, rtol, atol)
        return
    assert np.shape(actual) == np.shape(expected)
    np.testing.assert_allclose(actual, expected, rtol, atol)
