"""Products of vectors and matrices, and Einstein's notation for all of them."""

from __future__ import annotations

import math
import string
from collections import Counter
from typing import Any

from gpunet.arguments import axis_of
from gpunet.errors import ArgumentError, ShapeError
from gpunet.functional.checks import check_tensor
from gpunet.functional.shaping import stack
from gpunet.functions.reduction import norm
from gpunet.functions.shaping import broadcast_tensors, diagonal, unbind
from gpunet.tensor import Tensor

__all__ = [
    "addbmm",
    "addmm",
    "addmv",
    "addr",
    "baddbmm",
    "bmm",
    "cdist",
    "cross",
    "dot",
    "einsum",
    "ger",
    "inner",
    "kron",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "vdot",
]


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices.

    Shape:
        (m, k) @ (k, n) -> (m, n).

    Raises:
        ShapeError: for other shapes.
    """
    return _product("mm", input, mat2, (2, 2))


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of matrices, pair by pair.

    Shape:
        (b, m, k) @ (b, k, n) -> (b, m, n).

    Raises:
        ShapeError: for other shapes.
    """
    check_tensor(input, "bmm")
    check_tensor(mat2, "bmm", "mat2")
    if input.shape[:1] != mat2.shape[:1]:
        raise ShapeError(f"bmm expects as many matrices, got {input.shape} @ {mat2.shape}")
    return _product("bmm", input, mat2, (3, 3))


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector.

    Shape:
        (m, k) @ (k,) -> (m,).

    Raises:
        ShapeError: for other shapes.
    """
    return _product("mv", input, vec, (2, 1))


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The inner product of two vectors.

    Shape:
        (n,) @ (n,) -> ().

    Raises:
        ShapeError: for other shapes.
    """
    return _product("dot", input, tensor, (1, 1))


def _product(name: str, a: Tensor, b: Tensor, ndims: tuple[int, int]) -> Tensor:
    check_tensor(a, name)
    check_tensor(b, name, "the second")
    if (a.ndim, b.ndim) != ndims:
        raise ShapeError(f"{name} expects {ndims[0]} and {ndims[1]} dimensions, got {a.shape} @ {b.shape}")
    return a.matmul(b)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Each of one vector times each of another.

    Shape:
        (m,), (n,) -> (m, n).

    Raises:
        ShapeError: if they are not vectors.
    """
    check_tensor(input, "outer")
    check_tensor(vec2, "outer", "vec2")
    if (input.ndim, vec2.ndim) != (1, 1):
        raise ShapeError(f"outer expects two vectors, got shapes {input.shape} and {vec2.shape}")
    return input.unsqueeze(1) * vec2


ger, vdot = outer, dot


def kron(input: Tensor, other: Tensor) -> Tensor:
    """Each value of the one times all of the other, block by block.

    Shape:
        (a, b), (c, d) -> (a * c, b * d).

    Raises:
        DTypeError: if one is not a Tensor.
    """
    check_tensor(input, "kron")
    check_tensor(other, "kron", "other")
    ndim = max(input.ndim, other.ndim)
    first, second = ((1,) * (ndim - each.ndim) + each.shape for each in (input, other))
    blocks = input.reshape([size for each in first for size in (each, 1)])  # (a, 1, b, 1)
    within = other.reshape([size for each in second for size in (1, each)])  # (1, c, 1, d)
    return (blocks * within).reshape([a * b for a, b in zip(first, second, strict=True)])


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The vector product along a dimension of size 3, the first such one where none is named.

    Shape:
        the two broadcast.

    Raises:
        ShapeError: if there is no such dimension.
    """
    check_tensor(input, "cross")
    check_tensor(other, "cross", "other")
    a, b = broadcast_tensors(input, other)
    axis = a.shape.index(3) if dim is None and 3 in a.shape else axis_of(0 if dim is None else dim, a.ndim, "cross")
    if a.shape[axis] != 3:
        raise ShapeError(f"cross expects a dimension of size 3, got {input.shape} and {other.shape}")
    x, y = unbind(a, axis), unbind(b, axis)
    return stack([x[i - 2] * y[i - 1] - x[i - 1] * y[i - 2] for i in range(3)], axis)


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str | None = None) -> Tensor:
    """The distances between each of the rows of one matrix and each of another; see `norm`.

    The differences are computed one by one, which is exact, whatever the mode.

    Shape:
        (..., m, d), (..., n, d) -> (..., m, n).

    Raises:
        ShapeError: if the sizes of rows differ.
    """
    check_tensor(x1, "cdist", "x1")
    check_tensor(x2, "cdist", "x2")
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(f"cdist expects (..., m, d) and (..., n, d), got {x1.shape} and {x2.shape}")
    return norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sums of products over the last dimension of both.

    Shape:
        (..., k), (..., k) -> the other dimensions of the one, then those of the other.

    Raises:
        ShapeError: if the last sizes differ.
    """
    check_tensor(input, "inner")
    check_tensor(other, "inner", "other")
    return tensordot(input, other, ([-1], [-1])) if input.ndim and other.ndim else input * other


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta * input + alpha * mat1 @ mat2`.

    Shape:
        (m, k) @ (k, n) -> (m, n), to which input broadcasts.

    Raises:
        ShapeError: for other shapes.
    """
    return _added(input, mm(mat1, mat2), beta, alpha)


def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta * input + alpha * batch1 @ batch2`.

    Shape:
        (b, m, k) @ (b, k, n) -> (b, m, n), to which input broadcasts.

    Raises:
        ShapeError: for other shapes.
    """
    return _added(input, bmm(batch1, batch2), beta, alpha)


def addmv(input: Tensor, mat: Tensor, vec: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta * input + alpha * mat @ vec`.

    Shape:
        (m, k) @ (k,) -> (m,), to which input broadcasts.

    Raises:
        ShapeError: for other shapes.
    """
    return _added(input, mv(mat, vec), beta, alpha)


def addr(input: Tensor, vec1: Tensor, vec2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta * input + alpha * outer(vec1, vec2)`.

    Shape:
        (m,), (n,) -> (m, n), to which input broadcasts.

    Raises:
        ShapeError: for other shapes.
    """
    return _added(input, outer(vec1, vec2), beta, alpha)


def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta * input + alpha * sum of batch1[i] @ batch2[i]`.

    Shape:
        (b, m, k) @ (b, k, n) -> (m, n), to which input broadcasts.

    Raises:
        ShapeError: for other shapes.
    """
    return _added(input, bmm(batch1, batch2).sum(0), beta, alpha)


def _added(input: Tensor, product: Tensor, beta: float, alpha: float) -> Tensor:
    """`beta * input + alpha * product`; where beta is 0 the input may be NaN."""
    product = _scaled(product, alpha)
    return product if beta == 0 else _scaled(input, beta) + product


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else x * factor


def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sums of products over some dimensions of each: the last of `a` with the first of `b`, or those listed.

    Shape:
        the other dimensions of `a`, then those of `b`.

    Raises:
        ShapeError: if the sizes differ.
    """
    check_tensor(a, "tensordot", "a")
    check_tensor(b, "tensordot", "b")
    first, second = (range(a.ndim - dims, a.ndim), range(dims)) if isinstance(dims, int) else dims
    ours = [axis % a.ndim for axis in first] if a.ndim else []
    theirs = [axis % b.ndim for axis in second] if b.ndim else []
    if [a.shape[axis] for axis in ours] != [b.shape[axis] for axis in theirs]:
        raise ShapeError(f"tensordot: the sizes differ along {list(first)} of {a.shape}, {list(second)} of {b.shape}")
    rows = [axis for axis in range(a.ndim) if axis not in ours]
    columns = [axis for axis in range(b.ndim) if axis not in theirs]
    count = math.prod(a.shape[axis] for axis in ours)
    left = a.permute(*rows, *ours).reshape(math.prod(a.shape[axis] for axis in rows), count)
    right = b.permute(*theirs, *columns).reshape(count, math.prod(b.shape[axis] for axis in columns))
    return left.matmul(right).reshape(*(a.shape[axis] for axis in rows), *(b.shape[axis] for axis in columns))


# ---------------------------------------------------------------------- Einstein's notation


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products: "ij,jk->ik" is the matrix product, "bij->bji" a transpose, "ii->" a trace.

    Each letter names a dimension; those that the output lacks are summed over. Without "->" the output has the letters
    that occur once, in alphabetical order. "..." stands for any dimensions, which broadcast.

    Shape:
        as the equation says.

    Raises:
        ArgumentError: if the equation cannot be read.
        ShapeError: if a letter stands for two sizes, or the dimensions do not fit the letters.

    Example:
        >>> from gpunet.tensor import tensor
        >>> einsum("ij,j->i", tensor([[1.0, 2.0], [3.0, 4.0]]), tensor([1.0, 10.0]))
        tensor([21., 43.])
    """
    tensors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], list | tuple) else list(operands)
    for each in tensors:
        check_tensor(each, "einsum")
    terms, output = _read(equation, tensors)
    letters = sorted(set("".join(terms)) | set(output))
    sizes: dict[str, int] = {}
    for term, each in zip(terms, tensors, strict=True):
        for letter, size in zip(term, each.shape, strict=True):
            if sizes.setdefault(letter, size) == 1:
                sizes[letter] = size
            if size not in (1, sizes[letter]):
                raise ShapeError(f"einsum: {letter} stands for {sizes[letter]} and for {size} in {equation!r}")
    # One after the other is multiplied to what there is so far; a letter is summed over with the last that has it.
    total, held = _without_repeats(tensors[0], terms[0])
    for place, (each, term) in enumerate(zip(tensors[1:], terms[1:], strict=True), 1):
        later = set("".join(terms[place + 1 :])) | set(output)
        each, term = _without_repeats(each, term)
        total, held = _multiply(total, held, each, term, [letter for letter in letters if letter in later])
    summed = [axis for axis, letter in enumerate(held) if letter not in output]
    if summed:
        total, held = total.sum(summed), "".join(letter for letter in held if letter in output)
    return total.permute(*(held.index(letter) for letter in output)) if output else total


def _read(equation: str, tensors: list[Tensor]) -> tuple[list[str], str]:
    """The letters of each operand and of the output; the dimensions of "..." get letters that are free."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    used = set(equation) & set(string.ascii_letters)
    if len(terms) != len(tensors) or set(equation) - used - set(" ,.->") or not tensors:
        raise ArgumentError(f"einsum cannot read {equation!r} for {len(tensors)} Tensors: it is written as 'ij,jk->ik'")
    free = [letter for letter in reversed(string.ascii_letters) if letter not in used]
    widest = 0
    for place, (term, each) in enumerate(zip(terms, tensors, strict=True)):
        dots = each.ndim - len(term.replace("...", "")) if "..." in term else 0
        widest = max(widest, dots)
        terms[place] = term.replace("...", "".join(reversed(free[: max(0, dots)])), 1)
        if "." in terms[place] or dots < 0 or len(terms[place]) != each.ndim:
            raise ShapeError(f"einsum: {term!r} does not fit a Tensor of shape {each.shape}")
    dotted = "".join(reversed(free[:widest]))
    if not arrow:
        counts = Counter(left.replace(",", "").replace(".", ""))
        return terms, dotted + "".join(sorted(letter for letter, count in counts.items() if count == 1))
    output = right.replace("...", dotted, 1)
    if "." in output or len(set(output)) < len(output) or set(output) - set("".join(terms)):
        raise ArgumentError(f"einsum cannot read {equation!r}: the output has each letter once, of those on the left")
    return terms, output


def _without_repeats(x: Tensor, term: str) -> tuple[Tensor, str]:
    """Of dimensions under the same letter the diagonal, which comes last."""
    for letter in term:
        if term.count(letter) > 1:
            first = term.index(letter)
            second = term.index(letter, first + 1)
            x = diagonal(x, 0, first, second)
            return _without_repeats(x, term[:first] + term[first + 1 : second] + term[second + 1 :] + letter)
    return x, term


def _multiply(a: Tensor, a_term: str, b: Tensor, b_term: str, kept: list[str]) -> tuple[Tensor, str]:
    """The product of two, summed over the letters that are not kept: one matrix product for each shared index."""
    a, a_term = _sum_alone(a, a_term, b_term, kept)
    b, b_term = _sum_alone(b, b_term, a_term, kept)
    shared = [letter for letter in a_term if letter in b_term and letter in kept]
    summed = [letter for letter in a_term if letter in b_term and letter not in kept]
    rows = [letter for letter in a_term if letter not in b_term]
    columns = [letter for letter in b_term if letter not in a_term]
    sizes: dict[str, int] = {}
    for letter, size in (*zip(a_term, a.shape, strict=True), *zip(b_term, b.shape, strict=True)):
        sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
    left = _laid_out(a, a_term, (shared, rows, summed), sizes)  # (shared, rows, summed)
    right = _laid_out(b, b_term, (shared, summed, columns), sizes)  # (shared, summed, columns)
    order = [*shared, *rows, *columns]
    return left.matmul(right).reshape(tuple(sizes[letter] for letter in order)), "".join(order)


def _sum_alone(x: Tensor, term: str, other: str, kept: list[str]) -> tuple[Tensor, str]:
    alone = [axis for axis, letter in enumerate(term) if letter not in other and letter not in kept]
    return (x.sum(alone), "".join(c for i, c in enumerate(term) if i not in alone)) if alone else (x, term)


def _laid_out(x: Tensor, term: str, groups: tuple[list[str], ...], sizes: dict[str, int]) -> Tensor:
    """The dimensions in groups, each of which is one; sizes of 1 that the other operand stretches are stretched."""
    order = [letter for group in groups for letter in group]
    x = x.permute(*(term.index(letter) for letter in order)) if order else x
    x = x.expand(tuple(sizes[letter] for letter in order)) if order else x
    return x.reshape(tuple(math.prod(sizes[letter] for letter in group) for group in groups))
