"""What programs written for PyTorch do besides computing: devices, files, gradients of their own choice, hooks."""

import io

import numpy as np
import pytest

import gpunet
import gpunet.functional as F
from gpunet import nn, tensor
from gpunet.autograd import Function, grad
from gpunet.errors import (
    ArgumentError,
    BackendError,
    DTypeError,
    FileError,
    GradientError,
    ShapeError,
)
from gpunet.optim import SGD
from gpunet.utils.checkpoint import checkpoint, checkpoint_sequential
from tests.reference import close

pytestmark = pytest.mark.usefixtures("backend")


def leaf(*values):
    return tensor(np.array(values), requires_grad=True)


# ------------------------------------------------------------------------------------------------------------- devices


def test_the_device_is_that_of_the_backend(backend):
    here = gpunet.device("cuda" if gpunet.cuda.is_available() else "cpu")
    assert here.type == ("cpu" if backend == "numpy" else "cuda")
    x = tensor([1.0], device=here)
    assert x.device.type == here.type
    assert x.to(here) is x
    assert x.to(here, gpunet.float64).dtype == np.float64
    assert gpunet.zeros(2, device=here).device == x.device
    model = nn.Linear(2, 2)
    assert model.to(here) is model
    assert x.cpu().numpy().tolist() == [1.0]


def test_another_device_is_an_error_that_says_what_to_do(backend):
    other = "cuda" if backend == "numpy" else "cpu"
    for ask in (
        lambda: gpunet.zeros(2, device=other),
        lambda: nn.Linear(2, 2).to(other),
        lambda: tensor(1, device=other),
    ):
        with pytest.raises(BackendError, match=r"gpunet.use_backend"):
            ask()
    with pytest.raises(ArgumentError, match="'tpu'"):
        gpunet.device("tpu")


# --------------------------------------------------------------------------------------------------------------- files


def test_a_checkpoint_of_a_tutorial(tmp_path):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    F.mse_loss(model(gpunet.randn(5, 3)), gpunet.zeros(5, 4)).backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "losses": [0.5, (1, None)]}
    gpunet.save(state, tmp_path / "run.pt")
    found = gpunet.load(tmp_path / "run.pt", weights_only=True)
    assert (found["epoch"], found["losses"]) == (3, [0.5, (1, None)])
    again = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    again.load_state_dict(found["model"])
    fresh = SGD(again.parameters(), lr=0.5)
    fresh.load_state_dict(found["optimizer"])
    assert fresh.param_groups[0]["lr"] == 0.1
    for one, other in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        np.testing.assert_array_equal(gpunet.to_cpu(one.array), gpunet.to_cpu(other.array))


def test_a_state_dict_is_a_file_that_others_read(tmp_path):
    from safetensors.numpy import load_file

    model = nn.Linear(2, 3)
    gpunet.save(model.state_dict(), tmp_path / "weights.safetensors")
    assert load_file(tmp_path / "weights.safetensors").keys() == {"weight", "bias"}
    buffer = io.BytesIO()
    gpunet.save(model.state_dict(), buffer)
    buffer.seek(0)
    assert gpunet.load(buffer).keys() == {"weight", "bias"}


def test_what_cannot_be_saved_or_loaded(tmp_path):
    with pytest.raises(DTypeError, match=r"model is a Linear.*state_dict"):
        gpunet.save({"model": nn.Linear(2, 2)}, tmp_path / "model")
    (tmp_path / "pickle.pt").write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(FileError, match="pickle"):
        gpunet.load(tmp_path / "pickle.pt")


# ----------------------------------------------------------------------------------------------------------- gradients


def test_grad_touches_no_leaf():
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    product = x * y
    by_x, by_product = grad((product * product).sum(), [x, product])
    close(by_x.numpy(), [18.0, 64.0])
    close(by_product.numpy(), [6.0, 16.0])
    assert x.grad is None
    assert y.grad is None


def test_grad_of_several_outputs():
    x = leaf(1.0, 2.0)
    (by_x,) = grad([x * 3, (x * x).sum()], x, [tensor([1.0, 10.0], "float64"), None])
    close(by_x.numpy(), [5.0, 34.0])


def test_what_grad_refuses():
    x, y = leaf(1.0), leaf(2.0)
    with pytest.raises(GradientError, match="input 1"):
        grad((x * x).sum(), [x, y])
    with pytest.raises(GradientError, match="require grad"):
        grad((x * x).sum(), tensor([1.0]))
    with pytest.raises(ArgumentError, match="create_graph"):
        grad((x * x).sum(), x, create_graph=True)
    with pytest.raises(ArgumentError, match="create_graph"):
        (x * x).sum().backward(create_graph=True)
    assert grad((x * x).sum(), [x, y], allow_unused=True)[1] is None


def test_the_graph_can_be_kept():
    x = leaf(1.0, 2.0)
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    close(x.grad.numpy(), [4.0, 8.0])
    with pytest.raises(GradientError, match="retain_graph=True"):
        loss.backward()


def test_modes():
    x = leaf(1.0)
    with gpunet.no_grad():
        with gpunet.enable_grad():
            assert (x * 2).requires_grad
        with gpunet.set_grad_enabled(True):
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    with gpunet.inference_mode():
        assert not (x * 2).requires_grad
    gpunet.set_grad_enabled(False)
    assert not gpunet.is_grad_enabled()
    gpunet.set_grad_enabled(True)
    assert gpunet.is_grad_enabled()


def test_hooks_of_tensors():
    x, seen = leaf(1.0, 2.0), []
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda gradient: seen.append(gradient.tolist()))
    y.register_hook(lambda gradient: gradient * 10)
    handle = x.register_hook(lambda gradient: gradient + 1)
    (y * y).sum().backward()
    assert seen == [[6.0, 12.0]]
    close(x.grad.numpy(), [181.0, 361.0])
    close(y.grad.numpy(), [60.0, 120.0])  # what is retained is what the hooks have made of it, as in PyTorch
    handle.remove()
    x.grad = None
    (x * 2).sum().backward()
    close(x.grad.numpy(), [2.0, 2.0])
    with pytest.raises(GradientError, match="requires grad"):
        tensor([1.0]).register_hook(print)


class Scaled(Function):
    """`y = factor * x`, whose gradient is wrong on purpose: that it is this one can be seen."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x * factor

    @staticmethod
    def backward(ctx, gradient):
        assert ctx.needs_input_grad == (True, False)
        return gradient * ctx.factor + ctx.saved_tensors[0], None


class Squared(Function):
    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


def test_functions_of_one_s_own():
    x = leaf(1.0, 2.0)
    y = Scaled.apply(x, 3.0)
    assert y.tolist() == [3.0, 6.0]
    (Squared.apply(y)).sum().backward()
    close(x.grad.numpy(), [6 * 3 + 1, 12 * 3 + 2])
    y = x * 1
    z = Squared.apply(y)
    y.handed_out()  # from now on it is written to in place
    with gpunet.no_grad():
        y.zero_()
    with pytest.raises(GradientError, match="changed in place"):
        z.sum().backward()


@pytest.mark.parametrize("used", [(0,), (1,), (0, 1)])
def test_functions_of_several_outputs(used, torch):
    """Those without gradients are given zeros for them, and what is no Tensor passes through."""
    seen = {}

    def outcome(library):
        class Several(library.autograd.Function):
            @staticmethod
            def forward(ctx, x, factor, y):
                ctx.save_for_backward(x, y)
                ctx.factor = factor
                large = x > 1
                ctx.mark_non_differentiable(large)
                return x * factor, x.argmax(), large, (x * y).sum(), "a word"

            @staticmethod
            def backward(ctx, by_product, by_place, by_large, by_sum, by_word):
                assert by_word is None
                seen[library] = [each.tolist() for each in (by_product, by_place, by_large, by_sum)]
                x, y = ctx.saved_tensors
                return by_product * ctx.factor + by_sum * y, None, by_sum * x if ctx.needs_input_grad[2] else None

        x, y = (library.tensor(each, requires_grad=True) for each in ([1.0, 2.0], [3.0, 5.0]))
        product, place, large, total, word = Several.apply(x * 1, 3.0, y)
        assert (product.requires_grad, place.requires_grad, large.requires_grad) == (True, False, False)
        outputs = [(product * product).sum(), total * 2]
        sum(outputs[i] for i in used).backward()
        gradients = [x.grad.tolist(), y.grad.tolist()]
        return [product.tolist(), place.item(), large.tolist(), total.item(), word], gradients, seen[library]

    assert outcome(gpunet) == outcome(torch)


def test_what_a_function_does_not_do():
    ctx = gpunet.autograd.Context(())
    with pytest.raises(ArgumentError, match="in place"):
        ctx.mark_dirty(tensor([1.0]))
    with pytest.raises(ArgumentError, match="zeros, not None"):
        ctx.set_materialize_grads(False)


# --------------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_gives_the_same_bits():
    layers = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.ReLU(), nn.Linear(6, 2))
    x = gpunet.randn(4, 6, requires_grad=True)

    def run(forward):
        gpunet.manual_seed(1)
        layers.zero_grad()
        x.grad = None
        y = forward(x)
        (y * y).sum().backward()
        return [y, x.grad, *(each.grad for each in layers.parameters()), gpunet.rand(3)]

    plain = run(layers)
    for forward in (
        lambda x: checkpoint(layers, x, use_reentrant=False),
        lambda x: checkpoint_sequential(layers, 2, x),
        lambda x: layers[2:](checkpoint(layers[:2], x)),
    ):
        for one, other in zip(plain, run(forward), strict=True):
            np.testing.assert_array_equal(gpunet.to_cpu(one.array), gpunet.to_cpu(other.array))


def test_a_checkpoint_of_inputs_without_gradient():
    layer = nn.Linear(3, 2)
    checkpoint(layer, gpunet.ones(1, 3)).sum().backward()
    assert layer.weight.grad.tolist() == [[1.0] * 3] * 2
    with pytest.raises(DTypeError, match="one Tensor"):
        checkpoint(lambda x: (x, x), gpunet.ones(1))


# ------------------------------------------------------------------------------------------------------------- modules


def test_hooks_of_modules():
    layer, order = nn.Linear(2, 2), []
    first = layer.register_forward_pre_hook(lambda module, args: order.append("before") or (args[0] * 2,))
    second = layer.register_forward_hook(lambda module, args, output: order.append("after") or output + 1)
    third = layer.register_forward_hook(lambda *_: order.append("earlier"), prepend=True)
    x = gpunet.ones(1, 2)
    right = F.linear(x * 2, layer.weight, layer.bias) + 1
    close(layer(x).detach().numpy(), right.detach().numpy())
    assert order == ["before", "earlier", "after"]
    for handle in (first, second, third):
        handle.remove()
    close(layer(x).detach().numpy(), F.linear(x, layer.weight, layer.bias).detach().numpy())


def test_backward_hooks_of_modules():
    layer, seen = nn.Linear(2, 3), []
    x = leaf(1.0, 2.0).float().reshape(1, 2)
    x.retain_grad()

    def hook(module, grad_input, grad_output):
        seen.append((module, grad_input[0].tolist(), grad_output[0].tolist()))
        return (grad_input[0] * 2,)

    with layer.register_full_backward_hook(hook):
        (layer(x).sum() + x.sum()).backward()
    expected = layer.weight.sum(0).detach().numpy()
    assert seen[0][0] is layer
    close(np.array(seen[0][1]), expected[None], rtol=1e-6)
    assert seen[0][2] == [[1.0] * 3]
    close(x.grad.numpy(), 2 * expected[None] + 1, rtol=1e-6)
    layer(x)
    assert len(seen) == 1


def test_buffers_that_are_not_saved():
    layer = nn.Module()
    layer.register_buffer("kept", gpunet.zeros(1))
    layer.register_buffer("left_out", gpunet.zeros(1), persistent=False)
    assert list(layer.state_dict()) == ["kept"]
    assert [name for name, _ in layer.named_buffers()] == ["kept", "left_out"]
    assert list(layer.double().load_state_dict({"kept": gpunet.ones(1)})[0]) == []
    assert layer.left_out.dtype == np.float64


def test_parts_by_their_names():
    net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2)))
    assert net.get_submodule("1.0") is net[1][0]
    assert net.get_submodule("") is net
    assert net.get_parameter("0.weight") is net[0].weight
    assert net.get_buffer("1.0.running_mean") is net[1][0].running_mean
    for ask in (lambda: net.get_submodule("1.1"), lambda: net.get_parameter("0.x"), lambda: net.get_buffer("0.weight")):
        with pytest.raises(AttributeError, match="Sequential has no"):
            ask()


def test_editing_a_sequence():
    a, b, c, d = (nn.Linear(1, 1) for _ in range(4))
    net = nn.Sequential(a, b)
    net.append(c).insert(1, d)
    assert list(net) == [a, d, b, c]
    assert list(net.state_dict()) == [f"{i}.{name}" for i in range(4) for name in ("weight", "bias")]
    del net[1]
    net[0] = d
    assert list(net) == [d, b, c]
    assert net.pop(-1) is c
    assert list(net + nn.Sequential(a)) == [d, b, a]
    assert list(net * 2) == [d, b, d, b]
    net.extend([a, c])
    del net[1:3]
    assert list(net) == [d, c]
    assert list(net[-1:]) == [c]
    layers = nn.ModuleList([a]) + nn.ModuleList([b])
    layers += [c]
    assert list(layers) == [a, b, c]
    assert list(layers[::2]) == [a, c]


def test_modules_and_parameters_by_name():
    layers = nn.ModuleDict({"conv": nn.Conv2d(1, 1, 1)})
    layers["relu"] = nn.ReLU()
    layers.update([("linear", nn.Linear(1, 1))])
    assert list(layers) == list(layers.keys()) == ["conv", "relu", "linear"]
    assert "relu" in layers
    assert isinstance(layers.pop("relu"), nn.ReLU)
    assert list(layers.state_dict()) == ["conv.weight", "conv.bias", "linear.weight", "linear.bias"]
    weights = nn.ParameterDict({"a": gpunet.zeros(2)})
    weights["b"] = nn.Parameter([1.0])
    assert [name for name, _ in weights.named_parameters()] == ["a", "b"]
    rows = nn.ParameterList([gpunet.zeros(1)])
    rows.append(gpunet.ones(2))
    assert len(list(rows.parameters())) == len(rows) == 2
    assert rows[1] is list(rows)[1]


# --------------------------------------------------------------------------------------------------------------- bits


def test_numbers_are_those_of_the_seed():
    gpunet.manual_seed(3)
    one = [gpunet.rand(2, 3), gpunet.randn(2), gpunet.randint(5, (4,)), gpunet.randperm(6), gpunet.zeros(2).normal_()]
    gpunet.manual_seed(3)
    other = [gpunet.rand(2, 3), gpunet.randn(2), gpunet.randint(5, (4,)), gpunet.randperm(6), gpunet.zeros(2).normal_()]
    assert [each.tolist() for each in one] == [each.tolist() for each in other]
    assert sorted(one[3].tolist()) == list(range(6))
    assert 0 <= gpunet.bernoulli(gpunet.full((1000,), 0.3)).mean().item() - 0.2 < 0.2


def test_methods_in_place():
    x = tensor([1.0, 4.0])
    assert x.sqrt_() is x
    assert x.tolist() == [1.0, 2.0]
    assert x.masked_fill_(x > 1, 0).tolist() == [1.0, 0.0]
    assert gpunet.zeros(2, 3).scatter_(1, tensor([[2], [0]]), 1).tolist() == [[0, 0, 1], [1, 0, 0]]
    with pytest.raises(ShapeError, match="in place"):
        x.eq_(tensor([[1.0], [2.0]]))


def test_whole_numbers_are_never_silently_divided_by_zero():
    for divide in (gpunet.floor_divide, gpunet.remainder):
        with pytest.raises(ArgumentError, match="divided by 0"):
            divide(tensor([3]), tensor([0]))
    assert gpunet.remainder(tensor([-3]), 2).tolist() == [1]
    assert gpunet.floor_divide(tensor([-3]), 2).tolist() == [-2]
