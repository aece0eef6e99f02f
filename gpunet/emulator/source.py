"""From the text of a kernel file to text that a C++ compiler takes.

The text stays as it is, line by line, but for declarations of shared memory. On a GPU `__shared__ float s[256];` is
one array for the whole block; in C++ a variable in a function belongs to the thread that runs it. So the declaration
becomes a reference to memory that the emulator hands out, the same to all threads of a block.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["kernel_names", "translation_unit"]

_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TYPE = r"(?:__align__\s*\([^)]*\)\s*)?(?P<type>(?:\w|::|<|>|,|\s)+?)"
_DYNAMIC_SHARED = re.compile(rf"\bextern\s+__shared__\s+{_TYPE}\s+(?P<name>\w+)\s*\[\s*\]\s*;")
_ONE_VARIABLE = r"\w+\s*(?:\[[^\]]*\]\s*)*"
_STATIC_SHARED = re.compile(
    rf"(?:\bstatic\s+)?\b__shared__\s+{_TYPE}\s+(?P<variables>{_ONE_VARIABLE}(?:,\s*{_ONE_VARIABLE})*);"
)
_VARIABLE = re.compile(r"(\w+)\s*((?:\[[^\]]*\]\s*)*)")
_ATTRIBUTES = r"\s*(?:__launch_bounds__\s*\([^)]*\)\s*)?"
_PLAIN_KERNEL = re.compile(rf'\bextern\s+"C"\s+__global__{_ATTRIBUTES}void{_ATTRIBUTES}(\w+)\s*\(')


def kernel_names(source: str) -> list[str]:
    """The kernels declared `extern "C"`, which go by their plain names; templates need name expressions."""
    return _PLAIN_KERNEL.findall(_without_comments(source))


def translation_unit(source: str, kernels: Sequence[str]) -> str:
    """The whole text for the compiler: the header, the kernels, and for each of those named an entry point.

    `gpunet_kernels[i]` runs kernel i for one thread, and `gpunet_describe[i]` writes down its parameters.
    """
    body = _STATIC_SHARED.sub(_static_shared, _DYNAMIC_SHARED.sub(_dynamic_shared, _without_comments(source)))
    entries = "".join(
        f"static void run_{i}(void** arguments) {{ gpunet_emulator::call(&{name}, arguments); }}\n"
        f"static void describe_{i}(char* out) {{ gpunet_emulator::describe(&{name}, out); }}\n"
        for i, name in enumerate(kernels)
    )
    visible = 'extern "C" __attribute__((visibility("default"))) void (*const'
    tables = "".join(
        f"{visible} gpunet_{table}[])({argument}) = {{{', '.join(f'{prefix}_{i}' for i in range(len(kernels)))}}};\n"
        for table, prefix, argument in (("kernels", "run", "void**"), ("describe", "describe", "char*"))
    )
    return f'#include "cuda_on_cpu.h"\n#line 1 "kernel.cu"\n{body}\n#line 1 "entry points"\n{entries}{tables}'


def _without_comments(source: str) -> str:
    """Comments as blanks, so that words in them are not taken for code; lines stay where they were."""

    def blank(match: re.Match[str]) -> str:
        text = match.group()
        return text if text.startswith('"') else " " + "\n" * text.count("\n")

    return _STRING_OR_COMMENT.sub(blank, source)


def _static_shared(match: re.Match[str]) -> str:
    kind = match["type"].strip()
    lines = []
    for name, extents in _VARIABLE.findall(match["variables"]):
        whole = f"{kind} {extents.strip()}".strip()  # such as `float [16][17]`
        pointer = f"{kind} (*){extents.strip()}"
        lines.append(
            f"static char {name}_key; {kind} (&{name}){extents.strip()} = *reinterpret_cast<{pointer}>("
            f'gpunet_emulator::static_shared(&{name}_key, "{name}", sizeof({whole}), sizeof({kind}), alignof({kind})));'
        )
    return " ".join(lines) + "\n" * match.group().count("\n")


def _dynamic_shared(match: re.Match[str]) -> str:
    kind, name = match["type"].strip(), match["name"]
    memory = f'gpunet_emulator::dynamic_shared("{name}", sizeof({kind}), alignof({kind}))'
    return f"{kind}* const {name} = static_cast<{kind}*>({memory});" + "\n" * match.group().count("\n")
