"""Weights of models in files: ours, those of PyTorch, and others that name layers as torchvision or timm do."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import to_cpu
from gpunet.errors import DTypeError, FileError, StateDictError
from gpunet.files import read_bytes, write_bytes
from gpunet.nn import Module
from gpunet.tensor import Tensor
from gpunet.weights.naming import head_of, matched
from gpunet.weights.tensor_file import LARGEST_HEADER, metadata_of, parse_tensors, tensor_bytes
from gpunet.weights.torch_file import is_torch_file, parse_torch_file, torch_bytes

__all__ = [
    "Comparison",
    "Weights",
    "bytes_of",
    "compare_weights",
    "load_weights",
    "read_weights",
    "save_weights",
    "weights_bytes",
]

FORMAT = "gpunet weights 1"
TORCH_ENDINGS = (".pth", ".pt")
_CONTAINERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "params", "weights")


@dataclass(frozen=True)
class Weights:
    """What a file holds.

    Attributes:
        arrays: by their names, on the host.
        about: what gpunet has written beside them: "model", "classes" and "input", as in the config.json of a run.
    """

    arrays: dict[str, np.ndarray]
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """How the arrays of a file fit a model.

    Attributes:
        matched: for each parameter and buffer of the model its name in the file.
        head: names of the model that are left as they were because they are its head.
        missing: names of the model that the file does not have.
        unexpected: names of the file that the model does not have.
        misshapen: for each name of the model whose shape is another, that of the file and that of the model.
    """

    matched: dict[str, str]
    head: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether every array has its place."""
        return not (self.missing or self.unexpected or self.misshapen)

    def problems(self) -> list[str]:
        """What does not fit, a line each."""
        return [
            *(f"misshapen: {name} has shape {file}, expected {own}" for name, (file, own) in self.misshapen.items()),
            *(f"missing: {name}" for name in self.missing),
            *(f"unexpected: {name}" for name in self.unexpected),
        ]

    def __str__(self) -> str:
        renamed = [f"{name}  <-  {file}" for name, file in self.matched.items() if name != file]
        lines = [f"{len(self.matched)} arrays fit, {len(renamed)} of them under other names", *renamed]
        lines += [f"left as it was: {name} (the head)" for name in self.head]
        return "\n".join([*lines, *self.problems()])


def bytes_of(model: Module) -> int:
    """How many bytes the parameters and buffers of a model take up."""
    return sum(int(tensor.array.nbytes) for tensor in _tensors_of(model).values())


def _tensors_of(model: Module) -> dict[str, Tensor]:
    """The parameters and buffers by name.

    Raises:
        DTypeError: if its state holds anything else, which only `gpunet.save(model.state_dict(), path)` can write.
    """
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise DTypeError(
                f"files of weights hold Tensors, and {name} is a {type(value).__name__}; "
                "gpunet.save(model.state_dict(), path) and load write and read that, too"
            )
    return state


def read_weights(path: Path | str, largest: int | None = None) -> Weights:
    """Read all arrays of a safetensors file, or of one of `torch.save`, without running anything that stands in it.

    Of a checkpoint, {"state_dict": ..., "epoch": 3}, the state_dict; of `bfloat16`, which NumPy does not have, float32.

    Args:
        largest: how many bytes the file may have; None for any number.

    Raises:
        FileError: if the file cannot be read, is damaged, is in the format that torch.save had before PyTorch 1.6, or
            holds something else.
    """
    weights, whole = _read(Path(path), largest)
    if not whole:
        raise _damaged(path)
    return weights


def _read(path: Path, largest: int | None) -> tuple[Weights, bool]:
    """What a file holds, and whether its checksum is right."""
    content = read_bytes(path, largest)
    if is_torch_file(content):
        return Weights(_state_dict_in(parse_torch_file(content, path), path)), True
    arrays = parse_tensors(content, path)
    about = _about(metadata_of(content), path)
    return Weights(arrays, about), about.pop("sha256", None) in (None, _checksum(arrays))


def _damaged(path: Path | str) -> FileError:
    return FileError(f"{path} is damaged: its checksum is not that of its weights")


def _about(metadata: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if "gpunet" not in metadata:  # files of before hold their checksum alone, those of others what they like
        return {"sha256": metadata["sha256"]} if "sha256" in metadata else {}
    try:
        about = json.loads(metadata["gpunet"])
    except (TypeError, ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged: what it says of itself cannot be read ({error})") from error
    if not isinstance(about, dict) or about.pop("format", None) != FORMAT:
        raise FileError(f"{path} is damaged, or of another version of gpunet: its format is not {FORMAT!r}")
    return about


def _state_dict_in(value: Any, path: Path) -> dict[str, np.ndarray]:
    """The arrays by name in what a file of torch.save holds."""
    inner = value
    if isinstance(value, dict):
        inner = next((value[name] for name in _CONTAINERS if isinstance(value.get(name), dict)), value)
    if isinstance(inner, dict) and inner and all(map(_is_named_array, inner.items())):
        return inner
    found = f"entries {', '.join(map(str, value))}"[:300] if isinstance(value, dict) else f"a {type(value).__name__}"
    raise FileError(
        f"{path} holds {found}, and no state_dict: tensors by name, at its top or in one of {', '.join(_CONTAINERS)}"
    )


def _is_named_array(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], np.ndarray)


def compare_weights(weights: Weights, model: Module, head: bool = True) -> Comparison:
    """How the arrays of a file fit a model; nothing is loaded.

    Names may have prefixes, such as "module.", and be those of timm, where it has a model of ours.

    Args:
        head: False leaves out the last layer, which tells classes apart.
    """
    own = {name: tensor.shape for name, tensor in _tensors_of(model).items()}
    of_name = dict((*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)))
    names = matched(list(weights.arrays), list(own), type(model).__name__)
    left = set(() if head else head_of(model))
    shapes = {name: weights.arrays[file].shape for name, file in names.items() if name not in left}
    there = {id(of_name.get(name)) for name in shapes}  # tied weights may be in the file under one of their names
    return Comparison(
        matched={name: names[name] for name in shapes if _fits(shapes[name], own[name])},
        head=tuple(name for name in own if name in left),
        missing=tuple(
            name for name in own if name not in names and name not in left and id(of_name.get(name)) not in there
        ),
        unexpected=tuple(set(weights.arrays) - set(names.values())),
        misshapen={name: (shape, own[name]) for name, shape in shapes.items() if not _fits(shape, own[name])},
    )


def _fits(shape: tuple[int, ...], own: tuple[int, ...]) -> bool:
    """Whether shapes are equal, or hold the same numbers in the same order in two ways of writing a layer.

    timm's scale of a layer is (C,), torchvision's (C, 1, 1); a first fully connected layer may be a convolution.
    """
    if len(shape) == 4 and len(own) == 2:
        return own == (shape[0], math.prod(shape[1:]))
    return shape == own or (len(shape) == 1 and own == (*shape, 1, 1))


def load_weights(
    path: Path | str, model: Module, *, head: bool | Callable[[Weights], bool] = True, strict: bool = True
) -> Comparison:
    """Read the parameters and buffers of a model from a safetensors file, or from one of `torch.save`.

    Names may have prefixes, such as "module.", and be those of timm, where it has a model of ours. Numbers of other
    types become those of the model. Nothing in the file is run.

    Args:
        head: False leaves the last layer, which tells classes apart, as it is; or what decides on it, given the file.
        strict: False loads what fits, and leaves the rest as it is.

    Returns:
        what was loaded and what was not.

    Raises:
        DTypeError: if the two are not a path and a model, in this order.
        FileError: if the file cannot be read or is damaged; nothing is loaded then.
        StateDictError: if it does not fit the model; nothing is loaded then, and the message lists everything.
    """
    _check_weights_of(model, path, "load_weights")
    # Many times: a model with a little more than ours, in larger numbers, or twice. But not all memory.
    weights, whole = _read(Path(path), 8 * bytes_of(model) + LARGEST_HEADER)
    found = compare_weights(weights, model, head(weights) if callable(head) else head)
    if not whole and (found.fits or not strict):  # else "another model" is the better answer where both are wrong
        raise _damaged(path)
    problems = found.problems() if strict else [] if found.matched else ["none of its names are the model's"]
    if problems:
        raise StateDictError(
            f"{path} does not fit {type(model).__name__}, nothing was loaded:\n  " + "\n  ".join(problems)
        )
    shapes = {name: tensor.shape for name, tensor in _tensors_of(model).items()}
    values = {name: weights.arrays[file].reshape(shapes[name]) for name, file in found.matched.items()}
    model.load_state_dict(values, strict=False)
    return found


def save_weights(path: Path | str, model: Module, about: Mapping[str, Any] | None = None) -> None:
    """Write all parameters and buffers of a model, with their checksum, as a safetensors file.

    Where its name ends in .pth or .pt it is one that `torch.load` reads, without a checksum.

    Args:
        about: what is to stand beside them in a safetensors file, as JSON.

    Raises:
        DTypeError: if the two are not a path and a model, in this order.
        FileError: if that fails.
    """
    _check_weights_of(model, path, "save_weights")
    arrays = {name: to_cpu(tensor.array) for name, tensor in _tensors_of(model).items()}
    write_bytes(Path(path), weights_bytes(path, arrays, about))


def weights_bytes(path: Path | str, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any] | None = None) -> bytes:
    """What is to stand in a file of this name."""
    if Path(path).suffix.lower() in TORCH_ENDINGS:
        return torch_bytes(arrays)
    beside = {**(about or {}), "format": FORMAT, "sha256": _checksum(arrays)}
    # One entry alone: the library writes several in an order that changes.
    return tensor_bytes(arrays, {"gpunet": json.dumps(beside)})


def _check_weights_of(model: Any, path: Any, function: str) -> None:
    if not isinstance(model, Module) or not isinstance(path, str | os.PathLike):
        got = f"{type(path).__name__} and {type(model).__name__}"
        raise DTypeError(f"{function} expects the path of a file and then a model, got {got}")


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
