"""What gpunet asks of `xp`, and what CuPy's stand-in offers, is in the real CuPy, which imports without a GPU, too.

Names are looked up in the package and keywords in signatures. Where CuPy's compiled functions have none that Python can
read, their documentation begins with it.
"""

import ast
import inspect
import re

import numpy as np
import pytest

import gpunet.emulated as standin
from gpunet.emulated import functions, streams
from tests.test_structure import ROOT, TREES, area

pytestmark = pytest.mark.slow  # the import alone takes seconds

cupy = pytest.importorskip("cupy", reason="CuPy is not installed: pip install cupy-cuda13x", exc_type=ImportError)

# ------------------------------------------------------------------------------------------- what CuPy's functions take

UFUNC_KEYWORDS = ["out", "dtype"]  # what the documentation of cupy.ufunc.__call__ names
KEYWORDS = {  # of functions that hide theirs behind **kwargs
    "einsum": ["out", "dtype", "optimize"],
    "ufunc.__call__": UFUNC_KEYWORDS,
    "RawKernel.__call__": ["grid", "block", "args", "shared_mem"],
}


def parameters_of(function, name):
    """The names of the parameters, in order."""
    if name in KEYWORDS:
        return KEYWORDS[name]
    if isinstance(function, cupy.ufunc):
        return UFUNC_KEYWORDS
    try:
        parameters = inspect.signature(function).parameters.values()
        names = [each.name for each in parameters if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    except ValueError:
        signature = re.match(r"[\w.]*\((.*?)\)(?: ->.*)?$", function.__doc__ or "", re.MULTILINE)
        assert signature, f"the signature of {name} is not to be found"
        declared = [each.partition("=")[0].split() for each in signature[1].split(", ")]
        names = [words[-1].lstrip("*") for words in declared if words and words != ["*"]]
    return [each for each in names if each != "self"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: cupy.zeros, ["shape", "dtype", "order"]),
        (lambda: cupy.ndarray.sum, ["axis", "dtype", "out", "keepdims"]),
        (lambda: cupy.ndarray.swapaxes, ["axis1", "axis2"]),
        (lambda: cupy.cuda.Stream.wait_event, ["event"]),
        (lambda: cupy.cuda.alloc_pinned_memory, ["size"]),
    ],
)
def test_signatures_are_read(function, expected):
    assert parameters_of(function(), "one of CuPy's") == expected


# ----------------------------------------------------------------------------------------------- what gpunet asks for

OWN = {"_activate", "_choose", "_name"}  # of `xp` itself
ON_ARRAYS = ("ops", "optim")  # where what has a method of an array is one


def chain_of(node, aliases):
    """ "cuda.Stream" for `xp.cuda.Stream`, and for `s.Stream` after `s = xp.cuda`; None for anything else."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in aliases:
        return None
    return ".".join([*aliases[node.id], *reversed(names)]) or None


def functions_and_module(tree):
    return [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]


def asked_for():
    """Every chain of names that follows `xp`, and the keywords it is called with."""
    found = {}
    tools = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT.parent / "tools").rglob("*.py")]
    own = [tree for name, tree in TREES.items() if not name.startswith(("gpunet.emulated", "gpunet.emulator"))]
    for tree in own + tools:
        for scope in functions_and_module(tree):
            aliases = {"xp": [], "cupy": []}
            for node in ast.walk(scope):
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    chain = chain_of(node.value, aliases)
                    if chain:
                        aliases[node.targets[0].id] = chain.split(".")
            for node in ast.walk(scope):
                chain = chain_of(node, aliases) if isinstance(node, ast.Attribute) else None
                if chain and chain not in OWN:
                    found.setdefault(chain, set())
                if isinstance(node, ast.Call) and chain_of(node.func, aliases):
                    keywords = {each.arg for each in node.keywords if each.arg}
                    found.setdefault(chain_of(node.func, aliases), set()).update(keywords)
    return {name: keywords for name, keywords in found.items() if name not in OWN}


def methods_asked_for():
    """The methods of that name that NumPy's arrays have, called in modules that handle arrays, and their keywords."""
    found = {}
    for module, tree in TREES.items():
        if area(module) in ON_ARRAYS:
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    root = node.func.value
                    name = node.func.attr
                    if hasattr(np.ndarray, name) and not (
                        name.startswith("__") or (isinstance(root, ast.Name) and root.id in ("xp", "np", "cupy"))
                    ):
                        keywords = {each.arg for each in node.keywords if each.arg}
                        found.setdefault(name, set()).update(keywords)
    return found


def look_up(chain):
    value = cupy
    for name in chain.split("."):
        value = getattr(value, name)
    return value


ASKED, METHODS = asked_for(), methods_asked_for()


def test_the_sources_were_read():
    assert {"exp", "matmul", "cuda.Stream", "cuda.alloc_pinned_memory", "RawModule"} <= set(ASKED)
    assert {"_core.set_compute_type", "_core._routines_linalg.COMPUTE_TYPE_TF32", "add.at"} <= set(ASKED)
    assert {"cuda.runtime.getDeviceCount", "cuda.nvrtc.getVersion", "cuda.get_elapsed_time"} <= set(ASKED)
    assert ASKED["cuda.Stream"] == {"non_blocking"}
    assert {"transpose", "reshape", "astype", "sum"} <= set(METHODS)
    assert "keepdims" in METHODS["sum"] | METHODS["max"]


@pytest.mark.parametrize("chain", sorted(ASKED))
def test_what_gpunet_asks_for_exists(chain):
    value = look_up(chain)
    if ASKED[chain]:
        assert ASKED[chain] <= set(parameters_of(value, chain))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_methods_of_arrays_exist(name):
    method = getattr(cupy.ndarray, name)
    assert not METHODS[name] or METHODS[name] <= set(parameters_of(method, name))


# ------------------------------------------------------------------------------------------ what the stand-in offers

CLASSES = {
    standin.ndarray: cupy.ndarray,
    standin.RawModule: cupy.RawModule,
    standin.RawKernel: cupy.RawKernel,
    functions.ufunc: cupy.ufunc,
    standin.cuda.Device: cupy.cuda.Device,
    standin.cuda.Event: cupy.cuda.Event,
    standin.cuda.MemoryPool: cupy.cuda.MemoryPool,
    standin.cuda.PinnedMemoryPointer: cupy.cuda.PinnedMemoryPointer,
    standin.cuda.Stream: cupy.cuda.Stream,
}
HELPERS = {  # what the parts of the stand-in want of each other
    streams.Stream: {"enqueue", "run_until"},
    standin.cuda.MemoryPool: {"device_bytes", "give_back", "take"},
}
HOST_ONLY = {"__slots__", "__weakref__", "__module__", "__doc__", "__annotations__", "__array_ufunc__"}


def test_the_stand_in_has_no_name_that_cupy_lacks():
    assert [name for name in standin.__all__ if not hasattr(cupy, name)] == ["counters"]
    assert [each for each in standin.cuda.__all__ if not hasattr(cupy.cuda, each)] == []
    for name in ("driver", "memory", "runtime"):
        offered, real = vars(getattr(standin.cuda, name)), getattr(cupy.cuda, name)
        assert [each for each in offered if not hasattr(real, each)] == []
    assert cupy.lib.stride_tricks.as_strided


def members(cls):
    return [name for name in vars(cls) if name.startswith("__") or not name.startswith("_") if name not in HOST_ONLY]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_its_classes_have_no_member_that_cupys_lack(cls):
    assert [name for name in members(cls) if not hasattr(CLASSES[cls], name) and name not in HELPERS.get(cls, ())] == []


def offered_functions():
    """Name, the stand-in's function, and the real one."""
    for name in functions.__all__:
        value = getattr(standin, name)
        if inspect.isfunction(value):
            yield name, value, getattr(cupy, name)
    yield "lib.stride_tricks.as_strided", standin.lib.stride_tricks.as_strided, cupy.lib.stride_tricks.as_strided
    yield "cuda.alloc_pinned_memory", standin.cuda.alloc_pinned_memory, cupy.cuda.alloc_pinned_memory
    for cls, real in CLASSES.items():
        for name in members(cls):
            called = not name.startswith("__") or name in ("__init__", "__call__")
            if called and inspect.isfunction(vars(cls)[name]) and name not in HELPERS.get(cls, ()):
                yield f"{cls.__name__}.{name}", vars(cls)[name], real if name == "__init__" else getattr(real, name)


NEVER_CALLED = {"Generator.__init__", "MemoryPool.__init__", "ufunc.__init__"}  # by gpunet
FUNCTIONS = {name: pair for name, *pair in offered_functions() if name not in NEVER_CALLED}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_functions_take_what_cupys_take(name):
    """The same keywords, and the same places for what goes without one."""
    function, real = FUNCTIONS[name]
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    parameters = [each for each in parameters if not each.name.startswith("_")]
    named = [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    if not named:
        return
    taken = parameters_of(real, name)
    assert [each for each in named if each not in taken] == []
    by_place = [each.name for each in parameters if each.kind == each.POSITIONAL_OR_KEYWORD]
    if any(each.kind == each.VAR_POSITIONAL for each in parameters):
        return
    assert taken[: len(by_place)] == by_place


def test_its_errors_are_of_the_same_kind():
    for name in ("memory.OutOfMemoryError", "runtime.CUDARuntimeError", "driver.CUDADriverError"):
        part, error = name.split(".")
        offered, real = getattr(getattr(standin.cuda, part), error), look_up(f"cuda.{name}")
        assert offered.__base__ in real.__mro__
