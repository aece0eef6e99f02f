"""Callbacks for the training loop that are of use to everybody."""

from __future__ import annotations

import math
from typing import Any

from gpunet.distributed import check_same_weights
from gpunet.errors import StateDictError
from gpunet.functional.checks import whole_number
from gpunet.train.progress import EpochResult
from gpunet.train.trainer import Callback, Trainer

__all__ = ["EarlyStopping", "SameWeights"]


class EarlyStopping(Callback):
    """Ends the training when the loss on the test images has not become smaller for some epochs.

    Args:
        patience: how many epochs.

    Attributes:
        best: the smallest loss so far.
        bad_epochs: how many epochs have passed since.

    Raises:
        ArgumentError: if the patience is not a whole number of 1 or more.

    Reference:
        Prechelt, "Early stopping - but when?", 1998.
    """

    def __init__(self, patience: int) -> None:
        self.patience = whole_number(patience, "patience", "EarlyStopping", 1)
        self.best = math.inf
        self.bad_epochs = 0

    def on_fit_begin(self, trainer: Trainer) -> None:
        """A run that had ended already has ended still."""
        self._end(trainer)

    def on_epoch_end(self, trainer: Trainer, result: EpochResult) -> None:
        """Compare the loss with the smallest so far."""
        if result.test_loss < self.best:
            self.best, self.bad_epochs = result.test_loss, 0
        else:
            self.bad_epochs += 1
        self._end(trainer)

    def _end(self, trainer: Trainer) -> None:
        if self.bad_epochs >= self.patience:
            trainer.finished = True

    def state_dict(self) -> dict[str, Any]:
        """The smallest loss, and the epochs since."""
        return {"best": self.best, "bad_epochs": self.bad_epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state.

        Raises:
            StateDictError: if it is not one.
        """
        best, bad_epochs = state.get("best"), state.get("bad_epochs")
        if type(best) is not float or type(bad_epochs) is not int or bad_epochs < 0:
            raise StateDictError(f"this is not the state of EarlyStopping: {state!r:.200}")
        self.best, self.bad_epochs = best, bad_epochs


class SameWeights(Callback):
    """Makes sure after every step that all ranks have the same weights, bit for bit; for looking for mistakes."""

    def on_step_end(self, trainer: Trainer) -> None:
        """Compare them."""
        check_same_weights(trainer.model)
