"""From a trainer to a checkpoint and back: everything that the next step depends on.

Weights, buffers, the optimizer, the schedule, the scale of the loss, the running average, both random streams, the
place in the training set, the figures so far and what callbacks remember. A resumed run goes on with the same bits.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from gpunet.backend import active_backend, asarray, random_state, set_random_state, to_cpu, xp
from gpunet.errors import NonFiniteError, StateDictError
from gpunet.train.checkpoint import Checkpoint
from gpunet.train.progress import EpochResult, Progress, as_table, from_table
from gpunet.train.trainer import Callback, Trainer
from gpunet.weights import bytes_of
from gpunet.weights.tensor_file import LARGEST_HEADER

__all__ = ["largest_checkpoint", "restore", "take"]

_ARRAYS_PER_WEIGHT = 5  # the weight, its average, and the three arrays that Adam with amsgrad keeps of it


def largest_checkpoint(trainer: Trainer, epochs: int) -> int:
    """How many bytes the arrays of a checkpoint of this trainer can have, after so many epochs."""
    figures = len(fields(EpochResult)) + len(list(trainer.model.parameters()))
    return _ARRAYS_PER_WEIGHT * bytes_of(trainer.model) + 8 * figures * epochs + LARGEST_HEADER


def take(trainer: Trainer) -> Checkpoint:
    """The state of a trainer, between two steps.

    Raises:
        NonFiniteError: if weights are NaN or infinite: nobody could go on from there.
    """
    progress = trainer.progress
    tensors = {f"model.{name}": to_cpu(tensor.array) for name, tensor in trainer.model.state_dict().items()}
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise NonFiniteError(
                f"{name.removeprefix('model.')} is not finite after step {progress.step} (learning rate "
                f"{trainer.learning_rate:.3g}); try a smaller learning rate"
            )
    optimizer = trainer.optimizer.state_dict()
    counts: dict[str, dict[str, int]] = {}
    for index, values in optimizer["state"].items():
        counts[str(index)] = {name: value for name, value in values.items() if isinstance(value, int)}
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items() if not isinstance(value, int)}
    if trainer.averages is not None:
        tensors |= {f"average.{name}": array for name, array in trainer.averages.state_dict().items()}
    tensors |= {"epoch.loss_sum": to_cpu(progress.loss_sum), "epoch.right": to_cpu(progress.right)}
    figures, tensors["results.table"] = as_table(progress.results)
    state = {
        "step": progress.step,
        "images": progress.images,
        "seconds": progress.seconds,
        "gradient_norms": progress.gradient_norms,
        "figures": figures,
        "optimizer": {"counts": counts, "param_groups": optimizer["param_groups"]},
        "schedule": _schedule_state(trainer),
        "amp": {"scaler": trainer.scaler.state_dict(), "skipped_steps": int(progress.skipped_steps)},
        "random": random_state(),
        "callbacks": [[_name(each), each.state_dict()] for each in _remembering(trainer)],
        "backend": active_backend(),
    }
    return Checkpoint(progress.position, tensors, state)


def restore(trainer: Trainer, checkpoint: Checkpoint, with_callbacks: bool = True) -> None:
    """Bring a trainer, made in the same way as the one the checkpoint was taken from, to that moment.

    The backend may be another: arrays are copied to the active one.

    Args:
        with_callbacks: whether the callbacks, too, are to remember what they did then.

    Raises:
        StateDictError: if the checkpoint is of another model or was taken with other settings. The trainer should not
            be used then: a part of it may have been restored.
    """
    tensors, state = _Grouped(checkpoint.tensors), checkpoint.state
    progress = _progress(checkpoint, tensors)
    optimizer = _optimizer_state(_entry(state, "optimizer", dict), tensors)
    callbacks = _callback_states(trainer, _entry(state, "callbacks", list)) if with_callbacks else []
    scaler = _entry(_entry(state, "amp", dict), "scaler", dict)
    if (trainer.averages is None) != (not tensors.of("average")):
        raise StateDictError("the checkpoint and the run differ in whether they average the weights (ema)")
    if trainer.scaler.is_enabled() != bool(scaler):
        raise StateDictError("the checkpoint and the run differ in whether they use mixed precision (amp)")
    tensors.check_names({"model", "average", "optimizer", "epoch", "results"})
    trainer.model.load_state_dict(tensors.of("model"))
    trainer.optimizer.load_state_dict(optimizer)
    _load_schedule(trainer, state.get("schedule"))
    trainer.scaler.load_state_dict(scaler)
    if trainer.averages is not None:
        trainer.averages.load_state_dict(tensors.of("average"))
    for callback, saved in callbacks:
        callback.load_state_dict(saved)
    set_random_state(_entry(state, "random", dict))
    trainer.progress = progress


class _Grouped:
    """Arrays by the first part of their names."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self.groups: dict[str, dict[str, np.ndarray]] = {}
        for name, array in tensors.items():
            group, _, rest = name.partition(".")
            self.groups.setdefault(group, {})[rest] = array

    def of(self, group: str) -> dict[str, np.ndarray]:
        return self.groups.get(group, {})

    def check_names(self, expected: set[str]) -> None:
        if unknown := set(self.groups) - expected:
            raise StateDictError(f"the checkpoint holds arrays that no run has: {', '.join(sorted(unknown))}")


def _entry(state: dict[str, Any], name: str, kind: type) -> Any:
    value: Any = state.get(name)
    if type(value) is not kind or (isinstance(value, int | float) and value < 0):
        raise StateDictError(f"the checkpoint is damaged: {name!r} must be of type {kind.__name__}, got {value!r:.200}")
    return value


def _progress(checkpoint: Checkpoint, tensors: _Grouped) -> Progress:
    state, epoch = checkpoint.state, tensors.of("epoch")
    if "results" in state:  # as checkpoints of the first format have them
        results = [EpochResult.from_dict(figures) for figures in _entry(state, "results", list)]
    else:
        table = tensors.of("results").get("table", np.zeros(0))
        results = from_table(_entry(state, "figures", list), table, checkpoint.position[0])
    if [result.epoch for result in results] != list(range(1, checkpoint.position[0] + 1)):
        raise StateDictError(f"the checkpoint is damaged: it must hold the figures of {checkpoint.position[0]} epochs")
    norms = _entry(state, "gradient_norms", dict)
    if any(type(norm) is not float for norm in norms.values()):
        raise StateDictError(f"the checkpoint is damaged: norms must be numbers, got {norms!r:.200}")
    kinds = {name: (array.shape, str(array.dtype)) for name, array in epoch.items()}
    if kinds != {"loss_sum": ((), "float32"), "right": ((), "int64")}:
        raise StateDictError(f"the checkpoint is damaged: the sums of its epoch are {kinds}")
    progress = Progress(
        step=_entry(state, "step", int),
        skipped_steps=xp.array(_entry(_entry(state, "amp", dict), "skipped_steps", int), dtype=xp.int64),
        results=results,
        batch=checkpoint.position[1],
        images=_entry(state, "images", int),
        seconds=_entry(state, "seconds", float),
        loss_sum=xp.array(asarray(epoch["loss_sum"])),
        right=xp.array(asarray(epoch["right"])),
        gradient_norms=norms,
    )
    if progress.batch and not (progress.images and progress.seconds > 0):
        raise StateDictError("the checkpoint is damaged: it stands within an epoch without having seen an image")
    return progress


def _optimizer_state(saved: dict[str, Any], tensors: _Grouped) -> dict[str, Any]:
    """The state_dict of the optimizer: whole numbers come from the JSON, arrays from the tensors."""
    counts = _entry(saved, "counts", dict)
    try:
        state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in counts.items()}
        for name, array in tensors.of("optimizer").items():
            index, _, what = name.partition(".")
            state[int(index)][what] = array
    except (KeyError, TypeError, ValueError) as error:
        raise StateDictError(f"the checkpoint is damaged: the state of its optimizer has no {error}") from error
    return {"state": state, "param_groups": saved.get("param_groups")}


def _schedule_state(trainer: Trainer) -> dict[str, Any] | None:
    state_dict = getattr(trainer.schedule, "state_dict", None)
    return state_dict() if state_dict is not None else None


def _load_schedule(trainer: Trainer, saved: Any) -> None:
    if (saved is None) != (_schedule_state(trainer) is None):
        raise StateDictError("the checkpoint and the run differ in whether they have a schedule")
    if saved is not None:
        getattr(trainer.schedule, "load_state_dict")(saved)  # noqa: B009  (a Schedule need not have it, this one does)


def _name(callback: Callback) -> str:
    return type(callback).__name__


def _remembering(trainer: Trainer) -> list[Callback]:
    return [each for each in trainer.callbacks if each.state_dict()]


def _callback_states(trainer: Trainer, saved: list[Any]) -> list[tuple[Callback, dict[str, Any]]]:
    """What each callback that remembers something had remembered."""
    callbacks = _remembering(trainer)
    pairs = [each for each in saved if isinstance(each, list) and len(each) == 2 and isinstance(each[1], dict)]
    before, now = [each[0] for each in pairs], [_name(each) for each in callbacks]
    if len(pairs) != len(saved) or before != now:
        raise StateDictError(f"the checkpoint was taken with the callbacks {before!r:.200}, the run has {now}")
    return [(callback, state) for callback, (_, state) in zip(callbacks, pairs, strict=True)]
