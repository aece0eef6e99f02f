"""The shape of the project, read from its sources: who may import whom, and what may not occur at all.

Each rule goes through all modules and lists those that break it.
"""

import ast
import re
import sys
from pathlib import Path

import gpunet

ROOT = Path(gpunet.__file__).parent

# One direction: each may import only from its own package and from those before it.
ORDER = [
    "errors",
    "version",
    "mode",
    "hooks",
    "suggestions",
    "printable",
    "terminal",
    "progress_bar",
    "files",
    "markup",
    "png",
    "notebook",
    "words",
    "emulator",  # CUDA on a CPU
    "emulated",  # the stand-in for CuPy
    "backend",
    "device",
    "generator",
    "ranks",  # processes that compute together
    "ops",
    "tape",
    "views",
    "arguments",
    "autocast",
    "tensor",
    "functional",
    "functions",
    "autograd",
    "testing",
    "nn",
    "optim",
    "graph",
    "amp",
    "cuda",
    "accelerator",
    "backends",
    "fx",
    "jit",
    "data",
    "utils",
    "models",
    "weights",
    "onnx",  # files of ONNX
    "distributed",  # data-parallel training
    "train",
    "classifier",
    "sklearn",
    "visualize",
    "report",
    "explain",
    "bench",
    "gradients",
    "doctor",
    "cli",
    "__main__",
]
FACADE = "gpunet"  # gpunet/__init__.py shows everything, so it imports from everywhere


def module_name(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in PATHS.items()}


def area(module):
    """The part of the project that a module belongs to: `ops` for `gpunet.ops.conv`."""
    return module.split(".")[1] if module != FACADE else FACADE


def imported(tree):
    """The modules that the imports within a tree name; of `from package import module` it is the module."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names.update(name if name in PATHS else node.module for name in whole)
    return names


def attributes_of(tree, *names):
    """What is asked of a module that goes by one of these names: {"exp"} for `xp.exp`."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
    }


IMPORTS = {name: imported(tree) for name, tree in TREES.items()}
INNER = {name: {other for other in names if other.split(".")[0] == "gpunet"} for name, names in IMPORTS.items()}
LIBRARIES = {name: {other.split(".")[0] for other in names} - {"gpunet"} for name, names in IMPORTS.items()}


# Who imports whom


def test_the_order_names_every_part():
    assert {area(module) for module in PATHS} - {FACADE} <= set(ORDER)


def test_imports_go_one_way():
    wrong = [
        f"{module} imports {name}"
        for module, names in INNER.items()
        for name in names
        if module != FACADE
        if name not in PATHS or name == FACADE or ORDER.index(area(name)) > ORDER.index(area(module))
    ]
    assert wrong == []


def test_no_module_imports_the_package_that_it_is_in():
    """A module inside gpunet/ops imports `gpunet.ops.window`, not `gpunet.ops`: that would be a circle."""
    wrong = [
        module
        for module, names in INNER.items()
        if PATHS[module].name != "__init__.py" and module.rpartition(".")[0] in names
    ]
    assert wrong == []


def test_modules_do_not_import_in_circles():
    finished = set()

    def visit(module, trail):
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in finished:
            for target in sorted(INNER[module]):
                visit(target, [*trail, module])
            finished.add(module)

    for module in PATHS:
        visit(module, [])


def test_imports_of_gpunet_stand_at_the_top():
    wrong = [
        f"{module}, line {function.lineno}"
        for module, tree in TREES.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if any(name.split(".")[0] == "gpunet" for name in imported(function))
    ]
    assert wrong == []


# The libraries and the parts that may import them: `import gpunet` must stay light, and only the backend knows CuPy
# (and the doctor, who examines it). None: everybody may.
ALLOWED = {
    "numpy": None,
    "cupy": {"backend", "doctor"},
    "threadpoolctl": {"backend", "doctor"},
    "PIL": {"data"},
    "pooch": {"data"},
    "safetensors": {"data", "weights"},
    "tomli": {"train"},  # the standard library's tomllib, for Python 3.10
    "matplotlib": {"visualize", "gradients"},
    "tqdm": {"terminal", "progress_bar"},
    "torch": {"bench", "data"},
    "sklearn": {"sklearn"},
    "onnx": {"onnx"},
    "mpi4py": {"distributed"},
}


def test_libraries():
    wrong = [
        f"{module} imports {name}"
        for module, names in LIBRARIES.items()
        for name in names - sys.stdlib_module_names
        if name not in ALLOWED or (ALLOWED[name] is not None and area(module) not in ALLOWED[name])
    ]
    assert wrong == []


# What may not occur


def test_nothing_runs_what_it_reads():
    """No pickle, no eval, no shell: what comes out of a file is data, never code."""
    modules = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    functions = {"eval", "exec", "compile", "__import__"}
    for module, tree in TREES.items():
        assert not LIBRARIES[module] & modules, module
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not functions & {call.func.id for call in calls if isinstance(call.func, ast.Name)}, module
        assert not {"allow_pickle", "shell"} & {keyword.arg for call in calls for keyword in call.keywords}, module
        assert not {"system", "popen"} & attributes_of(tree, "os"), module


def test_who_starts_programs():
    """The emulator a C++ compiler, on our kernels; the benchmark and the ranks Python, on a file of ours."""
    may = ("gpunet.emulator", "gpunet.bench.processes", "gpunet.distributed.witness")
    wrong = [m for m, names in LIBRARIES.items() if "subprocess" in names and not m.startswith(may)]
    assert wrong == []


def test_nothing_reaches_for_the_network():
    wrong = [m for m, names in LIBRARIES.items() if names & {"urllib", "http", "socket", "requests", "ftplib", "ssl"}]
    assert wrong == []


def test_no_assert_stands_between_users_and_their_mistakes():
    """`python -O` would leave it out; a user gets an exception of gpunet.errors."""
    wrong = [m for m, tree in TREES.items() if any(isinstance(node, ast.Assert) for node in ast.walk(tree))]
    assert wrong == []


def test_nothing_is_left_to_do():
    wrong = [m for m, path in PATHS.items() if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text("utf-8"))]
    assert wrong == []


# `xp`

# Arithmetic is written once, against `xp`. NumPy by its own name is for types and constants, which both backends share.
SHARED = {
    "bool_",
    "dtype",
    "float16",
    "float32",
    "float64",
    "floating",
    "generic",
    "inf",
    "int64",
    "integer",
    "ndarray",
}
# Beyond that, these modules use it on the host, for a handful of numbers.
ON_THE_HOST = {
    "gpunet.nn.init": {"diagonal", "eye", "linalg", "sign", "zeros"},  # starting values are the same on every backend
    "gpunet.ops.pooling": {"arange", "maximum", "minimum"},  # where windows begin and end
    "gpunet.optim.optimizer": {"array"},  # a copy of the state
}


def test_arithmetic_is_written_against_xp():
    wrong = {}
    for module, tree in TREES.items():
        if area(module) in ("ops", "tape", "functional", "nn", "optim"):
            used = attributes_of(tree, "np", "numpy")
            if not used <= SHARED | ON_THE_HOST.get(module, set()):
                wrong[module] = used - SHARED
    assert wrong == {}


def test_warnings_are_silenced_in_one_place():
    wrong = [module for module, tree in TREES.items() if "errstate" in attributes_of(tree, "np", "numpy")]
    assert [module for module in wrong if area(module) != "emulated"] == ["gpunet.backend.numerics"]


def test_xp_is_asked_for_nothing_that_cupy_lacks():
    lacking = {"block", "errstate", "float_", "fromiter", "insert", "nditer", "array2string"}
    wrong = {module: found for module, tree in TREES.items() if (found := attributes_of(tree, "xp") & lacking)}
    assert wrong == {}


def test_nothing_of_xp_is_kept_from_before_a_switch():
    """A constant such as `exp = xp.exp`, or a default argument, would stay with the backend of the first import."""
    wrong = []
    for module, tree in TREES.items():
        kept = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and node in tree.body]
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.Lambda):
                kept += [default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None]
        if any(attributes_of(value, "xp") for value in kept):
            wrong.append(module)
    assert wrong == []
