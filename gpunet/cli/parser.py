"""The parser of every command: one line of usage, guesses at what was meant, examples, and help that fits the window.

Other than argparse's own, it takes no abbreviated options, which would mean something else as soon as there is a new
one; and it looks for options that it does not know before anything else, so that what is told is the actual mistake.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from gpunet.errors import ArgumentError
from gpunet.printable import printable
from gpunet.suggestions import closest, suggestion
from gpunet.terminal import WIDEST, command_line, fitted

__all__ = ["Parser", "UsageError"]

_OPTION = re.compile(r"--?[A-Za-z][^\s=]*")


class UsageError(ArgumentError):
    """Options that do not go together: as if the parser itself had refused them."""


class Parser(argparse.ArgumentParser):
    """Parses the options of a command.

    Args:
        examples: whole commands that the help ends with.

    Without a function that `set_defaults(run=...)` names, the command shows its help.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **settings: Any) -> None:
        settings = {"allow_abbrev": False, "formatter_class": _HelpFormatter, **settings}
        super().__init__(*args, **settings)
        self.examples = examples
        self.set_defaults(run=self._show_help, parser=self)

    def _show_help(self, options: argparse.Namespace) -> int:
        self.print_help()
        return 0

    def format_usage(self) -> str:
        """One line: the command, that there are options, and what else it takes."""
        taken = [_taken(action) for action in self._actions if not action.option_strings]
        return fitted(" ".join([f"usage: {self.prog} [options]", *taken]), indent=" " * 7) + "\n"

    def format_help(self) -> str:
        """The usage, what the command does, its options, and examples."""
        self.usage = self.format_usage().removeprefix("usage: ").rstrip()
        examples = [command_line(each, indent="  ") for each in self.examples]
        return super().format_help() + "\n" + "\n".join(["examples:", *examples]) + "\n"

    def error(self, message: str) -> NoReturn:
        """Say what was not understood, and leave with exit code 2."""
        text = f"{self.prog}: error: {printable(message)}"
        self.exit(2, self.format_usage() + fitted(text, indent="  ", stream=sys.stderr) + "\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but nothing is left over."""
        arguments = sys.argv[1:] if args is None else list(args)
        self._refuse_unknown_options(arguments)
        parsed, left = super().parse_known_args(arguments, namespace)
        if left:
            self.error(f"unexpected argument {left[0]!r}")
        return parsed, left

    def _refuse_unknown_options(self, arguments: Sequence[str]) -> None:
        known = self._option_string_actions
        for argument in arguments:
            if argument == "--" or (self._subparsers and not argument.startswith("-")):
                return  # what follows is no option, or those of a command
            found = _OPTION.match(argument)
            if found is None or found[0] in known or " " in argument:
                continue
            guess = closest(found[0], known)
            meant = f"did you mean {guess}?" if guess else f"{self.prog} --help lists those there are"
            self.error(f"unknown option {found[0]}; {meant}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Called by argparse for what `choices` has to hold: an option's value, or the name of a command."""
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}; {suggestion(value, action.choices)}")


def _taken(action: argparse.Action) -> str:
    """What is written in the place of an argument that is no option."""
    name = str(action.metavar or action.dest)
    forms = {"?": f"[{name}]", "+": f"{name} [{name} ...]", "*": f"[{name} ...]", argparse.PARSER: f"{name} ..."}
    return forms.get(str(action.nargs), name)


class _HelpFormatter(argparse.HelpFormatter):
    """Help of whole words, no wider than is easy to read, in which every option says what holds without it."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog, width=min(shutil.get_terminal_size().columns, WIDEST) - 2, **settings)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        said = action.help is None or "(default: " in action.help or not action.option_strings
        has_none = action.default is None or action.default is False or action.default == argparse.SUPPRESS
        return action.help if said or has_none else f"{action.help} (default: %(default)s)"

    def _format_action(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):  # the commands alone, without a line that says COMMAND
            return "".join(map(self._format_action, action._choices_actions))
        return super()._format_action(action)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return fitted(" ".join(text.split()), limit=width).split("\n")

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = [" ".join(each.split()) for each in text.strip().split("\n\n")]
        return "\n\n".join(fitted(indent + each, limit=width) for each in paragraphs)
