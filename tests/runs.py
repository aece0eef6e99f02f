"""Runs that take hundredths of a second: a few digits, a tiny network, and what tests ask of the folder of a run."""

import contextlib
import json
from dataclasses import replace

import pytest

from gpunet import nn
from gpunet.backend import use_backend
from gpunet.backend.cpu_library import library
from gpunet.data import DATASETS, Digits, ImageDataset
from gpunet.models import MODELS
from gpunet.train import Callback, TrainConfig, TrainingRun

# What a command says on stderr where there was no compiler to build the CPU kernels.
NO_KERNELS = "no CPU kernels for this machine; NumPy does their work, more slowly (gpunet doctor says more)\n"
if library() is not None:
    NO_KERNELS = ""

# Networks of hundreds of MB, or very deep, that are no other code than their smaller relatives: they take too long.
# Their names, counts and shapes are tested like those of all.
HEAVY = {"vgg13", "vgg16", "vgg19", "vgg13_bn", "vgg16_bn", "vgg19_bn", "convnext_base", "convnext_large"}
HEAVY |= {"densenet161", "densenet201", "resnet152"}
HEAVY |= {"wide_resnet101_2", "resnext101_32x8d", "resnext101_64x4d"}

TINY = TrainConfig(model="tiny", epochs=2, batch_size=8, seed=3)  # 8 steps an epoch


def load_few_digits(train, transform):
    whole = Digits(train)
    count = 64 if train else 40
    return ImageDataset(whole.images[:count], whole.labels[:count], transform, whole.classes)


def tiny_network(num_classes, in_channels):
    """With everything that a checkpoint has to hold: weights, buffers, and masks drawn on the device."""
    return nn.Sequential(
        nn.Conv2d(in_channels, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(36, num_classes),
    )


@contextlib.contextmanager
def few_digits():
    """While the block lasts, the digits are the first few of them, and there is a model "tiny"."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "tiny", tiny_network)
        patch.setitem(DATASETS, "digits", replace(DATASETS["digits"], load=load_few_digits))
        yield


def learned_digits(folder):
    """A run that has learned the digits well enough to be asked about them; returns its folder."""
    with use_backend("numpy"):
        TrainingRun(TrainConfig(epochs=3), folder, show_progress=False).run()
    return folder


class StopAfter(Callback):
    """Ends a run after so many steps, as Ctrl-C does."""

    def __init__(self, steps):
        self.steps = steps

    def on_step_end(self, trainer):
        trainer.stop_requested = trainer.progress.step == self.steps


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def figures(folder):
    """The lines of metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    without = ("seconds", "images_per_second", "sha256")
    return [{name: line[name] for name in line if name not in without} for line in lines]


def plain(content):
    """A JSON object of a run without its checksum, as one that was written before there were any."""
    return {name: value for name, value in content.items() if name not in ("format", "sha256")}


def change(path, **settings):
    """Change a JSON file of a run as whoever does it by hand."""
    path.write_text(json.dumps({**plain(json.loads(path.read_text())), **settings}))
