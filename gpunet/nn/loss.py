"""Loss layers; the formulas and papers are with the functions in `gpunet.functional`."""

from __future__ import annotations

from gpunet import functional as F
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["BCELoss", "BCEWithLogitsLoss", "CrossEntropyLoss", "KLDivLoss", "MSELoss", "NLLLoss"]


class CrossEntropyLoss(Module):
    """`-sum_i t_i log softmax(x)_i`, from logits; see `gpunet.functional.cross_entropy`.

    Shape:
        input: (N, C) or (N, C, d1, ...); target: labels (N,) or (N, d1, ...), or probabilities of the input's shape.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction, self.label_smoothing = ignore_index, reduction, label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare logits with the right classes."""
        return F.cross_entropy(input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing)


class NLLLoss(Module):
    """`-weight[t] * x[t]`, from log-probabilities; see `gpunet.functional.nll_loss`.

    Shape:
        input: (N, C) or (N, C, d1, ...); target: labels (N,) or (N, d1, ...).
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare log-probabilities with the right classes."""
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class BCELoss(Module):
    """`-t log y - (1-t) log(1-y)`, from probabilities; see `gpunet.functional.binary_cross_entropy`.

    Shape:
        input and target: any, the same.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare probabilities with the right ones."""
        return F.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Module):
    """`-w t log s(x) - (1-t) log(1 - s(x))`, from logits; see `gpunet.functional.binary_cross_entropy_with_logits`.

    Shape:
        input and target: any, the same.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean", pos_weight: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare logits with the right probabilities."""
        return F.binary_cross_entropy_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class KLDivLoss(Module):
    """`sum_i p_i (log p_i - log q_i)`, from log q; see `gpunet.functional.kl_div`.

    Shape:
        input and target: any, the same.
    """

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__()
        self.reduction, self.log_target = reduction, log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare log-probabilities with the right distribution."""
        return F.kl_div(input, target, self.reduction, self.log_target)


class MSELoss(Module):
    """`(x - t)^2`; see `gpunet.functional.mse_loss`.

    Shape:
        input and target: any, the same.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Compare values with the right ones."""
        return F.mse_loss(input, target, self.reduction)
