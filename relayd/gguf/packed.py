"""How does a model file's header travel to another machine that plans with it (a few KB of text)?"""

import base64
import zlib
from typing import Any

import msgspec

from relayd.errors import ModelFileError
from relayd.gguf.metadata import ArrayInfo, ModelMetadata, Tensor, Value
from relayd.units import MIB, Bytes

_MOST_BYTES = 16 * MIB
"""Of a header, unpacked: the largest models have a few thousand tensors of 60 bytes."""


class _Packed(msgspec.Struct, frozen=True):
    architecture: str
    file_bytes: int
    values: dict[str, Any]
    tensors: list[tuple[str, tuple[int, ...], int, int]]


def pack_header(metadata: ModelMetadata) -> str:
    """Return a header as text; templates and other long strings, which no plan needs, are left out."""
    values = {
        key: msgspec.to_builtins(value)
        for key, value in metadata.values.items()
        if not (isinstance(value, str) and len(value) > 256)
    }
    tensors = [(one.name, one.shape, one.type_id, one.offset) for one in metadata.tensors]
    packed = _Packed(metadata.architecture, int(metadata.file_bytes), values, tensors)
    return base64.b85encode(zlib.compress(msgspec.json.encode(packed), 9)).decode()


def unpack_header(text: str) -> ModelMetadata:
    """Return the header that `pack_header` has written.

    Raises:
        ModelFileError: It is malformed.
    """
    try:
        raw = zlib.decompressobj().decompress(base64.b85decode(text), _MOST_BYTES)
        packed = msgspec.json.decode(raw, type=_Packed)
        values = {key: _value(value) for key, value in packed.values.items()}
    except (ValueError, TypeError, zlib.error, msgspec.MsgspecError) as error:
        raise ModelFileError(f"the header of a model on another machine is malformed: {error}") from error
    tensors = tuple(Tensor(*one) for one in packed.tensors)
    return ModelMetadata(packed.architecture, values, tensors, Bytes(packed.file_bytes))


def _value(found: Any) -> Value:
    if isinstance(found, dict):
        return ArrayInfo(**found)
    if isinstance(found, list):
        return tuple(found)
    assert isinstance(found, str | int | float)  # noqa: S101 - JSON has no other kind but null
    return found
