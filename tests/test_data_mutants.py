"""Files that are damaged in every way: whatever a reader does with them, nothing but an error of gpunet comes out."""

import gzip
import importlib.resources
import io
import struct
import tarfile
from collections import Counter

import numpy as np
import pytest

import gpunet.data.digits
from gpunet.data import Digits, read_image
from gpunet.data.cifar import read_cifar
from gpunet.data.idx import read_idx
from gpunet.data.unpack import gunzip, tar_members
from gpunet.errors import GpunetError

COUNT = 1000  # of mutants for each of the six readers
EDGES = [0, 1, 127, 128, 254, 255]


def mutant(content, rng):
    """Cut, lengthened, or with some bytes or bits changed, mostly in the first 64, where headers are."""
    kind = rng.integers(5)
    if kind == 0:
        return content[: rng.integers(len(content) + 1)]
    if kind == 1:
        at = rng.integers(len(content) + 1)
        return content[:at] + rng.bytes(rng.integers(1, 40)) + content[at:]
    changed = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        at = rng.integers(min(64, len(content)) if rng.random() < 0.7 else len(content))
        changed[at] = {2: changed[at] ^ (1 << rng.integers(8)), 3: rng.integers(256), 4: rng.choice(EDGES)}[int(kind)]
    return bytes(changed)


def outcomes(read, seeds, check):
    """How many mutants were read, and how many refused; anything else comes out as it is."""
    rng, counts = np.random.default_rng(0), Counter()
    for number in range(COUNT):
        content = mutant(seeds[number % len(seeds)], rng)
        try:
            check(read(content))
            counts["read"] += 1
        except GpunetError:
            counts["refused"] += 1
    return counts


def noise(*shape):
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


IDX = struct.pack(">BBBB3I", 0, 0, 8, 3, 5, 4, 4) + noise(80).tobytes()


def archive():
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in {"d/a.bin": noise(900).tobytes(), "d/names.txt": b"x\ny\n"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def test_idx():
    def check(array):
        assert array.dtype == np.uint8
        assert array.size <= 200

    assert outcomes(lambda content: read_idx(content, "f"), [IDX], check)["refused"] > COUNT / 2


def test_cifar():
    def check(parts):
        assert parts[0].shape == (len(parts[1]), 3, 32, 32)

    counts = outcomes(lambda content: read_cifar(content, 1, "f"), [noise(2 * 3073).tobytes()], check)
    assert counts["refused"] > COUNT / 4


def test_gz():
    def check(content):
        assert len(content) <= 1000

    assert outcomes(lambda content: gunzip(content, 1000, "f"), [gzip.compress(IDX)], check)["refused"] > COUNT / 2


def test_tar():
    def check(members):
        assert set(members) == {"a.bin", "names.txt"}
        assert len(members["a.bin"]) <= 1000

    counts = outcomes(lambda content: tar_members(content, {"a.bin": 1000, "names.txt": 10}, "f"), [archive()], check)
    assert counts["refused"] > COUNT / 4


def test_digits(tmp_path, monkeypatch):
    original = (importlib.resources.files("gpunet.data") / "digits.safetensors").read_bytes()
    monkeypatch.setattr(gpunet.data.digits.importlib.resources, "files", lambda package: tmp_path)

    def read(content):
        (tmp_path / "digits.safetensors").write_bytes(content)
        return content, Digits()

    def check(result):
        assert result[0] == original  # a change that changed nothing

    assert outcomes(read, [original], check)["refused"] > 0.9 * COUNT


def encoded(library, format, mode="RGB", **options):
    target = io.BytesIO()
    library.fromarray(noise(20, 24, 3)).convert(mode).save(target, format, **options)
    return target.getvalue()


def test_images(tmp_path):
    library = pytest.importorskip("PIL.Image")
    kinds = [
        *(("PNG", mode) for mode in ("RGB", "P", "RGBA", "LA", "L", "1")),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("GIF", "P"),
        *((name, "RGB") for name in ("BMP", "TIFF", "WEBP", "PPM")),
    ]
    sixteen = io.BytesIO()
    library.fromarray(noise(20, 24).astype(np.uint16) * 257).save(sixteen, "PNG")
    seeds = [sixteen.getvalue(), *(encoded(library, name, mode) for name, mode in kinds)]

    def read(content):
        (tmp_path / "image").write_bytes(content)
        return read_image(tmp_path / "image", 16)

    def check(image):
        assert (image.shape, image.dtype) == ((3, 16, 16), np.uint8)

    counts = outcomes(read, seeds, check)
    assert min(counts["read"], counts["refused"]) > COUNT / 10
