"""Layers: each is its function with the layer's own parameters and settings, modes, starting values, errors."""

import math

import numpy as np
import pytest

import gpunet.functional as F
import gpunet.nn.functional
from gpunet import nn
from gpunet.backend import manual_seed
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.nn import init
from gpunet.tensor import tensor
from tests import reference

pytestmark = pytest.mark.usefixtures("backend")

IMAGES, ROWS = (3, 4, 9, 7), (5, 6)


def images(rng, shape=IMAGES):
    return tensor(rng.standard_normal(shape).astype(np.float32))


# ------------------------------------------------------------------------------------- the layer and its function

LAYERS = {  # settings of the layer, and the same call written out with the function
    "Conv2d": (
        [
            (((4, 6, 3), {}), lambda m, x: F.conv2d(x, m.weight, m.bias)),
            (((4, 6, (3, 2), 2, 1), {}), lambda m, x: F.conv2d(x, m.weight, m.bias, stride=2, padding=1)),
            (
                ((4, 6, 2), {"stride": (2, 1), "dilation": (1, 2), "groups": 2, "bias": False}),
                lambda m, x: F.conv2d(x, m.weight, None, (2, 1), 0, (1, 2), 2),
            ),
            (((4, 6, 3), {"padding": "same"}), lambda m, x: F.conv2d(x, m.weight, m.bias, padding=(1, 1))),
            (((4, 6, 3), {"padding": "valid"}), lambda m, x: F.conv2d(x, m.weight, m.bias)),
        ],
        IMAGES,
    ),
    "Linear": (
        [
            (((6, 4), {}), lambda m, x: F.linear(x, m.weight, m.bias)),
            (((6, 4), {"bias": False}), lambda m, x: F.linear(x, m.weight)),
        ],
        ROWS,
    ),
    "BatchNorm1d": (
        [
            (((6,), {}), lambda m, x: F.batch_norm(x, None, None, m.weight, m.bias, True)),
            (((6,), {"eps": 0.5, "affine": False}), lambda m, x: F.batch_norm(x, training=True, eps=0.5)),
        ],
        ROWS,
    ),
    "BatchNorm2d": ([(((4,), {}), lambda m, x: F.batch_norm(x, None, None, m.weight, m.bias, True))], IMAGES),
    "MaxPool2d": (
        [
            (((2,), {}), lambda m, x: F.max_pool2d(x, 2)),
            (((3,), {"stride": 2, "padding": 1, "dilation": 2}), lambda m, x: F.max_pool2d(x, 3, 2, 1, 2)),
            (((2, 3), {"ceil_mode": True}), lambda m, x: F.max_pool2d(x, 2, 3, ceil_mode=True)),
        ],
        IMAGES,
    ),
    "AvgPool2d": (
        [
            (((2,), {}), lambda m, x: F.avg_pool2d(x, 2)),
            (((3, 2, 1), {"count_include_pad": False}), lambda m, x: F.avg_pool2d(x, 3, 2, 1, False, False)),
            (
                (((2, 3),), {"ceil_mode": True, "divisor_override": 5}),
                lambda m, x: F.avg_pool2d(x, (2, 3), ceil_mode=True, divisor_override=5),
            ),
        ],
        IMAGES,
    ),
    "AdaptiveAvgPool2d": (
        [
            (((3,), {}), lambda m, x: F.adaptive_avg_pool2d(x, 3)),
            ((((4, None),), {}), lambda m, x: F.adaptive_avg_pool2d(x, (4, None))),
        ],
        IMAGES,
    ),
    "AdaptiveMaxPool2d": ([(((2,), {}), lambda m, x: F.adaptive_max_pool2d(x, 2))], IMAGES),
    "GlobalAvgPool2d": ([(((), {}), lambda m, x: F.global_avg_pool2d(x))], IMAGES),
    "Dropout": (
        [
            (((), {}), lambda m, x: F.dropout(x, 0.5)),
            (((0.2,), {}), lambda m, x: F.dropout(x, 0.2)),
        ],
        IMAGES,
    ),
    "Dropout2d": ([(((0.4,), {}), lambda m, x: F.dropout2d(x, 0.4))], IMAGES),
    "Flatten": (
        [
            (((), {}), lambda m, x: x.reshape(3, 4 * 9 * 7)),
            (((2,), {"end_dim": 3}), lambda m, x: x.reshape(3, 4, 63)),
        ],
        IMAGES,
    ),
    "Identity": ([(((), {}), lambda m, x: x), (((64, "ignored"), {"also": 1}), lambda m, x: x)], IMAGES),
    "ReLU": ([(((), {}), lambda m, x: F.relu(x))], ROWS),
    "LeakyReLU": (
        [
            (((), {}), lambda m, x: F.leaky_relu(x, 0.01)),
            (((0.3,), {}), lambda m, x: F.leaky_relu(x, 0.3)),
        ],
        ROWS,
    ),
    "Sigmoid": ([(((), {}), lambda m, x: F.sigmoid(x))], ROWS),
    "Tanh": ([(((), {}), lambda m, x: F.tanh(x))], ROWS),
    "GELU": (
        [
            (((), {}), lambda m, x: F.gelu(x)),
            (((), {"approximate": "tanh"}), lambda m, x: F.gelu(x, "tanh")),
        ],
        ROWS,
    ),
    "SiLU": ([(((), {}), lambda m, x: F.silu(x))], ROWS),
    "Softmax": (
        [
            (((), {}), lambda m, x: F.softmax(x, -1)),
            (((0,), {}), lambda m, x: F.softmax(x, 0)),
        ],
        ROWS,
    ),
    "LogSoftmax": (
        [
            (((), {}), lambda m, x: F.log_softmax(x, -1)),
            (((0,), {}), lambda m, x: F.log_softmax(x, 0)),
        ],
        ROWS,
    ),
}
CASES = [
    pytest.param(name, args, settings, function, shape, id=f"{name} {index}")
    for name, (variants, shape) in LAYERS.items()
    for index, ((args, settings), function) in enumerate(variants)
]


@pytest.mark.parametrize(("name", "args", "settings", "function", "shape"), CASES)
def test_a_layer_is_its_function(name, args, settings, function, shape, rng):
    layer, x = getattr(nn, name)(*args, **settings), images(rng, shape)
    for parameter in layer.parameters():
        init.normal_(parameter)
    manual_seed(1)
    output = layer(x)
    manual_seed(1)  # so that dropout draws the same
    np.testing.assert_array_equal(output.numpy(), function(layer, x).numpy())
    if any(True for _ in layer.parameters()):
        output.sum().backward()
        assert all(parameter.grad is not None for parameter in layer.parameters())


LOSSES = {
    "CrossEntropyLoss": (
        ("weight",),
        {"ignore_index": 1, "reduction": "sum", "label_smoothing": 0.1},
        F.cross_entropy,
        "labels",
    ),
    "NLLLoss": (("weight",), {"ignore_index": 1, "reduction": "sum"}, F.nll_loss, "labels"),
    "BCELoss": (("weight",), {"reduction": "sum"}, F.binary_cross_entropy, "probabilities"),
    "BCEWithLogitsLoss": (
        ("weight", "pos_weight"),
        {"reduction": "none"},
        F.binary_cross_entropy_with_logits,
        "probabilities",
    ),
    "KLDivLoss": ((), {"reduction": "batchmean", "log_target": True}, F.kl_div, "probabilities"),
    "MSELoss": ((), {"reduction": "none"}, F.mse_loss, "probabilities"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_its_function(name, rng):
    weights, settings, function, targets = LOSSES[name]
    input = tensor(rng.uniform(0.1, 0.9, (5, 4)), requires_grad=True)
    target = tensor(rng.integers(0, 4, 5) if targets == "labels" else rng.uniform(0.1, 0.9, (5, 4)))
    settings = settings | {weight: tensor(rng.uniform(0.5, 2, 4)) for weight in weights}
    plain, adjusted = getattr(nn, name)(), getattr(nn, name)(**settings)
    np.testing.assert_array_equal(plain(input, target).numpy(), function(input, target).numpy())
    np.testing.assert_array_equal(adjusted(input, target).numpy(), function(input, target, **settings).numpy())
    assert [key for key, _ in adjusted.named_buffers()] == list(weights)  # so that they follow .double()
    assert list(plain.state_dict()) == list(adjusted.parameters()) == []


def test_nn_functional_is_the_same_functions():
    assert gpunet.nn.functional.__all__ == F.__all__
    assert all(getattr(gpunet.nn.functional, name) is getattr(F, name) for name in F.__all__)


# ---------------------------------------------------------------------------------------------------- starting values


@pytest.mark.parametrize(
    ("layer", "weight", "fan_in"),
    [
        (lambda **bias: nn.Conv2d(6, 300, 5, **bias), (300, 6, 5, 5), 150),
        (lambda **bias: nn.Conv2d(6, 300, (3, 5), groups=3, **bias), (300, 2, 3, 5), 30),
        (lambda **bias: nn.Linear(50, 300, **bias), (300, 50), 50),
    ],
)
def test_weights_start_uniform_within_one_over_root_of_fan_in(layer, weight, fan_in):
    made, bound = layer(), 1 / math.sqrt(fan_in)
    assert (made.weight.shape, made.bias.shape) == (weight, (300,))
    for parameter in made.parameters():
        values = parameter.numpy()
        assert values.dtype == np.float32
        assert 0.97 * bound < np.abs(values).max() <= bound * (1 + 1e-6)
        assert abs(values.std() - bound / math.sqrt(3)) < 0.06 * bound  # the deviation of U(-b, b)
        assert abs(values.mean()) < 0.1 * bound
    assert layer(bias=False).bias is None
    assert [name for name, _ in layer(bias=False).named_parameters()] == ["weight"]


def test_a_seed_starts_the_same_layer_and_reset_draws_another():
    manual_seed(5)
    layer = nn.Conv2d(2, 3, 3)
    first = layer.weight.numpy().copy()
    manual_seed(5)
    np.testing.assert_array_equal(nn.Conv2d(2, 3, 3).weight.numpy(), first)
    kept = layer.weight
    layer.reset_parameters()
    assert layer.weight is kept
    assert not (layer.weight.numpy() == first).any()


@pytest.mark.parametrize("layer", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_batch_norm_starts_as_the_identity(layer):
    made = layer(3)
    expected = {
        "weight": np.ones(3, np.float32),
        "bias": np.zeros(3, np.float32),
        "running_mean": np.zeros(3, np.float32),
        "running_var": np.ones(3, np.float32),
        "num_batches_tracked": np.array(0),
    }
    for name, value in made.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), expected.pop(name), strict=True)
    assert not expected
    assert [name for name, _ in made.named_parameters()] == ["weight", "bias"]


# ------------------------------------------------------------------------------------------- training and evaluation


@pytest.mark.parametrize("layer", [nn.Dropout(0.3), nn.Dropout2d(0.3)])
def test_dropout_drops_in_training_and_does_nothing_in_evaluation(layer):
    x = tensor(np.ones((50, 40, 3, 3), np.float32))
    dropped = layer.train()(x).numpy()
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.7], rtol=1e-6)
    by_channel = dropped.reshape(50, 40, 9)
    whole = (by_channel == by_channel[:, :, :1]).all()
    assert whole == isinstance(layer, nn.Dropout2d)
    assert abs((dropped == 0).mean() - 0.3) < 0.05
    np.testing.assert_array_equal(layer.eval()(x).numpy(), x.numpy())


BATCH_NORMS = [(nn.BatchNorm1d, (6, 3)), (nn.BatchNorm1d, (4, 3, 5)), (nn.BatchNorm2d, (2, 3, 4, 5))]


def channel_moments(x):
    """The mean of each channel and its unbiased variance, from the definition."""
    channels = [x[:, c].ravel().tolist() for c in range(x.shape[1])]
    means = [math.fsum(values) / len(values) for values in channels]
    squares = [math.fsum((v - mean) ** 2 for v in values) for values, mean in zip(channels, means, strict=True)]
    return np.array(means), np.array(squares) / (len(channels[0]) - 1)


@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
@pytest.mark.parametrize(("layer", "shape"), BATCH_NORMS)
def test_running_statistics_follow_the_batches(layer, shape, momentum, rng):
    norm = layer(3, momentum=momentum).double()
    batches = [rng.normal(rng.normal(size=3).reshape(-1, *(1,) * (len(shape) - 2)), 2, shape) for _ in range(4)]
    means, variances = zip(*map(channel_moments, batches), strict=True)
    if momentum is None:  # the plain mean of all batches
        mean, variance = np.mean(means, axis=0), np.mean(variances, axis=0)
    else:
        mean, variance = np.zeros(3), np.ones(3)
        for batch_mean, batch_variance in zip(means, variances, strict=True):
            mean = (1 - momentum) * mean + momentum * batch_mean
            variance = (1 - momentum) * variance + momentum * batch_variance
    for batch in batches:
        norm(tensor(batch))
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(norm.running_var.numpy(), variance, rtol=1e-12)
    assert norm.num_batches_tracked.item() == 4


@pytest.mark.parametrize(("layer", "shape"), BATCH_NORMS)
def test_evaluation_uses_the_running_statistics_and_keeps_them(layer, shape, rng):
    norm = layer(3).double()
    for value in (norm.weight, norm.bias, norm.running_mean):
        init.normal_(value)
    init.uniform_(norm.running_var, 0.5, 2)
    before = {name: value.numpy().copy() for name, value in norm.state_dict().items()}
    x = rng.standard_normal(shape)
    output = norm.eval()(tensor(x)).numpy()
    for c in range(3):
        mean, variance, weight, bias = (before[f][c] for f in ("running_mean", "running_var", "weight", "bias"))
        expected = (x[:, c] - mean) / math.sqrt(variance + 1e-5) * weight + bias
        np.testing.assert_allclose(output[:, c], expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_equal({name: value.numpy() for name, value in norm.state_dict().items()}, before)


def test_batch_norm_without_running_statistics_uses_the_batch_in_evaluation_too(rng):
    norm, x = nn.BatchNorm2d(4, track_running_stats=False, momentum=None), images(rng)
    assert list(norm.state_dict()) == ["weight", "bias"]
    assert norm.running_mean is norm.running_var is norm.num_batches_tracked is None
    training, evaluation = norm(x).numpy(), norm.eval()(x).numpy()
    np.testing.assert_array_equal(training, evaluation)
    np.testing.assert_allclose(evaluation.mean(axis=(0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(evaluation.std(axis=(0, 2, 3)), 1, rtol=1e-4)


def test_batch_norm_without_affine_has_no_parameters(rng):
    norm = nn.BatchNorm2d(4, affine=False)
    assert list(norm.state_dict()) == ["running_mean", "running_var", "num_batches_tracked"]
    assert list(norm.parameters()) == []
    np.testing.assert_allclose(norm(images(rng)).numpy().mean(axis=(0, 2, 3)), 0, atol=1e-6)
    norm.eval()(images(rng))


@pytest.mark.parametrize("settings", [{}, {"affine": False}, {"track_running_stats": False}], ids=repr)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("layer", "shape"), BATCH_NORMS)
def test_batch_norm_with_a_residual_and_relu_is_the_three_steps(layer, shape, training, settings, rng):
    norm, apart = (layer(3, **settings).double().train(training) for _ in range(2))
    for parameter in norm.parameters():
        init.uniform_(parameter, 0.5, 1.5)
    apart.load_state_dict(norm.state_dict())
    x, residual = rng.standard_normal(shape), rng.standard_normal(shape)
    together = {
        "residual and relu": lambda x, r: F.relu(norm(x) + r),
        "residual": lambda x, r: norm(x) + r,
        "relu": lambda x, r: F.relu(norm(x)) + r,
    }

    def looked_at(x):
        x.array  # noqa: B018  (computes what waits)
        return x

    steps = {
        "residual and relu": lambda x, r: F.relu(looked_at(looked_at(apart(x)) + r)),
        "residual": lambda x, r: looked_at(apart(x)) + r,
        "relu": lambda x, r: F.relu(looked_at(apart(x))) + r,
    }
    for name in together:
        norm.zero_grad()
        apart.zero_grad()
        reference.close(reference.run(together[name], x, residual), reference.run(steps[name], x, residual))
        for one, other in zip(norm.parameters(), apart.parameters(), strict=True):
            reference.close(one.grad.numpy(), other.grad.numpy())
    for one, other in zip(norm.buffers(), apart.buffers(), strict=True):
        reference.close(one.numpy(), other.numpy())


def test_a_batch_that_is_refused_leaves_no_trace():
    norm = nn.BatchNorm1d(3, momentum=None)
    with pytest.raises(ShapeError, match="more than one value per channel"):
        norm(tensor([[1.0, 2.0, 3.0]]))
    assert norm.num_batches_tracked.item() == 0
    norm.eval()(tensor([[1.0, 2.0, 3.0]]))  # which in evaluation is fine


def test_batch_norm_reset_forgets_everything(rng):
    norm = nn.BatchNorm2d(4)
    init.normal_(norm.weight)
    norm(images(rng))
    norm.reset_parameters()
    fresh = nn.BatchNorm2d(4).state_dict()
    np.testing.assert_equal(
        {name: value.numpy() for name, value in norm.state_dict().items()},
        {name: value.numpy() for name, value in fresh.items()},
    )


# --------------------------------------------------------------------------------------------------- printing, errors


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Conv2d", {}),
        ("Conv2d", {"stride": 2, "padding": 1, "dilation": (1, 2)}),
        ("Conv2d", {"stride": (2, 1), "padding": (0, 1), "padding_mode": "reflect"}),
        ("Conv2d", {"padding": "same"}),
        ("Conv1d", {"stride": 2, "padding": 1, "dilation": 3}),
        ("Conv1d", {"padding": "valid"}),
        ("ConvTranspose2d", {"stride": 2, "padding": (1, 0), "output_padding": 1}),
        ("ConvTranspose1d", {"stride": 2, "padding": 1, "output_padding": 1, "dilation": 2}),
    ],
)
def test_the_settings_of_a_convolution_are_those_of_pytorch(kind, settings, torch):
    ours, theirs = getattr(nn, kind)(3, 4, 3, **settings), getattr(torch.nn, kind)(3, 4, 3, **settings)
    for name in ("kernel_size", "stride", "padding", "dilation", "groups", "padding_mode", "output_padding"):
        if hasattr(ours, name):
            assert getattr(ours, name) == getattr(theirs, name), name


@pytest.mark.parametrize(
    ("layer", "printed"),
    [
        (lambda: nn.Conv2d(3, 8, 3), "Conv2d(3, 8, kernel_size=(3, 3))"),
        (
            lambda: nn.Conv2d(4, 8, (3, 1), stride=2, padding="valid", dilation=(1, 2), groups=2, bias=False),
            "Conv2d(4, 8, kernel_size=(3, 1), stride=(2, 2), padding=valid, dilation=(1, 2), groups=2, bias=False)",
        ),
        (lambda: nn.Linear(3, 2, bias=False), "Linear(in_features=3, out_features=2, bias=False)"),
        (
            lambda: nn.BatchNorm2d(5, momentum=None),
            "BatchNorm2d(5, eps=1e-05, momentum=None, affine=True, track_running_stats=True)",
        ),
        (
            lambda: nn.MaxPool2d(3, padding=1),
            "MaxPool2d(kernel_size=3, stride=3, padding=1, dilation=1, ceil_mode=False)",
        ),
        (lambda: nn.AvgPool2d((2, 3), 1), "AvgPool2d(kernel_size=(2, 3), stride=1, padding=0)"),
        (lambda: nn.AdaptiveAvgPool2d((1, None)), "AdaptiveAvgPool2d(output_size=(1, None))"),
        (lambda: nn.GlobalAvgPool2d(), "GlobalAvgPool2d()"),
        (lambda: nn.Dropout2d(), "Dropout2d(p=0.5)"),
        (lambda: nn.Flatten(), "Flatten(start_dim=1, end_dim=-1)"),
        (lambda: nn.LeakyReLU(0.2), "LeakyReLU(negative_slope=0.2)"),
        (lambda: nn.GELU("tanh"), "GELU(approximate='tanh')"),
        (lambda: nn.Softmax(1), "Softmax(dim=1)"),
        (lambda: nn.ReLU(), "ReLU()"),
    ],
)
def test_repr_shows_the_settings(layer, printed):
    assert repr(layer()) == printed


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Conv2d(0, 4, 3), "Conv2d: in_channels must be 1 or more, got 0"),
        (lambda: nn.Conv2d(3, -4, 3), "Conv2d: out_channels must be 1 or more, got -4"),
        (lambda: nn.Conv2d(3, 4, 0), "Conv2d: kernel_size must be 1 or more, got 0"),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), "kernel_size must be one whole number or two"),
        (lambda: nn.Conv2d(3, 4, 2.5), "kernel_size must be a whole number, got 2.5"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), "stride must be 1 or more, got 0"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), "padding must be 0 or more, got -1"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "padding must be one of 'same', 'valid', got 'full'"),
        (lambda: nn.Conv2d(3, 4, 3, stride=2, padding="same"), "padding 'same' needs a stride of 1"),
        (lambda: nn.Conv2d(3, 4, 3, dilation=0), "dilation must be 1 or more, got 0"),
        (lambda: nn.Conv2d(3, 4, 3, groups=0), "groups must be 1 or more, got 0"),
        (lambda: nn.Conv2d(4, 6, 3, groups=4), "groups=4 must divide 4 and 6 channels"),
        (lambda: nn.Linear(0, 3), "Linear: in_features must be 1 or more, got 0"),
        (lambda: nn.Linear(3, 1.5), "Linear: out_features must be a whole number, got 1.5"),
        (lambda: nn.Linear(True, 3), "Linear: in_features must be 1 or more, got True"),
        (lambda: nn.BatchNorm2d(0), "BatchNorm2d: num_features must be 1 or more, got 0"),
        (lambda: nn.BatchNorm1d("3"), "BatchNorm1d: num_features must be a whole number, got '3'"),
        (lambda: nn.Dropout(1.5), "Dropout: p must lie within [0, 1], got 1.5"),
        (lambda: nn.Dropout2d(-0.1), "Dropout2d: p must lie within [0, 1], got -0.1"),
        (lambda: nn.Dropout(float("nan")), "Dropout: p must lie within [0, 1], got nan"),
        (lambda: nn.MaxPool2d(0), "MaxPool2d: kernel_size must be 1 or more, got 0"),
        (lambda: nn.MaxPool2d(2, padding=2), "MaxPool2d: padding must be at most half the window"),
        (lambda: nn.AvgPool2d(2, stride=0), "AvgPool2d: stride must be 1 or more, got 0"),
        (lambda: nn.AvgPool2d(3, padding=2), "AvgPool2d: padding must be at most half the window"),
        (lambda: nn.GELU("erf"), "GELU: approximate must be one of 'none', 'tanh', got 'erf'"),
    ],
)
def test_wrong_settings_are_refused_at_once(make, message):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (lambda: nn.BatchNorm2d(4), (3, 4), "in layer BatchNorm2d: BatchNorm2d: input must have shape (N, C, H, W)"),
        (lambda: nn.BatchNorm1d(4), IMAGES, "BatchNorm1d: input must have shape (N, C) or (N, C, L), got (3, 4, 9, 7)"),
        (lambda: nn.BatchNorm2d(5), IMAGES, "BatchNorm2d: input must have 5 channels, got shape (3, 4, 9, 7)"),
        (lambda: nn.Conv2d(4, 2, 3), (9, 7), "must have shape (N, C, H, W), or (C, H, W), got 2 dimension(s)"),
        (lambda: nn.Linear(252, 2), IMAGES, "flatten images first, with nn.Flatten()"),
        (lambda: nn.MaxPool2d(10), IMAGES, "in layer MaxPool2d: max_pool2d: the window is larger"),
        (lambda: nn.GlobalAvgPool2d(), (2, 0, 9, 7), "no pixels or no channels"),
        (lambda: nn.Dropout2d(), ROWS, "dropout2d: input must have shape (N, C, H, W)"),
    ],
)
def test_wrong_inputs_are_refused(layer, shape, message):
    with pytest.raises(ShapeError) as caught:
        layer()(tensor(np.zeros(shape, np.float32)))
    assert message in str(caught.value)


@pytest.mark.parametrize("layer", [lambda: nn.Conv2d(4, 2, 3), lambda: nn.BatchNorm2d(4), lambda: nn.MaxPool2d(2)])
def test_inputs_that_are_not_tensors_of_floats_are_refused(layer):
    with pytest.raises(DTypeError, match="must hold floats, got uint8"):
        layer()(tensor(np.zeros(IMAGES, np.uint8)))
    with pytest.raises(DTypeError, match="must be a Tensor, got ndarray"):
        layer()(np.zeros(IMAGES, np.float32))
