"""Explanations for people in Python: printed they are the text of a terminal, in a notebook their page."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from gpunet.errors import ArgumentError
from gpunet.explain import explanation
from gpunet.explain.exercise import Exercise, exercise
from gpunet.explain.explanation import Explanation
from gpunet.explain.operations import LECTURE
from gpunet.explain.page.build import operation_page
from gpunet.explain.terminal import terminal_text
from gpunet.explain.words import words
from gpunet.notebook import framed

__all__ = ["ShownExplanation", "explain"]


@dataclass(frozen=True, eq=False, repr=False)
class ShownExplanation(Explanation):
    """An explanation, and the language in which it shows itself."""

    language: str = "en"

    def __str__(self) -> str:
        return terminal_text(self, words(self.language), lambda text, style: text)

    def __repr__(self) -> str:
        return f"<Explanation of {self.exercise.operation}; print it, or look at it in a notebook>"

    def _repr_html_(self) -> str:
        """The page, with its grids to change and its player."""
        told = LECTURE[self.exercise.operation].texts[self.language]
        return framed(told["title"], operation_page(self.exercise, self.language))


def explain(operation: str | Exercise, language: str = "en", **settings: Any) -> ShownExplanation:
    """Work an operation of the lecture out on a few numbers: forward through `gpunet.functional`, and backward.

    Args:
        operation: its name, or an exercise that was made before.
        language: of what is said, "en" or "es".
        settings: numbers of one's own, see `exercise`.

    Raises:
        ArgumentError: for an unknown operation or language, a setting that the operation does not have or that makes no
            sense, or settings beside an exercise, which has them.
        ShapeError: for arrays that do not fit together.
        LabelError: for a class that does not exist.

    Example:
        >>> from gpunet.explain import explain
        >>> explain("max_pool2d").output.tolist()
        [[[3.0, 1.0], [3.0, 3.0]]]
    """
    words(language)  # refuses one that there is not
    if isinstance(operation, Exercise):
        if settings:
            raise ArgumentError(f"explain: an exercise has its settings already; leave out {', '.join(settings)}")
        chosen = operation
    else:
        chosen = exercise(operation, **settings)
    worked_out = explanation.explain(chosen)
    return ShownExplanation(
        **{each.name: getattr(worked_out, each.name) for each in fields(worked_out)}, language=language
    )
