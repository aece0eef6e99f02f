"""The public functions, under PyTorch's names: checks and documentation here, the arithmetic in `gpunet.ops`."""

from gpunet.functional.activation import gelu, leaky_relu, log_softmax, relu, sigmoid, silu, softmax, tanh
from gpunet.functional.conv import conv2d, linear
from gpunet.functional.dropout import dropout, dropout2d
from gpunet.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    kl_div,
    mse_loss,
    nll_loss,
)
from gpunet.functional.normalization import batch_norm
from gpunet.functional.pooling import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool2d,
    global_avg_pool2d,
    max_pool2d,
)
from gpunet.functional.shaping import cat, flatten, maximum, minimum, pad, stack, where

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cat",
    "conv2d",
    "cross_entropy",
    "dropout",
    "dropout2d",
    "flatten",
    "gelu",
    "global_avg_pool2d",
    "kl_div",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "maximum",
    "minimum",
    "mse_loss",
    "nll_loss",
    "pad",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "stack",
    "tanh",
    "where",
]
