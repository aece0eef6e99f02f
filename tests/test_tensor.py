"""Tensor: arithmetic, types of number, reductions, indexing, shapes, comparison; values against NumPy."""

import math

import numpy as np
import pytest

import gpunet
import gpunet.functional as F
from gpunet.backend import asarray
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.tensor import Tensor, as_tensor, tensor
from gpunet.testing import gradcheck
from tests.reference import close, run

pytestmark = pytest.mark.usefixtures("backend")

A = np.random.default_rng(2).uniform(0.5, 2.0, (3, 4))
B = np.random.default_rng(3).uniform(0.5, 2.0, (3, 4))
CUBE = np.random.default_rng(4).standard_normal((2, 3, 4))

BINARY = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b,
}
BROADCASTS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (4,)),
    ((3, 1), (1, 4)),
    ((2, 1, 4), (3, 1)),
    ((3, 4), ()),
    ((), ()),
    ((1,), (2, 1, 3)),
    ((0, 3), (1, 3)),
]


def floats(shape, low=0.5, dtype=np.float64):
    return tensor(np.random.default_rng(0).uniform(low, 2.0, shape), dtype=dtype, requires_grad=True)


# --------------------------------------------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize("shapes", BROADCASTS, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_binary_operation_broadcasts(name, shapes):
    function = BINARY[name]
    a, b = (floats(shape) for shape in shapes)
    y = function(a, b)
    close(y.numpy(), np.asarray(function(a.numpy(), b.numpy())))
    assert gradcheck(function, [a, b])


@pytest.mark.parametrize("number", [3, 0.5, np.float32(0.5), np.float64(0.5), np.int64(2), True], ids=repr)
@pytest.mark.parametrize("name", BINARY)
def test_binary_operation_with_a_number_on_either_side(name, number):
    function = BINARY[name]
    a = floats((3, 4), dtype=np.float32)
    for y, expected in ((function(a, number), function(A, 1)), (function(number, a), function(1, A))):
        assert y.dtype == np.float32
        assert y.shape == expected.shape
    close(function(a, number).numpy(), function(a.numpy(), float(number)), rtol=1e-6)
    close(function(number, a).numpy(), function(float(number), a.numpy()), rtol=1e-6)
    assert gradcheck(lambda a: function(a, number) + function(number, a), floats((3, 4)))


@pytest.mark.parametrize("name", BINARY)
def test_binary_operation_with_an_array_on_either_side(name, backend):
    function = BINARY[name]
    close(function(tensor(A), asarray(B)).numpy(), function(A, B))
    if backend == "numpy":  # an array of CuPy does not give way to Tensor
        close(function(B, tensor(A)).numpy(), function(B, A))


UNARY = {  # Tensor's way, and NumPy's
    "negate": (lambda x: -x, np.negative),
    "exp": (Tensor.exp, np.exp),
    "log": (Tensor.log, np.log),
    "sqrt": (Tensor.sqrt, np.sqrt),
    "abs": (lambda x: (x - 1).abs(), lambda x: np.abs(x - 1)),
    "pow": (lambda x: x.pow(-1.5), lambda x: x**-1.5),
    "clamp": (lambda x: x.clamp(0.7, 1.4), lambda x: np.clip(x, 0.7, 1.4)),
    "clamp below": (lambda x: x.clamp(min=1.1), lambda x: np.maximum(x, 1.1)),
    "clamp above": (lambda x: x.clamp(max=1.1), lambda x: np.minimum(x, 1.1)),
    "clone": (Tensor.clone, np.copy),
}


@pytest.mark.parametrize("name", UNARY)
def test_unary_operation(name):
    function, expected = UNARY[name]
    close(function(tensor(A)).numpy(), expected(A))
    assert gradcheck(function, tensor(A, requires_grad=True))


@pytest.mark.parametrize(
    ("function", "at", "slope"),
    [
        (lambda x: x.abs(), 0.0, 0.0),
        (lambda x: x.clamp(0.0, 1.0), 0.0, 1.0),
        (lambda x: x.clamp(0.0, 1.0), 1.0, 1.0),
        (lambda x: x**2, 0.0, 0.0),
        (lambda x: x**1, 0.0, 1.0),
        (lambda x: x**0, 0.0, 0.0),
        (lambda x: 0.0**x, 1.0, 0.0),
        (lambda x: x**2, -3.0, -6.0),
    ],
)
def test_slope_at_a_special_point(function, at, slope):
    x = tensor(at, requires_grad=True)
    function(x).backward()
    assert x.grad.item() == slope


MATMULS = [
    ((3, 4), (4, 5)),
    ((4,), (4,)),
    ((3, 4), (4,)),
    ((4,), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (5, 4, 2)),
    ((2, 3, 4), (4,)),
    ((4,), (2, 4, 3)),
    ((3, 0), (0, 2)),
]


@pytest.mark.parametrize("shapes", MATMULS, ids=str)
def test_matmul(shapes):
    a, b = (floats(shape) for shape in shapes)
    close((a @ b).numpy(), np.asarray(a.numpy() @ b.numpy()))
    close(a.matmul(b).numpy(), (a @ b).numpy(), 0, 0)
    assert gradcheck(Tensor.matmul, [a, b])


# ---------------------------------------------------------------------------------------------------- types of number

I8, U8, I64, BOOL, F16, F32, F64 = (
    np.dtype(t) for t in ("int8", "uint8", "int64", "bool", "float16", "float32", "float64")
)
ONES = {dtype: np.ones(3, dtype) for dtype in (I8, U8, I64, BOOL, F16, F32, F64)}


@pytest.mark.parametrize(
    ("data", "dtype"),
    [(1, I64), (1.0, F32), (True, BOOL), ([1, 2], I64), ([1, 2.0], F32), ([], F32), ([[True], [False]], BOOL)]
    + [(np.float64(1), F64), (np.float32(1), F32), (np.int8(1), I8)]
    + [(array, dtype) for dtype, array in ONES.items()],
    ids=str,
)
def test_tensor_makes(data, dtype):
    assert tensor(data).dtype == dtype
    assert tensor(data, dtype=F16).dtype == F16
    close(tensor(data).numpy(), np.asarray(data), 0, 0)


def test_tensor_of_tensors():
    joined = tensor([tensor([1.0, 2.0]), tensor([3.0, 4.0])])
    assert joined.dtype == F32
    assert joined.tolist() == [[1, 2], [3, 4]]


def test_tensor_copies_and_as_tensor_does_not():
    array = asarray([1.0, 2.0])
    copied, shared = tensor(array), as_tensor(array)
    array[0] = 7
    assert copied.tolist() == [1, 2]
    assert shared.tolist() == [7, 2]
    assert as_tensor(shared) is shared
    assert tensor(shared).array is not shared.array


@pytest.mark.parametrize(
    ("function", "operands", "dtype"),
    [
        (lambda a, b: a + b, (F32, F32), F32),
        (lambda a, b: a * b, (F32, I64), F32),
        (lambda a, b: a - b, (I64, F32), F32),
        (lambda a, b: a / b, (F16, U8), F16),
        (lambda a, b: a + b, (F32, F64), F64),
        (lambda a, b: a + b, (F16, F32), F32),
        (lambda a, b: a + b, (U8, U8), U8),
        (lambda a, b: a + b, (U8, I64), I64),
        (lambda a, b: a / b, (I64, I64), F32),
        (lambda a, b: a @ b, (F32, I64), F32),
        (F.maximum, (F32, I64), F32),
        (F.minimum, (I64, F16), F16),
        (lambda a, b: F.where(a > 0, a, b), (F32, I64), F32),
        (lambda a, b: F.cat([a, b]), (F32, I64), F32),
        (lambda a, b: F.stack([a, b]), (U8, F16), F16),
    ],
)
def test_type_of_a_result_of_two(function, operands, dtype):
    assert function(*(tensor(ONES[each]) for each in operands)).dtype == dtype


@pytest.mark.parametrize("number", [2, 2.0, np.float64(2.0), np.float32(2.0), np.int32(2), True], ids=repr)
@pytest.mark.parametrize("dtype", [F16, F32, F64])
def test_number_does_not_change_the_type_of_floats(dtype, number):
    x = tensor(ONES[dtype])
    results = [x + number, number - x, x * number, number / x, x**number, number**x, x.clamp(min=number)]
    results += [F.maximum(x, number), F.minimum(number, x), F.where(x > 0, x, number), F.where(x > 0, number, x)]
    assert {each.dtype for each in results} == {dtype}


@pytest.mark.parametrize("dtype", [U8, I64])
def test_number_with_a_fraction_makes_float32_of_integers(dtype):
    x = tensor(ONES[dtype])
    results = [x + 0.5, 0.5 - x, x * 0.5, 0.5 / x, x**0.5, 0.5**x, x.clamp(min=1.5), F.maximum(x, 1.5)]
    results += [F.where(x > 5, x, 1.5)]
    assert {each.dtype for each in results} == {F32}
    close(results[-1].numpy(), np.full(3, 1.5))
    close(results[-2].numpy(), np.full(3, 1.5))


@pytest.mark.parametrize(
    ("function", "given", "dtype"),
    [
        (Tensor.sum, F32, F32),
        (Tensor.mean, F16, F16),
        (Tensor.var, F32, F32),
        (Tensor.max, U8, U8),
        (Tensor.sum, BOOL, I64),
        (Tensor.sum, U8, I64),
        (Tensor.sum, I64, I64),
        (Tensor.argmax, F32, I64),
        (Tensor.exp, I64, F32),
        (Tensor.log, F16, F16),
        (Tensor.sqrt, U8, F32),
        (Tensor.abs, I8, I8),
        (Tensor.clone, BOOL, BOOL),
        (Tensor.clone, F16, F16),
        (Tensor.float, U8, F32),
        (Tensor.half, F32, F16),
        (Tensor.double, F32, F64),
        (Tensor.long, F32, I64),
        (lambda x: x == 1, F32, BOOL),
        (lambda x: F.pad(x, (1, 1)), F32, F32),
        (lambda x: x.clamp(0, 1), U8, U8),
    ],
)
def test_type_of_a_result_of_one(function, given, dtype):
    assert function(tensor(ONES[given])).dtype == dtype


def test_gradient_has_the_type_of_its_tensor():
    x, y = tensor([1.0, 2.0], requires_grad=True), tensor([3.0, 4.0], dtype=F64, requires_grad=True)
    (x * y).sum().backward()
    assert (x.grad.dtype, y.grad.dtype) == (F32, F64)
    close(x.grad.numpy(), [3, 4])


def test_cast_passes_the_gradient():
    x = tensor([1.0, 2.0], requires_grad=True)
    (x.half() * 3).double().sum().backward()
    assert x.grad.dtype == F32
    close(x.grad.numpy(), [3, 3])
    assert not x.long().requires_grad
    assert x.to(np.float32) is x


# --------------------------------------------------------------------------------------------------------- reductions

DIMS = [None, 0, 1, -1, (0, 2), (-1, 0, 1)]


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", DIMS, ids=str)
@pytest.mark.parametrize("name", ["sum", "mean", "var"])
def test_reduction(name, dim, keepdim):
    settings = {"ddof": 1} if name == "var" else {}
    expected = getattr(np, name)(CUBE, axis=dim, keepdims=keepdim, **settings)
    close(getattr(tensor(CUBE), name)(dim, keepdim=keepdim).numpy(), np.asarray(expected))
    assert gradcheck(lambda x: getattr(x, name)(dim, keepdim=keepdim), tensor(CUBE, requires_grad=True))


def test_var_without_correction():
    close(tensor(CUBE).var((0, 2), correction=0).numpy(), CUBE.var(axis=(0, 2)))


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("name", ["max", "min"])
def test_extreme_along_a_dimension(name, dim, keepdim):
    found = getattr(tensor(CUBE), name)(dim, keepdim=keepdim)
    close(found.values.numpy(), getattr(np, name)(CUBE, axis=dim, keepdims=keepdim))
    close(found.indices.numpy(), getattr(np, "arg" + name)(CUBE, axis=dim, keepdims=keepdim))
    close(getattr(tensor(CUBE), "arg" + name)(dim, keepdim=keepdim).numpy(), found.indices.numpy())
    assert gradcheck(lambda x: getattr(x, name)(dim, keepdim=keepdim)[0], tensor(CUBE, requires_grad=True))


@pytest.mark.parametrize("name", ["max", "min"])
def test_extreme_of_all(name):
    assert getattr(tensor(CUBE), name)().item() == getattr(np, name)(CUBE)
    assert getattr(tensor(CUBE), "arg" + name)().item() == getattr(np, "arg" + name)(CUBE)
    assert gradcheck(lambda x: getattr(x, name)(), tensor(CUBE, requires_grad=True))


@pytest.mark.parametrize(
    ("values", "gradient"),
    [([1.0, 3.0, 3.0], [0, 0.5, 0.5]), ([1.0, math.nan, 3.0], [0, 1, 0]), ([2.0, 1.0, 0.0], [1, 0, 0])],
)
def test_gradient_of_the_largest_of_all(values, gradient):
    x = tensor(values, requires_grad=True)
    x.max().backward()
    close(x.grad.numpy(), gradient, 0, 0)


def test_gradient_of_the_largest_along_a_dimension_goes_to_the_first_of_equals():
    x = tensor([[1.0, 3.0, 3.0], [0.0, math.nan, 5.0]], requires_grad=True)
    x.max(1).values.sum().backward()
    close(x.grad.numpy(), [[0, 1, 0], [0, 1, 0]], 0, 0)


@pytest.mark.parametrize("function", [F.maximum, F.minimum])
def test_choice_of_two(function):
    a, b = tensor([1.0, 2.0, 2.0], requires_grad=True), tensor([2.0, 1.0, 2.0], requires_grad=True)
    function(a, b).sum().backward()
    first = [0, 1, 0.5] if function is F.maximum else [1, 0, 0.5]
    close(a.grad.numpy(), first, 0, 0)
    close(b.grad.numpy(), 1 - np.array(first), 0, 0)
    assert np.isnan(function(tensor([1.0, math.nan]), tensor([math.nan, 1.0])).numpy()).all()
    assert gradcheck(function, [tensor(A, requires_grad=True), tensor(B[:1], requires_grad=True)])


def test_where():
    condition = A > B
    close(F.where(tensor(condition), tensor(A), tensor(B)).numpy(), np.maximum(A, B))
    close(F.where(tensor(condition), 1.0, 0.0).numpy(), condition.astype(np.float32))
    inputs = [tensor(A, requires_grad=True), tensor(B[:, :1], requires_grad=True)]
    assert gradcheck(lambda a, b: F.where(tensor(condition), a, b), inputs)
    stretched = F.where(tensor(condition), tensor(A[0]), tensor(B[0, 0]))  # the condition is the largest
    close(stretched.numpy(), np.where(condition, A[0], B[0, 0]))


# ----------------------------------------------------------------------------------------------------- indexing, shape

INDICES = {
    "number": 1,
    "negative number": -1,
    "slice": slice(0, 1),
    "backwards": slice(None, None, -1),
    "every second": (slice(None), slice(None), slice(1, None, 2)),
    "several": (0, slice(None), -2),
    "ellipsis": (..., 2),
    "new dimension": (slice(None), None, 1),
    "list": [1, 0, 1, 1],
    "array": np.array([[0, 1], [1, 1]]),
    "array and slice": (slice(None), np.array([2, 0, 2])),
    "pairs": (np.array([0, 1, 0]), np.array([2, 2, 2]), np.array([1, 3, 1])),
    "mask": CUBE > 0,
    "mask of rows": np.array([True, False]),
    "nothing": slice(0, 0),
    "NumPy number": np.int64(1),
}


@pytest.mark.parametrize("name", INDICES)
def test_index(name):
    key = INDICES[name]
    close(tensor(CUBE)[key].numpy(), CUBE[key], 0, 0)
    assert gradcheck(lambda x: x[key], tensor(CUBE, requires_grad=True))


def test_index_with_tensors():
    rows, columns = tensor([0, 2, 0]), tensor([1, 1, 1])
    close(tensor(A)[rows, columns].numpy(), A[[0, 2, 0], [1, 1, 1]], 0, 0)
    close(tensor(A)[tensor(A) > 1].numpy(), A[A > 1], 0, 0)
    assert gradcheck(lambda x: x[rows, columns], tensor(A, requires_grad=True))


def test_index_that_repeats_adds_its_gradients_up():
    x = tensor([10.0, 20.0, 30.0], requires_grad=True)
    x[[2, 0, 2, 2]].backward(tensor([1.0, 2.0, 3.0, 4.0]))
    close(x.grad.numpy(), [2, 0, 8], 0, 0)


SHAPE_CHANGES = {  # Tensor's way, and NumPy's
    "reshape": (lambda x: x.reshape(4, 6), lambda x: x.reshape(4, 6)),
    "reshape to a tuple": (lambda x: x.reshape((2, -1)), lambda x: x.reshape(2, 12)),
    "view": (lambda x: x.view(-1), np.ravel),
    "flatten": (lambda x: x.flatten(), np.ravel),
    "flatten some": (lambda x: F.flatten(x, 1), lambda x: x.reshape(2, 12)),
    "flatten first two": (lambda x: x.flatten(0, -2), lambda x: x.reshape(6, 4)),
    "permute": (lambda x: x.permute(2, 0, -2), lambda x: x.transpose(2, 0, 1)),
    "transpose": (lambda x: x.transpose(0, -1), lambda x: x.swapaxes(0, 2)),
    "T": (lambda x: x.T, np.transpose),
    "unsqueeze": (lambda x: x.unsqueeze(1), lambda x: x[:, None]),
    "unsqueeze at the end": (lambda x: x.unsqueeze(-1), lambda x: x[..., None]),
    "squeeze": (lambda x: x[:1, :, :1].squeeze(), lambda x: x[0, :, 0]),
    "squeeze one": (lambda x: x[:1, :, :1].squeeze(0), lambda x: x[0, :, :1]),
    "squeeze nothing": (lambda x: x.squeeze(0), np.copy),
    "expand": (lambda x: x[:, :1].expand(5, -1, 3, 4), lambda x: np.broadcast_to(x[:, :1], (5, 2, 3, 4))),
    "pad": (
        lambda x: F.pad(x, (1, 2, 0, 3), value=7.0),
        lambda x: np.pad(x, [(0, 0), (0, 3), (1, 2)], constant_values=7),
    ),
    "pad nothing": (lambda x: F.pad(x, (0, 0)), np.copy),
    "cat": (lambda x: F.cat([x, x * 2, x], 1), lambda x: np.concatenate([x, x * 2, x], 1)),
    "cat at the end": (lambda x: F.cat([x, x[..., :0], x[..., :1]], -1), lambda x: np.concatenate([x, x[..., :1]], 2)),
    "stack": (lambda x: F.stack([x, -x]), lambda x: np.stack([x, -x])),
    "stack at the end": (lambda x: F.stack([x, -x], -1), lambda x: np.stack([x, -x], -1)),
}


@pytest.mark.parametrize("name", SHAPE_CHANGES)
def test_shape_change(name):
    function, expected = SHAPE_CHANGES[name]
    close(function(tensor(CUBE)).numpy(), expected(CUBE), 0, 0)
    assert gradcheck(function, tensor(CUBE, requires_grad=True))


def test_reshape_reads_a_channels_last_array_in_the_order_of_its_shape():
    x = tensor(CUBE[None]).permute(0, 3, 1, 2)
    close(x.flatten(1).numpy(), CUBE.transpose(2, 0, 1).reshape(1, -1), 0, 0)


def test_what_a_tensor_says_of_itself():
    x = tensor(CUBE, requires_grad=True)
    assert (x.shape, x.size(), x.size(-1), x.ndim, x.dim(), x.numel(), len(x)) == ((2, 3, 4), (2, 3, 4), 4, 3, 3, 24, 2)
    assert [row.shape for row in x] == [(3, 4), (3, 4)]
    assert x.is_leaf
    assert not (x * 1).is_leaf
    assert repr(tensor([1.0, 2.5], requires_grad=True)) == "tensor([1. , 2.5], requires_grad=True)"
    assert repr(tensor([1, 2])) == "tensor([1, 2])"
    assert repr(tensor(1.0, dtype=F64)) == "tensor(1., dtype=float64)"


def test_one_number():
    assert (tensor([[2.5]]).item(), float(tensor(2.5)), int(tensor(2)), bool(tensor([0.0]))) == (2.5, 2.5, 2, False)
    assert tensor([[1, 2]]).tolist() == [[1, 2]]
    assert isinstance(tensor(2.5).item(), float)


def test_detach_shares_the_array_and_clone_does_not():
    x = tensor([1.0, 2.0], requires_grad=True)
    assert x.detach().array is x.array
    assert not x.detach().requires_grad
    copied = x.clone()
    copied.data[0] = 7
    assert x.tolist() == [1, 2]
    assert copied.requires_grad


# --------------------------------------------------------------------------------------------------------- comparison


@pytest.mark.parametrize("name", ["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"])
def test_comparison(name):
    left, right = np.array([[1.0, 2.0, math.nan]]), np.array([[2.0], [1.0]])
    for other in (right, 2, np.float32(2.0)):
        result = getattr(tensor(left), name)(tensor(other) if other is right else other)
        close(result.numpy(), getattr(left, name)(np.asarray(other)), 0, 0)
        assert not result.requires_grad


def test_comparison_with_an_array():
    close((tensor([1, 2]) == asarray([1, 3])).numpy(), [True, False], 0, 0)


def test_tensor_is_a_key_by_identity():
    x, y = tensor([1.0]), tensor([1.0])
    assert len({x: 1, y: 2}) == 2


# ------------------------------------------------------------------------------------------------------------ nothing


@pytest.mark.parametrize(
    "function", [lambda x: x.sum(1), lambda x: x * 2, lambda x: x.reshape(3, 0), lambda x: F.relu(x), lambda x: x.exp()]
)
def test_tensor_without_elements(function):
    y, [gradient] = run(function, np.zeros((0, 3), dtype=np.float32))
    assert gradient.shape == (0, 3)
    assert y.dtype == gradient.dtype == np.float32


def test_methods_that_say_what_a_tensor_is(torch, backend):
    numbers = np.arange(12, dtype=np.float32).reshape(3, 4)
    ours, theirs = tensor(numbers), torch.tensor(numbers)
    for name in ("bool", "byte", "char", "short", "int", "long", "half", "float", "double"):
        got, right = getattr(ours, name)(), getattr(theirs, name)()
        assert (str(got.dtype), got.tolist()) == (str(right.dtype).removeprefix("torch."), right.tolist())
    for name in ("itemsize", "is_sparse", "is_quantized"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert (ours.ndimension(), ours.is_complex(), ours.pin_memory() is ours) == (2, False, True)
    assert ours.is_cpu is (ours.get_device() == -1) is (backend == "numpy")
    assert ours.unfold(1, 3, 1).tolist() == theirs.unfold(1, 3, 1).tolist()
    assert ours.unfold(0, 2, 1).tolist() == theirs.unfold(0, 2, 1).tolist()
    assert ours.where(ours > 3, 0).tolist() == theirs.where(theirs > 3, 0).tolist()
    assert ours.fill_diagonal_(7).tolist() == theirs.fill_diagonal_(7).tolist()
    with pytest.raises(DTypeError, match="bfloat16"):
        ours.bfloat16()
    with pytest.raises(ShapeError, match="a window of 5 is larger"):
        ours.unfold(0, 5, 1)


def test_the_one_type_of_floats():
    assert gpunet.get_default_dtype() == np.float32
    gpunet.set_default_dtype(gpunet.float32)
    with pytest.raises(ArgumentError, match="not float64"):
        gpunet.set_default_dtype(gpunet.float64)
    gpunet.set_float32_matmul_precision("high")  # taken, where nothing rounds, too
    assert not gpunet.backends.cuda.matmul.allow_tf32
    with pytest.raises(AttributeError, match="no such setting"):
        gpunet.backends.cudnn.fast = True
