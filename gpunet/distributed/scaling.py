"""What more GPUs would bring, by the formula of a ring all-reduce. A prediction, not a measurement."""

from __future__ import annotations

from dataclasses import dataclass

from gpunet.functional.checks import probability, whole_number
from gpunet.optim.checks import not_negative, positive

__all__ = ["ScalingPrediction", "predict_scaling"]


@dataclass(frozen=True)
class ScalingPrediction:
    """A step of data-parallel training.

    Attributes:
        ranks: how many GPUs.
        bytes_per_step: that each sends, and receives.
        compute_seconds: of forward, backward and the optimizer, on one GPU.
        communication_seconds: of the all-reduce of all gradients.
        step_seconds: of both, as far as one does not hide behind the other.
        images_per_second: of all GPUs together.
        efficiency: that, as a share of what as many GPUs would do that need not talk.
    """

    ranks: int
    bytes_per_step: float
    compute_seconds: float
    communication_seconds: float
    step_seconds: float
    images_per_second: float
    efficiency: float


def predict_scaling(
    ranks: int,
    parameters: int,
    batch: int,
    images_per_second: float,
    bandwidth: float,
    latency: float,
    overlap: float = 2 / 3,
    bucket_bytes: int = 4 << 20,
    bytes_per_parameter: int = 4,
) -> ScalingPrediction:
    """Predict a step of N GPUs from what was measured of one, and of what lies between them.

        bytes         = 2 (N - 1) / N * parameters * bytes_per_parameter
        compute       = batch / images_per_second
        communication = bytes / bandwidth + buckets * 2 (N - 1) * latency
        step          = compute + max(0, communication - overlap * compute)
        efficiency    = compute / step

    Args:
        ranks: N.
        parameters: numbers of the model that are learned.
        batch: images of one GPU in a step.
        images_per_second: that one GPU learns from, measured.
        bandwidth: bytes a second that a GPU sends and at the same time receives, measured ("bus bandwidth").
        latency: seconds until a message of a byte arrives, measured.
        overlap: the share of the computation behind which communication hides: backward, which is two thirds of it.
        bucket_bytes: of gradients that travel together.
        bytes_per_parameter: of a gradient.

    Raises:
        ArgumentError: if a number makes no sense.

    Reference:
        Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009.

    Example:
        >>> prediction = predict_scaling(8, 25_557_032, 64, images_per_second=800, bandwidth=20e9, latency=5e-6)
        >>> f"{prediction.bytes_per_step / 1e6:.0f} MB, {prediction.images_per_second:,.0f} images/s"
        '179 MB, 6,400 images/s'
    """
    name = "predict_scaling"
    ranks = whole_number(ranks, "ranks", name, 1)
    size = whole_number(parameters, "parameters", name, 1) * whole_number(
        bytes_per_parameter, "bytes_per_parameter", name, 1
    )
    buckets = -(-size // whole_number(bucket_bytes, "bucket_bytes", name, 1))
    sent = 2 * (ranks - 1) / ranks * size
    compute = whole_number(batch, "batch", name, 1) / positive(images_per_second, "images_per_second", name)
    communication = sent / positive(bandwidth, "bandwidth", name)
    communication += buckets * 2 * (ranks - 1) * not_negative(latency, "latency", name)
    step = compute + max(0.0, communication - probability(overlap, "overlap", name) * compute)
    return ScalingPrediction(ranks, sent, compute, communication, step, ranks * batch / step, compute / step)
