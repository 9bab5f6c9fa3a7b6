"""Writing the header of a model file (sparse GGUF).

Only the header: the tensors' data are left as a hole of the right size, which takes no disk space and is
enough for an engine that is asked what a model would take (the loader compares offsets with the size).
Layout: ggml/include/gguf.h, version 3.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from relayd.errors import ModelFileError
from relayd.gguf.metadata import ArrayInfo, Item, ModelMetadata, Tensor, Value
from relayd.units import Bytes

ALIGNMENT = 32
"""Bytes; where a file does not say otherwise (`general.alignment`)."""

KEPT = frozenset({"tokenizer.ggml.token_type_count"})
"""Keys of the tokenizer that decide the shape of a tensor."""

_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
"""Numbers of `enum gguf_type`."""

_ORDER = (_STRING, _FLOAT32, _INT32, _UINT32, _BOOL)
"""Of the kinds of items in an array, the one that holds them all."""


def write_sparse(path: Path, model: ModelMetadata) -> Bytes:
    """Write `model` as a file whose tensors are a hole, and return its apparent size.

    Arrays that were skipped when the header was read cannot be written again and are left out; a vocabulary
    among them is replaced by its size, which the engine takes as well.

    Raises:
        ModelFileError: The file cannot be written, or the file system keeps no files with holes.
    """
    values = dict(_writable(model))
    tensors = laid_out(model.tensors)
    header = b"".join((*_start(len(tensors), values), *(_line(tensor) for tensor in tensors)))
    header += bytes(-len(header) % ALIGNMENT)
    last = tensors[-1] if tensors else None
    size = len(header) + (last.offset + _padded(last.nbytes) if last else 0)
    try:
        path.write_bytes(header)
        os.truncate(path, size)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be written: {error.strerror}") from error
    return Bytes(size)


def laid_out(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors one after another, each at an aligned offset."""
    placed, offset = [], 0
    for tensor in tensors:
        placed.append(Tensor(tensor.name, tensor.shape, tensor.type_id, offset))
        offset += _padded(tensor.nbytes)
    return placed


def _writable(model: ModelMetadata) -> Iterator[tuple[str, Value]]:
    yield "general.architecture", model.architecture
    yield "tokenizer.ggml.model", "none"
    yield f"{model.architecture}.vocab_size", model.n_vocab
    for key, value in model.values.items():
        keep = key in KEPT or not key.startswith(("tokenizer.", "split.", "general."))
        if keep and not isinstance(value, ArrayInfo) and not (isinstance(value, tuple) and not value):
            yield key, value


def _start(n_tensors: int, values: Mapping[str, Value]) -> Iterator[bytes]:
    yield b"GGUF" + struct.pack("<IQQ", 3, n_tensors, len(values))
    for key, value in values.items():
        yield _text(key)
        if isinstance(value, tuple):
            kind = min((_kind(item) for item in value), key=_ORDER.index)
            yield struct.pack("<IIQ", _ARRAY, kind, len(value))
            yield from (_item(kind, item) for item in value)
        elif not isinstance(value, ArrayInfo):
            kind = _kind(value)
            yield struct.pack("<I", kind) + _item(kind, value)


def _line(tensor: Tensor) -> bytes:
    dimensions = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
    return _text(tensor.name) + dimensions + struct.pack("<IQ", tensor.type_id, tensor.offset)


def _kind(item: Item) -> int:
    match item:
        case bool():
            return _BOOL
        case int():
            return _UINT32 if item >= 0 else _INT32
        case float():
            return _FLOAT32
    return _STRING


def _item(kind: int, item: Item) -> bytes:
    if isinstance(item, str):
        return _text(item)
    if kind == _FLOAT32:
        return struct.pack("<f", item)
    if kind == _BOOL:
        return struct.pack("<?", item)
    return struct.pack("<i" if item < 0 else "<I", int(item))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _padded(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT
