"""gpunet: a GPU array framework for convolutional and residual image classifiers. CuPy on a GPU, NumPy without one."""

from gpunet import data, errors, functional, models, nn, optim
