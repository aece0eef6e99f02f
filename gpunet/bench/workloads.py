"""What is measured: a network, in training or in inference, on batches of a certain size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from gpunet import functional, nn
from gpunet.amp import GradScaler
from gpunet.autocast import autocast
from gpunet.backend import active_backend, as_nchw, asarray, manual_seed, to_nhwc, xp
from gpunet.bench.networks import BENCH_MODELS, define
from gpunet.errors import ArgumentError
from gpunet.functional import cross_entropy
from gpunet.functional.checks import check_choice, whole_number
from gpunet.models import LARGE_MODELS, MODELS, check_image_size, summary
from gpunet.optim import SGD
from gpunet.suggestions import suggestion
from gpunet.tape import no_grad
from gpunet.tensor import Tensor, tensor

__all__ = [
    "LR",
    "MODES",
    "MOMENTUM",
    "TABLE",
    "TINY",
    "WEIGHT_DECAY",
    "Cost",
    "TableRow",
    "Workload",
    "build",
    "cost",
    "default_image",
    "draw_batch",
    "prepare",
    "synchronize",
]

MODES = ("train", "inference")
LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 1e-4  # of SGD; the time does not depend on them


def default_image(model: str) -> tuple[int, int, int]:
    """The (C, H, W) of the images that a network was made for."""
    sizes = {"small_cnn": (1, 28, 28), "lenet5": (1, 32, 32), "mobile_block": (32, 112, 112)}
    return sizes.get(model, (3, 224, 224) if model in LARGE_MODELS else (3, 32, 32))


@dataclass(frozen=True)
class Workload:
    """One step of training, or of inference, of a network on one batch.

    Attributes:
        image: (C, H, W).

    Raises:
        ArgumentError: if there is no such network or mode, a size is not a whole number of 1 or more, or the network
            does not take images of that size.
    """

    model: str
    mode: str
    batch: int
    image: tuple[int, int, int]

    def __post_init__(self) -> None:
        if self.model not in BENCH_MODELS:
            raise ArgumentError(f"unknown model {self.model!r}; {suggestion(self.model, BENCH_MODELS)}")
        check_choice(self.mode, MODES, "mode", "Workload")
        if self.model == "mobile_block" and self.mode == "train":
            raise ArgumentError("mobile_block has no classes to train for: choose inference")
        whole_number(self.batch, "batch", "Workload", 1)
        if len(self.image) != 3:
            raise ArgumentError(f"Workload: image must be (C, H, W), got {self.image!r}")
        for size in self.image:
            whole_number(size, "image", "Workload", 1)
        check_image_size(self.model, *self.image[1:])

    def __str__(self) -> str:
        return f"{self.model} {self.mode}, {self.batch} x {'x'.join(map(str, self.image))}"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        return (self.batch, *self.image)

    @property
    def num_classes(self) -> int:
        """1000 for the networks for large images, as in the papers, and 10 for the others."""
        return 1000 if self.model in LARGE_MODELS else 10

    def with_batch(self, batch: int) -> Workload:
        """The same with batches of another size."""
        return replace(self, batch=batch)

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as `from_dict` takes them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Workload:
        """The workload with these fields, as they come out of JSON."""
        return cls(fields["model"], fields["mode"], fields["batch"], tuple(fields["image"]))


@dataclass(frozen=True)
class TableRow:
    """A workload of the standard comparison, and how many times as fast as PyTorch gpunet is meant to be at it.

    Attributes:
        memory: the share of PyTorch's peak memory that gpunet may take.
    """

    workload: Workload
    default: float
    channels_last: float | None = None
    memory: float | None = None


TINY = Workload("resnet20", "train", 8, (3, 8, 8))
"""A step whose arithmetic takes next to no time: what is left is overhead."""

TABLE = (
    TableRow(Workload("resnet20", "train", 128, (3, 32, 32)), 1.3, 1.0, 0.5),
    TableRow(Workload("resnet20", "inference", 128, (3, 32, 32)), 1.2, 1.0),
    TableRow(Workload("small_cnn", "train", 128, (1, 28, 28)), 1.5, 1.1),
    TableRow(Workload("resnet18", "inference", 1, (3, 224, 224)), 1.1, 1.0),
    TableRow(Workload("resnet18", "inference", 16, (3, 224, 224)), 1.1, 1.0),
    TableRow(Workload("resnet18", "train", 16, (3, 224, 224)), 1.1, 1.0),
    TableRow(Workload("mobile_block", "inference", 16, (32, 112, 112)), 1.0, 1.0),
    TableRow(TINY, 1.3),
)
"""The standard comparison: `gpunet bench --table --against torch`."""


def build(workload: Workload) -> nn.Module:
    """The network of a workload, in the right mode; the same weights every time."""
    manual_seed(0)
    written = define(nn, functional)
    if workload.model in written:
        network: nn.Module = written[workload.model](workload.num_classes, workload.image)
    else:
        network = MODELS[workload.model](workload.num_classes, workload.image[0])
    return network.train(workload.mode == "train")


def draw_batch(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Random images (N, C, H, W) and labels (N,), on the host; the same every time."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal(workload.input_shape, dtype=np.float32)
    return images, rng.integers(0, workload.num_classes, workload.batch)


def prepare(
    workload: Workload, amp: bool = False, wait: bool = True, model: nn.Module | None = None
) -> Callable[[], None]:
    """Set a workload up on the active backend; what is returned takes one step of it.

    Args:
        amp: in mixed precision: under autocast, training with a GradScaler.
        wait: for a GPU, at the end of each step.
        model: what `build` makes, to look at it afterwards; None to have it made.
    """
    model = model or build(workload)
    images, labels = draw_batch(workload)
    x, target = Tensor(as_nchw(to_nhwc(asarray(images)))), tensor(labels)
    optimizer = SGD(model.parameters(), LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    scaler = GradScaler(1.0, enabled=amp)  # so small that no step is left out

    def train() -> None:
        optimizer.zero_grad()
        with autocast(enabled=amp):
            loss = cross_entropy(model(x), target)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    def infer() -> None:
        with no_grad(), autocast(enabled=amp):
            _ = model(x).array  # or its last layers might wait for somebody to look, and never run

    def step() -> None:
        (train if workload.mode == "train" else infer)()
        if wait:
            synchronize()

    return step


def synchronize() -> None:
    """Wait until a GPU has done all that was asked of it."""
    if active_backend() != "numpy":
        xp.cuda.get_current_stream().record().synchronize()


@dataclass(frozen=True)
class Cost:
    """What one step of a workload takes at least.

    Attributes:
        flops: of the matrix products that convolutions and fully connected layers are: an addition and a multiplication
            are two.
        activation_bytes: of the outputs of all layers, which training has to keep.
    """

    flops: int
    activation_bytes: int


def cost(workload: Workload) -> Cost:
    """Count what a workload takes.

    The direct algorithm's products: one for the forward pass and, in training, one for the gradient by the input and
    one for the gradient by the weight. The first layer's input needs no gradient.
    """
    table = summary(build(workload), workload.input_shape)
    products = [layer.multiply_adds for layer in table.layers if layer.multiply_adds]
    total = 3 * sum(products) - products[0] if workload.mode == "train" else sum(products)
    outputs = sum(math.prod(layer.output_shape) for layer in table.layers)
    return Cost(2 * total, 4 * outputs)
