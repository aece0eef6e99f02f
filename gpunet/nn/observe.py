"""Watching a network at work: a callback sees what goes into and comes out of every layer, and may replace it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from gpunet.nn.module import Module

__all__ = ["observe"]


@contextlib.contextmanager
def observe(model: Module, callback: Callable[[str, Module, tuple[Any, ...], Any], Any]) -> Iterator[None]:
    """Call `callback(name, module, inputs, output)` after each Module within `model` has run, while the block lasts.

    What the callback returns, unless it is None, takes the place of the output, as with PyTorch's forward hooks.
    The Modules know nothing of being watched: their `forward` is wrapped on the way in and put back on the way out.

    Example:
        >>> from gpunet.nn import Linear, Sequential
        >>> from gpunet.tensor import tensor
        >>> with observe(Sequential(Linear(2, 3)), lambda name, *_: print(repr(name))):
        ...     pass
    """

    def watched(name: str, module: Module) -> Callable[..., Any]:
        forward = module.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            replacement = callback(name, module, args, output)
            return output if replacement is None else replacement

        return run

    modules = list(model.named_modules())
    before = [module.__dict__.get("forward") for _, module in modules]  # an observer further out has put one there
    try:
        for name, module in modules:
            object.__setattr__(module, "forward", watched(name, module))
        yield
    finally:
        for (_, module), forward in zip(modules, before, strict=True):
            if forward is None:
                del module.__dict__["forward"]
            else:
                object.__setattr__(module, "forward", forward)
