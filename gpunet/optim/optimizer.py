"""The base of all optimizers: parameter groups, the loop over parameters, and what must be kept to resume.

An optimizer itself is one formula: `_update` changes an array of weights in place, given their gradient. What is small
is updated together; see `flat`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

from gpunet.backend import Array, asarray, check_active, from_outside, quiet, to_cpu, xp
from gpunet.backend.kernels import enabled
from gpunet.backend.recording import forgets_gradient, note_part, recording, refuse_while_recording
from gpunet.errors import ArgumentError, DTypeError, GraphError, StateDictError
from gpunet.functional.checks import whole_number
from gpunet.ops.writing import about_to_write
from gpunet.optim.at_once import Batch, Row, Settings, batches
from gpunet.optim.checks import not_negative
from gpunet.optim.flat import Alone, Options, State, Together, arrange
from gpunet.tape import enable_grad
from gpunet.tensor import Tensor

__all__ = ["Optimizer", "Options", "Params", "State"]

Params: TypeAlias = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[Options]
"""Parameters, with their names or without, or groups: dicts with "params" and the settings that differ from the
defaults; a "name" may be among them."""

_NOT_HERE = {
    "profile_hook_step": "profile from outside, with cProfile or `gpunet bench`",
    "register_load_state_dict_post_hook": "do it after load_state_dict()",
    "register_load_state_dict_pre_hook": "change the state before load_state_dict()",
    "register_state_dict_post_hook": "change what state_dict() returns",
    "register_state_dict_pre_hook": "do it before state_dict()",
    "register_step_post_hook": "do it after step(), or override it",
    "register_step_pre_hook": "do it before step(), or override it",
}
"""Methods that PyTorch's optimizers have and these have not, each with what to do."""

_OF_PYTORCH = (
    *("foreach", "fused", "capturable", "differentiable", "decoupled_weight_decay"),
    *("max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr"),  # left there by schedules
)
"""What else a parameter group of PyTorch may have."""

_YOUNG = ("maximize", "decoupled_weight_decay")  # switches that files written before do not have: they were off


class Optimizer:
    """Changes parameters by their gradients, so that the loss falls.

    Parameters are in groups, each with settings of its own. A subclass gives the defaults, checks settings in
    `_checked_options`, names its state in `_state_names` and holds its formula in `_update`.

    Attributes:
        param_groups: a list of dicts with "params" and every setting; schedules write "lr" there.
        defaults: the settings of a group that does not say otherwise.

    Raises:
        ArgumentError: if a setting makes no sense, there are no parameters, one comes twice, or one is not a leaf
            Tensor. (One that does not require a gradient, as frozen weights, is left as it is.)

    Example:
        >>> from gpunet.optim import SGD
        >>> from gpunet.tensor import tensor
        >>> weight = tensor([1.0, 2.0], requires_grad=True)
        >>> optimizer = SGD([weight], lr=0.1)
        >>> (weight * weight).sum().backward()
        >>> optimizer.step()
        >>> weight
        tensor([0.8, 1.6], requires_grad=True)
        >>> optimizer.zero_grad()
    """

    def __init__(self, params: Params, defaults: Options) -> None:
        self.defaults = self._checked_options(defaults)
        self.param_groups: list[Options] = []
        self._state: dict[Tensor, State] = {}
        # How each group was updated at its last step: by a kernel, and otherwise.
        self._batches: dict[int, list[Batch]] = {}
        self._arranged: dict[int, tuple[list[Tensor], list[Alone | Together]]] = {}
        for group in self._as_groups(params):
            self.add_param_group(group)
        if not any(group["params"] for group in self.param_groups):
            raise ArgumentError(f"{self._name} got no parameters; has the model any that require a gradient?")

    # ------------------------------------------------------------------ what a subclass says

    def _checked_options(self, options: Options) -> Options:
        """The settings of one group, checked, as plain Python numbers."""
        raise NotImplementedError

    def _state_names(self, options: Options) -> set[str]:
        """What the state of a parameter holds; "step" is a whole number, everything else an array of its shape."""
        raise NotImplementedError

    def _update(self, param: Array, grad: Array, state: State, group: Options) -> None:
        """One step: changes `param` in place and `state`, which is empty at first; never `grad`.

        What happens to a weight may depend on nothing but its own values: small parameters come several at a time, as
        one line of numbers. Settings in `group` are checked and plain Python numbers, which leave float32 arrays
        float32.
        """
        raise NotImplementedError

    _decoupled: ClassVar[bool] = False
    """Whether weights decay past the gradient, in an optimizer that has no setting for it."""

    _recipe: ClassVar[staticmethod[[Options, int], Settings] | None] = None
    """What makes the step of `_update` for many parameters in one launch on a GPU. Each class names its own: the
    formula of a subclass may be another."""

    @property
    def state(self) -> dict[Tensor, State]:
        """For each parameter that has been updated, what the optimizer remembers about it."""
        for batch in itertools.chain(*self._batches.values()):
            batch.settle()
        return self._state

    # ------------------------------------------------------------------ training

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; a parameter without one is left as it is, and so is its state.

        Args:
            closure: computes the loss anew, with gradients, and returns it; it is called first.

        Returns:
            What the closure returned.

        Raises:
            ArgumentError: if a setting in `param_groups` has been changed to one that makes no sense.
            BackendError: if a parameter, its gradient or its state belongs to another backend than the active one.
            GraphError: if the step is being recorded for `cuda_graph`, and something is not updated by a kernel, or was
                not updated the step before.
        """
        note_part(self)
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._make_step(None)
        return loss

    def step_if(self, go: Array) -> None:
        """Make a step if something is true that the device knows, for instance that all gradients are finite.

        Where kernels make the whole step nobody waits to hear of it.

        Args:
            go: a single bool, on the active backend.

        Raises:
            GraphError: as `step`, and if the host has to decide.
        """
        if type(self).step is Optimizer.step:
            note_part(self)
            self._make_step(go)
        elif _known(go, self._name):
            self.step()

    def _make_step(self, go: Array | None) -> None:
        """The step, or if there is a condition for it the one or the other."""
        by_kernel, updates = [], []
        for number, group in enumerate(self.param_groups):
            options = self._checked_options(group)
            grads = self._gradients(group["params"], bool(options.get("maximize")))
            for batch in self._put_together(number, grads, options):
                by_kernel.append((number, batch, [grads.pop(param) for param in batch.params], options))
            for part in self._arrange(number, list(grads)):
                updates.append((part, [grads[param] for param in part.params], options))
        if go is not None and (updates or not all(batch.can_be_left_out(its) for _, batch, _, its in by_kernel)):
            if not _known(go, self._name):
                return
            go = None
        if updates and recording():
            raise GraphError(
                f"{self._name} updates parameter {updates[0][0].params[0].shape} by other means than its kernel, which "
                "a CUDA graph cannot record: the learning rate of now would be that of every step"
            )
        about_to_write(*(param.array for _, batch, _, _ in by_kernel for param in batch.params))
        about_to_write(*(param.array for part, _, _ in updates for param in part.params))
        with quiet():
            for number, batch, its_grads, options in by_kernel:
                self._advance(number, batch, options, surely=go is None)
                batch.launch(its_grads, None if go is None else go.view(xp.uint8))
            for part, its_grads, options in updates:
                part.update(self._update, its_grads, options)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, before the next backward pass adds to them.

        Args:
            set_to_none: whether `.grad` becomes None, which saves memory and skips the parameter in `step` until it
                has a gradient again, or is filled with zeros.
        """
        note_part(self)
        for param in self._parameters():
            forgets_gradient(param)
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad.handed_out().fill(0)

    def add_param_group(self, param_group: Options) -> None:
        """Add parameters with settings of their own, for instance layers that have just been unfrozen.

        Raises:
            ArgumentError: as the constructor does.
        """
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise ArgumentError(f"{self._name} expects a parameter group to be a dict with 'params'")
        given = {name: value for name, value in param_group.items() if name not in ("params", "name")}
        if unknown := set(given) - set(self.defaults):
            raise ArgumentError(
                f"{self._name} does not know the setting(s) {', '.join(sorted(unknown))} of a parameter group; "
                f"it has {', '.join(self.defaults)}"
            )
        names, params = self._checked_params(param_group["params"])
        labels: Options = {"name": param_group["name"]} if "name" in param_group else {}
        if names:
            labels["param_names"] = names
        if self.param_groups and ("param_names" in self.param_groups[0]) != bool(names):
            raise ArgumentError(
                f"{self._name}: parameters have names in some groups only; give them in all, or in none"
            )
        self.param_groups.append({"params": params, **self._checked_options({**self.defaults, **given}), **labels})

    # ------------------------------------------------------------------ saving and resuming

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to resume with the same bits, as plain Python and NumPy copies.

        `{"state": {i: {name: array or whole number}}, "param_groups": [{..., "params": [i, ...]}]}`, where parameters
        are counted through all groups.
        """
        known = self.state
        state = {
            index: {name: _host_copy(value) for name, value in known[param].items()}
            for index, param in enumerate(self._parameters())
            if known.get(param) and known[param].get("step") != 0  # one that was only left out is not counted
        }
        groups = [
            {**{name: value for name, value in group.items() if name != "params"}, "params": indices}
            for group, indices in zip(self.param_groups, self._indices(), strict=True)
        ]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, settings included. All of it is checked first; if anything is wrong nothing is loaded.

        Arrays are copied to the active backend. After a change of backend,
        `optimizer.load_state_dict(optimizer.state_dict())` moves the state after the parameters.

        Raises:
            StateDictError: with a list of everything that does not fit.
        """
        problems: list[str] = []
        groups, state = self._loaded(state_dict, problems)
        if problems:
            raise StateDictError(f"this state_dict does not fit {self._name}:\n  " + "\n  ".join(problems))
        for group, options in zip(self.param_groups, groups, strict=True):
            group.update(options)
        self._state = state

    def _loaded(self, state_dict: Any, problems: list[str]) -> tuple[list[Options], dict[Tensor, State]]:
        """The settings of each group and the state of each parameter; everything wrong is added to `problems`."""
        saved_groups: Any = state_dict.get("param_groups") if isinstance(state_dict, dict) else None
        saved_states: Any = state_dict.get("state") if isinstance(state_dict, dict) else None
        if not isinstance(saved_groups, list) or not isinstance(saved_states, dict):
            problems.append("it is not a dict with a list of 'param_groups' and a dict of 'state'")
            return [], {}
        if len(saved_groups) != len(self.param_groups):
            problems.append(f"it has {len(saved_groups)} parameter group(s), expected {len(self.param_groups)}")
            return [], {}

        groups = []
        places: dict[int, tuple[Tensor, set[str]]] = {}  # parameters by number, with the names in their state
        for number, (saved, indices) in enumerate(zip(saved_groups, self._indices(), strict=True)):
            found: list[str] = []
            options = self._loaded_options(saved, indices, found)
            names = self.param_groups[number].get("param_names")
            if not found and names is not None and saved.get("param_names", names) != names:
                found.append(f"the names of its parameters are {saved['param_names']}, expected {names}")
            problems += [f"group {number}: {problem}" for problem in found]
            groups.append(options)
            remembered = self._state_names(self.param_groups[number] if found else options)
            for index, param in zip(indices, self.param_groups[number]["params"], strict=True):
                places[index] = param, remembered

        state: dict[Tensor, State] = {}
        for index, saved in saved_states.items():
            if index not in places:
                problems.append(f"it has a state of parameter {index!r}, but there are {len(places)} parameters")
                continue
            param, names = places[index]
            found = []
            state[param] = _loaded_state(saved, param, names, found)
            problems += [f"parameter {index}: {problem}" for problem in found]
        return groups, state

    def _loaded_options(self, saved: Any, indices: list[int], problems: list[str]) -> Options:
        """The settings of one group from a state_dict."""
        if not isinstance(saved, dict) or not isinstance(saved.get("params"), list):
            problems.append("it is not a dict with a list of 'params'")
            return {}
        if len(saved["params"]) != len(indices):
            problems.append(f"it has {len(saved['params'])} parameter(s), expected {len(indices)}")
        elif saved["params"] != indices:
            problems.append(f"its parameters are {saved['params']}, expected {indices}")
        options: Options = {name: False for name in _YOUNG if name in self.defaults}
        options |= {name: value for name, value in saved.items() if name not in ("params", "name", "param_names")}
        self._forget_ways(options, problems)
        problems += [f"{name} is missing" for name in self.defaults if name not in options]
        problems += [f"{name} is unexpected" for name in options if name not in {*self.defaults, "initial_lr"}]
        if not problems:
            try:
                options.update(self._checked_options(options))
                if "initial_lr" in options:  # left there by a schedule
                    options["initial_lr"] = not_negative(options["initial_lr"], "initial_lr", self._name)
            except ArgumentError as error:
                problems.append(str(error))
        return options

    def _forget_ways(self, options: Options, problems: list[str]) -> None:
        """Take out what a group of PyTorch has besides, where it makes no difference."""
        ways = {name: options.pop(name) for name in _OF_PYTORCH if name in options and name not in self.defaults}
        if ways.pop("decoupled_weight_decay", self._decoupled) != self._decoupled:
            problems.append(f"decoupled_weight_decay is {not self._decoupled}, as it is not in {self._name}")
        if ways.get("differentiable"):
            problems.append("differentiable is True, which there is not")

    # ------------------------------------------------------------------ parameters

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _parameters(self) -> Iterator[Tensor]:
        return (param for group in self.param_groups for param in group["params"])

    def _indices(self) -> list[list[int]]:
        """The numbers of each group's parameters, counted through all groups."""
        count = 0
        indices = []
        for group in self.param_groups:
            indices.append(list(range(count, count + len(group["params"]))))
            count += len(group["params"])
        return indices

    def _as_groups(self, params: Any) -> list[Options]:
        if isinstance(params, Tensor | dict):
            raise ArgumentError(f"{self._name} expects a list of parameters or of groups, got one; write [it]")
        items = self._as_list(params)
        if items and all(isinstance(item, dict) for item in items):
            return items
        return [{"params": items}]

    def _as_list(self, params: Any) -> list[Any]:
        if isinstance(params, Tensor):
            return [params]
        if isinstance(params, set | frozenset):
            raise ArgumentError(f"{self._name} got a set of parameters, whose order changes between runs; use a list")
        if not isinstance(params, Iterable):
            raise ArgumentError(f"{self._name} expects a list of parameters, got {params!r}")
        return list(params)

    def _checked_params(self, params: Any) -> tuple[list[str], list[Tensor]]:
        """The names, where parameters come with them as from `named_parameters()`, and the parameters."""
        params = self._as_list(params)
        names = []
        if params and all(isinstance(each, tuple) and len(each) == 2 and isinstance(each[0], str) for each in params):
            names, params = [name for name, _ in params], [param for _, param in params]
        seen = set(self._parameters())
        for position, param in enumerate(params):
            which = f"{self._name}: parameter {position} of group {len(self.param_groups)}"
            if not isinstance(param, Tensor):
                raise ArgumentError(f"{which} must be a Tensor, got {type(param).__name__} (use model.parameters())")
            if not param.is_leaf:
                raise ArgumentError(f"{which} was computed from other Tensors; give the Tensors it was computed from")
            if param in seen:
                raise ArgumentError(f"{which}, of shape {param.shape}, comes twice")
            seen.add(param)
        return names, params

    def _gradients(self, params: list[Tensor], negated: bool) -> dict[Tensor, Array]:
        """The parameters that have a gradient, and theirs, or their negatives."""
        grads = {param: grad.array for param in params if (grad := param.grad) is not None}
        its_param, its_grad = f"a parameter of {self._name}", f"a gradient that {self._name} was given"
        for param, array in grads.items():
            check_active(param.array, its_param)
            check_active(array, its_grad)
        if negated:  # a new array, which lies in memory as the gradient does
            return {param: xp.multiply(array, -1, out=xp.empty_like(array)) for param, array in grads.items()}
        return grads

    def _put_together(self, number: int, grads: dict[Tensor, Array], options: Options) -> list[Batch]:
        """Those of a group that a kernel updates: as at the last step, unless something about them has changed."""
        recipe = vars(type(self)).get("_recipe")
        if recipe is None or not enabled():
            return []
        before = self._batches.get(number, [])
        if sum(len(batch.params) for batch in before) == len(grads) and all(
            batch.takes([grads.get(param) for param in batch.params]) and batch.is_current(self._state, options)
            for batch in before
        ):
            return before
        if recording():
            raise GraphError(
                f"{self._name}: the parameters that it updates are not those of the step before, or some have no "
                "kernel: their gradients or states are of another type or lie otherwise in memory"
            )
        state = self.state
        rows = [Row(param, param.array, grad, state.setdefault(param, {})) for param, grad in grads.items()]
        self._batches[number] = batches(recipe, rows, options, "step" in self._state_names(options))
        return self._batches[number]

    def _advance(self, number: int, batch: Batch, options: Options, surely: bool) -> None:
        """The host's part of a step, with the settings that the group has then before each replay."""
        now = recording()
        if now is None:
            batch.advance(options, surely)
        else:
            ids = set(map(id, batch.params))
            if ids & now.used:
                raise GraphError(f"cuda_graph: {self._name} makes two steps in the one that is recorded; record one")
            now.used |= ids
            now.checks.append(lambda: self._check_replay(number, batch, options.get("maximize")))
            now.before_replay.append(lambda: batch.advance(self._checked_options(self.param_groups[number]), surely))

    def _check_replay(self, number: int, batch: Batch, maximize: bool | None) -> None:
        options = self._checked_options(self.param_groups[number])
        if not batch.is_current(self._state, options) or options.get("maximize") != maximize:
            raise GraphError(
                f"{self._name}: parameters, their state, or settings that are no numbers are not what they were when "
                "the step was recorded: record it again with cuda_graph"
            )

    def _arrange(self, number: int, params: list[Tensor]) -> list[Alone | Together]:
        """How the parameters of a group are updated: as at the last step, unless something about them has changed."""
        before, parts = self._arranged.get(number, ([], []))
        if list(map(id, params)) == list(map(id, before)) and all(part.is_current(self._state) for part in parts):
            return parts
        for param in params:
            for name, value in self._state.setdefault(param, {}).items():
                if name != "step":
                    what = f"{name}, which {self._name} keeps (load_state_dict(state_dict()) would move it),"
                    check_active(value, what)
        parts = arrange(params, self._state)
        self._arranged[number] = params, parts
        return parts

    def __repr__(self) -> str:
        lines = [f"{self._name} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {number}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])

    if not TYPE_CHECKING:  # where any name would pass for one of an attribute

        def __getattr__(self, name: str) -> Any:  # only called where ordinary lookup found nothing
            hint = f": {_NOT_HERE[name]}" if name in _NOT_HERE else ""
            raise AttributeError(f"{self._name} has no attribute {name!r}{hint}")

    def __getstate__(self) -> dict[str, Any]:
        """For `copy.deepcopy`, which would copy views and what they are views of apart."""
        return {**self.__dict__, "_state": self.state, "_batches": {}, "_arranged": {}}


def _known(go: Array, name: str) -> bool:
    """Wait for the device to say whether to make a step."""
    refuse_while_recording(f"a step of {name} on which the host has to decide, since not all of it is made by kernels")
    return bool(go)


def _host_copy(value: Any) -> Any:
    return value if isinstance(value, int) else np.array(to_cpu(value))


def _loaded_state(saved: Any, param: Tensor, names: set[str], problems: list[str]) -> State:
    """The state of one parameter from a state_dict; empty where the parameter has never been updated."""
    if not isinstance(saved, dict):
        problems.append(f"its state must be a dict, got {type(saved).__name__}")
        return {}
    # PyTorch keeps None for a momentum that there is not, and NAdam's product of momenta, which follows from the step.
    saved = {name: value for name, value in saved.items() if value is not None and name != "mu_product"}
    problems += [f"{name} is missing" for name in sorted(names - set(saved)) if saved]
    problems += [f"{name} is unexpected" for name in saved if name not in names]
    state = {}
    for name in names & set(saved):
        try:
            state[name] = _loaded_value(name, saved[name], param)
        except (ArgumentError, DTypeError) as error:
            problems.append(str(error))
    return state


def _loaded_value(name: str, value: Any, param: Tensor) -> Any:
    """A copy of one entry of a parameter's state, on the active backend and of the parameter's type."""
    if name == "step":
        steps = value.item() if hasattr(value, "item") else value  # in PyTorch it is a Tensor, and a float
        return whole_number(
            int(steps) if isinstance(steps, float) and steps.is_integer() else steps, name, "its state", 0
        )
    if not hasattr(value, "dtype"):
        raise ArgumentError(f"{name} must be an array of floats, got {type(value).__name__}")
    array = value.array if isinstance(value, Tensor) else from_outside(value, name)
    if array.dtype.kind != "f":
        raise ArgumentError(f"{name} must be an array of floats, got {array.dtype}")
    if array.shape != param.shape:
        raise ArgumentError(f"{name} has shape {array.shape}, expected {param.shape}")
    made = xp.empty_like(param.array)  # it lies in memory as the parameter does
    made[...] = asarray(array, param.dtype)
    return made
