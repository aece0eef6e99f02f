"""Optimizers, learning rate schedules and gradient clipping, under PyTorch's names."""

from typing import Any as _Any

from gpunet.nn.utils.clip import clip_grad_norm_, clip_grad_value_
from gpunet.optim import lr_scheduler, swa_utils
from gpunet.optim.adam import Adam, AdamW
from gpunet.optim.adaptive import Adadelta, Adagrad, Adamax, NAdam, RAdam, RMSprop
from gpunet.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
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
    "Adamax",
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
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
    "swa_utils",
]

NOT_HERE = {
    "ASGD": "SGD, and swa_utils.AveragedModel for the mean of its weights",
    "Adafactor": "Adam; it saves memory that networks of this size do not need",
    "LBFGS": "Adam or SGD with momentum; batches are too noisy for it",
    "Muon": "SGD with momentum, or AdamW",
    "Rprop": "RMSprop, which does the like for batches",
    "SparseAdam": "Adam; there are no sparse gradients",
}
"""PyTorch's optimizers that are not here, each with what to take instead."""


def __getattr__(name: str) -> _Any:
    if name in NOT_HERE:
        raise AttributeError(f"gpunet.optim has no {name}: take {NOT_HERE[name]}")
    raise AttributeError(f"module 'gpunet.optim' has no attribute {name!r}")
