"""`gpunet weights`: what files of weights hold, as other files, and whether they fit."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend import quiet
from gpunet.cli.options import Commands, add_json, whole_number_from
from gpunet.cli.output import say, tell
from gpunet.errors import ArgumentError, FileError
from gpunet.files import write_bytes
from gpunet.models import MODELS, create_model
from gpunet.printable import printable
from gpunet.suggestions import closest
from gpunet.terminal import table
from gpunet.weights import Weights, compare_weights, read_weights, weights_bytes
from gpunet.weights.naming import head_of, matched

__all__ = ["add_command"]

_DTYPES = ("float16", "float32", "float64")
_EXAMPLES = {
    "show": "gpunet weights show resnet18.pth",
    "convert": "gpunet weights convert resnet18.pth resnet18.safetensors --dtype float16",
    "compare": "gpunet weights compare resnet18.pth resnet18",
}


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "weights",
        help="look at files of weights, convert and compare them",
        description="Files of weights: safetensors, and those of torch.save (.pth, .pt), which are read without "
        "PyTorch; nothing in them is run.",
        examples=_EXAMPLES.values(),
    )
    kinds = parser.add_subparsers(title="what to do", metavar="WHAT")
    show, convert, compare = (
        kinds.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", examples=[_EXAMPLES[name]])
        for name, text in (
            ("show", "the arrays in a file, with shapes and types, and what stands beside them"),
            ("convert", "write a file anew, as .safetensors, or as .pth or .pt for torch.load"),
            ("compare", "how a file fits a model, or differs from another file; exit code 0 if it fits"),
        )
    )
    for each, run in ((show, _show), (convert, _convert), (compare, _compare)):
        each.add_argument("file", type=Path, metavar="FILE", help="a .safetensors, .pth or .pt file")
        add_json(each)
        each.set_defaults(run=run)
    convert.add_argument("out", type=Path, metavar="OUT", help="the file to be written, in the form its name ends in")
    convert.add_argument(
        "--dtype",
        choices=_DTYPES,
        metavar="TYPE",
        help="of all numbers with a point: %(choices)s (default: as they are)",
    )
    compare.add_argument("other", metavar="MODEL|FILE", help=f"another file, or one of {', '.join(MODELS)}")
    compare.add_argument(
        "--classes", type=whole_number_from(1), metavar="N", help="of the model (default: as many as in the file)"
    )
    compare.add_argument("--channels", type=whole_number_from(1), default=3, metavar="N", help="of its images")


def _show(options: argparse.Namespace) -> int:
    weights = read_weights(options.file)
    arrays = weights.arrays
    total = sum(array.size for array in arrays.values())
    if options.json:
        rows = [{"name": name, "shape": list(each.shape), "dtype": str(each.dtype)} for name, each in arrays.items()]
        say(json.dumps({"arrays": rows, "numbers": total, "about": weights.about}))
        return 0
    cells = [[printable(name), str(each.dtype), " x ".join(map(str, each.shape))] for name, each in arrays.items()]
    say(table([["array", "type", "shape"], *cells], left=(0, 1, 2)))
    say(f"{len(arrays)} arrays, {total:,} numbers")
    for name, value in weights.about.items():
        tell(f"{name}: {printable(json.dumps(value, ensure_ascii=False))}", indent="  ")
    return 0


def _convert(options: argparse.Namespace) -> int:
    weights = read_weights(options.file)
    if options.out.exists() and options.out.samefile(options.file):
        raise ArgumentError(f"{options.out} is the file to be converted: give another name")
    with quiet():  # looked for below
        arrays = {
            name: array.astype(options.dtype) if options.dtype and array.dtype.kind == "f" else array
            for name, array in weights.arrays.items()
        }
    grown = [
        name for name, array in arrays.items() if np.isinf(array).any() and np.isfinite(weights.arrays[name]).all()
    ]
    if grown:
        raise FileError(f"{grown[0]} holds numbers that are too large for {options.dtype}; nothing was written")
    content = weights_bytes(options.out, arrays, weights.about)
    write_bytes(options.out, content)
    if options.json:
        say(json.dumps({"out": str(options.out), "arrays": len(arrays), "bytes": len(content)}))
    else:
        tell(f"{len(arrays)} arrays, {len(content):,} bytes, written to {printable(options.out)}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    weights = read_weights(options.file)
    report = _with_model if options.other in MODELS else _with_file
    guess = closest(options.other, MODELS)
    if report is _with_file and guess and not Path(options.other).exists():
        raise ArgumentError(f"{options.other} is neither a file nor a model; did you mean {guess}?")
    fits, found, lines = report(weights, options)
    if options.json:
        say(json.dumps({"fits": fits, **found}))
    else:
        tell(printable(lines, keep="\n"), indent="  ")
    return 0 if fits else 1


_Report = tuple[bool, dict[str, Any], str]


def _with_model(weights: Weights, options: argparse.Namespace) -> _Report:
    classes = options.classes or _classes_in(weights, options.other, options.channels)
    found = compare_weights(weights, create_model(options.other, classes, options.channels))
    as_json = {"model": options.other, "classes": classes, "matched": found.matched, "problems": found.problems()}
    return found.fits, as_json, f"{options.other} with {classes} classes: {found}"


def _classes_in(weights: Weights, model: str, channels: int) -> int:
    """How many classes the last layer in the file tells apart; 10 where it has none by that name."""
    like = create_model(model, 10, channels)
    head = head_of(like)
    names = matched(list(weights.arrays), head, type(like).__name__)
    return int(weights.arrays[names[head[0]]].shape[0]) if head[0] in names else 10


def _with_file(weights: Weights, options: argparse.Namespace) -> _Report:
    others = read_weights(options.other)
    differences: list[str] = []
    say_of: Callable[[str], None] = differences.append
    largest: dict[str, float | None] = {}
    for name in dict.fromkeys([*weights.arrays, *others.arrays]):
        one, two = weights.arrays.get(name), others.arrays.get(name)
        if one is None or two is None:
            say_of(f"only in {options.other if one is None else options.file}: {name}")
        elif one.shape != two.shape:
            say_of(f"other shapes: {name} has {one.shape} and {two.shape}")
        elif not np.array_equal(one, two, equal_nan=one.dtype.kind == two.dtype.kind == "f"):
            with quiet():
                apart = np.abs(one.astype(np.float64) - two.astype(np.float64))
            alike = (one == two) | ((one != one) & (two != two))
            most = float(np.max(apart, where=~alike, initial=0))  # NaN, if one has it where the other has not
            largest[name] = most if math.isfinite(most) else None
            by = f"by {most:.3g} at most" if math.isfinite(most) else "not finite in one of them"
            say_of(f"other values: {name}, {by}")
    lines = "\n".join(differences) or f"the same {len(weights.arrays)} arrays"
    return not differences, {"differences": differences, "largest": largest}, lines
