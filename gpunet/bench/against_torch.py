"""The same networks in PyTorch, written as its users and torchvision write them, to measure gpunet against.

Modules have the names that they have in gpunet, so that a state_dict fits both. PyTorch is imported when a function of
this file first needs it, never with the package: it takes seconds and a quarter of a gigabyte.
"""

from __future__ import annotations

import functools
import importlib.util
import time
from collections.abc import Callable
from typing import Any

from gpunet.bench.timing import Clock, quickest, time_call
from gpunet.bench.workloads import LR, MOMENTUM, WEIGHT_DECAY, Workload, draw_batch
from gpunet.errors import BackendError

__all__ = ["build_torch", "check_torch", "prepare_torch", "time_torch_operation", "torch_version"]


def check_torch() -> None:
    """Make sure that PyTorch is there, without importing it.

    Raises:
        BackendError: if it is not.
    """
    if importlib.util.find_spec("torch") is None:
        raise BackendError("--against torch needs PyTorch, which is not installed: pip install torch")


@functools.cache
def _torch() -> Any:
    check_torch()
    try:
        import torch
    except Exception as error:  # a missing shared library, a NumPy of another ABI, ...
        raise BackendError(f"PyTorch cannot be imported: {type(error).__name__}: {error}; reinstall torch") from error
    return torch


def torch_version() -> str:
    """The version of PyTorch."""
    return str(_torch().__version__)


@functools.cache
def _networks() -> dict[str, Callable[[Workload], Any]]:
    """For each network what builds it. The classes are defined in here because their base is PyTorch's."""
    _torch()  # says what to do where it is missing
    from torch import nn
    from torch.nn import functional as F

    def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> Any:
        return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)

    def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> Any:
        return nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    class BasicBlock(nn.Module):
        """With a shortcut, or as a plain block without one."""

        expansion = 1

        def __init__(
            self, in_channels: int, channels: int, stride: int = 1, downsample: Any = None, plain: bool = False
        ) -> None:
            super().__init__()
            self.conv1 = conv3x3(in_channels, channels, stride)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = conv3x3(channels, channels)
            self.bn2 = nn.BatchNorm2d(channels)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = downsample
            self.plain = plain

        def forward(self, x: Any) -> Any:
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            if not self.plain:
                out += x if self.downsample is None else self.downsample(x)
            return self.relu(out)

    class Bottleneck(nn.Module):
        expansion = 4

        def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: Any = None) -> None:
            super().__init__()
            self.conv1 = conv1x1(in_channels, channels)
            self.bn1 = nn.BatchNorm2d(channels)
            self.conv2 = conv3x3(channels, channels, stride)
            self.bn2 = nn.BatchNorm2d(channels)
            self.conv3 = conv1x1(channels, channels * self.expansion)
            self.bn3 = nn.BatchNorm2d(channels * self.expansion)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = downsample

        def forward(self, x: Any) -> Any:
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.relu(self.bn2(self.conv2(out)))
            out = self.bn3(self.conv3(out))
            out += x if self.downsample is None else self.downsample(x)
            return self.relu(out)

    class PadShortcut(nn.Module):
        def __init__(self, added: int) -> None:
            super().__init__()
            self.added = (added // 2, added - added // 2)

        def forward(self, x: Any) -> Any:
            return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, *self.added))

    class CifarResNet(nn.Module):
        def __init__(self, depth: int, plain: bool, num_classes: int, in_channels: int) -> None:
            super().__init__()
            self.conv1 = conv3x3(in_channels, 16)
            self.bn1 = nn.BatchNorm2d(16)
            self.relu = nn.ReLU(inplace=True)
            blocks = (depth - 2) // 6
            for number, channels in enumerate((16, 32, 64), start=1):
                narrow = 16 if number == 1 else channels // 2
                shortcut = None if plain or number == 1 else PadShortcut(channels - narrow)
                first = BasicBlock(narrow, channels, 1 if number == 1 else 2, shortcut, plain)
                rest = [BasicBlock(channels, channels, plain=plain) for _ in range(blocks - 1)]
                setattr(self, f"layer{number}", nn.Sequential(first, *rest))
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(64, num_classes)

        def forward(self, x: Any) -> Any:
            x = self.relu(self.bn1(self.conv1(x)))
            x = self.layer3(self.layer2(self.layer1(x)))
            return self.fc(self.avgpool(x).flatten(1))

    class ResNet(nn.Module):
        def __init__(self, block: Any, layers: tuple[int, ...], num_classes: int, in_channels: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.relu = nn.ReLU(inplace=True)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
            inputs = 64
            for number, (blocks, channels) in enumerate(zip(layers, (64, 128, 256, 512), strict=True), start=1):
                outputs, stride = channels * block.expansion, 1 if number == 1 else 2
                project = stride != 1 or inputs != outputs
                shortcut = nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs)) if project else None
                first = block(inputs, channels, stride, shortcut)
                setattr(
                    self, f"layer{number}", nn.Sequential(first, *(block(outputs, channels) for _ in range(1, blocks)))
                )
                inputs = outputs
            self.avgpool = nn.AdaptiveAvgPool2d(1)
            self.fc = nn.Linear(inputs, num_classes)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(self.avgpool(x).flatten(1))

    class LeNet5(nn.Module):
        def __init__(self, num_classes: int, in_channels: int) -> None:
            super().__init__()
            first = (nn.Conv2d(in_channels, 6, 5), nn.Tanh(), nn.AvgPool2d(2))
            self.features = nn.Sequential(*first, nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2))
            hidden = (nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh())
            self.classifier = nn.Sequential(*hidden, nn.Linear(84, num_classes))

        def forward(self, x: Any) -> Any:
            return self.classifier(self.features(x))

    class SmallCNN(nn.Module):
        def __init__(self, num_classes: int, in_channels: int, height: int, width: int) -> None:
            super().__init__()
            self.conv1 = conv3x3(in_channels, 32)
            self.bn1 = nn.BatchNorm2d(32)
            self.conv2 = conv3x3(32, 64)
            self.bn2 = nn.BatchNorm2d(64)
            self.relu = nn.ReLU(inplace=True)
            self.pool = nn.MaxPool2d(2)
            self.fc = nn.Linear(64 * (height // 4) * (width // 4), num_classes)

        def forward(self, x: Any) -> Any:
            x = self.pool(self.relu(self.bn1(self.conv1(x))))
            x = self.pool(self.relu(self.bn2(self.conv2(x))))
            return self.fc(x.flatten(1))

    def cifar(depth: int, plain: bool) -> Callable[[Workload], Any]:
        return lambda work: CifarResNet(depth, plain, work.num_classes, work.image[0])

    def resnet(block: Any, layers: tuple[int, ...]) -> Callable[[Workload], Any]:
        return lambda work: ResNet(block, layers, work.num_classes, work.image[0])

    depths = (8, 20, 32, 44, 56, 110)
    return {
        "lenet5": lambda work: LeNet5(work.num_classes, work.image[0]),
        **{f"resnet{depth}": cifar(depth, plain=False) for depth in depths},
        **{f"plain{depth}": cifar(depth, plain=True) for depth in depths},
        "resnet18": resnet(BasicBlock, (2, 2, 2, 2)),
        "resnet34": resnet(BasicBlock, (3, 4, 6, 3)),
        "resnet50": resnet(Bottleneck, (3, 4, 6, 3)),
        "small_cnn": lambda work: SmallCNN(work.num_classes, *work.image),
    }


def build_torch(workload: Workload) -> Any:
    """The network of a workload as a torch.nn.Module, in the right mode.

    Raises:
        BackendError: if PyTorch is not installed.
    """
    _torch().manual_seed(0)
    return _networks()[workload.model](workload).train(workload.mode == "train")


def prepare_torch(workload: Workload, channels_last: bool, threads: int) -> Callable[[], None]:
    """Set a workload up in PyTorch on the CPU; what is returned takes one step of it.

    Raises:
        BackendError: if PyTorch is not installed.
    """
    torch = _torch()
    torch.set_num_threads(threads)
    model = build_torch(workload)
    x, target = (torch.from_numpy(array) for array in draw_batch(workload))
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    cross_entropy = torch.nn.functional.cross_entropy

    def train() -> None:
        optimizer.zero_grad()
        cross_entropy(model(x), target).backward()
        optimizer.step()

    def infer() -> None:
        with torch.no_grad():
            model(x)

    return train if workload.mode == "train" else infer


def time_torch_operation(length: int = 1000, repeats: int = 7, clock: Clock = time.perf_counter) -> dict[str, float]:
    """What `time_tape_operation` measures, of PyTorch: seconds for one recorded negation, and for its way back.

    Raises:
        BackendError: if PyTorch is not installed.
    """
    torch = _torch()

    def chain(recorded: bool = True) -> Any:
        value = torch.ones(1, requires_grad=recorded)
        for _ in range(length):
            value = -value
        return value

    return {
        "no_tape": quickest(lambda: chain(recorded=False), repeats, clock) / length,
        "forward": quickest(chain, repeats, clock) / length,
        "backward": min(time_call(chain().backward, clock) for _ in range(repeats)) / length,
    }
