"""Networks from ONNX files: judged by ONNX's own suites, by onnxruntime, and by the networks that were written."""

import contextlib
import glob
import os
import struct
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import functional as F
from gpunet.errors import ArgumentError, DTypeError, FileError, GpunetError, ShapeError, UnsupportedError
from gpunet.models import MODELS, resnet8
from gpunet.onnx import export, load
from gpunet.optim import SGD

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.backend.test.loader import load_model_tests  # noqa: E402
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt, Runner  # noqa: E402

from gpunet.onnx.backend import Backend  # noqa: E402
from tests.test_onnx import CASES, IMAGE, model_of, randomised, run  # noqa: E402

# ------------------------------------------------------------------------------------------------- ONNX's own suites


def array_of(value):
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def stored(path):
    proto = TensorProto()
    proto.ParseFromString(Path(path).read_bytes())
    return numpy_helper.to_array(proto)


def sets_of(case):
    """Pairs of inputs and expected outputs."""
    if case.data_sets is not None:
        return [tuple([array_of(each) for each in part] for part in both) for both in case.data_sets]
    return [
        tuple(
            [stored(f"{folder}/{kind}_{i}.pb") for i in range(len(glob.glob(f"{folder}/{kind}_*.pb")))]
            for kind in ("input", "output")
        )
        for folder in sorted(glob.glob(f"{case.model_dir}/test_data_set*"))
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "least"),
    [
        pytest.param("node", 800, marks=pytest.mark.slow),
        ("simple", 7),
        ("pytorch-converted", 56),
        ("pytorch-operator", 34),
    ],
)
def test_suites(kind, least, numpy_backend):
    """What is supported gives what ONNX expects; what is not says so. `least` is known to pass."""
    passed, failed = [], []
    for case in load_model_tests(kind=kind):
        model = case.model or onnx.load(f"{case.model_dir}/model.onnx")
        try:
            prepared = Backend.prepare(model)
            for inputs, outputs in sets_of(case):
                Runner.assert_similar_outputs(outputs, prepared.run(inputs), case.rtol, case.atol)
            passed.append(case.name)
        except BackendIsNotSupposedToImplementIt as error:
            assert "not supported" in str(error)  # noqa: PT017
        except Exception as error:
            failed.append(f"{case.name}: {type(error).__name__}: {error}")
    assert failed == []
    assert len(passed) >= least


LIGHT = sorted(glob.glob(f"{os.path.dirname(onnx.backend.test.__file__)}/data/light/*.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("path", [pytest.param(path, id=Path(path).stem) for path in LIGHT])
def test_light_networks(path, numpy_backend):
    model = onnx.load(path)
    constants = {each.name for each in model.graph.initializer}
    inputs = [Runner.generate_dummy_data(each) for each in model.graph.input if each.name not in constants]
    expected = stored(path.replace(".onnx", "_output_0.pb"))
    Runner.assert_similar_outputs([expected], list(Backend.prepare(model).run(inputs)), 1e-3, 1e-7)


# ----------------------------------------------------------------------------------------------- what was written by us


@pytest.mark.parametrize("name", CASES)
def test_what_was_written_is_read(name, tmp_path, rng, numpy_backend):
    path = tmp_path / "m.onnx"
    export(randomised(model_of(CASES[name]), rng), gpunet.zeros(2, *IMAGE), path)
    network = load(path)
    for count in (1, 3):
        images = rng.uniform(-1, 1, (count, *IMAGE)).astype(np.float32)
        with gpunet.no_grad():
            got = network(gpunet.tensor(images)).numpy()
        np.testing.assert_allclose(got, run(path, images)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["lenet5", "resnet8", "plain8", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_it_learns_as_the_model_does(name, tmp_path, rng, numpy_backend):
    """The same steps lead to the same weights and running statistics, under the same names."""
    model = randomised(MODELS[name](in_channels=3, num_classes=5), rng)
    export(model, gpunet.zeros(1, 3, 32, 32), tmp_path / "m.onnx", fold=False)
    network = load(tmp_path / "m.onnx")
    assert not network.training
    names = {name for name, _ in model.named_parameters()}
    assert {name for name, _ in network.named_parameters()} == names
    counts = {name for name in model.state_dict() if name.endswith("num_batches_tracked")}
    assert {name for name in network.state_dict() if not name.startswith("/")} == set(model.state_dict()) - counts
    images = gpunet.tensor(rng.uniform(-1, 1, (4, 3, 32, 32)).astype(np.float32))
    labels = gpunet.tensor([0, 1, 2, 3])
    for each in (model, network):
        each.train()
        optimizer = SGD(each.parameters(), lr=0.001)
        for _ in range(2):
            optimizer.zero_grad()
            F.cross_entropy(each(images), labels).backward()
            optimizer.step()
    ours = model.state_dict()
    for name, tensor in network.state_dict().items():
        if not name.startswith("/"):
            np.testing.assert_allclose(tensor.numpy(), ours[name].numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


def test_on_every_backend(backend, tmp_path, rng):
    model = randomised(resnet8(), rng).eval()
    export(model, gpunet.zeros(1, 3, 8, 8), tmp_path / "m.onnx")
    network = load(tmp_path / "m.onnx")
    images = rng.uniform(-1, 1, (3, 3, 8, 8)).astype(np.float32)
    network(gpunet.tensor(images)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    with gpunet.no_grad():
        got = network(gpunet.tensor(images)).numpy()
    np.testing.assert_allclose(got, run(tmp_path / "m.onnx", images)[0], atol=1e-4)


def test_what_was_read_is_written_again(tmp_path, rng, numpy_backend):
    export(randomised(resnet8(), rng), gpunet.zeros(1, 3, 8, 8), tmp_path / "m.onnx")
    export(load(tmp_path / "m.onnx"), gpunet.zeros(1, 3, 8, 8), tmp_path / "again.onnx")
    images = rng.uniform(-1, 1, (3, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(run(tmp_path / "again.onnx", images)[0], run(tmp_path / "m.onnx", images)[0], atol=1e-5)


def test_weights_are_saved_and_loaded(tmp_path, rng, numpy_backend):
    model = randomised(resnet8(), rng)
    export(model, gpunet.zeros(1, 3, 8, 8), tmp_path / "m.onnx", fold=False, about={"classes": ["a"]})
    network = load(str(tmp_path / "m.onnx"))
    assert network.about == {"classes": '["a"]'}
    gpunet.weights.save_weights(tmp_path / "w.safetensors", network)
    gpunet.weights.load_weights(tmp_path / "w.safetensors", load(tmp_path / "m.onnx"))


# ------------------------------------------------------------------------------------------------------- other files


def info(name, shape=("N", 3), number=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, number, shape)


def written(path, nodes, constants=(), inputs=None, outputs=None, version=18):
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x")] if inputs is None else inputs,
        [info("y", None)] if outputs is None else outputs,
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def constant(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.array(values, dtype), name)


ODD_NAMES = ["forward", "training", "_plan", "a", "a.b", ".", "a..b", "x y/z", "é", ".".join("z" * 3000), "/slash"]


def test_any_name_is_a_weight(tmp_path, numpy_backend):
    """But for those that begin with a slash; a name that a Module cannot have becomes another."""
    nodes, last = [], "x"
    for i, name in enumerate(ODD_NAMES):
        nodes.append(helper.make_node("Add", [last, name], ["y" if i == len(ODD_NAMES) - 1 else f"v{i}"]))
        last = f"v{i}"
    path = written(tmp_path / "m.onnx", nodes, [constant(name, [2.0**i] * 3) for i, name in enumerate(ODD_NAMES)])
    network = load(path)
    assert len(list(network.parameters())) == len(ODD_NAMES) - 1
    assert {"a", "é"} < set(network.state_dict())
    np.testing.assert_array_equal(network(gpunet.zeros(1, 3)).numpy(), [[2.0 ** len(ODD_NAMES) - 1] * 3])


def test_inputs_are_checked(tmp_path, numpy_backend):
    network = load(written(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])]))
    for wrong, error in (
        ((), ArgumentError),
        ((gpunet.zeros(1, 3), gpunet.zeros(1, 3)), ArgumentError),
        ((np.zeros((1, 3), np.float32),), DTypeError),
        ((gpunet.zeros(1, 3).double(),), DTypeError),
        ((gpunet.zeros(1, 4),), ShapeError),
        ((gpunet.zeros(3),), ShapeError),
    ):
        with pytest.raises(error, match=r"takes 1 inputs|the input x is expected"):
            network(*wrong)
    with pytest.raises(DTypeError, match="path of a file"):
        load(3)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (helper.make_node("Loop", ["x"], ["y"]), "operator 'Loop' is not supported"),
        (helper.make_node("Relu", ["x"], ["y"], domain="com.example"), "'Relu' of 'com.example' is not supported"),
        (helper.make_node("Relu", ["x"], ["y"], alpha=1.0), "Relu with the attribute 'alpha' is not supported"),
        (
            helper.make_node("Elu", ["x"], ["y"], alpha=helper.make_tensor("t", TensorProto.STRING, [1], [b"a"])),
            "STRING",
        ),
        (helper.make_node("Constant", [], ["y"], value_string="a"), "Constant with the attribute 'value_string'"),
    ],
)
def test_what_is_not_supported_is_named(node, message, tmp_path, numpy_backend):
    with pytest.raises(UnsupportedError, match=message):
        load(written(tmp_path / "m.onnx", [node]))


def test_other_versions_and_types(tmp_path, numpy_backend):
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    with pytest.raises(UnsupportedError, match="version 5 of the operators"):
        load(written(tmp_path / "m.onnx", relu, version=5))
    with pytest.raises(UnsupportedError, match="version 99 of the operators"):
        load(written(tmp_path / "m.onnx", relu, version=99))
    with pytest.raises(UnsupportedError, match="BFLOAT16"):
        load(written(tmp_path / "m.onnx", relu, inputs=[info("x", number=TensorProto.BFLOAT16)]))
    with pytest.raises(UnsupportedError, match="MaxPool of images of 2 dimensions is not supported"):
        load(written(tmp_path / "m.onnx", [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2])]))(
            gpunet.zeros(1, 3)
        )


# ------------------------------------------------------------------------------------------ files that mean harm


def beside(name, shape, **said):
    proto = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in said.items():
        proto.external_data.add(key=key, value=str(value))
    return proto


ADD = [helper.make_node("Add", ["x", "w"], ["y"])]


@pytest.mark.parametrize(
    ("operator", "others", "said"),
    [
        ("Clip", [], {"min": 0.0}),
        ("Pad", ["w"], {"value": 2.0}),
        ("Slice", ["w", "w"], {"starts": [1]}),
    ],
)
def test_attributes_of_another_version_are_not_passed_over(operator, others, said, tmp_path, numpy_backend):
    nodes = [helper.make_node(operator, ["x", *others], ["y"], **said)]
    path = written(tmp_path / "m.onnx", nodes, [numpy_helper.from_array(np.array([0, 0, 0, 1]), "w")])
    with pytest.raises(UnsupportedError, match=f"{operator} with .* among its attributes"):
        load(path)(gpunet.zeros(1, 3))


def test_arrays_beside_the_file(tmp_path, numpy_backend):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(b"skip" + struct.pack("<3f", 1, 2, 3))
    constants = [beside("w", [3], location="data/w.bin", offset=4, length=12)]
    network = load(written(tmp_path / "m.onnx", ADD, constants))
    np.testing.assert_array_equal(network(gpunet.zeros(1, 3)).numpy(), [[1, 2, 3]])


@pytest.mark.parametrize(
    "said",
    [
        {"location": "../secret"},
        {"location": "link"},
        {"location": "/etc/passwd"},
        {"location": "inside/../../secret"},
        {},
        {"location": "none"},
        {"location": "."},
        {"location": "a\0b"},
        {"location": "short", "offset": 4},
        {"location": "short", "offset": -4},
        {"location": "short", "length": 8},
        {"location": "short", "offset": "9" * 5000},
        {"location": "pipe"},
    ],
)
def test_arrays_elsewhere(said, tmp_path, numpy_backend):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(12))
    (folder / "short").write_bytes(bytes(12))
    (folder / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "pipe")
    with pytest.raises(FileError, match=r"m\.onnx"):
        load(written(folder / "m.onnx", ADD, [beside("w", [3], **said)]))


def test_arrays_that_take_more_than_is_there(tmp_path, numpy_backend):
    (tmp_path / "w").write_bytes(bytes(1200))
    some = [beside(f"w{i}", [300], location="w") for i in range(1000)]
    with pytest.raises(FileError, match="more bytes than the files"):
        load(written(tmp_path / "m.onnx", ADD, some))


def a_lie(**fields):
    return TensorProto(name="w", **{"data_type": TensorProto.FLOAT, **fields})


@pytest.mark.parametrize(
    "lie",
    [
        a_lie(dims=[2**40], raw_data=b"1234"),
        a_lie(dims=[3], raw_data=b"1234"),
        a_lie(dims=[3], float_data=[1.0]),
        a_lie(dims=[2**62, 4]),
        a_lie(dims=[-1], raw_data=b"1234"),
        a_lie(dims=[1] * 100, raw_data=b"1234"),
        a_lie(dims=[3], data_type=12345, raw_data=b"1234"),
    ],
)
def test_arrays_that_lie(lie, tmp_path, numpy_backend):
    with pytest.raises((FileError, UnsupportedError), match=r"m\.onnx"):
        load(written(tmp_path / "m.onnx", ADD, [lie]))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([helper.make_node("Relu", ["b"], ["y"]), helper.make_node("Relu", ["y"], ["b"])], "not all are made before"),
        ([helper.make_node("Relu", ["y"], ["y"])], "not all are made before"),
        ([helper.make_node("Relu", ["x"], ["x"]), helper.make_node("Relu", ["x"], ["y"])], "which is there already"),
        ([helper.make_node("Relu", ["x"], ["z"])], "are not all made"),
        ([], "not all made"),
        ([helper.make_node("Relu", ["x"], [])], "has no output"),
        ([helper.make_node("Relu", ["x", "x", "x"], ["y"])], "Relu with 3 inputs"),
        ([helper.make_node("Elu", ["x"], ["y"], alpha="a")], "alpha cannot be 'a'"),
        ([helper.make_node("Transpose", ["x"], ["y"], perm=[0.5])], "perm cannot be"),
        ([helper.make_node("Relu", ["x"], [f"v{i}"]) for i in range(100_001)], "100,001 nodes"),
    ],
)
def test_graphs_that_are_none(nodes, message, tmp_path, numpy_backend):
    with pytest.raises(FileError, match=message):
        load(written(tmp_path / "m.onnx", nodes))


def test_files_cut_off_or_changed(tmp_path, rng, numpy_backend):
    """One clear error, or a network that runs or says what is wrong with it."""
    path = tmp_path / "m.onnx"
    export(resnet8(), gpunet.zeros(1, 3, 8, 8), path)
    content = path.read_bytes()
    for end in [0, 1, 10, 1000, *rng.integers(0, len(content), 20)]:
        path.write_bytes(content[:end])
        with pytest.raises(GpunetError, match=r"m\.onnx"):
            load(path)
    structure = [i for i in range(len(content)) if i < 3000]  # names, attributes and lengths
    for place in rng.choice(structure, 300):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(GpunetError):
            load(path)(gpunet.zeros(1, 3, 8, 8))
    path.write_bytes(b"not a network")
    with pytest.raises(FileError, match="no file of ONNX"):
        load(path)
    with pytest.raises(FileError, match="cannot read"):
        load(tmp_path / "none.onnx")


def sizes(name, *numbers):
    return constant(name, numbers, np.int64)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([helper.make_node("ConstantOfShape", ["s"], ["y"])], [sizes("s", 2**40)]),
        ([helper.make_node("ConstantOfShape", ["s"], ["y"])], [sizes("s", -3)]),
        ([helper.make_node("Expand", ["x", "s"], ["y"])], [sizes("s", 2**30, 1, 3)]),
        ([helper.make_node("Tile", ["x", "s"], ["y"])], [sizes("s", 2**30, 2**30)]),
        ([helper.make_node("Pad", ["x", "s"], ["y"])], [sizes("s", 0, 2**40, 0, 0)]),
        ([helper.make_node("Gather", ["x", "s"], ["y"])], [sizes("s", 9)]),
        ([helper.make_node("Reshape", ["x", "s"], ["y"])], [sizes("s", 2, 2, 2)]),
        ([helper.make_node("Reshape", ["x", "s"], ["y"])], [sizes("s", -1, -1)]),
        ([helper.make_node("Transpose", ["x"], ["y"], perm=[0, 0])], []),
        ([helper.make_node("Squeeze", ["x", "s"], ["y"])], [sizes("s", 7)]),
        ([helper.make_node("Slice", ["x", "s", "s", "s", "z"], ["y"])], [sizes("s", 0), sizes("z", 0)]),
        ([helper.make_node("Add", ["x", "w"], ["y"])], [constant("w", [1.0, 2.0])]),
        ([helper.make_node("MatMul", ["x", "w"], ["y"])], [constant("w", [[1.0, 2.0]])]),
        ([helper.make_node("Split", ["x", "s"], ["y", "z"], axis=1)], [sizes("s", 5, -2)]),
        ([helper.make_node("Concat", ["x", "w"], ["y"], axis=5)], [constant("w", [[1.0]])]),
        ([helper.make_node("Resize", ["x", "", "w"], ["y"])], [constant("w", [1.0, 1e30])]),
        ([helper.make_node("Softmax", ["x"], ["y"], axis=9)], []),
    ],
)
def test_sizes_that_cannot_be(nodes, constants, tmp_path, numpy_backend):
    network = load(written(tmp_path / "m.onnx", nodes, constants))
    with pytest.raises((ArgumentError, ShapeError), match="the node that makes 'y'"):
        network(gpunet.ones(1, 3))
