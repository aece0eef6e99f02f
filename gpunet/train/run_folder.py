"""The folder that a training run writes into, and that everything else reads it from.

config.json        what was trained on what, and how: enough to build the model again
metrics.jsonl      a line for each epoch
checkpoints/       where the run can go on from; see `gpunet.train.checkpoint`
model.safetensors  the weights
summary.json       the result

The JSON files hold their own checksums.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpunet import files
from gpunet.data import FOLDER
from gpunet.errors import ArgumentError, FileError
from gpunet.nn import Module
from gpunet.version import __version__
from gpunet.weights import save_weights

if sys.platform != "win32":
    import fcntl

__all__ = ["RunFolder", "new_run_path"]

LARGEST_METRICS = 2**30
"""The largest file of figures, in bytes, that is read: a line for each of many thousand epochs."""
_ASIDE = ".replaced-"
_ABOUT = ("model", "classes", "input")  # of the configuration stands with the weights, too
_log = logging.getLogger("gpunet")


class RunFolder:
    """One folder of one run.

    Args:
        path: the folder.

    Raises:
        ArgumentError: if it is no path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ArgumentError(f"a run is a folder, whose path was expected, got {type(path).__name__}")
        self.path = path = Path(path)
        self.config_path = path / "config.json"
        self.metrics_path = path / "metrics.jsonl"
        self.weights_path = path / "model.safetensors"
        self.summary_path = path / "summary.json"
        self.checkpoints_path = path / "checkpoints"
        self.events_path = path / "tensorboard"

    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return os.path.isfile(self.config_path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """While the block lasts, no other run is written into this folder.

        The lock is the system's, on the folder itself: no file is left behind, and it ends with the process, however
        that ends. Windows and some network file systems have no such locks, and get none.

        Raises:
            FileError: if another run has it, or the folder cannot be opened.
        """
        if sys.platform == "win32":
            yield
            return
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise FileError(f"cannot use the folder {self.path}: {error.strerror or error}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FileError(
                    f"another run is being written into {self.path}: wait for its end, or choose another folder"
                ) from error
            except OSError:  # the file system has no locks
                pass
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process that was forked meanwhile has it, too
            os.close(descriptor)

    def create(self, config: dict[str, Any], overwrite: bool) -> None:
        """Make the folder and write the configuration.

        A run that is replaced is put aside first, and removed when the new one is begun: if that fails it is put back.

        Raises:
            FileError: if the folder holds a run already and `overwrite` is not set, another process is at work in it,
                or it cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot use the folder {self.path}: {error.strerror or error}") from error
        with self.locked():
            self._replace(config, overwrite)

    def _replace(self, config: dict[str, Any], overwrite: bool) -> None:
        folders = (self.checkpoints_path, self.events_path)
        ours = (self.summary_path, self.weights_path, self.metrics_path, *folders, self.config_path)
        present = [path for path in ours if os.path.exists(path)]  # Path.exists raises where a name is too long
        if present and not overwrite:
            raise FileError(
                f"{self.path} holds a run already; choose another folder with --out, or give --resume to go on with "
                f"it or --overwrite to replace it"
            )
        try:
            aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=self.path))
        except OSError as error:
            raise FileError(f"cannot use the folder {self.path}: {error.strerror or error}") from error
        try:
            for path in present:
                os.replace(path, aside / path.name)
            self.write_config(config)
        except BaseException as error:
            with contextlib.suppress(OSError):
                for path in aside.iterdir():
                    os.replace(path, self.path / path.name)
                aside.rmdir()
            if isinstance(error, OSError) and not isinstance(error, FileError):
                raise FileError(f"cannot use the folder {self.path}: {error.strerror or error}") from error
            raise
        for left in self.path.glob(f"{_ASIDE}*"):  # also those of a process that was killed
            shutil.rmtree(left, ignore_errors=True)

    def write_config(self, config: dict[str, Any]) -> None:
        """Write the configuration, in the place of the one that is there.

        Raises:
            FileError: if it cannot be written.
        """
        files.write_json(self.config_path, files.sealed(config, self.config_path))

    def add_metrics(self, metrics: dict[str, Any]) -> None:
        """Add the line of an epoch.

        Raises:
            FileError: if it cannot be written.
        """
        files.append_json_line(self.metrics_path, files.sealed(metrics, self.metrics_path))

    def set_metrics(self, metrics: list[dict[str, Any]]) -> None:
        """Make the file of figures hold these lines and no others; without any there is no file.

        Raises:
            FileError: if it cannot be written.
        """
        for path in (self.config_path, self.metrics_path, self.weights_path, self.summary_path):
            files.remove_temporary(path)
        lines = [files.sealed(line, self.metrics_path) for line in metrics]
        if lines:
            files.write_bytes(self.metrics_path, b"".join(map(files.json_bytes, lines)))
        else:
            files.remove(self.metrics_path)

    def save(self, model: Module, summary: dict[str, Any]) -> dict[str, Any]:
        """Write the weights and then the result, so that a folder with a summary is complete.

        Returns:
            the result as it was written, with its checksum.

        Raises:
            FileError: if they cannot be written.
        """
        save_weights(self.weights_path, model, self.about())
        written = files.sealed(summary, self.summary_path)
        files.write_json(self.summary_path, written)
        return written

    def about(self) -> dict[str, Any]:
        """What of the configuration stands with the weights: the model, the classes and what is done to images.

        Raises:
            FileError: if the folder holds no run, or the configuration is damaged.
        """
        config = self.read_config()
        return {name: config[name] for name in _ABOUT if name in config}

    def read_summary(self) -> dict[str, Any] | None:
        """The result; None where the run did not come to an end.

        Raises:
            FileError: if it is damaged.
        """
        if not os.path.exists(self.summary_path):
            return None
        return files.unsealed(files.read_json(self.summary_path), self.summary_path)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The figures of the epochs; a last line that was cut off while it was being written is left out.

        Raises:
            FileError: if they are damaged.
        """
        if not os.path.exists(self.metrics_path):
            return []
        lines = files.read_bytes(self.metrics_path, LARGEST_METRICS).split(b"\n")[:-1]
        return [
            files.unsealed(files.parse_json(line, self.metrics_path), f"{self.metrics_path}, line {number},")
            for number, line in enumerate(lines, start=1)
        ]

    def read_config(self) -> dict[str, Any]:
        """The configuration; that it is of a newer gpunet is logged.

        Raises:
            FileError: if the folder holds no run, or the configuration is damaged.
        """
        if not os.path.isfile(self.config_path):
            raise FileError(f"{self.path} holds no training run: there is no {self.config_path.name} in it")
        config = files.unsealed(files.read_json(self.config_path), self.config_path)
        for name in ("data", "model"):
            if not isinstance(config.get(name), str):
                raise FileError(f"{self.config_path} is damaged: {name!r} must be a text, got {config.get(name)!r}")
        if not isinstance(config.get("data_dir"), str | None):
            raise FileError(f"{self.config_path} is damaged: 'data_dir' must be a text, got {config['data_dir']!r}")
        _tell_of_newer(self.path, str(config.get("gpunet", "")))
        return config


@functools.cache
def _tell_of_newer(path: Path, version: str) -> None:
    """Say once of a run that a newer gpunet has made it."""
    if _numbers(version) > _numbers(__version__):
        _log.warning(
            "the run in %s is of gpunet %s, this is %s: what is new in it is not known here", path, version, __version__
        )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d{1,9}", version)[:3]]


def new_run_path(data: str, model: str) -> Path:
    """A folder under runs/ that does not exist yet, named after the data, the model and the time."""
    name = re.sub(r"[^\w.-]+", "-", data.removeprefix(FOLDER).rstrip("/\\")).strip("-")[-40:]
    base = Path("runs") / f"{name}-{model}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return path
