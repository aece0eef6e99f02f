"""The seed and the two streams that come from it."""

import json

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.backend import host_generator, manual_seed, random_state, set_random_state, to_cpu, uniform, xp
from gpunet.data import DataLoader, TensorDataset, random_split
from gpunet.errors import ArgumentError, StateDictError


@pytest.fixture(autouse=True)
def _on_a_backend(backend):
    """Every test runs on each backend."""


def draw_host():
    return host_generator().random(5)


def draw_device():
    return to_cpu(uniform((5,)))


@pytest.mark.parametrize("draw", [draw_host, draw_device])
def test_the_same_seed_repeats_the_stream(draw):
    manual_seed(7)
    first = [draw(), draw()]
    manual_seed(7)
    np.testing.assert_array_equal([draw(), draw()], first)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("draw", [draw_host, draw_device])
def test_seeds_differ(draw):
    drawn = set()
    for seed in range(20):
        manual_seed(seed)
        drawn.add(draw().tobytes())
    assert len(drawn) == 20


def test_the_two_streams_differ():
    manual_seed(0)
    assert not np.array_equal(draw_host().astype(np.float32), draw_device())


def test_neither_stream_disturbs_the_other():
    manual_seed(3)
    host, device = draw_host(), draw_device()
    manual_seed(3)
    draw_device()
    draw_device()
    np.testing.assert_array_equal(draw_host(), host)
    manual_seed(3)
    draw_host()
    draw_host()
    np.testing.assert_array_equal(draw_device(), device)


def test_uniform():
    x = uniform((100, 100))
    assert isinstance(x, xp.ndarray)
    assert x.dtype == np.float32
    values = to_cpu(x)
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 5 / np.sqrt(12 * values.size)  # five standard deviations
    assert abs(np.mean(values < 0.1) - 0.1) < 5 * np.sqrt(0.09 / values.size)
    assert uniform(()).shape == ()
    assert uniform((0, 3)).shape == (0, 3)


def test_weights_and_masks_repeat():
    def weights_and_mask():
        gpunet.manual_seed(5)
        layer = nn.Linear(4, 4)
        mask = gpunet.functional.dropout(gpunet.tensor(np.ones((4, 4), np.float32)))
        return layer.weight.numpy().tobytes(), mask.numpy().tobytes()

    assert weights_and_mask() == weights_and_mask()


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**200, np.int64(5), np.uint8(5)])
def test_seeds_that_are_taken(seed):
    manual_seed(seed)
    first = draw_host()
    manual_seed(int(seed))
    np.testing.assert_array_equal(draw_host(), first)


@pytest.mark.parametrize("seed", [-1, 1.0, "1", None, True, np.int64(-1)])
def test_seeds_that_are_refused(seed):
    manual_seed(1)
    expected = draw_host()
    manual_seed(1)
    with pytest.raises(ArgumentError, match="manual_seed expects a whole number of 0 or more, got"):
        manual_seed(seed)
    np.testing.assert_array_equal(draw_host(), expected)  # the streams are as they were


# Saving and putting back


@pytest.mark.parametrize("shapes", [[], [(5,)], [(3,), (2, 4), (), (3,), (0, 2)], [(7,), (1,), (7,)]])
def test_the_state_comes_back(shapes):
    """Through JSON, and into streams that were somewhere else."""
    manual_seed(4)
    draw_host()
    host_generator().integers(0, 9, 3, dtype=np.uint32)  # half a 64-bit number is left over
    for shape in shapes:
        uniform(shape)
    state = json.loads(json.dumps(random_state()))
    expected = [draw_host(), draw_device(), to_cpu(uniform((3,))), draw_host()]
    manual_seed(5)
    draw_device()
    set_random_state(state)
    np.testing.assert_equal([draw_host(), draw_device(), to_cpu(uniform((3,))), draw_host()], expected)
    set_random_state(state)
    assert json.loads(json.dumps(random_state())) == state


def test_an_unseeded_stream_comes_back():
    gpunet.backend.random._streams = gpunet.backend.random._Streams(None)
    state = random_state()
    expected = [draw_host(), draw_device()]
    set_random_state(state)
    np.testing.assert_equal([draw_host(), draw_device()], expected)


def test_a_long_stream_comes_back_at_once(counters):
    """Whatever was drawn before; and as the first versions noted it, by the sizes of the arrays."""
    manual_seed(4)
    for _ in range(50):
        uniform((300,))
    state = random_state()
    assert state["drawn"] == {"emulated": 50 * 300}
    expected = to_cpu(uniform((7,)))
    for drawn in (50 * 300, {"300": 49, "100": 3}):
        manual_seed(5)
        set_random_state({**state, "drawn": {"emulated": drawn}})
        counters.reset()
        np.testing.assert_array_equal(to_cpu(uniform((7,))), expected)
        assert counters.launches_of == {"uniform": 1}
        assert counters.device_operations == 2  # and it is counted


def test_the_page_makes_the_numbers_of_the_kernel(counters, monkeypatch):
    manual_seed(4)
    expected = [to_cpu(uniform(shape)) for shape in ((1000,), (3, 5), (), (0, 2))]
    monkeypatch.setattr("gpunet.backend.kernels._turned_off", True)
    manual_seed(4)
    counters.reset()
    np.testing.assert_equal([to_cpu(uniform(shape)) for shape in ((1000,), (3, 5), (), (0, 2))], expected)
    assert counters.launches == 0


def test_the_device_counts_in_one_place_for_good(counters):
    """Recorded launches read it there, so a new seed must be written where the old one was."""
    uniform((3,))
    state = gpunet.backend.random._on_device["emulated"].state
    for seed in (1, 2):
        manual_seed(seed)
        launched = to_cpu(state).copy()
        expected = draw_device()
        assert gpunet.backend.random._on_device["emulated"].state is state
        assert launched[1] == 0
        assert to_cpu(state)[1] == 5
        manual_seed(seed)
        np.testing.assert_array_equal(to_cpu(state), launched)
        np.testing.assert_array_equal(draw_device(), expected)


def test_no_step_waits_for_a_random_number(counters):
    uniform((3,))
    counters.reset()
    uniform((3,))
    assert (counters.host_to_device, counters.device_to_host) == (0, 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.clear(),
        lambda s: s.update(host=None),
        lambda s: s["host"].update(bit_generator="MT19937"),
        lambda s: s["host"]["state"].update(state="-1"),
        lambda s: s["host"]["state"].update(state=str(2**128)),
        lambda s: s["host"].pop("has_uint32"),
        lambda s: s.update(device_seed="x"),
        lambda s: s.update(drawn={"cupy": {"5": 0}}),
        lambda s: s.update(drawn={"cupy": {"5": True}}),
        lambda s: s.update(drawn={"cupy": [5]}),
        lambda s: s.update(drawn={"cupy": -5}),
        lambda s: s.update(drawn={"cupy": {}}),
    ],
)
def test_states_that_are_refused(change):
    manual_seed(6)
    state = random_state()
    expected = draw_host()
    manual_seed(6)
    change(state)
    with pytest.raises(StateDictError, match="not the state of the random streams"):
        set_random_state(state)
    np.testing.assert_array_equal(draw_host(), expected)  # the streams are as they were


def test_a_new_generator_begins_from_pytorch_s_first_seed(backend):
    manual_seed(3)
    before = random_state()
    generator = gpunet.Generator()
    assert random_state() == before
    assert generator.initial_seed() == pytest.importorskip("torch").Generator().initial_seed()


def test_a_generator_of_one_s_own(backend):
    """It draws the same again from the same seed, and leaves the common stream where it was."""

    def drawn(generator):
        return [
            gpunet.rand(3, generator=generator).tolist(),
            gpunet.randn(3, generator=generator).tolist(),
            gpunet.randint(0, 9, (3,), generator=generator).tolist(),
            gpunet.randperm(5, generator=generator).tolist(),
            gpunet.bernoulli(gpunet.full((8,), 0.5), generator=generator).tolist(),
            gpunet.multinomial(gpunet.ones(4), 2, generator=generator).tolist(),
            [part.indices.tolist() for part in random_split(numbers, [7, 3], generator=generator)],
            [rows.tolist() for (rows,) in DataLoader(numbers, 5, shuffle=True, generator=generator)],
        ]

    numbers = TensorDataset(gpunet.arange(10).float())
    gpunet.manual_seed(1)
    plain = gpunet.rand(2).tolist()
    gpunet.manual_seed(1)
    first = drawn(gpunet.Generator().manual_seed(42))
    gpunet.manual_seed(1)
    assert drawn(gpunet.Generator("cpu").manual_seed(42)) == first
    assert drawn(gpunet.Generator().manual_seed(43)) != first
    generator = gpunet.Generator()
    assert generator.manual_seed(7).initial_seed() == 7
    gpunet.manual_seed(1)
    drawn(generator)
    assert gpunet.rand(2).tolist() == plain
    with pytest.raises(ArgumentError, match="a seed is a whole number"):
        generator.manual_seed(-1)
    with pytest.raises(ArgumentError, match="generator must be a gpunet"):
        gpunet.rand(2, generator=np.random.default_rng(0))
