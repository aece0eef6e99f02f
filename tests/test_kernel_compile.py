"""The kernels compile for GPUs, without one: NVRTC with CuPy's options, for every instance and architecture."""

import shutil

import pytest

from gpunet.backend import kernels
from gpunet.backend.kernel_table import KERNELS
from gpunet.doctor import nvrtc
from gpunet.doctor.nvrtc import compile_instances, compile_source, find_nvrtc
from gpunet.errors import BackendError, KernelError

ARCHITECTURES = [
    "sm_80",
    *(pytest.param(arch, marks=pytest.mark.slow) for arch in ("sm_75", "sm_90", "sm_100", "sm_120")),
]
REGISTERS = 65536  # of a multiprocessor
SHARED_BYTES = 48 << 10  # what a block may declare

needs_nvrtc = pytest.mark.skipif(
    find_nvrtc() is None, reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc compiles the kernels for GPUs"
)


@needs_nvrtc
@pytest.mark.parametrize("source", sorted({kernel.source for kernel in KERNELS}))
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_instance_compiles_and_stays_in_registers(arch, source):
    instances = [instance for kernel in KERNELS if kernel.source == source for instance in kernel.instances()]
    compiled = compile_instances(instances, arch)
    assert [each.expression for each in compiled] == [each.expression for each in instances]
    assert {each.expression: each.spill_bytes for each in compiled if each.spill_bytes} == {}
    for instance, each in zip(instances, compiled, strict=True):
        assert each.parameter_bytes == instance.parameter_bytes, each.expression  # the table says what is compiled
        assert each.registers * 256 * 2 <= REGISTERS, each.expression  # two blocks on a multiprocessor at least
        assert each.shared_bytes <= SHARED_BYTES, each.expression


@needs_nvrtc
@pytest.mark.parametrize(
    ("source", "arch"),
    [
        ('extern "C" __global__ void broken(float* y) { y[0] = z; }', "sm_80"),
        ("#include <cmath>\ntemplate <typename T> __global__ void broken(T* y) { y[0] = INFINITY; }", "sm_80"),
        ("template <typename T> __global__ void broken(T* y) { y[0] = 1; }", "sm_1"),
    ],
    ids=["unknown name", "standard header", "unknown architecture"],
)
def test_what_does_not_compile_is_an_error_with_the_compilers_words(source, arch):
    with pytest.raises(KernelError, match=r"(?s)NVRTC: .*(z|cmath|arch|instance)"):
        compile_source(source, ["broken<float>"], arch)


@needs_nvrtc
@pytest.mark.parametrize("file", ["common.cuh", "pooling.cu"])
def test_messages_name_the_file_and_its_line(file, tmp_path, monkeypatch):
    folder = shutil.copytree(kernels._folder(), tmp_path / "raw_kernels")
    lines = (folder / file).read_text(encoding="utf-8").splitlines()
    (folder / file).write_text("\n".join([*lines, "unknown_type x;"]), encoding="utf-8")
    monkeypatch.setattr(kernels, "_folder", lambda: folder)
    with pytest.raises(KernelError, match=rf"{file}\({len(lines) + 1}\): error"):
        compile_source(kernels.kernel_source("pooling"), [], "sm_80")


def test_a_missing_compiler_is_an_error_that_names_the_package(monkeypatch):
    monkeypatch.setattr(nvrtc, "find_nvrtc", lambda: None)
    nvrtc._library.cache_clear()
    with pytest.raises(BackendError, match="pip install nvidia-cuda-nvrtc"):
        compile_source("", [], "sm_80")
