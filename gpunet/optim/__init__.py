"""Optimizers, learning rate schedules and gradient clipping, under PyTorch's names."""

from gpunet.optim import lr_scheduler
from gpunet.optim.adam import Adam, AdamW
from gpunet.optim.adaptive import Adadelta, Adagrad, NAdam, RAdam, RMSprop
from gpunet.optim.clip import clip_grad_norm_, clip_grad_value_
from gpunet.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from gpunet.optim.optimizer import Optimizer
from gpunet.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "NAdam",
    "OneCycleLR",
    "Optimizer",
    "PolynomialLR",
    "RAdam",
    "RMSprop",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]
