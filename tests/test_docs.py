"""The documentation of everything public: it is there, it names what it should, and its examples are true."""

import ast
import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import textwrap

import pytest

import gpunet
from gpunet import functional, nn

WITHOUT = {"gpunet.sklearn"} if importlib.util.find_spec("sklearn") is None else set()
MODULES = [
    importlib.import_module(name)
    for _, name, _ in pkgutil.walk_packages(gpunet.__path__, "gpunet.")
    if name not in WITHOUT
]
MODULES.insert(0, gpunet)


def public_objects():
    """Every public class and function under the module that defines it: "gpunet.tensor.Tensor" -> the class."""
    found = {}
    for module in MODULES:
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return {name: value for name, value in found.items() if name.startswith("gpunet.")}


def members_of(cls):
    """The public methods and properties that a class itself defines, as functions."""
    for name, value in vars(cls).items():
        if isinstance(value, property):
            value = value.fget
        elif isinstance(value, staticmethod | classmethod):
            value = value.__func__
        if not name.startswith("_") and inspect.isfunction(value) and value.__module__.startswith("gpunet"):
            yield name, value


PUBLIC = public_objects()
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
METHODS = {f"{name}.{method}": value for name, cls in CLASSES.items() for method, value in members_of(cls)}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)} | METHODS


def section(doc, title):
    """The lines of one section of a docstring, such as `Args:`."""
    match = re.search(rf"^{title}:\n((?:[ ]+.*\n|\n)*)", f"{inspect.cleandoc(doc or '')}\n", re.MULTILINE)
    return textwrap.dedent(match[1]) if match else ""


def class_of(name):
    return CLASSES.get(name.rpartition(".")[0])


def test_there_is_something_to_test():
    assert {"gpunet.tensor.Tensor", "gpunet.nn.linear.Conv2d", "gpunet.train.job.TrainingRun"} <= set(CLASSES)
    assert {"gpunet.functional.conv.conv2d", "gpunet.tensor.Tensor.backward"} <= set(FUNCTIONS)
    assert len(FUNCTIONS) > 200


def test_every_module_says_what_is_public():
    def defines(module):  # launchers of kernels define nothing that anybody calls by name
        made_here = [each for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__]
        return any(
            not each.__name__.startswith("_")
            for each in made_here
            if inspect.isfunction(each) or isinstance(each, type)
        )

    assert [m.__name__ for m in MODULES if not hasattr(m, "__all__") and defines(m)] == []
    for module in MODULES:
        names = getattr(module, "__all__", [])
        assert len(set(names)) == len(names), module.__name__
        assert [name for name in names if not hasattr(module, name)] == []


def test_every_module_has_a_docstring():
    assert [module.__name__ for module in MODULES if not module.__doc__] == []


def test_everything_public_has_a_docstring():
    def described(name, value):
        if class_of(name) is not None and name.endswith((".forward", ".backward")):
            return inspect.getdoc(getattr(class_of(name), value.__name__))  # says what the base class says
        doc = value.__doc__
        return doc and not doc.startswith(f"{value.__name__}(")  # dataclasses write their signature there

    assert [name for name, value in {**CLASSES, **FUNCTIONS}.items() if not described(name, value)] == []


def test_functions_on_tensors_name_their_shapes():
    assert [name for name in functional.__all__ if "\nShape:" not in inspect.getdoc(getattr(functional, name))] == []


# These take and return whatever the Modules in them do.
WITHOUT_SHAPE = {"Module", "Sequential", "ModuleDict", "ModuleList", "Parameter", "ParameterDict", "ParameterList"}


def test_layers_name_their_shapes():
    layers = {name for name in nn.__all__ if inspect.isclass(getattr(nn, name))} - WITHOUT_SHAPE
    assert len(layers) > 20
    assert [name for name in sorted(layers) if "\nShape:" not in inspect.getdoc(getattr(nn, name))] == []


def test_functions_on_tensors_name_their_errors():
    assert [name for name in functional.__all__ if not section(getattr(functional, name).__doc__, "Raises")] == []


def raised_in(function):
    """The exceptions of gpunet that a function raises in its own body."""
    if function.__code__.co_filename.startswith("<"):  # written by `dataclass`
        return set()
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = {
        node.exc.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    return {name for name in raised if hasattr(gpunet.errors, name)}


def test_what_raises_says_so():
    """In its own docstring or in that of its class; a constructor has only the latter.

    The `checks` modules are left out: their functions raise what their one line says, and nobody calls them but gpunet.
    """
    constructors = {
        f"{name}.{method}": vars(cls)[method]
        for name, cls in CLASSES.items()
        for method in ("__init__", "__post_init__")
        if inspect.isfunction(vars(cls).get(method))
    }
    wrong = []
    for name, function in {**FUNCTIONS, **constructors}.items():
        if not function.__module__.endswith(".checks"):
            documented = section(function.__doc__, "Raises") + section(getattr(class_of(name), "__doc__", ""), "Raises")
            wrong += [f"{name}: {error}" for error in raised_in(function) if error not in documented]
    assert wrong == []


def test_errors_that_are_documented_exist():
    builtin = {"SystemExit", "AttributeError"}
    wrong = []
    for name, value in {**CLASSES, **FUNCTIONS}.items():
        for error in re.findall(r"^(\w+):", section(value.__doc__, "Raises"), re.MULTILINE):
            if error not in gpunet.errors.__all__ and error not in builtin:
                wrong.append(f"{name}: {error}")
    assert wrong == []


def test_arguments_that_are_documented_exist():
    wrong = []
    for name, value in {**CLASSES, **FUNCTIONS}.items():
        listed = re.findall(r"^([\w*]+(?:, [\w*]+)*):", section(value.__doc__, "Args"), re.MULTILINE)
        documented = [each.strip("*") for line in listed for each in line.split(", ")]
        if documented:
            wrong += [f"{name}: {each}" for each in documented if each not in inspect.signature(value).parameters]
        elif section(value.__doc__, "Args"):
            wrong.append(f"{name}: an Args section that cannot be read")
    assert wrong == []


def test_type_hints_are_complete():
    wrong = []
    constructors = {f"{n}.__init__": c.__init__ for n, c in CLASSES.items() if inspect.isfunction(c.__init__)}
    for name, function in {**FUNCTIONS, **constructors}.items():
        if not function.__module__.startswith("gpunet"):
            continue
        signature = inspect.signature(function)
        untyped = [
            p.name
            for p in signature.parameters.values()
            if p.annotation is p.empty and p.name not in ("self", "cls", "_cls")
        ]
        if signature.return_annotation is signature.empty:
            untyped.append("return")
        if untyped:
            wrong.append(f"{name}: {', '.join(untyped)}")
    assert wrong == []


@pytest.mark.parametrize(
    "module", [m for m in MODULES if ">>> " in inspect.getsource(m)], ids=lambda module: module.__name__
)
def test_examples(module):
    with gpunet.use_backend("numpy"):
        failed, attempted = doctest.testmod(module)
    assert attempted
    assert not failed
