"""What of a Module goes into a state_dict and comes out of one, where a program for PyTorch does more than usual.

Tied weights, versions and renamed keys, extra state, hooks, `assign`; the ordinary cases are in `test_module`.
"""

import copy

import numpy as np
import pytest

import gpunet
from gpunet import nn, tensor
from gpunet.errors import DTypeError, StateDictError
from gpunet.optim import SGD
from gpunet.weights import load_weights, save_weights

pytestmark = pytest.mark.usefixtures("backend")


class Tied(nn.Module):
    """Two layers with one weight, and one layer under two names."""

    def __init__(self, library=nn):
        super().__init__()
        self.one, self.two = library.Linear(3, 3), library.Linear(3, 3)
        self.two.weight = self.one.weight
        self.again = self.one


def make(library):
    """The same class for both libraries: its bases are those of the library."""

    class Renamed(library.Module):
        _version = 2

        def __init__(self):
            super().__init__()
            self.weight = library.Parameter(library.Linear(2, 2).weight.detach())
            self.inner = library.Linear(2, 1)
            self.seen = []

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
            self.seen.append(local_metadata.get("version"))
            if prefix + "w" in state_dict:
                state_dict[prefix + "weight"] = state_dict.pop(prefix + "w")
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

        def _save_to_state_dict(self, destination, prefix, keep_vars):
            super()._save_to_state_dict(destination, prefix, keep_vars)
            destination[prefix + "more"] = self.weight

        def get_extra_state(self):
            return {"steps": 3}

        def set_extra_state(self, state):
            self.steps = state["steps"]

    return Renamed()


# ------------------------------------------------------------------------------------------------------------ tied


def test_tied_weights_of_which_a_file_holds_one(tmp_path):
    net, other = Tied(), Tied()
    state = {name: value for name, value in other.state_dict().items() if not name.startswith(("two.weight", "again"))}
    assert list(state) == ["one.weight", "one.bias", "two.bias"]
    assert net.load_state_dict(state) == ([], [])
    assert net.two.weight is net.one.weight
    assert net.again.weight.tolist() == other.one.weight.tolist()
    gpunet.save(state, tmp_path / "tied.safetensors")
    fresh = Tied()
    load_weights(tmp_path / "tied.safetensors", fresh)
    assert fresh.two.weight.tolist() == other.one.weight.tolist()
    save_weights(tmp_path / "all.safetensors", fresh)
    load_weights(tmp_path / "all.safetensors", Tied())


def test_the_name_under_which_a_tied_weight_is_there_makes_no_difference():
    net, weight = Tied(), np.full((3, 3), 5, np.float32)
    assert not net.load_state_dict({"two.weight": tensor(weight)}, strict=False).unexpected_keys
    assert net.one.weight.tolist() == weight.tolist()


def test_a_weight_that_is_nowhere_is_missing_under_all_its_names():
    net, state = Tied(), Tied().state_dict()
    state = {name: value for name, value in state.items() if not name.endswith("weight")}
    with pytest.raises(StateDictError) as caught:
        net.load_state_dict(state)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "missing: one.weight",
        "missing: two.weight",
        "missing: again.weight",
    ]


# ------------------------------------------------------------------------------------------------ a subclass's own way


def test_a_subclass_renames_and_adds_as_in_pytorch(torch):
    ours, theirs = make(nn), make(torch.nn)
    assert list(ours.state_dict(prefix="net.")) == list(theirs.state_dict(prefix="net."))
    assert ours.state_dict()["_extra_state"] == {"steps": 3}
    state = {name: value for name, value in theirs.state_dict().items() if name != "more"}
    state["w"] = state.pop("weight")
    for each in (ours, theirs):
        assert each.load_state_dict(state) == ([], [])
        assert each.steps == 3
        assert "w" in state
        del state["_extra_state"]
        result = each.load_state_dict({**state, "weird": state["w"], "inner.x.y": state["w"]}, strict=False)
        assert result == (["_extra_state"], ["weird", "inner.x.y"])
        state["_extra_state"] = {"steps": 3}
    assert ours.weight.tolist() == theirs.weight.tolist()


def test_the_version_is_that_of_who_wrote_it(torch):
    ours, theirs = make(nn), make(torch.nn)
    written = theirs.state_dict()
    written._metadata[""]["version"] = 1
    ours.load_state_dict(written, strict=False)
    ours.load_state_dict(ours.state_dict(), strict=False)
    assert ours.seen == [1, 2]


def test_a_child_s_own_state_dict_is_asked():
    class Quiet(nn.Linear):
        def state_dict(self, *arguments, **settings):
            state = super().state_dict(*arguments, **settings)
            del state[settings.get("prefix", "") + "bias"]
            return state

    assert list(nn.Sequential(Quiet(1, 1), nn.Linear(1, 1)).state_dict()) == ["0.weight", "1.weight", "1.bias"]


def test_hooks_of_saving_and_loading(torch):
    def after(module, state, prefix, metadata):
        state[prefix + "note"] = state.pop(prefix + "bias")

    def before(module, state, prefix, metadata, strict, missing, unexpected, errors):
        state[prefix + "bias"] = state.pop(prefix + "note")

    results = []
    for library in (nn, torch.nn):
        net = library.Sequential(library.Linear(2, 2))
        saving = net[0].register_state_dict_post_hook(after)
        loading = net[0].register_load_state_dict_pre_hook(before)
        state = net.state_dict()
        results.append([list(state), net.load_state_dict(state), list(state)])
        saving.remove()
        loading.remove()
        assert list(net.state_dict()) == ["0.weight", "0.bias"]
    assert results[0] == results[1] == [["0.weight", "0.note"], ([], []), ["0.weight", "0.note"]]


def test_nothing_is_loaded_where_an_override_finds_an_error():
    class Strict(nn.Linear):
        def _load_from_state_dict(self, state_dict, prefix, metadata, strict, missing, unexpected, errors):
            super()._load_from_state_dict(state_dict, prefix, metadata, strict, missing, unexpected, errors)
            errors.append("no")

    net = nn.Sequential(nn.Linear(1, 1), Strict(1, 1))
    before = net[0].weight.tolist()
    with pytest.raises(StateDictError, match="nothing was loaded:\n  no"):
        net.load_state_dict({name: value + 1 for name, value in net.state_dict().items()}, strict=False)
    assert net[0].weight.tolist() == before


# ------------------------------------------------------------------------------------------------------- other things


def test_a_state_is_added_to_a_dictionary():
    found = {"epoch": 3}
    assert nn.Linear(1, 1).state_dict(destination=found, prefix="net.") is found
    assert list(found) == ["epoch", "net.weight", "net.bias"]


def test_assign_takes_the_types_of_the_values():
    net = nn.Linear(2, 1)
    optimizer = SGD(net.parameters(), lr=1.0)
    weight = net.weight
    wide = {"weight": np.array([[1.0, 2.0]]), "bias": np.array([3.0])}
    net.load_state_dict(wide)
    assert net.weight.dtype == np.float32
    net.load_state_dict(wide, assign=True)
    assert net.weight is weight
    assert (weight.dtype, weight.tolist(), weight.requires_grad) == (np.float64, [[1.0, 2.0]], True)
    net(tensor([[1.0, 1.0]], dtype="float64")).sum().backward()
    optimizer.step()
    assert weight.tolist() == [[0.0, 1.0]]
    with pytest.raises(StateDictError, match=r"\(1, 2\) of float64 cannot become int64"):
        net.load_state_dict({"weight": np.array([[1, 2]]), "bias": wide["bias"]}, assign=True)


def test_hooks_of_a_copy_are_called_with_the_copy():
    net, seen = nn.Linear(1, 1), []
    net.register_forward_pre_hook(lambda module, args: seen.append(module))
    net.register_forward_hook(lambda module, args, output: seen.append(module))
    twin = copy.deepcopy(net)
    twin(gpunet.ones(1, 1))
    assert len(seen) == 2
    assert all(each is twin for each in seen)


@pytest.mark.parametrize(
    ("name", "words"),
    [("bfloat16", "float16"), ("share_memory", "threads"), ("type", r"to\(dtype\)"), ("compile", "cuda_graph")],
)
def test_a_method_that_is_not_there_says_what_is(name, words):
    with pytest.raises(AttributeError, match=rf"Linear has no attribute '{name}': .*{words}"):
        getattr(nn.Linear(1, 1), name)


def test_every_public_name_of_pytorch_s_module_is_there_or_says_what_to_do(torch):
    hooks = {"T_destination", "call_super_init", "dump_patches", "get_extra_state", "set_extra_state"}
    for kind in ("Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList"):
        theirs = {name for name in dir(getattr(torch.nn, kind)) if not name.startswith("_")}
        lacking = {name for name in theirs if not hasattr(getattr(nn, kind)(), name)} - hooks
        assert lacking == set(nn.module.NOT_HERE), kind


def test_a_dictionary_of_parameters_is_one():
    weights = nn.ParameterDict({"a": gpunet.zeros(2)})
    assert weights.get("b") is None
    added = weights.setdefault("b", gpunet.ones(1))
    assert weights.setdefault("b", gpunet.zeros(1)) is added is weights.get("b")
    twin = weights.copy()
    assert weights.popitem()[0] == "b"
    assert list(twin) == ["a", "b"]
    with pytest.raises(DTypeError):
        weights.setdefault("c", tensor([1]))
