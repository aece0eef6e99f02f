"""Which layer takes how long: the forward pass, layer by layer.

Each layer's output is computed before the next layer begins. So what a network otherwise does in one pass over memory,
such as batch norm, addition and ReLU, is done one by one here: all layers together take longer than a forward pass.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gpunet.backend import as_nchw, asarray, to_nhwc
from gpunet.bench.timing import Clock
from gpunet.bench.workloads import Workload, build, draw_batch, synchronize
from gpunet.models import summary
from gpunet.nn import Module, observe
from gpunet.tape import no_grad
from gpunet.tensor import Tensor

__all__ = ["LayerTime", "convolution_speed", "time_layers"]


@dataclass(frozen=True)
class LayerTime:
    """One layer's part of the forward pass.

    Attributes:
        seconds: from the end of the layer before it to its own end, the median of several passes.
        flops: of its matrix product; 0 where it has none.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    seconds: float
    flops: int

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as `from_dict` takes them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> LayerTime:
        """The layer with these fields, as they come out of JSON."""
        return cls(**{**fields, "output_shape": tuple(fields["output_shape"])})


def time_layers(workload: Workload, repeats: int, clock: Clock = time.perf_counter) -> list[LayerTime]:
    """Time the forward pass of a workload layer by layer, in the order in which the layers run.

    What a network does between two layers counts for the second of them; what it does after its last one, for none.
    """
    model = build(workload)
    x = Tensor(as_nchw(to_nhwc(asarray(draw_batch(workload)[0]))))
    counted = summary(model, workload.input_shape).layers
    passes = [_one_pass(model, x, workload.mode == "train", clock) for _ in range(repeats + 1)][1:]  # one to warm up
    return [
        LayerTime(layer.name, layer.kind, layer.output_shape, statistics.median(seconds), 2 * layer.multiply_adds)
        for layer, seconds in zip(counted, zip(*passes, strict=True), strict=True)
    ]


def _one_pass(model: Module, x: Tensor, recording: bool, clock: Clock) -> list[float]:
    """The seconds of each layer in one forward pass, whatever it has put off included."""
    ends: list[float] = []

    def note(name: str, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if next(module.children(), None) is None:
            if isinstance(output, Tensor):
                _ = output.array  # or it might wait, and count for a later layer
            synchronize()
            ends.append(clock())

    with contextlib.nullcontext() if recording else no_grad(), observe(model, note):
        synchronize()
        started = clock()
        model(x)
    return [end - before for before, end in zip([started, *ends], ends, strict=False)]


def convolution_speed(layers: Sequence[LayerTime]) -> float | None:
    """The floating-point operations a second that the convolutions reach together; None if there are none."""
    convolutions = [layer for layer in layers if layer.kind == "Conv2d"]
    seconds = sum(layer.seconds for layer in convolutions)
    return sum(layer.flops for layer in convolutions) / seconds if seconds else None
