"""Optimizers, learning rate schedules and gradient clipping, under PyTorch's names."""

from gpunet.optim import lr_scheduler
from gpunet.optim.adam import Adam, AdamW
from gpunet.optim.clip import clip_grad_norm_
from gpunet.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from gpunet.optim.optimizer import Optimizer
from gpunet.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineAnnealingLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "Optimizer",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "clip_grad_norm_",
    "lr_scheduler",
]
