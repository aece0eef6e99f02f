"""The operations of the lecture, a file each: numbers, function, formulas and sentences. A new one is added here."""

from gpunet.explain.operation import Operation
from gpunet.explain.operations.adaptive_avg_pool2d import ADAPTIVE_AVG_POOL2D
from gpunet.explain.operations.avg_pool2d import AVG_POOL2D
from gpunet.explain.operations.batch_norm import BATCH_NORM
from gpunet.explain.operations.binary_cross_entropy import BINARY_CROSS_ENTROPY
from gpunet.explain.operations.conv2d import CONV2D
from gpunet.explain.operations.cross_entropy import CROSS_ENTROPY
from gpunet.explain.operations.dropout import DROPOUT
from gpunet.explain.operations.kl_div import KL_DIV
from gpunet.explain.operations.linear import LINEAR
from gpunet.explain.operations.max_pool2d import MAX_POOL2D
from gpunet.explain.operations.network import NETWORK
from gpunet.explain.operations.relu import RELU
from gpunet.explain.operations.residual_block import RESIDUAL_BLOCK
from gpunet.explain.operations.sigmoid import SIGMOID
from gpunet.explain.operations.softmax import SOFTMAX

__all__ = ["LECTURE"]

LECTURE: dict[str, Operation] = {
    each.name: each
    for each in (
        CONV2D,
        MAX_POOL2D,
        AVG_POOL2D,
        ADAPTIVE_AVG_POOL2D,
        DROPOUT,
        BATCH_NORM,
        RELU,
        RESIDUAL_BLOCK,
        NETWORK,
        LINEAR,
        SIGMOID,
        SOFTMAX,
        KL_DIV,
        BINARY_CROSS_ENTROPY,
        CROSS_ENTROPY,
    )
}
"""All of them by name, in the order of the lecture."""
