"""`device=` and `dtype=` of constructors: which layers have them, and what comes of them; PyTorch's are the same."""

import inspect

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.errors import ArgumentError, BackendError, DTypeError

LAYERS = {
    "BatchNorm1d": ((3,), {}),
    "BatchNorm2d": ((3,), {}),
    "Conv1d": ((2, 4, 3), {"groups": 2}),
    "Conv2d": ((2, 4, 3), {}),
    "ConvTranspose1d": ((2, 4, 3), {}),
    "ConvTranspose2d": ((2, 4, 3), {}),
    "GroupNorm": ((2, 4), {}),
    "InstanceNorm1d": ((3,), {"affine": True, "track_running_stats": True}),
    "InstanceNorm2d": ((3,), {"affine": True, "track_running_stats": True}),
    "LayerNorm": (((2, 3),), {}),
    "Linear": ((2, 3), {}),
    "PReLU": ((3,), {}),
    "RMSNorm": ((4,), {}),
    "SyncBatchNorm": ((3,), {}),
}
pytestmark = pytest.mark.usefixtures("backend")


def made(name, **more):
    arguments, settings = LAYERS[name]
    return getattr(nn, name)(*arguments, **settings, **more)


def test_the_layers_that_have_them_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    for name in nn.__all__:
        layer, theirs = getattr(nn, name), getattr(torch.nn, name, None)
        if inspect.isclass(layer) and theirs is not None and name not in ("Module", "Parameter", "Sequential"):
            positions = [list(inspect.signature(each.__init__).parameters) for each in (layer, theirs)]
            assert ("dtype" in positions[0]) == ("dtype" in positions[1]) == (name in LAYERS), name
            if name in LAYERS:
                assert positions[0] == positions[1], name


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_parameters_and_buffers_are_of_the_type(name, dtype):
    torch = pytest.importorskip("torch")
    arguments, settings = LAYERS[name]
    theirs = getattr(torch.nn, name)(*arguments, **settings, dtype=getattr(torch, dtype)).state_dict()
    ours = made(name, dtype=getattr(gpunet, dtype)).state_dict()
    assert {key: f"torch.{value.dtype}" for key, value in ours.items()} == {k: str(v.dtype) for k, v in theirs.items()}
    assert {value.dtype for value in made(name).parameters()} == {np.dtype("float32")}


def test_numbers_of_float64_are_drawn_in_float64():
    gpunet.manual_seed(0)
    wide = nn.Linear(20, 20, dtype="float64").weight.numpy()
    gpunet.manual_seed(0)
    usual = nn.Linear(20, 20).weight.numpy()
    assert (wide.astype("float32") == usual).all()
    assert (wide != usual).all()


@pytest.mark.parametrize("name", LAYERS)
def test_the_device_is_that_of_the_backend(name, backend):
    here, other = ("cpu", "cuda") if backend == "numpy" else ("cuda", "cpu")
    assert {each.device.type for each in made(name, device=here).parameters()} == {here}
    assert made(name, device=gpunet.device(here), dtype=None).state_dict().keys() == made(name).state_dict().keys()
    with pytest.raises(BackendError, match=rf"{name}: the device {other} .* gpunet.use_backend"):
        made(name, device=other)
    with pytest.raises(ArgumentError, match="'meta'"):
        made(name, device="meta")


@pytest.mark.parametrize("dtype", ["int64", "bool", gpunet.uint8])
@pytest.mark.parametrize("name", LAYERS)
def test_a_type_of_whole_numbers_is_an_error(name, dtype):
    with pytest.raises(DTypeError, match=f"{name}: dtype must be a type of floats"):
        made(name, dtype=dtype)
