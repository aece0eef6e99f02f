"""Layers and networks, under PyTorch's names."""

from gpunet.nn import functional, init
from gpunet.nn.activation import GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from gpunet.nn.batchnorm import BatchNorm1d, BatchNorm2d
from gpunet.nn.container import ModuleList, Sequential
from gpunet.nn.dropout import Dropout, Dropout2d
from gpunet.nn.evaluation_mode import evaluation_mode
from gpunet.nn.linear import Conv2d, Linear
from gpunet.nn.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, KLDivLoss, MSELoss, NLLLoss
from gpunet.nn.module import Module
from gpunet.nn.observe import observe
from gpunet.nn.parameter import Parameter
from gpunet.nn.pooling import AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool2d, GlobalAvgPool2d, MaxPool2d
from gpunet.nn.shaping import Flatten, Identity

__all__ = [
    "GELU",
    "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Dropout2d",
    "Flatten",
    "GlobalAvgPool2d",
    "Identity",
    "KLDivLoss",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "evaluation_mode",
    "functional",
    "init",
    "observe",
]
