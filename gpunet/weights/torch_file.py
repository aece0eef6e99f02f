"""Files of `torch.save`, read and written without PyTorch, and without running anything that stands in them.

Such a file is a zip archive, uncompressed:

    NAME/data.pkl    a pickle: dictionaries and lists, and of each tensor its shape and which storage its numbers are in
    NAME/data/0 ...  the storages: numbers, as they lie in memory
    NAME/byteorder   "little", or "big"

A pickle is a small program for a stack machine, and may call any function of Python. The machine here knows only the
instructions that make plain values, and of functions by their names the few that make tensors. Anything else is an
error that names it.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend import native
from gpunet.errors import FileError

__all__ = ["is_torch_file", "parse_torch_file", "torch_bytes"]

LARGEST_PICKLE = 256 * 2**20
"""The largest data.pkl, in bytes, that is read: what lies in storages does not count."""

_ZIP, _LEGACY = b"PK\3\4", b"\x80\2\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_TYPES = {  # by the names of PyTorch's storages, and of its types of number
    "Double": ("float64", "f8"),
    "Float": ("float32", "f4"),
    "Half": ("float16", "f2"),
    "BFloat16": ("bfloat16", "u2"),
    "Long": ("int64", "i8"),
    "Int": ("int32", "i4"),
    "Short": ("int16", "i2"),
    "Char": ("int8", "i1"),
    "Byte": ("uint8", "u1"),
    "Bool": ("bool", "?"),
}
_STORAGES = {f"{name}Storage": dtype for name, (dtype, _) in _TYPES.items()}
_IN_MEMORY = {**dict(_TYPES.values()), "uint16": "u2", "uint32": "u4", "uint64": "u8"}


def is_torch_file(content: bytes) -> bool:
    """Whether these are the first bytes of a file of `torch.save`, of the format of today or that of before 1.6."""
    return content.startswith((_ZIP, _LEGACY[:2])) or content[257:262] == b"ustar"


def parse_torch_file(content: bytes, path: Path) -> Any:
    """What the bytes of a file of `torch.save` stand for; tensors as NumPy arrays, all else as it was.

    The arrays are read-only views of the file's content; of bfloat16, which NumPy does not have, float32.

    Raises:
        FileError: if the file is damaged, is in the format of before PyTorch 1.6, or holds anything but tensors, plain
            values, and dictionaries, lists, tuples and sets of them.
    """
    if not content.startswith(_ZIP):
        raise FileError(
            f"{path} is in the format that torch.save had before PyTorch 1.6, which is not read; where it is trusted, "
            "torch.save(torch.load(path), new_path) writes that of today"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _Machine(_Archive(path, archive, len(content))).run()
    except FileError:
        raise
    except (
        OSError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        ValueError,
        struct.error,
    ) as error:
        raise FileError(f"{path} is not a whole file of torch.save: {error}") from error


class _Archive:
    """The zip archive: its files, each no larger than it may be."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, size: int) -> None:
        self.path, self._archive, self._size = path, archive, size
        names = archive.namelist()
        pickles = [name for name in names if name.rpartition("/")[2] == "data.pkl" and name.count("/") <= 1]
        self._folder = pickles[0].removesuffix("data.pkl") if pickles else ""
        if len(pickles) != 1 or f"{self._folder}constants.pkl" in names:
            what = "a TorchScript program" if pickles else "a zip archive, but not one of torch.save"
            raise FileError(f"{path} is {what}; what can be read are tensors: torch.save(model.state_dict(), path)")
        order = self.read("byteorder", 16).decode("latin-1") if f"{self._folder}byteorder" in names else "little"
        if order not in ("little", "big"):
            raise FileError(f"{path} is damaged: its byte order is {order!r}")
        self.order = "<" if order == "little" else ">"

    def read(self, name: str, largest: int) -> bytes:
        """The content of one of its files, of so many bytes at most."""
        try:
            entry = self._archive.getinfo(self._folder + name)
        except KeyError:
            raise FileError(f"{self.path} is damaged: {name} is missing") from None
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > min(largest, self._size):
            raise FileError(
                f"{self.path} is damaged: {name} is compressed, or too large with {entry.file_size:,} bytes"
            )
        return self._archive.read(entry)


class _Name(NamedTuple):
    """A function or class that the pickle names; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Storage(NamedTuple):
    """Numbers in a row, read-only; of what type, a tensor may say."""

    content: bytes
    dtype: str


_MARK, _END = object(), object()


class _Machine:
    """The stack machine, which makes the value that a pickle stands for."""

    def __init__(self, archive: _Archive) -> None:
        self._archive = archive
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._storages: dict[tuple[str, str], _Storage] = {}
        self._numbers: dict[tuple[int, str], np.ndarray[Any, Any]] = {}

    def run(self) -> Any:
        """The value.

        Raises:
            FileError: if the pickle is damaged, or holds anything that is not plain.
        """
        path = self._archive.path
        program = self._archive.read("data.pkl", LARGEST_PICKLE)
        try:
            for opcode, argument, _ in pickletools.genops(program):
                if opcode.name == "STOP":
                    break
                self._step(opcode.name, argument)
            [value] = self._stack
        except FileError:
            raise
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise FileError(f"{path} is damaged: its data.pkl cannot be read ({error!r:.200})") from error
        _check_plain([value], path)
        return value

    def _step(self, name: str, argument: Any) -> None:
        """One instruction."""
        stack = self._stack
        if name in _PUSHES:
            stack.append(argument)
        elif name in _MAKES:
            stack.append(_MAKES[name]())
        elif name in _PUTS:
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in _GETS:
            stack.append(self._memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module, what = argument.split(" ") if name == "GLOBAL" else self._pop(2)
            is_type = module == "torch" and what in _IN_MEMORY
            stack.append(f"torch.{what}" if is_type else _Name(_PYTHON_2.get(module, module), what))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._pop(int(name[-1]))))
        elif name in ("TUPLE", "LIST"):
            stack.append((tuple if name == "TUPLE" else list)(self._pop_to_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = self._pop(1) if name == "APPEND" else self._pop_to_mark()
            _of_kind(stack[-1], list).extend(items)
        elif name == "ADDITEMS":
            items = self._pop_to_mark()
            _of_kind(stack[-1], set).update(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._pop(2) if name == "SETITEM" else self._pop_to_mark()
            _of_kind(stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))
        elif name in ("REDUCE", "NEWOBJ"):
            function, arguments = self._pop(2)
            stack.append(self._call(_of_kind(function, _Name), _of_kind(arguments, tuple)))
        elif name == "BUILD":  # attributes: those of a state_dict tell versions of its Modules
            self._pop(1)
            if not isinstance(stack[-1], dict | np.ndarray):
                raise ValueError(f"attributes of a {type(stack[-1]).__name__}")
        elif name == "BINPERSID":
            stack.append(self._storage(*self._pop(1)[0]))
        elif name not in _IGNORED:
            raise FileError(
                f"{self._archive.path} holds something else than tensors and plain values (the instruction {name})"
            )

    def _pop(self, count: int) -> list[Any]:
        values = self._stack[-count:]
        if len(values) < count or any(value is _MARK for value in values):
            raise IndexError("the stack is empty")
        del self._stack[-count:]
        return values

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _storage(self, kind: Any, type_: Any, key: Any, location: Any, count: Any) -> _Storage:
        """A storage, read when it is first named."""
        if kind != "storage" or not isinstance(type_, _Name) or type_.module not in ("torch", "torch.storage"):
            raise ValueError(f"a {kind!r:.100} of {type_}")
        dtype = _STORAGES.get(type_.name, "uint8")
        if dtype == "uint8" and type_.name not in ("ByteStorage", "UntypedStorage"):
            raise FileError(f"{self._archive.path} holds numbers of {type_}, which cannot be read")
        name = _of_kind(key, str)
        if (name, dtype) not in self._storages:
            size = _of_kind(count, int) * np.dtype(_IN_MEMORY[dtype]).itemsize
            content = self._archive.read(f"data/{name}", size)
            if len(content) != size:
                raise ValueError(f"storage {name} has {len(content)} bytes, and not {size}")
            self._storages[name, dtype] = _Storage(content, dtype)
        return self._storages[name, dtype]

    def _call(self, function: _Name, arguments: tuple[Any, ...]) -> Any:
        """What a function makes that is known by its name."""
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("collections", "OrderedDict"): _dictionary,
            ("torch", "Size"): lambda sizes=(): tuple(sizes),
            ("builtins", "set"): lambda items=(): set(_of_kind(items, list | tuple)),
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self._typed_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *of_gradients: _of_kind(data, np.ndarray),
        }
        if function not in known:
            raise FileError(
                f"{self._archive.path} holds something else than tensors and plain values: {function}; where the file "
                "is trusted, torch.load it and save its state_dict alone"
            )
        return known[function](*arguments)

    def _tensor(self, storage: Any, offset: Any, shape: Any, strides: Any, *of_gradients: Any) -> np.ndarray[Any, Any]:
        return self._view(_of_kind(storage, _Storage), storage.dtype, offset, shape, strides)

    def _typed_tensor(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        strides: Any,
        requires_grad: Any,
        hooks: Any,
        dtype: Any,
        *more: Any,
    ) -> np.ndarray[Any, Any]:
        return self._view(
            _of_kind(storage, _Storage), _of_kind(dtype, str).removeprefix("torch."), offset, shape, strides
        )

    def _view(self, storage: _Storage, dtype: str, offset: Any, shape: Any, strides: Any) -> np.ndarray[Any, Any]:
        """A tensor's part of its storage, which it may not exceed."""
        shape, strides = _whole_numbers(shape), _whole_numbers(strides)
        (offset,) = _whole_numbers((offset,))
        numbers = self._numbers_of(storage, dtype)
        count = int(np.prod(shape, dtype=object)) if shape else 1
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        if count and (count > numbers.size or last >= numbers.size):
            raise ValueError(f"a tensor of shape {shape} reaches beyond its storage of {numbers.size} numbers")
        if not count:
            return np.empty(shape, numbers.dtype)
        bytes_apart = [stride * numbers.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(numbers[offset:], shape, bytes_apart, writeable=False)

    def _numbers_of(self, storage: _Storage, dtype: str) -> np.ndarray[Any, Any]:
        """All numbers of a storage, made ready once however many tensors share it."""
        key = id(storage), dtype
        if key not in self._numbers:
            if dtype not in _IN_MEMORY:
                raise FileError(f"{self._archive.path} holds numbers of the type {dtype}, which cannot be read")
            numbers = np.frombuffer(storage.content, self._archive.order + _IN_MEMORY[dtype])
            if dtype == "bfloat16":  # the upper half of the bits of a float32
                numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
            self._numbers[key] = numbers.astype(native(numbers.dtype), copy=False)
        return self._numbers[key]


_PUSHES = {
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES"),
}
_MAKES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}
_PUTS = {"BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"}
_GETS = {"BINGET", "LONG_BINGET", "GET"}
_IGNORED = {"PROTO", "FRAME"}
_PYTHON_2 = {"__builtin__": "builtins"}  # names of modules in pickles of the second protocol


def _of_kind(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{kind} was expected, got {type(value).__name__}")
    return value


def _whole_numbers(values: Any) -> tuple[int, ...]:
    found = tuple(_of_kind(each, int) for each in _of_kind(values, tuple))
    if any(not 0 <= each < 2**62 for each in found):
        raise ValueError(f"sizes {found}")
    return found


def _dictionary(pairs: Any = ()) -> dict[Any, Any]:
    return dict(_of_kind(pairs, list | tuple))


def _check_plain(value: Any, path: Path) -> None:
    """Make sure that a value is made of plain ones, and neither contains itself nor is nested without need."""
    finished: set[int] = set()

    def parts(of: Any) -> Iterator[Any]:
        if isinstance(of, dict):
            yield from of.keys()
            yield from of.values()
        elif isinstance(of, list | tuple | set) and not isinstance(of, _Name | _Storage):
            yield from of

    trail: list[tuple[Any, Iterator[Any]]] = [(value, parts(value))]
    open_: set[int] = {id(value)}
    while trail:
        of, rest = trail[-1]
        inner = next(rest, _END)
        if inner is _END:
            trail.pop()
            open_.discard(id(of))
            finished.add(id(of))
            continue
        if isinstance(inner, _Name | _Storage) or inner is _MARK:
            raise FileError(f"{path} holds something else than tensors and plain values: {inner!s:.100}")
        if not isinstance(inner, dict | list | tuple | set) or id(inner) in finished:
            continue
        if id(inner) in open_ or len(trail) > 64:
            raise FileError(f"{path} is damaged: its dictionaries are nested too deeply")
        open_.add(id(inner))
        trail.append((inner, parts(inner)))


# ------------------------------------------------------------------------------------------------------------- writing


def torch_bytes(arrays: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """The bytes of a file that `torch.load` reads, with `weights_only` too: a dictionary of tensors.

    Raises:
        FileError: if PyTorch has no tensors of such numbers.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        in_memory = [array.astype(array.dtype.newbyteorder("<"), order="C") for array in arrays.values()]
        described = zip(arrays, in_memory, strict=True)
        items = b"".join(_text(name) + _described(array, str(key)) for key, (name, array) in enumerate(described))
        for name, part in (
            ("data.pkl", b"\x80\x02}(" + items + b"u."),  # a dictionary: its items, behind a mark, are set at once
            ("byteorder", b"little"),
            *((f"data/{key}", array.tobytes()) for key, array in enumerate(in_memory)),
            ("version", b"3\n"),
        ):
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), part)
    return content.getvalue()


def _described(array: np.ndarray[Any, Any], key: str) -> bytes:
    """The instructions that make a tensor: torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, {})."""
    kinds = [name for name, (dtype, _) in _TYPES.items() if dtype == array.dtype.name]
    if not kinds:
        raise FileError(f"a file of torch.save cannot hold numbers of the type {array.dtype}")
    strides = [stride // array.itemsize for stride in array.strides]
    storage = b"(" + _text("storage") + f"ctorch\n{kinds[0]}Storage\n".encode() + _text(key) + _text("cpu")
    storage += _number(array.size) + b"tQ"  # a tuple, which names a storage
    shape = b"(" + b"".join(map(_number, array.shape)) + b"t" + b"(" + b"".join(map(_number, strides)) + b"t"
    hooks = b"ccollections\nOrderedDict\n)R"  # called with an empty tuple
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _number(0) + shape + b"\x89" + hooks + b"tR"


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if value < 2**31 else b"\x8a\x08" + struct.pack("<q", value)
