"""Record from PyTorch what tests/test_recorded.py compares with: `python -m tests.recorded.record_functional`.

Everything is in float64. The file's metadata holds "cases" as JSON: name -> [function, {input: kind}, settings].

    {case}/{input}          the inputs, drawn as their kind says (see tests/reference.py)
    {case}/output           the output
    {case}/upstream         the gradient that is sent into it
    {case}/{input}.grad     the gradient by each input that has one
    {case}/{input}.after    running statistics after the call
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from tests.reference import DIFFERENTIABLE, draw

IMAGES = {"input": ["normal", [2, 4, 5, 6]]}
FILTERS = {**IMAGES, "weight": ["normal", [6, 4, 3, 2]], "bias": ["normal", [6]]}
VALUES = {"input": ["normal", [4, 5]]}
ROWS = {"input": ["normal", [2, 4, 9]]}
AFFINE = {"weight": ["normal", [4]], "bias": ["normal", [4]]}
TWO = {"input1": ["normal", [4, 5]], "input2": ["normal", [4, 5]]}
LOGITS = {"input": ["normal", [6, 4]], "target": ["labels", [6]]}
LOGIT_IMAGES = {"input": ["normal", [2, 4, 3, 2]], "target": ["labels", [2, 3, 2]]}
CLASS_WEIGHT = {"weight": ["constant", [4]]}
TO_DISTRIBUTIONS = {"input": ["normal", [6, 4]], "target": ["distribution", [6, 4]]}
TO_PROBABILITIES = {"input": ["normal", [4, 5]], "target": ["constant", [4, 5]]}


def normalised(*shape):
    channels = [shape[1]]
    return {
        "input": ["normal", list(shape)],
        "running_mean": ["constant", channels],
        "running_var": ["constant", channels],
        "weight": ["normal", channels],
        "bias": ["normal", channels],
    }


FORMULAS = [
    "celu",
    "elu",
    "hardshrink",
    "hardswish",
    "hardtanh",
    "logsigmoid",
    "mish",
    "relu6",
    "rrelu",
    "selu",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
]
CASES = {
    "conv2d": ["conv2d", FILTERS, {}],
    "conv2d_stride": ["conv2d", FILTERS, {"stride": [2, 3], "padding": 1}],
    "conv2d_dilation": ["conv2d", FILTERS, {"dilation": [2, 1], "padding": [2, 0]}],
    "conv2d_groups": ["conv2d", {**IMAGES, "weight": ["normal", [6, 2, 3, 3]]}, {"groups": 2, "stride": 2}],
    "conv2d_depthwise": ["conv2d", {**IMAGES, "weight": ["normal", [4, 1, 3, 3]]}, {"groups": 4, "padding": 1}],
    "conv2d_pointwise": ["conv2d", {**IMAGES, "weight": ["normal", [3, 4, 1, 1]]}, {}],
    "conv2d_same": ["conv2d", FILTERS, {"padding": "same", "dilation": [1, 2]}],
    "conv2d_same_odd": ["conv2d", FILTERS, {"padding": "same", "dilation": [1, 3]}],
    "conv2d_valid": ["conv2d", FILTERS, {"padding": "valid"}],
    "linear": ["linear", {**VALUES, "weight": ["normal", [3, 5]], "bias": ["normal", [3]]}, {}],
    "linear_3d": ["linear", {"input": ["normal", [2, 3, 5]], "weight": ["normal", [3, 5]]}, {}],
    "max_pool2d": ["max_pool2d", IMAGES, {"kernel_size": 2}],
    "max_pool2d_ceil": [
        "max_pool2d",
        IMAGES,
        {"kernel_size": [3, 2], "stride": 2, "padding": [1, 0], "ceil_mode": True},
    ],
    "max_pool2d_dilation": ["max_pool2d", IMAGES, {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": [2, 1]}],
    "avg_pool2d": ["avg_pool2d", IMAGES, {"kernel_size": 2}],
    "avg_pool2d_ceil": ["avg_pool2d", IMAGES, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}],
    "avg_pool2d_excluding": [
        "avg_pool2d",
        IMAGES,
        {"kernel_size": 3, "stride": [1, 2], "padding": 1, "ceil_mode": True, "count_include_pad": False},
    ],
    "avg_pool2d_divisor": ["avg_pool2d", IMAGES, {"kernel_size": [2, 3], "divisor_override": 5}],
    "adaptive_avg_pool2d": ["adaptive_avg_pool2d", IMAGES, {"output_size": [3, 4]}],
    "adaptive_avg_pool2d_one": ["adaptive_avg_pool2d", IMAGES, {"output_size": 1}],
    "adaptive_avg_pool2d_larger": ["adaptive_avg_pool2d", IMAGES, {"output_size": [7, None]}],
    "adaptive_max_pool2d": ["adaptive_max_pool2d", IMAGES, {"output_size": [3, 4]}],
    "adaptive_max_pool2d_larger": ["adaptive_max_pool2d", IMAGES, {"output_size": [None, 8]}],
    "batch_norm_rows": ["batch_norm", normalised(6, 3), {"training": True}],
    "batch_norm_sequences": ["batch_norm", normalised(3, 4, 5), {"training": True, "momentum": 0.7}],
    "batch_norm_images": ["batch_norm", normalised(2, 4, 5, 6), {"training": True, "eps": 0.01}],
    "batch_norm_evaluation": ["batch_norm", normalised(2, 4, 5, 6), {}],
    "batch_norm_evaluation_rows": ["batch_norm", normalised(6, 3), {"eps": 0.1}],
    "relu": ["relu", VALUES, {}],
    "leaky_relu": ["leaky_relu", VALUES, {}],
    "leaky_relu_slope": ["leaky_relu", VALUES, {"negative_slope": 0.3}],
    "sigmoid": ["sigmoid", VALUES, {}],
    "tanh": ["tanh", VALUES, {}],
    "gelu": ["gelu", VALUES, {}],
    "gelu_tanh": ["gelu", VALUES, {"approximate": "tanh"}],
    "silu": ["silu", VALUES, {}],
    "softmax": ["softmax", VALUES, {"dim": 1}],
    "softmax_images": ["softmax", IMAGES, {"dim": 1}],
    "log_softmax": ["log_softmax", VALUES, {"dim": 0}],
    "log_softmax_images": ["log_softmax", IMAGES, {"dim": -1}],
    "pad": ["pad", IMAGES, {"pad": [1, 2, 0, 3], "value": -1.5}],
    "cross_entropy": ["cross_entropy", LOGITS, {}],
    "cross_entropy_sum": ["cross_entropy", LOGITS, {"reduction": "sum", "ignore_index": 1}],
    "cross_entropy_weight": ["cross_entropy", {**LOGITS, **CLASS_WEIGHT}, {"ignore_index": 2}],
    "cross_entropy_smoothing": ["cross_entropy", {**LOGITS, **CLASS_WEIGHT}, {"label_smoothing": 0.2}],
    "cross_entropy_all": [
        "cross_entropy",
        {**LOGIT_IMAGES, **CLASS_WEIGHT},
        {"label_smoothing": 0.1, "ignore_index": 3, "reduction": "none"},
    ],
    "cross_entropy_images": ["cross_entropy", {**LOGIT_IMAGES, **CLASS_WEIGHT}, {"label_smoothing": 0.1}],
    "cross_entropy_to": ["cross_entropy", TO_DISTRIBUTIONS, {}],
    "cross_entropy_to_smoothing": ["cross_entropy", {**TO_DISTRIBUTIONS, **CLASS_WEIGHT}, {"label_smoothing": 0.3}],
    "nll_loss": ["nll_loss", LOGITS, {}],
    "nll_loss_weight": ["nll_loss", {**LOGITS, **CLASS_WEIGHT}, {"ignore_index": 0}],
    "nll_loss_images": ["nll_loss", {**LOGIT_IMAGES, **CLASS_WEIGHT}, {"reduction": "none"}],
    "binary_cross_entropy": [
        "binary_cross_entropy",
        {"input": ["uniform", [4, 5]], "target": ["constant", [4, 5]]},
        {},
    ],
    "binary_cross_entropy_weight": [
        "binary_cross_entropy",
        {"input": ["uniform", [4, 5]], "target": ["constant", [4, 5]], "weight": ["constant", [5]]},
        {"reduction": "sum"},
    ],
    "binary_cross_entropy_with_logits": ["binary_cross_entropy_with_logits", TO_PROBABILITIES, {}],
    "binary_cross_entropy_with_logits_weight": [
        "binary_cross_entropy_with_logits",
        {**TO_PROBABILITIES, "weight": ["constant", [4, 5]], "pos_weight": ["constant", [5]]},
        {"reduction": "none"},
    ],
    "kl_div_batchmean": ["kl_div", TO_DISTRIBUTIONS, {"reduction": "batchmean"}],
    "kl_div_sum": ["kl_div", TO_DISTRIBUTIONS, {"reduction": "sum"}],
    "kl_div_log_target": ["kl_div", TO_PROBABILITIES, {"log_target": True, "reduction": "none"}],
    "mse_loss": ["mse_loss", {**VALUES, "target": ["normal", [4, 5]]}, {}],
    "mse_loss_none": ["mse_loss", {**VALUES, "target": ["normal", [4, 5]]}, {"reduction": "none"}],
    # Each new one at the end: they all draw from one stream of random numbers.
    **{name: [name, VALUES, {}] for name in FORMULAS},
    "threshold": ["threshold", VALUES, {"threshold": 0.1, "value": -2.0}],
    "prelu": ["prelu", {**IMAGES, "weight": ["normal", [4]]}, {}],
    "glu": ["glu", IMAGES, {"dim": 1}],
    "softmin": ["softmin", VALUES, {"dim": 1}],
    "conv1d": [
        "conv1d",
        {**ROWS, "weight": ["normal", [6, 2, 3]], "bias": ["normal", [6]]},
        {"groups": 2, "stride": 2},
    ],
    "conv_transpose2d": [
        "conv_transpose2d",
        {**IMAGES, "weight": ["normal", [4, 3, 3, 2]], "bias": ["normal", [6]]},
        {"stride": [2, 3], "padding": 1, "output_padding": [0, 2], "groups": 2, "dilation": [2, 1]},
    ],
    "max_pool1d": ["max_pool1d", ROWS, {"kernel_size": 3, "stride": 2, "padding": 1}],
    "avg_pool1d": ["avg_pool1d", ROWS, {"kernel_size": 3, "ceil_mode": True}],
    "adaptive_avg_pool1d": ["adaptive_avg_pool1d", ROWS, {"output_size": 4}],
    "adaptive_max_pool1d": ["adaptive_max_pool1d", ROWS, {"output_size": 4}],
    "lp_pool1d": ["lp_pool1d", {"input": ["uniform", [2, 4, 9]]}, {"norm_type": 2, "kernel_size": 3}],
    "lp_pool2d": ["lp_pool2d", {"input": ["uniform", [2, 4, 5, 6]]}, {"norm_type": 3, "kernel_size": [2, 3]}],
    "max_unpool2d": [
        "max_unpool2d",
        {"input": ["normal", [2, 4, 1, 1]], "indices": ["labels", [2, 4, 1, 1]]},
        {"kernel_size": 2},
    ],
    "unfold": ["unfold", IMAGES, {"kernel_size": [3, 2], "padding": [1, 0], "stride": [1, 2]}],
    "fold": ["fold", {"input": ["normal", [2, 12, 9]]}, {"output_size": [4, 4], "kernel_size": 2}],
    "group_norm": ["group_norm", {**IMAGES, **AFFINE}, {"num_groups": 2}],
    "instance_norm": ["instance_norm", normalised(2, 4, 5, 6), {"momentum": 0.3, "use_input_stats": True}],
    "instance_norm_evaluation": ["instance_norm", normalised(2, 4, 5, 6), {"use_input_stats": False}],
    "layer_norm": [
        "layer_norm",
        {**IMAGES, "weight": ["normal", [5, 6]], "bias": ["normal", [5, 6]]},
        {"normalized_shape": [5, 6], "eps": 0.01},
    ],
    "rms_norm": ["rms_norm", {**VALUES, "weight": ["normal", [5]]}, {"normalized_shape": [5], "eps": 0.01}],
    "local_response_norm": ["local_response_norm", IMAGES, {"size": 3, "alpha": 0.5, "k": 1.5}],
    "interpolate": ["interpolate", IMAGES, {"size": [8, 4]}],
    "interpolate_bilinear": ["interpolate", IMAGES, {"scale_factor": 1.7, "mode": "bilinear"}],
    "interpolate_corners": ["interpolate", IMAGES, {"size": 7, "mode": "bilinear", "align_corners": True}],
    "interpolate_bicubic": ["interpolate", IMAGES, {"size": [9, 3], "mode": "bicubic"}],
    "interpolate_linear": ["interpolate", ROWS, {"scale_factor": 2.0, "mode": "linear"}],
    "pixel_shuffle": ["pixel_shuffle", IMAGES, {"upscale_factor": 2}],
    "pixel_unshuffle": ["pixel_unshuffle", IMAGES, {"downscale_factor": 1}],
    "channel_shuffle": ["channel_shuffle", {"input": ["normal", [2, 6, 3, 2]]}, {"groups": 3}],
    "pad_reflect": ["pad", IMAGES, {"pad": [1, 2, 0, 3], "mode": "reflect"}],
    "pad_replicate": ["pad", IMAGES, {"pad": [1, 2, 0, 3], "mode": "replicate"}],
    "pad_circular": ["pad", IMAGES, {"pad": [1, 2, 0, 3], "mode": "circular"}],
    "pad_negative": ["pad", IMAGES, {"pad": [-1, 2, 3, -2], "value": 0.5}],
    **{
        name: [name, {**VALUES, "target": ["normal", [4, 5]]}, {}]
        for name in ("l1_loss", "smooth_l1_loss", "huber_loss")
    },
    **{
        name: [name, {**VALUES, "target": ["signs", [4, 5]]}, {}]
        for name in ("hinge_embedding_loss", "soft_margin_loss")
    },
    "margin_ranking_loss": ["margin_ranking_loss", {**TWO, "target": ["signs", [4, 5]]}, {"margin": 0.3}],
    "cosine_embedding_loss": ["cosine_embedding_loss", {**TWO, "target": ["signs", [4]]}, {"margin": 0.1}],
    "triplet_margin_loss": [
        "triplet_margin_loss",
        {name: ["normal", [4, 5]] for name in ("anchor", "positive", "negative")},
        {"swap": True},
    ],
    "multi_margin_loss": ["multi_margin_loss", {**LOGITS, **CLASS_WEIGHT}, {"margin": 0.5}],
    "multilabel_margin_loss": [
        "multilabel_margin_loss",
        {"input": ["normal", [6, 4]], "target": ["labels", [6, 4]]},
        {},
    ],
    "multilabel_soft_margin_loss": ["multilabel_soft_margin_loss", TO_PROBABILITIES, {}],
    "poisson_nll_loss": ["poisson_nll_loss", {**VALUES, "target": ["constant", [4, 5]]}, {}],
    "gaussian_nll_loss": [
        "gaussian_nll_loss",
        {**VALUES, "target": ["normal", [4, 5]], "var": ["uniform", [4, 5]]},
        {"full": True},
    ],
    "cosine_similarity": ["cosine_similarity", {"x1": ["normal", [4, 5]], "x2": ["normal", [4, 5]]}, {"dim": 0}],
    "pairwise_distance": ["pairwise_distance", {"x1": ["normal", [4, 5]], "x2": ["normal", [4, 5]]}, {}],
    "normalize": ["normalize", VALUES, {"p": 3.0}],
}


POSITIONAL = {"pixel_shuffle", "pixel_unshuffle", "channel_shuffle"}


def record_case(name, function, kinds, settings, rng):
    arrays = {each: draw(kind, shape, rng) for each, (kind, shape) in kinds.items()}
    inputs = {
        each: torch.tensor(array, requires_grad=kinds[each][0] in DIFFERENTIABLE) for each, array in arrays.items()
    }
    if function in POSITIONAL:  # PyTorch has other names there, or none
        output = getattr(torch.nn.functional, function)(*inputs.values(), *settings.values())
    else:
        output = getattr(torch.nn.functional, function)(**inputs, **settings)
    upstream = rng.standard_normal(output.shape)
    output.backward(torch.tensor(upstream))
    record = {**arrays, "output": output.detach().numpy(), "upstream": upstream}
    record |= {f"{each}.grad": value.grad.numpy() for each, value in inputs.items() if value.requires_grad}
    record |= {f"{each}.after": value.numpy() for each, value in inputs.items() if each.startswith("running")}
    return {f"{name}/{key}": np.array(array, order="C") for key, array in record.items()}


def main():
    rng = np.random.default_rng(0)
    record = {}
    for name, case in CASES.items():
        record |= record_case(name, *case, rng)
    metadata = {"cases": json.dumps(CASES), "pytorch": torch.__version__}
    save_file(record, Path(__file__).with_name("functional.safetensors"), metadata)


if __name__ == "__main__":
    main()
