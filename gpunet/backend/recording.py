"""A step that is being recorded as a CUDA graph: Python runs once, the device replays what it was asked to do.

So whatever the host does at every step, such as counting it or looking at labels, must be done again before each
replay. Who does such work hands it to `each_time` or `check_values`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from gpunet.errors import GraphError

__all__ = [
    "Recording",
    "check_values",
    "each_time",
    "forgets_gradient",
    "note_part",
    "recording",
    "refuse_while_recording",
    "watched",
]


class Recording:
    """What has to happen on the host for a recorded step.

    Attributes:
        parts: the Modules that the step calls and the optimizers it uses, from the steps before it was recorded, too.
        running: whether the step is being recorded at the moment, and not only watched.
        inputs: the Tensors that the step is given.
        checks: what raises before a replay that would be wrong; all of these come first.
        before_replay: what is done before each replay.
        forgotten: by their ids, the Tensors whose gradients the step has forgotten before it used them.
        used: by their ids, those whose gradients it has used.
        memory: arrays that last as long as the graph, by what they are for.
    """

    def __init__(self) -> None:
        self.parts: dict[int, object] = {}
        self.running = False
        self.start(())

    def start(self, inputs: tuple[object, ...]) -> None:
        """Begin to record, once more if need be."""
        self.inputs = inputs
        self.checks: list[Callable[[], object]] = []
        self.before_replay: list[Callable[[], object]] = []
        self.forgotten: set[int] = set()
        self.used: set[int] = set()
        self.memory: dict[Any, Any] = {}


_watching: Recording | None = None


def recording() -> Recording | None:
    """The recording that is running, if there is one."""
    return _watching if _watching is not None and _watching.running else None


def note_part(part: object) -> None:
    """Say that a Module or an optimizer takes part in what is done."""
    if _watching is not None:
        _watching.parts[id(part)] = part


def forgets_gradient(tensor: object) -> None:
    """Say that the gradient of a Tensor is forgotten."""
    if (now := recording()) is not None and id(tensor) not in now.used:
        now.forgotten.add(id(tensor))


def each_time(work: Callable[[], object], check: Callable[[], object] | None = None) -> None:
    """Do work of the host now, or, if the step is being recorded, before each replay that passes the check."""
    now = recording()
    if now is None:
        work()
        return
    now.before_replay.append(work)
    if check is not None:
        now.checks.append(check)


def refuse_while_recording(what: str) -> None:
    """Say that something is not to be had within a step that is being recorded.

    Raises:
        GraphError: if one is.
    """
    if recording() is not None:
        raise GraphError(f"cuda_graph: the step cannot be recorded with {what}")


def check_values(tensor: object, check: Callable[[], object]) -> None:
    """Look at the values of a Tensor now, or, if it is an input of a step being recorded, before each replay."""
    now = recording()
    if now is not None and any(each is tensor for each in now.inputs):
        now.checks.append(check)
    else:
        check()


@contextlib.contextmanager
def watched(by: Recording, running: bool) -> Iterator[None]:
    """Let a recording see what is done inside the block."""
    global _watching
    before, _watching = _watching, by
    by.running = running
    try:
        yield
    finally:
        _watching, by.running = before, False
