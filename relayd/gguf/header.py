"""Parsing and validation of one GGUF file's header.

The layout is that of llama.cpp's ggml/docs/gguf.md, versions 2 and 3. A header that the engine's own
reader (ggml/src/gguf.cpp) would refuse is refused here, with the place and the reason.
"""

import contextlib
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from relayd.errors import ModelFileError
from relayd.gguf.cursor import Cursor
from relayd.gguf.metadata import ITEMS_READ, ArrayInfo, Tensor, Value
from relayd.gguf.quants import QUANTS
from relayd.units import KIB, MIB, Bytes

HEADER_BYTES = 64 * MIB
"""Longest header; one with a vocabulary of 262,000 tokens takes 16 MiB."""
KEPT_BYTES = 16 * MIB
"""Most memory that one file's keys, strings and arrays may take; models need 1 % of it."""
KEYS = 65_536
TENSORS = 250_000
"""Read in a second; a mixture of 58 layers and 256 experts, stored one by one, has 45,000."""
KEY_BYTES = 1 * KIB
"""Longest key; those in use have up to 60 bytes."""
NAME_BYTES = 63
"""Longest tensor name (ggml.h `GGML_MAX_NAME`, less the final zero)."""
STRING_BYTES = 1 * MIB
DIMENSIONS = 4
"""Most dimensions of a tensor (ggml.h `GGML_MAX_DIMS`)."""
LONGEST = (1 << 63) - 1
"""Longest dimension: they are signed in ggml."""

STRING, ARRAY = 8, 9
NUMBERS = {number: struct.Struct(f"<{code}") for number, code in enumerate("BbHhIif?__Qqd") if code != "_"}
"""Type of a value (gguf.h `enum gguf_type`) -> its layout; strings and arrays have lengths instead."""

WORD = struct.Struct("<I")
LONG = struct.Struct("<Q")
TENSOR_TAILS = tuple(struct.Struct(f"<{count}QIQ") for count in range(DIMENSIONS + 1))
"""Dimensions, type and offset of a tensor, by its number of dimensions."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of one file.

    Attributes:
        path: The file.
        values: Key -> value.
        tensors: Its tensor table.
        header_bytes: Bytes up to the end of the table.
        file_bytes: Size of the file.
    """

    path: Path
    values: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    header_bytes: int
    file_bytes: Bytes


def read_header(path: Path, limit: int = HEADER_BYTES) -> Header:
    """Read the keys and the tensor table of a file, at most `limit` bytes of it.

    Raises:
        ModelFileError: The file is missing, cut short, damaged, or no GGUF that the engine reads.
    """
    with _opened(path, limit) as cursor:
        tensor_count, value_count = _read_counts(cursor)
        values = _read_values(cursor, value_count)
        tensors = _read_tensors(cursor, tensor_count, _alignment(cursor, values))
        return Header(path, values, tensors, cursor.position, Bytes(cursor.size))


@dataclass(frozen=True, slots=True)
class Opening:
    """What a file contains at its beginning, before its vocabulary.

    Attributes:
        values: Key -> value, those before the first key of the tokenizer.
        n_tensors: How many tensors the file claims.
    """

    values: Mapping[str, Value]
    n_tensors: int

    @property
    def architecture(self) -> str:
        """What the file states of its architecture; "" for nothing."""
        value = self.values.get("general.architecture", "")
        return value if isinstance(value, str) else ""

    def size(self, key: str) -> int:
        """Return the whole number under a key; 0 where there is none."""
        value = self.values.get(key, 0)
        return value if isinstance(value, int) else 0


def read_opening(path: Path) -> Opening:
    """Read the keys of a file up to its vocabulary: enough to say what it is, a thousandth of a header.

    Raises:
        ModelFileError: As `read_header`, as far as the file is read.
    """
    with _opened(path, HEADER_BYTES) as cursor:
        tensor_count, value_count = _read_counts(cursor)
        return Opening(_read_values(cursor, value_count, until="tokenizer."), tensor_count)


@contextlib.contextmanager
def _opened(path: Path, limit: int) -> Iterator[Cursor]:
    """Lend a file, from its beginning."""
    try:
        # Asked before opening: to open a pipe is to wait for its writer.
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ModelFileError(f"{path} is not a regular file")
        with path.open("rb") as stream:
            yield Cursor(stream, found.st_size, limit, str(path))
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_counts(cursor: Cursor) -> tuple[int, int]:
    """Return how many tensors and how many values the file has."""
    magic, version = cursor.take(struct.Struct("<4sI"), "the first eight bytes")
    if magic != b"GGUF":
        remedy = "It is not whole yet, or damaged: fetch it again." if not any(magic) else ""
        raise cursor.fail(f"{magic!r} at its beginning: expected b'GGUF'", remedy)
    if version and not version & 0xFFFF:
        remedy = "Convert it with gguf_convert_endian.py of llama.cpp, or get another file."
        raise cursor.fail("the file is big-endian: expected a little-endian one", remedy)
    if version not in (2, 3):
        remedy = "Update relayd and the engine." if version > 3 else "Convert it anew, or get another file."
        raise cursor.fail(f"version {version}: expected 2 or 3", remedy)
    tensors = cursor.take_count(TENSORS, LONG.size + WORD.size + TENSOR_TAILS[0].size, "tensors")
    return tensors, cursor.take_count(KEYS, LONG.size + WORD.size + 1, "keys")


def _read_values(cursor: Cursor, count: int, until: str = "\n") -> dict[str, Value]:
    """Return the values of all keys, or of those before the first that begins with `until`."""
    values: dict[str, Value] = {}
    kept = 0
    for _ in range(count):
        key = _take_name(cursor, KEY_BYTES, "a key")
        if key.startswith(until) and "general.architecture" in values:
            break
        if not key or key in values:
            raise cursor.fail(f"key {key!r} is there twice" if key else "a key is empty")
        (kind,) = cursor.take(WORD, f"the type of {key}")
        value = values[key] = _take_value(cursor, key, kind)
        kept += _kept_bytes(key) + _kept_bytes(value)
        if kept > KEPT_BYTES:
            raise cursor.fail(f"{key}: the values take {kept} bytes: expected at most {KEPT_BYTES}")
    return values


def _kept_bytes(value: Value) -> int:
    """Return what a value takes at most: 4 bytes a character, 8 an item that is a small number."""
    match value:
        case str():
            return 4 * len(value)
        case tuple():
            return 8 * len(value)
        case _:
            return 0


def _take_value(cursor: Cursor, key: str, kind: int) -> Value:
    if kind == ARRAY:
        return _take_array(cursor, key)
    if kind == STRING:
        return cursor.take_bytes(STRING_BYTES, key).decode(errors="replace")
    (number,) = cursor.take(_layout(cursor, key, kind), key)
    return cast("int | float | bool", number)


def _take_array(cursor: Cursor, key: str) -> Value:
    (kind,) = cursor.take(WORD, f"the item type of {key}")
    if kind == ARRAY:
        raise cursor.fail(f"{key} is an array of arrays: expected numbers or strings")
    if kind == STRING:
        count = cursor.take_count(cursor.size, LONG.size, f"strings in {key}")
        return ArrayInfo(STRING, count, cursor.skip_strings(count, key))
    item = _layout(cursor, key, kind)
    count = cursor.take_count(cursor.size, item.size, f"items in {key}")
    if count > ITEMS_READ:
        cursor.skip(count * item.size, key)
        return ArrayInfo(kind, count)
    return cursor.take(struct.Struct(f"<{count}{item.format[-1]}"), key)


def _layout(cursor: Cursor, key: str, kind: int) -> struct.Struct:
    try:
        return NUMBERS[kind]
    except KeyError:
        raise cursor.fail(f"{key} has type {kind}: expected one from 0 to {max(NUMBERS)}") from None


def _take_name(cursor: Cursor, most: int, what: str) -> str:
    """Return a name that can stand in messages as it is."""
    name = cursor.take_bytes(most, what).decode(errors="replace")
    if not name.isprintable() or "\ufffd" in name:
        raise cursor.fail(f"{what} is {name!r}: expected printable UTF-8")
    return name


def _alignment(cursor: Cursor, values: Mapping[str, Value]) -> int:
    value = values.get("general.alignment", 32)
    if not isinstance(value, int) or value <= 0 or value & (value - 1):
        raise cursor.fail(f"general.alignment is {repr(value)[:40]}: expected a power of two")
    return value


def _read_tensors(cursor: Cursor, count: int, alignment: int) -> tuple[Tensor, ...]:
    """Return the tensor table, whose data is in the file without gaps, each tensor aligned."""
    tensors: dict[str, Tensor] = {}
    begin = end = 0
    for _ in range(count):
        tensor = _take_tensor(cursor)
        if tensor.name in tensors:
            raise cursor.fail(f"tensor {tensor.name} is there twice")
        if tensor.offset != begin:
            raise cursor.fail(f"tensor {tensor.name} has offset {tensor.offset}: expected {begin}")
        tensors[tensor.name] = tensor
        end = begin + tensor.nbytes
        begin = _align(end, alignment)
    if tensors:
        cursor.demand(_align(cursor.position, alignment) + end, "the tensors' data")
    return tuple(tensors.values())


def _take_tensor(cursor: Cursor) -> Tensor:
    name = _take_name(cursor, NAME_BYTES, "a tensor's name")
    (count,) = cursor.take(WORD, f"the dimensions of {name}")
    if count > DIMENSIONS:
        raise cursor.fail(f"tensor {name} has {count} dimensions: expected at most {DIMENSIONS}")
    *shape, kind, offset = cursor.take(TENSOR_TAILS[count], f"tensor {name}")
    quant = QUANTS.get(kind)
    if quant is None:
        raise cursor.fail(f"tensor {name} has type {kind}, which this relayd does not know")
    if max(shape, default=1) > LONGEST or (shape[0] if shape else 1) % quant.block:
        raise cursor.fail(f"tensor {name} has shape {shape}: expected rows of whole {quant.name} blocks")
    return Tensor(name, tuple(shape), kind, offset)


def _align(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment
