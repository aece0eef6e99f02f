"""Fine-tuning: runs that begin with the weights of another network."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gpunet import nn
from gpunet.cli import main
from gpunet.data import DataLoader, TensorDataset, find_dataset
from gpunet.errors import ArgumentError, FileError, StateDictError
from gpunet.models import create_model
from gpunet.optim import SGD
from gpunet.train import TrainConfig, Trainer, TrainingRun, evaluate_run
from gpunet.weights import load_weights, read_weights, save_weights
from tests.runs import TINY, StopAfter, few_digits, figures, weights
from tests.test_weights import drawn, torch_file, torch_state


@pytest.fixture(autouse=True)
def _few():
    with few_digits():
        yield


@pytest.fixture
def trained(tmp_path):
    TrainingRun(TINY, tmp_path / "first", show_progress=False).run()
    return tmp_path / "first" / "model.safetensors"


def begun(config, folder, **settings):
    return TrainingRun(config, folder, show_progress=False, **settings)


def changes(**settings):
    return replace(TINY, **settings)


def test_weights_of_the_same_classes_have_their_head(trained, tmp_path):
    run = begun(changes(weights=trained), tmp_path / "second")
    for name, value in read_weights(trained).arrays.items():
        np.testing.assert_array_equal(run.model.state_dict()[name].numpy(), value)
    assert run.remarks == [f"begun with {len(run.model.state_dict())} arrays of {trained}, the head among them"]


def test_weights_of_others_get_a_new_head(tmp_path):
    source = drawn(create_model("tiny", 3, 1))
    path = tmp_path / "x.pth"
    path.write_bytes(torch_file({"state_dict": torch_state(source)}))
    plain, run = begun(TINY, tmp_path / "plain"), begun(changes(weights=str(path)), tmp_path / "run")
    found, fresh = ({name: value.numpy() for name, value in each.model.state_dict().items()} for each in (run, plain))
    head = {name for name in found if found[name].shape != source.state_dict()[name].shape}
    assert len(head) == 2
    assert f"new: {', '.join(name for name in found if name in head)}" in run.remarks[0]
    for name, value in found.items():
        np.testing.assert_array_equal(value, fresh[name] if name in head else source.state_dict()[name].numpy())


def test_frozen_layers_stay_as_they_are_with_their_statistics(trained, tmp_path):
    config = changes(weights=str(trained), freeze=("0.*", "1.*"), head_lr=0.01, optimizer="adamw")
    run = begun(config, tmp_path / "run")
    before = {name: value.numpy().copy() for name, value in run.model.state_dict().items()}
    run.run()
    frozen = {name for name, each in run.model.named_parameters() if not each.requires_grad}
    assert frozen
    for name, value in run.model.state_dict().items():
        if name in frozen:
            np.testing.assert_array_equal(value.numpy(), before[name])
    assert any((value.numpy() != before[name]).any() for name, value in run.model.state_dict().items())


def test_batch_norm_of_frozen_layers_keeps_its_statistics():
    rng = np.random.default_rng(0)
    data = DataLoader(TensorDataset(rng.standard_normal((8, 1, 4, 4), np.float32), np.arange(8) % 2), 4)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    for each in model[1].parameters():
        each.requires_grad = False
    list(Trainer(model, SGD(model.parameters(), lr=0.1), 2, show_progress=False).fit(data, data, 1))
    assert model[1].running_mean.tolist() == [0, 0]
    assert model[1].num_batches_tracked.item() == 0
    model[1].weight.requires_grad = True
    list(Trainer(model, SGD(model.parameters(), lr=0.1), 2, show_progress=False).fit(data, data, 1))
    assert model[1].num_batches_tracked.item() == 2


def test_the_head_learns_at_its_own_rate(tmp_path):
    run = begun(changes(head_lr=0.5, lr=0.01, schedule="constant"), tmp_path / "run")
    others, head = run.trainer.optimizer.param_groups
    assert (others["lr"], head["lr"]) == (0.01, 0.5)
    assert [tuple(each.shape) for each in head["params"]][-1] == (10,)
    assert len(others["params"]) + len(head["params"]) == len(list(run.model.parameters()))


def test_a_run_that_goes_on_does_not_need_the_file(trained, tmp_path):
    config = changes(weights=str(trained), freeze=("1.*",), epochs=2)
    begun(config, tmp_path / "whole").run()
    begun(config, tmp_path / "parts", callbacks=[StopAfter(3)]).run()
    kept = trained.read_bytes()
    trained.unlink()
    begun(config, tmp_path / "parts", resume=True).run()
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert figures(tmp_path / "parts") == figures(tmp_path / "whole")
    with pytest.raises(FileError, match="cannot read"):
        begun(config, tmp_path / "parts", overwrite=True)
    trained.write_bytes(kept)
    begun(config, tmp_path / "parts", overwrite=True).run()
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze": ("nothing*",)}, "freeze 'nothing.' fits none of the parameters"),
        ({"freeze": ("*",)}, "freeze leaves nothing to learn"),
        ({"preprocessing": "imagenet"}, "preprocessing imagenet is for images of 3 channels, these have 1"),
        ({"preprocessing": "images"}, "preprocessing"),
        ({"head_lr": -1.0}, "head_lr"),
        ({"freeze": (3,)}, "freeze must be a text"),
        ({"weights": 3}, "weights must be a text"),
        ({"weights": ""}, "weights must be a text"),
    ],
)
def test_settings_that_make_no_sense(settings, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        begun(changes(**settings), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_frozen_head_has_no_rate(tmp_path):
    names = [name for name, _ in create_model("tiny", 10, 1).named_parameters()]
    with pytest.raises(ArgumentError, match="head_lr is for a head that learns"):
        begun(changes(freeze=(names[-1], names[-2]), head_lr=0.1), tmp_path / "run")


def test_weights_of_another_network(tmp_path):
    save_weights(tmp_path / "x.safetensors", create_model("resnet8", 10, 1))
    with pytest.raises(StateDictError, match="does not fit"):
        begun(changes(weights=str(tmp_path / "x.safetensors")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_images_are_normalised_as_imagenet_s(tmp_path):
    """Pixels p in 0 .. 255 become (p / 255 - mean) / std, in training, evaluation and for those who use the model."""
    config = TrainConfig(
        data="shapes", model="resnet8", epochs=1, preprocessing="imagenet", augment="none", batch_size=64
    )
    run = begun(config, tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "config.json").read_text())["input"]
    assert (saved["mean"], saved["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    raw = find_dataset("shapes").load(False, None)
    images, _ = next(iter(run.test_loader))
    mean, std = (np.float32(saved[name])[:, None, None] for name in ("mean", "std"))
    pixels = np.asarray(raw.images[: len(images)], np.float32) / saved["scale"]
    np.testing.assert_allclose(images.numpy(), (pixels - mean) / std, atol=1e-5)


def test_the_command_line(trained, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text(f'weights = "{trained.relative_to(tmp_path)}"\nfreeze = ["1.*"]\nhead-lr = 0.02\n')
    out = str(tmp_path / "run")
    given = ["train", "--config", str(config), "--model", "tiny", "--batch-size", "8", "--epochs", "1", "--out", out]
    assert main(given) == 0
    printed = capsys.readouterr().out
    assert "begun with" in printed
    assert "parameters stay as they are" in printed
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (written["weights"], written["freeze"], written["head_lr"]) == (str(trained), ["1.*"], 0.02)
    assert main(["evaluate", out]) == 0
    assert main(["train", "--resume", "--out", out]) == 0
    evaluate_run(out)
    model = create_model("tiny", 10, 1)
    load_weights(tmp_path / "run" / "model.safetensors", model)
