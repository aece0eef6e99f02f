"""The tape: how gradients accumulate, what memory is let go when, and what must not be computed or shared."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gpunet.functional as F
from gpunet.autocast import autocast, is_autocast_enabled
from gpunet.errors import ArgumentError, DTypeError, GradientError
from gpunet.ops.operation import Operation
from gpunet.tape import is_grad_enabled, no_grad
from gpunet.tensor import apply, tensor
from tests.reference import close

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture
def no_gc():
    """Memory must be released by reference count: the collector stays off."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(*values):
    return tensor(list(values), dtype=np.float64, requires_grad=True)


# ------------------------------------------------------------------------------------------------------- accumulation


@pytest.mark.parametrize(
    ("function", "gradient"),
    [
        (lambda x: x + x, [2, 2]),
        (lambda x: x * x * x, [3, 12]),
        (lambda x: x + F.relu(x - 1.5), [1, 2]),
        (lambda x: (x * 2) * (x * 2 + 1), [10, 18]),
        (lambda x: F.cat([x, x * 3, x]).sum(), [5, 5]),
        (lambda x: F.stack([x[0], x[0], x[1]]).sum(), [2, 1]),
        (lambda x: x[0] * x[1] + x, [2 * 2 + 1, 2 * 1 + 1]),
    ],
)
def test_gradients_add_up_where_paths_join(function, gradient):
    x = leaf(1.0, 2.0)
    function(x).sum().backward()
    close(x.grad.numpy(), gradient)


def test_shared_part_runs_backward_once():
    runs = []

    class Counted(Operation):
        def forward(self, x):
            return x * 2

        def backward(self, grad):
            runs.append(grad.copy())
            return (grad * 2,)

    x = leaf(1.0)
    shared = apply(Counted(), x)
    for _ in range(10):
        shared = shared + shared * 0.5  # 2^10 paths
    shared.sum().backward()
    assert len(runs) == 1
    close(x.grad.numpy(), [2 * 1.5**10])


def test_second_loss_adds_to_the_gradient_of_the_first():
    x, scalar = leaf(1.0, 2.0), tensor(3.0, requires_grad=True)
    for times in (1, 2, 3):
        (x * 5).sum().backward()
        (scalar * 2).backward()
        close(x.grad.numpy(), [5.0 * times] * 2)
        close((scalar.grad + 1).numpy(), np.float32(2 * times + 1))
    x.grad = None
    assert x.grad is None


def test_backward_from_a_leaf_is_its_gradient():
    x = leaf(1.0, 2.0)
    x.backward(tensor([3.0, 4.0]))
    close(x.grad.numpy(), [3, 4])


def test_long_chain_needs_no_recursion():
    x = y = leaf(1.0)
    for _ in range(20_000):
        y = y + 1
    y.backward()
    close(x.grad.numpy(), [1.0])
    del y  # nor does letting go of it


@pytest.mark.parametrize("join", [lambda early, late: early * late, lambda early, late: late * early])
def test_earlier_part_waits_for_all_paths_to_it(join):
    x = leaf(2.0)
    early = x * 3
    late = early * early
    join(early, late).backward()  # (3x)^3
    close(x.grad.numpy(), [3 * 27 * 2.0**2])


# ------------------------------------------------------------------------------------------------------------- memory


def two_layers(x, weight):
    """The output, and a weak reference to the array between the layers, which backward needs."""
    hidden = F.relu(F.conv2d(x, weight, padding=1))
    return F.conv2d(hidden, weight), weakref.ref(hidden.handed_out())


def test_activations_die_with_backward(no_gc, rng):
    x, weight = tensor(rng.standard_normal((1, 2, 5, 5))), tensor(rng.standard_normal((2, 2, 3, 3)), requires_grad=True)
    y, hidden = two_layers(x, weight)
    assert hidden() is not None
    y.sum().backward()
    assert hidden() is None  # while y is still there


def test_activations_die_with_the_output(no_gc, rng):
    x, weight = tensor(rng.standard_normal((1, 2, 5, 5))), tensor(rng.standard_normal((2, 2, 3, 3)), requires_grad=True)
    y, hidden = two_layers(x, weight)
    del y
    assert hidden() is None


def test_activations_are_not_kept_without_gradients(no_gc, rng):
    x, weight = (tensor(rng.standard_normal(shape)) for shape in ((1, 2, 5, 5), (2, 2, 3, 3)))
    y, hidden = two_layers(x, weight)
    assert hidden() is None
    assert not y.requires_grad


def test_graph_makes_no_cycles(no_gc):
    def train():
        x = leaf(1.0, 2.0)
        y = F.cross_entropy(F.batch_norm((x * x).reshape(2, 1), training=True).expand(2, 3), tensor([0, 1]))
        y.backward()

    train()
    gc.collect()  # loading a kernel, the first time, makes some
    train()
    assert gc.collect() == 0


# ------------------------------------------------------------------------------------------------------------- errors


def test_second_backward_is_an_error():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(GradientError, match="already run"):
        y.backward()
    close(x.grad.numpy(), [2, 4])


def test_shared_part_cannot_be_walked_twice_and_nothing_is_added():
    x, weight = leaf(1.0, 2.0), leaf(3.0, 3.0)
    shared = x * x
    first, second = shared.sum(), (shared * weight).sum()
    first.backward()
    with pytest.raises(GradientError, match="add the losses up"):
        second.backward()
    close(x.grad.numpy(), [2, 4])
    assert weight.grad is None


def test_nothing_is_added_when_backward_fails():
    class Failing(Operation):
        def forward(self, x):
            return x * 1

        def backward(self, grad):
            raise ZeroDivisionError

    x, other = leaf(1.0), leaf(1.0)
    y = apply(Failing(), x) * other + other
    with pytest.raises(ZeroDivisionError):
        y.backward()
    assert x.grad is None
    assert other.grad is None


def test_computed_tensor_keeps_its_history():
    y = leaf(1.0) * 2
    with pytest.raises(GradientError, match="detach"):
        y.requires_grad = False
    assert y.requires_grad
    assert y.grad is None


class Wrong(Operation):
    """Adds its inputs, and returns `gradients` instead of theirs."""

    def __init__(self, gradients):
        self.gradients = gradients

    def forward(self, *inputs):
        return sum(inputs[1:], inputs[0])

    def backward(self, grad):
        return self.gradients(grad)


def test_a_leaf_keeps_a_gradient_of_its_own_dtype():
    x, other = leaf(1.0), leaf(2.0)
    for _ in range(2):
        apply(Wrong(lambda g: (g.astype(np.float32), g)), x, other).backward()
    assert x.grad.dtype == x.dtype == np.float64
    close(x.grad.numpy(), [2.0])
    with pytest.raises(DTypeError, match="the gradient holds float32, expected the type of its Tensor, float64"):
        x.grad = tensor([1.0], dtype=np.float32)


WRONG_GRADIENTS = {
    "one row": (lambda g: (g[:1], g), r"shape \(1, 3\) by an input of shape \(2, 3\)"),
    "a number": (lambda g: (g.sum(), g), r"shape \(\) "),
    "stretched": (lambda g: (g, g[None] * g[:, None]), r"shape \(2, 2, 3\)"),
    "transposed": (lambda g: (g, g.T), r"shape \(3, 2\)"),
    "too few": (lambda g: (g,), "a tuple of 2 gradients, .* got 1 of them"),
    "too many": (lambda g: (g, g, g), "got 3 of them"),
    "an array": (lambda g: g, "got ndarray"),
    "nothing": (lambda g: None, "got NoneType"),
}


@pytest.mark.parametrize("computed", [False, True], ids=["leaves", "computed inputs"])
@pytest.mark.parametrize("name", WRONG_GRADIENTS)
def test_gradients_that_are_not_those_of_the_inputs(name, computed):
    gradients, words = WRONG_GRADIENTS[name]
    a, b = (tensor(np.ones((2, 3)), requires_grad=True) for _ in range(2))
    inputs = (a * 2, b * 2) if computed else (a, b)
    y = apply(Wrong(gradients), *inputs)
    with pytest.raises(GradientError, match=f"Wrong.backward .*{words}"):
        y.sum().backward()
    assert a.grad is None
    assert b.grad is None


def test_gradient_nobody_needs_may_have_any_shape():
    a, b = tensor(np.ones((2, 3)), requires_grad=True), tensor(np.ones((2, 3)))
    apply(Wrong(lambda g: (g, g[:1])), a, b).sum().backward()
    close(a.grad.numpy(), np.ones((2, 3)))


def test_leaf_whose_data_were_replaced_takes_a_gradient_of_their_shape():
    a = leaf(1.0, 2.0)
    a.data = tensor(np.ones((3, 1))).handed_out()
    (a * 2).sum().backward()
    close(a.grad.numpy(), np.full((3, 1), 2.0))


# ------------------------------------------------------------------------------------------------------------ no_grad


def test_no_grad_as_a_context_and_as_a_decorator():
    x = leaf(1.0)

    @no_grad()
    def evaluate():
        assert not is_grad_enabled()
        return x * 2

    assert not evaluate().requires_grad
    with no_grad():
        with no_grad():
            assert not (x * 2).requires_grad
        assert not is_grad_enabled()
        assert not evaluate().requires_grad
        assert not is_grad_enabled()
    assert (x * 2).requires_grad


def modes_of_a_generator(switch, is_on):
    """What a generator function under the decorator, and whoever runs it, see of the mode; and what it was sent."""
    seen = []

    @switch
    def steps(first):
        seen.append(is_on())
        sent = yield first
        seen.append((is_on(), sent))
        try:
            yield "second"
        except KeyError:
            seen.append(is_on())
        try:
            yield "third"
        finally:
            seen.append(is_on())
        yield "fourth"
        return "the end"

    outside = []

    def look(value):
        outside.append(is_on())
        return value

    running = steps(first="first")
    values = [look(next(running)), look(running.send("sent")), look(running.throw(KeyError())), look(next(running))]
    with pytest.raises(StopIteration) as end:
        next(running)
    closed = steps("first")
    for _ in range(2):
        next(closed)
    closed.throw(KeyError())
    closed.close()
    assert values == ["first", "second", "third", "fourth"]
    assert end.value.value == "the end"
    return seen, outside


def test_no_grad_around_a_generator_holds_while_it_runs():
    """As in PyTorch: not for whoever it yields to."""
    inside, outside = modes_of_a_generator(no_grad(), is_grad_enabled)
    assert inside == [False, (False, "sent"), False, False, False, (False, None), False, False]
    assert outside == [True] * 4
    assert is_grad_enabled()


def test_autocast_around_a_generator_holds_while_it_runs():
    inside, outside = modes_of_a_generator(autocast(), is_autocast_enabled)
    assert inside == [True, (True, "sent"), True, True, True, (True, None), True, True]
    assert outside == [False] * 4


def test_no_grad_around_a_generator_that_is_let_go_of():
    x = leaf(1.0)

    @no_grad()
    def doubled():
        while True:
            yield x * 2

    for y in doubled():
        assert not y.requires_grad
        assert (x * 2).requires_grad
        break
    assert is_grad_enabled()


def test_async_functions_cannot_be_decorated():
    async def wait():
        pass

    async def many():
        yield

    for function in (wait, many):
        with pytest.raises(ArgumentError, match="async"):
            no_grad()(function)


def test_no_grad_ends_with_an_exception():
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled()


def test_no_grad_still_lets_tensors_be_made_with_requires_grad():
    with no_grad():
        x = leaf(1.0)
    assert x.requires_grad


def test_no_grad_concerns_its_thread_alone():
    with ThreadPoolExecutor(1) as pool, no_grad():
        assert pool.submit(is_grad_enabled).result()
        assert not is_grad_enabled()
    assert is_grad_enabled()


def test_decorated_function_may_run_in_several_threads_at_once():
    first_inside, second_inside, first_left = (threading.Event() for _ in range(3))

    @no_grad()
    def evaluate(arrived, leave):
        arrived.set()
        assert leave.wait(10)

    def recording():
        evaluate(first_inside, second_inside)
        first_left.set()
        return is_grad_enabled()

    with ThreadPoolExecutor(1) as pool, no_grad():
        other = pool.submit(recording)
        assert first_inside.wait(10)
        evaluate(second_inside, first_left)
        assert not is_grad_enabled()
        assert other.result()


# ------------------------------------------------------------------------------------------ what is shared, what is not


SHARING = {
    "a + b": lambda a, b: a + b,
    "a - b": lambda a, b: a - b,
    "b + a + b": lambda a, b: b + a + b,
    "reshape": lambda a, b: a.reshape(2, 1) + b.reshape(2, 1),
    "transpose": lambda a, b: a.reshape(1, 2).T + b.reshape(1, 2).T,
    "cat": lambda a, b: F.cat([a, b]),
    "expand": lambda a, b: a.expand(2) + b.expand(2),
    "index": lambda a, b: a[:] + b[::-1],
    "pad": lambda a, b: F.pad(a, (0, 0)) + b,
    "sum": lambda a, b: a.sum() + b.sum(),
    "where": lambda a, b: F.where(tensor([True, False]), a, b),
    "cast": lambda a, b: a.to(np.float64) + b,
    "flatten": lambda a, b: F.flatten(a) + F.flatten(b),
    "squeeze": lambda a, b: a.unsqueeze(0).squeeze(0) + b,
    "dropout": lambda a, b: F.dropout(a, 0.0) + b,
}


@pytest.mark.parametrize("name", SHARING)
def test_gradients_are_arrays_of_their_own(name):
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = SHARING[name](a, b)
    given = tensor(np.full(y.shape, 2.0))
    y.backward(given)
    before = b.grad.numpy().copy()
    a.grad.handed_out()[...] = 77.0  # as an optimizer might
    close(b.grad.numpy(), before, 0, 0)
    close(given.numpy(), np.full(y.shape, 2.0), 0, 0)
    b.grad.handed_out()[...] = 78.0
    close(a.grad.numpy(), [77.0, 77.0], 0, 0)


JOINS = {
    "passed through, then new": lambda a, b: (a + b) + a * 3,
    "new, then passed through": lambda a, b: a * 3 + (a + b),
    "passed through twice": lambda a, b: (a + b) + (a + b),
    "two new ones and one passed through": lambda a, b: a * 2 + (a + b) + a * a,
    "a view of what was passed through": lambda a, b: (a.reshape(2, 1) + b.reshape(2, 1)).reshape(2) + a * 3,
    "new, but stretched": lambda a, b: (a + b) + a.mean() + a.mean() * 2,
    "a part of what is new": lambda a, b: F.cat([a * 1, b])[:2] + a + b,
}


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.mean(),
        lambda x: x.sum(),
        lambda x: x.sum(1, keepdim=True),
        lambda x: x.expand(3, 1, 1),
        lambda x: x.T,
    ],
)
def test_gradient_of_a_leaf_may_be_written_into(function):
    """Clipping does. NumPy protects arrays that were stretched, also where one element became one."""
    x = tensor([[2.0]], dtype=np.float64, requires_grad=True)
    for _ in range(2):
        y = function(x)
        y.backward(tensor(np.ones(y.shape)))
    before = x.grad.numpy().copy()
    x.grad.data *= 2.0
    close(x.grad.numpy(), 2 * before, 0, 0)


@pytest.mark.parametrize("name", JOINS)
def test_adding_up_parts_changes_no_other_gradient(name):
    """Where paths join, a sum may be written over one of its terms, but not if that is the gradient of another, too."""
    values = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    a, b = (tensor(each, requires_grad=True) for each in values)
    weights = np.array([5.0, 7.0])

    def loss(a, b):
        return (JOINS[name](a, b) * tensor(weights)).sum()

    loss(a * 1, b * 1).backward()  # gradients join at nodes
    leaf_a, leaf_b = (tensor(each, requires_grad=True) for each in values)
    loss(leaf_a, leaf_b).backward()  # and here at leaves
    for found, leaf, position in ((a, leaf_a, 0), (b, leaf_b, 1)):
        expected = []
        for i in range(2):
            moved = [each.copy() for each in values]
            moved[position][i] += 1e-6
            plain = (loss(tensor(moved[0]), tensor(moved[1])) - loss(tensor(values[0]), tensor(values[1]))).item()
            expected.append(plain / 1e-6)
        close(found.grad.numpy(), expected, 1e-4, 0)
        close(leaf.grad.numpy(), expected, 1e-4, 0)
        leaf.grad.handed_out()[...] = 7.0  # dense memory of its own, which clipping may write into
        close(leaf.grad.numpy(), [7.0, 7.0], 0, 0)


def test_gradient_of_a_leaf_is_not_the_gradient_that_was_given():
    x, given = leaf(1.0, 2.0), tensor([1.0, 1.0], dtype=np.float64)
    x.backward(given)
    x.grad.handed_out()[...] = 7.0
    close(given.numpy(), [1, 1], 0, 0)


class Watched(Operation):
    """Multiplies its inputs, and remembers which gradients somebody wanted."""

    wanted = ()

    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, grad):
        Watched.wanted = self.needs_grad
        return tuple(
            grad * other if needed else None for other, needed in zip((self.b, self.a), self.needs_grad, strict=True)
        )


@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_gradient_nobody_needs_is_not_computed(wanted):
    a, b = (tensor([2.0, 3.0], requires_grad=each) for each in wanted)
    apply(Watched(), a, b).sum().backward()
    assert Watched.wanted == wanted
    assert (a.grad is not None, b.grad is not None) == wanted


def test_part_without_gradients_is_not_recorded():
    constant = tensor([1.0, 2.0]) * 3
    assert not constant.requires_grad
    x = leaf(1.0, 2.0)
    y = constant * x + x.detach()
    y.sum().backward()
    close(x.grad.numpy(), [3, 6])


def test_history_of_an_input_does_not_reach_a_detached_copy():
    x = leaf(1.0, 2.0)
    frozen = (x * 2).detach()
    (frozen * x).sum().backward()
    close(x.grad.numpy(), [2, 4])
