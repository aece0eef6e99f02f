"""Containers: Modules that consist of other Modules, or of parameters, and add nothing of their own."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from gpunet.errors import ArgumentError
from gpunet.nn.module import Module
from gpunet.nn.parameter import Parameter
from gpunet.tensor import Tensor

__all__ = ["ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"]

_Self = TypeVar("_Self", bound="_Ordered")


class _Ordered(Module):
    """Modules under the names "0", "1", ..., or under names of their own, which are kept until the list is changed."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._list())

    def _list(self) -> list[Any]:
        return list(self._modules.values())

    def _fill(self, modules: Iterable[Module]) -> None:
        """Hold these Modules, under their numbers."""
        checked = [self._check(module) for module in modules]
        for name in list(self._modules):
            delattr(self, name)
        for number, module in enumerate(checked):
            self.add_module(str(number), module)

    def _check(self, module: Any) -> Module:
        if not isinstance(module, Module):
            raise ArgumentError(f"{type(self).__name__}: expected a Module, got {type(module).__name__}")
        return module

    def append(self: _Self, module: Module) -> _Self:
        """Add a Module at the end; its name is the length so far, or the next number that is free."""
        number = len(self)
        while str(number) in self._modules:
            number += 1
        self.add_module(str(number), self._check(module))
        return self

    def extend(self: _Self, modules: Iterable[Module]) -> _Self:
        """Add several Modules at the end.

        Raises:
            ArgumentError: if they are not several, or one is not a Module.
        """
        if not isinstance(modules, Iterable):
            raise ArgumentError(f"{type(self).__name__}.extend: expected Modules, got {type(modules).__name__}")
        for module in list(modules):
            self.append(module)
        return self

    def insert(self: _Self, index: int, module: Module) -> _Self:
        """Add a Module before a position; all are numbered anew."""
        modules = self._list()
        modules.insert(operator.index(index), self._check(module))
        self._fill(modules)
        return self

    def pop(self, key: int) -> Module:
        """Take a Module out, and return it; all are numbered anew."""
        module = self._list()[self._position(key)]
        del self[key]
        return module

    def __setitem__(self, index: int, module: Module) -> None:
        name = list(self._modules)[self._position(index)]
        setattr(self, name, self._check(module))

    def __delitem__(self, index: int | slice) -> None:
        modules = self._list()
        del modules[index if isinstance(index, slice) else self._position(index)]
        self._fill(modules)

    def _position(self, index: int) -> int:
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"{type(self).__name__} has {len(self)} modules, got index {position}")
        return position


class Sequential(_Ordered):
    """Modules one after the other: the output of each is the input of the next.

    Takes the Modules as arguments, or a dictionary of names to Modules.

    Raises:
        ArgumentError: if something is not a Module.

    Example:
        >>> from gpunet.nn import Linear, ReLU
        >>> len(Sequential(Linear(4, 8), ReLU(), Linear(8, 2)))
        3
    """

    def __init__(self, *modules: Module | dict[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            named: Iterable[tuple[str, Any]] = modules[0].items()
        else:
            named = ((str(position), module) for position, module in enumerate(modules))
        for name, module in named:
            self.add_module(name, self._check(module))

    def forward(self, input: Tensor) -> Tensor:
        """Pass the input through every Module in turn."""
        for module in self:
            input = module(input)
        return input

    def __add__(self, other: Sequential) -> Sequential:
        """The Modules of the one, then those of the other."""
        return Sequential(*self, *other) if isinstance(other, Sequential) else NotImplemented

    def __iadd__(self, other: Sequential) -> Sequential:
        return self.extend(other) if isinstance(other, Sequential) else NotImplemented

    def __mul__(self, times: int) -> Sequential:
        """The same Modules several times over."""
        return Sequential(*self._list() * operator.index(times))

    __rmul__ = __mul__

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))  # type: ignore[arg-type]
        return self._list()[self._position(index)]


class ModuleList(_Ordered):
    """A list of Modules whose parameters are found by the Module that holds it. It has no forward of its own.

    Raises:
        ArgumentError: if something is not a Module.
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        """The Modules of the one, then those of the other."""
        return ModuleList([*self, *other])

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module:
        return ModuleList(self._list()[index]) if isinstance(index, slice) else self._list()[self._position(index)]


class _ByName(Module):
    """What a dictionary can do, with Modules or parameters in it."""

    def _held(self) -> dict[str, Any]:
        raise NotImplementedError

    def __getitem__(self, key: str) -> Any:
        return self._held()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        raise NotImplementedError

    def __delitem__(self, key: str) -> None:
        if key not in self._held():
            raise KeyError(key)
        delattr(self, key)

    def __len__(self) -> int:
        return len(self._held())

    def __iter__(self) -> Iterator[str]:
        return iter(self._held())

    def __contains__(self, key: object) -> bool:
        return key in self._held()

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._held().keys()

    def values(self) -> Iterable[Any]:
        """What they are the names of."""
        return self._held().values()

    def items(self) -> Iterable[tuple[str, Any]]:
        """The names, each with what it is the name of."""
        return self._held().items()

    def update(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add several, or put them in the place of those of the same names."""
        for name, value in values.items() if isinstance(values, Mapping | _ByName) else values:
            self[name] = value

    def pop(self, key: str) -> Any:
        """Take one out, and return it."""
        value = self[key]
        del self[key]
        return value

    def clear(self) -> None:
        """Take all out."""
        for name in list(self):
            del self[name]


class ModuleDict(_ByName):
    """Modules by name, whose parameters are found by the Module that holds it. It has no forward of its own.

    Raises:
        ArgumentError: if something is not a Module.
    """

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None) -> None:
        super().__init__()
        self.update(() if modules is None else modules)

    def _held(self) -> dict[str, Any]:
        return self._modules

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)


class ParameterList(Module):
    """A list of parameters, found by the Module that holds it. Tensors become parameters.

    Raises:
        DTypeError: if something holds no floats.
    """

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    @overload
    def __getitem__(self, index: int) -> Parameter: ...
    @overload
    def __getitem__(self, index: slice) -> ParameterList: ...
    def __getitem__(self, index: int | slice) -> Any:
        chosen = list(self)[index]
        return ParameterList(chosen) if isinstance(index, slice) else chosen

    def __setitem__(self, index: int, value: Any) -> None:
        setattr(self, list(self._parameters)[index], _parameter(value))

    def append(self, value: Any) -> ParameterList:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> ParameterList:
        """Add several parameters at the end."""
        for value in list(values):
            self.append(value)
        return self

    __iadd__ = extend


class ParameterDict(_ByName):
    """Parameters by name, found by the Module that holds it. Tensors become parameters.

    Raises:
        DTypeError: if something holds no floats.
    """

    def __init__(self, parameters: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None) -> None:
        super().__init__()
        self.update(() if parameters is None else parameters)

    def _held(self) -> dict[str, Any]:
        return self._parameters

    def __setitem__(self, key: str, value: Any) -> None:
        self.register_parameter(key, _parameter(value))

    def get(self, key: str, default: Any = None) -> Any:
        """The parameter of a name, or `default` where there is none."""
        return self._parameters.get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The parameter of a name; `default` is added where there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def popitem(self) -> tuple[str, Any]:
        """Take out the one that was added last, and return it with its name."""
        if not self._parameters:
            raise KeyError("popitem(): the dictionary is empty")
        key = list(self)[-1]
        return key, self.pop(key)

    def copy(self) -> ParameterDict:
        """Another dictionary of the same parameters."""
        return ParameterDict(self._parameters)


def _parameter(value: Any) -> Parameter:
    return value if isinstance(value, Parameter) else Parameter(value)
