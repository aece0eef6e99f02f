"""What PyTorch has in `torch.nn.utils`: clipping, parameters as one vector, fusing, weight norm and spectral norm."""

from typing import Any as _Any

from gpunet.nn.utils.clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from gpunet.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from gpunet.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights, fuse_linear_bn_eval, fuse_linear_bn_weights
from gpunet.nn.utils.reparametrize import remove_spectral_norm, remove_weight_norm, spectral_norm, weight_norm

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
    "get_total_norm",
    "parameters_to_vector",
    "remove_spectral_norm",
    "remove_weight_norm",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]

NOT_HERE = {
    "clip_grad_norm": "clip_grad_norm_",
    "convert_conv2d_weight_memory_format": "nothing: how weights lie in memory is left to gpunet",
    "convert_conv3d_weight_memory_format": "nothing: there are no volumes",
    "parametrizations": "nn.utils.weight_norm and nn.utils.spectral_norm; a state_dict has the names that those give",
    "parametrize": "a forward_pre_hook that computes the weight, as nn.utils.weight_norm does",
    "prune": "a forward_pre_hook that multiplies the weight by a mask",
    "skip_init": "the layer itself; its starting values take little time",
    "stateless": "load_state_dict, or functions of gpunet.functional with weights of your own",
}
"""What PyTorch has here, and gpunet not, each with what to use."""


def __getattr__(name: str) -> _Any:
    if name in NOT_HERE:
        raise AttributeError(f"gpunet.nn.utils has no {name}: use {NOT_HERE[name]}")
    raise AttributeError(f"module 'gpunet.nn.utils' has no attribute {name!r}")
