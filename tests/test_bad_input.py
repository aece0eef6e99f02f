"""Bad input: each call raises an exception of gpunet.errors that says who complains, what was expected, what came."""

import math

import numpy as np
import pytest

import gpunet.functional as F
from gpunet import nn
from gpunet.backend import manual_seed, set_num_threads
from gpunet.errors import (
    ArgumentError,
    BackendError,
    DTypeError,
    GpunetError,
    GradientError,
    LabelError,
    ShapeError,
)
from gpunet.tensor import Tensor, tensor
from gpunet.testing import gradcheck

pytestmark = pytest.mark.usefixtures("backend")


def floats(*shape, dtype=np.float32):
    return tensor(np.full(shape, 0.5, dtype))


def integers(*shape):
    return tensor(np.zeros(shape, np.int64))


def labels(*values):
    return tensor(np.array(values))


def needing_gradient(*shape):
    return tensor(np.ones(shape, np.float32), requires_grad=True)


def images():
    return floats(2, 4, 5, 6)


def convolve(x=(2, 4, 5, 6), weight=(6, 4, 3, 3), bias=None, **settings):
    return F.conv2d(floats(*x), floats(*weight), None if bias is None else floats(*bias), **settings)


def normalise(x=(2, 3, 4, 4), size=3, **settings):
    names = ("running_mean", "running_var", "weight", "bias")
    return F.batch_norm(floats(*x), **{**{name: floats(size) for name in names}, **settings})


def backward_twice():
    loss = (needing_gradient(2) * 2).sum()
    loss.backward()
    loss.backward()


BAD_INPUT = {  # what is wrong: the call, the exception, and words that its message must contain
    "conv2d": [
        (lambda: convolve(x=(3, 5, 6)), ShapeError, "4 channels", "got 3"),
        (lambda: convolve(x=(2, 4)), ShapeError, "(N, C, H, W)", "2 dimension"),
        (lambda: convolve(x=(2, 3, 5, 6)), ShapeError, "4 channels", "got 3", "(2, 3, 5, 6)"),
        (lambda: convolve(x=(2, 4, 5, 6), groups=2, weight=(6, 4, 3, 3)), ShapeError, "8 channels", "got 4"),
        (lambda: convolve(x=(2, 4, 0, 6)), ShapeError, "no pixels", "(2, 4, 0, 6)"),
        (lambda: convolve(x=(2, 4, 2, 6)), ShapeError, "larger than the padded input", "height 2", "window of 3"),
        (lambda: convolve(dilation=(1, 4)), ShapeError, "larger than the padded input", "width 6", "window of 9"),
        (lambda: convolve(x=(2, 4, 1, 6), padding=(0, 2)), ShapeError, "height 1", "padding 0"),
        (lambda: convolve(weight=(4, 3, 3)), ShapeError, "(O, C/groups, kh, kw)", "(4, 3, 3)"),
        (lambda: convolve(weight=(6, 4, 0, 3)), ShapeError, "weight", "(6, 4, 0, 3)"),
        (lambda: convolve(bias=(5,)), ShapeError, "bias", "(6,)", "(5,)"),
        (lambda: convolve(bias=(1, 6)), ShapeError, "bias", "(6,)", "(1, 6)"),
        (lambda: convolve(groups=3), ArgumentError, "groups=3", "divide", "4 input channels", "6 output channels"),
        (lambda: convolve(weight=(5, 2, 3, 3), groups=2), ArgumentError, "groups=2", "5 output channels"),
        (lambda: convolve(groups=0), ArgumentError, "groups", "1 or more", "0"),
        (lambda: convolve(stride=0), ArgumentError, "stride", "1 or more", "0"),
        (lambda: convolve(stride=(1, -1)), ArgumentError, "stride", "1 or more", "-1"),
        (lambda: convolve(stride=1.5), ArgumentError, "stride", "whole number", "1.5"),
        (lambda: convolve(stride=True), ArgumentError, "stride", "True"),
        (lambda: convolve(stride=(1, 1, 1)), ArgumentError, "stride", "one whole number or two", "(1, 1, 1)"),
        (lambda: convolve(padding=-1), ArgumentError, "padding", "0 or more", "-1"),
        (lambda: convolve(padding="full"), ArgumentError, "padding", "'same', 'valid'", "'full'"),
        (lambda: convolve(padding="same", stride=2), ArgumentError, "'same'", "stride of 1", "(2, 2)"),
        (lambda: convolve(dilation=0), ArgumentError, "dilation", "1 or more", "0"),
        (lambda: F.conv2d(integers(1, 1, 3, 3), floats(1, 1, 2, 2)), DTypeError, "input", "int64", ".float()"),
        (lambda: F.conv2d(np.ones((1, 1, 3, 3)), floats(1, 1, 2, 2)), DTypeError, "a Tensor", "ndarray"),
        (lambda: F.conv2d(images(), floats(6, 4, 3, 3, dtype=np.float64)), DTypeError, "float32", "float64", "weight"),
    ],
    "linear": [
        (lambda: F.linear(floats(2, 3), floats(4, 5)), ShapeError, "5 features", "(2, 3)"),
        (lambda: F.linear(images(), floats(4, 5)), ShapeError, "5 features", "flatten"),
        (lambda: F.linear(floats(2, 5), floats(5)), ShapeError, "(O, I)", "(5,)"),
        (lambda: F.linear(floats(), floats(4, 5)), ShapeError, "5 features", "()"),
        (lambda: F.linear(floats(2, 5), floats(4, 5), floats(5)), ShapeError, "bias", "(4,)", "(5,)"),
        (lambda: F.linear(integers(2, 5), floats(4, 5)), DTypeError, "int64", ".float()"),
    ],
    "conv1d": [
        (lambda: F.conv1d(floats(2, 3, 4, 4), floats(3, 3, 3)), ShapeError, "(N, C, L)", "(2, 3, 4, 4)"),
        (lambda: F.conv1d(floats(2, 3, 4), floats(3, 3, 3), stride=(1, 2)), ArgumentError, "stride", "(1, 2)"),
    ],
    "conv_transpose1d": [
        (lambda: F.conv_transpose1d(images(), floats(4, 2, 2)), ShapeError, "(N, C, L)", "(2, 4, 5, 6)"),
        (lambda: F.conv_transpose1d(floats(2, 4, 5), floats(4, 2, 2), padding=(1, 1)), ArgumentError, "padding"),
    ],
    "conv_transpose2d": [
        (lambda: F.conv_transpose2d(images(), floats(3, 4, 2, 2)), ShapeError, "3 channels", "got 4"),
        (lambda: F.conv_transpose2d(images(), floats(4, 2, 2)), ShapeError, "(C, O/groups, kh, kw)", "(4, 2, 2)"),
        (lambda: F.conv_transpose2d(images(), floats(4, 2, 2, 2), groups=3), ArgumentError, "groups=3", "4 input"),
        (lambda: F.conv_transpose2d(images(), floats(4, 2, 2, 2), floats(3)), ShapeError, "bias", "(2,)", "(3,)"),
        (
            lambda: F.conv_transpose2d(images(), floats(4, 2, 2, 2), stride=2, output_padding=2),
            ArgumentError,
            "smaller",
        ),
        (lambda: F.conv_transpose2d(images(), floats(4, 2, 2, 2), padding=4), ShapeError, "no pixels", "(2, 4, 5, 6)"),
    ],
    "interpolate": [
        (lambda: F.interpolate(floats(2, 3), 2), ShapeError, "3 or 4 dimensions", "(2, 3)"),
        (lambda: F.interpolate(images()), ArgumentError, "either size or scale_factor", "None"),
        (lambda: F.interpolate(images(), 2, 2.0), ArgumentError, "either size or scale_factor", "2.0"),
        (lambda: F.interpolate(images(), (2, 3, 4)), ArgumentError, "one for each", "(2, 3, 4)"),
        (lambda: F.interpolate(images(), 2, mode="trilinear"), ArgumentError, "mode", "'trilinear'"),
        (lambda: F.interpolate(images(), 2, mode="bilinear", antialias=True), ArgumentError, "antialias"),
        (lambda: F.interpolate(images(), 2, align_corners=True), ArgumentError, "align_corners", "nearest"),
        (lambda: F.interpolate(images(), scale_factor=0.1), ArgumentError, "scale_factor", "0.1", "no pixels"),
        (lambda: F.interpolate(integers(1, 1, 2, 2), 4), DTypeError, "int64"),
    ],
    "pixel_shuffle": [
        (lambda: F.pixel_shuffle(floats(2, 3), 2), ShapeError, "(..., C, H, W)", "(2, 3)"),
        (lambda: F.pixel_shuffle(images(), 3), ShapeError, "3^2", "4 channels"),
    ],
    "pixel_unshuffle": [(lambda: F.pixel_unshuffle(images(), 2), ShapeError, "2", "height and width")],
    "channel_shuffle": [(lambda: F.channel_shuffle(images(), 3), ShapeError, "3 groups", "(2, 4, 5, 6)")],
    "Conv2d": [(lambda: nn.Conv2d(1, 1, 3, padding_mode="mirror"), ArgumentError, "padding_mode", "'mirror'")],
    "ReflectionPad2d": [
        (lambda: nn.ReflectionPad2d((1, 2)), ArgumentError, "4", "(1, 2)"),
        (lambda: nn.ReflectionPad2d(1)(floats(2, 3)), ShapeError, "3 or 4 dimensions", "(2, 3)"),
    ],
    "max_pool2d": [
        (lambda: F.max_pool2d(floats(5, 6), 2), ShapeError, "(N, C, H, W)", "2 dimension"),
        (lambda: F.max_pool2d(images(), 6), ShapeError, "larger than the padded input", "height 5", "window of 6"),
        (lambda: F.max_pool2d(images(), 3, dilation=3), ShapeError, "height 5", "window of 7", "dilation 3"),
        (lambda: F.max_pool2d(images(), 0), ArgumentError, "kernel_size", "1 or more", "0"),
        (lambda: F.max_pool2d(images(), 2, 0), ArgumentError, "stride", "1 or more", "0"),
        (lambda: F.max_pool2d(images(), 2, dilation=0), ArgumentError, "dilation", "1 or more", "0"),
        (lambda: F.max_pool2d(images(), 2, padding=-1), ArgumentError, "padding", "0 or more", "-1"),
        (lambda: F.max_pool2d(images(), 2, padding=2), ArgumentError, "half the window", "(2, 2)"),
        (lambda: F.max_pool2d(integers(1, 1, 4, 4), 2), DTypeError, "int64"),
    ],
    "avg_pool2d": [
        (lambda: F.avg_pool2d(floats(4, 5), 2), ShapeError, "(N, C, H, W)", "2 dimension"),
        (lambda: F.avg_pool2d(images(), (2, 7)), ShapeError, "larger than the padded input", "width 6", "window of 7"),
        (lambda: F.avg_pool2d(images(), -2), ArgumentError, "kernel_size", "1 or more", "-2"),
        (lambda: F.avg_pool2d(images(), (3, 2), padding=(1, 2)), ArgumentError, "half the window", "(1, 2)"),
        (lambda: F.avg_pool2d(images(), 2, divisor_override=0), ArgumentError, "divisor_override", "1 or more", "0"),
    ],
    "adaptive_avg_pool2d": [
        (lambda: F.adaptive_avg_pool2d(images(), 0), ArgumentError, "output_size", "1 or more", "0"),
        (lambda: F.adaptive_avg_pool2d(images(), (1, 2, 3)), ArgumentError, "output_size", "two", "(1, 2, 3)"),
        (lambda: F.adaptive_avg_pool2d(floats(5, 6), 1), ShapeError, "(N, C, H, W)", "(5, 6)"),
    ],
    "adaptive_max_pool2d": [
        (lambda: F.adaptive_max_pool2d(images(), (None, -1)), ArgumentError, "output_size", "1 or more", "-1"),
    ],
    "global_avg_pool2d": [
        (lambda: F.global_avg_pool2d(floats(4, 5)), ShapeError, "(N, C, H, W)", "(4, 5)"),
    ],
    "max_pool1d": [
        (lambda: F.max_pool1d(floats(2, 3, 4, 5), 2), ShapeError, "(N, C, L)", "(2, 3, 4, 5)"),
        (lambda: F.max_pool1d(floats(2, 3, 4), (2, 2)), ArgumentError, "kernel_size", "(2, 2)"),
    ],
    "lp_pool2d": [(lambda: F.lp_pool2d(images(), "a", 2), ArgumentError, "norm_type", "'a'")],
    "max_unpool2d": [
        (lambda: F.max_unpool2d(images(), integers(2, 4, 5, 5), 2), ShapeError, "(2, 4, 5, 6)", "(2, 4, 5, 5)"),
        (lambda: F.max_unpool2d(images(), images(), 2), DTypeError, "integers", "float32"),
        (lambda: F.max_unpool2d(images(), integers(2, 4, 5, 6) - 1, 2), LabelError, "0 .. 119"),
        (lambda: F.max_unpool2d(images(), integers(2, 4, 5, 6), 2, output_size=(10, 14)), ArgumentError, "[10, 14]"),
    ],
    "unfold": [
        (lambda: F.unfold(images(), 7), ShapeError, "larger than the padded input"),
        (lambda: F.unfold(floats(2, 3), 2), ShapeError, "(N, C, H, W)", "(2, 3)"),
    ],
    "fold": [(lambda: F.fold(floats(2, 8, 3), (3, 3), 2), ShapeError, "(N, C*4, 2*2)", "(2, 8, 3)")],
    "one_hot": [
        (lambda: F.one_hot(labels(0, 3), 3), LabelError, "0 .. 2", "0 to 3"),
        (lambda: F.one_hot(floats(2)), DTypeError, "integer", "float32"),
        (lambda: F.one_hot(integers(0)), ArgumentError, "num_classes", "(0,)"),
    ],
    "dropout1d": [(lambda: F.dropout1d(floats(2)), ShapeError, "(N, C, L)", "(2,)")],
    "feature_alpha_dropout": [(lambda: F.feature_alpha_dropout(floats(2)), ShapeError, "(N, C, ...)", "(2,)")],
    "stochastic_depth": [
        (lambda: F.stochastic_depth(images(), 0.5, "image"), ArgumentError, "'row'", "'image'"),
        (lambda: F.stochastic_depth(images(), 2, "row"), ArgumentError, "[0, 1]", "2"),
    ],
    "batch_norm": [
        (lambda: normalise(x=(3,)), ShapeError, "(N, C)", "(3,)"),
        (lambda: normalise(x=(1, 3, 2, 2, 2)), ShapeError, "(N, C, H, W)", "(1, 3, 2, 2, 2)"),
        (lambda: normalise(x=(2, 4, 5, 5)), ShapeError, "running_mean", "(4,)", "(3,)"),
        (lambda: normalise(weight=floats(2)), ShapeError, "weight", "(3,)", "(2,)"),
        (lambda: normalise(x=(1, 3), training=True), ShapeError, "more than one value per channel", "(1, 3)", "eval()"),
        (lambda: normalise(x=(1, 3, 1, 1), training=True), ShapeError, "more than one value", "(1, 3, 1, 1)"),
        (lambda: normalise(running_var=None), ArgumentError, "running_mean and running_var", "together"),
        (lambda: F.batch_norm(images()), ArgumentError, "evaluation needs running_mean"),
        (lambda: normalise(eps="a"), ArgumentError, "eps", "a number", "'a'"),
        (lambda: normalise(eps=-1.0), ArgumentError, "eps", "0 or more", "-1.0"),
        (lambda: normalise(momentum="a"), ArgumentError, "momentum", "a number", "'a'"),
        (lambda: F.batch_norm(integers(2, 3), training=True), DTypeError, "int64", ".float()"),
        (lambda: normalise(weight=floats(3, dtype=np.float64)), DTypeError, "float32", "float64", "weight"),
        (lambda: normalise(running_mean=integers(3)), DTypeError, "running_mean", "int64"),
    ],
    "group_norm": [
        (lambda: F.group_norm(floats(3), 1), ShapeError, "(N, C, ...)", "(3,)"),
        (lambda: F.group_norm(images(), 3), ArgumentError, "num_groups=3", "4 channels"),
        (lambda: F.group_norm(floats(2, 4), 4), ShapeError, "more than one value", "(2, 4)"),
        (lambda: F.group_norm(images(), 2, floats(2)), ShapeError, "weight", "(4,)", "(2,)"),
        (lambda: F.group_norm(images(), 2, floats(4, dtype=np.float64)), DTypeError, "float32", "float64", "weight"),
        (lambda: F.group_norm(images(), 2, eps=-1.0), ArgumentError, "eps", "-1.0"),
    ],
    "instance_norm": [
        (lambda: F.instance_norm(floats(2, 3)), ShapeError, "(N, C, L)", "(2, 3)"),
        (lambda: F.instance_norm(floats(2, 3, 1, 1)), ShapeError, "more than one value", "(2, 3, 1, 1)"),
        (lambda: F.instance_norm(images(), floats(4)), ArgumentError, "running_var", "together"),
    ],
    "layer_norm": [
        (lambda: F.layer_norm(floats(2, 3), 4), ShapeError, "(4,)", "(2, 3)"),
        (lambda: F.layer_norm(floats(2, 3), 3, floats(2)), ShapeError, "weight", "(3,)", "(2,)"),
        (lambda: F.layer_norm(floats(2, 3), 3.0), ArgumentError, "whole numbers", "3.0"),
    ],
    "rms_norm": [(lambda: F.rms_norm(floats(2, 3), (2,)), ShapeError, "(2,)", "(2, 3)")],
    "local_response_norm": [
        (lambda: F.local_response_norm(floats(2, 3), 2), ShapeError, "(N, C, ...)", "(2, 3)"),
        (lambda: F.local_response_norm(images(), 0), ArgumentError, "size", "1 or more", "0"),
    ],
    "GroupNorm": [(lambda: nn.GroupNorm(3, 4), ArgumentError, "num_groups=3", "num_channels=4")],
    "dropout": [
        (lambda: F.dropout(floats(2), 1.5), ArgumentError, "[0, 1]", "1.5"),
        (lambda: F.dropout(floats(2), -0.1, training=False), ArgumentError, "[0, 1]", "-0.1"),
        (lambda: F.dropout(floats(2), math.nan), ArgumentError, "[0, 1]", "nan"),
        (lambda: F.dropout(floats(2), "half"), ArgumentError, "[0, 1]", "'half'"),
        (lambda: F.dropout(integers(2)), DTypeError, "int64"),
        (lambda: F.dropout(floats(2), training="no"), ArgumentError, "training", "True or False", "'no'"),
    ],
    "dropout2d": [
        (lambda: F.dropout2d(floats(2, 3)), ShapeError, "(N, C, H, W)", "(2, 3)"),
        (lambda: F.dropout2d(images(), 2), ArgumentError, "[0, 1]", "2"),
    ],
    "relu": [(lambda: F.relu(integers(2)), DTypeError, "int64", ".float()")],
    "leaky_relu": [
        (lambda: F.leaky_relu([1.0]), DTypeError, "a Tensor", "list", "gpunet.tensor"),
        (lambda: F.leaky_relu(floats(2), None), ArgumentError, "negative_slope", "a number", "None"),
    ],
    "constant_": [(lambda: nn.init.constant_(floats(2), None), ArgumentError, "val", "a number", "None")],
    "normal_": [(lambda: nn.init.normal_(np.ones(3)), DTypeError, "a Tensor", "ndarray")],
    "uniform_": [(lambda: nn.init.uniform_(floats(2), "a"), ArgumentError, "a number", "'a'")],
    "init": [(lambda: nn.init.kaiming_normal_(np.ones((3, 3))), DTypeError, "a Tensor", "ndarray")],
    "BatchNorm2d": [
        (lambda: nn.BatchNorm2d(3, eps=None), ArgumentError, "eps", "None"),
        (lambda: nn.BatchNorm2d(3, momentum="a"), ArgumentError, "momentum", "'a'"),
    ],
    "Linear": [
        (lambda: nn.Linear(2, 2).train("no"), ArgumentError, "True or False", "'no'"),
        (lambda: setattr(nn.Linear(2, 2), "weight", np.ones((2, 2))), DTypeError, "nn.Parameter", "ndarray"),
    ],
    "type of number": [
        (lambda: nn.Linear(2, 2).to("nonsense"), DTypeError, "'nonsense'"),
        (lambda: nn.Linear(2, 2).to(None), DTypeError, "None"),
    ],
    "Linear.to": [(lambda: nn.Linear(2, 2).to("cuda:1"), BackendError, "cuda:1", "use_backend")],
    "gradcheck": [
        (lambda: gradcheck(lambda x: x, np.ones(3)), DTypeError, "input 0", "a Tensor", "float64"),
        (lambda: gradcheck(lambda x: 3, tensor(np.ones(3), requires_grad=True)), DTypeError, "return", "int"),
    ],
    "sigmoid": [(lambda: F.sigmoid(integers(2)), DTypeError, "int64")],
    "tanh": [(lambda: F.tanh(1.0), DTypeError, "a Tensor", "float")],
    "silu": [(lambda: F.silu(integers(2)), DTypeError, "int64")],
    "gelu": [
        (lambda: F.gelu(integers(2)), DTypeError, "int64"),
        (lambda: F.gelu(floats(2), "erf"), ArgumentError, "approximate", "'none', 'tanh'", "'erf'"),
    ],
    "hardtanh": [(lambda: F.hardtanh(floats(2), 2, 1), ArgumentError, "min_val", "2.0", "1.0")],
    "celu": [(lambda: F.celu(floats(2), 0), ArgumentError, "alpha", "0")],
    "prelu": [
        (lambda: F.prelu(floats(2, 3), floats(2)), ShapeError, "1 slope or 3", "(2,)", "(2, 3)"),
        (lambda: F.prelu(floats(2, 3), floats(3, dtype=np.float64)), DTypeError, "float32", "float64", "weight"),
    ],
    "rrelu": [(lambda: F.rrelu(floats(2), 2, 1), ArgumentError, "lower", "2.0", "1.0")],
    "softshrink": [(lambda: F.softshrink(floats(2), -1), ArgumentError, "lambd", "0 or more", "-1")],
    "glu": [
        (lambda: F.glu(floats(2, 3)), ShapeError, "even", "(2, 3)"),
        (lambda: F.glu(floats(2, 4), 2), ShapeError, "dimension 2"),
    ],
    "Softmax2d": [(lambda: nn.Softmax2d()(floats(2, 3)), ShapeError, "(N, C, H, W)", "(2, 3)")],
    "PReLU": [(lambda: nn.PReLU(0), ArgumentError, "num_parameters", "1 or more", "0")],
    "GELU": [(lambda: nn.GELU("erf"), ArgumentError, "approximate", "'erf'")],
    "softmax": [
        (lambda: F.softmax(floats(2, 3), 2), ShapeError, "dim 2", "(2, 3)"),
        (lambda: F.softmax(floats(), 1), ShapeError, "dim 1", "()"),
        (lambda: F.softmax(integers(2, 3), 1), DTypeError, "int64"),
        (lambda: F.softmax(floats(2, 3), None), ArgumentError, "softmax", "whole numbers", "None"),
        (lambda: F.softmax(floats(2, 3), 1.0), ArgumentError, "softmax", "whole numbers", "1.0"),
    ],
    "log_softmax": [(lambda: F.log_softmax(floats(2, 3), -3), ShapeError, "dim -3", "(2, 3)")],
    "cross_entropy": [
        (lambda: F.cross_entropy(floats(2, 3), labels(0, 3)), LabelError, "0 .. 2", "3 classes", "got 3"),
        (lambda: F.cross_entropy(floats(2, 3), labels(-1, 0)), LabelError, "0 .. 2", "got -1"),
        (lambda: F.cross_entropy(floats(2, 3), labels(0, -100), ignore_index=-1), LabelError, "0 .. 2", "got -100"),
        (lambda: F.cross_entropy(floats(2, 3), floats(2)), DTypeError, "integers", "float32", ".long()"),
        (lambda: F.cross_entropy(floats(2, 3), [0, 1]), DTypeError, "integer class labels", "list"),
        (lambda: F.cross_entropy(floats(2, 3), tensor([True, False])), DTypeError, "integer class labels", "bool"),
        (lambda: F.cross_entropy(integers(2, 3), labels(0, 1)), DTypeError, "input", "int64"),
        (lambda: F.cross_entropy(floats(2, 3), labels(0, 1, 2)), ShapeError, "(2,)", "(2, 3)", "(3,)"),
        (lambda: F.cross_entropy(floats(2, 3), integers(2, 3)), ShapeError, "target", "(2,)", "(2, 3)"),
        (lambda: F.cross_entropy(floats(2, 3, 4, 4), integers(2, 4)), ShapeError, "(2, 4, 4)", "(2, 4)"),
        (lambda: F.cross_entropy(floats(), labels(0)), ShapeError, "(N, C)", "()"),
        (lambda: F.cross_entropy(floats(2, 3), floats(2, 4)), ShapeError, "same shape", "(2, 3)", "(2, 4)"),
        (lambda: F.cross_entropy(floats(2, 3), floats(2, 3) * 3), LabelError, "target", "[0, 1]"),
        (lambda: F.cross_entropy(floats(2, 3), floats(2, 3) * math.nan), LabelError, "target", "NaN"),
        (lambda: F.cross_entropy(floats(2, 3), labels(0, 1), floats(2)), ShapeError, "weight", "3 classes", "(2,)"),
        (lambda: F.cross_entropy(floats(2, 3), labels(0, 1), integers(3)), DTypeError, "weight", "int64"),
        (
            lambda: F.cross_entropy(floats(2, 3), labels(0, 1), reduction="average"),
            ArgumentError,
            "'mean'",
            "'average'",
        ),
        (lambda: F.cross_entropy(floats(2, 3), labels(0, 1), label_smoothing=2), ArgumentError, "label_smoothing", "2"),
        (lambda: F.cross_entropy(floats(2, 3), labels(0, 1), ignore_index=1.5), ArgumentError, "ignore_index", "1.5"),
    ],
    "nll_loss": [
        (lambda: F.nll_loss(floats(2, 3), labels(0, 5)), LabelError, "0 .. 2", "got 5"),
        (lambda: F.nll_loss(floats(2, 3), floats(2)), DTypeError, "integer class labels", "float32"),
        (lambda: F.nll_loss(floats(2, 3), labels(0)), ShapeError, "(2,)", "(1,)"),
        (lambda: F.nll_loss(floats(2, 3), labels(0, 1), floats(4)), ShapeError, "weight", "3 classes", "(4,)"),
        (lambda: F.nll_loss(floats(2, 3), labels(0, 1), reduction="batchmean"), ArgumentError, "'sum'", "'batchmean'"),
    ],
    "binary_cross_entropy": [
        (lambda: F.binary_cross_entropy(floats(2) * 3, floats(2)), LabelError, "input", "[0, 1]"),
        (lambda: F.binary_cross_entropy(floats(2), floats(2) - 1), LabelError, "target", "[0, 1]"),
        (lambda: F.binary_cross_entropy(floats(2) * math.nan, floats(2)), LabelError, "input", "NaN"),
        (lambda: F.binary_cross_entropy(floats(2), floats(2, 1)), ShapeError, "same shape", "(2,)", "(2, 1)"),
        (lambda: F.binary_cross_entropy(floats(2), integers(2)), DTypeError, "target", "int64", ".float()"),
        (lambda: F.binary_cross_entropy(floats(2), floats(2), floats(3)), ShapeError, "weight", "(2,)", "(3,)"),
        (lambda: F.binary_cross_entropy(floats(2), floats(2), floats(1, 2)), ShapeError, "weight", "(2,)", "(1, 2)"),
    ],
    "binary_cross_entropy_with_logits": [
        (lambda: F.binary_cross_entropy_with_logits(floats(2), floats(2) * 4), LabelError, "target", "[0, 1]"),
        (lambda: F.binary_cross_entropy_with_logits(floats(2, 1), floats(2)), ShapeError, "same shape", "(2, 1)"),
        (
            lambda: F.binary_cross_entropy_with_logits(floats(4, 5), floats(4, 5), pos_weight=floats(3)),
            ShapeError,
            "pos_weight",
            "(4, 5)",
            "(3,)",
        ),
        (
            lambda: F.binary_cross_entropy_with_logits(floats(2), floats(2), pos_weight=floats(2, dtype=np.float64)),
            DTypeError,
            "pos_weight",
            "float32",
            "float64",
        ),
        (
            lambda: F.binary_cross_entropy_with_logits(floats(2), floats(2), pos_weight=[1.0, 2.0]),
            DTypeError,
            "pos_weight",
            "list",
        ),
    ],
    "kl_div": [
        (lambda: F.kl_div(floats(2, 3), floats(3, 2)), ShapeError, "same shape", "(2, 3)", "(3, 2)"),
        (lambda: F.kl_div(floats(2, 3), floats(2, 3), "average"), ArgumentError, "'batchmean'", "'average'"),
    ],
    "mse_loss": [
        (lambda: F.mse_loss(floats(2, 1), floats(2)), ShapeError, "same shape", "(2, 1)", "(2,)"),
        (lambda: F.mse_loss(floats(2), floats(2, dtype=np.float64)), DTypeError, "float32", "float64"),
        (lambda: F.mse_loss(floats(2), floats(2), "batchmean"), ArgumentError, "'mean'", "'batchmean'"),
    ],
    "smooth_l1_loss": [(lambda: F.smooth_l1_loss(floats(2), floats(2), beta=-1), ArgumentError, "beta", "-1")],
    "huber_loss": [(lambda: F.huber_loss(floats(2), floats(2), delta=0), ArgumentError, "delta", "0")],
    "l1_loss": [(lambda: F.l1_loss(floats(2), floats(2, dtype=np.float64)), DTypeError, "float32", "float64")],
    "margin_ranking_loss": [
        (lambda: F.margin_ranking_loss(floats(2), floats(2), floats(3)), ShapeError, "same shape", "(2,)", "(3,)"),
        (lambda: F.margin_ranking_loss(integers(2), floats(2), floats(2)), DTypeError, "input1", "int64"),
        (lambda: F.margin_ranking_loss(floats(2), floats(2), floats(2), "a"), ArgumentError, "margin", "'a'"),
    ],
    "multi_margin_loss": [
        (lambda: F.multi_margin_loss(floats(2, 3), labels(0, 3)), LabelError, "0 .. 2", "got 3"),
        (lambda: F.multi_margin_loss(floats(2, 3), labels(0, 1), 3), ArgumentError, "p must be", "3"),
        (lambda: F.multi_margin_loss(floats(2, 3, 1), labels(0, 1)), ShapeError, "(N, C)", "(2, 3, 1)"),
        (lambda: F.multi_margin_loss(floats(2, 3), labels(0, 1), weight=floats(2)), ShapeError, "3 classes", "(2,)"),
    ],
    "multilabel_margin_loss": [
        (lambda: F.multilabel_margin_loss(floats(2, 3), integers(2)), ShapeError, "(2, 3)", "(2,)"),
        (lambda: F.multilabel_margin_loss(floats(2, 3), floats(2, 3)), DTypeError, "integer", "float32"),
        (lambda: F.multilabel_margin_loss(floats(3), labels(0, 3, -1)), LabelError, "-1 .. 2"),
    ],
    "cosine_embedding_loss": [
        (lambda: F.cosine_embedding_loss(floats(2, 3), floats(2, 3), floats(3)), ShapeError, "(N,)", "(3,)"),
    ],
    "triplet_margin_loss": [
        (lambda: F.triplet_margin_loss(floats(2, 3), floats(2, 3), floats(3)), ShapeError, "(2, 3)", "(3,)"),
    ],
    "gaussian_nll_loss": [
        (lambda: F.gaussian_nll_loss(floats(2, 3), floats(2, 3), floats(3)), ShapeError, "var", "(2, 3)", "(3,)"),
        (lambda: F.gaussian_nll_loss(floats(2), floats(2), -1.0), ArgumentError, "var", "negative"),
        (lambda: F.gaussian_nll_loss(floats(2), floats(2), 1.0, eps=0), ArgumentError, "eps", "0"),
    ],
    "normalize": [(lambda: F.normalize(integers(2, 2)), DTypeError, "int64")],
    "pad": [
        (lambda: F.pad(floats(2, 3), (1, 2, 3)), ArgumentError, "two numbers", "(1, 2, 3)"),
        (lambda: F.pad(floats(2), (1, 1, 1, 1)), ArgumentError, "at most 1", "(1, 1, 1, 1)"),
        (lambda: F.pad(floats(2), (1, -3)), ArgumentError, "takes away", "(1, -3)", "(2,)"),
        (lambda: F.pad(floats(2, 2), (1, 1), "mirror"), ArgumentError, "'reflect'", "'mirror'"),
        (lambda: F.pad(floats(2, 2), (1, 2), "reflect"), ArgumentError, "2 elements", "(2, 2)"),
        (lambda: F.pad(floats(2, 2), (3, 0), "circular"), ArgumentError, "3 elements", "(2, 2)"),
        (lambda: F.pad(floats(2), (1, 1), "reflect"), ArgumentError, "one or two dimensions", "(2,)"),
        (lambda: F.pad(floats(2, 2), (1, 1), "reflect", 1.0), ArgumentError, "value", "'reflect'", "1.0"),
        (lambda: F.pad(floats(2), (1.0, 1)), ArgumentError, "whole number", "1.0"),
        (lambda: F.pad(floats(2), 1), ArgumentError, "two numbers", "1"),
        (lambda: F.pad(floats(2), (1, 1), value="a"), ArgumentError, "value", "number", "'a'"),
        (lambda: F.pad([1.0], (1, 1)), DTypeError, "a Tensor", "list"),
    ],
    "cat": [
        (lambda: F.cat([]), ArgumentError, "at least one Tensor"),
        (lambda: F.cat([floats(2, 3), floats(2, 4)]), ShapeError, "dimension 0", "(2, 3)", "(2, 4)"),
        (lambda: F.cat([floats(2, 3), floats(2)]), ShapeError, "(2, 3)", "(2,)"),
        (lambda: F.cat([floats(2)], 1), ShapeError, "dimension 1", "(2,)"),
        (lambda: F.cat([floats(2)], 0.0), ArgumentError, "cat", "whole numbers", "0.0"),
        (lambda: F.cat([floats(2)], True), ArgumentError, "cat", "whole numbers", "True"),
        (lambda: F.cat([floats(2), np.ones(2, np.float32)]), DTypeError, "number 1", "a Tensor", "ndarray"),
        (lambda: F.cat(3), DTypeError, "a list of Tensors", "int"),
    ],
    "stack": [
        (lambda: F.stack([floats(2), floats(3)]), ShapeError, "equal", "(2,)", "(3,)"),
        (lambda: F.stack([]), ArgumentError, "at least one Tensor"),
        (lambda: F.stack([floats(2), None]), DTypeError, "number 1", "NoneType"),
        (lambda: F.stack([floats(2)], 1.0), ArgumentError, "whole numbers", "1.0"),
    ],
    "maximum": [(lambda: F.maximum(floats(2), floats(3)), ShapeError, "broadcast", "(2,)", "(3,)")],
    "minimum": [(lambda: F.minimum(floats(2, 2), floats(3, 1, 3)), ShapeError, "broadcast", "(2, 2)", "(3, 1, 3)")],
    "where": [
        (lambda: F.where(tensor([True, False]), floats(3), 0.0), ShapeError, "broadcast", "(2,)", "(3,)"),
        (lambda: F.where(tensor([True, False]), floats(2), floats(3)), ShapeError, "broadcast", "(3,)"),
    ],
    "add": [(lambda: floats(2, 3) + floats(2), ShapeError, "broadcast", "(2, 3)", "(2,)", "3 and 2")],
    "multiply": [(lambda: floats(2) * floats(3), ShapeError, "broadcast", "(2,)", "(3,)")],
    "comparison": [(lambda: floats(2) < floats(3), ShapeError, "broadcast", "(2,)", "(3,)")],
    "matmul": [
        (lambda: floats(2, 3) @ floats(2, 3), ShapeError, "(2, 3) @ (2, 3)"),
        (lambda: floats(2, 3) @ floats(), ShapeError, "(2, 3) @ ()"),
        (lambda: floats(2, 2, 3) @ floats(3, 3, 2), ShapeError, "broadcast", "(2,)", "(3,)"),
    ],
    "reshape": [
        (lambda: floats(2, 3).reshape(4, 2), ShapeError, "(2, 3)", "6 elements", "(4, 2)"),
        (lambda: floats(2, 3).reshape(-1, -1), ShapeError, "(-1, -1)"),
        (lambda: floats(2, 3).reshape(4, -1), ShapeError, "(4, -1)"),
        (lambda: floats(2, 3).view(-2, 3), ShapeError, "(-2, 3)"),
    ],
    "permute": [(lambda: floats(2, 3).permute(0, 0), ShapeError, "2 dimensions once", "(0, 0)")],
    "transpose": [(lambda: floats(2, 3).transpose(0, 2), ShapeError, "dimension 2", "2 dimension")],
    "expand": [
        (lambda: floats(2, 3).expand(4, 3), ShapeError, "(2, 3)", "(4, 3)"),
        (lambda: floats(2, 3).expand(3), ShapeError, "(2, 3)", "(3,)"),
        (lambda: floats(3).expand(-1, 3), ShapeError, "(3,)", "(-1, 3)"),
    ],
    "flatten": [
        (lambda: F.flatten(floats(2, 3), 1, 0), ArgumentError, "start_dim before end_dim", "1 and 0"),
        (lambda: F.flatten(floats(2, 3), 2), ShapeError, "dimension 2"),
        (lambda: F.flatten(np.ones((2, 3))), DTypeError, "a Tensor", "ndarray"),
        (lambda: nn.Flatten()(np.ones((2, 3))), DTypeError, "a Tensor", "ndarray"),
    ],
    "squeeze": [(lambda: floats(2).squeeze(1), ShapeError, "dimension 1", "1 dimension")],
    "sum": [
        (lambda: floats(2, 3).sum(2), ShapeError, "dimension 2", "2 dimension"),
        (lambda: floats(2, 3).sum((0, 0)), ArgumentError, "twice", "(0, 0)"),
    ],
    "mean": [(lambda: integers(2).mean(), DTypeError, "floats", "int64", ".float()")],
    "max": [(lambda: floats(0).max(), ShapeError, "at least one element", "(0,)")],
    "argmin": [(lambda: floats(0, 2).argmin(0), ShapeError, "at least one element", "(0, 2)")],
    "clamp": [(lambda: floats(2).clamp(), ArgumentError, "min and max")],
    "index": [
        (lambda: floats(2, 3)[2], ShapeError, "(2, 3)", "2"),
        (lambda: floats(2, 3)[0, 0, 0], ShapeError, "(2, 3)"),
        (lambda: floats(2, 3)[[0, 5]], ShapeError, "(2, 3)", "5"),
        (lambda: floats(2, 3)[tensor([True, False, True])], ShapeError, "(2, 3)"),
        (lambda: floats(2)["a"], ShapeError, "(2,)"),
    ],
    "item()": [(lambda: floats(2).item(), ShapeError, "one element", "(2,)")],
    "len()": [(lambda: len(floats()), DTypeError, "at least one dimension")],
    "Tensor": [
        (lambda: tensor("abc"), DTypeError, "real numbers", "<U3"),
        (lambda: tensor([1j]), DTypeError, "real numbers", "complex128"),
        (lambda: tensor(None), DTypeError, "real numbers", "object"),
        (lambda: tensor([1.0], dtype=complex), DTypeError, "real numbers", "complex128"),
    ],
    "tensor": [
        (lambda: tensor([[1.0], [2.0, 3.0]]), ShapeError, "equal lengths", "ragged"),
        (lambda: tensor([floats(2), floats(3)]), ShapeError, "equal lengths", "ragged"),
    ],
    "requires_grad": [
        (lambda: tensor([1], requires_grad=True), DTypeError, "floats", "int64"),
        (lambda: nn.Linear(2, 2).requires_grad_("no"), ArgumentError, "True or False", "'no'"),
        (lambda: setattr(needing_gradient(2) * 1, "requires_grad", False), GradientError, "detach()"),
    ],
    "backward": [
        (lambda: (needing_gradient(2) * 2).backward(), GradientError, "(2,)", "gradient", ".mean()"),
        (lambda: floats(1).backward(), GradientError, "history", "requires_grad=True"),
        (backward_twice, GradientError, "already run", "forward pass again"),
        (lambda: needing_gradient(2).backward(floats(3)), ShapeError, "(2,)", "(3,)"),
    ],
    "gradient": [
        (lambda: setattr(needing_gradient(2), "grad", floats(3)), ShapeError, "(2,)", "(3,)"),
        (lambda: setattr(floats(2), "grad", floats(2)), GradientError, "requires_grad=True"),
    ],
    "manual_seed": [(lambda: manual_seed(-1), ArgumentError, "0 or more", "-1")],
    "set_num_threads": [
        (lambda: set_num_threads(0), ArgumentError, "from 1 to 1024", "0"),
        (lambda: set_num_threads(10**6), ArgumentError, "from 1 to 1024", "1000000"),
    ],
}


@pytest.mark.parametrize(
    ("who", "call", "error", "words"),
    [
        pytest.param(who, call, error, words, id=f"{who} {number}")
        for who, rows in BAD_INPUT.items()
        for number, (call, error, *words) in enumerate(rows)
    ],
)
def test_message_says_who_expected_what_and_got_what(who, call, error, words):
    with pytest.raises(GpunetError) as caught:
        call()
    assert type(caught.value) is error
    missing = [word for word in (who, *words) if word not in str(caught.value)]
    assert not missing, f"{missing} not in {caught.value}"


class ArrayOfAnother:
    """Looks like an array of a backend that is not in use."""

    __module__ = "cupy"
    shape, strides, ndim, size, dtype = (1, 1, 2, 2), (16, 16, 8, 4), 4, 4, np.dtype(np.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda other: F.relu(other),
        lambda other: F.max_pool2d(other, 2),
        lambda other: other + 1,
        lambda other: floats(1) * other,
        lambda other: F.cat([floats(1, 1, 2, 2), other]),
        lambda other: floats(1) == other,
        lambda other: F.mse_loss(floats(1, 1, 2, 2), other),
        lambda other: needing_gradient(1, 1, 2, 2).backward(other),
    ],
)
def test_array_of_another_backend(call, backend):
    with pytest.raises(BackendError, match=rf"active backend is {backend}"):
        call(Tensor(ArrayOfAnother()))


def test_nothing_changes_when_input_is_bad():
    running = floats(3), floats(3)
    with pytest.raises(ShapeError):
        F.batch_norm(floats(1, 3), *running, training=True)
    assert [each.tolist() for each in running] == [[0.5] * 3] * 2
