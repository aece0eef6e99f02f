"""Can CuPy really be used here? Asked once, answered with the reason and the command that mends it.

`cupy.is_available()` looks at neither the compiler nor the CUDA headers nor the libraries that CuPy loads when they are
first needed. So the probe compiles and runs a tiny kernel, and multiplies two matrices (cuBLAS). Random numbers need no
library: gpunet has a kernel for them. No exception escapes from it.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

__all__ = ["INSTALL_CUPY", "INSTALL_DRIVER", "CupyProbe", "probe_cupy"]

INSTALL_CUPY = "pip install 'gpunet[cuda13]' (or 'gpunet[cuda12]' for a CUDA 12 driver)"
_REINSTALL = "uninstall every cupy wheel (pip uninstall cupy cupy-cuda12x cupy-cuda13x), then " + INSTALL_CUPY
INSTALL_DRIVER = "install or update the NVIDIA driver; `nvidia-smi` must list a device"
_NO_DRIVER_STATUS = 35  # cudaErrorInsufficientDriver: the driver is absent or older than the CUDA runtime

_PROBE_KERNEL = 'extern "C" __global__ void gpunet_probe(int* answer) { if (threadIdx.x == 0) answer[0] = 42; }'


class CupyProbe(NamedTuple):
    """What the probe found: `ok`, or the stage that failed, the reason in words and the mend."""

    status: (
        str  # ok | not-installed | broken-install | no-driver | no-device | no-compiler | no-library | broken-device
    )
    reason: str
    mend: str = ""

    @property
    def ok(self) -> bool:
        """Whether CuPy works on this machine."""
        return self.status == "ok"


@functools.cache
def probe_cupy() -> CupyProbe:
    """Find out, once per process, whether CuPy works, and if not why."""
    try:
        import cupy

        runtime = cupy.cuda.runtime  # missing from the empty package that a half-removed wheel leaves behind
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return CupyProbe("not-installed", "CuPy is not installed", INSTALL_CUPY)
        return CupyProbe("broken-install", f"CuPy cannot be imported: {error}", _REINSTALL)
    except Exception as error:  # a missing shared library, a NumPy of another ABI, ...: all kinds have been seen
        return CupyProbe("broken-install", f"CuPy cannot be imported: {type(error).__name__}: {error}", _REINSTALL)
    return _probe_device(cupy, runtime)


def _probe_device(cupy: Any, runtime: Any) -> CupyProbe:
    try:
        devices = runtime.getDeviceCount()
    except Exception as error:
        stage = "no-driver" if getattr(error, "status", None) == _NO_DRIVER_STATUS else "no-device"
        return CupyProbe(stage, f"CUDA reports: {error}", INSTALL_DRIVER)
    if devices == 0:
        return CupyProbe("no-device", "CUDA reports no device", INSTALL_DRIVER)
    try:
        answer = cupy.zeros(1, dtype="int32")
        cupy.RawKernel(_PROBE_KERNEL, "gpunet_probe")((1,), (1,), (answer,))
        found = int(answer[0])
    except Exception as error:
        return CupyProbe("no-compiler", f"a test kernel did not run: {type(error).__name__}: {error}", _REINSTALL)
    if found != 42:
        return CupyProbe("broken-device", f"a test kernel answered {found} instead of 42", INSTALL_DRIVER)
    try:
        ones = cupy.ones((2, 2), dtype="float32")
        product = float(cupy.matmul(ones, ones)[1, 1])
    except Exception as error:
        what = f"a matrix product was not to be had: {type(error).__name__}: {error}"
        return CupyProbe("no-library", what, _REINSTALL)
    if product != 2:
        return CupyProbe("broken-device", f"a matrix product gave {product:g} instead of 2", INSTALL_DRIVER)
    return CupyProbe("ok", f"{devices} CUDA device(s)")
