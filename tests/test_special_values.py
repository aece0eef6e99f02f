"""Functions such as torch.quantile where PyTorch's own samples do not go: NaN, infinity, small types, refusals."""

import numpy as np
import pytest

import gpunet
from gpunet.errors import ArgumentError, DTypeError, ShapeError

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "mean", "amax", "amin"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "float16", "float32"])
def test_scatter_reduce_of_every_type(dtype, reduce, include_self, torch, rng):
    start, values = (rng.integers(0, 9, shape).astype(dtype) for shape in ((4, 3), (6, 3)))
    if dtype.startswith("float"):
        start[0, 0] = values[1, 1] = np.nan
    places = rng.integers(0, 3, (6, 3))

    def reduced(library):
        tensors = (library.tensor(each) for each in (start, places, values))
        given, index, src = tensors
        return library.scatter_reduce(given, 0, index, src, reduce, include_self=include_self).numpy()

    mine, theirs = reduced(gpunet), reduced(torch)
    np.testing.assert_array_equal(mine, theirs)
    assert mine.dtype == theirs.dtype


@pytest.mark.parametrize(
    "ask",
    [
        lambda lib: lib.quantile(lib.tensor([1.0, float("inf"), 2.0]), 0.5, interpolation="lower"),
        lambda lib: lib.quantile(lib.tensor([float("-inf"), 1.0, 2.0]), 0.5, interpolation="nearest"),
        lambda lib: lib.quantile(lib.tensor([1.0, 3.0, float("inf")]), 0.4, interpolation="lower"),
        lambda lib: lib.xlogy(lib.tensor([0.0, 1.0]), lib.tensor([float("inf"), 2.0])),
        lambda lib: lib.fmod(lib.tensor([5, -7]), 3),
        lambda lib: lib.fmod(lib.tensor([5, 7], dtype=lib.uint8), 3),
        lambda lib: lib.fmod(lib.tensor([True, False]), 3),
        lambda lib: lib.fmod(lib.tensor([5, -7]), 2.5),
        lambda lib: lib.fmod(lib.tensor([5.0, -7.0]), 3),
    ],
)
def test_special_values(torch, ask):
    mine, theirs = ask(gpunet).numpy(), ask(torch).numpy()
    np.testing.assert_allclose(mine, theirs, rtol=1e-6)
    assert mine.dtype == theirs.dtype


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda: gpunet.quantile(gpunet.ones(3), gpunet.zeros(2, 2)), ShapeError),
        (lambda: gpunet.cov(gpunet.ones(2, 3), fweights=gpunet.tensor([1, -1, 2])), ArgumentError),
        (lambda: gpunet.cov(gpunet.ones(2, 3), fweights=gpunet.tensor([1.0, 1.0, 2.0])), ArgumentError),
        (lambda: gpunet.cov(gpunet.ones(2, 3), aweights=gpunet.tensor([1.0, -1.0, 2.0])), ArgumentError),
        (lambda: gpunet.searchsorted(gpunet.ones(3), gpunet.ones(2), right=True, side="left"), ArgumentError),
        (lambda: gpunet.index_put(gpunet.ones(3), ([0],), gpunet.ones(1)), DTypeError),
    ],
)
def test_what_pytorch_refuses_is_refused(ask, error):
    with pytest.raises(error):
        ask()
