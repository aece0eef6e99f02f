"""Module: what assignment registers, walks over the parts, modes, state_dicts, printing, errors; and the containers."""

import copy

import numpy as np
import pytest

from gpunet.errors import ArgumentError, DTypeError, GradientError, LabelError, ShapeError, StateDictError
from gpunet.nn import (
    BatchNorm1d,
    BatchNorm2d,
    Conv2d,
    CrossEntropyLoss,
    Dropout,
    Linear,
    Module,
    ModuleList,
    Parameter,
    ReLU,
    Sequential,
    Tanh,
)
from gpunet.tensor import Tensor, tensor

pytestmark = pytest.mark.usefixtures("backend")


class Block(Module):
    """A module with parts of every kind, registered out of order: a child, a parameter, a buffer, another child."""

    def __init__(self):
        super().__init__()
        self.linear = Linear(3, 3)
        self.scale = Parameter([2.0])
        self.register_buffer("seen", tensor(0))
        self.norm = BatchNorm1d(3, affine=False)

    def forward(self, x):
        return self.norm(self.linear(x)) * self.scale


class Net(Module):
    def __init__(self):
        super().__init__()
        self.first = Block()
        self.rest = Sequential(ReLU(), Block(), Dropout())
        self.shift = Parameter([0.5, 1.5])

    def forward(self, x):
        return self.rest(self.first(x))


def names(pairs):
    return [name for name, _ in pairs]


def values(module):
    return {name: value.numpy().copy() for name, value in module.state_dict().items()}


# ---------------------------------------------------------------------------------------------------- registration


def test_assignment_sorts_parts_into_their_dictionaries():
    module = Module()
    parameter, child, plain = Parameter([1.0]), ReLU(), tensor([1.0])
    module.weight, module.act, module.plain, module.count = parameter, child, plain, 3
    assert (module.weight, module.act, module.plain, module.count) == (parameter, child, plain, 3)
    assert names(module.named_parameters()) == ["weight"]
    assert names(module.named_children()) == ["act"]
    assert names(module.named_buffers()) == []  # a Tensor becomes a buffer only through register_buffer


def test_overwriting_replaces_the_part_in_its_place():
    module = Module()
    module.a, module.b = Parameter([1.0]), Parameter([2.0])
    module.a = replacement = Parameter([3.0])
    assert names(module.named_parameters()) == ["a", "b"]
    assert module.a is replacement


@pytest.mark.parametrize("new", ["parameter", "module"])
@pytest.mark.parametrize("old", ["parameter", "module", "buffer", "plain"])
def test_a_part_that_becomes_another_kind_leaves_nothing_behind(old, new):
    def make(kind):
        return {"parameter": Parameter([1.0]), "module": ReLU(), "buffer": tensor([1.0]), "plain": 5}[kind]

    module = Module()
    if old == "buffer":
        module.register_buffer("part", make(old))
    else:
        module.part = make(old)
    module.part = part = make(new)
    assert module.part is part
    assert names(module.named_parameters()) == ["part"] * (new == "parameter")
    assert names(module.named_children()) == ["part"] * (new == "module")
    assert names(module.named_buffers()) == []


def test_a_buffer_is_replaced_by_assignment_and_stays_a_buffer():
    module = Module()
    module.register_buffer("mean", tensor([0.0]))
    module.mean = replacement = tensor([1.0])
    assert [each is replacement for each in module.buffers()] == [True]


def test_none_keeps_the_place_of_a_part():
    module = Module()
    module.weight, module.bias = Parameter([1.0]), Parameter([1.0])
    module.weight = None
    assert module.weight is None
    assert names(module.named_parameters()) == list(module.state_dict()) == ["bias"]
    module.weight = Parameter([2.0])
    assert names(module.named_parameters()) == ["weight", "bias"]


@pytest.mark.parametrize(
    ("part", "wrong"),
    [("scale", 3), ("scale", [1.0]), ("linear", [1.0]), ("seen", 3)],
    ids=["number for a parameter", "Tensor for a parameter", "Tensor for a Module", "number for a buffer"],
)
def test_a_part_is_not_replaced_by_something_else(part, wrong):
    module, wrong = Block(), tensor(wrong) if isinstance(wrong, list) else wrong
    before = getattr(module, part)
    with pytest.raises(TypeError, match=rf"Block\.{part} cannot be set to {type(wrong).__name__}"):
        setattr(module, part, wrong)
    assert getattr(module, part) is before


@pytest.mark.parametrize("part", ["linear", "scale", "seen"])
def test_a_deleted_part_is_gone(part):
    module = Block()
    delattr(module, part)
    assert not hasattr(module, part)
    assert not [name for name in module.state_dict() if name.startswith(part)]
    setattr(module, part, 3)  # and the name is free for anything
    assert getattr(module, part) == 3


def test_an_attribute_is_what_the_lists_hold():
    module = Block()
    module.scale = Parameter([3.0])
    module.register_buffer("late", tensor([1.0]))
    module.linear = Linear(2, 2)
    for each in (module, copy.deepcopy(module), copy.copy(module)):
        parts = [*each.named_parameters(recurse=False), *each.named_buffers(recurse=False), *each.named_children()]
        assert {"scale", "late", "linear"} <= {name for name, _ in parts}
        assert all(getattr(each, name) is part for name, part in parts)
    module.scale = None
    assert module.scale is None
    assert "scale" not in module.state_dict()


def test_a_missing_attribute_is_named_with_its_class():
    with pytest.raises(AttributeError, match="Block has no attribute 'wieght'"):
        _ = Block().wieght
    with pytest.raises(AttributeError, match="wieght"):
        del Block().wieght


def test_a_forgotten_super_init_is_named():
    class Forgetful(Module):
        def __init__(self, part):
            self.classes = 10  # which is nothing that a Module keeps account of
            self.part = part
            super().__init__()

    for part in (Parameter([1.0]), ReLU()):
        with pytest.raises(AttributeError, match=r"super\(\).__init__\(\) in Forgetful.__init__ before setting 'part'"):
            Forgetful(part)
    early = Forgetful("a word")
    assert (early.classes, early.part, early.training, list(early.children())) == (10, "a word", True, [])

    class Empty(Module):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"Empty has no attribute '_parameters'; call super\(\).__init__\(\)"):
        list(Empty().parameters())


@pytest.mark.parametrize(
    ("register", "good", "wrong"),
    [
        ("register_parameter", lambda: Parameter([1.0]), lambda: tensor([1.0])),
        ("register_buffer", lambda: tensor([1.0]), lambda: [1.0]),
        ("add_module", ReLU, lambda: ReLU),
    ],
)
def test_registration_by_name(register, good, wrong):
    module, good, wrong = Module(), good(), wrong()
    getattr(module, register)("part", good)
    getattr(module, register)("part", None)  # again, and None is fine
    assert module.part is None
    with pytest.raises(ArgumentError, match="Module: 'part' must be a"):
        getattr(module, register)("part", wrong)
    for name in ("a.b", ""):
        with pytest.raises(ArgumentError, match="dot"):
            getattr(module, register)(name, good)
    module.count = 1
    for name in ("count", "forward", "training"):
        with pytest.raises(ArgumentError, match=f"there is an attribute '{name}' already"):
            getattr(module, register)(name, good)


def test_parameter_holds_floats_and_requires_a_gradient():
    assert Parameter([1.0]).requires_grad
    assert not Parameter([1.0], requires_grad=False).requires_grad
    assert repr(Parameter([1.0])) == "Parameter containing:\ntensor([1.], requires_grad=True)"
    with pytest.raises(DTypeError):
        Parameter([1, 2])


# ---------------------------------------------------------------------------------------------------------- walks

PARAMETERS = ["shift", "first.scale", "first.linear.weight", "first.linear.bias"]
PARAMETERS += ["rest.1.scale", "rest.1.linear.weight", "rest.1.linear.bias"]
BUFFERS = [
    f"{block}.{name}"
    for block in ("first", "rest.1")
    for name in ("seen", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked")
]
MODULES = ["", "first", "first.linear", "first.norm", "rest", "rest.0", "rest.1", "rest.1.linear", "rest.1.norm"]
MODULES += ["rest.2"]


def test_walks_go_depth_first_in_the_order_of_assignment():
    net = Net()
    assert names(net.named_parameters()) == PARAMETERS
    assert names(net.named_buffers()) == BUFFERS
    assert names(net.named_modules()) == MODULES
    assert names(net.named_children()) == ["first", "rest"]
    assert list(net.children()) == [net.first, net.rest]
    assert list(net.modules()) == [module for _, module in net.named_modules()]
    assert [id(each) for each in net.parameters()] == [id(each) for _, each in net.named_parameters()]
    assert [id(each) for each in net.buffers()] == [id(each) for _, each in net.named_buffers()]


def test_walks_take_a_prefix_and_can_stay_at_the_top():
    net = Net()
    assert names(net.named_parameters("net")) == [f"net.{name}" for name in PARAMETERS]
    assert names(net.named_modules(prefix="net")) == ["net"] + [f"net.{name}" for name in MODULES[1:]]
    assert names(net.named_parameters(recurse=False)) == ["shift"]
    assert names(net.first.named_buffers("first", recurse=False)) == ["first.seen"]
    assert len(list(net.parameters(recurse=False))) == 1


def test_what_is_shared_comes_once():
    net = Sequential(Linear(2, 2), Linear(2, 2), ReLU())
    net[1].weight = net[0].weight
    net.append(net[0])
    assert names(net.named_parameters()) == ["0.weight", "0.bias", "1.bias"]
    assert names(net.named_modules()) == ["", "0", "1", "2"]
    assert len(list(net.children())) == 4  # but it does run twice


def test_apply_visits_children_before_their_parent():
    net, visited = Net(), []
    assert net.apply(visited.append) is net
    path_of = {id(module): name for name, module in net.named_modules()}
    assert [path_of[id(module)] for module in visited] == [
        *["first.linear", "first.norm", "first"],
        *["rest.0", "rest.1.linear", "rest.1.norm", "rest.1", "rest.2", "rest", ""],
    ]


# -------------------------------------------------------------------------------------------------- modes and changes


def test_train_and_eval_reach_everything():
    net = Net()
    assert all(module.training for module in net.modules())
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.rest.train()
    assert [name for name, module in net.named_modules() if module.training] == MODULES[4:]
    net.first.training = True  # plain assignment changes one Module alone
    assert not net.first.linear.training


def test_requires_grad_freezes_and_thaws():
    net = Net()
    assert net.first.requires_grad_(False) is net.first
    assert [name for name, each in net.named_parameters() if not each.requires_grad] == PARAMETERS[1:4]
    net(tensor(np.ones((2, 3), np.float32))).sum().backward()
    assert [name for name, each in net.named_parameters() if each.grad is not None] == PARAMETERS[4:]
    net.zero_grad()  # a frozen parameter has no gradient to forget
    assert all(each.grad is None for each in net.parameters())
    net.requires_grad_()
    assert all(each.requires_grad for each in net.parameters())


@pytest.mark.parametrize(
    ("convert", "dtype"),
    [
        (Module.double, np.float64),
        (Module.float, np.float32),
        (Module.half, np.float16),
        (lambda module: module.to("float64"), np.float64),
        (lambda module: module.to(np.float16), np.float16),
    ],
)
def test_conversion_keeps_the_parameters_and_converts_their_gradients(convert, dtype):
    net = Net()
    net(tensor(np.ones((2, 3), np.float32))).sum().backward()
    kept = list(net.parameters())
    before = values(net)
    gradient = net.rest[1].linear.weight.grad.numpy()
    assert convert(net) is net
    assert all(old is new for old, new in zip(kept, net.parameters(), strict=True))
    assert all(each.requires_grad and each.dtype == dtype for each in kept)
    assert net.rest[1].linear.weight.grad.dtype == dtype
    np.testing.assert_array_equal(net.rest[1].linear.weight.grad.numpy(), gradient.astype(dtype))
    assert net.shift.grad is None
    for name, value in values(net).items():
        integer = name.endswith(("seen", "num_batches_tracked"))
        np.testing.assert_array_equal(value, before[name] if integer else before[name].astype(dtype), strict=True)


def test_a_double_network_computes_in_double():
    assert Net().double()(tensor(np.ones((2, 3)))).dtype == np.float64


def test_conversion_to_integers_is_refused():
    net = Net()
    with pytest.raises(DTypeError, match=r"Net\.to expects a type of floats, got int64"):
        net.to("int64")
    assert net.shift.dtype == np.float32


def test_to_backend_keeps_values_and_parameters():
    net = Net()
    kept, before = list(net.parameters()), values(net)
    assert net.to_backend() is net
    assert all(old is new for old, new in zip(kept, net.parameters(), strict=True))
    np.testing.assert_equal(values(net), before)


def test_a_deep_copy_is_independent():
    net = Net()
    other = copy.deepcopy(net)
    np.testing.assert_equal(values(other), values(net))
    other.shift.data[...] = 7
    assert net.shift.tolist() == [0.5, 1.5]
    assert names(other.named_parameters()) == PARAMETERS


# ----------------------------------------------------------------------------------------------------------- state


def test_state_dict_has_parameters_and_buffers_module_by_module():
    norm = ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]
    block = ["scale", "seen", "linear.weight", "linear.bias", *norm]
    expected = ["shift", *(f"first.{name}" for name in block), *(f"rest.1.{name}" for name in block)]
    state = Net().state_dict()
    assert list(state) == expected
    assert not any(value.requires_grad for value in state.values())


def test_state_dict_shares_memory_with_the_module():
    net = Net()
    net.state_dict()["shift"].data[...] = 7
    assert net.shift.tolist() == [7, 7]


def test_state_dict_names_what_is_shared_every_time():
    net = Sequential(Linear(2, 2), Linear(2, 2))
    net[1].weight = net[0].weight
    net.append(net[0])
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    net.load_state_dict(net.state_dict())


@pytest.mark.parametrize("kind", [lambda value: value, lambda value: value.numpy(), lambda value: value.double()])
def test_load_state_dict_copies_values_into_the_same_parameters(kind):
    net, other = Net(), Net()
    other.first.norm.running_mean.data[...] = 3
    kept = list(net.parameters())
    result = net.load_state_dict({name: kind(value) for name, value in other.state_dict().items()})
    assert result == ([], [])
    np.testing.assert_equal(values(net), values(other))
    assert all(old is new and old.dtype == np.float32 for old, new in zip(kept, net.parameters(), strict=True))
    other.shift.data[...] = 7
    assert net.shift.tolist() == [0.5, 1.5]  # copied, not shared


def test_what_does_not_fit_is_listed_in_one_error_and_nothing_is_loaded():
    net, state = Net(), dict(Net().state_dict())
    before = values(net)
    del state["shift"], state["first.seen"]
    state["first.linear.weight"] = tensor(np.zeros((3, 4)))
    state["rest.1.scale"] = tensor(1.0)
    state["head.weight"] = state["rest.1.linear.weight"]
    with pytest.raises(StateDictError) as caught:
        net.load_state_dict(state)
    assert str(caught.value) == (
        "the state_dict does not fit Net, nothing was loaded:\n"
        "  misshapen: first.linear.weight has shape (3, 4), expected (3, 3)\n"
        "  misshapen: rest.1.scale has shape (), expected (1,)\n"
        "  missing: shift\n"
        "  missing: first.seen\n"
        "  unexpected: head.weight"
    )
    np.testing.assert_equal(values(net), before)


def test_load_state_dict_takes_what_pytorch_saved():
    torch = pytest.importorskip("torch")
    there = torch.nn.Linear(3, 2)
    for theirs in (there, there.bfloat16()):
        here = Linear(3, 2)
        here.load_state_dict(theirs.state_dict())
        assert here.weight.tolist() == theirs.weight.float().tolist()
        assert here.weight.dtype == np.float32


def test_load_state_dict_in_another_order_of_bytes():
    net = Linear(2, 1)
    net.load_state_dict({"weight": np.array([[1, 2]], ">f8"), "bias": np.array([3], ">f4")})
    assert (net.weight.tolist(), net.bias.tolist()) == ([[1, 2]], [3])


@pytest.mark.parametrize("given", [None, "weights.safetensors", [1.0], np.zeros(3)])
def test_load_state_dict_of_what_is_no_mapping(given):
    with pytest.raises(DTypeError, match="values by name"):
        Linear(2, 1).load_state_dict(given)


def test_load_state_dict_not_strict_loads_what_there_is():
    net, other = Net(), Net()
    state = dict(other.state_dict())
    del state["shift"]
    state["head.weight"] = state["head.bias"] = tensor([1.0])
    result = net.load_state_dict(state, strict=False)
    assert result.missing_keys == ["shift"]
    assert result.unexpected_keys == ["head.weight", "head.bias"]
    np.testing.assert_equal(values(net), values(other))


def test_a_wrong_shape_is_an_error_even_if_not_strict():
    net = Linear(2, 2)
    before = values(net)
    with pytest.raises(StateDictError, match=r"misshapen: bias has shape \(3,\), expected \(2,\)"):
        net.load_state_dict({"weight": tensor(np.zeros((2, 2))), "bias": tensor(np.zeros(3))}, strict=False)
    np.testing.assert_equal(values(net), before)


@pytest.mark.parametrize("wrong", [[0.0, 0.0], 0.0, np.array(["a", "b"]), np.array([1j, 2j])])
def test_values_that_are_not_arrays_of_numbers_are_refused(wrong):
    net = Linear(2, 2)
    before = values(net)
    with pytest.raises(DTypeError, match="bias must be a Tensor or an array of numbers"):
        net.load_state_dict({"weight": tensor(np.zeros((2, 2))), "bias": wrong})
    np.testing.assert_equal(values(net), before)


# -------------------------------------------------------------------------------------------------- printing, errors


def test_repr_is_a_tree():
    class Labelled(Sequential):
        def extra_repr(self):
            return "two layers"

    assert repr(ReLU()) == "ReLU()"
    assert repr(Sequential()) == "Sequential()"
    assert repr(Sequential(Labelled(Linear(2, 3), Tanh()), Dropout(0.25))) == (
        "Sequential(\n"
        "  (0): Labelled(\n"
        "    two layers\n"
        "    (0): Linear(in_features=2, out_features=3, bias=True)\n"
        "    (1): Tanh()\n"
        "  )\n"
        "  (1): Dropout(p=0.25)\n"
        ")"
    )


class Residual(Module):
    def __init__(self, wrong=4):
        super().__init__()
        self.conv1 = Conv2d(2, 4, 3)
        self.conv2 = Conv2d(wrong, 2, 3)

    def forward(self, x):
        return self.conv2(self.conv1(x))


class Deep(Module):
    def __init__(self, *blocks):
        super().__init__()
        self.layer1 = Sequential(*blocks)

    def forward(self, x):
        return self.layer1(x)


def test_an_error_names_the_layer_it_arose_in():
    images = tensor(np.zeros((1, 2, 9, 9), np.float32))
    with pytest.raises(ShapeError, match=r"^in layer layer1\.0\.conv2 \(Conv2d\): conv2d: .* must have 5 channels"):
        Deep(Residual(wrong=5))(images)
    with pytest.raises(ShapeError, match=r"^in layer layer1\.1\.conv1 \(Conv2d\): .* window is larger"):
        Deep(Residual(), Residual(), Residual())(images[:, :, :5, :5])
    with pytest.raises(ShapeError, match=r"^in layer Conv2d: "):
        Conv2d(3, 4, 3)(images)


def test_an_error_in_a_forward_itself_names_that_module():
    class Adding(Module):
        def forward(self, x):
            return x + tensor([1.0, 2.0, 3.0])

    class Hidden(Module):  # holds its part in a list, where nothing finds it
        def __init__(self):
            super().__init__()
            self.parts = [Adding()]

        def forward(self, x):
            return self.parts[0](x)

    with pytest.raises(ShapeError, match=r"^in layer 1 \(Adding\): add cannot broadcast"):
        Sequential(ReLU(), Adding())(tensor([1.0, 2.0]))
    with pytest.raises(ShapeError, match=r"^in layer Adding: "):
        Sequential(Hidden())(tensor([1.0, 2.0]))


def test_an_error_of_a_loss_and_one_outside_of_layers():
    with pytest.raises(LabelError, match=r"^in layer CrossEntropyLoss: cross_entropy: labels must lie within 0 .. 1"):
        CrossEntropyLoss()(tensor([[1.0, 2.0]]), tensor([2]))
    with pytest.raises(GradientError, match=r"^backward expects"):
        tensor(1.0).backward()


def test_other_exceptions_pass_through_untouched():
    class Broken(Module):
        def forward(self, x):
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match=r"^mine$"):
        Sequential(Broken())(tensor([1.0]))
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        Module()(tensor([1.0]))


# ------------------------------------------------------------------------------------------------------ containers


class Plus(Module):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, x):
        return x * 10 + self.number


def numbers(container):
    return [module.number for module in container]


def test_sequential_runs_its_modules_in_order():
    assert Sequential(Plus(1), Plus(2), Plus(3))(tensor([0.0])).tolist() == [123]
    assert Sequential()(tensor([5.0])).tolist() == [5]
    same = Plus(1)
    assert Sequential(same, same)(tensor([0.0])).tolist() == [11]


def test_sequential_of_a_dictionary_keeps_the_names():
    net = Sequential({"one": Plus(1), "two": Plus(2)})
    assert names(net.named_children()) == ["one", "two"]
    assert net.two.number == 2
    assert net(tensor([0.0])).tolist() == [12]
    assert numbers(net) == [1, 2]


@pytest.mark.parametrize("make", [lambda *modules: Sequential(*modules), lambda *modules: ModuleList(modules)])
def test_containers_are_lists(make):
    container = make(Plus(0), Plus(1), Plus(2), Plus(3))
    assert len(container) == 4
    assert names(container.named_children()) == ["0", "1", "2", "3"]
    assert container[0].number == 0
    assert container[-1].number == container[np.int64(3)].number == 3
    assert type(container[1:3]) is type(container)
    assert numbers(container[1:3]) == [1, 2]
    assert numbers(container[::-2]) == [3, 1]
    assert container[1:3][0] is container[1]  # the very same Modules
    assert container.append(Plus(4)) is container
    assert numbers(container) == [0, 1, 2, 3, 4]
    for index in (5, -6):
        with pytest.raises(IndexError, match=f"has 5 modules, got index {index}"):
            container[index]
    for wrong in (ReLU, 5, None):
        with pytest.raises(ArgumentError, match="expected a Module, got"):
            container.append(wrong)
        with pytest.raises(ArgumentError, match="expected a Module, got"):
            make(Plus(0), wrong)


def test_appending_never_replaces():
    part = Sequential(Plus(0), Plus(1), Plus(2))[1:]  # keeps the names "1" and "2"
    assert names(part.append(Plus(3)).named_children()) == ["1", "2", "3"]
    assert numbers(part) == [1, 2, 3]
    assert numbers(Sequential({"1": Plus(1)}).append(Plus(2))) == [1, 2]


def test_names_that_attributes_have_are_refused():
    for name in ("forward", "a.b", ""):
        with pytest.raises(ArgumentError, match="Sequential"):
            Sequential({name: ReLU()})


def test_module_list_registers_but_does_not_run():
    class Net(Module):
        def __init__(self):
            super().__init__()
            self.layers = ModuleList(Linear(2, 2) for _ in range(2))

    net = Net()
    assert names(net.named_parameters()) == ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    assert numbers(ModuleList().extend([Plus(1), Plus(2)])) == [1, 2]
    with pytest.raises(NotImplementedError, match="ModuleList does not define forward"):
        net.layers(tensor([[1.0, 2.0]]))


def test_a_network_learns_through_its_parts():
    net = Deep(Residual())
    net(tensor(np.ones((1, 2, 9, 9), np.float32))).sum().backward()
    assert all(isinstance(each.grad, Tensor) for each in net.parameters())


def test_batch_norm_state_has_pytorch_names():
    assert list(BatchNorm2d(3).state_dict()) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
