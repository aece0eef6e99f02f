"""What a network consists of: its layers, their output shapes, parameters and multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from gpunet.backend import xp
from gpunet.errors import ArgumentError
from gpunet.functional.checks import whole_number
from gpunet.nn import Conv2d, Linear, Module, evaluation_mode, observe
from gpunet.notebook import table
from gpunet.tape import no_grad
from gpunet.tensor import Tensor

__all__ = ["LayerSummary", "Summary", "summary"]


class LayerSummary(NamedTuple):
    """One layer as it ran."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


class Summary(NamedTuple):
    """The layers of a network in the order in which they ran; prints as a table.

    Attributes:
        layers: one entry for each layer that ran.
        parameters: how many numbers the network has learned, or will.
        trainable_parameters: those that gradients reach.
        multiply_adds: how many multiplications with an addition one forward pass takes, of convolutions and fully
            connected layers: what the papers count.
    """

    layers: tuple[LayerSummary, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int

    def _rows(self) -> list[tuple[str, ...]]:
        """The table as text: its head, the layers, the totals."""
        rows = [("layer", "type", "output shape", "parameters", "multiply-adds")]
        rows += [
            (layer.name, layer.kind, str(layer.output_shape), f"{layer.parameters:,}", f"{layer.multiply_adds:,}")
            for layer in self.layers
        ]
        return [*rows, ("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}")]

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        head, *rows = self._rows()
        return table(head, rows, text=3)

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            "  ".join(
                cell.rjust(width) if column > 2 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def summary(model: Module, input_size: Sequence[int]) -> Summary:
    """Run a network once on zeros and list its layers with output shapes, parameters and multiply-adds.

    Args:
        input_size: (C, H, W) of one image, or (N, C, H, W) of a batch.

    Shape:
        the output shapes and multiply-adds are those of one image, or of that batch.

    Raises:
        ArgumentError: if the size does not have 3 or 4 positive numbers.
        ShapeError: if images of that size do not fit the network.
    """
    if not isinstance(input_size, Sequence) or len(input_size) not in (3, 4):
        raise ArgumentError(f"summary: input_size must be (C, H, W) or (N, C, H, W), got {input_size!r}")
    size = tuple(whole_number(number, "input_size", "summary", 1) for number in input_size)
    parameters = list(model.parameters())
    dtype = parameters[0].dtype if parameters else xp.float32
    layers: list[LayerSummary] = []

    def note(name: str, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if next(module.children(), None) is None:
            own = sum(parameter.numel() for parameter in module.parameters())
            shape = getattr(output, "shape", ())
            layers.append(LayerSummary(name, type(module).__name__, shape, own, _multiply_adds(module, shape)))

    with no_grad(), evaluation_mode(model), observe(model, note):
        model(Tensor(xp.zeros(size if len(size) == 4 else (1, *size), dtype=dtype)))
    return Summary(
        tuple(layers),
        sum(parameter.numel() for parameter in parameters),
        sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        sum(layer.multiply_adds for layer in layers),
    )


def _multiply_adds(module: Module, output_shape: tuple[int, ...]) -> int:
    """Each output number of a convolution or a fully connected layer is a sum over one row of its weight."""
    if isinstance(module, Conv2d | Linear):
        return math.prod(output_shape) * math.prod(module.weight.shape[1:])
    return 0
