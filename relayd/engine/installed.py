"""Installed engines, and which of them is current."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from relayd.errors import EngineMissing, StateError
from relayd.files import private_folder, write_atomic
from relayd.lock import Lock
from relayd.progress import Progress

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_STAGING = ".staging-"


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """One installed engine: the manifest in its folder.

    Attributes:
        id: Its folder's name.
        source: Unpacked from an official release, or compiled here.
        version: As people write it: `b11434`.
        build: llama.cpp's build number.
        backend: `cpu`, `cuda`, `vulkan` or `metal`.
        cpu: The CPU it was installed for (`Host.cpu_key`).
        origin: The archive's address, or the package it was built from.
        sha256: The digest of that archive or package.
        size_bytes: What its folder holds.
        installed_at: Seconds since 1970.
        binary: Where llama-server is in the folder.
    """

    id: str
    source: Literal["release", "build"]
    version: str
    build: int | None
    backend: str
    cpu: str
    origin: str
    sha256: str
    size_bytes: int = 0
    installed_at: float = 0
    binary: str = "bin/llama-server"


def engine_id(version: str, backend: str, cpu: str) -> str:
    """Return the folder name of an engine."""
    return f"{version}-{backend}-{cpu}"


class _Pointer(msgspec.Struct, frozen=True):
    current: str
    previous: str = ""


class EngineShelf:
    """The folder of installed engines, as one kind of CPU sees it.

    Every engine is a folder with a manifest; `current-CPU.json` names the one to run and the one
    before it. A home shared between machines has a pointer for each kind of CPU, because a native
    build may die of SIGILL elsewhere.

    Args:
        root: The folder; made when something is written.
        cpu: The key of this machine's CPU.
    """

    def __init__(self, root: Path, cpu: str) -> None:
        self.root = root
        self.cpu = cpu

    def engines(self) -> tuple[Installed, ...]:
        """Return every installed engine, the newest first."""
        found = (self._read(folder.name) for folder in self.root.glob("[!.]*/"))
        return tuple(sorted(filter(None, found), key=lambda one: one.installed_at, reverse=True))

    def current(self) -> Installed | None:
        """Return the engine to run on this CPU, if one is installed."""
        return self._read(self._pointer().current)

    def previous(self) -> Installed | None:
        """Return the engine that `roll_back` would switch to."""
        return self._read(self._pointer().previous)

    def binary(self, engine: Installed) -> Path:
        """Return the llama-server of an installed engine."""
        return self.root / engine.id / engine.binary

    def add(self, staging: Path, engine: Installed) -> Installed:
        """Turn a finished staging folder into an installed engine, and make it the current one.

        Raises:
            StateError: The folder cannot be written.
        """
        size = sum(
            file.stat().st_size for file in staging.rglob("*") if file.is_file() and not file.is_symlink()
        )
        engine = msgspec.structs.replace(engine, size_bytes=size)
        write_atomic(staging / "manifest.json", msgspec.json.format(msgspec.json.encode(engine), indent=2))
        target = self.root / engine.id
        try:
            shutil.rmtree(target, ignore_errors=True)
            staging.rename(target)
        except OSError as error:
            raise StateError(f"{target} cannot be made: {error.strerror}") from error
        self.switch(engine.id)
        return engine

    def switch(self, name: str) -> Installed | None:
        """Make an installed engine the current one; return None if there is none of that id."""
        engine = self._read(name)
        if engine and (now := self._pointer().current) != name:
            self._point(_Pointer(name, now))
        return engine

    def roll_back(self) -> Installed:
        """Make the previous engine the current one, and return it.

        Raises:
            EngineMissing: There is no previous one.
        """
        engine = self.previous()
        if engine is None:
            raise EngineMissing(
                "there is no earlier engine to go back to", remedy="See `relayd engine list`."
            )
        self.switch(engine.id)
        return engine

    def prune(self) -> tuple[str, ...]:
        """Remove engines that no pointer names, and return their ids."""
        kept = {name for file in self.root.glob("current-*.json") for name in _names(file)}
        removed = tuple(one.id for one in self.engines() if one.id not in kept)
        for name in removed:
            shutil.rmtree(self.root / name, ignore_errors=True)
        return removed

    @contextlib.contextmanager
    def locked(self, progress: Progress) -> Iterator[None]:
        """Keep other installers out; wait for one that is at work, and say so."""
        private_folder(self.root)
        path = self.root / ".lock"
        lock = Lock.try_take(path)
        if lock is None:
            progress.say("Another relayd is installing an engine; waiting for it.")
            lock = Lock.wait_for(path)
        try:
            yield
        finally:
            lock.close()

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Lend a folder that is gone afterwards unless `add` took it; needs the lock."""
        for left_over in self.root.glob(f"{_STAGING}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _read(self, name: str) -> Installed | None:
        """Return the engine in a folder, None unless it is complete."""
        if not _ID.fullmatch(name):
            return None
        try:
            engine = msgspec.json.decode((self.root / name / "manifest.json").read_bytes(), type=Installed)
        except (OSError, msgspec.DecodeError):
            return None
        return engine if engine.id == name and self.binary(engine).is_file() else None

    @property
    def _pointer_file(self) -> Path:
        return self.root / f"current-{self.cpu}.json"

    def _pointer(self) -> _Pointer:
        current, previous = _names(self._pointer_file)
        return _Pointer(current, previous)

    def _point(self, pointer: _Pointer) -> None:
        write_atomic(self._pointer_file, msgspec.json.encode(pointer))


def _names(pointer_file: Path) -> tuple[str, str]:
    """Return the current and previous id in a pointer file, empty where there is none."""
    try:
        pointer = msgspec.json.decode(pointer_file.read_bytes(), type=_Pointer)
    except (OSError, msgspec.DecodeError):
        return "", ""
    return pointer.current, pointer.previous
