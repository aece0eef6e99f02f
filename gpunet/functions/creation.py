"""New Tensors. Random numbers are drawn on the host, so that a seed gives the same ones on every backend."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.arguments import DType, check_fits, flag, number_type, sizes_of
from gpunet.backend import active_backend, asarray, host_generator, is_real, xp
from gpunet.device import check_device
from gpunet.errors import ArgumentError, BackendError, DTypeError, ShapeError
from gpunet.functional.checks import check_tensor, number, whole_number
from gpunet.generator import Generator, rng_of
from gpunet.tensor import Tensor, as_tensor, operand, own, tensor

__all__ = [
    "arange",
    "bernoulli",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "linspace",
    "logspace",
    "multinomial",
    "normal",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "zeros",
    "zeros_like",
]


def zeros(*size: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros, float32 where no type is named: `zeros(2, 3)` or `zeros((2, 3))`.

    Raises:
        ShapeError: if a size is negative.
    """
    return full(_sizes(size, "zeros"), 0, dtype=dtype or np.float32, device=device, requires_grad=requires_grad)


def ones(*size: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones, float32 where no type is named.

    Raises:
        ShapeError: if a size is negative.
    """
    return full(_sizes(size, "ones"), 1, dtype=dtype or np.float32, device=device, requires_grad=requires_grad)


def empty(
    *size: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """A Tensor to be filled; until then it holds zeros, the same in every run.

    Raises:
        ShapeError: if a size is negative.
    """
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(size: Any, fill_value: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere; its type is that of the value (float32, int64 or bool) where none is named.

    Raises:
        ShapeError: if a size is negative.
        ArgumentError: if the value does not fit the type.
    """
    check_device(device, "full")
    value = _one(fill_value, "full")
    wanted = _type_of(value) if dtype is None else number_type(dtype)
    check_fits(value, wanted)
    return own(xp.full(_sizes((size,), "full"), value, dtype=wanted), flag(requires_grad, "requires_grad"))


def zeros_like(input: Tensor, dtype: DType = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and the type of another Tensor.

    Raises:
        DTypeError: if it is none.
    """
    return full_like(input, 0, dtype, device, requires_grad)


def ones_like(input: Tensor, dtype: DType = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and the type of another Tensor.

    Raises:
        DTypeError: if it is none.
    """
    return full_like(input, 1, dtype, device, requires_grad)


def empty_like(input: Tensor, dtype: DType = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor to be filled, of the shape and the type of another; until then it holds zeros.

    Raises:
        DTypeError: if it is none.
    """
    return full_like(input, 0, dtype, device, requires_grad)


def full_like(
    input: Tensor, fill_value: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One value everywhere, in the shape, the type and the memory order of another Tensor.

    Raises:
        DTypeError: if it is none.
        ArgumentError: if the value does not fit the type.
    """
    check_tensor(input, "full_like")
    check_device(device, "full_like")
    value = _one(fill_value, "full_like")
    wanted = input.dtype if dtype is None else number_type(dtype)
    check_fits(value, wanted)
    return own(xp.full_like(input.array, value, dtype=wanted), flag(requires_grad, "requires_grad"))


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A Tensor on the memory of another library's array, of NumPy, CuPy, PyTorch, JAX: nothing is copied.

    Raises:
        DTypeError: if it is no such array, or its numbers are not real ones of at most 64 bits.
        BackendError: if its memory is not on the device of the active backend; `gpunet.tensor` copies what it can.
    """
    if isinstance(ext_tensor, Tensor):
        return ext_tensor.detach()
    if not hasattr(ext_tensor, "__dlpack__"):
        raise DTypeError(f"from_dlpack expects an array of another library, got {type(ext_tensor).__name__}")
    if active_backend() == "emulated":
        raise BackendError("from_dlpack: the emulated backend shares its memory with nobody; gpunet.tensor copies")
    try:
        array = xp.from_dlpack(ext_tensor)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise BackendError(f"from_dlpack: this {type(ext_tensor).__name__} cannot be shared: {error}") from error
    if not is_real(array.dtype):
        raise DTypeError(f"from_dlpack expects real numbers of at most 64 bits, got {array.dtype}")
    return as_tensor(array)


def from_numpy(ndarray: Any) -> Tensor:
    """The array as a Tensor: on the NumPy backend they share their memory, a GPU gets a copy.

    Raises:
        DTypeError: if it is not an array of NumPy.
    """
    if not isinstance(ndarray, np.ndarray):
        raise DTypeError(f"from_numpy expects an array of NumPy, got {type(ndarray).__name__}")
    return as_tensor(ndarray if isinstance(ndarray, xp.ndarray) else asarray(ndarray))


def arange(
    start: Any, end: Any = None, step: Any = 1, dtype: DType = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The numbers `start, start + step, ...` below `end`; `arange(n)` begins at 0.

    int64 where all three are whole numbers, else float32, if no type is named.

    Raises:
        ArgumentError: if the step is 0, or leads away from the end.
    """
    check_device(device, "arange")
    start, end = (0, start) if end is None else (start, end)
    start, end, step = (_one(value, "arange") for value in (start, end, step))
    if not step or (end - start) / step < 0:
        raise ArgumentError(f"arange expects a step that leads from start to end, got {start}, {end} and {step}")
    whole = all(isinstance(value, int) for value in (start, end, step))
    wanted = np.dtype(np.int64 if whole else np.float32) if dtype is None else number_type(dtype)
    count = -((start - end) // step) if whole else math.ceil((end - start) / step)
    steps = xp.arange(count, dtype=np.int64 if whole else np.float64)
    return own((start + steps * step).astype(wanted), flag(requires_grad, "requires_grad"))


def linspace(
    start: Any, end: Any, steps: int, dtype: DType = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """So many numbers at equal distances, from `start` to `end`, both included; float32 where no type is named.

    Raises:
        ArgumentError: if their count is negative.
    """
    check_device(device, "linspace")
    start, end, count = _one(start, "linspace"), _one(end, "linspace"), whole_number(steps, "steps", "linspace", 0)
    wanted = number_type(np.float32 if dtype is None else dtype)
    at = xp.arange(count, dtype=np.float64) / max(1, count - 1)  # 0 to 1
    return own((start * (1 - at) + end * at).astype(wanted), flag(requires_grad, "requires_grad"))


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    dtype: DType = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`base ** x` for the numbers x of `linspace`.

    Raises:
        ArgumentError: if their count is negative.
    """
    exponents = linspace(start, end, steps, np.float64, device)
    wanted = number_type(np.float32 if dtype is None else dtype)
    return own((base**exponents.array).astype(wanted), flag(requires_grad, "requires_grad"))


def eye(n: int, m: int | None = None, dtype: DType = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The matrix (n, m) with ones on its diagonal.

    Raises:
        ArgumentError: if a size is negative.
    """
    check_device(device, "eye")
    rows = whole_number(n, "n", "eye", 0)
    columns = rows if m is None else whole_number(m, "m", "eye", 0)
    wanted = number_type(np.float32 if dtype is None else dtype)
    diagonal = xp.arange(rows)[:, None] == xp.arange(columns)
    return own(diagonal.astype(wanted), flag(requires_grad, "requires_grad"))


# ---------------------------------------------------------------------- methods


def new_tensor(
    input: Tensor, data: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A Tensor of the data, of the type of this one where none is named."""
    return tensor(data, input.dtype if dtype is None else dtype, requires_grad, device)


def new_full(
    input: Tensor, size: Any, fill_value: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """One value everywhere, of the type of this Tensor where none is named."""
    return full(size, fill_value, input.dtype if dtype is None else dtype, device, requires_grad)


def new_zeros(
    input: Tensor, *size: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros, of the type of this Tensor where none is named."""
    return new_full(input, _sizes(size, "new_zeros"), 0, dtype, device, requires_grad)


def new_ones(input: Tensor, *size: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones, of the type of this Tensor where none is named."""
    return new_full(input, _sizes(size, "new_ones"), 1, dtype, device, requires_grad)


def new_empty(
    input: Tensor, *size: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A Tensor to be filled, of the type of this one where none is named; until then it holds zeros."""
    return new_full(input, _sizes(size, "new_empty"), 0, dtype, device, requires_grad)


def uniform_(input: Tensor, from_: float = 0.0, to: float = 1.0) -> Tensor:
    """Filled from the uniform distribution over [from, to), in place.

    Raises:
        ArgumentError: if they lie the wrong way round.
    """
    low, high = number(from_, "from", "uniform_"), number(to, "to", "uniform_")
    if low > high:
        raise ArgumentError(f"uniform_ expects from below to, got {from_} and {to}")
    return input.copy_(_of_host(host_generator().uniform(low, high, input.shape), input.dtype))


def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Filled from a normal distribution, in place.

    Raises:
        ArgumentError: if the deviation is negative.
    """
    return input.copy_(normal(mean, std, input.shape, dtype=input.dtype))


def bernoulli_(input: Tensor, p: Any = 0.5) -> Tensor:
    """Filled with 1 with a probability, else 0, in place."""
    chances = p.expand(*input.shape) if isinstance(p, Tensor) else zeros(input.shape)
    return input.copy_(bernoulli(chances, None if isinstance(p, Tensor) else p))


def random_(input: Tensor, from_: int = 0, to: int | None = None) -> Tensor:
    """Filled with whole numbers from `from` to `to - 1`, or below the one number that is given, in place."""
    low, high = (0, from_) if to is None else (from_, to)
    return input.copy_(randint(low, high, input.shape))


# ---------------------------------------------------------------------- random numbers


def rand(
    *size: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False, generator: Generator | None = None
) -> Tensor:
    """Numbers from the uniform distribution over [0, 1).

    Raises:
        DTypeError: if the type is not one of floats.
        ArgumentError: if the generator is none.
    """
    shape = _sizes(size, "rand")
    return _drawn("rand", lambda rng: rng.random(shape), dtype, device, requires_grad, generator)


def randn(
    *size: Any, dtype: DType = None, device: Any = None, requires_grad: bool = False, generator: Generator | None = None
) -> Tensor:
    """Numbers from the standard normal distribution.

    Raises:
        DTypeError: if the type is not one of floats.
        ArgumentError: if the generator is none.
    """
    shape = _sizes(size, "randn")
    return _drawn("randn", lambda rng: rng.standard_normal(shape), dtype, device, requires_grad, generator)


def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    dtype: DType = None,
    device: Any = None,
    requires_grad: bool = False,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers from normal distributions: with one mean and deviation for all, or with those of each.

    Shape:
        of the mean and the deviation, which broadcast, or `size`.

    Raises:
        DTypeError: if the type is not one of floats.
        ArgumentError: if a deviation is negative, or the generator is none.
    """
    shape = None if size is None else _sizes((size,), "normal")
    if dtype is None:
        dtype = next((each.dtype for each in (mean, std) if isinstance(each, Tensor)), None)
    means, deviations = (np.asarray(value.numpy() if isinstance(value, Tensor) else value) for value in (mean, std))
    if (deviations < 0).any():
        raise ArgumentError("normal expects deviations of 0 or more")
    return _drawn("normal", lambda rng: rng.normal(means, deviations, shape), dtype, device, requires_grad, generator)


def rand_like(input: Tensor, dtype: DType = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`rand` of the shape and the type of another Tensor.

    Raises:
        DTypeError: if it is none, or holds no floats.
    """
    check_tensor(input, "rand_like")
    return rand(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randn_like(input: Tensor, dtype: DType = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`randn` of the shape and the type of another Tensor.

    Raises:
        DTypeError: if it is none, or holds no floats.
    """
    check_tensor(input, "randn_like")
    return randn(input.shape, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    dtype: DType = None,
    device: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Whole numbers from `low` to `high - 1`; `randint(high, size)` begins at 0.

    Raises:
        ArgumentError: if there is no such number, or the generator is none.
    """
    if size is None:
        low, high, size = 0, low, high
    low, high = whole_number(low, "low", "randint"), whole_number(high, "high", "randint")
    if low >= high:
        raise ArgumentError(f"randint expects low below high, got {low} and {high}")
    check_device(device, "randint")
    shape = _sizes((size,), "randint")
    drawn = rng_of(generator, "randint").integers(low, high, shape)
    return _of_host(drawn, np.int64 if dtype is None else dtype)


def randint_like(input: Tensor, low: int, high: int | None = None, dtype: DType = None, device: Any = None) -> Tensor:
    """`randint` of the shape and the type of another Tensor.

    Raises:
        DTypeError: if it is none.
    """
    check_tensor(input, "randint_like")
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, input.shape, dtype or input.dtype, device)


def randperm(n: int, dtype: DType = None, device: Any = None, generator: Generator | None = None) -> Tensor:
    """The numbers from 0 to n - 1 in random order.

    Raises:
        ArgumentError: if n is negative, or the generator is none.
    """
    check_device(device, "randperm")
    order = rng_of(generator, "randperm").permutation(whole_number(n, "n", "randperm", 0))
    return _of_host(order, np.int64 if dtype is None else dtype)


def bernoulli(input: Tensor, p: float | None = None, generator: Generator | None = None) -> Tensor:
    """1 with the probability that the input, or `p`, gives; else 0.

    Shape:
        any; the output has the same.

    Raises:
        DTypeError: if the input is not a Tensor of floats.
        ArgumentError: if a probability does not lie within [0, 1], or the generator is none.
    """
    check_tensor(input, "bernoulli")
    if p is None and not input.is_floating_point():
        raise DTypeError(f"bernoulli expects probabilities as floats, got a Tensor of {input.dtype}")
    chances = np.asarray(input.numpy() if p is None else number(p, "p", "bernoulli"))
    if not ((chances >= 0) & (chances <= 1)).all():
        raise ArgumentError("bernoulli expects probabilities within [0, 1]")
    return _of_host(rng_of(generator, "bernoulli").random(input.shape) < chances, input.dtype)


def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, generator: Generator | None = None
) -> Tensor:
    """Positions, drawn with the probabilities (or weights) that the input gives, row by row.

    Shape:
        input: (C,) or (N, C). output: (num_samples,) or (N, num_samples), int64.

    Raises:
        ShapeError: for other shapes.
        ArgumentError: if the weights of a row are negative or all 0, or fewer than are to be drawn without replacement.
    """
    check_tensor(input, "multinomial")
    count = whole_number(num_samples, "num_samples", "multinomial", 1)
    if input.ndim not in (1, 2):
        raise ShapeError(f"multinomial expects weights of shape (C,) or (N, C), got {input.shape}")
    rows = np.atleast_2d(input.numpy().astype(np.float64))
    if not (np.isfinite(rows).all() and (rows >= 0).all() and (rows.sum(1) > 0).all()):
        raise ArgumentError("multinomial expects weights of 0 or more in each row, and not all 0")
    if not replacement and ((rows > 0).sum(1) < count).any():
        raise ArgumentError(f"multinomial cannot draw {count} without replacement where fewer weights are above 0")
    rng = rng_of(generator, "multinomial")
    drawn = [rng.choice(len(row), count, bool(replacement), row / row.sum()) for row in rows]
    return _of_host(np.stack(drawn).reshape(*input.shape[:-1], count), np.int64)


def _drawn(
    name: str, draw: Callable[[Any], Any], dtype: DType, device: Any, requires_grad: bool, generator: Any
) -> Tensor:
    check_device(device, name)
    wanted = number_type(np.float32 if dtype is None else dtype)
    if wanted.kind != "f":
        raise DTypeError(f"{name} draws floats, got dtype {wanted}")
    made = _of_host(draw(rng_of(generator, name)), wanted)
    made.requires_grad = requires_grad
    return made


def _of_host(values: Any, dtype: DType) -> Tensor:
    """A Tensor of numbers drawn on the host."""
    host = np.asarray(values, dtype=number_type(dtype))
    made = own(asarray(host))
    made.note_range(host)
    return made


def _sizes(given: tuple[Any, ...], name: str) -> tuple[int, ...]:
    sizes = sizes_of(given, name)
    if any(size < 0 for size in sizes):
        raise ShapeError(f"{name} expects sizes of 0 or more, got {sizes}")
    return sizes


def _one(value: Any, name: str) -> Any:
    """A number of Python, where a Tensor of one may stand in its place."""
    value = operand(value)
    return value.item() if isinstance(value, Tensor) else value


def _type_of(value: Any) -> Any:
    return np.dtype(np.bool_ if isinstance(value, bool) else np.int64 if isinstance(value, int) else np.float32)
