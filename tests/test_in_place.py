"""Operations in place: what changes, who sees it, and what the tape makes of it. Expected values are PyTorch's."""

import contextlib
import operator

import numpy as np
import pytest

import gpunet
import gpunet.functional as F
from gpunet import nn, no_grad, tensor
from gpunet.amp import GradScaler
from gpunet.errors import ArgumentError, DTypeError, GpunetError, GradientError, ShapeError
from gpunet.optim import SGD, Adam


def values(t):
    return t.tolist()


OPERATORS = {
    "+=": (operator.iadd, [3.0, 4.0, 5.0]),
    "-=": (operator.isub, [-1.0, 0.0, 1.0]),
    "*=": (operator.imul, [2.0, 4.0, 6.0]),
    "/=": (operator.itruediv, [0.5, 1.0, 1.5]),
    "**=": (operator.ipow, [1.0, 4.0, 9.0]),
}
METHODS = {
    "add_": (lambda t: t.add_(2), [3.0, 4.0, 5.0]),
    "add_ alpha": (lambda t: t.add_(tensor([1.0, 2.0, 3.0]), alpha=-0.5), [0.5, 1.0, 1.5]),
    "sub_": (lambda t: t.sub_(2), [-1.0, 0.0, 1.0]),
    "sub_ alpha": (lambda t: t.sub_(tensor([1.0, 2.0, 3.0]), alpha=2), [-1.0, -2.0, -3.0]),
    "mul_": (lambda t: t.mul_(2), [2.0, 4.0, 6.0]),
    "div_": (lambda t: t.div_(2), [0.5, 1.0, 1.5]),
    "clamp_": (lambda t: t.clamp_(1.5, 2.5), [1.5, 2.0, 2.5]),
    "fill_": (lambda t: t.fill_(7), [7.0, 7.0, 7.0]),
    "zero_": (lambda t: t.zero_(), [0.0, 0.0, 0.0]),
    "copy_": (lambda t: t.copy_(tensor([5])), [5.0, 5.0, 5.0]),
    "relu": (lambda t: F.relu(t.sub_(2), inplace=True), [0.0, 0.0, 1.0]),
}
CHANGES = {**{name: (lambda t, do=do: do(t, 2), right) for name, (do, right) in OPERATORS.items()}, **METHODS}


@pytest.mark.parametrize("change", CHANGES)
def test_the_tensor_itself_changes_for_all_who_look_at_it(change, backend):
    do, right = CHANGES[change]
    t = tensor([1.0, 2.0, 3.0])
    same, view, detached = t, t[:2], t.detach()
    assert do(t) is t
    assert values(same) == right
    assert values(view) == right[:2]
    assert values(detached) == right


@pytest.mark.parametrize("change", CHANGES)
def test_an_array_of_the_user_changes_with_it(change):
    do, right = CHANGES[change]
    t = tensor([1.0, 2.0, 3.0])
    array = t.numpy()
    do(t)
    np.testing.assert_array_equal(array, right)


def test_training_by_hand(backend):
    """What the introductions to PyTorch begin with: it must train."""
    gpunet.manual_seed(0)
    layer = nn.Linear(3, 1)
    x, y = tensor(np.eye(3, dtype=np.float32)), tensor([[1.0], [2.0], [3.0]])
    parameters = list(layer.parameters())
    before = [p.numpy().copy() for p in parameters]
    F.mse_loss(layer(x), y).backward()
    right = [old - 0.1 * p.grad.numpy() for old, p in zip(before, parameters, strict=True)]
    with no_grad():
        for p in layer.parameters():
            p -= 0.1 * p.grad
            p.grad.zero_()
    for p, mine, expected in zip(layer.parameters(), parameters, right, strict=True):
        assert p is mine
        assert p.requires_grad
        np.testing.assert_allclose(p.numpy(), expected, rtol=1e-6)
        np.testing.assert_array_equal(p.grad.numpy(), 0)


def test_a_gradient_changed_in_place_is_changed(backend):
    """`w.grad.zero_()`, as in every loop that is written by hand."""
    w = tensor([1.0, 2.0], requires_grad=True)
    for change, right in (
        (lambda grad: grad.zero_(), [0.0, 0.0]),
        (lambda grad: grad.mul_(2), [4.0, 8.0]),
        (lambda grad: grad.reshape(2, 1).add_(1), [3.0, 5.0]),
        (lambda grad: grad.__setitem__(0, 9.0), [9.0, 4.0]),
    ):
        w.grad = None
        (w * w).sum().backward()
        change(w.grad)
        assert values(w.grad) == right


def test_an_average_by_hand(backend):
    p, q = tensor([1.0, 2.0], requires_grad=True), tensor([3.0, 3.0])
    kept = {"average": q}
    with no_grad():
        q *= 0.5
        q += 0.5 * p
        q.mul_(0.5).add_(p, alpha=0.5)
    assert values(kept["average"]) == [1.5, 2.25]
    assert not q.requires_grad


def test_the_history_moves_on(backend):
    x = tensor([1.0, -2.0, 3.0], requires_grad=True)
    y = x * x
    out = y
    out += x
    out *= 2
    assert out is y
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [6.0, -6.0, 14.0])  # d/dx of 2 (x^2 + x)


def test_a_constant_gets_a_history(backend):
    w, total = tensor([2.0, 3.0], requires_grad=True), tensor([0.0, 0.0])
    for k in (1.0, 10.0):
        total += k * w
    total.sum().backward()
    assert values(w.grad) == [11.0, 11.0]


def test_what_a_residual_block_adds(backend):
    gpunet.manual_seed(0)
    x = tensor(np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32), requires_grad=True)
    layer = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3))

    def gradient(add):
        x.grad = None
        F.relu(add(layer(x), x)).sum().backward()
        return x.grad.numpy().copy()

    np.testing.assert_array_equal(gradient(operator.iadd), gradient(operator.add))


def test_a_leaf_refuses_while_operations_are_recorded(backend):
    p = tensor([1.0, 2.0], requires_grad=True)
    for change, (do, _) in CHANGES.items():
        if "alpha" not in change and change not in ("clamp_", "relu"):
            with pytest.raises(GradientError, match="cannot be changed in place while operations are recorded"):
                do(p)
    with pytest.raises(GradientError, match="cannot be changed in place"):
        p[0] = 5.0
    assert values(p) == [1.0, 2.0]


def test_outside_of_recording_the_history_stays(backend):
    x = tensor([1.0, 2.0], requires_grad=True)
    y = 3 * x
    with no_grad():
        y += 10
    assert values(y) == [13.0, 16.0]
    y.sum().backward()
    assert values(x.grad) == [3.0, 3.0]


KEPT = {
    "a product": lambda w, t: w * t,
    "a matrix product": lambda w, t: w.matmul(t),
    "a convolution": lambda w, t: F.conv2d(t.reshape(1, 1, 2, 2), w.reshape(1, 1, 2, 2)),
    "a linear layer": lambda w, t: F.linear(t, w),
    "a power": lambda w, t: (w * t) ** t,
}


@pytest.mark.parametrize("write", ["in place", "an element", "a view", "by detach()", "load_state_dict"])
@pytest.mark.parametrize("kind", KEPT)
def test_a_gradient_of_numbers_that_have_changed_is_refused(kind, write, backend):
    w = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    holder = nn.Module()
    holder.register_buffer("t", tensor([[1.0, 2.0], [3.0, 4.0]]))
    t = holder.t
    loss = KEPT[kind](w, t).sum()
    with no_grad():
        if write == "in place":
            alias = t.numpy()
            t += 1
            assert alias is not None
        elif write == "an element":
            t[0, 0] = 9.0
        elif write == "a view":
            t[0].mul_(2)
        elif write == "by detach()":
            t.detach().zero_()
        else:
            holder.load_state_dict({"t": np.zeros((2, 2), np.float32)})
    with pytest.raises(GradientError, match="needs for its gradient a Tensor that has been changed in place"):
        loss.backward()


def test_a_step_between_forward_and_backward_is_noticed(backend):
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    optimizer = SGD([*first.parameters(), *second.parameters()], lr=0.1)
    x = tensor([[1.0, 2.0]])
    second(first(x)).sum().backward()
    stale = second(first(x)).sum()
    optimizer.step()
    with pytest.raises(GradientError, match="changed in place"):
        stale.backward()
    second(first(x)).sum().backward()  # what is recorded afterwards is right


def test_changes_of_what_no_gradient_needs_are_fine(backend):
    x = tensor([1.0, 2.0], requires_grad=True)
    t = tensor([3.0, 4.0])
    y = x + t  # whose gradient does not depend on t
    view = t[:1]
    t += 1
    y.sum().backward()
    assert values(x.grad) == [1.0, 1.0]
    assert values(view) == [4.0]


def test_views_follow(backend):
    """PyTorch's numbers: after a change of a part the whole has another history, and so has every other part."""
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    w = tensor([10.0, 100.0], requires_grad=True)
    y = x * 2
    row, column, flat, alone = y[0], y[:, 1], y.reshape(-1), y.detach()
    row *= w  # y is [[20, 400], [6, 8]]
    column += 1
    assert values(y) == [[20.0, 401.0], [6.0, 9.0]]
    assert values(flat) == [20.0, 401.0, 6.0, 9.0]
    assert values(alone) == [[20.0, 401.0], [6.0, 9.0]]
    assert not alone.requires_grad
    element = y[1, 1]
    element -= 1
    (flat * tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert values(flat) == [20.0, 401.0, 6.0, 8.0]
    assert values(x.grad) == [[20.0, 400.0], [6.0, 8.0]]
    assert values(w.grad) == [2.0, 8.0]  # although the row has been written over since


def test_gradients_go_through_a_change_of_a_view(backend):
    x, w = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), tensor([10.0, 100.0], requires_grad=True)
    y = x * 2
    row, column, flat = y[0], y[:, 1], y.reshape(-1)
    row += w
    column *= 3
    (flat * tensor([1.0, 2.0, 3.0, 4.0])).sum().backward(retain_graph=True)
    assert values(x.grad) == [[2.0, 12.0], [6.0, 24.0]]
    assert values(w.grad) == [1.0, 6.0]
    x.grad = w.grad = None
    row.sum().backward()
    assert values(x.grad) == [[2.0, 6.0], [0.0, 0.0]]
    assert values(w.grad) == [1.0, 3.0]


def test_a_view_of_a_constant_gives_it_a_history(backend):
    w, total = tensor([2.0, 3.0], requires_grad=True), tensor(np.zeros((2, 2), np.float32))
    other = total[1:]
    total[0] += w
    assert total.requires_grad
    assert other.requires_grad
    (total * total).sum().backward()
    assert values(w.grad) == [4.0, 6.0]


def test_where_the_whole_is_gone_its_views_still_follow(backend):
    x = tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    first, second = (x * 2)[:3], None
    second = first[1:]
    first *= 5
    second.sum().backward()
    assert values(second) == [20.0, 30.0]
    assert values(x.grad) == [0.0, 10.0, 10.0, 0.0]


def test_who_is_left_alone_with_the_memory_takes_another(backend):
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = (x * x).reshape(3, 1)
    kept = y * y  # needs y as it is now
    y += 1
    (kept + y).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [6.0, 36.0, 114.0])  # d/dx of x^4 + x^2


@pytest.mark.parametrize(
    "how", ["a view of a leaf", "a view under no_grad()", "one such view more", "a leaf as a view"]
)
def test_what_cannot_be_followed_is_refused(how, backend):
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y, w = x * 2, tensor([1.0, 1.0], requires_grad=True)
    with no_grad():
        unrecorded = y[0]
    constant = tensor([[1.0, 2.0], [3.0, 4.0]])
    leaf = constant[0].requires_grad_()
    changed, value = {
        "a view of a leaf": (x[0], 1.0),
        "a view under no_grad()": (unrecorded, 1.0),
        "one such view more": (y, 1.0),
        "a leaf as a view": (constant, w),
    }[how]
    for change in (operator.iadd, lambda t, value: t.__setitem__(0, value[0] if value is w else value)):
        with pytest.raises(GradientError, match="cannot be changed in place while operations are recorded"):
            change(changed, value)
    assert values(y) == [[2.0, 4.0], [6.0, 8.0]]
    assert (values(constant), values(leaf)) == ([[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0])


def test_what_is_contiguous_is_a_copy_of_what_was_not(backend):
    x = tensor([[1.0, 2.0], [3.0, 4.0]])
    turned = x.T.contiguous()
    turned += 1
    assert x.contiguous() is x
    assert values(x) == [[1.0, 2.0], [3.0, 4.0]]


def test_dropout_of_one_sequence_in_place(backend):
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = x * 2
    assert nn.Dropout1d(inplace=True)(y) is y
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy() * x.detach().numpy(), y.detach().numpy())


def test_a_view_is_not_detached_in_place(backend):
    y = tensor([1.0, 2.0], requires_grad=True) * 2
    with pytest.raises(GradientError, match="a view cannot be detached in place"):
        y[0].detach_()
    assert not y.detach_().requires_grad


def test_a_retained_gradient_moves_on(backend):
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    y.retain_grad()
    y *= 3
    assert y.retains_grad
    (y * y).sum().backward()
    assert values(y.grad) == [12.0, 24.0]  # by what y is now


def test_elements(backend):
    t = tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    view = t[1]
    t[0] = 7
    t[1, 1:] = tensor([8.0, 9.0])
    t[:, 0] += 0.5
    assert values(t) == [[7.5, 7.0, 7.0], [3.5, 8.0, 9.0]]
    assert values(view) == [3.5, 8.0, 9.0]
    t[t > 7.2] = 0.0
    assert values(t) == [[0.0, 7.0, 7.0], [3.5, 0.0, 0.0]]
    with pytest.raises(ShapeError, match=r"cannot set t\[...\] of a Tensor of shape \(2, 3\)"):
        t[5] = 1
    with pytest.raises(ShapeError, match="cannot set"):
        t[0] = tensor([1.0, 2.0])


KEYS = {
    "a row": (1, (3,)),
    "rows, broadcast": (slice(0, 2), (1, 3)),
    "more dimensions of size 1": (0, (1, 1, 3)),
    "everything": (..., (2, 3)),
    "every other column": ((slice(None), slice(None, None, 2)), (2, 2)),
    "listed rows": (([1, 0],), (2, 3)),
    "one element": ((0, 1), ()),
    "a mask": (np.array([[True, False, True], [False, True, False]]), (3,)),
}


@pytest.mark.parametrize("view", [False, True])
@pytest.mark.parametrize("key", KEYS)
def test_gradients_go_through_elements(key, view, torch, backend):
    """To the values, and to those that were there before and have stayed."""
    where, shape = KEYS[key]
    rng = np.random.default_rng(0)
    numbers, new, weights = rng.random((2, 3)), rng.random(shape), rng.random((2, 3))
    found = []
    for library in (gpunet, torch):
        x, v = (library.tensor(each, requires_grad=True) for each in (numbers, new))
        y = x * 2
        seen = y[:] if view else y
        seen[library.tensor(where) if isinstance(where, np.ndarray) else where] = v * 3
        (seen * y * library.tensor(weights)).sum().backward()
        found.append([each.tolist() for each in (y, x.grad, v.grad)])
    np.testing.assert_allclose(*(np.concatenate([np.ravel(one) for one in each]) for each in found))


def test_a_buffer_is_filled_piece_by_piece(backend):
    w, t = tensor([1.0, 2.0], requires_grad=True), gpunet.zeros(3, 2)
    for i in range(3):
        t[i] = w * i
    t[0] = 7.0
    (t * t).sum().backward()
    assert values(t) == [[7.0, 7.0], [1.0, 2.0], [2.0, 4.0]]
    assert values(w.grad) == [10.0, 20.0]
    with no_grad():
        t[:1] = w
        w[0] = 4.0
    assert (values(t[0]), values(w)) == ([1.0, 2.0], [4.0, 2.0])


def test_types_and_shapes_stay(backend):
    t, whole = tensor([1.0, 2.0]), tensor([1, 2])
    for do in (lambda: operator.iadd(whole, 0.5), lambda: operator.itruediv(whole, 2), lambda: whole.mul_(t)):
        with pytest.raises(DTypeError, match="a Tensor of int64 cannot take values of float32 in place"):
            do()
    with pytest.raises(ShapeError, match=r"a Tensor of shape \(2,\) cannot take the values of shape \(3, 2\) in place"):
        t += tensor(np.zeros((3, 2), np.float32))
    half = t.half()
    half += tensor([0.5, 0.5])
    assert half.dtype == np.float16
    assert values(half) == [1.5, 2.5]
    whole += 1
    assert whole.dtype == np.int64
    one = tensor([[1.0]])
    with pytest.raises(ShapeError, match="lie on one another, as after expand"):
        one.expand(2, 2).add_(1)


def test_a_label_that_was_changed_is_looked_at_again(backend):
    labels = tensor(np.array([0, 1]))
    assert labels.host_range == (0, 1)
    labels[0] = 7
    assert labels.host_range is None


def random_program(rng, steps, library):
    """Run a program of so many random steps with gpunet or PyTorch; yields after each step all Tensors so far.

    Both libraries make the same choices, for these depend on shapes alone.
    """
    make, no_grad_of = library.tensor, library.no_grad
    leaves = [make([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), make([[0.5, -1.0], [2.0, 1.0]], requires_grad=True)]
    tensors = [*leaves, make([[1.0, 1.0], [-2.0, 3.0]])]
    yield leaves, tensors
    for _ in range(steps):
        kind, number, outside = rng.integers(18), float(rng.integers(1, 4)), rng.random() < 0.2
        first = 2 if kind >= 5 and not outside else 0  # a leaf would refuse
        a = tensors[rng.integers(first, len(tensors))]
        alike = [t for t in tensors if t.shape == a.shape]
        b = alike[rng.integers(len(alike))]
        with no_grad_of() if outside else contextlib.nullcontext():
            if kind == 0:
                tensors.append(a * b)
            elif kind == 1:
                tensors.append(a + number * b)
            elif kind == 2 and len(a.shape) == 2:
                tensors.append(a[int(number) % 2])
            elif kind == 3:
                tensors.append(a.reshape(*a.shape) if number > 2 else a.detach())
            elif kind == 4:
                tensors.append(library.relu(a))
            elif kind == 5:
                a += b * number  # of its own memory: PyTorch may read what it has just written
            elif kind == 6:
                a *= number
            elif kind == 7:
                a -= number * b
            elif kind == 8:
                a.mul_(b * number)
            elif kind == 9:
                a[0] = number
            elif kind == 10:
                a.copy_(b * number)
            elif kind == 11:
                a[1] = b[0] * number
            elif kind == 12:
                a[0] += b[1] * number
            elif kind == 13 and a.shape[0] == 2:
                a[make([0, 1]) == int(number) % 2] = number
            elif kind == 14:
                tensors.append(a.transpose(0, -1))
            elif kind == 15 and len(a.shape) == 2:
                tensors.append(a[:, int(number) % 2])
            elif kind == 16:
                a.mul_(a)
            else:
                a.clamp_(-number, number)
        yield leaves, tensors


def of_read_only(values, requires_grad=True):
    array = np.array(values, np.float32)
    array.flags.writeable = False
    return gpunet.Tensor(array, requires_grad)


@pytest.mark.parametrize("make", [SGD, Adam])
@pytest.mark.usefixtures("numpy_backend")
def test_a_step_on_a_read_only_array_changes_nothing(make):
    parameters = [tensor([1.0, 2.0], requires_grad=True), of_read_only([3.0, 4.0])]
    optimizer = make(parameters, lr=0.1)
    for _ in range(2):
        sum((p * p).sum() for p in parameters).backward()
        with pytest.raises(ArgumentError, match=r"\(2,\) is read-only.*gpunet.tensor"):
            optimizer.step()
    assert [p.tolist() for p in parameters] == [[1.0, 2.0], [3.0, 4.0]]
    assert not any(optimizer.state.values())


@pytest.mark.usefixtures("numpy_backend")
def test_whatever_writes_refuses_a_read_only_array_first():
    def batch_norm():
        F.batch_norm(tensor([[1.0], [2.0]]), tensor([0.0]), of_read_only([1.0], False), training=True)

    def load():
        layer = nn.Linear(1, 1)
        layer.bias = nn.Parameter(of_read_only([0.0]))
        layer.load_state_dict({"weight": np.ones((1, 1)), "bias": np.ones(1)})

    def unscale():
        weight = tensor([1.0], requires_grad=True)
        weight.grad = of_read_only([1.0], False)
        GradScaler().unscale_(SGD([weight], lr=1))

    for write in (
        batch_norm,
        load,
        unscale,
        lambda: of_read_only([1.0], False).__setitem__(0, 2),
        lambda: of_read_only([1.0], False).add_(1),
        lambda: nn.init.zeros_(of_read_only([1.0])),
    ):
        with pytest.raises(ArgumentError, match="read-only"):
            write()


class Gpunet:
    tensor, no_grad, relu = staticmethod(tensor), staticmethod(no_grad), staticmethod(F.relu)


def run_program(seed, library, failures):
    """All values after each step, and the gradients of the leaves at the end; what was refused ends it."""
    seen = []
    try:
        for leaves, tensors in random_program(np.random.default_rng(seed), 10, library):  # noqa: B007  (used at its end)
            seen.append([t.detach().tolist() for t in tensors])
        losses = [t for t in tensors if t.requires_grad and not t.is_leaf]
        if losses:
            sum(t.sum() for t in losses).backward()
        nothing = [[0.0, 0.0], [0.0, 0.0]]  # where fill_ or copy_ has cut every path PyTorch says 0, and we None
        seen.append([nothing if leaf.grad is None else leaf.grad.tolist() for leaf in leaves])
    except failures:
        return seen, True
    return seen, False


def test_random_programs_against_pytorch():
    """What PyTorch computes, we compute or refuse: never another result."""
    torch = pytest.importorskip("torch")
    finished = 0
    for seed in range(1500):
        right, refused_there = run_program(seed, torch, RuntimeError)
        got, refused_here = run_program(seed, Gpunet, GpunetError)
        for step, (mine, theirs) in enumerate(zip(got, right, strict=False)):
            assert mine == theirs, (seed, step)
        finished += not refused_here and not refused_there
    assert finished > 300


def test_a_diagonal_is_no_place_for_other_gradients(backend):
    """Only the part of it that is seen is there: what is added to the whole must not be added to that."""
    torch = pytest.importorskip("torch")

    def gradient(library):
        x = library.ones((3, 3), requires_grad=True)
        y = x * 2
        (y.diagonal().sum() * 3 + (y * y).sum() + y.diagonal().sum()).backward()
        return x.grad.tolist()

    assert gradient(gpunet) == gradient(torch)


def test_a_gradient_that_is_kept_through_a_view(backend):
    torch = pytest.importorskip("torch")

    def gradients(library):
        x = library.ones(3, requires_grad=True)
        y = x * 2
        y.retain_grad()
        y[:2].mul_(3)
        (y * y).sum().backward()
        return y.grad.tolist(), x.grad.tolist()

    assert gradients(gpunet) == gradients(torch)


def test_the_diagonal_of_a_matrix_alone_is_filled(backend):
    assert gpunet.zeros(2, 3).fill_diagonal_(1).tolist() == [[1, 0, 0], [0, 1, 0]]
    for function in (lambda x: x.fill_diagonal_(1), lambda x: x.H):
        with pytest.raises(ShapeError, match=r"matrix, got shape \(2, 2, 2\)"):
            function(gpunet.zeros(2, 2, 2))
