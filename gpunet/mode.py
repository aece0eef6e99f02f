"""Modes that hold for a thread and for a while, such as whether operations are recorded, and the switch of one."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Literal, ParamSpec, TypeVar

from gpunet.errors import ArgumentError

__all__ = ["Mode", "ModeSwitch"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
Self = TypeVar("Self", bound="ModeSwitch")


class Mode(threading.local):
    """Something that is on or off, in each thread on its own; every thread begins with the same."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled


class ModeSwitch:
    """Turns a mode on or off inside a block, or inside the function that it decorates.

    Inside a generator function, too: while it runs, and not while whoever it yields to does, as in PyTorch.
    """

    def __init__(self, mode: Mode, enabled: bool) -> None:
        self._mode, self.enabled = mode, enabled
        self._before: list[bool] = []

    def __enter__(self: Self) -> Self:
        self._before.append(self._mode.enabled)
        self._mode.enabled = self.enabled
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._mode.enabled = self._before.pop()
        return False

    def _again(self) -> ModeSwitch:
        """Each call of a decorated function has a switch of its own, which remembers its own thread's mode."""
        return ModeSwitch(self._mode, self.enabled)

    def __call__(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """Decorate a function.

        Raises:
            ArgumentError: for what is called at once and runs later, among other things, as async functions are.
        """
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            name = type(self).__name__
            raise ArgumentError(
                f"{name} cannot decorate {function.__name__}, which is async: while it waits, other tasks run in the "
                f"same thread; write `with {name}():` around what it computes"
            )
        if inspect.isgeneratorfunction(function):
            return self._around_steps_of(function)

        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            with self._again():
                return function(*args, **kwargs)

        return run

    def _around_steps_of(self, function: Callable[_P, Any]) -> Callable[_P, Any]:
        @functools.wraps(function)
        def run(*args: _P.args, **kwargs: _P.kwargs) -> Generator[Any, Any, Any]:
            steps = function(*args, **kwargs)
            resume, given = steps.send, None
            while True:
                try:
                    with self._again():
                        value = resume(given)
                except StopIteration as end:
                    return end.value
                try:
                    resume, given = steps.send, (yield value)
                except GeneratorExit:
                    with self._again():
                        steps.close()
                    raise
                except BaseException as error:  # thrown in by whoever holds the generator
                    resume, given = steps.throw, error

        return run
