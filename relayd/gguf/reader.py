"""Reading a model's metadata from all its files together."""

import re
from pathlib import Path

from relayd.errors import ModelFileError
from relayd.gguf.companions import first_part_name, part_names
from relayd.gguf.header import HEADER_BYTES, TENSORS, Header, read_header
from relayd.gguf.kinds import Kind, kind_of, refused
from relayd.gguf.metadata import ModelMetadata
from relayd.units import Bytes

ARCHITECTURE = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""What the engine's names of architectures are made of (src/llama-arch.cpp `LLM_ARCH_NAMES`)."""


def read_metadata(path: Path) -> ModelMetadata:
    """Read the header of a model file, and of all its parts if it is the first of several.

    Raises:
        ModelFileError: A file is missing, cut short or damaged, is not a GGUF that the engine reads, or is a
            later part of a split model; the message names the byte and what was expected there.
    """
    first = read_header(path)
    parts = [first, *_later_parts(first)]
    return ModelMetadata(
        architecture=_architecture(first),
        values=first.values,
        tensors=tuple(tensor for part in parts for tensor in part.tensors),
        file_bytes=Bytes(sum(part.file_bytes for part in parts)),
    )


def read_model(path: Path, build: int | None = None) -> ModelMetadata:
    """Read the header of a file that is to be served.

    Args:
        path: The file, of a split model its first part.
        build: llama.cpp's build number of the engine, which may know more than relayd; None while not known.

    Raises:
        ModelFileError: It cannot be read, or it is not a model to serve; the message states what it is.
    """
    metadata = read_metadata(path)
    kind = kind_of(metadata.values, len(metadata.tensors))
    if error := refused(kind, path, metadata.architecture, build):
        raise error
    return metadata


def model_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a model: the one that is named, and its further parts if it has any.

    Raises:
        ModelFileError: A part is missing, or the file cannot be read.
    """
    first = read_header(path)
    return (path, *(part.path for part in _later_parts(first)))


def _later_parts(first: Header) -> list[Header]:
    """Read the other parts of a split model, as the engine finds them (src/llama-model-loader.cpp)."""
    count = _split_number(first, "split.count", 1)
    if count <= 1:
        return []
    if number := _split_number(first, "split.no", 0):
        begin = first_part_name(first.path.name) or "the first part"
        raise ModelFileError(f"{first.path} is part {number + 1} of {count}", remedy=f"Give {begin} instead.")
    names = part_names(first.path.name, count)
    _demand(first.path.parent, names)
    parts = []
    bytes_left, tensors_left = HEADER_BYTES - first.header_bytes, TENSORS - len(first.tensors)
    for expected, name in enumerate(names[1:], start=1):
        part = read_header(first.path.with_name(name), bytes_left)
        if (number := _split_number(part, "split.no", 0)) != expected:
            raise ModelFileError(f"{part.path} claims to be part {number + 1}: expected part {expected + 1}")
        parts.append(part)
        bytes_left -= part.header_bytes
        tensors_left -= len(part.tensors)
        if tensors_left < 0:
            raise ModelFileError(f"{first.path}: its parts hold more than {TENSORS} tensors")
    _check_together(first, parts)
    return parts


def _split_number(part: Header, key: str, default: int) -> int:
    value = part.values.get(key, default)
    if not isinstance(value, int) or value < 0:
        raise ModelFileError(f"{part.path}: {key} is not a number from 0 up")
    return value


def _demand(folder: Path, names: tuple[str, ...]) -> None:
    try:
        missing = sorted(set(names) - {one.name for one in folder.iterdir()})
    except OSError as error:
        raise ModelFileError(f"{folder} cannot be listed: {error.strerror}") from error
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelFileError(
            f"{folder / names[0]} is the first of {len(names)} parts, missing: {missing[0]}{more}",
            remedy="Put all parts of the model into one folder.",
        )


def _check_together(first: Header, parts: list[Header]) -> None:
    names = [tensor.name for part in (first, *parts) for tensor in part.tensors]
    if len(set(names)) < len(names):
        raise ModelFileError(f"{first.path}: a tensor is in two of its parts")
    if (told := _split_number(first, "split.tensors.count", len(names))) != len(names):
        raise ModelFileError(f"{first.path}: its parts hold {len(names)} tensors: expected {told}")


def _architecture(first: Header) -> str:
    value = first.values.get("general.architecture")
    if not isinstance(value, str) or not ARCHITECTURE.fullmatch(value):
        if (kind := kind_of(first.values, len(first.tensors))) is Kind.IMATRIX:
            raise refused(kind, first.path) or ModelFileError(f"{first.path} is {kind}")
        raise ModelFileError(f"{first.path}: general.architecture is {repr(value)[:60]}: expected a name")
    return value
