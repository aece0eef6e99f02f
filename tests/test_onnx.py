"""Files of ONNX. What is written is judged by onnxruntime, and by the checker of ONNX."""

import json
import subprocess
import sys

import numpy as np
import pytest

import gpunet
from gpunet import functional as F
from gpunet import nn
from gpunet.cli import main
from gpunet.errors import ArgumentError, DataError, DTypeError, FileError, ShapeError
from gpunet.models import IMAGE_SIZES, MODELS, resnet8
from gpunet.onnx import export, exporting, library
from gpunet.onnx.translations import TRANSLATIONS
from gpunet.tensor import watch_operations
from tests.runs import HEAVY, learned_digits
from tests.test_operations import OPERATIONS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

IMAGE = (4, 9, 8)  # channels, height, width


class Function(nn.Module):
    """What a function computes, as a model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class TwoOutputs(nn.Module):
    """What a convolution computes, and what batch norm makes of it."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)

    def forward(self, x):
        x = self.conv(x)
        return x, self.norm(x)


class Prelu(nn.Module):
    """Slopes that are learnt, one a channel."""

    def __init__(self):
        super().__init__()
        self.layer = nn.PReLU(4, 0.3)

    def forward(self, x):
        return self.layer(x)


def in_place(x):
    x += 1
    y = F.relu(x)
    y *= x
    return y


MASK = np.random.default_rng(2).random((4, 9, 8)) < 0.5
# What a model does to images (N, 4, 9, 8), or as said.
CASES = {
    "Abs": abs,
    "AdaptiveAvgPool2d": nn.AdaptiveAvgPool2d((3, 4)),
    "AdaptiveAvgPool2d 1": nn.AdaptiveAvgPool2d(1),
    "AdaptiveMaxPool2d": nn.AdaptiveMaxPool2d((9, 2)),
    "AdaptiveMaxPool2d 1": nn.AdaptiveMaxPool2d(1),
    "Add": lambda x: x + x[:, :1] + 2.5,
    "AvgPool2d": nn.AvgPool2d((3, 2), (2, 1), (1, 1)),
    "AvgPool2d ceil": nn.AvgPool2d((4, 3), (3, 3), (1, 1), ceil_mode=True),
    "AvgPool2d ceil, inside": nn.AvgPool2d((4, 3), (3, 3), (1, 1), ceil_mode=True, count_include_pad=False),
    "AvgPool2d divisor": nn.AvgPool2d((4, 3), (3, 3), (1, 1), ceil_mode=True, divisor_override=5),
    "BatchNorm2d": nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4)),
    "BatchNorm2d plain": nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4, affine=False)),
    "BatchNorm2d after Conv2d": nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
    "CELU": nn.CELU(0.7),
    "Clamp": lambda x: x.clamp(-0.5, 0.4) + x.clamp(min=0.1) + x.clamp(max=0.1),
    "Concatenate": lambda x: gpunet.cat([x, x * 2, x[:, 1:]], dim=1),
    "Conv2d": nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2),
    "Conv2d same": nn.Conv2d(4, 6, 4, padding="same", bias=False),
    "ConvTranspose2d": nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), output_padding=(1, 2), groups=2),
    "CumulativeSum": lambda x: x.cumsum(2),
    "Divide": lambda x: x / (abs(x) + 1.5) / 3,
    "ELU": nn.ELU(0.7),
    "Exp": lambda x: x.exp(),
    "Expand": lambda x: x[:, :1].expand(-1, 4, 9, 8) * x,
    "Extremum": lambda x: x.amax((2, 3)) - x.amin((2, 3)),
    "GELU": nn.GELU(),
    "GroupNorm": nn.GroupNorm(2, 4),
    "Hardshrink": nn.Hardshrink(0.3),
    "Hardsigmoid": nn.Hardsigmoid(),
    "Hardswish": nn.Hardswish(),
    "Hardtanh": nn.ReLU6(),
    "Index": lambda x: x[:, -1, 1:-1:2, None, ::3],
    "Index ...": lambda x: x[..., 2] + x[:, :, -9:, 0],
    "Index back": lambda x: x[:, 3:0:-1, ::-1],
    "Index of places": lambda x: x[:, [2, 0, 2]],
    "in place": in_place,
    "Interpolate": lambda x: F.interpolate(x, (5, 12), mode="bilinear"),
    "Interpolate nearest": nn.Upsample(scale_factor=2),
    "Interpolate bicubic": lambda x: F.interpolate(x, (11, 7), mode="bicubic", align_corners=True),
    "LayerNorm": nn.LayerNorm((9, 8)),
    "LeakyReLU": nn.LeakyReLU(0.2),
    "Linear": nn.Sequential(nn.Flatten(), nn.Linear(288, 5)),
    "Linear of rows": nn.Linear(8, 5),
    "Linear without bias": nn.Sequential(nn.Flatten(), nn.Linear(288, 5, bias=False)),
    "Log": lambda x: (abs(x) + 0.1).log(),
    "LogSigmoid": nn.LogSigmoid(),
    "LogSoftmax": nn.LogSoftmax(1),
    "MatMul": lambda x: x @ x.mT,
    "MaxPool2d": nn.MaxPool2d((3, 2), (2, 2), (1, 1)),
    "MaxPool2d ceil": nn.MaxPool2d((2, 3), 3, ceil_mode=True),
    "MaxPool2d dilated": nn.MaxPool2d(3, 2, 1, dilation=2),
    "Maximum": lambda x: gpunet.maximum(x, x * 2),
    "Mean": lambda x: x.mean((2, 3)) + x.mean(1).mean((1, 2), keepdim=True)[:, :, 0],
    "Minimum": lambda x: gpunet.minimum(x, x * 2),
    "Mish": nn.Mish(),
    "Multiply": lambda x: x * x * 3,
    "Negate": lambda x: -x,
    "Norm": lambda x: gpunet.norm(x, 2, 1) + gpunet.norm(x, 1, 1) + gpunet.norm(x, float("inf"), 1),
    "PReLU": Prelu(),
    "Pad": lambda x: F.pad(x, (1, 2, 0, 1), value=0.5),
    "Permute": lambda x: x.permute(0, 2, 3, 1),
    "Power": lambda x: abs(x) ** 1.5 + x**2,
    "Product": lambda x: x.prod(1),
    "ReLU": nn.ReLU(),
    "Reciprocal": lambda x: 1 / (abs(x) + 0.5),
    "Remainder": lambda x: x % 0.37,
    "Repeat": nn.ReflectionPad2d((1, 2, 3, 0)),
    "Repeat circular": lambda x: F.pad(x, (1, 2, 3, 0), mode="circular"),
    "Reshape": lambda x: x.reshape(-1, 8).reshape(x.shape[0], 36, 8),
    "SELU": nn.SELU(),
    "SiLU": nn.SiLU(),
    "Sigmoid": nn.Sigmoid(),
    "Softmax": nn.Softmax(1),
    "Softplus": nn.Softplus(1.5),
    "Softplus 1": nn.Softplus(),
    "Softshrink": nn.Softshrink(0.3),
    "Softsign": nn.Softsign(),
    "Sqrt": lambda x: abs(x).sqrt(),
    "Subtract": lambda x: 1 - x - x[:, :, :1],
    "Sum": lambda x: x.sum((1, 3)) + x.sum(3).sum(1),
    "Tanh": nn.Tanh(),
    "TanhGELU": nn.GELU("tanh"),
    "Tanhshrink": nn.Tanhshrink(),
    "Threshold": nn.Threshold(0.2, 0.7),
    "Where": lambda x: gpunet.where(gpunet.tensor(MASK), x, x * 2),
    "pixel_shuffle": nn.PixelShuffle(2),
    "channel_shuffle": nn.ChannelShuffle(2),
    "shared layer": (lambda layer: lambda x: layer(layer(x)))(nn.Conv2d(4, 4, 3, padding=1)),
    **{
        name: lambda x, name=name: getattr(gpunet, name)(x * 0.9)
        for name in ("acos", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf", "expm1", "sin", "sinh", "tan")
    },
    **{
        name: lambda x, name=name: getattr(gpunet, name)(x * 3)
        for name in ("ceil", "floor", "frac", "round", "sign", "trunc")
    },
    **{
        name: lambda x, name=name: getattr(gpunet, name)(abs(x) + 1.1)
        for name in ("acosh", "log10", "log1p", "log2", "reciprocal", "rsqrt", "square")
    },
}


def model_of(case):
    return case if isinstance(case, nn.Module) else Function(case)


def randomised(model, rng):
    """The model with running statistics and affine maps that are not those it begins with.

    Deep plain networks that are normalised to the full make the first digit of the output of the last one of the input.
    With these scales they do not; of the images themselves little arrives at the end of them, of all biases much.
    """
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 1:
            low, high = (0.5, 1.5) if name.endswith("var") else (0.4, 1.0) if name.endswith("weight") else (-0.3, 0.3)
            tensor.array[...] = gpunet.tensor(rng.uniform(low, high, tensor.shape).astype(np.float32)).array
    return model


def run(path, images):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": images})


def check(model, path, shape, rng, counts=(1, 3), tolerance=1e-4):
    """That onnxruntime computes what the model computes, for these numbers of images."""
    for count in counts:
        images = rng.uniform(-1, 1, (count, *shape)).astype(np.float32)
        with gpunet.no_grad(), nn.evaluation_mode(model):
            expected = model(gpunet.tensor(images)).numpy()
        (got,) = run(path, images)
        assert got.shape == expected.shape
        assert np.ptp(expected) > 0
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fold", [True, False])
def test_what_layers_compute(name, fold, tmp_path, rng, numpy_backend):
    model = randomised(model_of(CASES[name]), rng)
    export(model, gpunet.zeros(2, *IMAGE), tmp_path / "m.onnx", fold=fold)
    check(model, tmp_path / "m.onnx", IMAGE, rng)


@pytest.mark.parametrize("fold", [True, False])
def test_a_convolution_that_is_an_output_stays(fold, tmp_path, rng, numpy_backend):
    model = randomised(TwoOutputs(), rng)
    export(model, gpunet.zeros(1, *IMAGE), tmp_path / "m.onnx", fold=fold)
    images = rng.uniform(-1, 1, (2, *IMAGE)).astype(np.float32)
    with gpunet.no_grad(), nn.evaluation_mode(model):
        wanted = model(gpunet.tensor(images))
    for expected, got in zip(wanted, run(tmp_path / "m.onnx", images), strict=True):
        np.testing.assert_allclose(got, expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["input", "output", "output_1"])
def test_a_parameter_with_a_name_of_the_file_s_own(name, tmp_path, numpy_backend):
    model = nn.PReLU()
    model.register_parameter(name, nn.Parameter(gpunet.ones(1)))
    with pytest.raises(ArgumentError, match=f"export: '{name}' is what the file calls its own"):
        export(model, gpunet.zeros(1, 3), tmp_path / "m.onnx")


def test_the_cases_cover_the_table(numpy_backend):
    seen = set()
    with watch_operations(lambda operation, inputs, result: seen.add(type(operation))):
        for case in CASES.values():
            with nn.evaluation_mode(model_of(case)):
                model_of(case)(gpunet.ones(2, *IMAGE).requires_grad_().clone())
    assert {each.__name__ for each in set(TRANSLATIONS) - seen} == {"Same"}  # what checkpoint makes


UNTRANSLATED = [
    "AbsoluteError",
    "BatchNorm",
    "BinaryCrossEntropy",
    "BinaryCrossEntropyWithLogits",
    "Diagonal",
    "Dropout",
    "ExpectedNegativeLog",
    "Fold",
    "Huber",
    "KLDivergence",
    "MaxUnpool2d",
    "Nothing",
    "Pair",
    "Put",
    "ScatterExtremum",
    "SmoothL1",
    "SquaredError",
    "SyncBatchNorm",
    "Unfold",
    "Written",
]


def test_what_cannot_be_exported_is_known():
    assert sorted({*OPERATIONS} - {each.__name__ for each in TRANSLATIONS}) == UNTRANSLATED


SMALL = ["lenet5", "resnet8", "resnet20", "plain8", "resnet18", "preact_resnet20"]


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in SMALL else pytest.mark.slow) for name in MODELS if name not in HEAVY],
)
def test_models(name, fold, tmp_path, rng, numpy_backend):
    # Of others, blocks of AlexNet's and VGG's adaptive pooling are not all alike, for which ONNX has no operator.
    size = 224 if name.startswith(("alexnet", "vgg")) else IMAGE_SIZES.get(name, 32)
    shape = (3, size, size)
    model = randomised(MODELS[name](in_channels=3, num_classes=7), rng)
    export(model, gpunet.zeros(1, *shape), tmp_path / "m.onnx", fold=fold)
    check(model, tmp_path / "m.onnx", shape, rng)
    made = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(made, full_check=True)
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    if not fold:
        assert {name for name, _ in model.named_parameters()} <= {each.name for each in made.graph.initializer}
    kept = [node.op_type for node in made.graph.node].count("BatchNormalization")
    # Where a convolution comes first it takes batch norm in; before one, as in pre-activation networks, it stays.
    assert kept < len(norms) or not norms if fold else kept == len(norms)


def test_on_every_backend(backend, tmp_path, rng):
    model = randomised(resnet8(), rng)
    export(model, gpunet.zeros(1, 3, 8, 8), tmp_path / "m.onnx")
    check(model, tmp_path / "m.onnx", (3, 8, 8), rng)


def test_the_model_is_left_as_it_was(tmp_path, rng, numpy_backend):
    model = randomised(resnet8(), rng)
    model.conv1.weight.requires_grad_(False)
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    with gpunet.no_grad():
        export(model, gpunet.zeros(1, 3, 8, 8), tmp_path / "m.onnx")
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), before[name])
    assert "conv1.weight" in {each.name for each in onnx.load(tmp_path / "m.onnx").graph.initializer}


def test_several_outputs(tmp_path, rng, numpy_backend):
    export(Function(lambda x: (x, F.relu(x), x)), gpunet.zeros(1, 3), tmp_path / "m.onnx")
    images = rng.normal(size=(2, 3)).astype(np.float32)
    for got, expected in zip(run(tmp_path / "m.onnx", images), (images, images.clip(0), images), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_the_same_file_twice(tmp_path, numpy_backend):
    model = resnet8()
    for name in ("a", "b"):
        export(model, gpunet.zeros(1, 3, 8, 8), tmp_path / name, about={"classes": ["é", "\udc80"]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# What would be silently wrong


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * (x > 0),
        lambda x: x * x.max().item(),
        lambda x: x + x.detach(),
        lambda x: x.sum(1) * x.shape[0],
        lambda x: x + gpunet.arange(x.shape[0]).float().reshape(-1, 1, 1, 1),
        lambda x: gpunet.where(x > 0, x, -x),
        lambda x: x[x[:, 0, 0, 0].argsort().data] if len(x) > 1 else x[[0]],
    ],
)
def test_values_that_follow_from_the_images(function, tmp_path, rng, numpy_backend):
    example = gpunet.tensor(rng.normal(size=(1, *IMAGE)).astype(np.float32))
    with pytest.raises(ArgumentError, match="are not recorded"):
        export(Function(function), example, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_sizes_of_which_several_follow_from_the_batch(tmp_path, numpy_backend):
    with pytest.raises(ArgumentError, match="more than one depends"):
        export(Function(lambda x: (x @ x.T).reshape(len(x), 1, len(x))), gpunet.zeros(2, 3), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: F.dropout(x, training=True), "Dropout"),
        (nn.BatchNorm2d(4, track_running_stats=False), "BatchNorm"),
        (lambda x: F.unfold(x, 2), "Unfold"),
        (nn.AdaptiveAvgPool2d(5), "AdaptiveAvgPool2d from"),
        (nn.Softplus(threshold=1), "Softplus with a threshold"),
        (lambda x: gpunet.norm(x, 3), "Norm with p=3"),
        (lambda x: x[:, [1, 0], [2, 3]], "several lists of places"),
        (lambda x: x.to(np.float64), "a change to float64"),
    ],
)
def test_what_has_no_translation_is_named(function, named, tmp_path, numpy_backend):
    with pytest.raises(ArgumentError, match=f"no translation of .*{named}"):
        export(nn.Sequential(nn.Identity(), model_of(function)), gpunet.zeros(2, *IMAGE), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_an_output_that_was_not_computed(tmp_path, numpy_backend):
    for function in (lambda x: x.detach(), lambda x: None, lambda x: [], lambda x: x.argmax(1)):
        with pytest.raises(ArgumentError, match="computed from its input"):
            export(Function(function), gpunet.zeros(1, *IMAGE), tmp_path / "m.onnx")


def test_wrong_arguments(tmp_path, numpy_backend, monkeypatch):
    model, example, path = nn.ReLU(), gpunet.zeros(1, 3), tmp_path / "m.onnx"
    for wrong in ((path, example, model), (model, np.zeros((1, 3)), path), (model, example, 3)):
        with pytest.raises(DTypeError, match="expects a Module, a Tensor and the path"):
            export(*wrong)
    with pytest.raises(DTypeError, match="the example holds float64"):
        export(model, example.double(), path)
    with pytest.raises(DTypeError, match=r"weight holds float64; model.float\(\)"):
        export(nn.Linear(3, 3).double(), example, path)
    with pytest.raises(DTypeError, match="float32, got int64"):
        export(model, example.long(), path)
    for shape in ((), (0, 3)):
        with pytest.raises(ShapeError, match="at least one image"):
            export(model, gpunet.zeros(*shape), path)
    with pytest.raises(FileError, match="cannot write"):
        export(model, example, tmp_path / "none" / "m.onnx")
    monkeypatch.setattr(exporting, "LARGEST_FILE", 2000)
    with pytest.raises(ArgumentError, match=r"the weights have 40,400 bytes, and an ONNX file at most 2,000"):
        export(nn.Linear(100, 100), gpunet.zeros(1, 100), path)
    monkeypatch.setattr(exporting, "LARGEST_FILE", 100)
    with pytest.raises(ArgumentError, match="the file would have"):
        export(model, example, path)
    assert not list(tmp_path.iterdir())


def test_gpunet_imports_nothing_of_it():
    """Nor does the command line, before it is asked for a file."""
    code = "import sys, gpunet, gpunet.cli; sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_package(tmp_path, numpy_backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DataError, match=r"pip install 'gpunet\[onnx\]'"):
        library.onnx_library()


# The command


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return learned_digits(tmp_path_factory.mktemp("run") / "digits")


def test_the_command(digits, tmp_path, capsys, numpy_backend):
    out = tmp_path / "digits.onnx"
    assert main(["export", str(digits), str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"out": str(out), "bytes": out.stat().st_size, "input": ["N", 1, *said["input"][2:]]}
    classifier = gpunet.load(digits)
    prepared = classifier.prepare(gpunet.data.Digits(train=False).images[:20])
    (logits,) = run(out, prepared.numpy())
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = classifier.probabilities(prepared)
    np.testing.assert_allclose(exponentials / exponentials.sum(axis=1, keepdims=True), expected, atol=1e-5)
    about = {each.key: json.loads(each.value) for each in onnx.load(out).metadata_props}
    config = json.loads((digits / "config.json").read_text())
    assert about == {name: config[name] for name in ("model", "classes", "input")}
    assert main(["export", str(digits), str(out), "--keep-batch-norm"]) == 0
    assert "digits.onnx" in capsys.readouterr().out
    assert main(["export", str(tmp_path), str(out)]) == 1
    assert "holds no training run" in capsys.readouterr().err
