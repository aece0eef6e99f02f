"""The CPU kernels compiled otherwise than for users: with a sanitizer, with other vectors, with a bug on purpose.

A variant is a folder of its own with sources and libraries, which the environment variable GPUNET_CPU_FOLDER makes
gpunet use in another process.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setup import BUILDS, FLAGS, LIBRARIES, source_hash  # the script in the root

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "raw_kernels" / "cpu"
KERNEL_TESTS = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "tests").glob("test_cpu_*.py")
    if path.stem not in ("test_cpu_build", "test_cpu_variants", "test_cpu_mutants")
)


def copy_sources(folder):
    """Copy our sources into a new folder, without what was built of them; the folder."""
    return shutil.copytree(SOURCES, folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))


def make_variant(folder, *flags, build="kernels_v3"):
    """Compile the sources in a folder, or a copy of ours there, with flags beside the usual; say whether it worked."""
    if not folder.exists():
        copy_sources(folder)
    compiler = os.environ.get("CXX") or "g++"
    for name in ("detect", build):
        source, usual = BUILDS[name]
        hashed = f'-DSOURCE_HASH="{source_hash(folder)}"'
        target = folder / ("detect.so" if name == "detect" else "kernels_v3.so")
        command = [compiler, *FLAGS, *usual, *flags, hashed, str(folder / source), *LIBRARIES, "-o", str(target)]
        if subprocess.run(command, capture_output=True).returncode:
            return False
    return True


def environment(folder, **others):
    """The variables of a process that uses a variant."""
    return {**os.environ, "GPUNET_BACKEND": "numpy", "GPUNET_CPU_FOLDER": str(folder), **others}


def run_tests(folder, *tests, timeout=1200, **others):
    """Run tests on a variant; the finished process."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "--capture=sys",
        *(tests or KERNEL_TESTS),
    ]
    return subprocess.run(
        command, cwd=ROOT, env=environment(folder, **others), capture_output=True, text=True, timeout=timeout
    )
