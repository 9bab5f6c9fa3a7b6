"""Safe extraction of foreign archives, within one folder."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from relayd.errors import EngineError
from relayd.units import GIB, Bytes, show_bytes

MAX_UNPACKED = Bytes(4 * GIB)
"""The CUDA libraries of a release unpack to about 1 GiB; beyond this it is a bomb."""

_MAX_MEMBERS = 20_000
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    kind: str
    executable: bool = False
    target: str = ""
    content: IO[bytes] | None = None


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_UNPACKED) -> None:
    """Unpack a .tar.gz or .zip into `folder`; files become 0755 or 0644, owned by us.

    Raises:
        EngineError: A name or link leads outside, a member is a device or the like, the whole is
            too large, or the archive is damaged.
    """
    members = _zip_members if archive.name.endswith(".zip") else _tar_members
    left, count = max_bytes, 0
    try:
        for member in members(archive):
            count += 1
            if count > _MAX_MEMBERS:
                raise EngineError(f"{archive.name} holds more than {_MAX_MEMBERS} files")
            left -= _place(member, folder, left)
            if left < 0:
                raise EngineError(f"{archive.name} unpacks to more than {show_bytes(max_bytes)}")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise EngineError(f"{archive.name} is damaged: {error}") from error
    except OSError as error:
        raise EngineError(f"{archive.name} cannot be unpacked: {error}") from error
    _check_links(folder)


def _check_links(folder: Path) -> None:
    """Raise EngineError for a link that only together with others leads outside."""
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise EngineError(f"{str(path.relative_to(folder))!r} leads outside the archive")


def _place(member: _Member, folder: Path, left: int) -> int:
    """Write one member, and return how many bytes it took, at most one chunk more than `left`."""
    path = folder / _inside(member.name)
    # A link planted by an earlier member must not be written through.
    if path.is_symlink() or not _real_parent(path, folder).is_relative_to(folder.resolve()):
        raise EngineError(f"{member.name!r} would be written through a link")
    if member.kind == "folder":
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.kind == "link":
        _inside(str(PurePosixPath(member.name).parent / member.target), member.target)
        path.symlink_to(member.target)
        return 0
    if member.kind != "file" or member.content is None:
        raise EngineError(f"{member.name!r} is neither a file nor a folder nor a link")
    size = 0
    with path.open("xb") as file:
        while size <= left and (chunk := member.content.read(_CHUNK)):
            size += file.write(chunk)
    path.chmod(0o755 if member.executable else 0o644)
    return size


def _real_parent(path: Path, folder: Path) -> Path:
    return folder.resolve() if path == folder else path.parent.resolve()


def _inside(name: str, shown: str = "") -> PurePosixPath:
    """Return `name` with its dots worked out; raise EngineError where it leads outside."""
    parts: list[str] = []
    for part in PurePosixPath(name).parts:
        if part == "..":
            if not parts:
                break
            parts.pop()
        else:
            parts.append(part)
    else:
        if not name.startswith("/") and "\\" not in name and "\0" not in name:
            return PurePosixPath(*parts)
    raise EngineError(f"{shown or name!r} leads outside the archive")


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive, "r:*") as tar:
        for info in tar:
            if info.isreg():
                yield _Member(info.name, "file", bool(info.mode & 0o100), content=tar.extractfile(info))
            elif info.issym():
                yield _Member(info.name, "link", target=info.linkname)
            else:
                yield _Member(info.name, "folder" if info.isdir() else "other")


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as packed:
        for info in packed.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                yield _Member(info.filename, "folder")
            elif stat.S_ISLNK(mode):
                target = packed.read(info)[:1024].decode(errors="replace")
                yield _Member(info.filename, "link", target=target)
            else:
                with packed.open(info) as content:
                    yield _Member(info.filename, "file", bool(mode & 0o100), content=content)


def gather(unpacked: Path, program: str, target: Path) -> None:
    """Move the files beside `program`, wherever an archive keeps it, into `target`.

    Raises:
        EngineError: No such program is in there.
    """
    found = next((path for path in sorted(unpacked.rglob(program)) if path.is_file()), None)
    if found is None:
        raise EngineError(f"the archive holds no {program}")
    target.mkdir(exist_ok=True)
    for path in sorted(found.parent.iterdir()):
        shutil.move(path, target / path.name)
