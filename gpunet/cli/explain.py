"""`gpunet explain`: an operation of the lecture, worked out on a few numbers."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gpunet.cli.options import Commands, add_json
from gpunet.cli.output import in_colour, say
from gpunet.errors import ArgumentError
from gpunet.explain import OPERATIONS, Exercise, as_json, exercise, explain, lecture_exercises
from gpunet.explain.coalescing import COALESCING, coalescing_as_json
from gpunet.explain.exercise import IMAGE_OPERATIONS, SETTINGS
from gpunet.explain.page import write_coalescing, write_lecture, write_page
from gpunet.explain.terminal import list_of_operations, terminal_text
from gpunet.explain.terminal_coalescing import coalescing_text
from gpunet.explain.words import LANGUAGES, words
from gpunet.printable import printable

__all__ = ["add_command"]

_DESCRIPTION = """\
Work out an operation of the lecture on a few numbers: the output size, the window at each position, the products of one
element, the matrix product, the gradients, and what runs it on a GPU. Without an operation, list them. And of memory on
a GPU: what coalesced and strided access are.

NUMBERS are written with spaces between columns, ; between rows and | between channels: "1 2; 3 4"."""

WIDEST = 120  # longer lines are hard to read


class _Option(NamedTuple):
    """An option that gives a setting of an exercise; `only` lists the operations that it is for, if not all with it."""

    setting: str
    only: tuple[str, ...] = OPERATIONS


_OPTIONS = {
    "input": _Option("input"),
    "image": _Option("input", IMAGE_OPERATIONS),
    "filter": _Option("weight", ("conv2d",)),
    "kernel": _Option("kernel_size"),
    "out_channels": _Option("out_channels"),
    "stride": _Option("stride"),
    "padding": _Option("padding"),
    "dilation": _Option("dilation"),
    "output_size": _Option("output_size"),
    "p": _Option("p"),
    "seed": _Option("seed"),
    "gamma": _Option("weight", ("batch_norm",)),
    "beta": _Option("bias"),
    "eps": _Option("eps"),
    "target": _Option("target"),
    "gradient": _Option("gradient"),
}


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "explain",
        help="work out an operation on a few numbers",
        description=_DESCRIPTION,
        examples=(
            "gpunet explain conv2d",
            "gpunet explain conv2d --input 5x5 --padding 1 --element 0,1",
            "gpunet explain --all --html lecture",
        ),
    )
    topics = (*OPERATIONS, COALESCING)
    parser.add_argument("operation", nargs="?", choices=topics, metavar="OP", help=", ".join(topics))
    parser.add_argument("--all", action="store_true", help="all of them, as the lecture has them")
    parser.add_argument("--element", type=_indices, metavar="I,J", help="the element to look at (default: the first)")
    parser.add_argument("--lang", choices=LANGUAGES, help="the language (default: en; of --all --html both)")
    form = parser.add_mutually_exclusive_group()
    add_json(form)
    form.add_argument("--html", type=Path, metavar="PATH", help="write a page; with --all a folder of pages")
    _add_settings(parser.add_argument_group("numbers (default: those of the lecture)"))
    parser.set_defaults(run=_run)


def _add_settings(group: argparse._ArgumentGroup) -> None:
    image = group.add_mutually_exclusive_group()
    image.add_argument(
        "--input",
        type=_size_or_numbers,
        metavar="4x4|NUMBERS",
        help="the size of the image, with channels 3x4x4 (an image of another size than 4x4 is drawn), or the numbers "
        "that go in",
    )
    image.add_argument("--image", type=_numbers, metavar="NUMBERS", help="the image itself")
    group.add_argument("--filter", type=_numbers, metavar="NUMBERS", help="the filter of conv2d")
    group.add_argument("--kernel", type=_pair, metavar="2|2x3", help="rows and columns of the window")
    group.add_argument("--out-channels", type=int, metavar="N", help="how many filters conv2d draws")
    group.add_argument("--stride", type=_pair, metavar="1|1x2", help="how far the window moves")
    group.add_argument("--padding", type=_pair, metavar="0|0x1", help="zeros around the image")
    group.add_argument("--dilation", type=_pair, metavar="1|1x2", help="how far apart the elements of the window are")
    group.add_argument("--output-size", type=_pair, metavar="3|3x2", help="of adaptive_avg_pool2d")
    group.add_argument("--p", type=float, help="the probability of dropout")
    group.add_argument("--seed", type=int, help="of what dropout draws (default: one that repeats the lecture's slide)")
    group.add_argument("--gamma", type=_numbers, metavar="NUMBERS", help="the scale of batch_norm")
    group.add_argument("--beta", type=_numbers, metavar="NUMBERS", help="the shift of batch_norm")
    group.add_argument("--eps", type=float, help="what batch_norm adds to the variance")
    group.add_argument(
        "--target", type=_numbers, metavar="NUMBERS", help="what is right: a distribution, or a class for cross_entropy"
    )
    group.add_argument("--gradient", type=_numbers, metavar="NUMBERS", help="of the loss by the output (default: ones)")


def _run(options: argparse.Namespace) -> int:
    given = {name: value for name in _OPTIONS if (value := getattr(options, name)) is not None}
    if options.all and (options.operation or given or options.element):
        raise ArgumentError(
            "explain: --all shows the operations as the lecture has them; name one to change its numbers"
        )
    if options.operation == COALESCING:
        if given or options.element:
            raise ArgumentError(f"explain: {COALESCING} has no numbers to choose")
        _explain_coalescing(options)
    elif options.operation:
        _explain_one(options.operation, given, options)
    elif options.all:
        _explain_all(options)
    elif given or options.element or options.html or options.json:
        raise ArgumentError("explain: name an operation, or give --all for all of them")
    else:
        _tell(list_of_operations(words(options.lang or LANGUAGES[0]), in_colour, _width()))
    return 0


def _explain_one(operation: str, given: dict[str, Any], options: argparse.Namespace) -> None:
    chosen = exercise(operation, options.element, **_settings(operation, given))
    if options.html:
        say(f"written to {printable(write_page(chosen, options.html, options.lang or LANGUAGES[0]))}")
    elif options.json:
        say(json.dumps(as_json(explain(chosen))))
    else:
        _tell(_text(chosen, options))


def _explain_coalescing(options: argparse.Namespace) -> None:
    language = options.lang or LANGUAGES[0]
    if options.html:
        say(f"written to {printable(write_coalescing(options.html, language))}")
    elif options.json:
        say(json.dumps(coalescing_as_json()))
    else:
        _tell(coalescing_text(words(language), in_colour, _width()))


def _explain_all(options: argparse.Namespace) -> None:
    if options.html:
        say(f"written to {printable(write_lecture(options.html, [options.lang] if options.lang else LANGUAGES))}")
    elif options.json:
        say(json.dumps([as_json(explain(each)) for each in lecture_exercises()]))
    else:
        line = "\n\n" + "─" * _width() + "\n\n"
        _tell(line.join(_text(each, options) for each in lecture_exercises()))


def _settings(operation: str, given: dict[str, Any]) -> dict[str, Any]:
    """The settings of the exercise that the options give; those that it does not have are refused."""
    allowed = [
        name for name, option in _OPTIONS.items() if option.setting in SETTINGS[operation] and operation in option.only
    ]
    foreign = [name for name in given if name not in allowed]
    if foreign:
        raise ArgumentError(f"explain: {operation} has no {_flags(foreign)}; it takes {_flags(allowed)}")
    if operation not in IMAGE_OPERATIONS and isinstance(given.get("input"), tuple):
        raise ArgumentError(
            f"explain: {operation} works on numbers, such as --input '1 0 3', not on an image of a size"
        )
    return {_OPTIONS[name].setting: value for name, value in given.items()}


def _flags(names: Iterable[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


def _text(chosen: Exercise, options: argparse.Namespace) -> str:
    return terminal_text(explain(chosen), words(options.lang or LANGUAGES[0]), in_colour, _width())


def _width() -> int:
    return min(shutil.get_terminal_size().columns, WIDEST)


def _tell(text: str) -> None:
    """Print, with a question mark for each letter that the terminal cannot show."""
    encoding = sys.stdout.encoding or "utf-8"
    say(text.encode(encoding, "replace").decode(encoding))


# ----------------------------------------------------------------------------------------------- texts to numbers


def _indices(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(,\d+)*", text):
        raise argparse.ArgumentTypeError(f"expected indices such as 0,1, got {text!r}")
    return tuple(map(int, text.split(",")))


def _pair(text: str) -> tuple[int, int]:
    if not re.fullmatch(r"\d+(x\d+)?", text):
        raise argparse.ArgumentTypeError(f"expected a whole number, or two such as 2x3, got {text!r}")
    rows, _, columns = text.partition("x")
    return int(rows), int(columns or rows)


def _size_or_numbers(text: str) -> Any:
    return tuple(map(int, text.split("x"))) if re.fullmatch(r"\d+(x\d+)+", text) else _numbers(text)


def _numbers(text: str) -> Any:
    """A row, rows where there is a ;, channels of rows where there is a |: as lists in lists."""
    channels = [[_row(row) for row in channel.split(";")] for channel in text.split("|")]
    if "|" in text:
        return channels
    return channels[0] if ";" in text else channels[0][0]


def _row(text: str) -> list[float]:
    try:
        return [float(number) for number in text.replace(",", " ").split()]
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected numbers such as "1 2; 3 4", got {text.strip()!r}') from None
