"""Containers: Modules that consist of other Modules and add nothing of their own."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator
from typing import Any, overload

from gpunet.errors import ArgumentError
from gpunet.nn.module import Module
from gpunet.tensor import Tensor

__all__ = ["ModuleList", "Sequential"]


class _Ordered(Module):
    """Modules under the names "0", "1", ..., or under names of their own."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def _check(self, module: Any) -> Module:
        if not isinstance(module, Module):
            raise ArgumentError(f"{type(self).__name__}: expected a Module, got {type(module).__name__}")
        return module

    def append(self, module: Module) -> Any:
        """Add a Module at the end; its name is the first free number from the length on."""
        name = next(str(number) for number in itertools.count(len(self)) if str(number) not in self._modules)
        self.add_module(name, self._check(module))
        return self

    def _at(self, index: int) -> Module:
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"{type(self).__name__} has {len(self)} modules, got index {position}")
        return list(self.children())[position]


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
        for module in self.children():
            input = module(input)
        return input

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(dict(list(self.named_children())[index]))
        return self._at(index)


class ModuleList(_Ordered):
    """A list of Modules whose parameters are found by the Module that holds it. It has no forward of its own.

    Raises:
        ArgumentError: if something is not a Module.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add several Modules at the end."""
        for module in modules:
            self.append(module)
        return self

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> ModuleList: ...
    def __getitem__(self, index: int | slice) -> Module:
        return ModuleList(list(self.children())[index]) if isinstance(index, slice) else self._at(index)
