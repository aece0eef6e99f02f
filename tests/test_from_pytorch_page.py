"""docs/from_pytorch.md keeps its word: its code runs, and every row of its tables is tried."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import amp, nn, optim
from gpunet.data import DistributedSampler
from gpunet.distributed.data_parallel import _weighted
from gpunet.errors import ArgumentError, BackendError, DTypeError, FileError, ShapeError, StateDictError
from gpunet.functional import mse_loss

ROOT = Path(__file__).parent.parent
PATH = ROOT / "docs" / "from_pytorch.md"
PAGE = PATH.read_text(encoding="utf-8")


def rows(heading):
    """The cells of the table behind a line that begins so, without its first two lines."""
    table = PAGE[PAGE.index(heading) :]
    lines = re.search(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", table, flags=re.MULTILINE)[1].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!`)\|", line.strip("|"))] for line in lines]


def reasons(name, variable):
    """A list of what differs on purpose, read from the source of another test, which may need PyTorch to run."""
    tree = ast.parse((ROOT / "tests" / name).read_text(encoding="utf-8"))
    (value,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == variable
    ]
    return [(which, why) for (which, _), why in ast.literal_eval(value).items()]


def raises(error, words, run):
    with pytest.raises(error, match=words):
        run()


def group(**settings):
    return {"params": [gpunet.ones(1, requires_grad=True)], **settings}


# ----------------------------------------------------------------------------------------------------------- the code


def test_the_code_runs_from_the_first_line_to_the_last(torch, numpy_backend, tmp_path, monkeypatch):
    pytest.importorskip("safetensors.torch")
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        exec(compile(block, str(PATH), "exec"), names)
    assert names["epoch"] == 7
    assert names["loss"].item() < 0.5
    for one, other in zip(names["ours"].state_dict().values(), names["theirs"].state_dict().values(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_links_lead_somewhere():
    headings = {re.sub(r"\W+", "-", line.lower()) for line in re.findall(r"^## (.*)$", PAGE, flags=re.MULTILINE)}
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert link[1:] in headings if link.startswith("#") else (PATH.parent / link).exists(), link
    assert "(docs/from_pytorch.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------------- differences


@pytest.mark.parametrize(
    ("name", "variable"), [("test_torch_modules.py", "ON_PURPOSE"), ("test_torch_functions.py", "DIFFERS")]
)
def test_what_the_tests_list_is_on_the_page(name, variable):
    table = rows("Samples of PyTorch's own tests")
    for which, why in reasons(name, variable):
        names = [each for each in re.findall(r"\w+", which) if each]
        assert any(why == reason and all(f"`{each}`" in row for each in names) for row, reason in table), (which, why)


def test_the_page_lists_nothing_that_the_tests_do_not():
    listed = reasons("test_torch_modules.py", "ON_PURPOSE") + reasons("test_torch_functions.py", "DIFFERS")
    assert {reason for _, reason in rows("Samples of PyTorch's own tests")} == {why for _, why in listed}


def state_in_part():
    net = nn.Linear(2, 1)
    before = net.weight.tolist()
    raises(StateDictError, "nothing was loaded", lambda: net.load_state_dict({"weight": gpunet.ones(1, 2)}))
    assert net.weight.tolist() == before


def tied():
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    net[1].weight = net[0].weight
    assert net.load_state_dict({"0.weight": gpunet.ones(1, 1)}) == ([], [])


def assign():
    net, values = nn.Linear(1, 1), {"weight": np.ones((1, 1)), "bias": np.ones(1)}
    weight = net.weight
    net.load_state_dict(values, assign=True)
    values["weight"][:] = 5
    assert net.weight is weight
    assert (weight.dtype, weight.tolist()) == (np.float64, [[1.0]])


def two_schedules():
    optimizer = optim.SGD([group()], lr=1.0)
    first, second = optim.ExponentialLR(optimizer, 0.5), optim.ExponentialLR(optimizer, 0.1)
    first.step(), second.step()
    assert optimizer.param_groups[0]["lr"] == 0.1
    optim.ChainedScheduler([first, second])
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)


def own_schedule():
    class Own(optim.lr_scheduler.LRScheduler):
        def get_lr(self):
            return [0.1]

    raises(NotImplementedError, "lr_at", lambda: Own(optim.SGD([group()])))


def other_names():
    state = optim.SGD([{"params": [("a", gpunet.ones(1))]}], lr=0.1).state_dict()
    other = optim.SGD([{"params": [("b", gpunet.ones(1))]}], lr=0.1)
    raises(StateDictError, "names of its parameters", lambda: other.load_state_dict(state))


def ways():
    found = []
    for settings in ({}, {"foreach": True}, {"fused": True, "capturable": True}):
        its = group()
        its["params"][0].grad = gpunet.ones(1)
        optim.Adam([its], lr=0.1, **settings).step()
        found.append(its["params"][0].tolist())
    assert found[0] == found[1] == found[2]


def unknown_key():
    raises(ArgumentError, "weigth_decay", lambda: optim.SGD([group(weigth_decay=1)]))
    assert optim.SGD([group(name="head")]).param_groups[0]["name"] == "head"


def mean():
    with amp.autocast():
        assert gpunet.ones(2, dtype="float16").mean().dtype == np.float32


def layouts():
    x, net = gpunet.randn(2, 3, 4, 5), nn.Conv2d(3, 2, 3)
    assert net.to(memory_format=gpunet.channels_last) is net
    assert net(x.contiguous()).tolist() == net(x).tolist()


def other_device():
    raises(BackendError, "use_backend", lambda: gpunet.ones(1, device="cuda"))
    raises(BackendError, "use_backend", lambda: nn.Linear(1, 1, device="cuda"))


def losses():
    scores, labels = gpunet.ones(1, 2), gpunet.tensor([0])
    raises(ArgumentError, "got True", lambda: nn.CrossEntropyLoss(None, True)(scores, labels))
    raises(ArgumentError, "got 255", lambda: nn.CrossEntropyLoss(None, None, 255)(scores, labels))
    raises(TypeError, "size_average", lambda: nn.MSELoss(size_average=False))
    assert nn.CrossEntropyLoss(ignore_index=255)(scores, labels).item() == pytest.approx(np.log(2))


def scattered():
    start, values = (gpunet.ones(1, requires_grad=True) for _ in range(2))
    index = gpunet.zeros(1, dtype="int64")
    gpunet.scatter_reduce(start, 0, index, values, "amax", include_self=False).backward(gpunet.ones(1))
    assert (start.grad.item(), values.grad.item()) == (0, 1)  # 0 and 0.5 in PyTorch


def flattened():
    images = nn.Conv2d(1, 2, 1)(gpunet.ones(1, 1, 2, 2)).detach()
    before = images.tolist()
    for flat in (images.flatten(1), images.view(1, -1), images.reshape(-1)):
        flat += 1
        assert images.tolist() == before


def dealt():
    parts = [list(DistributedSampler(range(5), 2, rank, shuffle=False)) for rank in (0, 1)]
    assert parts == [[0, 2, 4], [1, 3]]  # in PyTorch rank 1 has item 0, too


def weighed():
    output = gpunet.ones(2, requires_grad=True)
    _weighted(output, 1.5).backward(gpunet.ones(2))  # of a rank with three images, where the mean of both is two
    assert output.grad.tolist() == [1.5, 1.5]


DIFFERENCES = {
    "`size_average` and `reduce` of losses, long out of use": losses,
    '`device="cuda"` while NumPy is active': other_device,
    "a parameter group with a key that is no setting": unknown_key,
    "an optimizer's state for parameters with other names": other_names,
    "a state that fits in part": state_in_part,
    "a tied weight that a state holds under one of its names": tied,
    "`load_state_dict(assign=True)`": assign,
    "two schedules of one optimizer": two_schedules,
    "a schedule of your own": own_schedule,
    "`foreach`, `fused`, `capturable`": ways,
    "`vector_to_parameters` with too long a vector": lambda: raises(
        ShapeError, "2 numbers", lambda: nn.utils.vector_to_parameters(gpunet.ones(3), [gpunet.ones(2)])
    ),
    "`mean` under autocast": mean,
    "`memory_format=`, `contiguous()`": layouts,
    "`scatter_reduce` without `include_self`": scattered,
    "`view`, `reshape`, `flatten` of images": flattened,
    "`torch.set_default_dtype`": lambda: raises(
        ArgumentError, "not float64", lambda: gpunet.set_default_dtype("float64")
    ),
    "`DistributedSampler` where the items do not go round": dealt,
    "the gradients of ranks with batches of different sizes": weighed,
    "`torch.save(model)`": lambda: raises(DTypeError, "state_dict", lambda: gpunet.save(nn.Linear(1, 1), "x")),
}


def test_every_difference_is_tried():
    assert [row[0] for row in rows("## What differs on purpose")] == list(DIFFERENCES)


@pytest.mark.parametrize("row", DIFFERENCES)
def test_a_difference(row, numpy_backend):
    DIFFERENCES[row]()


# ------------------------------------------------------------------------------------------------- what is not there


def names_of(cells):
    return re.findall(r"`(\w+\.[\w.]+)`", cells)


def test_what_is_not_there_is_not():
    absent = [name for row in rows("## What is not there") for name in names_of(row[0])]
    places = {
        "torch": gpunet,
        "nn": nn,
        "optim": optim,
        "Optimizer": optim.SGD([group()]),
        "Module": nn.Module(),
        "Tensor": gpunet.ones(1),
    }
    assert len(absent) > 40
    for name in absent:
        place, _, rest = name.partition(".")
        found = places[place]
        for part in rest.split(".")[:-1]:
            found = getattr(found, part)
        assert not hasattr(found, rest.split(".")[-1]), name


def test_what_says_that_it_is_not_there_is_on_the_page():
    absent = {name for row in rows("## What is not there") for name in names_of(row[0])}
    assert {f"optim.{name}" for name in optim.NOT_HERE} <= absent
    assert {f"Module.{name}" for name in nn.module.NOT_HERE} <= absent


def test_what_is_said_in_passing(numpy_backend, torch, tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "weights.pt")
    raises(FileError, r"torch\.nn\.modules\.linear\.Linear", lambda: gpunet.load(tmp_path / "weights.pt"))
    x = gpunet.ones(1, requires_grad=True)
    raises(ArgumentError, "create_graph", lambda: (x * x).backward(create_graph=True))
    raises(ArgumentError, "differentiable", lambda: optim.SGD([x], differentiable=True))
    raises(AttributeError, "there are no volumes", lambda: nn.Conv3d)
    raises(ShapeError, "same shape", lambda: mse_loss(gpunet.ones(2), gpunet.ones(2, 1)))
    weights = [torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)]
    one, other = (torch.optim.SGD([(name, w)], lr=lr) for name, w, lr in zip("ab", weights, (0.1, 0.2), strict=True))
    other.load_state_dict(one.state_dict())  # another's state, in silence
    assert other.param_groups[0]["lr"] == 0.1
    torch.optim.SGD([{"params": weights[0], "weigth_decay": 1}])
    assert not np.array_equal(nn.Linear(2, 2).weight.numpy(), torch.nn.Linear(2, 2).weight.detach().numpy())
