"""observe: what a callback is told, in which order, and that nothing of it stays behind."""

import numpy as np
import pytest

from gpunet.errors import ShapeError
from gpunet.nn import Conv2d, Linear, Module, ReLU, Sequential, observe
from gpunet.tensor import tensor

pytestmark = pytest.mark.usefixtures("backend")


class Net(Module):
    def __init__(self):
        super().__init__()
        self.head = Linear(2, 3)
        self.body = Sequential(Linear(2, 2), ReLU())
        self.scaled = Scaled()

    def forward(self, x):
        return self.scaled(self.head(self.body(x)), factor=2)


class Scaled(Module):
    def forward(self, x, factor):
        return x * factor


X = np.array([[1.0, -2.0]], np.float32)


def recorder(calls):
    return lambda name, module, inputs, output: calls.append((name, module, inputs, output))


def test_layers_are_told_in_the_order_in_which_they_finish():
    net, calls = Net(), []
    with observe(net, recorder(calls)):
        y = net(tensor(X))
    assert [name for name, *_ in calls] == ["body.0", "body.1", "body", "head", "scaled", ""]
    modules = dict(net.named_modules())
    assert all(module is modules[name] for name, module, *_ in calls)
    assert calls[-1][3] is y


def test_inputs_and_outputs_are_the_tensors_themselves():
    net, calls = Net(), []
    x = tensor(X)
    with observe(net, recorder(calls)):
        net(x)
    seen = {name: (inputs, output) for name, _, inputs, output in calls}
    assert seen["body.0"][0] == (x,)
    assert seen["body.1"][0][0] is seen["body.0"][1]
    assert seen["scaled"][0] == (seen["head"][1],)  # keyword arguments are not among the inputs
    np.testing.assert_allclose(
        seen["body.0"][1].numpy(), X @ net.body[0].weight.numpy().T + net.body[0].bias.numpy(), rtol=1e-6
    )


def test_watching_changes_neither_output_nor_gradients():
    net, x = Net(), tensor(X)
    y = net(x)
    y.sum().backward()
    gradients = [each.grad.numpy().copy() for each in net.parameters()]
    net.zero_grad()
    with observe(net, lambda *told: None):
        watched = net(x)
        watched.sum().backward()
    np.testing.assert_array_equal(watched.numpy(), y.numpy())
    np.testing.assert_equal([each.grad.numpy() for each in net.parameters()], gradients)


def unwatched(net):
    return all("forward" not in module.__dict__ for module in net.modules())


def test_after_the_block_nothing_is_watched():
    net, calls = Net(), []
    with observe(net, recorder(calls)):
        pass
    net(tensor(X))
    assert not calls
    assert unwatched(net)


def test_an_exception_ends_the_watching_too():
    net, calls = Net(), []
    with pytest.raises(ShapeError, match=r"in layer body\.0 \(Linear\)"), observe(net, recorder(calls)):
        net(tensor(X[:, :1]))
    assert unwatched(net)
    assert not calls  # a layer that failed has no output to tell of

    def refuse(name, *told):
        raise RuntimeError(f"seen {name}")

    with pytest.raises(RuntimeError, match=r"seen body\.0"), observe(net, refuse):
        net(tensor(X))
    assert unwatched(net)


def test_observers_nest():
    net, calls = Net(), []
    with observe(net, lambda name, *told: calls.append(("outer", name))):
        with observe(net.body, lambda name, *told: calls.append(("inner", name))):
            net.body(tensor(X))
        assert calls == [
            *[("outer", "body.0"), ("inner", "0"), ("outer", "body.1"), ("inner", "1")],
            *[("outer", "body"), ("inner", "")],
        ]
        calls.clear()
        net.body(tensor(X))
        assert calls == [("outer", "body.0"), ("outer", "body.1"), ("outer", "body")]
    assert unwatched(net)


def test_a_layer_that_runs_twice_is_told_twice_under_its_first_name():
    act = ReLU()
    net, calls = Sequential(act, Conv2d(1, 1, 1), act), []
    with observe(net, recorder(calls)):
        net(tensor(np.ones((1, 1, 2, 2), np.float32)))
    assert [name for name, *_ in calls] == ["0", "1", "0", ""]


def test_watching_is_not_part_of_the_state():
    net = Net()
    before = list(net.state_dict())
    with observe(net, lambda *told: None):
        assert list(net.state_dict()) == before
        assert net.head.weight is dict(net.named_parameters())["head.weight"]
