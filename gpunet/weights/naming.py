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


def _convnext_stage(match: re.Match[str]) -> str:
    """Stage s is torchvision's features 2s, which makes it smaller, and 2s + 1, the blocks."""
    stage, rest = int(match[1]), match[2]
    if rest.startswith("downsample."):
        return f"features.{2 * stage}.{rest.removeprefix('downsample.')}"
    block, part = rest.removeprefix("blocks.").split(".", 1)
    for timm, ours in _CONVNEXT_PARTS.items():
        if part.startswith(timm):
            return f"features.{2 * stage + 1}.{block}.{ours}{part.removeprefix(timm)}"
    return match[0]


_CONVNEXT_PARTS = {
    "conv_dw.": "block.0.",
    "norm.": "block.2.",
    "mlp.fc1.": "block.3.",
    "mlp.fc2.": "block.5.",
    "gamma": "layer_scale",
}


def _mobilenet_block(match: re.Match[str]) -> str:
    """Block b of stage s is one of torchvision's features, which counts through; the first does not widen."""
    stage, block, part, rest = int(match[1]), int(match[2]), match[3], match[4]
    parts = _MOBILENET_FIRST if stage == 0 else _MOBILENET_PARTS
    return f"features.{1 + sum(_MOBILENET_BLOCKS[:stage]) + block}.conv.{parts.get(part, part)}.{rest}"


_MOBILENET_BLOCKS = (1, 2, 3, 4, 3, 3, 1)
_MOBILENET_FIRST = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
_MOBILENET_PARTS = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "conv_pwl": "2", "bn3": "3"}

TIMM: dict[str, tuple[Callable[[str], str], ...]] = {
    "ConvNeXt": (
        _by_rules(
            (r"stem\.", "features.0."),
            (r"stages\.(\d+)\.(.*)", _convnext_stage),
            (r"head\.norm\.", "classifier.0."),
            (r"head\.fc\.", "classifier.2."),
        ),
    ),
    "MobileNetV2": (
        _by_rules(
            (r"conv_stem\.", "features.0.0."),
            (r"bn1\.", "features.0.1."),
            (r"blocks\.(\d+)\.(\d+)\.(\w+)\.(.*)", _mobilenet_block),
            (r"conv_head\.", "features.18.0."),
            (r"bn2\.", "features.18.1."),
            (r"classifier\.", "classifier.1."),
        ),
    ),
    "VGG": (
        _by_rules(
            (r"pre_logits\.fc1\.", "classifier.0."),
            (r"pre_logits\.fc2\.", "classifier.3."),
            (r"head\.fc\.", "classifier.6."),
        ),
    ),
}
"""By the class of a model: from timm's names to torchvision's, which are ours. ResNets and DenseNets have the same."""
