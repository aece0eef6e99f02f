"""What model files say to PyTorch's compiler (`torch.jit`). There is none here: they run as they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["Final", "compile", "ignore", "is_scripting", "is_tracing", "unused"]

_T = TypeVar("_T", bound=Callable[..., Any])


def compile(model: Any = None, **settings: Any) -> Any:
    """The network or the function itself, which runs as it is written; also as what decorates, `@compile`.

    To have steps of training recorded and run at once on a GPU, see `gpunet.cuda_graph`.
    """
    return (lambda decorated: decorated) if model is None else model


def is_scripting() -> bool:
    """False: nothing is being compiled."""
    return False


def is_tracing() -> bool:
    """False: nothing is being traced."""
    return False


def unused(function: _T) -> _T:
    """The function itself, which a compiler would have left out."""
    return function


def ignore(function: Any = None, **kwargs: Any) -> Any:
    """The function itself, which a compiler would have left to Python; also with arguments, `@ignore(drop=True)`."""
    return (lambda decorated: decorated) if function is None or isinstance(function, bool) else function


def _overload_method(function: _T) -> _T:
    """The function itself, which tells a compiler of one of several types."""
    return function
