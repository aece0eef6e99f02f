"""Everything that there is to say about an exercise, in numbers; what is made of them, text or a page, is elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend import use_backend
from gpunet.explain.exercise import Exercise, as_planes, leaves_of, run
from gpunet.explain.formula import Planes, compute
from gpunet.explain.launches import OnGpu, on_gpu
from gpunet.explain.matrices import Matrices, matrices
from gpunet.explain.operations import LECTURE
from gpunet.explain.products import Place, Products, Sum, Term, is_product
from gpunet.tensor import tensor

__all__ = ["Explanation", "Quantity", "Size", "Window", "as_json", "explain"]

Values = np.ndarray[Any, np.dtype[Any]]


class Size(NamedTuple):
    """The numbers of the formula of the output size, along one axis: floor((H + 2P - D (K-1) - 1) / S) + 1."""

    input: int
    padding: int
    dilation: int
    kernel: int
    stride: int
    output: int


class Quantity(NamedTuple):
    """An intermediate value.

    Attributes:
        name: as its operation calls it.
        symbol: how formulas write it.
        values: a number, one for each channel or class, or an image.
        backward: whether it belongs to the way back.
    """

    name: str
    symbol: str
    values: Values
    backward: bool = False


class Window(NamedTuple):
    """One position of the window.

    Attributes:
        rows: the rows of the image that it covers; those outside 0 .. H-1 are padding.
        columns: the columns likewise.
        sum: the output element that is made of it. The terms are in the order of the filter, channel by channel and row
            by row; max pooling has none for the padding, which never wins.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    sum: Sum


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
        quantities: what lies between input and output.
        gpu: what runs it on a GPU.
        products: all arrays as planes, and the sums of products among them.
    """

    exercise: Exercise
    output: Values
    gradients: Mapping[str, Values]
    sizes: tuple[Size, Size] | None
    steps: tuple[Window, ...]
    sums: tuple[Sum, ...]
    matrices: Matrices | None
    quantities: tuple[Quantity, ...]
    gpu: OnGpu
    products: Products

    @property
    def chosen_step(self) -> Window | None:
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
        products = work_out(exercise)
        steps = _windows(exercise, products)
        return Explanation(
            exercise,
            output,
            gradients,
            _sizes(exercise),
            steps,
            _gradient_sums(exercise, products),
            matrices(exercise),
            _quantities(exercise, products.values),
            on_gpu(exercise),
            products,
        )


def work_out(exercise: Exercise) -> Products:
    """All steps of the operation, one after the other."""
    operation = LECTURE[exercise.operation]
    values = as_planes(exercise)
    products = Products(operation.trees, values, exercise.window, exercise.output_size)
    for name, tree in operation.trees.items():
        values[name] = products.compute(tree) if is_product(tree) else compute(tree, values)
    return products


def _run(exercise: Exercise) -> tuple[Values, dict[str, Values]]:
    """The output and the gradients."""
    is_image, gradient = exercise.input.ndim == 3, exercise.gradient
    leaves = leaves_of(exercise)
    output = run(exercise, leaves)
    output.backward(None if gradient is None else tensor(gradient[None] if is_image else gradient))
    gradients = {
        name: np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy() + 0.0
        for name, leaf in leaves.items()
        if leaf.requires_grad
    }
    if is_image:
        gradients["input"] = gradients["input"][0]
    return output.numpy()[0] if is_image and output.ndim else output.numpy(), gradients


def _sizes(exercise: Exercise) -> tuple[Size, Size] | None:
    window = exercise.window
    if window is None:
        return None
    size = exercise.input.shape[1:]
    outputs = window.output_size(*size)
    settings = (size, [before for before, _ in window.padding], window.dilation, window.kernel, window.stride, outputs)
    rows, columns = (Size(*(each[axis] for each in settings)) for axis in range(2))
    return rows, columns


def _windows(exercise: Exercise, products: Products) -> tuple[Window, ...]:
    """All positions of the window, in the order of the output elements; none where nothing slides."""
    tree = products.trees["output"]
    if exercise.input.ndim != 3 or not is_product(tree):
        return ()
    output = products.values["output"]
    return tuple(
        Window(*products.covered(tree, place), Sum("output", place, products.terms(tree, place), float(output[place])))
        for place in np.ndindex(output.shape)
    )


def _gradient_sums(exercise: Exercise, products: Products) -> tuple[Sum, ...]:
    """The gradient by one element of the input, and by one of the weight, as sums over the output.

    The pixel is the one below the chosen window that most windows see; the element is the first of the filter.
    """
    tree = products.trees["output"]
    if not is_product(tree):
        return ()
    chosen = (0,) * (3 - len(exercise.chosen)) + exercise.chosen
    shape, by_input = products.values["input"].shape, products.trees["input_gradient"]
    below = [term.place for term in products.terms(tree, chosen)]
    inside = [place for place in below if all(0 <= at < size for at, size in zip(place, shape, strict=True))]
    met = products.gradient_terms(by_input, inside)
    chosen_sums = []
    if met:
        most = max(met, key=lambda place: sum(term.factor != 0 for term in met[place]))
        chosen_sums.append(_sum("input", most, tuple(met[most]), products))
    if "weight_gradient" in products.trees:
        first = (0, chosen[2], 0) if tree[0] == "linear" else (chosen[0] * shape[0], 0, 0)
        chosen_sums.append(_sum("weight", first, products.terms(products.trees["weight_gradient"], first), products))
    return tuple(each._replace(place=_natural_place(each, exercise, products)) for each in chosen_sums)


def _sum(of: str, place: Place, terms: tuple[Term, ...], products: Products) -> Sum:
    return Sum(of, place, terms, float(products.values[f"{of}_gradient"][place]))


def _natural_place(found: Sum, exercise: Exercise, products: Products) -> Place:
    """A place among planes as a place in the array itself: (k,), (o, k), or (o, c, i, j) of filters."""
    if exercise.input.ndim == 1:
        return found.place[2:] if found.of == "input" else found.place[1:]
    if found.of == "input":
        return found.place
    channels = len(exercise.input)
    return (found.place[0] // channels, found.place[0] % channels, *found.place[1:])


def _quantities(exercise: Exercise, values: Mapping[str, Planes]) -> tuple[Quantity, ...]:
    """What has a meaning of its own, in the order in which it is computed."""
    operation = LECTURE[exercise.operation]
    told = operation.texts["en"]  # what is given and has a meaning is one, too, such as what dropout draws
    given = [Quantity(name, grid.symbol, values[name]) for name, grid in operation.grids.items() if name in told]
    results = {"output", *(f"{name}_gradient" for name in operation.grids)}
    steps = [(step, step in operation.back) for step in operation.all_steps if step.name not in results]
    found = [*given, *(Quantity(step.name, step.symbol, values[step.name], back) for step, back in steps)]
    return tuple(each._replace(values=_natural(each.values, exercise)) for each in found)


def _natural(planes: Planes, exercise: Exercise) -> Values:
    """Planes as the image, the row, the numbers of the channels, or the single number that they stand for."""
    if exercise.input.ndim == 1:
        return planes.reshape(-1) if planes.shape[2] == len(exercise.input) else planes.reshape(())
    if planes.size == 1 and len(exercise.chosen) == 1:  # one number for all classes
        return planes.reshape(())
    is_per_channel = planes.shape[1:] == (1, 1) and exercise.input[0].size > 1
    return planes[:, 0, 0] if is_per_channel else planes


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain Python that JSON can hold, but for `products`, which says it all once more."""
    names = [each.name for each in dataclasses.fields(Explanation) if each.name != "products"]
    return {name: _plain(getattr(explanation, name)) for name in names}


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
