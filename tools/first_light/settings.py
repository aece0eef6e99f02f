"""What all steps know: where the checkout is, and whether there is a GPU, or this is a rehearsal without one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Settings"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """How to run a step.

    Attributes:
        rehearse: without a GPU: on the emulated backend, with next to nothing to do.
    """

    rehearse: bool

    @property
    def backend(self) -> str:
        """The backend that is put to the test."""
        return "emulated" if self.rehearse else "cupy"
