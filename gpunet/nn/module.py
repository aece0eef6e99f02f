"""Module: the base of all layers and networks.

A Module keeps what it learns (parameters), what it remembers besides (buffers, such as running means) and the Modules
it is made of in three dictionaries, filled by plain assignment: `self.conv = Conv2d(...)`. All are ordinary attributes,
too, so that reading them takes no detour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

from gpunet.arguments import flag, number_type
from gpunet.backend import Array, asarray, from_outside
from gpunet.backend.recording import forgets_gradient, note_part
from gpunet.device import check_device, is_device
from gpunet.errors import ArgumentError, DTypeError, GpunetError, GradientError, StateDictError
from gpunet.hooks import Hooks, RemovableHandle
from gpunet.nn.parameter import Parameter
from gpunet.ops.shaping import Same
from gpunet.ops.writing import about_to_write
from gpunet.tensor import Tensor, apply, own

__all__ = ["IncompatibleKeys", "Module"]

Self = TypeVar("Self", bound="Module")

EXTRA = "_extra_state"  # the name, in a state, of what `get_extra_state` of a subclass returns


NOT_HERE = {
    "bfloat16": "there is no bfloat16; half() and gpunet.amp.autocast() compute in float16",
    "compile": "there is nothing to compile; gpunet.cuda_graph(step) records a training step on a GPU",
    "ipu": "a device is cpu or cuda",
    "mtia": "a device is cpu or cuda",
    "register_backward_hook": "write register_full_backward_hook",
    "register_full_backward_pre_hook": "register a hook on the output, output.register_hook(hook)",
    "register_load_state_dict_post_hook": "load with strict=False, and look at the keys that it returns",
    "register_state_dict_pre_hook": "do it before state_dict() is called",
    "set_submodule": "write setattr(model.get_submodule(path), name, module)",
    "share_memory": "one process trains, with threads for the data",
    "to_empty": "parameters are never without values: gpunet.nn.init fills them anew",
    "type": "write to(dtype)",
    "xpu": "a device is cpu or cuda",
}
"""Methods that PyTorch's Module has and this one has not, each with what to do."""


class IncompatibleKeys(NamedTuple):
    """What did not match when a state_dict was loaded with strict=False."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """The base class of layers and networks. A subclass makes its parts in `__init__` and uses them in `forward`.

    Example:
        >>> class Net(Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.scale = Parameter([2.0])
        ...
        ...     def forward(self, x):
        ...         return x * self.scale
        >>> [name for name, _ in Net().named_parameters()]
        ['scale']
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _transient: frozenset[str] = frozenset()  # the names of buffers that are no part of the state
    _hooks: dict[str, Hooks] | None = None  # by kind; most Modules have none
    _version: ClassVar[int] = 1  # of the names in the state, for `_load_from_state_dict`

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "training", True)

    # ------------------------------------------------------------------ running

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; every subclass defines its own."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`; an error raised on the way is told in which layer it arose."""
        note_part(self)
        try:
            if self._hooks is None:  # the usual case
                return self.forward(*args, **kwargs)
            return self._forward_with_hooks(self._hooks, args, kwargs)
        except GpunetError as error:
            self._locate(error)
            raise

    def _locate(self, error: GpunetError) -> None:
        """Name the innermost Module that the error passed through, as seen from this one: `layer1.0.conv2 (Conv2d)`."""
        if error.origin is None:
            error.origin = self
        path = next((name for name, module in self.named_modules() if module is error.origin), "")
        kind = type(error.origin).__name__
        error.layer = f"{path} ({kind})" if path else kind

    # ------------------------------------------------------------------ hooks

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before `forward`; what it returns, unless None, takes the place of the arguments.

        Args:
            prepend: whether it comes before the hooks that are there.
            with_kwargs: whether it is `hook(module, args, kwargs)`, and returns both.
        """

        def run(me: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            changed = hook(me, args, kwargs) if with_kwargs else hook(me, args)
            if changed is None:
                return args, kwargs
            if with_kwargs:
                return changed
            return (changed if isinstance(changed, tuple) else (changed,)), kwargs

        return self._hooks_of("before").add(run, prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after `forward`; what it returns, unless None, takes the output's place.

        Args:
            prepend: whether it comes before the hooks that are there.
            with_kwargs: whether it is `hook(module, args, kwargs, output)`.
        """

        def run(me: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            changed = hook(me, args, kwargs, output) if with_kwargs else hook(me, args, output)
            return output if changed is None else changed

        return self._hooks_of("after").add(run, prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` on the way back, with tuples of one gradient each.

        What it returns, unless None, takes the place of `grad_input`. It is not called where no gradient by the input
        is wanted. The Module must take one Tensor, and return one.

        Raises:
            GradientError: later, when the Module runs with several Tensors, or returns anything but one.
        """
        return self._hooks_of("back").add(hook, prepend)

    def _hooks_of(self, kind: str) -> Hooks:
        if self._hooks is None:
            object.__setattr__(
                self, "_hooks", {kind: Hooks() for kind in ("before", "after", "back", "saved", "loading")}
            )
        return self._hooks[kind]  # type: ignore[index]

    def _forward_with_hooks(self, hooks: dict[str, Hooks], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for before in tuple(hooks["before"].values()):
            args, kwargs = before(self, args, kwargs)
        gradients: list[Tensor] = []
        if hooks["back"]:
            args = self._watch_input(hooks["back"], args, gradients)
        output = self.forward(*args, **kwargs)
        for after in tuple(hooks["after"].values()):
            output = after(self, args, kwargs, output)
        if hooks["back"]:
            if not isinstance(output, Tensor):
                raise GradientError(
                    f"a backward hook of {type(self).__name__} expects one Tensor as its output, got "
                    f"{type(output).__name__}"
                )
            if output.requires_grad:
                output = apply(Same(), output)
                output.register_hook(gradients.append)
        return output

    def _watch_input(self, hooks: Hooks, args: tuple[Any, ...], gradients: list[Tensor]) -> tuple[Any, ...]:
        """The arguments, with a place on the tape where the gradient by the input passes, after that by the output."""
        if sum(isinstance(each, Tensor) for each in args) != 1:
            raise GradientError(f"a backward hook of {type(self).__name__} expects one Tensor as its input")

        def run(grad: Tensor) -> Tensor:
            for hook in tuple(hooks.values()):
                changed = hook(self, (grad,), tuple(gradients[-1:]))
                if changed is not None:
                    (grad,) = changed if isinstance(changed, tuple) else (changed,)
            return grad

        def watched(each: Tensor) -> Tensor:
            each = apply(Same(), each)
            if each.requires_grad:
                each.register_hook(run)
            return each

        return tuple(watched(each) if isinstance(each, Tensor) else each for each in args)

    # ------------------------------------------------------------------ parts

    def __setattr__(self, name: str, value: Any) -> None:
        if "_parameters" not in self.__dict__:
            if not isinstance(value, Parameter | Module):  # which may come before, as in PyTorch
                object.__setattr__(self, name, value)
                return
            raise AttributeError(f"call super().__init__() in {type(self).__name__}.__init__ before setting {name!r}")
        stores: tuple[dict[str, Any], ...] = (self._parameters, self._buffers, self._modules)
        if isinstance(value, Parameter):
            store: dict[str, Any] | None = self._parameters
        elif isinstance(value, Module):
            store = self._modules
        else:  # a buffer keeps its place when it is replaced, and so does a part that is set to None
            store = next((one for one in stores if name in one), None)
            if store is not None and not (value is None or (store is self._buffers and isinstance(value, Tensor))):
                kinds = ("an nn.Parameter", "a Tensor", "a Module")
                kind = next(kind for one, kind in zip(stores, kinds, strict=True) if one is store)
                raise DTypeError(
                    f"{type(self).__name__}.{name} cannot be set to {type(value).__name__}: it is {kind}; make one of "
                    f"the value, or delete it first"
                )
        if store is None:
            object.__setattr__(self, name, value)
            return
        for other in stores:
            if other is not store:
                other.pop(name, None)
        store[name] = self.__dict__[name] = value

    def __getattr__(self, name: str) -> Any:  # only called where ordinary lookup found nothing
        hint = f": {NOT_HERE[name]}" if name in NOT_HERE else ""
        if "_parameters" not in self.__dict__:
            hint = "; call super().__init__() in its __init__ first"
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}{hint}")

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        for store in (self._parameters, self._buffers, self._modules):
            store.pop(name, None)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under a name; None reserves the name for a parameter that this layer does without.

        Raises:
            ArgumentError: if it is not a Parameter, the name has a dot in it, or something else has the name.
        """
        self._register(self._parameters, name, param, Parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a Tensor that belongs to the state but is not learned, such as a running mean.

        Args:
            persistent: False keeps it out of `state_dict`: it is converted with the Module, but not saved.

        Raises:
            ArgumentError: if it is not a Tensor, the name has a dot in it, or something else has the name.
        """
        self._register(self._buffers, name, tensor, Tensor)
        if persistent == (name in self._transient):
            object.__setattr__(self, "_transient", self._transient ^ {name})

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a Module under a name.

        Raises:
            ArgumentError: if it is not a Module, the name has a dot in it, or something else has the name.
        """
        self._register(self._modules, name, module, Module)

    def register_module(self, name: str, module: Module | None) -> None:
        """`add_module` under its other name."""
        self.add_module(name, module)

    def _register(self, store: dict[str, Any], name: str, value: Any, kind: type) -> None:
        where = type(self).__name__
        if value is not None and not isinstance(value, kind):
            raise ArgumentError(f"{where}: {name!r} must be a {kind.__name__}, got {type(value).__name__}")
        if not name or "." in name:
            raise ArgumentError(f"{where}: a name must not be empty or have a dot in it, got {name!r}")
        if name not in store and hasattr(self, name):
            raise ArgumentError(f"{where}: there is an attribute {name!r} already")
        store[name] = self.__dict__[name] = value

    def get_submodule(self, target: str) -> Module:
        """The Module of a dotted name, such as "layer1.0.conv1"; "" is this one.

        Raises:
            AttributeError: if there is none.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            if not isinstance(getattr(module, name, None), Module):
                raise AttributeError(f"{type(self).__name__} has no Module {target!r}: {name!r} is none")
            module = getattr(module, name)
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name, such as "layer1.0.conv1.weight".

        Raises:
            AttributeError: if there is none.
        """
        return self._get(target, "_parameters", "parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name, such as "bn1.running_mean".

        Raises:
            AttributeError: if there is none.
        """
        return self._get(target, "_buffers", "buffer")

    def _get(self, target: str, store: str, kind: str) -> Any:
        path, _, name = target.rpartition(".")
        found = getattr(self.get_submodule(path), store).get(name)
        if found is None:
            raise AttributeError(f"{type(self).__name__} has no {kind} {target!r}")
        return found

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The Modules that this one directly consists of, with their names."""
        return ((name, module) for name, module in self._modules.items() if module is not None)

    def children(self) -> Iterator[Module]:
        """The Modules that this one directly consists of."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This Module and all within it, each once, or under every name it has, with their dotted names.

        Args:
            memo: Modules that are passed over; those that are passed are added.
        """
        seen: set[Module] = set() if memo is None else memo
        if self in seen:
            return
        if remove_duplicate:
            seen.add(self)
        yield prefix, self
        for name, module in self.named_children():
            yield from module.named_modules(seen, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This Module and all within it, each once, or as often as it is there."""
        return (module for _, module in self.named_modules(remove_duplicate=remove_duplicate))

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names; one that several layers share comes once, or under each name."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters; one that several layers share comes once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their dotted names."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def _named(self, store: str, prefix: str, recurse: bool, once: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        walk = self.named_modules(prefix=prefix, remove_duplicate=once) if recurse else ((prefix, self),)
        for path, module in walk:
            for name, tensor in getattr(module, store).items():
                if tensor is not None and id(tensor) not in seen:
                    if once:
                        seen.add(id(tensor))
                    yield (f"{path}.{name}" if path else name), tensor

    # ------------------------------------------------------------------ modes and changes

    def train(self: Self, mode: bool = True) -> Self:
        """Switch to training (dropout drops, batch norm uses the batch), or with False to evaluation.

        Raises:
            ArgumentError: if `mode` is neither True nor False.
        """
        mode = flag(mode, f"{type(self).__name__}.train: mode")
        for module in self.modules():
            object.__setattr__(module, "training", mode)
        return self

    def eval(self: Self) -> Self:
        """Switch to evaluation: dropout is the identity, batch norm uses its running statistics."""
        return self.train(False)

    def apply(self: Self, fn: Callable[[Module], object]) -> Self:
        """Call a function with every Module within this one, and with this one last."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Let gradients reach the parameters, or freeze them."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to 0."""
        for parameter in self.parameters():
            forgets_gradient(parameter)
            if parameter.requires_grad:
                gradient = parameter.grad
                parameter.grad = None if set_to_none or gradient is None else gradient.zero_()

    def to(
        self: Self,
        *target: Any,
        dtype: Any = None,
        device: Any = None,
        non_blocking: bool = False,
        memory_format: Any = None,
    ) -> Self:
        """Convert all parameters and buffers of floats to another type of float, in place; or name the device.

        The device is that of the active backend (see `to_backend`); how values lie in memory is left to gpunet.

        Raises:
            DTypeError: if the type is not one of floats.
            BackendError: if the device is not that of the active backend.
        """
        for each in target:
            if isinstance(each, Tensor):
                dtype = each.dtype
            elif is_device(each):
                device = each
            elif not isinstance(each, bool):  # non_blocking
                dtype = number_type(each)
        check_device(device, f"{type(self).__name__}.to")
        if dtype is None:
            return self
        dtype = number_type(dtype)
        if dtype.kind != "f":
            raise DTypeError(f"{type(self).__name__}.to expects a type of floats, got {dtype}")
        return self._convert(lambda array: array.astype(dtype) if array.dtype.kind == "f" else array)

    def float(self: Self) -> Self:
        """Convert to float32."""
        return self.to("float32")

    def double(self: Self) -> Self:
        """Convert to float64."""
        return self.to("float64")

    def half(self: Self) -> Self:
        """Convert to float16."""
        return self.to("float16")

    def cpu(self: Self) -> Self:
        """`to("cpu")`: the Module itself on the NumPy backend."""
        return self.to("cpu")

    def cuda(self: Self, device: Any = "cuda") -> Self:
        """`to("cuda")`: the Module itself on the backend of the GPU."""
        return self.to("cuda" if device is None else device)

    def to_backend(self: Self) -> Self:
        """Move all parameters and buffers to the active backend."""
        return self._convert(asarray)

    def _convert(self: Self, convert: Callable[[Array], Array]) -> Self:
        for tensor in (*self.parameters(), *self.buffers()):
            grad = tensor.grad
            tensor.array = convert(tensor.array)
            if grad is not None:
                tensor.grad = own(convert(grad.array))
        return self

    # ------------------------------------------------------------------ state

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """All parameters and buffers by their dotted names; the Tensors share memory with the Module.

        Args:
            destination: a dictionary to add them to, which is then returned.
            prefix: stands before each name.
            keep_vars: whether they are the very parameters, with their history.

        Raises:
            ArgumentError: if a hook returns something: what it says is in the dictionary that it is given.
        """
        state: dict[str, Any] = {} if destination is None else destination
        self._save_to_state_dict(state, prefix, keep_vars)
        for name, module in self.named_children():
            module.state_dict(destination=state, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in tuple(self._hooks["saved"].values()) if self._hooks else ():
            if hook(self, state, prefix, {}) is not None:
                raise ArgumentError("a hook of state_dict changes the dictionary that it is given, and returns None")
        return state

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Add what is this Module's own; a subclass may add more, or leave something out."""
        for name, tensor in self._own_state().items():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        if hasattr(self, "get_extra_state"):
            destination[prefix + EXTRA] = self.get_extra_state()

    def _own_state(self) -> dict[str, Tensor]:
        """The parameters, then the buffers, that belong to the state: the order of PyTorch."""
        own = {**self._parameters, **self._buffers}
        return {name: tensor for name, tensor in own.items() if tensor is not None and name not in self._transient}

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy values into the parameters and buffers of the same names.

        Everything is checked before anything is copied. A Tensor that goes by several names, as tied weights do, may be
        there under any of them.

        Args:
            state_dict: Tensors or arrays by name, those of other libraries, such as PyTorch, too. They become numbers
                of the types that the model has.
            strict: whether missing and unexpected names are errors. Values of a wrong shape always are.
            assign: whether the model takes on the types of the values instead. They are copied all the same.

        Raises:
            StateDictError: if the names or shapes do not fit; the message lists every one that does not.
            DTypeError: if the values are no numbers, or it is no mapping.
        """
        if not isinstance(state_dict, Mapping):
            raise DTypeError(f"load_state_dict expects values by name, got {type(state_dict).__name__}")
        values, versions = dict(state_dict), getattr(state_dict, "_metadata", None) or {}
        missing: list[str] = []
        unexpected: list[str] = []
        problems: list[str] = []
        found: list[tuple[Tensor, Array]] = []
        extra: list[tuple[Module, Any]] = []
        for path, module in self.named_modules(remove_duplicate=False):
            prefix = f"{path}." if path else ""
            told = {"version": module._version, **versions.get(path, {}), "found": found, "extra": extra}
            for hook in tuple(module._hooks["loading"].values()) if module._hooks else ():
                hook(module, values, prefix, told, True, missing, unexpected, problems)
            module._load_from_state_dict(values, prefix, told, True, missing, unexpected, problems)
        everything = *self.named_parameters(remove_duplicate=False), *self.named_buffers(remove_duplicate=False)
        by_name, loaded = dict(everything), {id(tensor) for tensor, _ in found}
        missing = [name for name in missing if id(by_name.get(name)) not in loaded]
        if assign:
            problems += [
                f"{tensor.shape} of {tensor.dtype} cannot become {value.dtype}"
                for tensor, value in found
                if (tensor.dtype.kind == "f") != (value.dtype.kind == "f")
            ]
        if strict:
            problems += [f"missing: {name}" for name in missing] + [f"unexpected: {name}" for name in unexpected]
        if problems:
            listed = "\n  ".join(problems)
            raise StateDictError(f"the state_dict does not fit {type(self).__name__}, nothing was loaded:\n  {listed}")
        about_to_write(*(tensor.array for tensor, _ in found))
        for tensor, value in found:
            if assign and tensor.dtype != value.dtype:
                tensor.array, tensor.grad = tensor.array.astype(value.dtype), None
            tensor.array[...] = asarray(value, tensor.dtype)
        for module, value in extra:
            module.set_extra_state(value)
        return IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Find the values of what is this Module's own; they are copied when all is found.

        A subclass may rename or add values in `state_dict`, which is a copy, and then call this. "version" in
        `local_metadata` is that of the class that wrote them, as far as they say so, or else `_version`.
        """
        own = self._own_state()
        for name, tensor in own.items():
            if prefix + name not in state_dict:
                missing_keys.append(prefix + name)
                continue
            value = _values_of(state_dict[prefix + name], prefix + name)
            if tuple(value.shape) != tensor.shape:
                error_msgs.append(f"misshapen: {prefix}{name} has shape {tuple(value.shape)}, expected {tensor.shape}")
            local_metadata["found"].append((tensor, value))
        has_extra = hasattr(self, "set_extra_state")
        if has_extra and prefix + EXTRA in state_dict:
            local_metadata["extra"].append((self, state_dict[prefix + EXTRA]))
        elif has_extra:
            missing_keys.append(prefix + EXTRA)
        for key in state_dict:
            if key.startswith(prefix):
                first, dot, _ = key[len(prefix) :].partition(".")
                known = self._modules.get(first) is not None if dot else first in own or (has_extra and first == EXTRA)
                if not known:
                    unexpected_keys.append(key)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, state_dict, prefix, local_metadata)` when `state_dict` has added all of this Module."""
        return self._hooks_of("saved").add(hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call a hook before the values of this Module are looked for; it may change `state_dict`, which is a copy.

        `hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`
        """
        return self._hooks_of("loading").add(hook)

    # ------------------------------------------------------------------ looking at it

    def extra_repr(self) -> str:
        """The settings of the layer, for its printed form."""
        return ""

    def __repr__(self) -> str:
        lines = [self.extra_repr()] if self.extra_repr() else []
        children = [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in self.named_children()]
        if not children:
            return f"{type(self).__name__}({', '.join(lines)})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines + children) + "\n)"


def _values_of(value: Any, name: str) -> Array:
    if isinstance(value, Tensor):
        return value.array
    array = from_outside(value, f"load_state_dict: {name}") if hasattr(value, "dtype") else None
    if array is None or array.dtype.kind not in "biuf":
        raise DTypeError(f"load_state_dict: {name} must be a Tensor or an array of numbers, got {type(value).__name__}")
    return array
