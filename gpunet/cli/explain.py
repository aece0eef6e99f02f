"""`gpunet explain`: an operation of the lecture, worked out on a few numbers."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gpunet.cli.options import Commands, add_json
from gpunet.cli.output import in_colour, say
from gpunet.cli.parser import UsageError
from gpunet.explain import OPERATIONS, Exercise, as_json, exercise, explain, lecture_exercises
from gpunet.explain.coalescing import COALESCING, coalescing_as_json
from gpunet.explain.exercise import IMAGE_OPERATIONS, SETTINGS
from gpunet.explain.operations import LECTURE
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
    """An option that gives a setting of an exercise; an operation may call a setting by a name of its own."""

    setting: str
    metavar: str | None
    help: str
    type: Callable[[str], Any]


def _options() -> dict[str, _Option]:
    return {
        "input": _Option(
            "input",
            "4x4|NUMBERS|digit 0",
            "the size of the image, with channels 3x4x4 (an image of another size than 4x4 is drawn), the numbers that "
            "go in, or a handwritten digit",
            _size_or_numbers,
        ),
        "image": _Option("input", "NUMBERS", "the image itself", _numbers),
        "filter": _Option("weight", "NUMBERS", "the filter of conv2d, the first one of residual_block", _numbers),
        "second_filter": _Option("second_weight", "NUMBERS", "the second filter of residual_block", _numbers),
        "weight": _Option("weight", "NUMBERS", "the matrix of linear, a row for each output", _numbers),
        "bias": _Option("bias", "NUMBERS", "the bias of linear", _numbers),
        "kernel": _Option("kernel_size", "2|2x3", "rows and columns of the window", _pair),
        "out_channels": _Option("out_channels", "N", "how many filters conv2d draws", int),
        "stride": _Option("stride", "1|1x2", "how far the window moves", _pair),
        "padding": _Option("padding", "0|0x1", "zeros around the image", _pair),
        "dilation": _Option("dilation", "1|1x2", "how far apart the elements of the window are", _pair),
        "output_size": _Option("output_size", "3|3x2", "of adaptive_avg_pool2d", _pair),
        "p": _Option("p", None, "the probability of dropout", float),
        "seed": _Option("seed", None, "of what dropout draws (default: one that repeats the lecture's slide)", int),
        "gamma": _Option("weight", "NUMBERS", "the scale of batch_norm", _numbers),
        "beta": _Option("bias", "NUMBERS", "the shift of batch_norm", _numbers),
        "eps": _Option("eps", None, "what batch_norm adds to the variance", float),
        "factors": _Option("factors", "NUMBERS", "the slopes of the chain beside residual_block", _numbers),
        "target": _Option("target", "NUMBERS", "what is right: a distribution, or a class for cross_entropy", _numbers),
        "gradient": _Option("gradient", "NUMBERS", "of the loss by the output (default: ones)", _numbers),
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
    for name, option in _options().items():
        where = image if name in ("input", "image") else group
        where.add_argument(_flag(name), type=option.type, metavar=option.metavar, help=option.help)


def _run(options: argparse.Namespace) -> int:
    given = {name: value for name in _options() if (value := getattr(options, name)) is not None}
    if options.all and (options.operation or given or options.element):
        raise UsageError("--all shows the operations as the lecture has them; name one to change its numbers")
    if options.operation == COALESCING:
        if given or options.element:
            raise UsageError(f"{COALESCING} has no numbers to choose")
        _explain_coalescing(options)
    elif options.operation:
        _explain_one(options.operation, given, options)
    elif options.all:
        _explain_all(options)
    elif given or options.element or options.html or options.json:
        raise UsageError("name an operation, or give --all for all of them")
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
    options, flags = _options(), LECTURE[operation].flags
    allowed = [
        name
        for name, option in options.items()
        if option.setting in SETTINGS[operation]
        if name == flags.get(option.setting, option.setting) or name in _OTHER_NAMES.get(option.setting, ())
        if name != "image" or operation in IMAGE_OPERATIONS
    ]
    foreign = [name for name in given if name not in allowed]
    if foreign:
        listed = (", ".join(map(_flag, names)) for names in (foreign, allowed))
        raise UsageError(f"{operation} has no {next(listed)}; it takes {next(listed)}")
    if operation not in IMAGE_OPERATIONS and isinstance(given.get("input"), tuple | str):
        raise UsageError(f"{operation} works on numbers, such as --input '1 0 3', not on an image")
    return {options[name].setting: value for name, value in given.items()}


_OTHER_NAMES = {"input": ("image",), "kernel_size": ("kernel",)}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


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
    if re.fullmatch("digit [0-9]", text):
        return text
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
