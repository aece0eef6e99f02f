"""Weights that are computed from other parameters before each forward pass: weight norm and spectral norm.

The layer's `weight` is then no parameter but what a hook has computed last; in a state_dict stand `weight_g` and
`weight_v`, or `weight_orig`, `weight_u` and `weight_v`: the names of `torch.nn.utils.weight_norm` and `spectral_norm`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gpunet.arguments import axis_of
from gpunet.backend import xp
from gpunet.errors import ArgumentError
from gpunet.functional import linear, normalize
from gpunet.functional.checks import number, whole_number
from gpunet.nn import init
from gpunet.nn.evaluation_mode import evaluation_mode
from gpunet.nn.linear import ConvTranspose1d, ConvTranspose2d
from gpunet.nn.module import Module
from gpunet.nn.parameter import Parameter
from gpunet.tape import no_grad
from gpunet.tensor import Tensor, own

__all__ = ["remove_spectral_norm", "remove_weight_norm", "spectral_norm", "weight_norm"]

Layer = TypeVar("Layer", bound=Module)


def weight_norm(module: Layer, name: str = "weight", dim: int | None = 0) -> Layer:
    """Learn the length of a weight and its direction apart: `weight = weight_g * weight_v / |weight_v|`.

    Args:
        module: the layer, which is changed and returned.
        name: of the parameter.
        dim: each slice along it has a length of its own; None, or -1, for one length of all.

    Raises:
        ArgumentError: if there is no such parameter, or it is computed from others already.
        ShapeError: if there is no such dimension.

    Reference:
        Salimans and Kingma, "Weight normalization", 2016.
    """
    weight = _parameter_of(module, name, "weight_norm")
    # -1 stands for None in PyTorch, too.
    kept = None if dim is None or dim == -1 else axis_of(dim, weight.ndim, "weight_norm")
    axes = [axis for axis in range(weight.ndim) if axis != kept]

    def length(direction: Tensor) -> Tensor:
        return (direction * direction).sum(axes, keepdim=kept is not None).sqrt() if axes else direction.abs()

    def compute(layer: Module) -> Tensor:
        direction = getattr(layer, f"{name}_v")
        return direction * (getattr(layer, f"{name}_g") / length(direction))

    with no_grad():
        lengths = Parameter(length(weight))
    delattr(module, name)
    module.register_parameter(f"{name}_g", lengths)
    module.register_parameter(f"{name}_v", Parameter(weight.detach(), weight.requires_grad))
    return _begin(module, name, "weight_norm", compute)


def remove_weight_norm(module: Layer, name: str = "weight") -> Layer:
    """Undo `weight_norm`: the weight is a parameter again, with the values that it has.

    Raises:
        ArgumentError: if there is none.
    """
    return _end(module, name, "weight_norm", f"{name}_g", f"{name}_v")


def spectral_norm(
    module: Layer, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Layer:
    """Divide a weight by its largest singular value: `weight = weight_orig / (u^T W v)`.

    W is the weight as a matrix (O, everything else). While training, each forward pass brings u and v nearer to its
    singular vectors: `v = W^T u / |W^T u|`, `u = W v / |W v|`.

    Args:
        module: the layer, which is changed and returned.
        name: of the parameter.
        n_power_iterations: how often they are brought nearer in a pass.
        eps: keeps the lengths away from 0.
        dim: that of the outputs; 1 for transposed convolutions and otherwise 0, where it is None.

    Raises:
        ArgumentError: if there is no such parameter, it is computed from others already, or a setting makes no sense.
        ShapeError: if there is no such dimension.

    Reference:
        Miyato et al., "Spectral normalization for generative adversarial networks", 2018.
    """
    times = whole_number(n_power_iterations, "n_power_iterations", "spectral_norm", 1)
    least = number(eps, "eps", "spectral_norm")
    weight = _parameter_of(module, name, "spectral_norm")
    usual = int(isinstance(module, ConvTranspose1d | ConvTranspose2d))
    outputs = axis_of(usual if dim is None else dim, weight.ndim, "spectral_norm")

    def matrix(values: Tensor) -> Tensor:
        order = [outputs, *(axis for axis in range(values.ndim) if axis != outputs)]
        return values.permute(*order).reshape(values.shape[outputs], -1)

    def compute(layer: Module) -> Tensor:
        original, u, v = (getattr(layer, f"{name}_{each}") for each in ("orig", "u", "v"))
        rows = matrix(original)
        if layer.training:
            with no_grad():
                for _ in range(times):
                    v.copy_(normalize(linear(u, rows.detach().T), dim=0, eps=least))
                    u.copy_(normalize(linear(v, rows.detach()), dim=0, eps=least))
        # Clones: a second pass changes u and v before the gradient of the first is computed.
        return original / (u.clone() * linear(v.clone(), rows)).sum()

    height, width = matrix(weight.detach()).shape
    delattr(module, name)
    module.register_parameter(f"{name}_orig", weight)
    for each, size in (("u", height), ("v", width)):
        drawn = init.normal_(own(xp.empty(size, dtype=weight.dtype)))
        module.register_buffer(f"{name}_{each}", normalize(drawn, dim=0, eps=least))
    return _begin(module, name, "spectral_norm", compute)


def remove_spectral_norm(module: Layer, name: str = "weight") -> Layer:
    """Undo `spectral_norm`: the weight is a parameter again, with the values that it has.

    Raises:
        ArgumentError: if there is none.
    """
    return _end(module, name, "spectral_norm", f"{name}_orig", f"{name}_u", f"{name}_v")


def _parameter_of(module: Module, name: str, function: str) -> Parameter:
    weight = module._parameters.get(name) if isinstance(module, Module) else None
    if weight is None:
        raise ArgumentError(f"{function}: {type(module).__name__} has no parameter {name!r}")
    return weight


def _begin(module: Layer, name: str, function: str, compute: Callable[[Module], Tensor]) -> Layer:
    def before(layer: Module, args: tuple[Any, ...]) -> None:
        object.__setattr__(layer, name, compute(layer))

    with no_grad(), evaluation_mode(module):
        before(module, ())
    handles = module.__dict__.setdefault("_computed", {})
    handles[function, name] = module.register_forward_pre_hook(before), compute
    return module


def _end(module: Layer, name: str, function: str, *parts: str) -> Layer:
    computed = module.__dict__.get("_computed", {})
    if (function, name) not in computed:
        raise ArgumentError(
            f"remove_{function}: {function} was not called for {name!r} of this {type(module).__name__}"
        )
    handle, compute = computed.pop((function, name))
    handle.remove()
    with no_grad(), evaluation_mode(module):
        weight = compute(module)
    for each in (name, *parts):
        delattr(module, each)
    module.register_parameter(name, Parameter(weight))
    return module
