"""Weights in files: those of PyTorch are read without it, and fit models whose layers have the same names.

Reference files are made by PyTorch itself, hostile ones byte by byte.
"""

import io
import json
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import nn
from gpunet.cli import main
from gpunet.errors import DTypeError, FileError, StateDictError
from gpunet.models import resnet8, resnet18, resnet20
from gpunet.train import TrainingRun
from gpunet.weights import compare_weights, load_weights, read_weights, save_weights
from gpunet.weights.naming import head_of, matched
from gpunet.weights.torch_file import parse_torch_file, torch_bytes
from tests.runs import TINY, few_digits

HERE = Path("file.pth")


def torch_file(value):
    torch = pytest.importorskip("torch")
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


def same(one, other):
    np.testing.assert_array_equal(one, other)
    assert (one.dtype, one.shape) == (other.dtype, other.shape)


# -------------------------------------------------------------------------------------------------- what PyTorch wrote


def test_values_of_every_kind():
    torch = pytest.importorskip("torch")
    whole = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    value = {
        "plain": [1, -2, 2**40, 2**70, 0.5, True, None, "text", (1, (2,)), {"inner": {}}, {1, 2}],
        "ordered": OrderedDict(a=whole, b=nn_parameter(torch)),
        "size": whole.size(),
        "type": torch.float16,
        7: whole.transpose(0, 2)[1:, 1],  # a part of a storage that it shares, in another order
        "empty": torch.empty(3, 0),
        "number": torch.tensor(2.5),
        **{str(dtype): torch.ones(3).to(dtype) for dtype in numbers(torch)},
    }
    found = parse_torch_file(torch_file(value), HERE)
    assert found["plain"] == value["plain"]
    assert list(found) == list(value)
    assert (found["size"], found["type"]) == ((2, 3, 4), "torch.float16")
    same(found["ordered"]["a"], whole.numpy())
    same(found["ordered"]["b"], value["ordered"]["b"].detach().numpy())
    same(found[7], value[7].numpy())
    for name in ("empty", "number", *map(str, numbers(torch))):
        same(found[name], value[name].numpy())


def nn_parameter(torch):
    return torch.nn.Parameter(torch.randn(5))


def numbers(torch):
    names = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool", "uint16", "uint32")
    return [getattr(torch, name) for name in names]


def test_bfloat16_becomes_float32_exactly():
    torch = pytest.importorskip("torch")
    value = torch.tensor([1.0, 3.140625, -1e-30, float("inf"), 1e38]).bfloat16()
    same(parse_torch_file(torch_file([value]), HERE)[0], value.float().numpy())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_every_protocol(protocol):
    torch = pytest.importorskip("torch")
    content = io.BytesIO()
    torch.save({"a": torch.ones(2), "b": {1}, "d": b"bytes"}, content, pickle_protocol=protocol)
    if protocol < 3:  # bytes are encoded texts there, and made by a function
        with pytest.raises(FileError, match=r"_codecs\.encode"):
            parse_torch_file(content.getvalue(), HERE)
        return
    found = parse_torch_file(content.getvalue(), HERE)
    assert (found["b"], found["d"], found["a"].tolist()) == ({1}, b"bytes", [1, 1])


def test_a_file_of_a_machine_with_the_other_byte_order():
    content = changed(torch_file({"a": gpunet_like(np.arange(6.0))}), {"byteorder": lambda _: b"big"})
    same(parse_torch_file(content, HERE)["a"], np.arange(6.0).byteswap())


def gpunet_like(array):
    return pytest.importorskip("torch").from_numpy(array.copy())


def changed(content, changes):
    """A zip archive with some of its files changed: by what they end with, what becomes of them, or None."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            part = old.read(entry)
            for ending, change in changes.items():
                if entry.filename.endswith(ending):
                    part = change and change(part)
            if part is not None:
                new.writestr(entry.filename, part)
    return made.getvalue()


def test_what_is_written_torch_reads_and_so_do_we():
    torch = pytest.importorskip("torch")
    arrays = {
        "a.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
        "turned": np.arange(12, dtype=np.float64).reshape(3, 4).T,
        "ñ": np.array(3, np.int64),
        "half": np.ones((0, 2), np.float16),
        "bool": np.array([True, False]),
        "large": np.zeros(300, np.int16),
    }
    content = torch_bytes(arrays)
    loaded, parsed = torch.load(io.BytesIO(content), weights_only=True), parse_torch_file(content, HERE)
    assert list(loaded) == list(parsed) == list(arrays)
    for name, array in arrays.items():
        same(loaded[name].numpy(), array)
        same(parsed[name], array)
    assert torch_bytes(arrays) == content
    with pytest.raises(FileError, match="cannot hold numbers of the type complex64"):
        torch_bytes({"a": np.zeros(1, np.complex64)})


# ---------------------------------------------------------------------------------------------- what means harm, or not


class Call:
    """What a pickle calls when it is loaded."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Call(print, "harm"), "builtins.print"),
        (Call(eval, "harm"), "builtins.eval"),
        (Call(io.open, "harm"), "io.open"),
        ({"a": [Call(getattr, OrderedDict, "fromkeys")]}, "builtins.getattr"),
        (OrderedDict, "collections.OrderedDict"),
        ([Path("x")], "Path"),
        (1j, "builtins.complex"),
    ],
)
def test_nothing_is_run(value, name, capsys):
    content = changed(torch_file({}), {"data.pkl": lambda _: pickle.dumps(value, 2)})
    with pytest.raises(FileError, match=f"something else than tensors and plain values.*{name}"):
        parse_torch_file(content, HERE)
    assert capsys.readouterr().out == ""


def test_modules_and_what_else_torch_saves_are_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(FileError, match=r"torch\.nn\.modules\.linear\.Linear; where the file is trusted"):
        parse_torch_file(torch_file(torch.nn.Linear(2, 2)), HERE)
    with pytest.raises(FileError, match=r"ComplexFloatStorage, which cannot be read"):
        parse_torch_file(torch_file(torch.ones(2, dtype=torch.complex64)), HERE)
    with pytest.raises(FileError, match=r"_get_layout|sparse"):
        parse_torch_file(torch_file(torch.eye(3).to_sparse()), HERE)


def test_other_formats_are_named():
    torch = pytest.importorskip("torch")
    old = io.BytesIO()
    torch.save({"a": torch.ones(2)}, old, _use_new_zipfile_serialization=False)
    tar = bytes(257) + b"ustar" + bytes(300)
    for content in (old.getvalue(), tar):
        with pytest.raises(FileError, match=r"the format that torch\.save had before PyTorch 1\.6"):
            parse_torch_file(content, HERE)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(FileError, match=r"a zip archive, but not one of torch\.save"):
        parse_torch_file(archive.getvalue(), HERE)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("net/data.pkl", pickle.dumps({}, 2))
        file.writestr("net/constants.pkl", b"")
    with pytest.raises(FileError, match="a TorchScript program"):
        parse_torch_file(archive.getvalue(), HERE)


def program(*instructions):
    return b"\x80\2" + b"".join(instructions) + b"."


def tensor_program(count, offset, shape, strides, storage="FloatStorage"):
    number = lambda value: b"J" + struct.pack("<i", value)  # noqa: E731
    sizes = lambda values: b"(" + b"".join(map(number, values)) + b"t"  # noqa: E731
    of_storage = b"(X\7\0\0\0storage" + f"ctorch\n{storage}\n".encode() + b"X\1\0\0\x000X\3\0\0\0cpu" + number(count)
    return program(
        b"ctorch._utils\n_rebuild_tensor_v2\n(",
        of_storage,
        b"tQ",
        number(offset),
        sizes(shape),
        sizes(strides),
        b"\x89NtR",
    )


def archive_of(data, storage=bytes(24)):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("a/data.pkl", data)
        file.writestr("a/data/0", storage)
    return made.getvalue()


def test_a_tensor_written_by_hand():
    same(parse_torch_file(archive_of(tensor_program(6, 1, (2, 2), (2, 1))), HERE), np.zeros((2, 2), np.float32))


@pytest.mark.parametrize(
    "data",
    [
        tensor_program(6, 0, (7,), (1,)),  # beyond its storage
        tensor_program(6, 5, (2,), (1,)),
        tensor_program(6, 0, (2, 2), (5, 1)),
        tensor_program(6, 0, (1000, 1000), (0, 0)),  # a million numbers out of six
        tensor_program(6, -1, (2,), (1,)),
        tensor_program(6, 0, (-2,), (1,)),
        tensor_program(6, 0, (2,), (-1,)),
        tensor_program(6, 0, (2, 2), (1,)),
        tensor_program(5, 0, (2,), (1,)),  # its storage is larger
        tensor_program(2**30, 0, (2,), (1,)),  # or smaller
        tensor_program(-6, 0, (2,), (1,)),
        program(b"]q\0h\0a"),  # a list in itself
        program(b"]" * 100, b"a" * 99),  # lists in lists
        program(b"N", b"N"),  # two values
        program(b"h\7"),  # what was never noted
        program(b"a"),
        program(b"(("),
        program(b"K\1K\2\x86R"),  # a number is called
        program(b"}(K\1u"),  # a name without a value
        program(b"}]K\1s"),  # a list for a name
        program(b"("),
        program(b"cposix\nsystem\n"),
        b"",
        b"\x80\2X\xff\xff\xff\xff",
    ],
)
def test_damaged_pickles(data):
    with pytest.raises(FileError, match=r"file\.pth (is|holds)"):
        parse_torch_file(archive_of(data), HERE)


def test_references_that_multiply_take_no_time():
    """Each list holds the one before twice: 2^80 numbers, if anybody counted them."""
    doubled = b"".join(b"](h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1]) for i in range(60))
    found = parse_torch_file(archive_of(program(b"(]q\0", doubled, b"l")), HERE)
    assert isinstance(found, list)


def test_compressed_archives_are_refused():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", bytes(10**7))
    with pytest.raises(FileError, match=r"data\.pkl is compressed, or too large"):
        parse_torch_file(made.getvalue(), HERE)


def test_bytes_that_are_changed_or_gone_are_never_another_error():
    content = torch_file({"state_dict": {"a.weight": gpunet_like(np.ones((3, 4), np.float32)), "b": [1, "x", (2.5,)]}})
    rng = random.Random(0)
    read = 0
    for _ in range(1500):
        damaged = bytearray(content)
        if rng.random() < 0.2:
            del damaged[rng.randrange(len(damaged)) :]
        for _ in range(rng.randrange(1, 4)):
            if damaged:
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            parse_torch_file(bytes(damaged), HERE)
            read += 1
        except FileError:
            pass
    assert read < 1500


# ----------------------------------------------------------------------------------------------- which array goes where


def torch_state(model):
    torch = pytest.importorskip("torch")
    return {name: torch.from_numpy(np.array(value.numpy())) for name, value in model.state_dict().items()}


def drawn(model, seed=1):
    rng = np.random.default_rng(seed)
    for tensor in model.state_dict().values():
        tensor.data[...] = gpunet.asarray(rng.integers(-9, 9, tensor.shape).astype(tensor.dtype))
    return model


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3},
        lambda state: {"model": {f"_orig_mod.module.{name}": value for name, value in state.items()}, "best": 0.9},
        lambda state: {"state_dict": {f"model.backbone.{name}": value for name, value in state.items()}, "lr": [0.1]},
    ],
    ids=["plain", "DataParallel", "compiled", "Lightning"],
)
def test_checkpoints_of_others(wrap, tmp_path, backend):
    source, model = drawn(resnet8(num_classes=10)), resnet8(num_classes=10)
    (tmp_path / "x.pth").write_bytes(torch_file(wrap(torch_state(source))))
    found = gpunet.load_weights(tmp_path / "x.pth", model)
    assert found.fits
    assert len(found.matched) == len(source.state_dict())
    for name, value in source.state_dict().items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), value.numpy())


def test_a_new_head(tmp_path):
    source, model = drawn(resnet8(num_classes=7)), drawn(resnet8(num_classes=3), 2)
    save_weights(tmp_path / "x.safetensors", source)
    before = model.fc.weight.numpy().copy()
    with pytest.raises(StateDictError, match=r"misshapen: fc\.weight has shape \(7, 64\), expected \(3, 64\)"):
        load_weights(tmp_path / "x.safetensors", model)
    assert (model.conv1.weight.numpy() != source.conv1.weight.numpy()).any()
    found = load_weights(tmp_path / "x.safetensors", model, head=False)
    assert found.head == ("fc.weight", "fc.bias")
    assert "fc.weight" not in found.matched
    np.testing.assert_array_equal(model.fc.weight.numpy(), before)
    np.testing.assert_array_equal(model.conv1.weight.numpy(), source.conv1.weight.numpy())


def test_the_head_is_the_last_layer_with_parameters():
    assert head_of(resnet18()) == ["fc.weight", "fc.bias"]
    assert head_of(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2, bias=False), nn.Softmax(1))) == [
        "2.weight"
    ]
    assert head_of(nn.ReLU()) == []
    assert head_of(nn.Linear(1, 1)) == ["weight", "bias"]


def test_what_does_not_fit_is_listed_and_nothing_is_loaded(tmp_path):
    source, model = drawn(resnet20(num_classes=10)), drawn(resnet8(num_classes=10), 2)
    save_weights(tmp_path / "x.pt", source)
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    with pytest.raises(StateDictError, match=r"unexpected: layer1\.1\.conv1\.weight") as caught:
        load_weights(tmp_path / "x.pt", model)
    assert "does not fit CifarResNet, nothing was loaded" in str(caught.value)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    found = load_weights(tmp_path / "x.pt", model, strict=False)
    assert "layer1.1.conv1.weight" in found.unexpected
    np.testing.assert_array_equal(model.conv1.weight.numpy(), source.conv1.weight.numpy())
    with pytest.raises(StateDictError, match="none of its names are the model's"):
        load_weights(tmp_path / "x.pt", nn.Linear(2, 3), strict=False)


def test_shapes_are_equal_or_ways_to_write_the_same_layer():
    model = nn.Sequential(nn.Linear(8, 3, bias=False))
    weights = gpunet.weights.Weights({"0.weight": np.arange(24, dtype=np.float32).reshape(3, 2, 2, 2)})
    assert compare_weights(weights, model).fits
    for shape in ((3, 8, 1), (8, 3), (1, 3, 8), (24,), (3, 2, 4)):
        assert not compare_weights(gpunet.weights.Weights({"0.weight": np.zeros(shape, np.float32)}), model).fits


@pytest.mark.parametrize(
    ("architecture", "timm", "ours"),
    [
        ("ConvNeXt", "stem.1.weight", "features.0.1.weight"),
        ("ConvNeXt", "stages.2.downsample.1.bias", "features.4.1.bias"),
        ("ConvNeXt", "stages.2.blocks.7.gamma", "features.5.7.layer_scale"),
        ("ConvNeXt", "stages.0.blocks.1.mlp.fc2.weight", "features.1.1.block.5.weight"),
        ("ConvNeXt", "head.fc.bias", "classifier.2.bias"),
        ("MobileNetV2", "blocks.0.0.conv_pw.weight", "features.1.conv.1.weight"),
        ("MobileNetV2", "blocks.2.1.conv_pw.weight", "features.5.conv.0.0.weight"),
        ("MobileNetV2", "blocks.6.0.bn3.running_mean", "features.17.conv.3.running_mean"),
        ("MobileNetV2", "conv_head.weight", "features.18.0.weight"),
        ("VGG", "pre_logits.fc2.bias", "classifier.3.bias"),
        ("VGG", "features.0.weight", "features.0.weight"),
    ],
)
def test_timm_s_names(architecture, timm, ours):
    """As read off both libraries' networks; tests/test_timm_models.py compares what they compute."""
    assert matched([f"module.{timm}"], [ours], architecture) == {ours: f"module.{timm}"}


def test_what_stands_beside_the_weights(tmp_path):
    about = {"model": "resnet8", "classes": ["a", "ñ\n"], "input": {"size": 8}}
    save_weights(tmp_path / "x.safetensors", resnet8(), about)
    assert read_weights(tmp_path / "x.safetensors").about == about
    first = (tmp_path / "x.safetensors").read_bytes()
    save_weights(tmp_path / "x.safetensors", load_into(tmp_path / "x.safetensors", resnet8()), about)
    assert (tmp_path / "x.safetensors").read_bytes() == first
    torch_reads = pytest.importorskip("safetensors.numpy").load(first)
    assert set(torch_reads) == set(resnet8().state_dict())


def load_into(path, model):
    load_weights(path, model)
    return model


def test_a_run_says_with_its_weights_what_they_are(tmp_path):
    with few_digits():
        TrainingRun(TINY, tmp_path / "run", show_progress=False).run()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    about = read_weights(tmp_path / "run" / "model.safetensors").about
    assert about == {name: config[name] for name in ("model", "classes", "input")}


def test_arguments_in_the_wrong_order(tmp_path):
    with pytest.raises(DTypeError, match="expects the path of a file and then a model"):
        load_weights(resnet8(), tmp_path)


def test_load_reads_files_of_torch_save(tmp_path, backend):
    torch = pytest.importorskip("torch")
    value = {"model": {"a": torch.ones(2, 3)}, "epoch": 3, "list": [torch.zeros(1), ("x", None)]}
    (tmp_path / "x.pt").write_bytes(torch_file(value))
    found = gpunet.load(tmp_path / "x.pt")
    assert isinstance(found["model"]["a"], gpunet.Tensor)
    assert (found["epoch"], found["list"][1], found["list"][0].tolist()) == (3, ("x", None), [0.0])


def test_a_damaged_file_is_never_loaded_in_part(tmp_path):
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    save_weights(tmp_path / "x.safetensors", drawn(nn.Sequential(nn.Linear(2, 3))))
    content = bytearray((tmp_path / "x.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "x.safetensors").write_bytes(content)
    before = model[0].weight.numpy().copy()
    with pytest.raises(FileError, match="damaged"):
        load_weights(tmp_path / "x.safetensors", model, strict=False)
    np.testing.assert_array_equal(model[0].weight.numpy(), before)


def test_a_state_beside_other_arrays(tmp_path):
    torch = pytest.importorskip("torch")
    model = drawn(nn.Linear(2, 3))
    (tmp_path / "x.pth").write_bytes(torch_file({"state_dict": torch_state(model), "best": torch.ones(3)}))
    same(read_weights(tmp_path / "x.pth").arrays["weight"], model.weight.numpy())


# ---------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def saved(tmp_path):
    save_weights(tmp_path / "x.safetensors", drawn(resnet8(num_classes=5)), {"model": "resnet8"})
    return tmp_path / "x.safetensors"


def test_show(saved, capsys):
    assert main(["weights", "show", str(saved)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["fc.weight", "float32", "5", "x", "64"] for line in lines)
    assert lines[-1] == 'model: "resnet8"'
    assert main(["weights", "show", str(saved), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["about"] == {"model": "resnet8"}
    assert {"name": "fc.bias", "shape": [5], "dtype": "float32"} in found["arrays"]


def test_convert_there_and_back(saved, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    names = [str(tmp_path / name) for name in ("y.pth", "z.safetensors")]
    assert main(["weights", "convert", str(saved), names[0]]) == 0
    assert torch.load(names[0], weights_only=True)["fc.weight"].shape == (5, 64)
    assert main(["weights", "convert", names[0], names[1], "--dtype", "float16", "--json"]) == 0
    assert read_weights(names[1]).arrays["fc.weight"].dtype == np.float16
    capsys.readouterr()
    assert main(["weights", "compare", str(saved), names[1]]) == 0  # small whole numbers: float16 knows them
    assert "the same" in capsys.readouterr().out
    assert main(["weights", "convert", str(saved), str(saved)]) == 1
    assert "give another name" in capsys.readouterr().err


def test_numbers_that_are_too_large_are_not_written(tmp_path, capsys):
    model = nn.Linear(2, 1)
    model.weight.data[...] = 1e30
    save_weights(tmp_path / "x.safetensors", model)
    assert main(["weights", "convert", str(tmp_path / "x.safetensors"), str(tmp_path / "y"), "--dtype", "float16"]) == 1
    assert "weight holds numbers that are too large for float16" in capsys.readouterr().err
    assert not (tmp_path / "y").exists()


def test_compare_with_a_model(saved, capsys):
    assert main(["weights", "compare", str(saved), "resnet8"]) == 0
    assert capsys.readouterr().out.startswith("resnet8 with 5 classes: ")
    assert main(["weights", "compare", str(saved), "resnet20", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert not found["fits"]
    assert "missing: layer1.1.conv1.weight" in found["problems"]


def test_compare_with_a_file(saved, tmp_path, capsys):
    model = load_into(saved, resnet8(num_classes=5))
    model.fc.bias.data[2] += 0.5
    save_weights(tmp_path / "y.safetensors", model)
    assert main(["weights", "compare", str(saved), str(tmp_path / "y.safetensors")]) == 1
    assert capsys.readouterr().out == "other values: fc.bias, by 0.5 at most\n"


def test_compare_with_what_is_no_number(saved, tmp_path, capsys):
    model = load_into(saved, resnet8(num_classes=5))
    model.fc.bias.data[:2] = np.nan, np.inf
    save_weights(tmp_path / "y.safetensors", model)
    command = ["weights", "compare", str(tmp_path / "y.safetensors")]
    assert main([*command, str(saved)]) == 1
    assert capsys.readouterr().out == "other values: fc.bias, not finite in one of them\n"
    assert main([*command, str(saved), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["largest"] == {"fc.bias": None}
    model.fc.bias.data[3] += 2.0  # NaN and infinity in both are the same
    save_weights(tmp_path / "z.safetensors", model)
    assert main([*command, str(tmp_path / "z.safetensors")]) == 1
    assert capsys.readouterr().out == "other values: fc.bias, by 2 at most\n"


@pytest.mark.parametrize("name", ["missing.pth", "folder", "text.pth"])
def test_files_that_are_none(name, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.pth").write_text("hello")
    assert main(["weights", "show", str(tmp_path / name)]) == 1
    assert capsys.readouterr().err.startswith("gpunet: error: ")
