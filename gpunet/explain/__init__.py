"""The operations of the lecture, worked out on a few numbers: every product, every matrix, every kernel."""

from gpunet.explain.exercise import OPERATIONS, Exercise, exercise, lecture_exercise, lecture_exercises
from gpunet.explain.explanation import Explanation, as_json
from gpunet.explain.shown import explain

__all__ = [
    "OPERATIONS",
    "Exercise",
    "Explanation",
    "as_json",
    "exercise",
    "explain",
    "lecture_exercise",
    "lecture_exercises",
]
