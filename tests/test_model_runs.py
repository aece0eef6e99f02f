"""Networks are copied, saved, explained and measured; one of each family goes through all commands."""

import copy
import shutil

import numpy as np
import pytest

import gpunet
from gpunet import functional as F
from gpunet.autocast import autocast
from gpunet.bench import Workload
from gpunet.bench.workloads import prepare
from gpunet.cli import main
from gpunet.models import IMAGE_SIZES, MODELS, SMALLEST_IMAGES, create_model, summary
from gpunet.nn import BatchNorm2d
from gpunet.tape import no_grad
from gpunet.tensor import tensor
from gpunet.train import load_weights, save_weights
from gpunet.visualize import feature_maps, grad_cam
from tests.runs import HEAVY

QUICK = ("resnet8", "preact_resnet20")
FAMILIES = ("preact_resnet20", "alexnet", "vgg11", "resnet18", "densenet121", "mobilenet_v2", "convnext_tiny")


def smallest_image(name):
    return IMAGE_SIZES.get(name, SMALLEST_IMAGES.get(name, 8))


def mostly_slow(names):
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


@pytest.mark.usefixtures("numpy_backend")
@pytest.mark.parametrize("name", mostly_slow(name for name in MODELS if name not in HEAVY))
def test_every_network_is_copied_saved_summarised_and_explained(name, rng, tmp_path):
    side, model = smallest_image(name), create_model(name, 3, 3)
    images = tensor(rng.standard_normal((2, 3, side, side)).astype(np.float32))
    counted = summary(model, (3, side, side))
    assert counted.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert counted.multiply_adds > 0
    with no_grad():
        logits = model.eval()(images).numpy()
        assert logits.shape == (2, 3)
        assert np.isfinite(logits).all()

        other = copy.deepcopy(model)
        np.testing.assert_array_equal(other(images).numpy(), logits)
        save_weights(tmp_path / "weights.safetensors", model)
        for parameter in other.parameters():
            gpunet.nn.init.zeros_(parameter)
        np.testing.assert_array_equal(model(images).numpy(), logits)  # a copy has numbers of its own
        load_weights(tmp_path / "weights.safetensors", other)
        np.testing.assert_array_equal(other(images).numpy(), logits)
    del other
    (tmp_path / "weights.safetensors").unlink()

    (heat, _) = grad_cam(model, images)
    assert heat.shape == (side, side)
    assert 0 <= heat.min() <= heat.max() <= 1
    assert feature_maps(model, images)[0].values.shape[0] > 1


@pytest.mark.usefixtures("numpy_backend")
@pytest.mark.parametrize("name", mostly_slow(name for name in MODELS if name not in HEAVY))
def test_every_network_can_be_measured(name):
    prepare(Workload(name, "train", 2, (3, smallest_image(name), smallest_image(name))))()


@pytest.mark.slow
@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("backend", "name"),
    [
        *[("numpy", name) for name in FAMILIES],
        *[("emulated", name) for name in ("preact_resnet20", "mobilenet_v2", "densenet121", "convnext_tiny")],
        *[pytest.param("cupy", name, marks=pytest.mark.gpu) for name in FAMILIES],
    ],
    indirect=["backend"],
)
def test_one_of_each_family_in_mixed_precision(name, rng):
    """The logits are not far from those in float32, although networks that have learned nothing magnify rounding."""
    model, images = create_model(name, 3, 3), tensor(rng.standard_normal((3, 3, 64, 64)).astype(np.float32))
    for module in model.modules():
        if isinstance(module, BatchNorm2d):
            module.momentum = 1.0
    with no_grad():
        model(images)  # or MobileNet's logits would be too small for float16
    expected = model.eval()(images)
    with autocast():
        logits = model(images)
        loss = F.cross_entropy(logits, tensor([0, 2, 1]))
    assert logits.dtype == np.float16
    atol = 0.2 * np.abs(expected.numpy()).max()
    np.testing.assert_allclose(logits.numpy(), expected.numpy(), rtol=0, atol=atol)
    loss.backward()
    for path, parameter in model.named_parameters():
        assert parameter.grad.dtype == np.float32
        assert np.isfinite(parameter.grad.numpy()).all(), path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six pictures of each of two classes."""
    image, place, rng = pytest.importorskip("PIL.Image"), tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for colour, name in ((60, "dark"), (180, "light")):
        (place / name).mkdir()
        for number in range(6):
            pixels = np.clip(rng.normal(colour, 30, (64, 64, 3)), 0, 255).astype(np.uint8)
            image.fromarray(pixels).save(place / name / f"{number}.png")
    return place


@pytest.mark.slow
@pytest.mark.usefixtures("numpy_backend")
@pytest.mark.parametrize("name", FAMILIES)
def test_one_of_each_family_through_all_commands(name, pictures, tmp_path, capsys):
    run, picture = tmp_path / "run", str(pictures / "dark" / "0.png")
    settings = ["--data", f"folder:{pictures}", "--image-size", "64", "--epochs", "1", "--batch-size", "4"]
    assert main(["train", "--model", name, *settings, "--lr", "0.001", "--quiet", "--out", str(run)]) == 0
    assert main(["evaluate", str(run)]) == 0
    assert main(["report", str(run)]) == 0
    assert name in (run / "report.html").read_text()
    capsys.readouterr()
    assert main(["predict", str(run), picture, "--explain", str(tmp_path / "heat.png")]) == 0
    assert "dark" in capsys.readouterr().out
    assert gpunet.load(run).predict(picture)[0][0][0] in ("dark", "light")
    shutil.rmtree(tmp_path)  # hundreds of megabytes


@pytest.mark.parametrize("name", ["alexnet", "vgg16_bn", "densenet121", "convnext_tiny"])
def test_images_that_are_too_small_are_refused_before_anything_is_written(name, tmp_path, capsys):
    assert main(["train", "--model", name, "--data", "digits", "--out", str(tmp_path / "run")]) == 1
    assert f"gpunet: error: {name} takes images of {SMALLEST_IMAGES[name]}x" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
