"""GGUF headers written byte by byte, so that they can be wrong, and that know where their numbers are."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

UINT8, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = 0, 4, 5, 6, 7, 8, 9, 10, 11, 12

CODES = dict(zip((UINT8, UINT32, INT32, FLOAT32, BOOL, UINT64, INT64, FLOAT64), "BIif?Qqd", strict=True))

Payload = str | bytes | float | tuple[int, Sequence[str | float]]
"""A value as its type needs it; of an array: the type of the items, and the items."""


@dataclass(frozen=True, slots=True)
class TensorLine:
    name: str | bytes = "a"
    shape: tuple[int, ...] = (8,)
    type_id: int = 0
    offset: int = 0


@dataclass(slots=True)
class Header:
    """Bytes of a header; `lengths` and `kinds` are the places of its 8-byte counts and 4-byte types."""

    data: bytearray = field(default_factory=bytearray)
    lengths: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)

    def length(self, value: int) -> None:
        self.lengths.append(len(self.data))
        self.data += struct.pack("<Q", value)

    def kind(self, value: int) -> None:
        self.kinds.append(len(self.data))
        self.data += struct.pack("<I", value)

    def string(self, value: str | bytes) -> None:
        content = value.encode() if isinstance(value, str) else value
        self.length(len(content))
        self.data += content

    def value(self, kind: int, value: Payload) -> None:
        if isinstance(value, str | bytes):
            self.string(value)
        elif isinstance(value, tuple):
            item_kind, items = value
            self.kind(item_kind)
            self.length(len(items))
            for item in items:
                self.value(item_kind, item)
        else:
            self.data += struct.pack(f"<{CODES[kind]}", value)

    def tensor(self, line: TensorLine) -> None:
        self.string(line.name)
        self.kind(len(line.shape))
        for size in line.shape:
            self.length(size)
        self.kind(line.type_id)
        self.length(line.offset)


def header(
    values: Iterable[tuple[str | bytes, int, Payload]] = (),
    tensors: Sequence[TensorLine] = (),
    *,
    version: int = 3,
    architecture: str = "llama",
) -> Header:
    """Write a header, its architecture first; the data that its tensors need is not added."""
    made, pairs = Header(), [*values]
    if architecture:
        pairs.insert(0, ("general.architecture", STRING, architecture))
    made.data += b"GGUF"
    made.kind(version)
    made.length(len(tensors))
    made.length(len(pairs))
    for key, kind, value in pairs:
        made.string(key)
        made.kind(kind)
        made.value(kind, value)
    for line in tensors:
        made.tensor(line)
    return made
