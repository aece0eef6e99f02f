"""Where NaN and infinity come from: a batch that went wrong is run again under observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet.backend import Array, xp
from gpunet.nn import Module, observe
from gpunet.tensor import Tensor

__all__ = ["NO_CAUSE", "broken_parameter", "find_cause"]

NO_CAUSE = "a second run of the batch gave finite numbers"


def find_cause(model: Module, loss_function: Callable[[Tensor, Tensor], Tensor], images: Tensor, labels: Tensor) -> str:
    """Say in words where a batch first meets a number that is not finite: images, layer, loss function or gradient.

    The batch goes through the model in the mode that it is in, so the running statistics of batch norm change.
    """
    if name := broken_parameter(model):
        return f"{name} is not finite since the step before, whose gradient was not"
    if not _finite(images.array):
        return "the images of the batch are not finite"
    found: list[str] = []

    def look(name: str, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not found and isinstance(output, Tensor) and not _finite(output.array):
            found.append(f"{name} ({type(module).__name__})" if name else type(module).__name__)

    with observe(model, look):
        logits = model(images)
    if found:
        return f"layer {found[0]} is the first whose output is not finite"
    loss = loss_function(logits, labels)
    if not _finite(loss.array):
        return "the outputs of all layers are finite, that of the loss function is not"
    model.zero_grad()
    loss.backward()
    broken = [name for name, parameter in model.named_parameters() if not _finite_gradient(parameter)]
    # Gradients go from the last layer to the first, and take NaN along: it arose where it stands last.
    return f"the gradient of {broken[-1]} is not finite" if broken else NO_CAUSE


def broken_parameter(model: Module) -> str:
    """The name of the last parameter that is not finite, or nothing."""
    return next((name for name, each in reversed(list(model.named_parameters())) if not _finite(each.array)), "")


def _finite_gradient(parameter: Tensor) -> bool:
    return parameter.grad is None or _finite(parameter.grad.array)


def _finite(array: Array) -> bool:
    return bool(xp.isfinite(array).all())
