"""Everything that there is to say about an exercise, in numbers; what is made of them, text or a page, is elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpunet import functional as F
from gpunet.backend import use_backend
from gpunet.explain.exercise import Exercise
from gpunet.explain.launches import OnGpu, on_gpu
from gpunet.explain.matrices import Matrices, matrices
from gpunet.explain.quantities import Quantity, gradient_of, quantities, seeded_dropout
from gpunet.explain.terms import Sum
from gpunet.explain.windows import Step, gradient_sums, sliding
from gpunet.tensor import Tensor, tensor

__all__ = ["Explanation", "Size", "as_json", "explain"]

Values = np.ndarray[Any, np.dtype[Any]]


class Size(NamedTuple):
    """The numbers of the formula of the output size, along one axis: floor((H + 2P - D (K-1) - 1) / S) + 1."""

    input: int
    padding: int
    dilation: int
    kernel: int
    stride: int
    output: int


@dataclass(frozen=True, eq=False)
class Explanation:
    """An exercise, worked out by gpunet.

    Attributes:
        output: like the input, an image (O, Ho, Wo) or numbers (K,); the loss, ().
        gradients: of the loss by "input", "weight" and "bias", each in the shape of what it belongs to.
        sizes: the output size along rows and columns, where a window of a fixed size slides.
        steps: the window at each of its positions.
        sums: the gradient by one pixel and by one element of the filter, written out.
        matrices: a convolution as a matrix product.
        quantities: what lies between input and output where no window slides.
        gpu: what runs it on a GPU.
    """

    exercise: Exercise
    output: Values
    gradients: Mapping[str, Values]
    sizes: tuple[Size, Size] | None
    steps: tuple[Step, ...]
    sums: tuple[Sum, ...]
    matrices: Matrices | None
    quantities: tuple[Quantity, ...]
    gpu: OnGpu

    @property
    def chosen_step(self) -> Step | None:
        """The window that makes the chosen element."""
        return next((step for step in self.steps if step.sum.place == self.exercise.chosen), None)


def explain(exercise: Exercise) -> Explanation:
    """Work an exercise out: forward through `gpunet.functional`, backward through the tape, on the NumPy backend.

    Example:
        >>> from gpunet.explain.exercise import lecture_exercise
        >>> explain(lecture_exercise("max_pool2d")).output.tolist()
        [[[3.0, 1.0], [3.0, 3.0]]]
    """
    with use_backend("numpy"):
        output, gradients = _run(exercise)
        steps = sliding(exercise)
        return Explanation(
            exercise,
            output,
            gradients,
            _sizes(exercise),
            steps,
            gradient_sums(exercise, steps),
            matrices(exercise),
            quantities(exercise, output),
            on_gpu(exercise),
        )


def _run(exercise: Exercise) -> tuple[Values, dict[str, Values]]:
    """The output and the gradients."""
    is_image = exercise.input.ndim == 3
    leaves = {"input": tensor(exercise.input[None] if is_image else exercise.input, requires_grad=True)}
    for name, values in (("weight", exercise.weight), ("bias", exercise.bias)):
        if values is not None:
            leaves[name] = tensor(values, requires_grad=True)
    output = _FUNCTIONS[exercise.operation](exercise, leaves)
    gradient = exercise.gradient
    output.backward(None if gradient is None else tensor(gradient[None] if is_image else gradient))
    gradients = {name: gradient_of(leaf) for name, leaf in leaves.items()}
    if is_image:
        gradients["input"] = gradients["input"][0]
    return output.numpy()[0] if is_image else output.numpy(), gradients


Leaves = Mapping[str, Tensor]

_FUNCTIONS: dict[str, Callable[[Exercise, Leaves], Tensor]] = {
    "conv2d": lambda e, x: F.conv2d(x["input"], x["weight"], **_of_window(e, "stride", "padding", "dilation")),
    "max_pool2d": lambda e, x: F.max_pool2d(
        x["input"], **_of_window(e, "kernel_size", "stride", "padding", "dilation")
    ),
    "avg_pool2d": lambda e, x: F.avg_pool2d(x["input"], **_of_window(e, "kernel_size", "stride", "padding")),
    "adaptive_avg_pool2d": lambda e, x: F.adaptive_avg_pool2d(x["input"], e.output_size or 1),
    "dropout": lambda e, x: seeded_dropout(e, x["input"])[0],
    "batch_norm": lambda e, x: F.batch_norm(
        x["input"], weight=x["weight"], bias=x["bias"], training=True, eps=e.eps or 0.0
    ),
    "sigmoid": lambda e, x: F.sigmoid(x["input"]),
    "softmax": lambda e, x: F.softmax(x["input"]),
    "kl_div": lambda e, x: F.kl_div(x["input"].log(), tensor(e.target), reduction="sum"),
    "binary_cross_entropy": lambda e, x: F.binary_cross_entropy(x["input"], tensor(e.target)),
    "cross_entropy": lambda e, x: F.cross_entropy(
        x["input"].unsqueeze(0), tensor(e.target).unsqueeze(0) if e.label is None else tensor([e.label])
    ),
}


def _of_window(exercise: Exercise, *names: str) -> dict[str, Any]:
    """Some settings of the window, under the names of `gpunet.functional`."""
    window = exercise.window
    if window is None:
        return {}
    padding = (window.padding[0][0], window.padding[1][0])
    settings = {"kernel_size": window.kernel, "stride": window.stride, "padding": padding, "dilation": window.dilation}
    return {name: settings[name] for name in names}


def _sizes(exercise: Exercise) -> tuple[Size, Size] | None:
    window = exercise.window
    if window is None:
        return None
    size = exercise.input.shape[1:]
    outputs = window.output_size(*size)
    rows, columns = (
        Size(
            size[axis],
            window.padding[axis][0],
            window.dilation[axis],
            window.kernel[axis],
            window.stride[axis],
            outputs[axis],
        )
        for axis in range(2)
    )
    return rows, columns


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain Python that JSON can hold."""
    plain: dict[str, Any] = _plain(explanation)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "_asdict"):
        return {name: _plain(member) for name, member in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(member) for member in value]
    return value
