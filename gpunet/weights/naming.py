"""Which array of a file belongs to which parameter of a model: prefixes of wrappers, and timm's names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from gpunet.nn import Module

__all__ = ["head_of", "matched"]

PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "net.", "network.", "encoder.", "ema.")
"""What DataParallel, torch.compile, Lightning and others put before the names of the Module that they hold."""


def head_of(model: Module) -> list[str]:
    """The names of the parameters of the last layer that has any: it tells the classes apart."""
    with_parameters = [name for name, module in model.named_modules() if list(module.parameters(recurse=False))]
    prefix = f"{with_parameters[-1]}." if with_parameters and with_parameters[-1] else ""
    return [name for name, _ in model.named_parameters() if name.startswith(prefix)] if with_parameters else []


def matched(names: Sequence[str], own: Sequence[str], architecture: str = "") -> dict[str, str]:
    """For each name of a model that a file has, too, its name in the file.

    Prefixes are taken away, and names of timm translated, where more names fit then.
    """
    wanted = set(own)
    translations: tuple[Callable[[str], str], ...] = (str, *TIMM.get(architecture, ()))

    def as_ours(prefix: str, translate: Callable[[str], str]) -> dict[str, str]:
        return {translate(name.removeprefix(prefix)): name for name in names}

    def fits(found: dict[str, str]) -> int:
        return len(wanted & found.keys())

    # The first of those that fit equally well: names as they are, if they do.
    best = max((as_ours(prefix, each) for prefix in _prefixes(names) for each in translations), key=fits)
    return {name: best[name] for name in own if name in best}


def _prefixes(names: Iterable[str]) -> list[str]:
    """What stands before names, of `PREFIXES` one or several, and nothing."""
    found = {"": None}  # a dictionary keeps the order
    for name in names:
        end = 0
        while step := next((each for each in PREFIXES if name.startswith(each, end)), ""):
            end += len(step)
            found[name[:end]] = None
    return list(found)


def _by_rules(*rules: tuple[str, str | Callable[[re.Match[str]], str]]) -> Callable[[str], str]:
    """A translation: the first rule that fits the beginning of a name says what stands there instead."""
    compiled = [(re.compile(pattern), instead) for pattern, instead in rules]

    def translate(name: str) -> str:
        for pattern, instead in compiled:
            if pattern.match(name):
                return pattern.sub(instead, name, count=1)
        return name

    return translate


TIMM: dict[str, Iterable[Callable[[str], str]]] = {}
"""By the class of a model: from timm's names to torchvision's, which are ours. ResNets and DenseNets have the same."""
