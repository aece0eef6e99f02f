"""CUDA graphs: a training step is recorded once, and from then on started as a whole.

A GPU waits for Python: each of the hundreds of operations of a step takes it some microseconds to start. A graph holds
them all, with the addresses that they read and write, and one call starts it. That has a price: nothing of the step's
Python runs again. What it does on the host is done before each replay (`gpunet.backend.recording`), what it relies on
is compared, and whatever else has changed is an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from operator import is_
from typing import Any

from gpunet.autocast import is_autocast_enabled
from gpunet.backend import Array, active_backend, before_switching, check_active, xp
from gpunet.backend.recording import Recording, refuse_while_recording, watched
from gpunet.errors import ArgumentError, BackendError, DTypeError, GraphError, ShapeError
from gpunet.nn import Module
from gpunet.ops.writing import about_to_write
from gpunet.optim import Optimizer
from gpunet.tape import Leaf, is_grad_enabled
from gpunet.tensor import Tensor, own

__all__ = ["CudaGraph", "check_graphs", "cuda_graph"]

WARM_UP = 2  # steps: the first makes what lasts, such as an optimizer's momentum; the second is as all that follow


def check_graphs() -> None:
    """Make sure that the active backend has CUDA graphs.

    Raises:
        BackendError: if not.
    """
    if active_backend() == "numpy":
        raise BackendError(
            "a CUDA graph needs a GPU, and the active backend is numpy: leave cuda_graph, or --graph, away; "
            "there is no device that waits for Python"
        )


class CudaGraph:
    """A step that records itself and is replayed from then on; made by `cuda_graph`, which says how."""

    def __init__(self, step: Callable[..., Any]) -> None:
        check_graphs()
        self._step = step
        self._backend = active_backend()
        self._recording = Recording()
        self._warm = 0
        self._kind: list[tuple[tuple[int, ...], Any]] | None = None
        self._replay: _Replay | None = None

    def __call__(self, *inputs: Tensor) -> Any:
        """Make one step."""
        if active_backend() != self._backend:
            raise BackendError(f"this step was given to cuda_graph on {self._backend}; active is {active_backend()}")
        refuse_while_recording("another recorded step in it")
        self._check_inputs(inputs)
        if self._replay is None and self._warm < WARM_UP:
            with watched(self._recording, running=False):
                result = _each_array(self._step(*inputs), lambda array: array)
            self._warm += 1
            return result
        if self._replay is None:
            self._replay = _Replay(self._step, self._recording, inputs)
        return self._replay(inputs)

    def takes(self, *inputs: Tensor) -> bool:
        """Whether inputs have the shapes and types of the first ones, so that the step can be replayed with them."""
        return self._kind is None or self._kind == [(each.shape, each.dtype) for each in inputs]

    def _check_inputs(self, inputs: Sequence[Any]) -> None:
        for place, each in enumerate(inputs):
            if not isinstance(each, Tensor) or each.requires_grad:
                what = "one that requires a gradient" if isinstance(each, Tensor) else type(each).__name__
                raise ArgumentError(f"cuda_graph: input {place} of the step must be a Tensor of data, got {what}")
            check_active(each.array, f"input {place} of the step")
        kind = [(each.shape, each.dtype) for each in inputs]
        if self._kind is None:
            self._kind = kind
        if kind == self._kind:
            return
        got, expected = (", ".join(f"{shape} {dtype}" for shape, dtype in each) for each in (kind, self._kind))
        error = DTypeError if [shape for shape, _ in kind] == [shape for shape, _ in self._kind] else ShapeError
        raise error(
            f"cuda_graph: the step was begun with inputs {expected}, got {got}; a graph replays one shape only: give "
            "others to the step itself, or to a cuda_graph of their own"
        )


def cuda_graph(step: Callable[..., Any]) -> CudaGraph:
    """Record a training step as a CUDA graph and replay it: the same bits, without Python between the operations.

    The first two calls run the step as it is. The third records it, and from then on each call copies its inputs to
    where the recorded step reads them and starts all of its operations at once. Each call is one step.

    - The step takes Tensors, always of the same shapes and types, and returns Tensors (or a tuple, list or dict of
      them, or None). What it returns has no history, and is not written over by later calls.
    - It does everything: `zero_grad`, forward, `backward`, clipping, `optimizer.step()`. It must not look at a value
      (`item`, `float`, `if loss > 1`) or make Tensors of host data; that is an error when it is recorded.
    - Learning rates and other numbers in `param_groups` are read at each call, as schedules set them. Steps are
      counted, dropout draws on, labels are checked. All else that the step reads is as it was when it was recorded. If
      Modules were switched to evaluation, frozen, changed or given other arrays, or the state of the optimizer was
      loaded anew, the next call is an error: make another graph then.
    - A `GradScaler` may take part: it is the device that leaves a step out, where kernels make it (SGD without
      dampening, Adam, AdamW).

    Args:
        step: what to record.

    Raises:
        BackendError: on the numpy backend.
        GraphError: when called, if the step cannot be recorded, or a replay would not be the step as it is now.
        ShapeError: when called, for inputs of other shapes than the first.
        DTypeError: when called, for inputs of other types than the first.

    Example:
        >>> from gpunet import nn, optim, tensor, use_backend
        >>> with use_backend("emulated"):
        ...     model = nn.Linear(2, 1)
        ...     optimizer = optim.SGD(model.parameters(), lr=0.1)
        ...
        ...     @cuda_graph
        ...     def step(x, y):
        ...         optimizer.zero_grad()
        ...         loss = nn.functional.mse_loss(model(x), y)
        ...         loss.backward()
        ...         optimizer.step()
        ...         return loss
        ...
        ...     x, y = tensor([[1.0, 2.0]]), tensor([[3.0]])
        ...     losses = [step(x, y).item() for _ in range(5)]
        >>> losses == sorted(losses, reverse=True)
        True
    """
    return CudaGraph(step)


class _Replay:
    """A recorded step.

    Its working arrays come from a memory pool of its own, which lives as long as the graph: what is freed while the
    step is recorded is used again by the step, and by nobody else.
    """

    def __init__(self, step: Callable[..., Any], recording: Recording, inputs: Sequence[Tensor]) -> None:
        self._recording = recording
        self._inputs = tuple(own(each.array.copy(order="K")) for each in inputs)
        self._tensors = _tensors(recording.parts)
        self._leaves = [(tensor, tensor._node) for tensor in self._tensors if isinstance(tensor._node, Leaf)]
        grads = [leaf.grad for _, leaf in self._leaves]
        recording.start(self._inputs)
        known, before = set(recording.parts), self._attributes()
        self._pool = xp.cuda.MemoryPool()
        self._pool.set_limit(size=xp.get_default_memory_pool().get_limit())
        try:
            self._record(step)
            if set(recording.parts) != known:
                raise GraphError(
                    "cuda_graph: the step used a Module or an optimizer that it had not used in the two steps before"
                )
            self._check_attributes(before)
            self._settle_gradients(grads)
        except BaseException:  # nothing was computed: nobody may take it for results
            for (_, leaf), grad in zip(self._leaves, grads, strict=True):
                leaf.grad = grad
            _put_back(before)
            raise
        self._relies_on = self._looks()

    def _record(self, step: Callable[..., Any]) -> None:
        compute_what_waits()
        self._stream = stream = xp.cuda.Stream(non_blocking=True)
        with stream, xp.cuda.using_allocator(self._pool.malloc), watched(self._recording, running=True):
            stream.begin_capture()
            try:
                self._outputs = _each_array(step(*self._inputs), lambda array: array)
                compute_what_waits()
                self._graph = stream.end_capture()
            except BaseException as error:
                with contextlib.suppress(Exception):  # it must be ended, and is of no use
                    stream.end_capture()
                # CuPy has no implementation of what calls cuBLAS or cuRAND.
                if isinstance(error, xp.cuda.runtime.CUDARuntimeError | NotImplementedError):
                    raise GraphError(
                        f"cuda_graph: the step cannot be recorded: {error}. It may not read values (item, float, if), "
                        "make Tensors of host data, or wait for the device"
                    ) from error
                raise

    def _attributes(self) -> list[tuple[Any, str, Any]]:
        """Attributes of Modules, and the arrays of parameters and buffers, each with whose it is."""
        modules = [part for part in self._recording.parts.values() if isinstance(part, Module)]
        found = [(module, name, value) for module in modules for name, value in vars(module).items()]
        return [*found, *((tensor, "data", tensor.array) for tensor in self._tensors)]

    def _check_attributes(self, before: list[tuple[Any, str, Any]]) -> None:
        """Make sure that the step has set none: a replay would not."""
        now = {(id(owner), name): value for owner, name, value in self._attributes()}
        for owner, name, value in before:
            if now.pop((id(owner), name), None) is not value:
                raise GraphError(
                    f"cuda_graph: the step sets {name!r} of a {type(owner).__name__}, which a replay does not, as no "
                    "Python runs then; write into arrays in place"
                )
        for _, name in now:
            raise GraphError(f"cuda_graph: the step makes an attribute {name!r} of a Module, which a replay does not")

    def _settle_gradients(self, before: Sequence[Array | None]) -> None:
        """Which gradients a replay must find, and which it leaves."""
        self._found: list[tuple[Leaf, Array | None]] = []
        self._left: list[tuple[Leaf, Array | None]] = []
        self._kept = before  # the step may fill their memory with zeros
        for (tensor, leaf), grad in zip(self._leaves, before, strict=True):
            if id(tensor) not in self._recording.forgotten:
                if grad is not None and leaf.grad is not None and leaf.grad is not grad:
                    raise GraphError(
                        "cuda_graph: the step adds to gradients from before, which a replay would not find where they "
                        "were; let it begin with optimizer.zero_grad()"
                    )
                self._found.append((leaf, grad))
            if leaf.grad is not grad:
                self._left.append((leaf, leaf.grad))

    def _looks(self) -> list[object]:
        """What the step relies on, to be compared one by one: attributes of Modules, arrays, modes."""
        values: list[object] = [is_autocast_enabled(), is_grad_enabled()]
        for part in self._recording.parts.values():
            if isinstance(part, Module):
                values += vars(part).values()
            elif isinstance(part, Optimizer):
                values += (tensor for group in part.param_groups for tensor in group["params"])
        for tensor in self._tensors:
            values += tensor._array, tensor._node
        return values

    def __call__(self, inputs: Sequence[Tensor]) -> Any:
        about_to_write(*(each.array for each in self._inputs))
        for recorded, given in zip(self._inputs, inputs, strict=True):
            recorded.array[...] = given.array
            recorded.host_range = given.known_range()
        self._check()
        about_to_write(*(tensor.array for tensor in self._tensors))
        for work in self._recording.before_replay:
            work()
        self._graph.launch()
        for leaf, grad in self._left:
            leaf.grad = grad
        return _each_array(self._outputs, lambda array: array.copy(order="K"))

    def _check(self) -> None:
        looks = self._looks()
        if len(looks) != len(self._relies_on) or not all(map(is_, looks, self._relies_on)):
            raise GraphError(
                "cuda_graph: a Module was changed since the step was recorded: switched between training and "
                "evaluation, frozen, set otherwise or given other arrays; or the optimizer got other parameters; or "
                "autocast or no_grad is another. Record the step again with cuda_graph"
            )
        if any(leaf.grad is not grad for leaf, grad in self._found):
            raise GraphError(
                "cuda_graph: the gradients are not those that the step found when it was recorded; let it begin with "
                "optimizer.zero_grad(), or let another graph compute them"
            )
        for check in self._recording.checks:
            check()


def compute_what_waits() -> None:
    """Compute what was put off, so that a graph holds what it is to hold, and nothing else."""
    for prepare in before_switching:
        prepare()


def _tensors(parts: dict[int, object]) -> list[Tensor]:
    """All parameters and buffers of Modules, and what optimizers update, each once."""
    found: dict[int, Tensor] = {}

    def each() -> Iterator[Tensor]:
        for part in parts.values():
            if isinstance(part, Module):
                yield from part.parameters(recurse=False)
                yield from part.buffers(recurse=False)
            elif isinstance(part, Optimizer):
                for group in part.param_groups:
                    yield from group["params"]

    for tensor in each():
        found.setdefault(id(tensor), tensor)
    return list(found.values())


def _put_back(attributes: list[tuple[Any, str, Any]]) -> None:
    for owner, name, value in attributes:
        if isinstance(owner, Tensor):
            owner.array = value
            continue
        vars(owner)[name] = value
        for store in (owner._parameters, owner._buffers, owner._modules):
            if name in store:
                store[name] = value


def _each_array(result: Any, make: Callable[[Array], Array]) -> Any:
    """What a step returns, with Tensors without history of what is made of their arrays.

    Raises:
        GraphError: if it returns anything else, which would be the same after every replay.
    """
    if isinstance(result, Tensor):
        return own(make(result.array))
    if isinstance(result, xp.ndarray):
        return make(result)
    if isinstance(result, dict):
        return {name: _each_array(each, make) for name, each in result.items()}
    if isinstance(result, tuple | list):
        made = [_each_array(each, make) for each in result]
        return type(result)(*made) if hasattr(result, "_fields") else type(result)(made)
    if result is None:
        return None
    raise GraphError(
        f"cuda_graph: the step may return Tensors, and tuples, lists and dicts of them, got {type(result).__name__}, "
        "which would be the same after every replay"
    )
