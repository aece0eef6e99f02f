"""Files that are whole or not there: written under a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load, save

from gpunet.backend import to_cpu
from gpunet.errors import FileError
from gpunet.nn import Module

__all__ = ["append_json_line", "load_weights", "read_json", "save_weights", "write_bytes", "write_json"]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that at every moment either the old content or the new is there in full.

    Raises:
        FileError: if that fails; the old file, if there was one, is untouched.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # temporary files are private; this one replaces an ordinary file
        os.replace(temporary, path)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)  # still there only if something went wrong, or Ctrl-C was pressed
    _sync_folder(path.parent)


def _umask() -> int:
    mask = os.umask(0)  # the only way to read it is to set it
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself durable, where the system can do that: some file systems flush no folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, content: Any) -> None:
    """Write a value as indented JSON.

    Raises:
        FileError: if that fails.
    """
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def append_json_line(path: Path, content: Any) -> None:
    """Add a value as one line of JSON.

    Raises:
        FileError: if that fails.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(content, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror or error}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileError: if it cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is not a JSON file: {error}") from error


def save_weights(path: Path, model: Module) -> None:
    """Write all parameters and buffers of a model as a safetensors file.

    Raises:
        FileError: if that fails.
    """
    arrays = {name: to_cpu(tensor.data) for name, tensor in model.state_dict().items()}
    write_bytes(path, save(arrays, {"format": "gpunet"}))


def load_weights(path: Path, model: Module) -> None:
    """Read all parameters and buffers of a model from a safetensors file.

    Raises:
        FileError: if the file cannot be read or is damaged.
        StateDictError: if it holds another model; nothing is loaded then.
    """
    try:
        arrays = load(path.read_bytes())
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path} is not a whole safetensors file: {error}") from error
    model.load_state_dict(arrays)
