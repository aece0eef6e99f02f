"""`gpunet.nn.utils` beside `torch.nn.utils`: norms, vectors of parameters, fused batch norm, computed weights."""

import copy
import inspect
import math
import types

import numpy as np
import pytest

import gpunet
from gpunet import nn, optim
from gpunet.errors import ArgumentError, NonFiniteError, ShapeError
from gpunet.nn import utils
from tests.reference import close

pytestmark = [pytest.mark.usefixtures("backend"), pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")]


def parameters(library, make):
    rng = np.random.default_rng(0)
    found = []
    for shape in ((3, 2), (4,), (1, 2, 2)):
        each = library.Parameter(make(rng.standard_normal(shape)))
        each.grad = make(rng.standard_normal(shape) * 10)
        found.append(each)
    return found


# ------------------------------------------------------------------------------------------------------------- norms


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
def test_norms_and_clipping_by_them(torch, norm_type):
    ours, theirs = parameters(nn, gpunet.tensor), parameters(torch.nn, torch.tensor)
    results = []
    for library, several in ((utils, ours), (torch.nn.utils, theirs)):
        norm = library.get_total_norm([each.grad for each in several], norm_type)
        library.clip_grads_with_norm_(several, 3.0, norm, foreach=None)
        results.append([norm.numpy(), *(each.grad.numpy() for each in several)])
    for one, other in zip(*results, strict=True):
        close(one, other, 1e-12)
    utils.clip_grads_with_norm_(ours, 1e9, gpunet.tensor(1.0))
    close(ours[0].grad.numpy(), results[0][1], 1e-12)
    assert utils.get_total_norm([]).item() == 0
    assert utils.clip_grad_norm_ is optim.clip_grad_norm_


def test_what_norms_refuse():
    infinite = gpunet.tensor([math.inf])
    for ask, error, words in (
        (lambda: utils.get_total_norm([infinite], error_if_nonfinite=True), NonFiniteError, "norm of inf"),
        (lambda: utils.get_total_norm([3]), ArgumentError, "get_total_norm: parameter 0 must be a Tensor, got int"),
        (lambda: utils.get_total_norm(infinite, 0), ArgumentError, "norm_type"),
        (lambda: utils.clip_grads_with_norm_([], -1, infinite), ArgumentError, "max_norm"),
        (lambda: utils.clip_grads_with_norm_([], 1.0, 3.0), ArgumentError, "total_norm must be a Tensor"),
    ):
        with pytest.raises(error, match=words):
            ask()


# ------------------------------------------------------------------------------------------------------------ vectors


def test_parameters_as_a_vector(torch):
    ours, theirs = parameters(nn, gpunet.tensor), parameters(torch.nn, torch.tensor)
    vector, right = utils.parameters_to_vector(ours), torch.nn.utils.parameters_to_vector(theirs)
    assert vector.tolist() == right.tolist()
    (vector * vector).sum().backward()
    weight = ours[0]
    before = weight.grad.clone()
    utils.vector_to_parameters(gpunet.arange(14.0, dtype="float64"), iter(ours))
    assert ours[0] is weight
    assert (weight.tolist(), ours[2].tolist()) == ([[0, 1], [2, 3], [4, 5]], [[[10, 11], [12, 13]]])
    assert weight.requires_grad
    assert weight.grad.tolist() == before.tolist()
    for size in (13, 15):
        with pytest.raises(ShapeError, match=f"have 14 numbers, got a Tensor of \\({size},\\)"):
            utils.vector_to_parameters(gpunet.zeros(size), ours)
    assert weight.tolist() == [[0, 1], [2, 3], [4, 5]]


# ------------------------------------------------------------------------------------------------------------- fusing

FUSED = {
    "Conv2d": ((4, 6, 3), {"groups": 2}, (2, 4, 5, 5), "BatchNorm2d", {}),
    "Conv1d": ((4, 6, 3), {"bias": False}, (2, 4, 5), "BatchNorm1d", {}),
    "ConvTranspose2d": ((4, 6, 3), {}, (2, 4, 5, 5), "BatchNorm2d", {"transpose": True}),
    "ConvTranspose1d": ((4, 6, 3), {}, (2, 4, 5), "BatchNorm1d", {"transpose": True}),
    "Linear": ((4, 6), {}, (3, 4), "BatchNorm1d", {}),
}


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("kind", FUSED)
def test_a_fused_layer_computes_the_same(torch, kind, affine):
    arguments, settings, shape, norm, how = FUSED[kind]
    pairs = []
    for library, make in ((nn, gpunet.tensor), (torch.nn, torch.tensor)):
        layer = getattr(library, kind)(*arguments, **settings).double()
        batch_norm = getattr(library, norm)(6, affine=affine).double()
        pairs.append((library, make, layer, batch_norm))
    torch.manual_seed(0)
    for mine, theirs in zip(pairs[0][2:], pairs[1][2:], strict=True):
        if hasattr(theirs, "running_var"):
            for each in (theirs.running_mean, theirs.running_var, *theirs.parameters()):
                each.data.uniform_(0.5, 2)
        mine.load_state_dict(theirs.state_dict())
    x, found = np.random.default_rng(0).standard_normal(shape), []
    for library, make, layer, batch_norm in pairs:
        if library is torch.nn and kind == "Linear" and not affine:
            continue  # which PyTorch cannot
        fuse = library.utils.fuse_linear_bn_eval if kind == "Linear" else library.utils.fuse_conv_bn_eval
        fused = fuse(layer.eval(), batch_norm.eval(), **how)
        assert type(fused) is type(layer)
        close(fused(make(x)).detach().numpy(), batch_norm(layer(make(x))).detach().numpy(), 1e-9, 1e-12)
        found.append(fused.state_dict())
    for name, value in found[-1].items():
        close(found[0][name].numpy(), value.numpy(), 1e-9, 1e-12)


def test_what_fusing_refuses():
    conv, batch_norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)
    with pytest.raises(ArgumentError, match=r"\.eval\(\)"):
        utils.fuse_conv_bn_eval(conv, batch_norm)
    with pytest.raises(ArgumentError, match="no running statistics"):
        utils.fuse_conv_bn_eval(conv.eval(), nn.BatchNorm2d(3, track_running_stats=False).eval())
    with pytest.raises(ArgumentError, match="5 outputs, but 3 features"):
        utils.fuse_linear_bn_eval(nn.Linear(2, 5), batch_norm)


# --------------------------------------------------------------------------------------------------- computed weights

COMPUTED = {
    "weight_norm": [
        ("Linear", (3, 4), (2, 3), {}),
        ("Linear", (3, 4), (2, 3), {"dim": 1}),
        ("Linear", (3, 4), (2, 3), {"dim": None}),
        ("Conv2d", (2, 3, 3), (2, 2, 5, 5), {}),
        ("ConvTranspose1d", (2, 3, 3), (2, 2, 5), {"dim": -1}),
        ("Linear", (3, 4), (2, 3), {"name": "bias"}),
    ],
    "spectral_norm": [
        ("Linear", (3, 4), (2, 3), {}),
        ("Conv2d", (2, 3, 3), (2, 2, 5, 5), {"n_power_iterations": 3}),
        ("ConvTranspose2d", (2, 3, 3), (2, 2, 5, 5), {}),
        ("Conv1d", (2, 3, 3), (2, 2, 5), {"dim": 1}),
    ],
}


@pytest.mark.parametrize(
    ("function", "case"), [(name, number) for name, cases in COMPUTED.items() for number in range(len(cases))]
)
def test_computed_weights_learn_as_in_pytorch(torch, function, case):
    kind, arguments, shape, settings = COMPUTED[function][case]
    theirs = getattr(torch.nn.utils, function)(getattr(torch.nn, kind)(*arguments).double(), **settings)
    ours = getattr(utils, function)(getattr(nn, kind)(*arguments).double(), **settings)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    ours.load_state_dict(theirs.state_dict())
    mine, right = optim.SGD(ours.parameters(), lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    rng = np.random.default_rng(0)
    for training in (True, True, False, True):
        x = rng.standard_normal(shape)
        for layer, optimizer, make in ((ours, mine, gpunet.tensor), (theirs, right, torch.tensor)):
            layer.train(training)
            optimizer.zero_grad()
            out = layer(make(x)) + layer(make(x[::-1].copy()))  # twice: the power iteration goes on in between
            (out * out).sum().backward()
            optimizer.step()
        for name, value in theirs.state_dict().items():
            close(ours.state_dict()[name].numpy(), value.numpy(), 1e-8, 1e-10)
    name = settings.get("name", "weight")
    remove = f"remove_{function}"
    getattr(torch.nn.utils, remove)(theirs, name)
    getattr(utils, remove)(ours, name)
    assert sorted(ours.state_dict()) == sorted(theirs.state_dict()) == ["bias", "weight"]
    close(ours.state_dict()[name].numpy(), theirs.state_dict()[name].numpy(), 1e-8, 1e-10)
    close(ours(gpunet.tensor(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), 1e-8, 1e-10)
    with pytest.raises(ArgumentError, match=f"{function} was not called for '{name}'"):
        getattr(utils, remove)(ours, name)


@pytest.mark.parametrize("function", COMPUTED)
def test_a_copy_computes_its_own_weight(function):
    layer = getattr(utils, function)(nn.Linear(2, 2))
    layer(gpunet.ones(1, 2))
    twin, x = copy.deepcopy(layer.eval()), gpunet.ones(1, 2)
    before = layer(x).tolist()
    with gpunet.no_grad():
        for each in twin.parameters():
            each.add_(1)
    assert twin(x).tolist() != before
    assert layer(x).tolist() == before
    getattr(utils, f"remove_{function}")(twin)
    assert isinstance(twin.weight, nn.Parameter)
    assert not isinstance(layer.weight, nn.Parameter)
    with pytest.raises(ArgumentError, match=f"{function}: Linear has no parameter 'weight'"):
        getattr(utils, function)(layer)


# --------------------------------------------------------------------------------------------------- what is not there


@pytest.mark.parametrize("function", [utils.weight_norm, utils.spectral_norm])
@pytest.mark.parametrize("dim", [2, -3])
def test_a_dimension_that_is_not_there(function, dim):
    with pytest.raises(ShapeError, match="dim"):
        function(nn.Linear(2, 3), dim=dim)


def test_a_dimension_from_the_end(torch):
    mine, theirs = (library.nn.utils.weight_norm(library.nn.Conv1d(2, 4, 3), dim=-2) for library in (gpunet, torch))
    assert mine.weight_g.shape == tuple(theirs.weight_g.shape) == (1, 2, 1)


def test_every_layer_and_utility_of_pytorch_is_there_or_says_what_to_do(torch):
    for theirs, ours in ((torch.nn, nn), (torch.nn.utils, utils)):
        names = [name for name in dir(theirs) if not name.startswith("_")]
        if ours is nn:
            names = [name for name in names if inspect.isclass(getattr(theirs, name))]
        silent = []
        for name in names:
            if isinstance(getattr(theirs, name), types.ModuleType) and name not in ("parametrize", "stateless"):
                continue
            try:
                getattr(ours, name)
            except AttributeError as error:
                if f"has no {name}: " not in str(error):
                    silent.append(name)
        assert not silent
    with pytest.raises(AttributeError, match=r"no Conv3d: there are no volumes"):
        nn.Conv3d  # noqa: B018
    with pytest.raises(AttributeError, match=r"no LazyLinear: .*number of channels"):
        nn.LazyLinear  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'Cnov2d'"):
        nn.Cnov2d  # noqa: B018
