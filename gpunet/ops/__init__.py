"""Operations: arrays in, arrays out. Forward and backward of one operation stand in one place; no Tensor in sight.

The modules that are imported here hold launchers of kernels: whoever imports an operation has its kernels.
"""

# Of several kernels that take the same arguments, the one declared first runs: depthwise convolution before all others.
from gpunet.ops import cpu_depthwise  # noqa: F401

# isort: split
from gpunet.ops import (  # noqa: F401
    cpu_batchnorm,
    cpu_conv,
    cpu_descent,
    cpu_elementwise,
    cpu_linear,
    cpu_pooling,
    cpu_reduction,
    cpu_softmax,
    cpu_weight_gradient,
    cuda_batchnorm,
    cuda_conv,
    cuda_elementwise,
    cuda_pooling,
)
