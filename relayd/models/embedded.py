"""The model inside a llamafile: finding it and extracting it.

A llamafile is a program with a zip archive at its end, and in that, stored without compression, GGUF
files. llama-server opens a path and reads from its beginning, so a model inside another file has to come
out once; where the file system can share extents (btrfs, XFS, APFS through Linux' copy_file_range) and
the llamafile was made by `zipalign`, the copy takes no space.
"""

import contextlib
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from relayd.errors import ModelFileError, NoSpaceError, StateError
from relayd.gguf.companions import is_companion
from relayd.units import MIB, show_bytes

SUFFIXES = (".llamafile", ".llamafile.exe")
MAGIC = b"GGUF"

_CHUNK = 64 * MIB
"""A multiple of every block size, so that whole extents can be shared."""

_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Signature, lengths of name and extra field (APPNOTE.TXT 4.3.7)."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A GGUF inside another file.

    Attributes:
        name: What it is called in there, without folders.
        offset: Its first byte.
        bytes: Its size.
    """

    name: str
    offset: int
    bytes: int


def find_embedded(path: Path) -> tuple[Embedded, ...]:
    """Return the GGUF files in a llamafile: the model first, then what belongs to it.

    Raises:
        ModelFileError: It is not a llamafile, or has no model that can be taken out.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
            found = [_locate(stream, entry) for entry in archive.infolist() if _is_model(entry)]
    except (zipfile.BadZipFile, struct.error, zlib.error, EOFError, ValueError, RuntimeError) as error:
        raise ModelFileError(f"{path} is not a valid llamafile: {error}") from error
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    models = sorted((one for one in found if not is_companion(one.name)), key=lambda one: -one.bytes)
    if not models:
        raise ModelFileError(f"{path} has no GGUF file inside")
    return (models[0], *(one for one in found if one not in models))


def extract(path: Path, part: Embedded, dest: Path, progress: Callable[[int, int], None]) -> None:
    """Copy a GGUF out of a file, sharing its blocks where the file system can.

    Args:
        path: The file around it.
        part: Where it is.
        dest: The file to make; it is not there before all its bytes are on disk.
        progress: Called with the bytes done and the bytes in all.

    Raises:
        NoSpaceError: The disk is too small.
        StateError: A file cannot be read or written.
    """
    free = shutil.disk_usage(dest.parent).free
    if part.bytes > free:
        raise NoSpaceError(
            f"{part.name} needs {show_bytes(part.bytes)}, {dest.parent} has {show_bytes(free)} free",
            remedy="Free some space.",
        )
    temporary = dest.with_name(dest.name + ".part")
    try:
        with path.open("rb") as source, temporary.open("wb") as target:
            done = 0
            while done < part.bytes:
                count = _copy(source, target, part.offset + done, done, min(_CHUNK, part.bytes - done))
                if not count:
                    raise StateError(f"{path} became shorter while it was read")
                done += count
                progress(done, part.bytes)
            os.fsync(target.fileno())
        temporary.replace(dest)
    except OSError as error:
        raise StateError(f"{path} cannot be copied to {dest}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _is_model(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.endswith(".gguf") and entry.compress_type == zipfile.ZIP_STORED


def _locate(stream: BinaryIO, entry: zipfile.ZipInfo) -> Embedded:
    """Return where an entry's bytes begin, after its local header."""
    stream.seek(entry.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    offset = entry.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    stream.seek(offset)
    if signature != b"PK\3\4" or stream.read(len(MAGIC)) != MAGIC:
        raise ValueError(f"{entry.filename} does not begin with GGUF")
    return Embedded(PurePosixPath(entry.filename).name, offset, entry.file_size)


def _copy(source: BinaryIO, target: BinaryIO, begin: int, at: int, count: int) -> int:
    """Copy some bytes, by the kernel if it can; return how many."""
    if hasattr(os, "copy_file_range"):
        with contextlib.suppress(OSError):  # other file systems, or one that cannot: read and write instead
            return os.copy_file_range(source.fileno(), target.fileno(), count, begin, at)
    source.seek(begin)
    target.seek(at)
    written = target.write(source.read(count))
    target.flush()
    return written
