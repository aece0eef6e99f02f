"""Model files of other people, as they are written, with gpunet under the name of torch; and the same with PyTorch.

`import torch` gives them gpunet, `torch.nn` is `gpunet.nn`. What registers models and describes their weights is a
stand-in: it has nothing to do with networks.
"""

import contextlib
import importlib
import sys
import types

import numpy as np

import gpunet
from gpunet import tensor

UNDER_TORCH_S_NAME = ["nn", "nn.functional", "nn.init", "utils", "utils.checkpoint", "jit", "fx"]
FAMILIES = ("torch", "torchvision", "timm")
# Default arguments, and bases of classes, for what no classifier of images uses.
NOT_USED = [(gpunet.nn, "Conv3d"), (gpunet.nn, "BatchNorm3d"), (gpunet.nn.functional, "interpolate")]


class Anything:
    """Stands for descriptions of weights, presets of images, and whatever else a network does not consist of."""

    def __init__(self, *args, **kwargs):
        pass

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self


def stand_in(name, names):
    made = types.ModuleType(name)
    vars(made).update(names, __path__=[])
    return made


def modules_of_gpunet():
    """The modules of torch, which are gpunet's."""
    under = {f"torch.{name}": importlib.import_module(f"gpunet.{name}") for name in UNDER_TORCH_S_NAME}
    return {"torch": gpunet, "torch.jit.annotations": stand_in("torch.jit.annotations", {"List": list}), **under}


def modules_of_pytorch():
    """The modules of torch, which are PyTorch's."""
    for name in ("torch.fx", "torch.utils.checkpoint"):
        importlib.import_module(name)
    return {name: each for name, each in sys.modules.items() if name.split(".")[0] == "torch"}


def of_these_families(names):
    return [name for name in names if name.partition(".")[0] in FAMILIES]


@contextlib.contextmanager
def importing(modules):
    """Let files find these modules, and nothing else of torch and of those who write for it; yields what there is."""
    before = {name: sys.modules.pop(name) for name in of_these_families(list(sys.modules))}
    sys.modules.update(modules)
    lacking = [(place, name) for place, name in NOT_USED if not hasattr(place, name)]
    for place, name in lacking:
        setattr(place, name, type(name, (), {}))
    try:
        yield
        modules.update({name: sys.modules[name] for name in of_these_families(list(sys.modules))})
    finally:
        for place, name in lacking:
            delattr(place, name)
        for name in of_these_families(list(sys.modules)):
            del sys.modules[name]
        sys.modules.update(before)


# --------------------------------------------------------------------------------------------------------- comparison


def without_chance(model):
    """Dropout and stochastic depth draw other random numbers: here they drop nothing."""
    for each in model.modules():
        for name in ("p", "drop_prob", "drop_rate"):
            if isinstance(getattr(each, name, None), float):
                setattr(each, name, 0.0)


def check_network(ours, theirs, torch, width):
    """Compare networks with the same weights: names, logits and gradients, and the statistics of batch norm."""
    without_chance(ours)
    without_chance(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((4, 3, width, width)).astype(np.float32)
    check_outputs(ours.eval()(tensor(x)), theirs.eval()(torch.from_numpy(x)))
    # Where a hundred layers normalise a few images, float32 is noise in both; and so are gradients that nearly cancel.
    mine = ours.train().double()(tensor(x).double())
    right = theirs.train().double()(torch.from_numpy(x).double())
    check_outputs(mine, right)
    expected = gradients(theirs, right, torch.from_numpy)
    largest = max(np.abs(each).max() for each in expected.values())
    for path, gradient in gradients(ours, mine, tensor).items():
        atol = 1e-3 * np.abs(expected[path]).max() + 1e-9 * largest
        np.testing.assert_allclose(gradient, expected[path], rtol=0, atol=atol, err_msg=path)
    for path, statistic in ours.named_buffers():
        expected = theirs.get_buffer(path).numpy()
        np.testing.assert_allclose(statistic.numpy(), expected, rtol=1e-4, atol=1e-4, err_msg=path)


def outputs_of(output):
    """All outputs in a list: googlenet and inception have auxiliary ones while they train."""
    return list(output) if isinstance(output, tuple) else [output]


def check_outputs(mine, right):
    for one, other in zip(outputs_of(mine), outputs_of(right), strict=True):
        other = other.detach().numpy()
        np.testing.assert_allclose(one.detach().numpy(), other, rtol=0, atol=1e-4 * max(1, np.abs(other).max()))


def gradients(model, output, tensor):
    """Of a random sum of all outputs, by the parameters."""
    outputs = outputs_of(output)
    weights = [np.random.default_rng(i).standard_normal(tuple(each.shape)) for i, each in enumerate(outputs)]
    sum((each * tensor(weight)).sum() for each, weight in zip(outputs, weights, strict=True)).backward()
    return {path: parameter.grad.numpy() for path, parameter in model.named_parameters()}
