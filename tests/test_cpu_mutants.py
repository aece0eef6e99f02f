"""Two hundred bugs seeded into the CPU kernels by rule: at least 95 % are caught, and each that is not is explained."""

import shutil

import pytest

from gpunet.backend.cpu_library import on_tried_platform
from tests.cpu_mutants import EXPLAINED, all_mutants, nothing_changed, verdicts

pytestmark = pytest.mark.skipif(
    not on_tried_platform() or shutil.which("g++") is None, reason="CPU kernels are built on Linux x86-64, by g++"
)


def test_explanations_are_of_mutants_that_there_are():
    assert set(EXPLAINED) <= {mutant.key for mutant in all_mutants()}


@pytest.mark.slow
def test_the_kernels_as_they_are_pass():
    assert nothing_changed() == "survived"


@pytest.mark.slow
def test_mutants_are_caught():
    found = verdicts(200)
    survivors = {mutant.key for mutant, verdict in found if verdict == "survived"}
    assert len(found) == 200
    assert len(survivors) <= 10
    assert survivors <= set(EXPLAINED), sorted(survivors - set(EXPLAINED))
