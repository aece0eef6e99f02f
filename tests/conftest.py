"""What all tests share: the backends that the suite runs on, and a fresh seed for every test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from gpunet.backend import manual_seed, probe_cupy, use_backend


@pytest.fixture(autouse=True)
def _seed() -> None:
    manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(params=["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each backend in turn. One that cannot run here is skipped, with the reason."""
    if request.param == "cupy" and not probe_cupy().ok:
        pytest.skip(f"cupy: {probe_cupy().reason}")
    with use_backend(request.param):
        yield request.param
