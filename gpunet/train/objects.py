"""`gpunet.save` and the other half of `gpunet.load`: Tensors, and what they are kept in, in a safetensors file.

A state_dict becomes a plain file, which other libraries read. Of anything else, such as {"model": ..., "epoch": 3}, the
Tensors are in the file under dotted names, and how they stood in dictionaries and lists is written beside them as JSON.
No pickle: nothing in a file can run, and nothing can be saved but numbers, texts, dictionaries, lists and tuples.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import is_array, to_cpu
from gpunet.device import check_device
from gpunet.errors import DTypeError, FileError
from gpunet.files import read_bytes, write_bytes
from gpunet.tensor import Tensor, tensor
from gpunet.weights.tensor_file import metadata_of, parse_tensors, tensor_bytes
from gpunet.weights.torch_file import is_torch_file, parse_torch_file

__all__ = ["load_object", "save"]

_STRUCTURE = "gpunet structure"


def save(obj: Any, f: str | os.PathLike[str] | Any) -> None:
    """Write Tensors, and dictionaries and lists of them and of numbers and texts, to a file.

    Args:
        obj: a state_dict, or several in a dictionary, {"model": model.state_dict(), "epoch": 3}.
        f: a path, or a file that is open for bytes.

    Raises:
        DTypeError: if something in it is neither; of a Module, save its state_dict().
        FileError: if it cannot be written.
    """
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    structure = _taken_apart(obj, "", arrays)
    plain = isinstance(obj, Mapping) and all(isinstance(name, str) and isinstance(obj[name], Tensor) for name in obj)
    content = tensor_bytes(arrays, None if plain and arrays else {_STRUCTURE: json.dumps(structure)})
    if hasattr(f, "write"):
        f.write(content)
    else:
        write_bytes(Path(f), content)


def load_object(f: str | os.PathLike[str] | Any, map_location: Any = None) -> Any:
    """Read what `save` wrote, or `torch.save`, onto the active backend; of other safetensors files Tensors by names.

    Nothing in the file is run: of `torch.save` only Tensors, plain values and what they are kept in are read.

    Raises:
        FileError: if it is no such file, is damaged, or holds something else.
        BackendError: if `map_location` is not the device of the active backend.
    """
    check_device(map_location, "load")
    path = Path(getattr(f, "name", "the file") if hasattr(f, "read") else f)
    content = f.read() if hasattr(f, "read") else read_bytes(path, None)
    if is_torch_file(content):
        return _as_tensors(parse_torch_file(content, path))
    arrays = parse_tensors(content, path)
    structure = metadata_of(content).get(_STRUCTURE)
    if structure is None:
        return {name: tensor(array) for name, array in arrays.items()}
    try:
        return _put_together(json.loads(structure), arrays)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged: how its Tensors stood cannot be read ({error!r})") from error


def _as_tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tensor(value)
    if isinstance(value, dict):
        return {key: _as_tensors(one) for key, one in value.items()}
    return type(value)(map(_as_tensors, value)) if isinstance(value, list | tuple) else value


def _taken_apart(value: Any, path: str, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """What JSON can hold: a number or text as it is, all else as [what it is, its content]."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor) or is_array(value):
        name = path or "value"
        while name in arrays:
            name += "'"
        arrays[name] = to_cpu(value.array if isinstance(value, Tensor) else value)
        return ["tensor" if isinstance(value, Tensor) else "array", name]
    inner = f"{path}." if path else ""
    if isinstance(value, Mapping):
        pairs = [[_taken_apart(key, "", {}), _taken_apart(one, f"{inner}{key}", arrays)] for key, one in value.items()]
        return ["dict", pairs]
    if isinstance(value, list | tuple):
        parts = [_taken_apart(one, f"{inner}{place}", arrays) for place, one in enumerate(value)]
        return ["list" if isinstance(value, list) else "tuple", parts]
    raise DTypeError(
        f"save: {path or 'what is to be saved'} is a {type(value).__name__}; files hold Tensors, numbers, texts, "
        f"dictionaries and lists of them (of a Module, its state_dict())"
    )


def _put_together(value: Any, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Any:
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind in ("tensor", "array"):
        return tensor(arrays[content]) if kind == "tensor" else arrays[content]
    if kind == "dict":
        return {_put_together(key, arrays): _put_together(one, arrays) for key, one in content}
    if kind not in ("list", "tuple"):
        raise ValueError(f"unknown kind {kind!r}")
    parts = [_put_together(one, arrays) for one in content]
    return parts if kind == "list" else tuple(parts)
