"""What Python and NumPy may do with a Tensor: operators, `in`, `bool`, `range`, formats, `np.asarray`.

Each gives what PyTorch 2.13 gave, recorded beside it, or an error that says what to write.
"""

import copy
import math
import operator
import warnings

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.backend import asarray, use_backend
from gpunet.errors import ArgumentError, BackendError, DTypeError, GradientError, ShapeError
from gpunet.ops.arithmetic import Multiply
from gpunet.tensor import Tensor, apply, as_tensor, tensor

pytestmark = pytest.mark.usefixtures("backend")


def bytes_(*values):
    return tensor(np.array(values, np.uint8))


def floats(*shape):
    return tensor(np.zeros(shape, np.float32))


SAME_AS_PYTORCH = [  # an expression, and what it gives
    # comparison with what is no number
    (lambda: tensor([1.0]) == None, False),  # noqa: E711
    (lambda: tensor([1.0]) != None, True),  # noqa: E711
    (lambda: None in [tensor([1.0])], False),
    (lambda: tensor([1.0]) == "a", False),
    (lambda: tensor([1.0]) == [1.0], False),
    (lambda: tensor([1.0]) == object(), False),
    # in
    (lambda: 1 in tensor([[1, 2], [3, 4]]), True),
    (lambda: 5 in tensor([[1, 2], [3, 4]]), False),
    (lambda: tensor(3) in tensor([[1, 2], [3, 4]]), True),
    (lambda: math.nan in tensor([math.nan]), False),
    # one number
    (lambda: bool(tensor([0])), False),
    (lambda: bool(tensor(math.nan)), True),
    (lambda: not tensor([[0.0]]), True),
    (lambda: int(tensor([1.7])), 1),
    (lambda: complex(tensor(2.0)), 2 + 0j),
    (lambda: list(range(tensor(3))), [0, 1, 2]),
    (lambda: list(range(tensor([3]))), [0, 1, 2]),
    (lambda: list(range(tensor(True))), [0]),
    (lambda: [10, 11, 12][tensor([1])], 11),
    (lambda: [10, 11, 12][tensor(0) : tensor(2)], [10, 11]),
    (lambda: [1] * tensor(2), [1, 1]),
    (lambda: "ab" * tensor(2), "abab"),
    (lambda: operator.index(bytes_(3)), 3),
    (lambda: math.floor(tensor(1.5)), 1),
    (lambda: f"{tensor(1.23456):.4f}", "1.2346"),
    (lambda: f"{tensor(1.5, requires_grad=True):.2f}", "1.50"),
    (lambda: f"{tensor(3):d} {tensor(3):.2f} {tensor(1.5)} {tensor(True)}", "3 3.00 1.5 True"),
    (lambda: f"{tensor(1.5):>10}", "       1.5"),
    (lambda: "%.3f %d" % (tensor(1.5), tensor(3)), "1.500 3"),  # noqa: UP031
    # masks and bits
    (lambda: ~tensor([True, False]), [False, True]),
    (lambda: ~tensor([1]), [-2]),
    (lambda: ~bytes_(1), [254]),
    (lambda: tensor([True, True]) & tensor([False, True]), [False, True]),
    (lambda: tensor([1, 2]) & tensor([True, False]), [1, 0]),
    (lambda: tensor([3]) | tensor([4]), [7]),
    (lambda: 1 & tensor([3]) ^ 2, [3]),
    (lambda: tensor([[0, 1], [0, 0]]).any(1), [True, False]),
    (lambda: tensor([[0, 1], [1, 1]]).all(0, keepdim=True), [[False, True]]),
    (lambda: floats(0).any(), False),
    (lambda: floats(0).all(), True),
    # arithmetic
    (lambda: abs(tensor([-1.0])), [1.0]),
    (lambda: +tensor([-1.0]), [-1.0]),
    (lambda: bytes_(1) - 3, [254]),
    (lambda: bytes_(200) + bytes_(100), [44]),
    (lambda: np.float32(2) * tensor([1.0, 2.0]), [2.0, 4.0]),
    (lambda: np.bool_(True) * tensor([1.0, 2.0]), [1.0, 2.0]),
    # dimensions
    (lambda: tensor([[1.0, 2.0]]).sum(dim=np.int64(1)), [3.0]),
    (lambda: tensor([[1.0, 2.0]]).mean(dim=np.int64(1)), [1.5]),
    (lambda: tensor([[1.0, 2.0]]).sum(dim=tensor(1)), [3.0]),
    (lambda: tensor([[1.0, 2.0]]).sum(dim=()), 3.0),
    (lambda: tensor([[1.0, 2.0]]).mean(dim=[]), 1.5),
    (lambda: tensor([[1.0, 2.0], [3.0, 4.0]]).var(dim=()), pytest.approx(5 / 3)),
    (lambda: tensor([1, 2, 3]).reshape(tensor(3)), [1, 2, 3]),
    (lambda: tensor([1, 2, 3])[np.int64(0)], 1),
    (lambda: tensor([1.0, 2.0])[0 : tensor(1)], [1.0]),
    (lambda: tensor([1.0, 2.0])[[]], []),
    # nothing
    (lambda: floats(0).sum(), 0.0),
    (lambda: floats(0).mean(), pytest.approx(math.nan, nan_ok=True)),
    (lambda: floats(0).var(), pytest.approx(math.nan, nan_ok=True)),
    (lambda: tensor([1.0]).var(), pytest.approx(math.nan, nan_ok=True)),
    (lambda: tensor([1.0]).var(correction=2), pytest.approx(math.nan, nan_ok=True)),
    (lambda: floats(0, 3).mean(1), []),
    (lambda: floats(0, 3).max(1).indices, []),
    (lambda: floats(2, 0, 3).min(2).values, [[], []]),
    (lambda: floats(0, 3).argmax(1), []),
    (lambda: F.pad(tensor([1.0]), (1, 0), value=None), [0.0, 1.0]),
    # in place
    (lambda: tensor([1.0, 2.0]).fill_(tensor(3.0)), [3.0, 3.0]),
    (lambda: tensor([1.0, 2.0]).copy_(3), [3.0, 3.0]),
    # types of number
    (lambda: tensor([1.5]).to(tensor([1])), [1]),
    (lambda: tensor([math.nan]).long(), [-(2**63)]),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("expression", "expected"), SAME_AS_PYTORCH)
def test_what_pytorch_gives(expression, expected):
    result = expression()
    assert (result.tolist() if isinstance(result, Tensor) else result) == expected


CLEAR_ERRORS = [  # an expression, its exception, and words of the message
    (lambda: bool(tensor([1, 2])), ShapeError, "(2,)", "any()", "all()"),
    (lambda: bool(floats(0)), ShapeError, "(0,)"),
    (lambda: tensor([1, 2]) in [tensor([1, 3])], ShapeError, "any(t is each for each in a_list)"),
    (lambda: floats(3) in [floats(3, 4)], ShapeError, "(3,)", "(3, 4)", "in a_list"),
    (lambda: "a" in tensor([1]), DTypeError, "a number", "str"),
    (lambda: None in tensor([1]), DTypeError, "a number", "NoneType"),
    (lambda: [1, 2] in tensor([1, 2]), DTypeError, "a number", "list"),
    (lambda: float(floats(2)), ShapeError, "float()", "(2,)"),
    (lambda: range(tensor(3.0)), DTypeError, "whole number", "float32", "int(t)"),
    (lambda: range(tensor([3, 4])), ShapeError, "an index", "(2,)"),
    (lambda: [1, 2][tensor(1.0)], DTypeError, "whole number", "float32"),
    (lambda: round(floats(2)), ShapeError, "round()", "(2,)"),
    (lambda: f"{floats(2):.4f}", ShapeError, "'.4f'", "(2,)", "item()"),
    (lambda: f"{floats(1):.4f}", ShapeError, "'.4f'", "(1,)", "item()"),
    (lambda: iter(floats()), DTypeError, "at least one dimension"),
    (lambda: bytes_(1) + 300, ArgumentError, "300", "uint8", "0 to 255"),
    (lambda: 300 * bytes_(1), ArgumentError, "300", "uint8"),
    (lambda: bytes_(1).clamp(-5, 300), ArgumentError, "-5", "uint8"),
    (lambda: F.pad(bytes_(1), (1, 1), value=300), ArgumentError, "300", "uint8"),
    (lambda: bytes_(1) & 256, ArgumentError, "256", "uint8"),
    (lambda: bytes_(1).fill_(300), ArgumentError, "300", "uint8"),
    (lambda: bytes_(1).__setitem__(0, -1), ArgumentError, "-1", "uint8"),
    (lambda: tensor([1]).fill_(math.nan), ArgumentError, "nan", "int64"),
    (lambda: tensor([300, 1], dtype="uint8"), ArgumentError, "300", "uint8"),
    (lambda: tensor([math.nan, 1], dtype="int64"), ArgumentError, "nan", "int64"),
    (lambda: tensor([1]) + 2**70, ArgumentError, "64 bits", "71"),
    (lambda: tensor([1.0]) + 10**400, ArgumentError, "64 bits"),
    (lambda: tensor([2**63]), ArgumentError, "whole numbers from", "9223372036854775808"),
    (lambda: tensor([2**70]), ArgumentError, "whole numbers from"),
    (lambda: -tensor([True]), DTypeError, "minus", "~mask"),
    (lambda: tensor([True]) - True, DTypeError, "minus", "a ^ b"),
    (lambda: True - tensor([True]), DTypeError, "minus"),
    (lambda: tensor([True]) - tensor([True]), DTypeError, "minus"),
    (lambda: ~floats(1), DTypeError, "~", "whole numbers", "float32"),
    (lambda: floats(1) & 1, DTypeError, "&", "float32"),
    (lambda: tensor([1]) | 1.5, DTypeError, "|", "1.5"),
    (lambda: tensor([True]).__iand__(tensor([2])), DTypeError, "bool", "int64"),
    (lambda: tensor([2]) ** -1, ArgumentError, "negative powers", ".float()"),
    (lambda: 2 ** tensor([-3]), ArgumentError, "negative powers"),
    (lambda: tensor([2]) ** tensor([-1]), ArgumentError, "negative powers"),
    (lambda: floats(1) + np.complex64(1j), DTypeError, "complex"),
    (lambda: floats(2, 3).sum(1.0), ArgumentError, "sum", "whole numbers", "1.0"),
    (lambda: floats(2, 3).sum("1"), ArgumentError, "sum", "'1'"),
    (lambda: floats(2, 3).sum(True), ArgumentError, "sum", "True"),
    (lambda: floats(2, 3).sum([0, 1.0]), ArgumentError, "sum", "1.0"),
    (lambda: floats(2, 3).sum(0, 1), ArgumentError, "keepdim", "dim=(0, 1)"),
    (lambda: floats(2, 3).max(floats(2, 2)), ShapeError, "maximum", "(2, 3)", "(2, 2)"),
    (lambda: tensor([2]) // 0, ArgumentError, "divided by 0", ".float()"),
    (lambda: 2 % tensor([0]), ArgumentError, "divided by 0"),
    (lambda: floats(2, 3).argmax(1.0), ArgumentError, "argmax", "1.0"),
    (lambda: floats(2, 3).size(1.0), ArgumentError, "size", "1.0"),
    (lambda: floats(2, 3).reshape(6.0), ArgumentError, "reshape", "6.0"),
    (lambda: floats(2, 3).reshape(True, 6), ArgumentError, "reshape", "True"),
    (lambda: floats(2, 3).view(None), ArgumentError, "None"),
    (lambda: floats(2, 3).permute(1.0, 0), ArgumentError, "permute", "1.0"),
    (lambda: floats(2, 3).transpose(0, 1.0), ArgumentError, "transpose", "1.0"),
    (lambda: floats(2, 3).squeeze((0, 0.5)), ArgumentError, "squeeze", "0.5"),
    (lambda: floats(2, 3).unsqueeze(1.0), ArgumentError, "unsqueeze", "1.0"),
    (lambda: floats(2, 3).flatten(0.0), ArgumentError, "flatten", "0.0"),
    (lambda: floats(2, 3).expand(2, None), ArgumentError, "expand", "None"),
    (lambda: floats(0, 3).max(0), ShapeError, "max", "(0, 3)"),
    (lambda: floats(0, 3).argmin(), ShapeError, "argmin", "(0, 3)"),
    (lambda: floats(2)[0:1.0], ShapeError, "(2,)", "slice indices"),
    (lambda: floats(2)[::0], ShapeError, "(2,)", "step"),
    (lambda: floats(2)[bytes_(1, 0)], DTypeError, "uint8", "mask", ".long()"),
    (lambda: floats(2).__setitem__(bytes_(1, 0), 1), DTypeError, "uint8", "mask"),
    (lambda: floats(2).__setitem__(slice(0, 1.0), 1), ShapeError, "(2,)", "slice indices"),
    (lambda: floats(2).__setitem__(0, None), DTypeError, "object"),
    (lambda: floats(2).fill_(None), DTypeError, "object"),
    (lambda: floats(2).fill_(floats(2)), ShapeError, "one value", "(2,)", "copy_"),
    (lambda: floats(2).copy_(None), DTypeError, "object"),
    (lambda: floats(2).clamp(tensor([1.5, 0, 2])), ShapeError, "(2,)", "(3,)"),
    (lambda: floats(2).to("cuda:1"), BackendError, "cuda:1", "use_backend"),
    (lambda: floats(2).to("tpu"), DTypeError, "'tpu'"),
    (lambda: floats(2).to("mps"), ArgumentError, "'mps'", "'cpu'"),
    (lambda: floats(2).to(None), DTypeError, "None"),
    (lambda: floats(2).to(complex), DTypeError, "complex128"),
    (lambda: tensor([1.0], dtype="nonsense"), DTypeError, "'nonsense'", "float32"),
    (lambda: tensor([1.0], requires_grad="no"), ArgumentError, "requires_grad", "'no'"),
    (lambda: setattr(floats(1), "requires_grad", 1), ArgumentError, "requires_grad", "1"),
    (lambda: setattr(tensor([1.0], requires_grad=True), "grad", 3), DTypeError, "a Tensor or None", "int"),
    (lambda: setattr(tensor([1.0], requires_grad=True), "grad", tensor([1])), DTypeError, "int64", "float32"),
    (lambda: setattr(floats(1), "data", [1.0]), DTypeError, "list", "gpunet.tensor"),
    (lambda: Tensor(None), DTypeError, "NoneType", "gpunet.tensor"),
    (lambda: Tensor(floats(1)), DTypeError, "Tensor", "gpunet.tensor"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("expression", "error", "words"), [(first, second, rest) for first, second, *rest in CLEAR_ERRORS]
)
def test_what_is_an_error(expression, error, words):
    with pytest.raises(error) as caught:
        expression()
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, f"{missing} not in {caught.value}"


@pytest.mark.parametrize(
    "expression",
    [
        lambda x: x + None,
        lambda x: "a" + x,
        lambda x: x * [1.0],
        lambda x: x @ [1.0],
        lambda x: x < "a",
        lambda x: x + 1j,
        lambda x: divmod(7, x),
        lambda x: x << 1,
        lambda x: x.pow(None),
    ],
)
def test_operators_that_there_are_not_are_python_s_own_type_error(expression):
    with pytest.raises(TypeError, match="Tensor"):
        expression(floats(1))


def test_an_operator_leaves_others_their_say():
    class Other:
        def __radd__(self, other):
            return "radd"

        def __eq__(self, other):
            return "eq"

    assert floats(1) + Other() == "radd"
    assert (floats(1) == Other()) == "eq"


def test_round_gives_a_number_of_python():
    assert (round(tensor(1.256), 2), round(tensor([2.5]))) == (1.26, 2)
    assert isinstance(round(tensor(1.2)), int)


def test_masks_change_in_place():
    mask = tensor([True, True, False])
    same = mask
    mask &= tensor([True, False, True])
    mask |= tensor([False, False, True])
    mask ^= True
    assert mask is same
    assert mask.tolist() == [False, True, False]


def test_a_grad_of_another_type_changes_nothing():
    x = tensor([1.0], requires_grad=True)
    x.grad = tensor([2.0])
    with pytest.raises(DTypeError):
        x.grad = tensor([3.0], dtype="float64")
    assert x.grad.tolist() == [2.0]


# -------------------------------------------------------------------------------------------------------------- NumPy


def test_numpy_takes_a_tensor_for_an_array(backend):
    if backend != "numpy":
        with pytest.raises(BackendError, match=rf"{backend}.*numpy\(\)"):
            np.asarray(tensor([1.0, 2.0]))
        return
    x = tensor([1.0, 2.0])
    assert np.asarray(x) is x.array
    assert np.array(x) is not x.array
    assert np.asarray(x, copy=False) is x.array
    assert np.array(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.asarray(x, dtype=np.float64, copy=False)
    assert np.array([tensor(1.0), tensor(2.0)]).dtype == np.float32
    assert np.stack([x, x]).tolist() == [[1.0, 2.0], [1.0, 2.0]]
    assert np.arange(3)[tensor([1, 2])].tolist() == [1, 2]
    np.testing.assert_allclose(x, x)


def test_numpy_writes_are_seen_by_what_waits_for_them():
    with use_backend("numpy"):
        x = tensor([1.0, 2.0])
        np.asarray(x)[0] = 7
        assert x.tolist() == [7.0, 2.0]


def test_numpy_does_not_lose_a_history_unasked():
    x = tensor([1.0, 2.0], requires_grad=True)
    for each in (x, x * 2):
        with pytest.raises(GradientError, match="no history"):
            np.asarray(each)
    assert x.numpy().tolist() == [1.0, 2.0]


def test_operators_of_numpy_give_tensors():
    with use_backend("numpy"):
        for result in (np.ones(2, np.float32) * tensor([1.0, 2.0]), np.float64(1) - tensor([1.0, 2.0])):
            assert isinstance(result, Tensor)
            assert result.dtype == np.float32


# ----------------------------------------------------------------------------------------------------- order of bytes


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i8", ">i2", "<f4"])
def test_numbers_are_brought_into_the_order_of_bytes_of_this_machine(dtype):
    array = np.array([1, 2, 300], dtype)
    for made in (tensor(array), tensor([1, 2, 300], dtype=dtype), tensor([1.0, 2.0, 300.0]).to(dtype)):
        assert made.dtype.isnative
        assert made.dtype == np.dtype(dtype).newbyteorder("=")
        assert made.tolist() == [1, 2, 300]
    assert tensor([array]).dtype.isnative


def test_as_tensor_copies_what_it_cannot_share():
    assert as_tensor(np.array([1, 2], ">f4")).tolist() == [1.0, 2.0]


def test_a_tensor_holds_no_foreign_order_of_bytes():
    with pytest.raises(DTypeError, match=r">f4.*gpunet.tensor"):
        Tensor(np.array([1, 2], ">f4"))
    with pytest.raises(DTypeError, match=r"64 bits.*got data of type"):
        tensor(np.array([1], np.longdouble))


def test_a_matrix_is_held_as_an_array():
    with use_backend("numpy"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matrix = np.matrix([[1.0, 2.0], [3.0, 4.0]])
        x = Tensor(matrix)
        assert (x * x).tolist() == [[1, 4], [9, 16]]
    assert np.shares_memory(x.array, matrix)


# ------------------------------------------------------------------------------------------------------ other libraries


class FromTorch:
    """Looks like a Tensor of PyTorch: gives itself out as an array away from its tape and from its GPU alone."""

    def __init__(self, values, dtype="torch.float32", steps=()):
        self.values, self.dtype, self.steps = values, dtype, steps

    def detach(self):
        return FromTorch(self.values, self.dtype, (*self.steps, "detach"))

    def cpu(self):
        return FromTorch(self.values, self.dtype, (*self.steps, "cpu"))

    def float(self):
        return FromTorch(self.values, "torch.float32", self.steps)

    def numpy(self):
        if self.dtype != "torch.float32" or self.steps != ("detach", "cpu"):
            raise TypeError("Got unsupported ScalarType")
        return np.array(self.values, np.float32)


class FromJax:
    """Looks like an array of JAX, or anything else with `__array__`."""

    dtype = np.dtype(np.float32)

    def __array__(self, dtype=None, copy=None):
        return np.array([1.0, 2.0], np.float32)


@pytest.mark.parametrize("foreign", [FromTorch([1, 2]), FromTorch([1, 2], "torch.bfloat16"), FromJax()])
def test_arrays_of_other_libraries(foreign):
    for made in (tensor(foreign), as_tensor(foreign), tensor([foreign])):
        assert made.dtype == np.float32
        assert made.reshape(-1).tolist() == [1, 2]


def test_arrays_that_their_library_does_not_give_out():
    with pytest.raises(DTypeError, match=r"tensor: a .*FromTorch cannot be read as an array: Got unsupported"):
        tensor(FromTorch([1, 2], "torch.qint8"))


def test_operators_do_not_drop_the_history_of_another_library():
    for expression in (lambda x, y: x * y, lambda x, y: y + x, lambda x, y: x == y, lambda x, y: x @ y):
        with pytest.raises(DTypeError, match=r"FromTorch.*gpunet.tensor"):
            expression(floats(2), FromTorch([1, 2]))
    with pytest.raises(DTypeError, match=r"Tensor\(data\).*FromTorch.*gpunet.tensor"):
        Tensor(FromTorch([1, 2]))


def test_functions_do_not_drop_the_history_of_another_library():
    foreign = FromTorch([1, 2])
    for call in (
        lambda: F.maximum(floats(2), foreign),
        lambda: F.where(floats(2) > 0, foreign, floats(2)),
        lambda: F.cat([floats(2), foreign]),
        lambda: F.relu(foreign),
        lambda: apply(Multiply(), floats(2), foreign),
    ):
        with pytest.raises(DTypeError, match="FromTorch"):
            call()


def test_arrays_of_pytorch_itself():
    torch = pytest.importorskip("torch")
    given = torch.tensor([[1.0, 2.5]], requires_grad=True)
    bfloat16 = torch.tensor([1.0, 3.140625, -1e-30]).bfloat16()
    assert tensor(given).tolist() == [[1.0, 2.5]]
    assert tensor(bfloat16).tolist() == bfloat16.float().tolist()
    assert tensor(torch.tensor([1, 2])).dtype == np.int64
    assert tensor([given, given]).shape == (2, 1, 2)
    for expression in (lambda x, y: x * y, lambda x, y: x == y):
        with pytest.raises(DTypeError, match=r"torch.Tensor do not go together"):
            expression(floats(2), given)
    with pytest.raises(DTypeError, match="complex"):
        tensor(torch.tensor([1j]))


def test_copies_and_hashes_stay_as_they_were():
    x = tensor([1.0, 2.0])
    assert {x: "x"}[x] == "x"
    assert copy.deepcopy(x).tolist() == copy.copy(x).tolist() == [1.0, 2.0]
    assert (tensor([1, 2]) == asarray([1, 3])).tolist() == [True, False]
