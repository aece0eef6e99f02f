"""`gpunet gradients`: what depth does to the gradient, in plain and in residual networks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gpunet.backend import use_backend
from gpunet.cli.options import Commands, add_backend, add_json, whole_number_from
from gpunet.cli.output import say, tell
from gpunet.errors import ArgumentError
from gpunet.gradients import DEPTHS, IMAGES, Budget, Design, Experiment, claims_text, table_text
from gpunet.printable import printable

__all__ = ["add_command"]


def add_command(commands: Commands) -> None:
    """Add the command to the command line."""
    defaults = Experiment()
    parser = commands.add_parser(
        "gradients",
        help="show how gradients vanish with depth, and what shortcuts do about it",
        description="Build plain and residual networks of several depths, with and without batch norm, of sigmoids and "
        "of ReLUs, in float32 and in float16; measure the gradient that reaches each layer, at the start and during a "
        "few steps of training; and train the two deepest of each kind for the same number of steps. The data are "
        "the handwritten digits that come with gpunet. Writes gradients.json, degradation.json and pictures of both "
        "into a folder.",
        examples=("gpunet gradients", "gpunet gradients --depths 8,20 --steps 5 --degradation-steps 0 --out quick"),
    )
    parser.add_argument(
        "--depths",
        type=_depths,
        default=DEPTHS,
        metavar="N,N,...",
        help=f"layers with weights, each 6n + 2 (default: {','.join(map(str, DEPTHS))})",
    )
    parser.add_argument(
        "--steps",
        type=whole_number_from(0),
        default=defaults.steps,
        metavar="N",
        help="steps of training during which gradients are measured",
    )
    parser.add_argument(
        "--degradation-steps",
        type=whole_number_from(0),
        default=defaults.degradation_steps,
        metavar="N",
        help="steps of training for the comparison of training losses; 0 leaves it out",
    )
    parser.add_argument(
        "--images",
        type=whole_number_from(1),
        default=IMAGES,
        metavar="N",
        help="images to train on (default: all %(default)s)",
    )
    parser.add_argument(
        "--post-activation",
        action="store_true",
        help="put the activation after the sum, on the shortcut, as residual networks had it at first",
    )
    parser.add_argument("--seed", type=whole_number_from(0), default=0, metavar="N", help="same seed, same bits")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/gradients"),
        metavar="DIR",
        help="where to write",
    )
    add_backend(parser)
    add_json(parser)
    parser.set_defaults(run=_run)


def _depths(text: str) -> tuple[int, ...]:
    try:
        depths = tuple(int(word) for word in text.split(","))
        for depth in depths:
            Design(depth, residual=True)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("Design: ")) from None
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be whole numbers such as 8,20,56, got {text!r}") from None
    return depths


def _run(options: argparse.Namespace) -> int:
    if options.backend:
        use_backend(options.backend)
    budget = Budget(images=options.images, seed=options.seed)
    experiment = Experiment(
        options.depths, options.steps, options.degradation_steps, budget, not options.post_activation
    )
    findings = experiment.run(options.out)
    if options.json:
        say(json.dumps([trace.as_dict() for trace in findings.traces]))
        return 0
    tell("the first layer's gradient over the last one's, at the start; in brackets: how many layers get exactly 0\n")
    say(table_text(findings.traces) + "\n")
    tell(claims_text(findings.claims()))
    tell(f"\nwritten to {printable(options.out)}")
    return 0
