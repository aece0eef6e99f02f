"""What depth does to the gradient: networks, measurement against PyTorch, claims, files and pictures, the command."""

import json
import math
import sys

import numpy as np
import pytest

from gpunet.backend import manual_seed, use_backend
from gpunet.cli import main
from gpunet.errors import ArgumentError, FileError, GpunetError, GradientError
from gpunet.functional import cross_entropy
from gpunet.gradients import (
    Budget,
    DeepNetwork,
    Design,
    Experiment,
    Findings,
    GradientTrace,
    LayerNorms,
    TrainingCurve,
    check_claims,
    claims_text,
    experiment,
    gradient_norms,
    table_text,
    trace_gradients,
    train_curve,
)
from gpunet.gradients.pictures import NOTHING, _set_steps, plot_gradient_norms, plot_gradients_during_training
from gpunet.gradients.training import training
from gpunet.models import CifarResNet
from gpunet.nn import Conv2d, Linear, observe
from gpunet.tensor import Tensor, tensor
from gpunet.visualize import figure

FEW = Budget(images=16)
KEYS = {"depth", "residual", "batch_norm", "activation", "dtype", "layer_norms", "first_over_last"}
PICTURES = {"gradients.png", "training.png", "degradation.png"}
EVERY_DESIGN = [
    Design(8, residual, batch_norm, activation)
    for residual in (False, True)
    for batch_norm in (False, True)
    for activation in ("sigmoid", "relu")
]


@pytest.fixture(autouse=True)
def _on_numpy():
    with use_backend("numpy"):
        yield


def strict_json(text):
    """What the text stands for; NaN and Infinity, which are no JSON, are errors."""

    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    return json.loads(text, parse_constant=refuse)


def images(rng, count=4, size=8):
    return tensor(rng.normal(size=(count, 1, size, size)).astype(np.float32))


# The networks


@pytest.mark.parametrize("design", EVERY_DESIGN, ids=str)
def test_the_weights_are_those_of_the_layers_in_the_order_in_which_they_run(rng, design):
    model = DeepNetwork(design)
    ran = []
    with observe(model, lambda name, module, inputs, output: ran.append(module)):
        assert model(images(rng)).shape == (4, 10)
    weights = [module.weight for module in ran if isinstance(module, Conv2d | Linear)]
    assert len(weights) == design.depth
    assert all(one is other for one, other in zip(model.weights(), weights, strict=True))


@pytest.mark.parametrize(
    ("shortcut", "design"), [("none", Design(20, False)), ("A", Design(20, True, pre_activation=False))]
)
def test_with_batch_norm_and_relu_they_are_the_networks_of_the_paper(rng, shortcut, design):
    model, paper = DeepNetwork(design), CifarResNet(20, in_channels=1, shortcut=shortcut)
    theirs = [module.weight for module in paper.modules() if isinstance(module, Conv2d | Linear)]
    for own, other in zip(model.weights(), theirs, strict=True):
        own.data[...] = other.array
    model.fc.bias.data[...] = paper.fc.bias.array
    x = images(rng)
    np.testing.assert_allclose(model(x).array, paper(x).array, rtol=1e-4, atol=1e-5)


def test_plain_and_residual_networks_start_from_the_same_weights():
    starts = []
    for residual in (False, True):
        manual_seed(3)
        starts.append(DeepNetwork(Design(14, residual)).weights())
    for one, other in zip(*starts, strict=True):
        np.testing.assert_array_equal(one.array, other.array)


@pytest.mark.parametrize(("depth", "near"), [(7, "8 or more"), (9, "8 or 14"), (55, "50 or 56")])
def test_a_depth_that_there_is_not_is_refused(depth, near):
    with pytest.raises(ArgumentError, match=near):
        Design(depth, True)


def test_an_activation_that_there_is_not_is_refused():
    with pytest.raises(ArgumentError, match="'sigmoid', 'relu'"):
        Design(8, True, activation="tanh")


# The measurement


def torch_norms(torch, model, design, x, labels):
    """The same network in PyTorch, written out again: the norm of each weight's gradient, and the loss."""
    functional = torch.nn.functional
    weights = [torch.tensor(np.ascontiguousarray(weight.array), requires_grad=True) for weight in model.weights()]
    remaining = iter(weights)

    def before(y):
        y = functional.batch_norm(y, None, None, training=True) if design.batch_norm else y
        return torch.sigmoid(y) if design.activation == "sigmoid" else torch.relu(y)

    y = functional.conv2d(torch.tensor(x), next(remaining), padding=1)
    for channels in (16, 32, 64):
        for _ in range((design.depth - 2) // 6):
            stride = 1 if y.shape[1] == channels else 2
            shortcut = y[:, :, ::stride, ::stride]
            added = channels - y.shape[1]
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, added // 2, added - added // 2))
            out = functional.conv2d(before(y), next(remaining), stride=stride, padding=1)
            out = functional.conv2d(before(out), next(remaining), padding=1)
            y = out + shortcut if design.residual else out
    logits = functional.linear(before(y).mean((2, 3)), next(remaining), torch.tensor(model.fc.bias.array))
    loss = functional.cross_entropy(logits, torch.tensor(labels))
    loss.backward()
    return [float(weight.grad.double().norm()) for weight in weights], loss.item()


@pytest.mark.parametrize("design", [*EVERY_DESIGN, Design(20, False, False, "sigmoid"), Design(20, True)], ids=str)
def test_the_norms_are_those_of_pytorch(rng, design, torch):
    model = DeepNetwork(design)
    x, labels = images(rng, count=8), rng.integers(0, 10, 8)
    loss = cross_entropy(model(x), tensor(labels))
    loss.backward()
    norms, their_loss = torch_norms(torch, model, design, np.ascontiguousarray(x.array), labels)
    assert loss.item() == pytest.approx(their_loss, rel=1e-5)
    assert gradient_norms(model.weights()) == pytest.approx(norms, rel=1e-3)


@pytest.mark.parametrize(("value", "norm"), [(6e-8, 2**-24), (6e4, 6e4), (300, 300), (0, 0), (np.inf, np.inf)])
def test_the_norm_of_float16_neither_underflows_nor_overflows(value, norm):
    weight = Tensor(np.zeros((3, 3), np.float16), requires_grad=True)
    weight.grad = Tensor(np.full((3, 3), value, np.float16))
    assert gradient_norms([weight]) == pytest.approx([3 * norm], rel=1e-3)


def test_a_weight_without_a_gradient_is_an_error():
    with pytest.raises(GradientError, match="backward"):
        gradient_norms([Tensor(np.zeros(3, np.float32), requires_grad=True)])


def test_plain_sigmoids_lose_a_gradient_that_float16_cannot_hold():
    """A norm of exactly 0 where the one in float32 says that no element reaches the smallest float16, 2^-24."""
    design = Design(20, residual=False, batch_norm=False, activation="sigmoid")
    exact, half = (trace_gradients(design, dtype, budget=FEW).start for dtype in ("float32", "float16"))
    assert exact.zeros == 0
    assert exact.first_over_last < 1e-11
    assert half.norms[0] == 0
    assert half.first_over_last == 0
    assert math.isfinite(half.loss)
    assert 5 < half.zeros < 19
    for norm, other in zip(exact.norms, half.norms, strict=True):
        if norm < 1e-10:  # so far below that no order of rounding matters
            assert other == 0
        if norm > 1e-3:
            assert other == pytest.approx(norm, rel=0.05)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_residual_networks_keep_it_within_two_orders(batch_norm, activation, dtype):
    start = trace_gradients(Design(32, True, batch_norm, activation), dtype, budget=FEW).start
    assert start.zeros == 0
    assert 1e-2 < start.first_over_last < 1e2


def test_an_activation_on_the_shortcut_makes_even_residual_networks_lose_it():
    design = Design(20, True, batch_norm=False, activation="sigmoid", pre_activation=False)
    assert trace_gradients(design, budget=FEW).start.first_over_last < 1e-6


def test_a_trace_has_the_start_and_each_step():
    design = Design(8, residual=True)
    start, trace = trace_gradients(design, budget=FEW), trace_gradients(design, steps=3, budget=FEW)
    assert [step.step for step in trace.steps] == [0, 1, 2, 3]
    assert start.steps == trace.steps[:1]
    assert len({step.norms for step in trace.steps}) == 4
    assert {len(step.norms) for step in trace.steps} == {8}


def test_a_step_follows_the_gradient():
    """`w - lr g` after the first step of SGD: measured are the gradients at the weights before it."""
    moments = training(Design(8, residual=False), "float32", FEW)
    model, _ = next(moments)
    weight = model.weights()[0]
    before, gradient = weight.array.copy(), weight.grad.array.copy()
    next(moments)
    np.testing.assert_allclose(weight.array, before - 0.02 * (gradient + 1e-4 * before), rtol=1e-5, atol=1e-7)


def test_the_same_seed_gives_the_same_bits_and_another_one_others():
    design = Design(8, residual=True)
    one, again, other = (trace_gradients(design, steps=2, budget=Budget(48, 16, seed)) for seed in (1, 1, 2))
    assert one == again
    assert one.steps[1] != other.steps[1]


def test_every_network_sees_the_same_images_in_the_same_order(monkeypatch):
    seen = []
    loss = cross_entropy
    monkeypatch.setattr(
        "gpunet.gradients.training.cross_entropy", lambda y, t: seen.append(t.array.tolist()) or loss(y, t)
    )
    for design in (Design(8, False), Design(14, True, False, "sigmoid")):
        trace_gradients(design, "float16", 3, Budget(images=40, batch_size=16))
    assert seen[:4] == seen[4:]
    assert len({tuple(labels) for labels in seen}) == 4


def test_the_measurement_is_the_same_on_the_emulated_backend():
    design = Design(8, residual=True, batch_norm=False)
    expected = trace_gradients(design, budget=Budget(images=4)).start.norms
    with use_backend("emulated"):
        assert trace_gradients(design, budget=Budget(images=4)).start.norms == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("norms", "reason"),
    [((1.0, 0.0), "is 0"), ((math.inf, 1.0), "inf"), ((1.0, math.nan), "nan"), ((math.nan, math.nan), "overflowed")],
)
def test_a_ratio_that_is_no_number_is_none_and_says_why(norms, reason):
    step = LayerNorms(0, math.nan, norms)
    assert step.first_over_last is None
    assert reason in step.explanation
    figures = strict_json(json.dumps(step.as_dict()))
    assert figures["loss"] is None
    assert figures["first_over_last"] is None
    assert figures["layer_norms"] == [norm if math.isfinite(norm) else None for norm in norms]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Budget(images=0),
        lambda: Budget(images=1438),
        lambda: Budget(batch_size=0),
        lambda: Budget(seed=-1),
        lambda: trace_gradients(Design(8, True), "float64"),
        lambda: trace_gradients(Design(8, True), steps=-1),
        lambda: train_curve(Design(8, True), steps=0),
        lambda: Experiment(depths=(8, 21)),
        lambda: Experiment(depths=()),
        lambda: Experiment(steps=-1),
        lambda: Experiment(degradation_steps=-1),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ArgumentError):
        wrong()


def test_a_single_image_will_do():
    assert len(trace_gradients(Design(8, True), "float16", 1, Budget(images=1)).steps) == 2


# Degradation


def test_a_curve_has_the_loss_of_each_step_and_falls():
    steps = []
    curve = train_curve(Design(8, residual=True), 30, Budget(images=64, batch_size=32), lambda: steps.append(1))
    assert len(curve.losses) == len(steps) == 30
    assert curve.train_loss == pytest.approx(np.mean(curve.losses[-3:]))
    assert curve.train_loss < curve.losses[0] / 2


def test_a_loss_that_is_not_finite_is_none_in_json():
    figures = strict_json(json.dumps(TrainingCurve(Design(8, True), (1.0, math.inf)).as_dict()))
    assert figures["losses"] == [1.0, None]
    assert figures["train_loss"] is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])  # the example runs with 0
def test_deep_plain_networks_train_worse_and_residual_ones_do_not(seed):
    designs = [Design(depth, residual) for residual in (False, True) for depth in (20, 56)]
    curves = [train_curve(design, 240, Budget(seed=seed)) for design in designs]
    plain, deep_plain, residual, deep_residual = (curve.train_loss for curve in curves)
    assert deep_plain > plain + 0.5
    assert deep_residual < residual + 0.01


# The claims


def trace(residual, ratio, dtype="float32", depth=8, batch_norm=False, activation="sigmoid"):
    norms = (ratio, *[0.5] * (depth - 2), 1.0)
    return GradientTrace(Design(depth, residual, batch_norm, activation), dtype, (LayerNorms(0, 2.3, norms),))


VANISHING = [trace(False, 1e-5), trace(False, 1e-9, depth=20), trace(False, 0.0, "float16", depth=20)]
KEPT = [trace(True, 0.02), trace(True, 99.0, "float16", activation="relu")]


def curve(depth, residual, loss):
    return TrainingCurve(Design(depth, residual), (loss,) * 10)


CURVES = [curve(20, False, 0.1), curve(56, False, 0.9), curve(20, True, 0.1), curve(56, True, 0.11)]


def verdicts(traces, curves=()):
    return [claim.holds for claim in check_claims(traces, curves)]


def test_the_claims_hold_where_they_do():
    assert verdicts(VANISHING + KEPT, CURVES) == [True, True, True]
    text = claims_text(check_claims(VANISHING + KEPT, CURVES))
    assert text.count("holds: ") == 3
    assert "1.0e-05 at depth 8, 1.0e-09 at depth 20; float16: 1 of 20 layers" in text
    assert "2 of 2 do, from 0.02 to 99" in text
    assert "plain-20 0.1000, plain-56 0.9000, residual-20 0.1000, residual-56 0.1100" in text


def test_what_was_not_measured_is_neither_true_nor_false():
    assert verdicts([], []) == [None, None, None]
    assert verdicts(KEPT, CURVES[:1]) == [None, True, None]
    assert "not measured" in claims_text(check_claims([], []))


@pytest.mark.parametrize(
    "traces",
    [
        [trace(False, 0.5), trace(False, 0.0, "float16")],  # the gradient is there
        [trace(False, 1e-9), trace(False, 1e-9, "float16")],  # no zero
        [trace(False, 1e-9), trace(False, 0.3, depth=20), trace(False, 0.0, "float16")],  # deeper is better
    ],
)
def test_vanishing_that_is_not_there_is_not_claimed(traces):
    assert verdicts(traces)[0] is False


@pytest.mark.parametrize("ratio", [0.009, 101.0, math.nan, 0.0])
def test_a_residual_network_that_does_not_keep_it_is_named(ratio):
    claim = check_claims([*KEPT, trace(True, ratio, depth=20)], [])[1]
    assert claim.holds is False
    assert "2 of 3 do" in claim.evidence
    assert "residual-20, sigmoid, without batch norm, float32" in claim.evidence


@pytest.mark.parametrize(
    "losses", [(0.1, 0.11, 0.1, 0.1), (0.9, 0.1, 0.1, 0.1), (0.1, 0.9, 0.1, 0.2), (0.1, 0.9, 0.1, math.nan)]
)
def test_degradation_that_is_not_there_is_not_claimed(losses):
    curves = [curve(one.design.depth, one.design.residual, loss) for one, loss in zip(CURVES, losses, strict=True)]
    assert verdicts([], curves)[2] is False


def test_the_table_has_every_network_once():
    lines = table_text(VANISHING + KEPT).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["sigmoid,", "without", "batch", "norm", "8", "1.0e-05", "0.02"],
        ["sigmoid,", "without", "batch", "norm", "20", "1.0e-09", "0", "(1)"],
        ["ReLU,", "without", "batch", "norm", "8", "99"],
    ]


# The files


QUICK = Experiment(depths=(14, 8), steps=1, degradation_steps=6, budget=FEW)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("results") / "new" / "folder"
    with use_backend("numpy"):
        return QUICK.run(folder, show_progress=False), folder


def test_gradients_json_is_a_list_of_all_networks(results):
    findings, folder = results
    entries = strict_json((folder / "gradients.json").read_text())
    assert len(entries) == len(findings.traces) == 2**4 * 2
    assert all(set(entry) >= KEYS for entry in entries)
    names = ("depth", "residual", "batch_norm", "activation", "dtype")
    assert {tuple(entry[name] for name in names) for entry in entries} == {
        (depth, residual, batch_norm, activation, dtype)
        for depth in (8, 14)
        for residual in (False, True)
        for batch_norm in (False, True)
        for activation in ("sigmoid", "relu")
        for dtype in ("float32", "float16")
    }
    for entry in entries:
        assert len(entry["layer_norms"]) == entry["depth"]
        assert entry["first_over_last"] == entry["layer_norms"][0] / entry["layer_norms"][-1]
        assert entry["explanation"] is None
        (later,) = entry["during_training"]
        assert later["step"] == 1
        assert len(later["layer_norms"]) == entry["depth"]


def test_degradation_json_is_a_list_of_four_networks(results):
    _, folder = results
    entries = strict_json((folder / "degradation.json").read_text())
    assert [(entry["residual"], entry["depth"]) for entry in entries] == [
        (False, 8),
        (False, 14),
        (True, 8),
        (True, 14),
    ]
    assert all(len(entry["losses"]) == 6 and entry["train_loss"] == entry["losses"][-1] for entry in entries)


def test_the_pictures_fit_on_a_screen_and_show_something(results):
    image = pytest.importorskip("PIL.Image")
    _, folder = results
    assert {path.name for path in folder.iterdir()} == {*PICTURES, "gradients.json", "degradation.json"}
    for name in PICTURES:
        with image.open(folder / name) as picture:
            assert 900 < picture.width < 1700
            assert 500 < picture.height < 1000
            pixels = np.asarray(picture.convert("RGB"))
        for colour in ([0xD9, 0x55, 0x1F], [0x2A, 0x78, 0xD6]):  # plain, residual
            assert (pixels == colour).all(axis=2).sum() > 200, name


@pytest.mark.parametrize(
    ("draw", "first", "last"), [(plot_gradient_norms, 1, 14), (plot_gradients_during_training, 0, 1)]
)
def test_panels_share_their_axes_have_whole_steps_and_none_is_empty(results, draw, first, last):
    findings, _ = results
    figure = draw(findings.traces, "title")
    rows = [figure.axes[:4], figure.axes[4:]]
    for row in rows:
        assert len({(axes.get_xlim(), axes.get_ylim()) for axes in row}) == 1
        for axes in row:
            ticks = list(axes.get_xticks())
            assert ticks == [int(tick) for tick in ticks]
            assert (ticks[0], ticks[-1]) == (first, last)
            drawn = [value for line in axes.get_lines() for value in line.get_ydata() if np.isfinite(value)]
            low, high = axes.get_ylim()
            assert drawn
            assert all(low < value < high for value in drawn)


def test_a_panel_without_a_number_says_why():
    pytest.importorskip("matplotlib")
    dead = [trace(residual, math.nan, activation=name) for residual in (False, True) for name in ("relu", "sigmoid")]
    steps = tuple(LayerNorms(step, 1.0, (0.0,) * 8) for step in range(3))  # 0 over 0
    dead = [GradientTrace(each.design, each.dtype, steps) for each in dead]
    figure = plot_gradients_during_training(dead, "title")
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [[NOTHING], [NOTHING]]


@pytest.mark.parametrize(
    ("last", "ticks"),
    [(1, [0, 1]), (5, [0, 1, 2, 3, 4, 5]), (8, [0, 2, 4, 6, 8]), (110, [0, 20, 40, 60, 80, 100, 110])],
)
def test_steps(last, ticks):
    pytest.importorskip("matplotlib")
    axes = figure.new_figure("", 4, 3).subplots()
    _set_steps(axes, [range(last + 1)])
    assert list(axes.get_xticks()) == ticks


def test_titles_say_what_is_drawn_and_claim_no_result(results, tmp_path, monkeypatch):
    """Whether or not it shows what the lecture says; after 240 steps, or after one."""
    titles = []
    monkeypatch.setattr(experiment, "_write_figure", lambda figure, path: None)
    for name in ("plot_gradient_norms", "plot_gradients_during_training", "plot_curves"):
        draw = getattr(experiment, name)
        monkeypatch.setattr(
            experiment, name, lambda measured, title, draw=draw: titles.append(title) or draw(measured, title)
        )
    for findings in (Findings(VANISHING + KEPT, CURVES), Findings(VANISHING[:1], CURVES[:2])):
        for traces in (findings.traces, [GradientTrace(t.design, t.dtype, t.steps * 2) for t in findings.traces]):
            titles.clear()
            experiment._write_pictures(Findings(traces, findings.curves), tmp_path)
            assert titles[0] == "The gradient that reaches each layer, at the start"
            assert titles[-1] == "The training losses of plain and of residual networks"
            assert titles[1:-1] == [
                "How much of the gradient reaches the first layer, at the start and after one step of training"
            ] * (len(traces[0].steps) - 1)


def test_a_run_leaves_nothing_of_an_earlier_one(results, tmp_path):
    for name in ("training.png", "degradation.png", "degradation.json", "gradients.json"):
        (tmp_path / name).write_text("old")
    (tmp_path / "mine.txt").write_text("mine")
    findings = Experiment((8,), steps=0, budget=FEW).run(tmp_path, show_progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"gradients.json", "gradients.png", "mine.txt"}
    assert len(strict_json((tmp_path / "gradients.json").read_text())) == 16
    assert findings.curves == []


def test_ctrl_c_leaves_what_has_been_measured(results, tmp_path, monkeypatch):
    measured = []

    def measure(*arguments):
        if len(measured) == 3:
            raise KeyboardInterrupt
        measured.append(trace_gradients(*arguments))
        return measured[-1]

    (tmp_path / "gradients.png").write_text("old")
    monkeypatch.setattr(experiment, "trace_gradients", measure)
    assert main(["gradients", "--depths", "8", "--images", "4", "--steps", "0", "--out", str(tmp_path)]) == 130
    assert {path.name for path in tmp_path.iterdir()} == {"gradients.json"}
    entries = strict_json((tmp_path / "gradients.json").read_text())
    assert entries == [json.loads(json.dumps(one.as_dict())) for one in measured]


def test_ctrl_c_before_anything_leaves_the_earlier_results(results, tmp_path, monkeypatch):
    def measure(*arguments):
        raise KeyboardInterrupt

    (tmp_path / "gradients.json").write_text("old")
    monkeypatch.setattr(experiment, "trace_gradients", measure)
    with pytest.raises(KeyboardInterrupt):
        QUICK.run(tmp_path, show_progress=False)
    assert (tmp_path / "gradients.json").read_text() == "old"


def test_a_folder_that_is_a_file_is_an_error(results, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="file"):
        QUICK.run(tmp_path / "file", show_progress=False)


def test_without_matplotlib_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    figure._figure_class.cache_clear()
    with pytest.raises(GpunetError, match=r"pip install '\.\[full\]'"):
        QUICK.run(tmp_path / "new", show_progress=False)
    assert not (tmp_path / "new").exists()


# The command


COMMAND = ["gradients", "--depths", "8", "--images", "8", "--steps", "0", "--seed", "5"]


def test_the_command_prints_the_table_and_the_claims(results, tmp_path, capsys):
    assert main([*COMMAND, "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("sigmoid, without batch norm") == 1
    assert "holds: Residual networks" in out
    assert "not measured: A deeper plain network" in out
    assert str(tmp_path) in out


def test_json_prints_the_list_that_is_in_the_file(results, tmp_path, capsys):
    assert main([*COMMAND, "--json", "--out", str(tmp_path)]) == 0
    printed = strict_json(capsys.readouterr().out)
    assert printed == strict_json((tmp_path / "gradients.json").read_text())
    assert len(printed) == 16


def test_activations_on_the_shortcut_are_reported_as_what_they_are(results, tmp_path, capsys):
    assert main([*COMMAND, "--post-activation", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "does not hold: Residual networks" in out
    assert "not: residual-8, sigmoid, without batch norm, float32" in out
    assert {entry["pre_activation"] for entry in strict_json((tmp_path / "gradients.json").read_text())} == {False}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--depths", "8,9"], "6n + 2, such as 8 or 14, got 9"),
        (["--depths", "8,"], "whole numbers such as 8,20,56"),
        (["--depths", "2"], "8 or more"),
        (["--images", "0"], "1 or more"),
        (["--seed", "-1"], "0 or more"),
    ],
)
def test_options_that_make_no_sense_are_not_understood(options, message, capsys):
    with pytest.raises(SystemExit) as error:
        main(["gradients", *options])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_too_many_images_are_an_error(tmp_path, capsys):
    assert main(["gradients", "--images", "1438", "--out", str(tmp_path / "new")]) == 1
    assert "1,437" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
