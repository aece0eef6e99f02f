"""Prints digests of what the CPU kernels compute, for a comparison of builds: `python -m tests.cpu_bits [--train]`."""

import hashlib
import json
import sys

import numpy as np

from gpunet import functional as F
from gpunet import manual_seed, nn
from gpunet.models import resnet20
from gpunet.tensor import Tensor


def digest(*arrays):
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def convolutions(rng):
    """Convolutions with their gradients: odd sizes, strides, groups, depthwise."""
    for channels, outputs, groups, kernel, stride, padding, dilation in (
        (3, 16, 1, 7, 2, 3, 1),
        (16, 16, 1, 3, 1, 1, 1),
        (17, 33, 1, 3, 2, 1, 1),
        (32, 64, 1, 1, 2, 0, 1),
        (24, 40, 4, 3, 1, 2, 2),
        (32, 32, 32, 3, 2, 1, 1),
        (5, 10, 5, 5, 1, 2, 1),
    ):
        x = Tensor(rng.standard_normal((5, channels, 13, 11), np.float32), requires_grad=True)
        weight = Tensor(rng.standard_normal((outputs, channels // groups, kernel, kernel), np.float32), True)
        bias = Tensor(rng.standard_normal(outputs, np.float32), True)
        y = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
        y.backward(Tensor(rng.standard_normal(y.shape, np.float32)))
        yield y.numpy(), x.grad.numpy(), weight.grad.numpy(), bias.grad.numpy()


def layers(rng):
    """Every layer that has kernels, with gradients."""
    for layer in (
        nn.BatchNorm2d(21),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.AvgPool2d(3, 2, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.AdaptiveAvgPool2d((5, 3)),
        nn.Sequential(nn.Flatten(), nn.Linear(21 * 12 * 9, 7), nn.Softmax(1)),
        nn.Sequential(nn.Flatten(), nn.LogSoftmax(1)),
    ):
        manual_seed(0)
        if isinstance(layer, nn.Sequential) and hasattr(layer[1], "reset_parameters"):
            layer[1].reset_parameters()
        x = Tensor(rng.standard_normal((6, 21, 12, 9), np.float32), requires_grad=True)
        y = layer(x)
        y.backward(Tensor(rng.standard_normal(y.shape, np.float32)))
        yield y.numpy(), x.grad.numpy(), *(each.grad.numpy() for each in layer.parameters())


def a_network(rng):
    """A few steps of training, and the logits afterwards."""
    manual_seed(0)
    model = resnet20(num_classes=10)
    x, labels = Tensor(rng.standard_normal((8, 3, 16, 16), np.float32)), Tensor(rng.integers(0, 10, 8))
    for _ in range(3):
        model.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        for parameter in model.parameters():
            parameter.data = parameter.array - np.float32(0.1) * parameter.grad.array
    yield tuple(each.numpy() for each in model.state_dict().values())
    yield (model.eval()(x).numpy(),)


def main():
    parts = (convolutions, layers, *((a_network,) if "--train" in sys.argv else ()))
    rng = np.random.default_rng(0)
    print(json.dumps({part.__name__: [digest(*arrays) for arrays in part(rng)] for part in parts}))


if __name__ == "__main__":
    main()
