"""Hooks: functions that are called when something happens, until their handle is removed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import TracebackType
from typing import Any

__all__ = ["Hooks", "RemovableHandle"]

_numbers = itertools.count()


class Hooks(dict[int, Callable[..., Any]]):
    """The hooks of one thing, in the order in which they are called."""

    def add(self, hook: Callable[..., Any], first: bool = False) -> RemovableHandle:
        """Add one behind the others, or before them."""
        number = next(_numbers)
        others = dict(self) if first else {}
        if first:
            self.clear()
        self[number] = hook
        self.update(others)
        return RemovableHandle(self, number)


class RemovableHandle:
    """What registering a hook returns: `remove()` takes it away again, and so does the end of a `with` block."""

    def __init__(self, hooks: Hooks, number: int) -> None:
        self._hooks, self._number = hooks, number

    def remove(self) -> None:
        """Take the hook away, if it is still there."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
