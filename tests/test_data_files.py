"""The downloaded datasets: formats, archives and where files come from. Small files, no network."""

import gzip
import hashlib
import io
import re
import struct
import sys
import tarfile

import numpy as np
import pytest

from gpunet.data import CIFAR10, CIFAR100, MNIST, FashionMNIST, find_dataset
from gpunet.data.cifar import read_cifar
from gpunet.data.downloads import RemoteFile, get_file
from gpunet.data.idx import read_idx
from gpunet.data.unpack import gunzip, tar_members
from gpunet.errors import DataError, FileError, LabelError

MIRRORS = ("https://first.invalid/", "https://second.invalid/")


def idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def tar(files):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def remote(name, content):
    return RemoteFile(name, len(content), hashlib.sha256(content).hexdigest(), MIRRORS)


def images(count, *shape):
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


# ---------------------------------------------------------------------------------------------------------- idx


def test_idx():
    array = images(5, 3, 4)
    np.testing.assert_array_equal(read_idx(idx(array), "f"), array)
    np.testing.assert_array_equal(read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), "f"), [7, 9])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG", "no IDX file: it begins with 89 50 4e 47"),
        (b"\0\0\x0d\x01\0\0\0\0", "type 0x0d"),
        (b"\0\0\x08\x00", "claims 0 dimensions"),
        (b"\0\0\x08\xff\0\0\0\1", "claims 255 dimensions"),
        (idx(images(2, 3, 4))[:-1], "2 x 3 x 4 = 24 bytes, but 23 follow"),
        (idx(images(2, 3, 4)) + b"\0", "but 25 follow"),
        (struct.pack(">BBBB4I", 0, 0, 8, 4, *[2**32 - 1] * 4), "but 0 follow"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 0, 2**32 - 1, 2**32 - 1), "holds nothing: .* 0 x 4294967295 x 4294967295"),
        (struct.pack(">BBBB1I", 0, 0, 8, 1, 0), "holds nothing"),
        (struct.pack(">BBBB5I", 0, 0, 8, 5, 1, 1, 1, 1, 1) + b"1", "images have 3 and labels 1"),
    ],
)
def test_idx_headers_that_lie(content, words):
    with pytest.raises(DataError, match=words):
        read_idx(content, "f")


# ---------------------------------------------------------------------------------------------------------- cifar


@pytest.mark.parametrize("labels", [1, 2])
def test_cifar_records(labels):
    pixels, classes = images(3, 3, 32, 32), images(3, labels)
    content = b"".join(c.tobytes() + p.tobytes() for c, p in zip(classes, pixels, strict=True))
    read_pixels, read_labels = read_cifar(content, labels, "f")
    np.testing.assert_array_equal(read_pixels, pixels)
    np.testing.assert_array_equal(read_labels, classes[:, -1])


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 2 * 3073 - 1])
def test_cifar_of_a_wrong_size(size):
    with pytest.raises(DataError, match="not images of 3,073 bytes"):
        read_cifar(bytes(size), 1, "f")


# ---------------------------------------------------------------------------------------------------------- unpacking


def test_gunzip():
    content = images(3_000_000).tobytes()
    assert gunzip(gzip.compress(content, 1), len(content), "f") == content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"plain", "no gzip file"),
        (gzip.compress(bytes(1000), mtime=0)[:-9], "cut off"),
        (gzip.compress(bytes(1001), mtime=0), "more than the 1,000 bytes"),
        (gzip.compress(bytes(200 << 20), 1, mtime=0), "more than the 1,000 bytes"),  # 200 MB of zeros in less than one
        (gzip.compress(b"abc", mtime=0)[:-8] + bytes(8), "CRC"),
    ],
)
def test_gunzip_of_what_is_none(content, words):
    with pytest.raises(FileError, match=words):
        gunzip(content, 1000, "f")


def test_tar_members_reads_what_is_asked_for_wherever_it_lies():
    archive = tar({"deep/er/a": b"12", "../../etc/b": b"345", "c": b"no"})
    assert tar_members(archive, {"a": 2, "b": 9}, "f") == {"a": b"12", "b": b"345"}


def test_tar_members_errors():
    link = tarfile.TarInfo("b")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(link)
    for content, words in [
        (tar({"a": b"12"}), "does not hold b"),
        (target.getvalue(), "does not hold b"),
        (tar({"b": bytes(100)}), "100 bytes, at most 9"),
        (b"something else", "no tar archive"),
        (tar({"b": b"12"})[:513], "cut off|damaged"),
        (b"", "no tar archive"),
    ]:
        with pytest.raises(FileError, match=words):
            tar_members(content, {"b": 9}, "f")


# ---------------------------------------------------------------------------------------------------------- datasets


@pytest.mark.parametrize("cls", [MNIST, FashionMNIST, CIFAR10, CIFAR100])
def test_pinned_files(cls):
    files = cls.FILES if hasattr(cls, "FILES") else [cls.ARCHIVE]
    for file in files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert len(file.mirrors) >= 2
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in file.mirrors)


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    """Small files for a class of the MNIST kind, registered and laid into a folder."""

    def make(cls, train_labels=(3, 1, 4, 9), folder="."):
        arrays = [images(len(train_labels), 28, 28), np.array(train_labels), images(2, 28, 28), np.array([5, 0])]
        files = []
        for registered, array in zip(cls.FILES, arrays, strict=True):
            content = gzip.compress(idx(array), mtime=0)
            files.append(remote(registered.name, content))
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / registered.name).write_bytes(content)
        monkeypatch.setattr(cls, "FILES", tuple(files))
        return arrays

    return make


@pytest.mark.parametrize(("cls", "name"), [(MNIST, "mnist"), (FashionMNIST, "fashion-mnist")])
@pytest.mark.parametrize("own_folder", [True, False])
def test_mnist_from_files_that_are_there(cls, name, own_folder, mnist, tmp_path):
    arrays = mnist(cls, folder=name if own_folder else ".")
    for train, pixels, labels in ((True, *arrays[:2]), (False, *arrays[2:])):
        dataset = cls(train, data_dir=tmp_path)
        np.testing.assert_array_equal(dataset.images[:, 0], pixels)
        np.testing.assert_array_equal(dataset.labels, labels)
        assert len(dataset.classes) == 10
    normalised, _ = find_dataset(name, tmp_path).test_set(32).batch(np.arange(2), np.random.default_rng(0))
    assert (normalised.shape, normalised.dtype) == ((2, 1, 32, 32), np.float32)
    augmented = find_dataset(name, str(tmp_path)).train_set(28).batch(np.arange(4), np.random.default_rng(0))[0]
    assert augmented.shape == (4, 1, 28, 28)


def test_labels_without_a_class(mnist, tmp_path):
    mnist(MNIST, train_labels=(0, 10))
    with pytest.raises(LabelError, match="0 to 9, got 0 to 10"):
        MNIST(data_dir=tmp_path)


def test_labels_that_skip_leave_classes_without_images(mnist, tmp_path):
    mnist(MNIST, train_labels=(0, 9, 9))
    dataset = MNIST(data_dir=tmp_path)
    assert (dataset.labels.tolist(), len(dataset.classes)) == ([0, 9, 9], 10)


def test_images_and_labels_of_two_different_files(tmp_path, monkeypatch):
    contents = [gzip.compress(idx(array)) for array in (images(3, 28, 28), images(2, 28, 28))]
    for labels, words in ((contents[1], "got .3, 28, 28. and .2, 28, 28."), (gzip.compress(idx(images(2))), "3 and 2")):
        files = (remote("a.gz", contents[0]), remote("b.gz", labels))
        monkeypatch.setattr(MNIST, "FILES", files * 2)
        (tmp_path / "a.gz").write_bytes(contents[0])
        (tmp_path / "b.gz").write_bytes(labels)
        with pytest.raises(DataError, match=words):
            MNIST(data_dir=tmp_path)


@pytest.mark.parametrize(("cls", "name", "labels"), [(CIFAR10, "cifar10", 1), (CIFAR100, "cifar100", 2)])
def test_cifar_from_an_archive_that_is_there(cls, name, labels, tmp_path, monkeypatch):
    names = "\n".join(f"thing_{i}" for i in range(cls.CLASS_COUNT)) + "\n\n"
    pixels = {file: images(2 + n, 3, 32, 32) for n, file in enumerate((*cls.TRAIN_FILES, *cls.TEST_FILES))}
    records = {
        file: b"".join(bytes([3, i])[-labels:] + image.tobytes() for i, image in enumerate(array))
        for file, array in pixels.items()
    }
    content = gzip.compress(tar({f"some-folder/{cls.CLASS_FILE}": names.encode(), **records}))
    monkeypatch.setattr(cls, "ARCHIVE", remote(cls.ARCHIVE.name, content))
    (tmp_path / cls.ARCHIVE.name).write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    train, test = cls(data_dir=tmp_path), cls(False, data_dir=tmp_path)
    np.testing.assert_array_equal(train.images, np.concatenate([pixels[file] for file in cls.TRAIN_FILES]))
    assert test.labels.tolist() == list(range(len(test)))
    assert (train.classes[1], len(train.classes)) == ("thing_1", cls.CLASS_COUNT)
    assert find_dataset(name, tmp_path).train_set(32).images.shape == train.images.shape
    assert sorted(tmp_path.rglob("*")) == before  # nothing was extracted

    content = gzip.compress(tar({cls.CLASS_FILE: b"one two", **records}))
    monkeypatch.setattr(cls, "ARCHIVE", remote(cls.ARCHIVE.name, content))
    (tmp_path / cls.ARCHIVE.name).write_bytes(content)
    with pytest.raises(DataError, match=f"names 2 classes instead of {cls.CLASS_COUNT}"):
        cls(data_dir=tmp_path)


# ---------------------------------------------------------------------------------------------------------- downloads

CONTENT = bytes(range(256)) * 8
FILE = remote("data.gz", CONTENT)


@pytest.fixture
def server(monkeypatch):
    """Stands in for pooch's downloader: `answers` maps each address to what it does to the bytes asked for."""
    pooch = pytest.importorskip("pooch")

    class Server:
        def __init__(self):
            self.answers, self.asked = {}, []

        def __call__(self, headers, **options):
            def download(url, file, _):
                begin = int(headers.get("Range", "bytes=0-")[6:-1])
                self.asked.append((url, begin))
                answer = self.answers[url]
                if isinstance(answer, Exception):
                    raise answer
                whole, stop = answer if isinstance(answer, tuple) else (answer, None)
                file.write(whole[begin:stop])
                file.flush()
                if stop is not None:
                    raise ConnectionError("connection lost")

            return download

    server = Server()
    monkeypatch.setattr(pooch, "HTTPDownloader", server)
    return server


FIRST, SECOND = (f"{mirror}data.gz" for mirror in MIRRORS)


def test_download_is_checked_and_kept(server, tmp_path):
    server.answers[FIRST] = CONTENT
    assert get_file(FILE, "some", tmp_path) == CONTENT
    assert get_file(FILE, "some", tmp_path) == CONTENT  # from the disk
    assert server.asked == [(FIRST, 0)]
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["data.gz"]


def test_download_into_the_cache(server, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["pooch"], "os_cache", lambda project: tmp_path / project)
    server.answers[FIRST] = CONTENT
    get_file(FILE, "some")
    assert (tmp_path / "gpunet/some/data.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("failure", [ConnectionError("no route"), CONTENT[:-1] + b"x", CONTENT + b"more"])
def test_download_falls_back_on_the_next_mirror(server, tmp_path, failure):
    server.answers = {FIRST: failure, SECOND: CONTENT}
    assert get_file(FILE, "some", tmp_path) == CONTENT
    assert server.asked[-1] == (SECOND, 0)


def test_download_goes_on_where_it_stopped(server, tmp_path):
    server.answers = {FIRST: (CONTENT, 700), SECOND: ConnectionError("down")}
    with pytest.raises(FileError, match=r"connection lost\n.*second.*down\n.*put data.gz into"):
        get_file(FILE, "some", tmp_path)
    server.answers[FIRST] = CONTENT
    assert get_file(FILE, "some", tmp_path) == CONTENT
    assert server.asked == [(FIRST, 0), (SECOND, 700), (FIRST, 700)]


def test_download_begins_anew_where_what_was_there_is_wrong(server, tmp_path):
    (tmp_path / "some").mkdir()
    for left_behind in (b"wrong", bytes(len(CONTENT)), bytes(9999)):
        (tmp_path / "some/data.gz").unlink(missing_ok=True)
        (tmp_path / "some/data.gz.part").write_bytes(left_behind)
        server.answers[FIRST] = CONTENT
        assert get_file(FILE, "some", tmp_path) == CONTENT


def test_download_that_nobody_gives(server, tmp_path):
    server.answers = {FIRST: b"x" * len(CONTENT), SECOND: ConnectionError("down")}
    with pytest.raises(FileError, match=r"first.*not the file that is expected\n.*second.*down"):
        get_file(FILE, "some", tmp_path)
    assert not (tmp_path / "some/data.gz").exists()


def test_download_to_where_nothing_can_be_written(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match=r"cannot write .*part"):
        get_file(FILE, "some", tmp_path / "file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has 0 bytes instead of 2,048"),
        (CONTENT[:-1], "has 2,047 bytes instead of 2,048: it is cut off"),
        (CONTENT[:-1] + b"x", f"SHA-256 is [0-9a-f]+ instead of {FILE.sha256}; delete it"),
    ],
)
def test_a_file_that_is_there_and_differs_is_never_used(tmp_path, content, words):
    (tmp_path / "data.gz").write_bytes(content)
    with pytest.raises(FileError, match=words):
        get_file(FILE, "some", tmp_path)


def test_without_pooch(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataError, match=r"pip install 'gpunet\[full\]', or put data.gz into .*some/"):
        get_file(FILE, "some", tmp_path)
    with pytest.raises(DataError, match=r"pip install 'gpunet\[full\]'"):
        get_file(FILE, "some")
    (tmp_path / "data.gz").write_bytes(CONTENT)
    assert get_file(FILE, "some", tmp_path) == CONTENT
