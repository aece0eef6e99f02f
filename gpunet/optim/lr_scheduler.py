"""Schedules: how the learning rate changes while a model trains.

A schedule is a function of the step number: `lr_at(epoch, base_lr)`. `step` counts on and writes the result into the
optimizer's parameter groups. Nothing depends on the path there, so a schedule can resume, or be plotted, at any step.
"Epoch" is PyTorch's word for the count, whether `step` is called once an epoch or once a batch. `ReduceLROnPlateau`
alone goes by what happens and not by the count.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from gpunet.backend.recording import each_time, refuse_while_recording
from gpunet.errors import ArgumentError, StateDictError
from gpunet.functional.checks import check_choice, probability, whole_number
from gpunet.optim.checks import below_one, checked_number, not_negative, positive
from gpunet.optim.optimizer import Optimizer

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "anneal_cos",
    "anneal_linear",
    "per_group",
]


class LRScheduler:
    """The base of all schedules: counts steps and writes learning rates. A subclass holds its formula in `lr_at`.

    The first learning rate is written at once; call `step` after the optimizer's. Each parameter group keeps the
    learning rate it started with as "initial_lr", and the schedule starts from that. Two schedules of one optimizer do
    not add up, the later call wins; `SequentialLR` follows one with another, `ChainedScheduler` multiplies them.

    Args:
        optimizer: whose learning rates are written.
        last_epoch: how many steps less one were made before: the schedule goes on there. -1 starts it.

    Attributes:
        optimizer: whose learning rates are written.
        last_epoch: how many steps the schedule has made.
        base_lrs: for each parameter group the learning rate that the schedule starts from.

    Raises:
        ArgumentError: if a setting makes no sense.

    Example:
        >>> from gpunet.optim import SGD
        >>> from gpunet.tensor import tensor
        >>> optimizer = SGD([tensor([1.0], requires_grad=True)], lr=0.5)
        >>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
        >>> for epoch in range(5):
        ...     print(scheduler.get_last_lr())
        ...     optimizer.step()
        ...     scheduler.step()
        [0.5]
        [0.5]
        [0.25]
        [0.25]
        [0.125]
    """

    _state_names: tuple[str, ...] = ("last_epoch", "base_lrs", "_last_lr")

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = _checked_optimizer(optimizer, self._name)
        for group in optimizer.param_groups:
            if whole_number(last_epoch, "last_epoch", self._name, -1) == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ArgumentError(
                    f"{self._name}: last_epoch={last_epoch} goes on with a schedule, but a parameter group has no "
                    f"'initial_lr'; load the state of the optimizer first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self._go_to(last_epoch + 1)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The learning rate after `epoch` steps of a parameter group that starts from `base_lr`."""
        raise NotImplementedError(
            f"{self._name} defines no lr_at(epoch, base_lr), which stands where get_lr() does in PyTorch"
        )

    def step(self) -> None:
        """Count one step and write the learning rates that follow from it.

        Raises:
            ArgumentError: if the schedule is over, or the optimizer has got another parameter group.
        """
        each_time(lambda: self._go_to(self.last_epoch + 1))

    def get_last_lr(self) -> list[float]:
        """The learning rate of each parameter group, as last written."""
        return list(self._last_lr)

    def recompute(self) -> None:
        """Write the learning rates of the step that the schedule is at anew, from its settings.

        For a schedule that goes on from the state of one with other settings, such as more steps.

        Raises:
            ArgumentError: if it has fewer steps.
        """
        self._go_to(self.last_epoch)

    def _go_to(self, epoch: int) -> None:
        self._last_lr = [self.lr_at(epoch, base_lr) for base_lr in self.base_lrs]
        self.last_epoch = epoch
        self._write()

    def _write(self) -> None:
        """Write what holds at `last_epoch` into the optimizer."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self._last_lr):
            raise ArgumentError(
                f"{self._name} was made for {len(self._last_lr)} parameter group(s), the optimizer now has "
                f"{len(groups)}; make the schedule after the last add_param_group"
            )
        for group, lr in zip(groups, self._last_lr, strict=True):
            group["lr"] = lr

    # ------------------------------------------------------------------ saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """How far the schedule has come, as plain Python. Its settings are the constructor's and are not in it."""
        values = {name: getattr(self, name) for name in self._state_names}
        return {"schedule": self._name} | {
            name: list(value) if isinstance(value, list) else value for name, value in values.items()
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state, and write its learning rates into the optimizer. If anything is wrong nothing changes.

        The settings stay those of the constructor. The optimizer has its own state; the order of loading is free.

        Raises:
            StateDictError: with a list of everything that does not fit.
        """
        problems = self._problems(state_dict)
        if problems:
            raise StateDictError(f"this state_dict does not fit {self._name}:\n  " + "\n  ".join(problems))
        self._load(state_dict)
        self._write()

    def _problems(self, state_dict: dict[str, Any]) -> list[str]:
        """What keeps a state from being loaded."""
        if not isinstance(state_dict, dict) or state_dict.get("schedule") != self._name:
            found = state_dict.get("schedule") if isinstance(state_dict, dict) else state_dict
            return [f"it is not the state of a {self._name} but of {found!r}"]
        problems = [f"{name} is missing" for name in self._state_names if name not in state_dict]
        for name in self._state_names:
            if name in state_dict and not _same_kind(state_dict[name], getattr(self, name)):
                problems.append(f"{name} is {state_dict[name]!r}, expected something like {getattr(self, name)!r}")
        return problems

    def _load(self, state_dict: dict[str, Any]) -> None:
        for name in self._state_names:
            value = state_dict[name]
            setattr(self, name, list(value) if isinstance(value, Sequence) else value)


class StepLR(LRScheduler):
    """Multiply the learning rate by gamma every `step_size` steps: `lr = base_lr * gamma^floor(epoch / step_size)`.

    Raises:
        ArgumentError: if `step_size` is not a whole number of 1 or more, or gamma is negative.
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size = whole_number(step_size, "step_size", self._name, 1)
        self.gamma = not_negative(gamma, "gamma", self._name)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """`base_lr * gamma^floor(epoch / step_size)`."""
        return base_lr * self.gamma ** (epoch // self.step_size)


class MultiStepLR(LRScheduler):
    """Multiply the learning rate by gamma at each milestone: `lr = base_lr * gamma^(milestones reached)`.

    Raises:
        ArgumentError: if the milestones are not increasing whole numbers, or gamma is negative.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = _checked_milestones(milestones, self._name)
        self.gamma = not_negative(gamma, "gamma", self._name)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """`base_lr * gamma^(milestones reached)`."""
        return base_lr * self.gamma ** bisect_right(self.milestones, epoch)


class LinearLR(LRScheduler):
    """Warm up: the learning rate goes in a straight line from `start_factor * base_lr` to `end_factor * base_lr`.

        lr = base_lr * (start_factor + (end_factor - start_factor) * min(epoch, total_iters) / total_iters)

    Raises:
        ArgumentError: if `start_factor` is not in (0, 1], `end_factor` not in [0, 1], or `total_iters` not a whole
            number of 1 or more.

    Reference:
        Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = checked_number(
            start_factor, "start_factor", self._name, "a number above 0 and at most 1", lambda x: 0 < x <= 1
        )
        self.end_factor = probability(end_factor, "end_factor", self._name)
        self.total_iters = whole_number(total_iters, "total_iters", self._name, 1)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The point on the line, then its end."""
        progress = min(epoch, self.total_iters) / self.total_iters
        return base_lr * (self.start_factor + (self.end_factor - self.start_factor) * progress)


class CosineAnnealingLR(LRScheduler):
    """Let the learning rate fall along half a cosine from `base_lr` to `eta_min` in `T_max` steps.

        lr = eta_min + (base_lr - eta_min) * (1 + cos(pi * epoch / T_max)) / 2

    Beyond `T_max` it rises again, as the formula says and as in PyTorch.

    Raises:
        ArgumentError: if `T_max` is not a whole number of 1 or more, or `eta_min` is negative.

    Reference:
        Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,  # noqa: N803  (PyTorch's name)
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_max = whole_number(T_max, "T_max", self._name, 1)
        self.eta_min = not_negative(eta_min, "eta_min", self._name)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The point on the cosine."""
        return anneal_cos(base_lr, self.eta_min, epoch / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from `base_lr` to `eta_min` in `T_0` steps, then again from the start in `T_mult` times as many.

    Raises:
        ArgumentError: if `T_0` or `T_mult` is not a whole number of 1 or more, or `eta_min` is negative.

    Reference:
        Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,  # noqa: N803  (PyTorch's name)
        T_mult: int = 1,  # noqa: N803
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.T_0 = whole_number(T_0, "T_0", self._name, 1)
        self.T_mult = whole_number(T_mult, "T_mult", self._name, 1)
        self.eta_min = not_negative(eta_min, "eta_min", self._name)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The point on the cosine of the cycle that the step is in."""
        length = self.T_0
        if self.T_mult == 1:
            epoch %= length
        while epoch >= length:
            epoch, length = epoch - length, length * self.T_mult
        return anneal_cos(base_lr, self.eta_min, epoch / length)


class ExponentialLR(LRScheduler):
    """Multiply the learning rate by gamma at every step: `lr = base_lr * gamma^epoch`.

    Raises:
        ArgumentError: if gamma is negative.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = not_negative(gamma, "gamma", self._name)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """`base_lr * gamma^epoch`."""
        return base_lr * self.gamma**epoch


class PolynomialLR(LRScheduler):
    """Let the learning rate fall to 0 in `total_iters` steps: `lr = base_lr * (1 - epoch / total_iters)^power`.

    Raises:
        ArgumentError: if `total_iters` is not a whole number of 1 or more, or the power is negative.
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.total_iters = whole_number(total_iters, "total_iters", self._name, 1)
        self.power = not_negative(power, "power", self._name)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """`base_lr * (1 - epoch / total_iters)^power`, and 0 afterwards."""
        return float(base_lr * max(0.0, 1 - epoch / self.total_iters) ** self.power)


class ConstantLR(LRScheduler):
    """Multiply the learning rate by `factor` for `total_iters` steps: `lr = base_lr * factor`, and then `base_lr`.

    Raises:
        ArgumentError: if the factor is not in [0, 1], or `total_iters` is not a whole number of 0 or more.
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.factor = probability(factor, "factor", self._name)
        self.total_iters = whole_number(total_iters, "total_iters", self._name, 0)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """`base_lr * factor`, and `base_lr` from `total_iters` on."""
        return base_lr * self.factor if epoch < self.total_iters else base_lr


class LambdaLR(LRScheduler):
    """The learning rate by a function of one's own: `lr = base_lr * lr_lambda(epoch)`.

    Args:
        optimizer: whose learning rates are written.
        lr_lambda: one function, or one for each parameter group. It is no part of the state.
        last_epoch: how many steps less one were made before.

    Raises:
        ArgumentError: if there is not one for each group, or one is no function.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        groups = _checked_optimizer(optimizer, self._name).param_groups
        several: Any = lr_lambda if isinstance(lr_lambda, list | tuple) else [lr_lambda] * len(groups)
        self.lr_lambdas: list[Callable[[int], float]] = list(several)
        if len(self.lr_lambdas) != len(groups) or not all(callable(each) for each in self.lr_lambdas):
            raise ArgumentError(f"{self._name} expects one function, or {len(groups)}, got {lr_lambda!r}")
        super().__init__(optimizer, last_epoch)

    def _go_to(self, epoch: int) -> None:
        pairs = zip(self.base_lrs, self.lr_lambdas, strict=True)
        self._last_lr = [self._with(function, epoch, base_lr) for base_lr, function in pairs]
        self.last_epoch = epoch
        self._write()

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """`base_lr * lr_lambda(epoch)` by the first of the functions."""
        return self._with(self.lr_lambdas[0], epoch, base_lr)

    def _with(self, function: Callable[[int], float], epoch: int, base_lr: float) -> float:
        return base_lr * function(epoch)


class MultiplicativeLR(LambdaLR):
    """Multiply the learning rate at each step: `lr = base_lr * lr_lambda(1) * lr_lambda(2) * ... * lr_lambda(epoch)`.

    Args:
        optimizer: whose learning rates are written.
        lr_lambda: one function, or one for each parameter group. It is no part of the state, and must not depend on
            when it is called: where a schedule begins in the middle, it is called for the steps before.
        last_epoch: how many steps less one were made before.

    Raises:
        ArgumentError: if there is not one for each group, or one is no function.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._products: dict[Callable[[int], float], list[float]] = {}  # of each function, up to each step so far
        super().__init__(optimizer, lr_lambda, last_epoch)

    def _with(self, function: Callable[[int], float], epoch: int, base_lr: float) -> float:
        products = self._products.setdefault(function, [1.0])
        while len(products) <= epoch:
            products.append(products[-1] * function(len(products)))
        return base_lr * products[epoch]


class _Cycle(LRScheduler):
    """A schedule that writes momentum, too: SGD's, or Adam's first beta."""

    def _take_momenta(
        self,
        optimizer: Optimizer,
        cycle_momentum: bool,
        base_momentum: float | Sequence[float],
        max_momentum: float | Sequence[float],
    ) -> None:
        self.cycle_momentum = cycle_momentum
        if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ArgumentError(f"{self._name}: {type(optimizer).__name__} has no momentum; set cycle_momentum=False")
        self.base_momentums, self.max_momentums = (
            [below_one(momentum, name, self._name) for momentum in per_group(given, name, self._name, optimizer)]
            for given, name in ((base_momentum, "base_momentum"), (max_momentum, "max_momentum"))
        )

    def _momentum_at(self, epoch: int, low: float, high: float) -> float:
        """The momentum after `epoch` steps, between the two."""
        raise NotImplementedError

    def _write(self) -> None:
        super()._write()
        if not self.cycle_momentum:
            return
        for group, low, high in zip(self.optimizer.param_groups, self.base_momentums, self.max_momentums, strict=True):
            momentum = self._momentum_at(self.last_epoch, low, high)
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            else:
                group["momentum"] = momentum


class OneCycleLR(_Cycle):
    """One cycle: the learning rate rises from `max_lr / div_factor` to `max_lr`, then falls far below where it began.

    Momentum (SGD's, or Adam's first beta) goes the other way. Call `step` after every batch; after `total_steps` steps
    the schedule is over.

        two phases:   initial -> max -> min        where initial = max_lr / div_factor,
        three phases: initial -> max -> initial -> min         min = initial / final_div_factor

    The first phase ends at step `pct_start * total_steps - 1`; with three phases the second is as long, and the last
    ends at `total_steps - 1`.

    Args:
        optimizer: whose learning rates (and momenta) are written.
        max_lr: the peak, one number or one for each parameter group.
        total_steps: the number of steps; or give `epochs` and `steps_per_epoch`.
        epochs: the number of epochs.
        steps_per_epoch: the number of batches in an epoch.
        pct_start: the share of the steps in which the learning rate rises.
        anneal_strategy: "cos" or "linear", the way from one level to the next.
        cycle_momentum: whether momentum is written, too.
        base_momentum: momentum at the peak, one number or one for each parameter group.
        max_momentum: momentum at the start and at the end, one number or one for each parameter group.
        div_factor: peak / start.
        final_div_factor: start / end.
        three_phase: whether the fall goes to the start first and then, in a phase of its own, to the end.
        last_epoch: how many steps less one were made before.

    Raises:
        ArgumentError: if a setting makes no sense, or the optimizer has no momentum to cycle.

    Reference:
        Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates", 2018.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        groups = _checked_optimizer(optimizer, self._name).param_groups
        self.total_steps = self._checked_total(total_steps, epochs, steps_per_epoch)
        rise = probability(pct_start, "pct_start", self._name) * self.total_steps
        self.phase_ends = (
            [rise - 1, 2 * rise - 2, self.total_steps - 1] if three_phase else [rise - 1, self.total_steps - 1]
        )
        check_choice(anneal_strategy, ("cos", "linear"), "anneal_strategy", self._name)
        self._anneal = anneal_cos if anneal_strategy == "cos" else anneal_linear
        self.three_phase = three_phase
        self.div_factor = positive(div_factor, "div_factor", self._name)
        self.final_div_factor = positive(final_div_factor, "final_div_factor", self._name)
        max_lrs = [positive(lr, "max_lr", self._name) for lr in per_group(max_lr, "max_lr", self._name, optimizer)]
        self._take_momenta(optimizer, cycle_momentum, base_momentum, max_momentum)
        for group, lr in zip(groups, max_lrs, strict=True):
            group["initial_lr"] = lr / self.div_factor
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The learning rate on its way between two levels.

        Raises:
            ArgumentError: if `epoch` is above `total_steps`.
        """
        if epoch > self.total_steps:
            raise ArgumentError(f"{self._name} is over: it has {self.total_steps} steps, step {epoch} was asked for")
        peak, end = base_lr * self.div_factor, base_lr / self.final_div_factor
        return self._level([base_lr, peak, base_lr, end] if self.three_phase else [base_lr, peak, end], epoch)

    def _momentum_at(self, epoch: int, low: float, high: float) -> float:
        return self._level([high, low, high, high] if self.three_phase else [high, low, high], epoch)

    def _level(self, levels: list[float], epoch: int) -> float:
        """The value at `epoch` on the way through the levels, which are one more than the phases."""
        start = 0.0
        for phase, end in enumerate(self.phase_ends):
            if epoch <= end or phase == len(self.phase_ends) - 1:
                break
            start = end
        # A phase of no length is over at once. The call of `step` after the last batch stays where the cycle ended.
        progress = min((epoch - start) / (end - start), 1.0) if end > start else 1.0
        return self._anneal(levels[phase], levels[phase + 1], progress)

    def _checked_total(self, total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
        if total_steps is not None:
            return whole_number(total_steps, "total_steps", self._name, 1)
        if epochs is None or steps_per_epoch is None:
            raise ArgumentError(f"{self._name} needs total_steps, or both epochs and steps_per_epoch")
        return whole_number(epochs, "epochs", self._name, 1) * whole_number(
            steps_per_epoch, "steps_per_epoch", self._name, 1
        )


class CyclicLR(_Cycle):
    """Cycles: the learning rate goes from `base_lr` to `max_lr` and back in straight lines, again and again.

    Momentum (SGD's, or Adam's first beta) goes the other way. Call `step` after every batch.

        lr = base_lr + (max_lr - base_lr) * height * scale
        height: 0 to 1 in `step_size_up` steps, then back to 0 in `step_size_down`
        scale:  1 ("triangular"), 1 / 2^(cycle - 1) ("triangular2"), gamma^epoch ("exp_range"); cycles count from 1

    Args:
        optimizer: whose learning rates (and momenta) are written.
        base_lr: the lower learning rate, one number or one for each parameter group.
        max_lr: the upper one, likewise.
        step_size_up: the steps of the rise.
        step_size_down: the steps of the fall; as many where it is None.
        mode: "triangular", "triangular2" or "exp_range".
        gamma: of "exp_range".
        scale_fn: a function in place of `mode`; it is no part of the state.
        scale_mode: what it is a function of, "cycle" or "iterations" (epoch).
        cycle_momentum: whether momentum is written, too.
        base_momentum: momentum at the peak, one number or one for each parameter group.
        max_momentum: momentum at the start and at the end of a cycle, likewise.
        last_epoch: how many steps less one were made before.

    Raises:
        ArgumentError: if a setting makes no sense, or the optimizer has no momentum to cycle.

    Reference:
        Smith, "Cyclical learning rates for training neural networks", 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        groups = _checked_optimizer(optimizer, self._name).param_groups
        self.step_size_up = whole_number(step_size_up, "step_size_up", self._name, 1)
        down = step_size_up if step_size_down is None else step_size_down
        self.step_size_down = whole_number(down, "step_size_down", self._name, 1)
        check_choice(mode, ("triangular", "triangular2", "exp_range"), "mode", self._name)
        check_choice(scale_mode, ("cycle", "iterations"), "scale_mode", self._name)
        self.mode, self.gamma = mode, not_negative(gamma, "gamma", self._name)
        self._scale_fn, self._scale_mode = scale_fn, scale_mode
        base_lrs = [
            not_negative(lr, "base_lr", self._name) for lr in per_group(base_lr, "base_lr", self._name, optimizer)
        ]
        self.max_lrs = [
            not_negative(lr, "max_lr", self._name) for lr in per_group(max_lr, "max_lr", self._name, optimizer)
        ]
        self._take_momenta(optimizer, cycle_momentum, base_momentum, max_momentum)
        for group, lr in zip(groups, base_lrs, strict=True):
            group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)

    def _go_to(self, epoch: int) -> None:
        share = self._share(epoch)
        self._last_lr = [low + (high - low) * share for low, high in zip(self.base_lrs, self.max_lrs, strict=True)]
        self.last_epoch = epoch
        self._write()

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """The point on the way, with the first of the upper learning rates."""
        return base_lr + (self.max_lrs[0] - base_lr) * self._share(epoch)

    def _momentum_at(self, epoch: int, low: float, high: float) -> float:
        return high - (high - low) * self._share(epoch)

    def _share(self, epoch: int) -> float:
        """How far up it is, scaled."""
        cycle, place = divmod(epoch, self.step_size_up + self.step_size_down)
        rising = place <= self.step_size_up
        height = place / self.step_size_up if rising else 1 - (place - self.step_size_up) / self.step_size_down
        if self._scale_fn is not None:
            return height * self._scale_fn(cycle + 1 if self._scale_mode == "cycle" else epoch)
        if self.mode == "triangular2":
            return float(height * 0.5**cycle)
        return float(height * self.gamma**epoch) if self.mode == "exp_range" else height


class _Several(LRScheduler):
    """A schedule that consists of others, and has their states in its own."""

    def _take(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer) -> None:
        self._schedulers = list(schedulers)
        for position, scheduler in enumerate(self._schedulers):
            if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
                raise ArgumentError(f"{self._name} cannot hold schedule {position}, a {type(scheduler).__name__}")
            if scheduler.optimizer is not optimizer:
                raise ArgumentError(f"{self._name}: schedule {position} belongs to another optimizer")

    def state_dict(self) -> dict[str, Any]:
        """How far the schedule has come, with the states of all its schedules, as plain Python."""
        return {**super().state_dict(), "schedulers": [scheduler.state_dict() for scheduler in self._schedulers]}

    def _problems(self, state_dict: dict[str, Any]) -> list[str]:
        problems = super()._problems(state_dict)
        if problems:
            return problems
        states = state_dict.get("schedulers")
        if not isinstance(states, list) or len(states) != len(self._schedulers):
            return [f"schedulers must be a list of {len(self._schedulers)} states"]
        return [
            f"schedule {position}: {problem}"
            for position, (scheduler, state) in enumerate(zip(self._schedulers, states, strict=True))
            for problem in scheduler._problems(state)
        ]

    def _load(self, state_dict: dict[str, Any]) -> None:
        super()._load(state_dict)
        for scheduler, state in zip(self._schedulers, state_dict["schedulers"], strict=True):
            scheduler._load(state)


class SequentialLR(_Several):
    """One schedule after another, for instance a warm-up and then a cosine; each counts its steps from 0.

    Args:
        optimizer: the optimizer of all the schedules.
        schedulers: the schedules in their order.
        milestones: the steps at which the next one takes over, one fewer than there are schedules.
        last_epoch: how many steps less one were made before.

    Raises:
        ArgumentError: if the numbers do not fit, the milestones are not increasing, a schedule belongs to another
            optimizer or is a `ReduceLROnPlateau`, which goes by a metric.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._milestones = _checked_milestones(milestones, self._name)
        if not schedulers or len(self._milestones) != len(schedulers) - 1:
            raise ArgumentError(
                f"{self._name} expects one milestone fewer than schedules, "
                f"got {len(schedulers)} schedule(s) and {len(self._milestones)} milestone(s)"
            )
        if any(isinstance(each, MultiplicativeLR) for each in schedulers[1:]):
            raise ArgumentError(
                f"{self._name}: a MultiplicativeLR can only come first: later it would have to go on from the learning "
                "rate that there is; write an ExponentialLR or a LambdaLR"
            )
        self._take(schedulers, optimizer)
        super().__init__(optimizer, last_epoch)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """What the schedule whose turn it is says."""
        scheduler, local_epoch = self._turn(epoch)
        return scheduler.lr_at(local_epoch, base_lr)

    def _turn(self, epoch: int) -> tuple[LRScheduler, int]:
        """The schedule whose turn it is, and how many steps it has made."""
        index = bisect_right(self._milestones, epoch)
        return self._schedulers[index], epoch - (self._milestones[index - 1] if index else 0)

    def _go_to(self, epoch: int) -> None:
        scheduler, local_epoch = self._turn(epoch)
        scheduler._go_to(local_epoch)
        self.last_epoch = epoch
        self._last_lr = scheduler.get_last_lr()

    def _write(self) -> None:
        self._turn(self.last_epoch)[0]._write()


class ChainedScheduler(_Several):
    """Several schedules at once, whose factors are multiplied: a warm-up (`LinearLR`), say, and an `ExponentialLR`.

    Args:
        schedulers: the schedules; each must be one that multiplies the learning rate.
        optimizer: the optimizer of all of them, which they know themselves.

    Raises:
        ArgumentError: if there are none, one belongs to another optimizer, or multiplies nothing, as a cosine does.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise ArgumentError(f"{self._name} expects one schedule or more, got {schedulers!r}")
        for position, scheduler in enumerate(schedulers):
            if type(scheduler) not in _FACTORS:
                raise ArgumentError(
                    f"{self._name}: schedule {position}, a {type(scheduler).__name__}, is none that multiplies the "
                    f"learning rate ({', '.join(each.__name__ for each in _FACTORS)}); write a LambdaLR for all of it"
                )
        self._take(schedulers, schedulers[0].optimizer if optimizer is None else optimizer)
        super().__init__(self._schedulers[0].optimizer, max(each.last_epoch for each in schedulers) - 1)

    def lr_at(self, epoch: int, base_lr: float) -> float:
        """`base_lr` times all factors."""
        for scheduler in self._schedulers:
            base_lr = scheduler.lr_at(epoch, base_lr)
        return base_lr

    def _go_to(self, epoch: int) -> None:
        for scheduler in self._schedulers:
            scheduler._go_to(epoch)
        factors = [
            [now / start if start else 0.0 for now, start in zip(each.get_last_lr(), each.base_lrs, strict=True)]
            for each in self._schedulers
        ]
        self._last_lr = [start * math.prod(its) for start, *its in zip(self.base_lrs, *factors, strict=True)]
        self.last_epoch = epoch
        self._write()


class ReduceLROnPlateau(LRScheduler):
    """Multiply the learning rate by `factor` when a metric has not improved for more than `patience` steps.

    Args:
        optimizer: whose learning rates are written.
        mode: "min" for a metric that should fall, such as a loss; "max" for one that should rise.
        factor: what the learning rate is multiplied by.
        patience: how many steps without improvement are borne.
        threshold: how much better than the best a metric must be to count as an improvement.
        threshold_mode: "rel" for a share of the best, "abs" for a difference.
        cooldown: how many steps after a reduction are not counted.
        min_lr: the learning rate never goes below it; one number or one for each parameter group.
        eps: a reduction by less than this is not made.

    Raises:
        ArgumentError: if a setting makes no sense.
    """

    _state_names = (*LRScheduler._state_names, "best", "num_bad_epochs", "cooldown_counter")

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        check_choice(mode, ("min", "max"), "mode", self._name)
        check_choice(threshold_mode, ("rel", "abs"), "threshold_mode", self._name)
        self.mode, self.threshold_mode = mode, threshold_mode
        self.factor = below_one(factor, "factor", self._name)
        self.patience = whole_number(patience, "patience", self._name, 0)
        self.threshold = not_negative(threshold, "threshold", self._name)
        self.cooldown = whole_number(cooldown, "cooldown", self._name, 0)
        self.eps = not_negative(eps, "eps", self._name)
        _checked_optimizer(optimizer, self._name)
        self.min_lrs = [
            not_negative(lr, "min_lr", self._name) for lr in per_group(min_lr, "min_lr", self._name, optimizer)
        ]
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        super().__init__(optimizer)

    def _go_to(self, epoch: int) -> None:
        """Nothing follows from the step number alone: the learning rates stay what they are."""
        self.last_epoch = epoch
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, metrics: Any) -> None:  # type: ignore[override]  # goes by a metric, in PyTorch as well
        """Take note of a metric, a number or a Tensor of one, and reduce the learning rate if it is time.

        NaN counts as no improvement.

        Raises:
            GraphError: within a step that is being recorded for `cuda_graph`.
        """
        refuse_while_recording(f"{self._name}.step, which goes by a number on the host")
        current = float(metrics)
        better = self._is_better(current)
        if better:
            self.best = current
        cooling = self.cooldown_counter > 0
        self.num_bad_epochs = 0 if better or cooling else self.num_bad_epochs + 1
        self.cooldown_counter -= cooling
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._go_to(self.last_epoch + 1)

    def _is_better(self, current: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            target = self.best * (1 + sign * self.threshold)  # not best - best * threshold: the first best is infinite
        else:
            target = self.best + sign * self.threshold
        return current < target if self.mode == "min" else current > target

    def _reduce(self) -> None:
        for group, min_lr in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            lr = max(group["lr"] * self.factor, min_lr)
            if group["lr"] - lr > self.eps:
                group["lr"] = lr


_FACTORS = (ConstantLR, ExponentialLR, LinearLR, MultiStepLR, MultiplicativeLR, PolynomialLR, StepLR)
"""The schedules that are a factor, which depends on the step alone, times `base_lr`, and go by it in PyTorch, too."""


def anneal_cos(start: float, end: float, progress: float) -> float:
    """From start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def anneal_linear(start: float, end: float, progress: float) -> float:
    """From start to end in a straight line."""
    return start + (end - start) * progress


def _checked_optimizer(optimizer: Any, owner: str) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise ArgumentError(f"{owner} expects an optimizer, got {type(optimizer).__name__}")
    return optimizer


def _checked_milestones(milestones: Iterable[int], owner: str) -> list[int]:
    checked = [whole_number(milestone, "a milestone", owner, 0) for milestone in milestones]
    if any(later <= earlier for earlier, later in pairwise(checked)):
        raise ArgumentError(f"{owner}: milestones must be increasing, got {checked}")
    return checked


def per_group(value: Any, name: str, owner: str, optimizer: Optimizer) -> list[Any]:
    """One value for each parameter group.

    Raises:
        ArgumentError: if there are more or fewer.
    """
    count = len(optimizer.param_groups)
    values = list(value) if isinstance(value, list | tuple) else [value] * count
    if len(values) != count:
        raise ArgumentError(f"{owner}: {name} has {len(values)} values, but the optimizer has {count} group(s)")
    return values


def _same_kind(value: Any, like: Any) -> bool:
    """Whether a value from a state can stand where `like` stands: a count, a number, or numbers for each group."""
    if isinstance(like, list):
        return isinstance(value, list | tuple) and len(value) == len(like) and all(_same_kind(v, 0.0) for v in value)
    if isinstance(value, bool):
        return False
    return isinstance(value, int) and value >= 0 if isinstance(like, int) else isinstance(value, int | float)
