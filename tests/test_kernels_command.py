"""`gpunet kernels`: the list, what NVRTC makes of it, and the occupancy that follows."""

import json
import re
from pathlib import Path

import pytest

from gpunet.backend.kernel_table import KERNELS
from gpunet.cli import kernels, main
from gpunet.doctor.nvrtc import Compiled, find_nvrtc
from gpunet.doctor.occupancy import LIMITS, occupancy
from gpunet.doctor.traffic import Case
from gpunet.emulator import ArrayTraffic, Traffic

ROOT = Path(__file__).parents[1]


# Worked by hand: warps of a block; registers of a warp, rounded up to 256; how many such warps fit into a quarter of
# 65536 registers, times 4; shared memory of a block with what CUDA reserves, and how many blocks fit; the least of all.
@pytest.mark.parametrize(
    ("arch", "threads", "registers", "shared", "expected"),
    [
        ("sm_80", 256, 32, 0, 64 / 64),  # 1024 a warp: 16 in a quarter, 64 warps = 8 blocks
        ("sm_80", 256, 33, 0, 48 / 64),  # 1056 -> 1280: 12 in a quarter, 48 warps = 6 blocks
        ("sm_90", 256, 80, 0, 24 / 64),  # 2560: 6 in a quarter, 24 warps = 3 blocks
        ("sm_75", 256, 80, 0, 24 / 32),  # the same 3 blocks, of 32 warps
        ("sm_86", 256, 40, 0, 48 / 48),  # 1280: 48 warps = 6 blocks
        ("sm_120", 256, 48, 0, 40 / 48),  # 1536: 10 in a quarter, 40 warps = 5 blocks
        ("sm_80", 256, 16, 24 << 10, 48 / 64),  # 25 KiB with the reserved one, in 164: 6 blocks
        ("sm_75", 256, 16, 24 << 10, 16 / 32),  # 24 KiB in 64: 2 blocks
        ("sm_100", 256, 16, 6144, 64 / 64),  # 7 KiB in 228: 32 blocks, but 64 warps are 8
        ("sm_75", 32, 16, 0, 16 / 32),  # 16 blocks of one warp
        ("sm_89", 32, 16, 0, 24 / 48),  # 24 blocks
        ("sm_80", 100, 16, 0, 64 / 64),  # 4 warps a block
        ("sm_80", 1024, 64, 0, 32 / 64),  # 2048: 8 in a quarter, 32 warps = 1 block
        ("sm_80", 1024, 255, 0, 0),  # 8192: 8 warps, and a block has 32: it cannot be launched
        ("sm_80", 256, 0, 0, 64 / 64),
    ],
)
def test_occupancy(arch, threads, registers, shared, expected):
    assert occupancy(arch, threads, registers, shared) == expected


def test_occupancy_of_an_unknown_architecture():
    assert occupancy("sm_200", 256, 32, 0) is None
    assert set(LIMITS) >= {"sm_75", "sm_80", "sm_90", "sm_100", "sm_120"}


def test_every_kernel_is_listed(capsys):
    assert main(["kernels"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "256 threads a block" in out
    for kernel in KERNELS:
        assert re.search(rf"^{kernel.name}\b.*raw_kernels/{kernel.source}\.cu\n    a thread \w+", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 120
    assert "<float,unsigned char,4>" in out


def test_json(capsys):
    assert main(["kernels", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["kernel"] for each in listed] == [kernel.name for kernel in KERNELS]
    for each in listed:
        assert set(each) == {"kernel", "source", "instances"}
        assert f"{each['kernel']}(" in (ROOT / each["source"]).read_text(encoding="utf-8")
        for instance in each["instances"]:
            assert instance.pop("instance").startswith(each["kernel"])
            assert instance.pop("dtype") in ("float16", "float32", "float64")
            assert instance == dict.fromkeys(["arch", "registers", "shared_bytes", "spill_bytes", "occupancy"])


@pytest.fixture
def compiled(monkeypatch):
    """NVRTC, played: every kernel takes 80 registers, and 6144 bytes of shared memory."""

    def compile_instances(instances, arch):
        return [Compiled(each.expression, arch, 80, 6144, 16, each.parameter_bytes) for each in instances]

    monkeypatch.setattr(kernels, "compile_instances", compile_instances)
    monkeypatch.setattr(kernels, "nvrtc_version", lambda: (13, 5))


def test_what_was_compiled(compiled, capsys):
    assert main(["kernels", "--compile", "sm_75,sm_90,sm_75"]) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^    (batch_norm_statistics<float, 4>) +(sm_\d+) +80 +6144 +16 +(\d+)%$", out, re.MULTILINE)
    assert rows == [
        ("batch_norm_statistics<float, 4>", "sm_75", "75"),
        ("batch_norm_statistics<float, 4>", "sm_90", "38"),
    ]
    assert "NVRTC 13.5" in out


def test_what_was_compiled_as_json(compiled, capsys):
    assert main(["kernels", "--compile", "sm_75,sm_200", "--json"]) == 0
    listed = {each["kernel"]: each["instances"] for each in json.loads(capsys.readouterr().out)}
    assert listed["batch_norm_channels"][:2] == [
        {
            "instance": "batch_norm_channels<half_t>",
            "dtype": "float16",
            "arch": arch,
            "registers": 80,
            "shared_bytes": 6144,
            "spill_bytes": 16,
            "occupancy": share,
        }
        for arch, share in (("sm_75", 0.75), ("sm_200", None))
    ]
    assert [each["dtype"] for each in listed["batch_norm_channels"][::2]] == ["float16", "float32", "float64"]


@pytest.mark.parametrize("archs", ["75", "sm_", "sm_75,", "sm_75 sm_90", "compute_75", ""])
def test_architectures_that_are_none(archs, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["kernels", "--compile", archs])
    assert caught.value.code == 2
    assert "expected architectures such as sm_75,sm_90" in capsys.readouterr().err


def test_without_nvrtc_the_error_names_the_package(monkeypatch, capsys):
    from gpunet.doctor import nvrtc

    monkeypatch.setattr(nvrtc, "find_nvrtc", lambda: None)
    nvrtc._library.cache_clear()
    assert main(["kernels", "--compile", "sm_80"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "pip install nvidia-cuda-nvrtc" in err


@pytest.mark.slow
@pytest.mark.skipif(find_nvrtc() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc")
def test_with_nvrtc(capsys):
    assert main(["kernels", "--compile", "sm_80", "--json"]) == 0
    for kernel in json.loads(capsys.readouterr().out):
        for instance in kernel["instances"]:
            assert 0 < instance["registers"] <= 128
            assert instance["spill_bytes"] == 0
            assert 0.25 <= instance["occupancy"] <= 1
    assert main(["kernels", "--compile", "sm_1"]) == 1
    assert "NVRTC" in capsys.readouterr().err


@pytest.fixture
def counted(monkeypatch):
    """The emulator, played: one operation with one launch, of the shape that was asked for."""
    asked_for = []

    def traffic(shape):
        asked_for.append(shape)
        arrays = (ArrayTraffic(0, 1000, 500, 40, 32), ArrayTraffic(2, 200, 100, 10, 8))
        return [Case("max_pool2d, 2x2", [Traffic("max_pool2d_forward<float, int, 4>", 512, 128, arrays, 12, 5)])]

    monkeypatch.setattr(kernels, "traffic", traffic)
    return asked_for


def test_traffic(counted, capsys):
    assert main(["kernels", "--traffic"]) == 0
    out = capsys.readouterr().out
    assert counted == [(4, 64, 14, 14)]
    assert "(N, C, H, W) = (4, 64, 14, 14)" in out
    *_, names, operation, row = out.splitlines()
    assert operation == "max_pool2d, 2x2"
    assert names.split() == ["threads", "idle", "asked", "least", "times", "sectors", "fewest", "times", "lost"]
    numbers = ["512", "25%", "1200", "600", "2.00", "50", "40", "1.25", "7"]
    assert row.split()[-len(numbers) :] == numbers
    assert len(row) == len(names)
    assert max(map(len, out.splitlines())) <= 120


def test_traffic_as_json(counted, capsys):
    assert main(["kernels", "--traffic", "--shape", "1x3x8x6", "--json"]) == 0
    assert counted == [(1, 3, 8, 6)]
    [case] = json.loads(capsys.readouterr().out)
    assert case == {
        "operation": "max_pool2d, 2x2",
        "launches": [
            {
                "instance": "max_pool2d_forward<float, int, 4>",
                "threads": 512,
                "idle": 128,
                "asked": 1200,
                "minimum": 600,
                "sectors": 50,
                "fewest_sectors": 40,
                "shared_cycles": 12,
                "fewest_shared_cycles": 5,
                "arrays": [
                    {"name": "x", "asked": 1000, "minimum": 500, "sectors": 40, "fewest_sectors": 32},
                    {"name": "winner", "asked": 200, "minimum": 100, "sectors": 10, "fewest_sectors": 8},
                ],
            }
        ],
    }


def test_the_arrays_of_a_table_have_its_name(monkeypatch, capsys):
    arrays = (ArrayTraffic(0, 1000, 500, 40, 32), ArrayTraffic(0, 200, 100, 10, 8), ArrayTraffic(2, 4, 4, 1, 1))
    cases = [Case("GradScaler", [Traffic("unscale<float>", 256, 0, arrays, 0, 0)])]
    monkeypatch.setattr(kernels, "traffic", lambda shape: cases)
    assert main(["kernels", "--traffic", "--json"]) == 0
    [case] = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in case["launches"][0]["arrays"]] == ["tensors", "tensors", "finite"]


def test_traffic_is_asked_for_alone(counted, capsys):
    for arguments, message in (
        (["--shape", "1x3x8x6"], "--shape is for --traffic"),
        (["--traffic", "--compile", "sm_80"], "not allowed with"),
        (["--traffic", "--shape", "3x8x6"], "such as 4x64x14x14"),
        (["--shape", "1x3x8x-6"], "such as 4x64x14x14"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["kernels", *arguments])
        assert caught.value.code == 2
        assert message in capsys.readouterr().err
    assert counted == []
