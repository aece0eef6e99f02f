"""What model files say to PyTorch's tracer (`torch.fx`). There is none here: they run as they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["wrap"]

_T = TypeVar("_T", bound="str | Callable[..., Any]")


def wrap(fn_or_name: _T) -> _T:
    """The function itself, or its name, which a tracer would not have looked into."""
    return fn_or_name
