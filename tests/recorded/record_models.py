"""Record from PyTorch what tests/test_models.py compares with: `python tests/recorded/record_models.py`.

One training step (forward, cross-entropy, backward) and one evaluation of ResNet-8 with either shortcut, in float64.

    weights/{name}               float16, for the network with shortcut B; the one with shortcut A has fewer of them
    input, labels                the batch
    {shortcut}/logits            in training
    {shortcut}/loss
    {shortcut}/gradients/{name}  `thin` of the gradient, followed by its norm
    {shortcut}/buffers/{name}    the running statistics after the step
    {shortcut}/evaluation        the logits in evaluation, after the step

The names of the state_dict in PyTorch's order are in the file's metadata: "names", by shortcut, as JSON.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn


class Pad(nn.Module):
    """Shortcut A."""

    def forward(self, x):
        added = x.shape[1] // 2
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, added, added))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, shortcut):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if inputs == outputs:
            self.downsample = nn.Identity()
        elif shortcut == "A":
            self.downsample = Pad()
        else:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class ResNet8(nn.Module):
    def __init__(self, shortcut):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1, shortcut))
        self.layer2 = nn.Sequential(Block(16, 32, 2, shortcut))
        self.layer3 = nn.Sequential(Block(32, 64, 2, shortcut))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


def thin(array):
    """At most about a thousand elements, evenly spread."""
    return array.ravel()[:: 1 + array.size // 1024]


def draw_weights(model, rng):
    weights = {}
    for name, value in model.named_parameters():
        shape = tuple(value.shape)
        if len(shape) > 1:
            weights[name] = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float16)
        else:
            weights[name] = rng.uniform(0.5, 1.5, shape).astype(np.float16)
    return weights


def record_network(shortcut, weights, x, labels):
    model = ResNet8(shortcut).double()
    model.load_state_dict({n: torch.from_numpy(w) for n, w in weights.items() if n in model.state_dict()}, strict=False)
    logits = model(x)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    record = {"logits": logits, "loss": loss, "evaluation": model.eval()(x)}
    record |= {f"buffers/{name}": value for name, value in model.named_buffers()}
    record = {name: value.detach().numpy() for name, value in record.items()}
    for name, parameter in model.named_parameters():
        gradient = parameter.grad.numpy()
        record[f"gradients/{name}"] = np.append(thin(gradient), np.linalg.norm(gradient))
    return {f"{shortcut}/{name}": value for name, value in record.items()}, list(model.state_dict())


def main():
    rng = np.random.default_rng(0)
    weights = draw_weights(ResNet8("B"), rng)
    x, labels = rng.normal(size=(4, 3, 9, 10)), rng.integers(0, 10, 4)
    record = {f"weights/{name}": value for name, value in weights.items()} | {"input": x, "labels": labels}
    names = {}
    for shortcut in ("A", "B"):
        arrays, names[shortcut] = record_network(shortcut, weights, torch.from_numpy(x), torch.from_numpy(labels))
        record |= arrays
    arrays = {name: np.ascontiguousarray(values).reshape(values.shape) for name, values in record.items()}
    save_file(arrays, Path(__file__).with_name("models.safetensors"), {"names": json.dumps(names)})


if __name__ == "__main__":
    main()
