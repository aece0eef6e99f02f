"""Networks: slow references, records of PyTorch, one training step each. Their sizes: test_model_sizes.py."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import gpunet.functional as F
from gpunet.backend import manual_seed, xp
from gpunet.errors import ArgumentError, ShapeError
from gpunet.models import (
    LARGE_MODELS,
    MODELS,
    SMALLEST_IMAGES,
    BasicBlock,
    Bottleneck,
    CifarResNet,
    LayerSummary,
    PadShortcut,
    PlainBlock,
    PreActBlock,
    PreActBottleneck,
    PreActResNet,
    ResNet,
    check_image_size,
    create_model,
    lenet5,
    mobilenet_v2,
    plain8,
    plain20,
    resnet8,
    resnet20,
    summary,
)
from gpunet.models.blocks import conv1x1, projection_shortcut
from gpunet.nn import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    GlobalAvgPool2d,
    Identity,
    Linear,
    ReLU,
    Sequential,
    init,
    observe,
)
from gpunet.tape import is_grad_enabled, no_grad
from gpunet.tensor import tensor
from gpunet.testing import gradcheck
from tests import reference
from tests.runs import HEAVY

pytestmark = pytest.mark.usefixtures("backend")

LARGE = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def randomize(module):
    """Values at which no layer is near the identity."""
    for parameter in module.parameters():
        init.uniform_(parameter, 0.5, 1.5) if parameter.ndim == 1 else init.normal_(parameter, 0, 0.3)
    return module


# ------------------------------------------------------------------------------------------------- size and structure


@pytest.mark.parametrize(
    ("name", "size", "stages"),
    [
        ("resnet8", (32, 32), [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        ("plain8", (9, 14), [(16, 9, 14), (32, 5, 7), (64, 3, 4)]),
        ("resnet18", (64, 96), [(64, 16, 24), (128, 8, 12), (256, 4, 6), (512, 2, 3)]),
        ("resnet50", (33, 32), [(256, 9, 8), (512, 5, 4), (1024, 3, 2), (2048, 2, 1)]),
    ],
)
def test_output_shapes(name, size, stages):
    model, shapes = MODELS[name](num_classes=7, in_channels=2), {}
    with no_grad(), observe(model.eval(), lambda path, module, inputs, output: shapes.update({path: output.shape})):
        assert model(tensor(np.zeros((2, 2, *size), np.float32))).shape == (2, 7)
    assert [shapes[f"layer{stage}"] for stage in range(1, len(stages) + 1)] == [(2, *stage) for stage in stages]


@pytest.mark.parametrize("depth", [2, 7, 9, 18, 51, -4, 20.0, "20", None])
def test_a_depth_that_is_not_6n_plus_2_is_refused(depth):
    for kind in (CifarResNet, PreActResNet):
        with pytest.raises(ArgumentError, match=f"{kind.__name__}: depth must be"):
            kind(depth)


@pytest.mark.parametrize("depth", [2, 8, 14, 44, 163, 164.0])
def test_a_depth_that_bottlenecks_do_not_make_is_refused(depth):
    with pytest.raises(
        ArgumentError, match=r"PreActResNet: depth must be (9n \+ 2 with PreActBottleneck|11 or more|a )"
    ):
        PreActResNet(depth, block=PreActBottleneck)


def test_a_basic_block_has_no_groups():
    for settings in ({"groups": 2}, {"width_per_group": 128}):
        with pytest.raises(ArgumentError, match=r"BasicBlock: groups must be 1 .* a Bottleneck takes others"):
            ResNet(BasicBlock, (1, 1, 1, 1), **settings)


def test_settings_that_a_network_does_not_have_are_refused():
    for name in ("resnet18", "vgg11", "densenet121", "convnext_tiny"):
        with pytest.raises(TypeError, match="unexpected keyword argument 'weights'"):
            MODELS[name](weights="DEFAULT")
    for settings, message in (
        ({"dropout": 2}, "p must lie within"),
        ({"width_mult": "1"}, "width_mult must be a number"),
    ):
        with pytest.raises(ArgumentError, match=message):
            mobilenet_v2(**settings)


# ------------------------------------------------------------------------------------------------- small images


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["alexnet", "vgg11", "densenet121", "convnext_tiny"])
def test_the_smallest_images_that_a_network_takes(name):
    least, model = SMALLEST_IMAGES[name], create_model(name, 3, 1).eval()
    with no_grad():
        assert model(tensor(np.zeros((1, 1, least, least), np.float32))).shape == (1, 3)
        for height, width in ((least - 1, least), (least, least - 1)):
            with pytest.raises(ShapeError, match=r"in layer features\..*: the window is larger than the padded input"):
                model(tensor(np.zeros((1, 1, height, width), np.float32)))
            with pytest.raises(ArgumentError, match=f"{name} takes images of {least}x{least} or more, got {height}x"):
                check_image_size(name, height, width)
    check_image_size(name, least, least)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["resnet8", "plain8", "preact_resnet20", "resnet18", "resnet50", "mobilenet_v2"])
def test_other_networks_take_a_single_pixel(name):
    check_image_size(name, 1, 1)
    with no_grad():
        assert create_model(name, 3, 1).eval()(tensor(np.zeros((2, 1, 1, 1), np.float32))).shape == (2, 3)


def test_each_network_of_a_family_takes_the_same_images():
    families = {"alexnet": 63, "vgg": 32, "densenet": 29, "convnext": 32}
    least = {name: families.get(name.rstrip("0123456789_bn").partition("_")[0], 1) for name in MODELS}
    assert {name: size for name, size in least.items() if size > 1} == SMALLEST_IMAGES
    with pytest.raises(ArgumentError, match="lenet5 takes images of 32x32, got 28x32"):
        check_image_size("lenet5", 28, 32)


def test_an_unknown_shortcut_is_refused():
    with pytest.raises(ArgumentError, match="CifarResNet: shortcut must be one of 'A', 'B', 'none', got 'C'"):
        resnet20(shortcut="C")


def test_create_model():
    model = create_model("resnet8", 7, 2)
    assert isinstance(model, CifarResNet)
    assert (model.fc.out_features, model.conv1.in_channels) == (7, 2)
    with pytest.raises(ArgumentError) as caught:
        create_model("resnet21", 10, 3)
    assert "unknown model 'resnet21'; did you mean resnet" in str(caught.value)
    with pytest.raises(ArgumentError) as caught:
        create_model("xyz", 10, 3)
    assert all(name in str(caught.value) for name in MODELS)
    with pytest.raises(ArgumentError, match="out_features must be 1 or more, got 0"):
        create_model("lenet5", 0, 1)


def test_lenet_takes_images_of_32_by_32_and_says_so_otherwise():
    with pytest.raises(ShapeError, match=r"in layer classifier\.1 \(Linear\): .* must have 400 features"):
        lenet5()(tensor(np.zeros((1, 1, 28, 28), np.float32)))


def test_lenet_is_the_network_of_the_paper(rng):
    model, x = randomize(lenet5()).double(), rng.standard_normal((1, 1, 32, 32))
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    expected = x
    for index in (0, 3):
        weight, bias = (state[f"features.{index}.{part}"] for part in ("weight", "bias"))
        expected = np.tanh(reference.conv2d(expected, weight, bias))
        halves = [reference.spans(size, 2, 2) for size in expected.shape[2:]]
        expected = reference.avg_pool(expected, *halves, lambda row, column, inside: 4)
    expected = expected.reshape(1, 400)
    for index in (1, 3, 5):
        weight, bias = (state[f"classifier.{index}.{part}"] for part in ("weight", "bias"))
        expected = expected @ weight.T + bias
        expected = expected if index == 5 else np.tanh(expected)
    np.testing.assert_allclose(model(tensor(x)).numpy(), expected, rtol=1e-10)


# ------------------------------------------------------------------------------------------------------------- blocks


def slow_conv(conv, norm, x, stride=1):
    """A convolution that keeps the size of the image or divides it, and batch norm in training, by loops."""
    side = conv.kernel_size[0] // 2
    y = reference.conv2d(x, conv.weight.numpy(), None, (stride, stride), (side, side))
    return reference.batch_norm(y, norm.weight.numpy(), norm.bias.numpy(), 1e-5)[0]


def slow_shortcut(downsample, x, channels, stride):
    if downsample is None:
        return x
    if isinstance(downsample, Sequential):  # option B
        return slow_conv(*downsample, x, stride)
    height, width = math.ceil(x.shape[2] / stride), math.ceil(x.shape[3] / stride)  # option A
    y = np.zeros((len(x), channels, height, width))
    before = (channels - x.shape[1]) // 2
    for n, c, i, j in np.ndindex(len(x), x.shape[1], height, width):
        y[n, before + c, i, j] = x[n, c, i * stride, j * stride]
    return y


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.parametrize("size", [(4, 6), (5, 3)])
@pytest.mark.parametrize(("channels", "stride"), [(2, 2), (5, 1), (5, 2), (4, 3)])
def test_pad_shortcut(channels, stride, size, rng):
    x = rng.standard_normal((2, 2, *size))
    shortcut = PadShortcut(2, channels, stride)
    assert not list(shortcut.parameters())
    y, (gradient,) = reference.run(shortcut, x)
    np.testing.assert_array_equal(y, slow_shortcut(shortcut, x, channels, stride))
    expected = np.zeros(x.shape)  # each pixel that was taken receives the gradient of its place
    before = (channels - 2) // 2
    expected[:, :, ::stride, ::stride] = reference.upstream(y.shape)[:, before : before + 2]
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("shortcut", [None, PadShortcut, projection_shortcut], ids=["identity", "A", "B"])
@pytest.mark.parametrize("kind", [BasicBlock, Bottleneck])
def test_a_residual_block_is_its_formula(kind, shortcut, rng):
    stride, channels = (1, 3) if shortcut is None else (2, 3)
    inputs = channels * kind.expansion if shortcut is None else 2
    outputs = channels * kind.expansion
    downsample = shortcut and shortcut(inputs, outputs, stride)
    block = randomize(kind(inputs, channels, stride, downsample)).double()
    x = rng.standard_normal((2, inputs, 5, 4))
    if kind is BasicBlock:
        out = relu(slow_conv(block.conv1, block.bn1, x, stride))
        out = slow_conv(block.conv2, block.bn2, out)
    else:
        out = relu(slow_conv(block.conv1, block.bn1, x))
        out = relu(slow_conv(block.conv2, block.bn2, out, stride))
        out = slow_conv(block.conv3, block.bn3, out)
    expected = relu(out + slow_shortcut(downsample, x, outputs, stride))
    np.testing.assert_allclose(block(tensor(x)).numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_plain_block_is_its_formula(stride, rng):
    block = randomize(PlainBlock(2, 3, stride)).double()
    x = rng.standard_normal((2, 2, 5, 4))
    expected = relu(slow_conv(block.conv1, block.bn1, x, stride))
    expected = relu(slow_conv(block.conv2, block.bn2, expected))
    np.testing.assert_allclose(block(tensor(x)).numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", [PreActBlock, PreActBottleneck])
@pytest.mark.parametrize("shortcut", [None, Identity, conv1x1], ids=["identity", "identity behind ReLU", "projection"])
def test_a_pre_activation_block_is_its_formula(kind, shortcut, rng):
    stride, channels = (2, 3) if shortcut is conv1x1 else (1, 3)
    inputs = 2 if shortcut is conv1x1 else channels * kind.expansion
    downsample = shortcut and shortcut(inputs, channels * kind.expansion, stride)
    block = randomize(kind(inputs, channels, stride, downsample)).double()
    x = rng.standard_normal((2, inputs, 5, 4))

    def activated(norm, x):
        return relu(reference.batch_norm(x, norm.weight.numpy(), norm.bias.numpy(), 1e-5)[0])

    def convolved(conv, x, stride=1):
        side = conv.kernel_size[0] // 2
        return reference.conv2d(x, conv.weight.numpy(), None, (stride, stride), (side, side))

    first = activated(block.bn1, x)
    out = convolved(block.conv2, activated(block.bn2, convolved(block.conv1, first, stride)))
    if kind is PreActBottleneck:
        out = convolved(block.conv3, activated(block.bn3, out))
    around = {None: x, Identity: first}[shortcut] if shortcut is not conv1x1 else convolved(downsample, first, stride)
    np.testing.assert_allclose(block(tensor(x)).numpy(), out + around, rtol=1e-10, atol=1e-10)


def test_plain_is_residual_minus_the_shortcut(rng):
    residual, plain = resnet20(), plain20()
    assert list(plain.state_dict()) == list(residual.state_dict())
    plain.load_state_dict(residual.state_dict())
    block, without = residual.layer1[0].double(), plain.layer1[0].double()
    x = rng.standard_normal((2, 16, 6, 6))
    branch = relu(slow_conv(block.conv1, block.bn1, x))
    branch = slow_conv(block.conv2, block.bn2, branch)
    np.testing.assert_allclose(block(tensor(x)).numpy(), relu(branch + x), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(without(tensor(x)).numpy(), relu(branch), rtol=1e-10, atol=1e-10)


# ------------------------------------------------------------------------------------------------- records of PyTorch

with safe_open(Path(__file__).with_name("recorded") / "models.safetensors", framework="numpy") as file:
    RECORD = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    NAMES = json.loads(file.metadata()["names"])


def recorded(prefix):
    return {name.removeprefix(prefix): value for name, value in RECORD.items() if name.startswith(prefix)}


def thin(array):
    """At most about a thousand elements, evenly spread, as the record has them."""
    return array.ravel()[:: 1 + array.size // 1024]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_a_training_step_is_that_of_pytorch(shortcut, dtype, tolerance):
    model = resnet8(shortcut=shortcut)
    assert list(model.state_dict()) == NAMES[shortcut]
    weights = {name: value for name, value in recorded("weights/").items() if name in NAMES[shortcut]}
    assert model.load_state_dict(weights, strict=False).missing_keys == [name for name, _ in model.named_buffers()]
    model.to(dtype)
    x, labels = tensor(RECORD["input"], dtype), tensor(RECORD["labels"])

    def check(actual, name):
        expected = RECORD[f"{shortcut}/{name}"]
        np.testing.assert_allclose(actual, expected, tolerance, tolerance * np.abs(expected).max(), err_msg=name)

    logits = model(x)
    check(logits.numpy(), "logits")
    loss = F.cross_entropy(logits, labels)
    check(loss.item(), "loss")
    loss.backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad.numpy()
        assert gradient.shape == parameter.shape
        assert gradient.dtype == dtype
        check(np.append(thin(gradient), np.linalg.norm(gradient)), f"gradients/{name}")
    for name, buffer in model.named_buffers():
        check(buffer.numpy(), f"buffers/{name}")
    check(model.eval()(x).numpy(), "evaluation")


def torch_resnet(torch, state, layers, bottleneck, x):
    """torchvision's ResNet in training, written out with functions."""
    functional = torch.nn.functional

    def layer(x, conv, norm, stride=1):
        weight = state[f"{conv}.weight"]
        x = functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2)
        return functional.batch_norm(x, None, None, state[f"{norm}.weight"], state[f"{norm}.bias"], training=True)

    x = functional.max_pool2d(layer(x, "conv1", "bn1", 2).relu(), 3, 2, 1)
    for stage, blocks in enumerate(layers, start=1):
        for block in range(blocks):
            path = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            out = x
            for number in (1, 2, 3) if bottleneck else (1, 2):
                own_stride = stride if number == (2 if bottleneck else 1) else 1
                out = layer(out.relu(), f"{path}.conv{number}", f"{path}.bn{number}", own_stride)  # x is positive
            if f"{path}.downsample.0.weight" in state:
                x = layer(x, f"{path}.downsample.0", f"{path}.downsample.1", stride)
            x = (out + x).relu()
    return functional.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


def torch_preact_resnet(torch, state, depth, bottleneck, x):
    """The networks of He et al., "Identity mappings in deep residual networks", in training, written with functions."""
    functional = torch.nn.functional

    def conv(x, path, stride=1):
        weight = state[f"{path}.weight"]
        return functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2)

    def activated(x, path):
        weight, bias = state[f"{path}.weight"], state[f"{path}.bias"]
        return functional.batch_norm(x, None, None, weight, bias, training=True).relu()

    x = conv(x, "conv1")
    for stage in (1, 2, 3):
        for block in range((depth - 2) // (9 if bottleneck else 6)):
            path, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            out = activated(x, f"{path}.bn1")
            if block == 0:  # the first of all activates before the paths part, and projections start from there
                x = conv(out, f"{path}.downsample", stride) if f"{path}.downsample.weight" in state else out
            out = conv(out, f"{path}.conv1", stride)
            for number in (2, 3) if bottleneck else (2,):
                out = conv(activated(out, f"{path}.bn{number}"), f"{path}.conv{number}")
            x = x + out
    return functional.linear(activated(x, "bn").mean((2, 3)), state["fc.weight"], state["fc.bias"])


COMPARED = ("resnet18", "resnet50", "preact_resnet20", "preact_resnet164")


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        *[("numpy", name) for name in COMPARED],
        *[("emulated", "resnet18"), ("emulated", "preact_resnet20")],
        *[pytest.param("emulated", name, marks=pytest.mark.slow) for name in ("resnet50", "preact_resnet164")],
        *[pytest.param("cupy", name, marks=pytest.mark.gpu) for name in COMPARED],
    ],
    indirect=["backend"],
)
def test_networks_compute_what_pytorch_computes(name, rng, torch):
    model = MODELS[name](num_classes=5).double()
    x, labels = rng.standard_normal((2, 3, 40, 40) if name in LARGE else (2, 3, 10, 9)), np.array([3, 0])
    state = {key: torch.tensor(value.numpy(), requires_grad=True) for key, value in model.named_parameters()}
    if name in LARGE:
        expected = torch_resnet(torch, state, LARGE[name], name == "resnet50", torch.from_numpy(x))
    else:
        depth = int(name.removeprefix("preact_resnet"))
        expected = torch_preact_resnet(torch, state, depth, depth == 164, torch.from_numpy(x))
    torch.nn.functional.cross_entropy(expected, torch.from_numpy(labels)).backward()
    logits = model(tensor(x))
    F.cross_entropy(logits, tensor(labels)).backward()
    np.testing.assert_allclose(logits.numpy(), expected.detach().numpy(), rtol=1e-8)
    for key, parameter in model.named_parameters():
        gradient = state[key].grad.numpy()
        assert np.abs(parameter.grad.numpy() - gradient).max() <= 1e-8 * np.abs(gradient).max(), key


# ----------------------------------------------------------------------------------------------------------- training

SMALLEST = ("lenet5", "resnet8", "plain8")  # the others have more of the same
STEPS = dict.fromkeys(MODELS, 1) | dict.fromkeys((*SMALLEST, "resnet20", "plain20", "resnet18"), 5)
QUICK = [name for name in MODELS if name not in LARGE_MODELS] + ["resnet18", "mobilenet_v2"]
TRAINED = [name for name in MODELS if name not in HEAVY]
ON_A_GPU = [*QUICK, "resnet50", "densenet121", "convnext_tiny"]


@pytest.mark.parametrize(
    ("backend", "name"),
    [
        *[
            pytest.param("numpy", name, marks=() if name in QUICK else pytest.mark.slow)
            for name in MODELS
            if name not in HEAVY
        ],
        *[("emulated", name) for name in SMALLEST],
        *[pytest.param("emulated", name, marks=pytest.mark.slow) for name in ON_A_GPU if name not in SMALLEST],
        *[pytest.param("cupy", name, marks=pytest.mark.gpu) for name in MODELS],
    ],
    indirect=["backend"],
)
def test_every_network_learns_a_batch_with_all_its_parameters(name, rng):
    side = 64 if name == "alexnet" else 32 if name in ("lenet5", *LARGE_MODELS) else 8
    model = create_model(name, 3, 2)
    for key, parameter in model.named_parameters():
        if key.endswith("layer_scale"):  # a branch of ConvNeXt counts for nothing at first: no step would be seen
            init.ones_(parameter)
    x, labels = tensor(rng.standard_normal((6, 2, side, side)).astype(np.float32)), tensor([0, 1, 2, 0, 1, 2])
    before = {key: parameter.numpy().copy() for key, parameter in model.named_parameters()}
    losses = []
    for step in range(STEPS[name]):
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        losses.append(loss.item())
        for key, parameter in model.named_parameters():
            gradient = parameter.grad.numpy()
            assert np.isfinite(gradient).all(), key
            assert gradient.any(), key
            parameter.data -= xp.asarray(0.02 * gradient, dtype=xp.float32)
            if step == 0:
                assert (parameter.numpy() != before[key]).any(), key
        model.zero_grad()
    assert np.isfinite(losses).all()
    if len(losses) > 1:
        assert losses[-1] < losses[0]


def small_residual_network():
    """Every kind of block and of shortcut, small enough for finite differences."""
    manual_seed(1)
    return randomize(
        Sequential(
            *[Conv2d(2, 3, 3, padding=1, bias=False), BatchNorm2d(3), ReLU(), BasicBlock(3, 3)],
            *[BasicBlock(3, 4, 2, PadShortcut(3, 4, 2)), BasicBlock(4, 5, 1, projection_shortcut(4, 5, 1))],
            *[Bottleneck(5, 2, 2, projection_shortcut(5, 8, 2), groups=2), PlainBlock(8, 4), PreActBottleneck(4, 1)],
            *[GlobalAvgPool2d(), Linear(4, 3)],
        )
    ).double()


def test_the_gradient_by_the_images_is_the_finite_difference(rng):
    model = small_residual_network()
    x = tensor(rng.standard_normal((3, 2, 6, 5)), requires_grad=True)
    for training in (True, False):
        model.train(training)
        assert gradcheck(lambda x: model(x), x, directions=5)


def test_the_gradients_by_the_parameters_are_the_finite_differences(rng):
    model, eps = small_residual_network(), 1e-6
    x, labels = tensor(rng.standard_normal((3, 2, 6, 5))), tensor([2, 0, 1])

    def loss():
        return F.cross_entropy(model(x), labels)

    loss().backward()
    for name, parameter in model.named_parameters():
        value, direction = parameter.array.copy(), rng.standard_normal(parameter.shape)
        ends = []
        for sign in (1, -1):
            parameter.data[...] = value + xp.asarray(sign * eps * direction)
            with no_grad():
                ends.append(loss().item())
        parameter.data[...] = value
        numeric = (ends[0] - ends[1]) / (2 * eps)
        assert (parameter.grad.numpy() * direction).sum() == pytest.approx(numeric, rel=1e-5, abs=1e-8), name


# ------------------------------------------------------------------------------------------------------------ summary


def test_summary_has_a_row_for_each_layer_in_the_order_of_running():
    result = summary(lenet5(), (1, 32, 32))
    assert result.layers == (
        LayerSummary("features.0", "Conv2d", (1, 6, 28, 28), 156, 6 * 28 * 28 * 25),
        LayerSummary("features.1", "Tanh", (1, 6, 28, 28), 0, 0),
        LayerSummary("features.2", "AvgPool2d", (1, 6, 14, 14), 0, 0),
        LayerSummary("features.3", "Conv2d", (1, 16, 10, 10), 2416, 16 * 10 * 10 * 6 * 25),
        LayerSummary("features.4", "Tanh", (1, 16, 10, 10), 0, 0),
        LayerSummary("features.5", "AvgPool2d", (1, 16, 5, 5), 0, 0),
        LayerSummary("classifier.0", "Flatten", (1, 400), 0, 0),
        LayerSummary("classifier.1", "Linear", (1, 120), 48120, 48000),
        LayerSummary("classifier.2", "Tanh", (1, 120), 0, 0),
        LayerSummary("classifier.3", "Linear", (1, 84), 10164, 10080),
        LayerSummary("classifier.4", "Tanh", (1, 84), 0, 0),
        LayerSummary("classifier.5", "Linear", (1, 10), 850, 840),
    )
    assert (result.parameters, result.trainable_parameters, result.multiply_adds) == (61_706, 61_706, 416_520)


def test_summary_prints_a_table():
    net = Sequential(Conv2d(3, 1000, 1, groups=1), ReLU()).requires_grad_(False)
    assert str(summary(net, (3, 2, 2))) == (
        "layer  type    output shape     parameters  multiply-adds\n"
        "---------------------------------------------------------\n"
        "0      Conv2d  (1, 1000, 2, 2)       4,000         12,000\n"
        "1      ReLU    (1, 1000, 2, 2)           0              0\n"
        "---------------------------------------------------------\n"
        "total                                4,000         12,000"
    )


def test_multiply_adds_of_small_networks():
    assert summary(resnet20(), (3, 32, 32)).multiply_adds == 40_551_040  # 40.55 M
    assert summary(plain8(), (3, 32, 32)).multiply_adds == summary(resnet8(), (3, 32, 32)).multiply_adds
    grouped = summary(Sequential(Conv2d(4, 8, 3, groups=2)), (4, 5, 5))
    assert grouped.multiply_adds == 8 * 3 * 3 * 2 * 9


def test_summary_of_a_batch_counts_the_batch():
    one, four = summary(resnet8(), (3, 8, 8)), summary(resnet8(), (4, 3, 8, 8))
    assert four.layers[-1].output_shape == (4, 10)
    assert (four.parameters, four.multiply_adds) == (one.parameters, 4 * one.multiply_adds)


def test_summary_tells_frozen_parameters_apart():
    model = resnet8()
    model.layer1.requires_grad_(False)
    result = summary(model, (3, 8, 8))
    assert result.parameters == count(model)
    assert result.trainable_parameters == count(model) - count(model.layer1)


def test_summary_leaves_the_model_as_it_was():
    model = Sequential(Conv2d(1, 2, 3), BatchNorm2d(2), Dropout(), resnet8(in_channels=2)).double()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    for size in ((1, 9, 9), (2, 9, 9)):
        if size[0] == 1:
            assert summary(model, size).layers[0].output_shape == (1, 2, 7, 7)
        else:
            with pytest.raises(ShapeError, match=r"in layer 0 \(Conv2d\)"):
                summary(model, size)
        assert [module.training for module in model.modules()] == modes
        assert all("forward" not in module.__dict__ for module in model.modules())
        assert all(parameter.grad is None for parameter in model.parameters())
        assert is_grad_enabled()
        np.testing.assert_equal({name: value.numpy() for name, value in model.state_dict().items()}, state)


def test_summary_records_no_gradients():
    model, outputs = resnet8(), []
    with observe(model, lambda name, module, inputs, output: outputs.append(output)):
        summary(model, (3, 8, 8))
    assert outputs
    assert not any(output.requires_grad for output in outputs)


def test_summary_of_shared_and_of_weightless_layers():
    shared = Linear(3, 3)
    twice = summary(Sequential(Conv2d(1, 3, 1), GlobalAvgPool2d(), shared, shared), (1, 2, 2))
    assert [layer.name for layer in twice.layers] == ["0", "1", "2", "2"]  # it ran twice,
    assert (twice.parameters, twice.multiply_adds) == (6 + 12, 12 + 2 * 9)  # and learns once
    nothing = summary(Sequential(ReLU()), (1, 2, 2))
    assert (nothing.parameters, nothing.multiply_adds, len(nothing.layers)) == (0, 0, 1)


@pytest.mark.parametrize(
    "size", [(32, 32), (1, 3, 32, 32, 1), (), (3, 0, 32), (3, 32, 32.5), (-1, 3, 32, 32), 32, None]
)
def test_summary_refuses_other_sizes(size):
    with pytest.raises(ArgumentError, match="summary: input_size must be"):
        summary(resnet8(), size)


def test_summary_of_what_does_not_take_images():
    with pytest.raises(ShapeError, match=r"in layer 0 \(BatchNorm1d\)"):
        summary(Sequential(BatchNorm1d(3)), (3, 2, 2))
