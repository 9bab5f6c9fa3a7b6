"""What do the files of the configured models state? Read aside, one after another, and remembered.

A header with its vocabulary takes up to 100 ms of the interpreter, and a disk may hold hundreds: while one is
read requests wait up to 5 ms for a turn, hence a pause after each, and nothing is read twice: what a plan has
read is taken from there.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from relayd.errors import ModelFileError, StateError
from relayd.files import private_folder, write_atomic
from relayd.gguf import read_metadata
from relayd.gguf.facts import UNKNOWN, FileFacts, FileRecord, facts_of, identity_of

_SCHEMA = 3
"""Layout of the file of facts; those of another one are read anew."""


class _FactsFile(msgspec.Struct, frozen=True):
    files: dict[str, FileRecord]
    schema: int = _SCHEMA


class KnownFacts:
    """What each model file states, read in a thread.

    Args:
        cache: The file in which that is remembered; None remembers nothing.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._on_known: Callable[[], None] = lambda: None
        self._known: dict[str, FileFacts] = {}
        self._remembered: dict[str, FileRecord] | None = None
        self._planned: Mapping[str, FileRecord] = {}
        self._queue: deque[str] = deque()
        self._reading: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<KnownFacts known={len(self._known) - len(self._queue)} waiting={len(self._queue)}>"

    def on_known(self, changed: Callable[[], None]) -> None:
        """Call `changed` when those of another file are known."""
        self._on_known = changed

    def of(self, file: str) -> FileFacts:
        """Return what a file states; nothing until that is known, and where it cannot be."""
        if file and file not in self._known:
            self._known[file] = UNKNOWN
            self._queue.append(file)
            if self._reading is None:
                self._reading = asyncio.get_running_loop().create_task(self._read())
        return self._known.get(file, UNKNOWN)

    def token_bytes(self, file: str) -> int:
        """Return what the caches of a model hold for each token, in f16; 0 while that is not known."""
        planned = self._planned.get(file)
        return self._known.get(file, UNKNOWN).token_bytes or (planned[1].token_bytes if planned else 0)

    def learn(self, read: Mapping[str, FileRecord]) -> None:
        """Take over what was read of files as they were planned."""
        self._planned = {**self._planned, **read}

    def forget(self) -> None:
        """Look at the files again: they may have been replaced."""
        self._known.clear()
        self._queue.clear()

    async def known(self) -> None:
        """Wait until everything that was asked for has been read."""
        while self._reading is not None:
            await self._reading

    async def _read(self) -> None:
        try:
            if self._remembered is None:
                self._remembered = await asyncio.to_thread(_recalled, self._cache)
            planned, self._planned = self._planned, {}
            self._remembered.update(planned)
            if await self._read_queue(self._remembered) or planned:
                await asyncio.to_thread(_remember, self._cache, self._remembered)
        finally:
            self._reading = None

    async def _read_queue(self, remembered: dict[str, FileRecord]) -> int:
        """Read the files that wait, and return of how many the header was read."""
        count, news = 0, False
        while self._queue:
            file = self._queue.popleft()
            identity = await asyncio.to_thread(identity_of, Path(file))
            before = remembered.get(file)
            if identity and before and before[0] == identity:
                stated, seconds = before[1], 0.0
            else:
                stated, seconds = await asyncio.to_thread(_stated, Path(file))
                count += identity is not None
            if identity:
                remembered[file] = (identity, stated)
            if file in self._known and stated != UNKNOWN:
                self._known[file] = replace(stated, changed_ns=identity[1] if identity else 0)
                news = True
            if news and (seconds or not self._queue):
                news = False
                self._on_known()
            await asyncio.sleep(seconds if self._queue else 0)
        return count


def _recalled(cache: Path | None) -> dict[str, FileRecord]:
    """Return what was read before; nothing where that is of another layout, or damaged."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        if cache is not None:
            found = msgspec.json.decode(cache.read_bytes(), type=_FactsFile)
            return found.files if found.schema == _SCHEMA else {}
    return {}


def _remember(cache: Path | None, facts: dict[str, FileRecord]) -> None:
    """Write down what was read, of files that are still there; it is read again where that fails."""
    if cache is None:
        return
    there = {file: one for file, one in facts.items() if identity_of(Path(file)) == one[0]}
    with contextlib.suppress(StateError):
        private_folder(cache.parent)
        write_atomic(cache, msgspec.json.encode(_FactsFile(there)))


def _stated(file: Path) -> tuple[FileFacts, float]:
    """Return what a file states, and the seconds that it took to read it."""
    began = time.monotonic()
    try:
        stated = facts_of(read_metadata(file))
    except ModelFileError:
        stated = UNKNOWN
    return stated, time.monotonic() - began
