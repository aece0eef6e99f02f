"""The figures: they show the numbers that they are given, can be read, and come without a display or pyplot."""

import functools
import subprocess
import sys

import numpy as np
import pytest

from gpunet.errors import ArgumentError, LabelError, ShapeError
from gpunet.models import create_model
from gpunet.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential
from gpunet.tensor import tensor
from gpunet.visualize import (
    LossSurface,
    feature_maps,
    grad_cam,
    overlay,
    plot_feature_maps,
    plot_filters,
    plot_grad_cam,
    plot_loss_surface,
)

text_of_matplotlib = pytest.importorskip("matplotlib.text")

AXIS = np.arange(-3, 4) / 3
BOWL = AXIS[:, None] ** 2 + 2 * AXIS**2


backends = pytest.mark.usefixtures("backend")


def network(channels=3):
    """Nine channels of 8 x 8, then of 4 x 4, and three classes."""
    return Sequential(Conv2d(channels, 9, 3, padding=1), ReLU(), MaxPool2d(2), Flatten(), Linear(144, 3))


def batch(rng, count=5, channels=3):
    return tensor(rng.standard_normal((count, channels, 8, 8)).astype(np.float32))


def surface(losses=BOWL + 0.05):
    axis = np.linspace(-1, 1, len(losses))
    return LossSurface(axis, axis, losses)


NAMES = ["triangle", "square", "circle"]
FIGURES = {
    "colour filters": lambda images: plot_filters(network()),
    "many filters": lambda images: plot_filters(Conv2d(3, 64, 7)),
    "other filters": lambda images: plot_filters(network(channels=1)),
    "feature maps": lambda images: plot_feature_maps(network(), images),
    "feature maps of a deep network": lambda images: plot_feature_maps(create_model("resnet20", 3, 3), images),
    "Grad-CAM": lambda images: plot_grad_cam(network(), images, [0, 1, 2, 0, 1], NAMES),
    "Grad-CAM of one image": lambda images: plot_grad_cam(network(), images[:1]),
    "one surface": lambda images: plot_loss_surface(surface()),
    "three surfaces": lambda images: plot_loss_surface({name: surface() for name in NAMES}),
    "surfaces": lambda images: plot_loss_surface({"plain": surface(np.exp(9 * BOWL)), "residual": surface()}),
}


@functools.cache
def drawn(name):
    """A figure as it looks when it has been drawn."""
    figure = FIGURES[name](batch(np.random.default_rng(0)))
    figure.draw_without_rendering()
    return figure


def texts(figure):
    """All that is written in a figure."""
    found = figure.findobj(text_of_matplotlib.Text)
    return [each.get_text() for each in found if each.get_visible() and each.get_text()]


def pictures(figure):
    """The pixels of each picture, in the order of the axes."""
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def titles(figure):
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


# What holds for all


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_fits_a_screen_and_can_be_read(name):
    figure = drawn(name)
    width, height = figure.bbox.width, figure.bbox.height
    assert 600 <= width <= 1280
    assert height <= 900
    # Ticks beyond the ends of an axis exist, too, but nobody sees them.
    titles = [axes.title for axes in figure.axes if axes.get_title()]
    labels = [axes.texts[0] for axes in figure.axes if axes.texts and axes.name != "3d"]
    ticks = [text for axes in figure.axes if axes.axison for text in axes.get_xticklabels() + axes.get_yticklabels()]
    written = [*titles, *labels, *figure.texts]
    assert written
    assert [each.get_text() for each in written + ticks if each.get_fontsize() < 9] == []
    boxes = {each.get_text(): each.get_window_extent() for each in written}
    assert [t for t, b in boxes.items() if b.x0 < 0 or b.y0 < 0 or b.x1 > width or b.y1 > height] == []


@pytest.mark.parametrize("name", FIGURES)
def test_titles_do_not_run_into_each_other(name):
    boxes = [axes.title.get_window_extent() for axes in drawn(name).axes if axes.get_title()]
    assert not [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_figures_are_written_and_shown(tmp_path):
    for name in ("colour filters", "surfaces"):
        drawn(name).savefig(tmp_path / "figure.png")
        drawn(name).savefig(tmp_path / "figure.svg")
        written, shown = (tmp_path / "figure.png").read_bytes(), drawn(name)._repr_png_()  # what a notebook asks for
        assert written[:8] == shown[:8] == b"\x89PNG\r\n\x1a\n"
        assert written[16:24] == shown[16:24]  # width and height
        assert "<svg" in (tmp_path / "figure.svg").read_text(encoding="utf-8")


def run_python(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)


def test_matplotlib_is_imported_for_a_figure_alone_and_pyplot_never():
    done = run_python(
        "import sys, gpunet.visualize\n"
        "assert 'matplotlib' not in sys.modules\n"
        "from gpunet.nn import Conv2d\n"
        "gpunet.visualize.plot_filters(Conv2d(1, 4, 3)).savefig('/dev/null', format='png')\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr


def test_without_matplotlib_it_says_what_to_install():
    done = run_python(
        "import sys\n"
        "sys.modules['matplotlib'] = sys.modules['matplotlib.figure'] = None\n"
        "from gpunet.nn import Conv2d\n"
        "from gpunet.visualize import plot_filters\n"
        "plot_filters(Conv2d(1, 4, 3))\n"
    )
    assert "GpunetError: to draw figures takes matplotlib: pip install '.[full]'" in done.stderr


# Filters


def test_filters_of_three_channels_in_colour():
    net = Conv2d(3, 2, 1)
    net.weight.data[...] = np.array([[0, 0.5, -0.5], [0.25, 0, 0]]).reshape(2, 3, 1, 1)
    first, second = pictures(plot_filters(net))
    np.testing.assert_array_equal(first, [[[128, 255, 0]]])  # 0 is grey, the largest is light, its negative dark
    np.testing.assert_array_equal(second, [[[191, 128, 128]]])


def test_filters_of_one_channel_from_blue_to_red(rng):
    net = Conv2d(1, 5, 3)
    figure = plot_filters(net)
    found = pictures(figure)
    assert len(found) == 5
    largest = abs(net.weight.numpy()).max()
    for picture, axes, each in zip(found, figure.axes, net.weight.numpy(), strict=False):
        np.testing.assert_array_equal(picture, each[0])
        assert axes.images[0].get_clim() == (-largest, largest)
    red, _, blue, _ = axes.images[0].cmap(1.0)
    assert red > blue


@backends
def test_filters_of_many_channels_are_averaged(rng):
    net = Conv2d(4, 2, 3)
    for picture, each in zip(pictures(plot_filters(net)), net.weight.numpy(), strict=True):
        np.testing.assert_allclose(picture, sum(each) / 4, rtol=1e-6)


def test_filters_of_zeros():
    net = Conv2d(1, 2, 3)
    net.weight.data[...] = 0
    assert not np.any(pictures(plot_filters(net)))


def test_no_filters():
    with pytest.raises(ArgumentError, match="has no convolution"):
        plot_filters(Linear(2, 2))


# Feature maps


@backends
def test_each_layer_has_a_row_with_its_name_and_shape(rng):
    net, images = network(), batch(rng)
    figure = plot_feature_maps(net, images)
    written = texts(figure)
    for label in ("the image\n3 x 8 x 8", "0 (Conv2d)\n9 x 8 x 8", "1 (ReLU)\n9 x 8 x 8", "2 (MaxPool2d)\n9 x 4 x 4"):
        assert label in written
    assert [picture.shape[:2] for picture in pictures(figure)] == [(8, 8)] * 19 + [(4, 4)] * 9


def test_maps_go_from_the_smallest_value_to_the_largest_hundredth(rng):
    net = Sequential(Conv2d(1, 1, 1, bias=False), Flatten())
    net[0].weight.data[...] = 1
    values = np.arange(100, dtype=np.float32)
    values[-1] = 1e6  # an outlier, which is not to leave all others dark
    _, picture = pictures(plot_feature_maps(net, tensor(values.reshape(1, 1, 10, 10))))
    expected = np.round(np.arange(100) / np.quantile(values, 0.99) * 255)
    np.testing.assert_array_equal(picture[:, :, 0].ravel()[:99], expected[:99])
    assert picture[9, 9, 0] == 255


def test_layers_can_be_chosen(rng):
    net, images = create_model("resnet8", 3, 3), batch(rng)
    figure = plot_feature_maps(net, images, ["layer2.0.conv1", "conv1"])
    labels = [each.split("\n")[0] for each in texts(figure) if "\n" in each]
    assert labels == ["the image", "layer2.0.conv1 (Conv2d)", "conv1 (Conv2d)"]
    expected = next(each for each in feature_maps(net, images) if each.name == "layer2.0.conv1").values
    assert len(expected) == 32
    first, last = pictures(figure)[1], pictures(figure)[10]  # ten of 32 channels, the first and the last among them
    for picture, channel in ((first, 0), (last, 31)):
        place = np.unravel_index(picture[:, :, 0].argmin(), (4, 4))
        assert expected[channel][place] == expected[channel].min()


def test_maps_of_one_pixel_are_left_out_unless_asked_for(rng):
    net, images = create_model("resnet8", 3, 3), batch(rng)
    assert not any("avgpool" in each for each in texts(plot_feature_maps(net, images)))
    assert any("avgpool" in each for each in texts(plot_feature_maps(net, images, ["avgpool"])))


def test_a_layer_that_runs_twice_has_two_rows(rng):
    act = ReLU()
    net = Sequential(Conv2d(3, 2, 1), act, Conv2d(2, 2, 1), act)
    labels = [each for each in texts(plot_feature_maps(net, batch(rng), ["1"])) if "ReLU" in each]
    assert labels == ["1 (ReLU)\n2 x 8 x 8"] * 2


def test_layers_that_are_not_there(rng):
    with pytest.raises(ArgumentError, match="comes from 9, 3; layers that give one: 0, 1, 2"):
        plot_feature_maps(network(), batch(rng), ["1", "9", "3"])
    with pytest.raises(ArgumentError, match="Sequential gives no feature map"):
        plot_feature_maps(Sequential(Flatten(), Linear(192, 2)), batch(rng))


# Grad-CAM


def test_answers_are_named_and_mistakes_marked(rng):
    net, images = network(), batch(rng)
    logits = net(images).numpy().astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predicted = logits.argmax(axis=1)
    right = predicted.copy()
    right[3] = (predicted[3] + 1) % 3
    classes = ["triangle", "square", "circle"]
    expected = []
    for index, (label, answer) in enumerate(zip(right, predicted, strict=True)):
        mark = "wrong: " if index == 3 else ""
        expected += [classes[label], f"{mark}{classes[answer]}, {shares[index].max():.0%}"]
    assert titles(plot_grad_cam(net, images, tensor(right), classes)) == expected
    assert titles(plot_grad_cam(net, images, right.tolist(), classes)) == expected
    assert titles(plot_grad_cam(net, images))[0] == f"{predicted[0]}, {shares[0].max():.0%}"


@backends
def test_the_heat_lies_on_the_image(rng):
    net = network()
    values = rng.integers(0, 256, (2, 3, 8, 8))
    values[0, 0, 0, :2] = 0, 255  # black and white of the batch, so that the pixels come out as they went in
    images = tensor((values / 255).astype(np.float32))
    (heat, _) = grad_cam(net, images)
    image, beside, *_ = pictures(plot_grad_cam(net, images))
    np.testing.assert_array_equal(image, values[0].transpose(1, 2, 0))
    np.testing.assert_array_equal(beside, overlay(values[0].astype(np.uint8), heat))


def test_the_layer_can_be_chosen(rng):
    net, images = network(), batch(rng, count=1)
    (heat,) = grad_cam(net, images, layer="2")
    beside = pictures(plot_grad_cam(net, images, layer="2"))[1]
    image = pictures(plot_grad_cam(net, images))[0]
    np.testing.assert_array_equal(beside, overlay(image.transpose(2, 0, 1), heat))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"labels": [0, 1]}, ShapeError, "a label for each of 5 images"),
        ({"labels": [0, 1, 2, 3, 0]}, LabelError, "classes from 0 to 2"),
        ({"labels": [0, 1, 2, -1, 0]}, LabelError, "classes from 0 to 2"),
        ({"labels": [0.0] * 5}, LabelError, "classes from 0 to 2"),
        ({"classes": ["a", "b"]}, ArgumentError, "names of 3 classes, got 2"),
        ({"layer": "9"}, ArgumentError, "layer '9' gives no feature map"),
    ],
)
def test_mistakes(settings, error, message, rng):
    with pytest.raises(error, match=message):
        plot_grad_cam(network(), batch(rng), **settings)


# Loss surfaces


def contours(figure):
    """The filled contours of each surface, from left to right."""
    module = pytest.importorskip("matplotlib.contour")
    found = figure.findobj(module.QuadContourSet)
    return [each for each in found if each.filled]


def test_surfaces_share_one_scale():
    figure = plot_loss_surface({"plain": surface(np.exp(4 * BOWL)), "residual": surface()})
    plain, residual = contours(figure)
    np.testing.assert_array_equal(plain.levels, residual.levels)
    assert plain.get_clim() == residual.get_clim()
    assert 10 ** plain.levels[0] <= 0.05
    assert 10 ** plain.levels[-1] >= np.exp(12)
    heights = [axes.get_zlim() for axes in figure.axes if hasattr(axes, "get_zlim")]
    assert heights[0] == heights[1] == (plain.levels[0], plain.levels[-1])
    above = [title.split("\n") for title in titles(figure)]
    assert [lines[0] for lines in above] == ["plain", "residual"]
    assert above[1][1:] == ["0.05 at the trained weights (dot)", "0% of it bends down"]


def test_alpha_goes_to_the_right_and_beta_up():
    losses = np.full((5, 5), 0.01)
    losses[4, 1] = 1.0  # alpha at its largest, beta at -0.5
    (filled,) = contours(plot_loss_surface(surface(losses)))
    points = np.concatenate([path.vertices for path in filled.get_paths()[1:] if len(path.vertices)])  # above the floor
    assert points[:, 0].min() >= 0.5
    assert points[:, 0].max() == 1
    assert -1 <= points[:, 1].min() < -0.5 < points[:, 1].max() <= 0


def test_losses_that_are_not_finite_are_counted_and_drawn_as_the_highest():
    losses = BOWL + 0.05
    losses[0, 0], losses[6, 6], losses[0, 6] = np.inf, np.nan, 300.0
    figure = plot_loss_surface(surface(losses))
    assert "2 of 49 points not finite (drawn highest)" in titles(figure)[0]
    (filled,) = contours(figure)
    assert filled.levels[-1] == 3  # the next power of ten above 300
    assert np.isnan(losses[6, 6])


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3, 1e30])
def test_a_flat_surface_is_drawn(value):
    (filled,) = contours(plot_loss_surface(surface(np.full((5, 5), value))))
    assert len(filled.levels) >= 3


def test_surfaces_that_cannot_be_drawn():
    for wrong in ({}, surface(np.full((5, 5), np.nan)), {"good": surface(), "bad": surface(np.full((3, 3), np.inf))}):
        with pytest.raises(ArgumentError, match="at least one surface, each with losses that are finite"):
            plot_loss_surface(wrong)
