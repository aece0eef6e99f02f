"""The loss surface against the paper's definition, numbers worked out in float64, and shapes whose bends are known."""

import numpy as np
import pytest

from gpunet.errors import ArgumentError, DTypeError, LabelError, ShapeError
from gpunet.functional import cross_entropy
from gpunet.nn import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, Module, ReLU, Sequential
from gpunet.tape import is_grad_enabled, no_grad
from gpunet.tensor import tensor
from gpunet.visualize import LossSurface, loss_surface

backends = pytest.mark.usefixtures("backend")


def network():
    return Sequential(
        Conv2d(2, 3, 3, padding=1), BatchNorm2d(3), ReLU(), Dropout(), Conv2d(3, 4, 3), Flatten(), Linear(16, 3)
    )


def batch(rng, count=6):
    images = tensor(rng.standard_normal((count, 2, 4, 4)).astype(np.float32))
    return images, tensor(np.arange(count) % 3)


class Watched(Module):
    """Passes images on to a network, and hands its weights to a function each time."""

    def __init__(self, net, see):
        super().__init__()
        self.net = net
        self.see = [see]  # a copy of the Module has the same function, but would bind one that is a method

    def forward(self, x):
        self.see[0](self.net)
        return self.net(x)


def weights_of(net):
    return {name: parameter.numpy().copy() for name, parameter in net.named_parameters()}


def cross_entropy_by_hand(logits, labels):
    """-log softmax at the label, in float64, one image at a time."""
    total = 0.0
    for row, label in zip(np.asarray(logits, np.float64), labels, strict=True):
        total += np.log(np.exp(row - row.max()).sum()) + row.max() - row[label]
    return total / len(labels)


# The directions


def moved_weights(rng, steps=3):
    """The weights at each point of a surface, by its place in the grid: {(i, j): {name: array}}."""
    seen = []
    images, labels = batch(rng)
    loss_surface(Watched(network(), lambda net: seen.append(weights_of(net))), images, labels, steps=steps)
    assert len(seen) == steps**2
    return dict(zip(np.ndindex(steps, steps), seen, strict=True))


def test_each_filter_of_a_direction_is_as_long_as_that_of_the_network(rng):
    points = moved_weights(rng)
    for name in ("0.weight", "4.weight", "6.weight"):
        for end in ((2, 1), (1, 2)):  # alpha = 1, and beta = 1
            for start, moved in zip(points[1, 1][name], points[end][name], strict=True):
                np.testing.assert_allclose(np.linalg.norm(moved - start), np.linalg.norm(start), rtol=1e-5)


def test_directions_are_random_and_not_the_same(rng):
    points = moved_weights(rng)
    directions = np.stack(
        [
            np.concatenate([(points[end][name] - points[1, 1][name]).ravel() for name in points[end]])
            for end in ((2, 1), (1, 2))
        ]
    )
    cosine = directions[0] @ directions[1] / np.prod(np.linalg.norm(directions, axis=1))
    assert abs(cosine) < 0.2  # two random directions are almost at right angles
    start = np.concatenate([each.ravel() for each in points[1, 1].values()])
    assert abs(directions[0] @ start) < 0.2 * np.linalg.norm(start) * np.linalg.norm(directions[0])


def test_biases_and_batch_norm_stay(rng):
    points = moved_weights(rng)
    for name in ("0.bias", "1.weight", "1.bias", "4.bias", "6.bias"):
        for weights in points.values():
            np.testing.assert_array_equal(weights[name], points[1, 1][name])


def test_the_weights_are_the_sum_of_both_directions(rng):
    points = moved_weights(rng, steps=5)
    for name, start in points[2, 2].items():
        along_alpha, along_beta = points[4, 2][name] - start, points[2, 4][name] - start
        for (i, j), weights in points.items():
            expected = start + (i / 2 - 1) * along_alpha + (j / 2 - 1) * along_beta
            np.testing.assert_allclose(weights[name], expected, atol=1e-6)


def test_a_network_that_is_only_scaled_has_the_same_surface(rng):
    """What filter normalisation is for: filters four times as large, read by weights a quarter as large."""
    images, labels = batch(rng)
    net = Sequential(Conv2d(2, 3, 3, bias=False), ReLU(), Flatten(), Linear(12, 3, bias=False))
    before = loss_surface(net, images, labels, steps=5)
    weights = weights_of(net)
    net.load_state_dict({"0.weight": 4 * weights["0.weight"], "3.weight": weights["3.weight"] / 4})
    np.testing.assert_allclose(loss_surface(net, images, labels, steps=5).losses, before.losses, rtol=1e-6)


def test_a_filter_of_zeros_stays(rng):
    images, labels = batch(rng)
    net = network()
    net[0].weight.data[1] = 0
    seen = []
    loss_surface(Watched(net, lambda net: seen.append(net[0].weight.numpy()[1].copy())), images, labels, steps=3)
    assert not np.any(seen)


# The losses


@backends
def test_losses_by_hand(rng):
    images, labels = batch(rng)
    weight = []
    net = Watched(Sequential(Flatten(), Linear(32, 3)), lambda net: weight.append(net[1].weight.numpy().copy()))
    surface = loss_surface(net, images, labels, span=2.0, steps=5)
    np.testing.assert_array_equal(surface.alphas, [-2, -1, 0, 1, 2])
    np.testing.assert_array_equal(surface.betas, surface.alphas)
    rows, bias = images.numpy().reshape(6, 32).astype(np.float64), net.net[1].bias.numpy()
    expected = [cross_entropy_by_hand(rows @ each.T + bias, labels.numpy()) for each in weight]
    np.testing.assert_allclose(surface.losses.ravel(), expected, rtol=1e-5)
    assert surface.losses.dtype == np.float64


@backends
def test_in_the_middle_is_the_network_as_it_is_used(rng):
    """Batch norm with its running statistics, dropout off, although the network is in training."""
    images, labels = batch(rng)
    net = network()
    net(images)  # moves the running statistics
    surface = loss_surface(net, images, labels, steps=3)
    with no_grad():
        expected = cross_entropy(net.eval()(images), labels).item()
    assert surface.centre == pytest.approx(expected, rel=1e-6)


def test_the_batch_size_makes_no_difference(rng):
    images, labels = batch(rng, count=7)
    net = network()
    whole = loss_surface(net, images, labels, steps=3)
    np.testing.assert_allclose(loss_surface(net, images, labels, steps=3, batch_size=3).losses, whole.losses, rtol=1e-5)


def test_labels_may_be_probabilities(rng):
    images, labels = batch(rng)
    net = network()
    one_hot = tensor(np.eye(3, dtype=np.float32)[labels.numpy()])
    np.testing.assert_allclose(
        loss_surface(net, images, one_hot, steps=3).losses, loss_surface(net, images, labels, steps=3).losses, rtol=1e-5
    )


def test_the_seed_decides(rng):
    images, labels = batch(rng)
    net = network()
    first, again, other = (loss_surface(net, images, labels, steps=3, seed=seed).losses for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).sum() == 8  # all but the middle


def state_of(net):
    return (
        {name: value.numpy().tobytes() for name, value in net.state_dict().items()},
        [parameter.grad.numpy().tobytes() for parameter in net.parameters()],
        [module.training for module in net.modules()],
    )


def test_the_network_is_left_as_it_was(rng):
    images, labels = batch(rng)
    net = network()
    cross_entropy(net(images), labels).backward()
    net[2].eval()
    before = state_of(net)
    loss_surface(net, images, labels, steps=3)
    assert state_of(net) == before


def test_the_network_is_left_as_it_was_by_ctrl_c_too(rng):
    images, labels = batch(rng)
    net = network()
    cross_entropy(net(images), labels).backward()
    before = state_of(net)
    calls = []

    def interrupt(_):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loss_surface(Watched(net, interrupt), images, labels, steps=3)
    assert state_of(net) == before
    assert is_grad_enabled()


def test_nothing_is_recorded(rng):
    images, labels = batch(rng)
    recording = []
    loss_surface(Watched(network(), lambda _: recording.append(is_grad_enabled())), images, labels, steps=3)
    assert recording == [False] * 9


def test_no_progress_where_nobody_watches(rng, capsys):
    loss_surface(network(), *batch(rng), steps=3)
    assert capsys.readouterr() == ("", "")


@backends
def test_a_network_that_overflows_has_losses_that_are_not_finite(rng):
    images, labels = batch(rng)
    net = Sequential(Flatten(), Linear(32, 8, bias=False), Linear(8, 3, bias=False))
    net[1].weight.data *= 1e19
    net[2].weight.data *= 1e19
    surface = loss_surface(net, images, labels, span=4.0, steps=5)
    assert not surface.finite[0, 0]
    assert np.isnan(surface.nonconvexity) or 0 <= surface.nonconvexity <= 1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"steps": 4}, ArgumentError, "steps must be odd.*got 4"),
        ({"steps": 1}, ArgumentError, "steps must be 3 or more"),
        ({"steps": 3.0}, ArgumentError, "steps must be a whole number"),
        ({"span": 0}, ArgumentError, "span must be a finite number above 0"),
        ({"span": float("inf")}, ArgumentError, "span must be a finite number above 0"),
        ({"seed": -1}, ArgumentError, "seed must be 0 or more"),
        ({"batch_size": 0}, ArgumentError, "batch_size must be 1 or more"),
        ({"model": Sequential(Flatten(), BatchNorm2d(2))}, ArgumentError, "Sequential has no weights"),
        ({"images": tensor(np.ones((2, 4, 4), np.float32))}, ShapeError, r"\(N, C, H, W\)"),
        ({"images": np.ones((6, 2, 4, 4))}, DTypeError, "must be a Tensor"),
        ({"labels": tensor([0, 1])}, ShapeError, "a label for each of 6 images, got 2"),
        ({"labels": tensor([0, 1, 2, 0, 1, 3])}, LabelError, "3"),
    ],
)
def test_mistakes(settings, error, message, rng):
    images, labels = batch(rng)
    with pytest.raises(error, match=message):
        loss_surface(**{"model": network(), "images": images, "labels": labels, "steps": 3, **settings})


# What is read off a surface


AXIS = np.arange(-10, 11) / 10
ALPHA, BETA = np.meshgrid(AXIS, AXIS, indexing="ij")


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        (ALPHA**2 + 3 * BETA**2, 0),  # a bowl
        (1 + (ALPHA + BETA) ** 2 / 4, 0),  # a valley, askew: straight along its floor, but for rounding
        (ALPHA**2 - BETA**2 / 9, 1),  # a saddle
        (ALPHA * BETA, 1),  # a saddle that bends only between the axes
        (5 - ALPHA**2 - BETA**2, 1),  # a hill
        (np.where(ALPHA < 0, -(ALPHA**2), ALPHA**2), 9 / 19),  # of 19 inner rows the first nine bend down
    ],
)
def test_nonconvexity_of_shapes_whose_bends_are_known(losses, share):
    assert LossSurface(AXIS, AXIS, losses).nonconvexity == pytest.approx(share)


def test_what_is_not_finite_does_not_count():
    losses = np.where(ALPHA < 0, -(ALPHA**2), ALPHA**2)
    losses[AXIS < -0.55] = np.inf  # leaves rows 5 to 20, of which 6 to 19 have neighbours; four of them bend down
    surface = LossSurface(AXIS, AXIS, losses)
    assert surface.nonconvexity == pytest.approx(4 / 14)
    assert surface.finite.sum() == 16 * 21
    assert np.isnan(LossSurface(AXIS, AXIS, np.full((21, 21), np.nan)).nonconvexity)


def test_rise_of_a_round_bowl():
    surface = LossSurface(AXIS, AXIS, 7 + ALPHA**2 + BETA**2)
    assert surface.centre == 7
    assert surface.rise(0) == 0
    for radius in (0.3, 0.5, 1.0):
        assert surface.rise(radius) == pytest.approx(radius**2, abs=0.05 * 2 * radius + 0.05**2)
    with pytest.raises(ArgumentError, match=r"no point at a distance of 1\.5"):
        surface.rise(1.5)
