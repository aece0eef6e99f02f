"""Checkpoints on the disk: a folder of them, each of two files.

epoch-00003-batch-0000020.safetensors  arrays
epoch-00003-batch-0000020.json         everything else, with the SHA-256 of the arrays' file and of itself

The second is written when the first is on the disk in full, and removed before it: a checkpoint whose JSON file is
there is complete. A process may be killed at any moment; what it leaves half done is not seen, and removed by the next.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet import files
from gpunet.errors import FileError
from gpunet.weights.tensor_file import parse_tensors, tensor_bytes

__all__ = ["Checkpoint", "CheckpointFolder"]

_FORMAT = "gpunet checkpoint 2"
_FORMATS = (_FORMAT, "gpunet checkpoint 1")  # the first had the figures of the epochs in the JSON, not as arrays
_NAME = re.compile(r"epoch-(\d{5,9})-batch-(\d{7,12})")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run at one moment.

    Attributes:
        position: whole epochs, and batches of the next.
        tensors: arrays by name.
        state: the rest; JSON can hold it.
    """

    position: tuple[int, int]
    tensors: dict[str, np.ndarray]
    state: dict[str, Any]


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        path: the folder; made when the first is saved.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def positions(self) -> list[tuple[int, int]]:
        """Where the complete checkpoints were taken, the oldest first.

        Raises:
            FileError: if the folder cannot be read.
        """
        return sorted(position for position, kind in self._files() if kind == ".json")

    def _files(self) -> list[tuple[tuple[int, int], str]]:
        """Position and kind of each file that is of a checkpoint."""
        try:
            paths = list(self.path.iterdir()) if self.path.exists() else []
        except OSError as error:
            raise FileError(f"cannot read the folder {self.path}: {error.strerror or error}") from error
        found = []
        for path in paths:
            match = _NAME.fullmatch(path.stem)
            if match and path.suffix in (".json", ".safetensors"):
                found.append(((int(match[1]), int(match[2])), path.suffix))
        return found

    def path_of(self, position: tuple[int, int], kind: str = ".json") -> Path:
        """One of the two files of a checkpoint."""
        return self.path / f"epoch-{position[0]:05d}-batch-{position[1]:07d}{kind}"

    def save(self, checkpoint: Checkpoint, keep: int, best: tuple[int, int] | None = None) -> None:
        """Write a checkpoint, then `prune`.

        One that is complete and of the same position is left as it is: it was taken by the same run.

        Raises:
            FileError: if it cannot be written; those that were there are untouched then.
        """
        position = checkpoint.position
        try:
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot use the folder {self.path}: {error.strerror or error}") from error
        if position not in self.positions():
            content = tensor_bytes(checkpoint.tensors)
            described = {
                "format": _FORMAT,
                "position": list(position),
                "tensors_bytes": len(content),
                "tensors_sha256": hashlib.sha256(content).hexdigest(),
                "state": checkpoint.state,
            }
            files.write_bytes(self.path_of(position, ".safetensors"), content)
            path = self.path_of(position)
            files.write_json(path, {**described, "sha256": files.digest_of(described, path)})
        self.prune(keep, best)

    def prune(self, keep: int, best: tuple[int, int] | None = None) -> None:
        """Remove all but the last `keep` and the best, and what a process that was killed has left half done.

        Raises:
            FileError: if that fails.
        """
        complete = self.positions()
        kept = [*complete[-keep:], *([best] if best else [])]
        for position, kind in sorted(self._files(), key=lambda file: file[1]):  # .json before .safetensors
            if position not in kept or position not in complete:
                files.remove(self.path_of(position, kind))
        for left in self.path.glob(".epoch-*"):  # temporary files of a process that was killed
            files.remove(left)

    def load(self, position: tuple[int, int], largest: int) -> Checkpoint:
        """Read a checkpoint.

        Args:
            largest: how many bytes the file of its arrays may have.

        Raises:
            FileError: if it cannot be read, is damaged or is too large; the message says which other one is there.
        """
        path = self.path_of(position)
        try:
            return self._load(position, largest)
        except FileError as error:
            earlier = [each for each in self.positions() if each < position]
            if not earlier:
                raise
            raise FileError(
                f"{error.message}; to go on from the checkpoint before it, after {_words(earlier[-1])}, remove {path}"
            ) from error

    def _load(self, position: tuple[int, int], largest: int) -> Checkpoint:
        path, tensors_path = self.path_of(position), self.path_of(position, ".safetensors")
        described = files.read_json(path)
        if not isinstance(described, dict) or described.get("format") not in _FORMATS:
            raise FileError(f"{path} is damaged, or no checkpoint of this version: its format is not {_FORMAT!r}")
        claimed = described.pop("sha256", None)
        if claimed != files.digest_of(described, path):
            raise FileError(f"{path} is damaged: its checksum is not that of its content")
        if described.get("position") != list(position) or not isinstance(described.get("state"), dict):
            raise FileError(f"{path} is not the checkpoint that its name says")
        content = files.read_bytes(tensors_path, largest)
        if hashlib.sha256(content).hexdigest() != described.get("tensors_sha256"):
            raise FileError(
                f"{tensors_path} is damaged: it has {len(content):,} bytes, of which "
                f"{described.get('tensors_bytes')} are expected, and another checksum than {path.name} says"
            )
        return Checkpoint(position, parse_tensors(content, tensors_path), described["state"])


def _words(position: tuple[int, int]) -> str:
    return f"{position[0]} epochs and {position[1]} batches"
