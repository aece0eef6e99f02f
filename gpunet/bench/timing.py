"""Timing: how long something takes when several things are compared on a machine that is never quiet.

Clock rates and neighbours change from one second to the next, so only times taken side by side can be compared. What is
compared therefore takes turns, a step each or a few short ones, over and over; the middle of each thing's times is then
its time, and the quartiles say how far it can be trusted.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gpunet.errors import ArgumentError

__all__ = ["Clock", "Sample", "quickest", "take_turns", "time_call", "time_step"]

TURN = 0.1  # seconds that a turn takes at least

Clock = Callable[[], float]
"""Returns the time in seconds."""


@dataclass(frozen=True)
class Sample:
    """Numbers that were measured, in the order in which they were.

    Raises:
        ArgumentError: if there are none.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ArgumentError("a Sample needs at least one measurement")

    @property
    def median(self) -> float:
        """The middle one: a few that were disturbed do not move it."""
        return statistics.median(self.values)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The numbers that the middle half lies between."""
        if len(self.values) == 1:
            return self.values[0], self.values[0]
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    def as_dict(self) -> dict[str, float | list[float]]:
        """The figures by name."""
        low, high = self.quartiles
        return {
            "median": self.median,
            "quartile_low": low,
            "quartile_high": high,
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
        }


def time_call(work: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """How many seconds a call takes."""
    started = clock()
    work()
    return clock() - started


def time_step(step: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """How many seconds a step takes among others of its kind, as in a loop that trains: the mean of a `TURN` of them.

    One short step alone, after others have had the processor, finds its caches empty and its threads asleep. That
    takes as long as the step itself, and no loop meets it.
    """
    started, steps = clock(), 0
    while True:
        step()
        steps += 1
        if (seconds := clock() - started) >= TURN:
            return seconds / steps


def quickest(work: Callable[[], object], repeats: int, clock: Clock = time.perf_counter) -> float:
    """How many seconds the quickest of some calls takes: what the machine can do, after a first call to warm up."""
    work()
    return min(time_call(work, clock) for _ in range(repeats))


def take_turns(
    steps: Mapping[str, Callable[[], float]],
    repeats: int,
    warmups: int = 2,
    between: Callable[[], object] = lambda: None,
) -> dict[str, Sample]:
    """Let everything that is compared take one step after the other, round after round.

    Each round begins with another of them, so that none always follows the same neighbour.

    Args:
        steps: for each name, what takes one step and returns its seconds.
        repeats: how many rounds count.
        warmups: how many rounds go before them and do not count.
        between: called after every step.
    """
    names: Sequence[str] = list(steps)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(-warmups, repeats):
        first = round_number % len(names)
        for name in (*names[first:], *names[:first]):
            took = steps[name]()
            between()
            if round_number >= 0:
                seconds[name].append(took)
    return {name: Sample(tuple(each)) for name, each in seconds.items()}
