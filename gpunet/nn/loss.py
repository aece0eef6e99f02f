"""Loss layers; the formulas and papers are with the functions in `gpunet.functional`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from gpunet import functional as F
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CosineEmbeddingLoss",
    "CosineSimilarity",
    "CrossEntropyLoss",
    "GaussianNLLLoss",
    "HingeEmbeddingLoss",
    "HuberLoss",
    "KLDivLoss",
    "L1Loss",
    "MSELoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "NLLLoss",
    "PairwiseDistance",
    "PoissonNLLLoss",
    "SmoothL1Loss",
    "SoftMarginLoss",
    "TripletMarginLoss",
]


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


class _Loss(Module):
    """A loss that calls one function with the settings that it was made with."""

    _function: ClassVar[Callable[..., Tensor]]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._settings = tuple(settings)
        for name, value in settings.items():
            if name == "weight":
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        """The function of the inputs, which may be named."""
        return self._function(*inputs, **named, **{name: getattr(self, name) for name in self._settings})


class L1Loss(_Loss):
    """`|x - t|`; see `gpunet.functional.l1_loss`.

    Shape:
        input and target: any, the same.
    """

    _function = staticmethod(F.l1_loss)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class SmoothL1Loss(_Loss):
    """`d^2 / (2 beta) where |d| < beta else |d| - beta / 2`, with d = x - t; see `gpunet.functional.smooth_l1_loss`.

    Shape:
        input and target: any, the same.
    """

    _function = staticmethod(F.smooth_l1_loss)

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction, beta=beta)


class HuberLoss(_Loss):
    """`d^2 / 2 where |d| <= delta else delta (|d| - delta / 2)`, with d = x - t; see `gpunet.functional.huber_loss`.

    Shape:
        input and target: any, the same.
    """

    _function = staticmethod(F.huber_loss)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction, delta=delta)


class SoftMarginLoss(_Loss):
    """`log(1 + e^(-t x))` for targets 1 and -1; see `gpunet.functional.soft_margin_loss`.

    Shape:
        input and target: any, the same.
    """

    _function = staticmethod(F.soft_margin_loss)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class HingeEmbeddingLoss(_Loss):
    """`x where t is 1, max(0, margin - x) where t is -1`; see `gpunet.functional.hinge_embedding_loss`.

    Shape:
        input and target: any, the same.
    """

    _function = staticmethod(F.hinge_embedding_loss)

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(margin=margin, reduction=reduction)


class MarginRankingLoss(_Loss):
    """`max(0, -t (a - b) + margin)`; see `gpunet.functional.margin_ranking_loss`.

    Shape:
        input1, input2 and target: any, the same.
    """

    _function = staticmethod(F.margin_ranking_loss)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(margin=margin, reduction=reduction)


class CosineEmbeddingLoss(_Loss):
    """`1 - cos(a, b) where t is 1, max(0, cos(a, b) - margin) where t is -1`.

    See `gpunet.functional.cosine_embedding_loss`.

    Shape:
        input1 and input2: (N, D) or (D,); target: (N,) or ().
    """

    _function = staticmethod(F.cosine_embedding_loss)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(margin=margin, reduction=reduction)


class TripletMarginLoss(_Loss):
    """`max(0, d(a, p) - d(a, n) + margin)`; see `gpunet.functional.triplet_margin_loss`.

    Shape:
        anchor, positive and negative: (N, D) or (D,).
    """

    _function = staticmethod(F.triplet_margin_loss)

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, reduction: str = "mean"
    ) -> None:
        super().__init__(margin=margin, p=p, eps=eps, swap=swap, reduction=reduction)


class MultiMarginLoss(_Loss):
    """`w[t] / C sum over i other than t of max(0, margin - x[t] + x[i])^p`; see `gpunet.functional.multi_margin_loss`.

    Shape:
        input: (N, C) or (C,); target: (N,) or ().
    """

    _function = staticmethod(F.multi_margin_loss)

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(p=p, margin=margin, weight=weight, reduction=reduction)


class MultiLabelMarginLoss(_Loss):
    """`1 / C sum over right classes t and all others i of max(0, 1 - x[t] + x[i])`.

    See `gpunet.functional.multilabel_margin_loss`.

    Shape:
        input and target: (N, C) or (C,).
    """

    _function = staticmethod(F.multilabel_margin_loss)

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class MultiLabelSoftMarginLoss(_Loss):
    """The mean over the classes of `-t log s(x) - (1 - t) log(1 - s(x))`.

    See `gpunet.functional.multilabel_soft_margin_loss`.

    Shape:
        input and target: (..., C).
    """

    _function = staticmethod(F.multilabel_soft_margin_loss)

    def __init__(self, weight: Tensor | None = None, reduction: str = "mean") -> None:
        super().__init__(weight=weight, reduction=reduction)


class PoissonNLLLoss(_Loss):
    """`e^x - t x`, or `x - t log(x + eps)`; see `gpunet.functional.poisson_nll_loss`.

    Shape:
        input and target: any, the same.
    """

    _function = staticmethod(F.poisson_nll_loss)

    def __init__(self, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean") -> None:
        super().__init__(log_input=log_input, full=full, eps=eps, reduction=reduction)


class GaussianNLLLoss(_Loss):
    """`(log v + (x - t)^2 / v) / 2` with `v = max(var, eps)`; see `gpunet.functional.gaussian_nll_loss`.

    Shape:
        input and target: any, the same; var: that, but for one size of 1, or without the last.
    """

    _function = staticmethod(F.gaussian_nll_loss)

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(full=full, eps=eps, reduction=reduction)


class CosineSimilarity(_Loss):
    """`a . b / (max(|a|, eps) max(|b|, eps))`; see `gpunet.functional.cosine_similarity`.

    Shape:
        x1 and x2 broadcast to each other. output: without `dim`.
    """

    _function = staticmethod(F.cosine_similarity)

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__(dim=dim, eps=eps)


class PairwiseDistance(_Loss):
    """`(sum over i of |a_i - b_i + eps|^p)^(1/p)`; see `gpunet.functional.pairwise_distance`.

    Shape:
        (N, D) or (D,), which broadcast to each other. output: (N,) or ().
    """

    _function = staticmethod(F.pairwise_distance)

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__(p=p, eps=eps, keepdim=keepdim)
