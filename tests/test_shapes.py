"""The drawn figures: what decides on an image, and that they are the figures they are called."""

import numpy as np
import pytest

from gpunet.data import DATASETS, Shapes, dataset_statistics
from gpunet.data.shapes import _corners, _distance
from gpunet.data.transforms import ToFloat
from gpunet.errors import ArgumentError


@pytest.fixture(scope="module")
def shapes():
    return Shapes(count=600)


def test_counts_types_and_classes(shapes):
    assert (shapes.images.shape, shapes.images.dtype) == ((600, 3, 32, 32), np.uint8)
    assert shapes.classes == ("triangle", "square", "circle", "star", "cross", "line")
    assert np.bincount(shapes.labels).tolist() == [100] * 6
    assert (len(Shapes(train=False)), Shapes(count=5, size=48).images.shape) == (1200, (5, 3, 48, 48))


def test_an_image_depends_on_seed_set_and_number_alone(shapes):
    np.testing.assert_array_equal(Shapes(count=137).images, shapes.images[:137])
    np.testing.assert_array_equal(Shapes(count=137, seed=0).images, shapes.images[:137])
    assert (Shapes(count=137, seed=1).images != shapes.images[:137]).any(axis=(1, 2, 3)).all()
    assert (Shapes(count=137, train=False).images != shapes.images[:137]).any(axis=(1, 2, 3)).all()
    assert len({image.tobytes() for image in shapes.images}) == 600


def test_every_image_has_a_figure_that_stands_out(shapes):
    """In each image, some pixels differ from the median colour by the contrast that the description promises."""
    pixels = shapes.images.reshape(600, 3, -1).astype(int)
    different = (abs(pixels - np.median(pixels, axis=2, keepdims=True)) > 40).all(axis=1).mean(axis=1)
    assert different.min() > 0.01


def test_the_recorded_statistics_are_those_of_the_images(shapes):
    mean, std = dataset_statistics(Shapes(transform=ToFloat()))
    np.testing.assert_allclose(DATASETS["shapes"].mean, mean, atol=6e-4)
    np.testing.assert_allclose(DATASETS["shapes"].std, std, atol=6e-4)


# The areas of the figures in a circle of radius 1; the cross is two bars less the square that they share.
AREAS = {
    "triangle": 0.75 * np.sqrt(3),
    "square": 2.0,
    "circle": np.pi,
    "star": 10 * 0.5 * 0.42 * np.sin(np.pi / 5),
    "cross": 8 * 0.32 * np.sqrt(1 - 0.32**2) - 4 * 0.32**2,
}


@pytest.mark.parametrize("name", AREAS)
def test_distances_are_negative_inside_and_the_area_is_right(name):
    y, x = np.meshgrid(*[np.linspace(-1.2, 1.2, 481)] * 2, indexing="ij")
    inside = (_distance(name, x, y) < 0).mean() * 2.4**2
    assert inside == pytest.approx(AREAS[name], rel=0.01)


@pytest.mark.parametrize("name", ["triangle", "square", "star", "cross"])
def test_distances_to_polygons_against_many_points_on_their_sides(name):
    corners = _corners(name)
    along = np.linspace(0, 1, 400)[:, None]
    outline = np.concatenate([a + along * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])
    points = np.random.default_rng(0).uniform(-1.3, 1.3, (50, 2))
    expected = np.sqrt(((points[:, None] - outline) ** 2).sum(axis=2)).min(axis=1)
    np.testing.assert_allclose(abs(_distance(name, points[:, 0], points[:, 1])), expected, atol=2e-3)


def test_distance_to_a_line():
    x, y = np.array([0.0, 2.0, -1.5, 0.5]), np.array([0.5, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(_distance("line", x, y), [0.5, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("options", [{"count": 0}, {"size": 7}, {"seed": -1}, {"count": 2.5}])
def test_errors(options):
    with pytest.raises(ArgumentError, match="Shapes"):
        Shapes(**options)
