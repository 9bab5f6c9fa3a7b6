"""Which model files of this machine may other machines of its hubs have, and how is one brought from there?

Only files whose SHA-256 is known are shared: those that `relayd pull` has checked, and those of the hub's
cache, which are named by it.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from relayd.clock import Clock
from relayd.errors import LinkError
from relayd.journal import Journal
from relayd.models.ondisk import Found
from relayd.remote.blocks import BLOCK_BYTES, Blocks

LOOK_SECONDS = 10.0
"""How often the disk is looked at."""

MOST_FILES = 1000
_AT_ONCE = 4
"""Blocks that are on their way at the same time."""

STEP_SECONDS = 2.0
"""How long one call brings blocks before it answers how far it is."""


class FilesForOthers:
    """The files of this machine that others may have.

    Args:
        look: Returns the models on disk; blocks.
        is_wanted: Whether there is another machine that could want them.
    """

    def __init__(self, look: Callable[[], Iterable[Found]], is_wanted: Callable[[], bool]) -> None:
        self._look, self._is_wanted = look, is_wanted
        self._files: Mapping[str, Path] = {}

    def __repr__(self) -> str:
        return f"<FilesForOthers {len(self._files)}>"

    @property
    def digests(self) -> tuple[str, ...]:
        """The SHA-256 of each."""
        return tuple(self._files)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            if self._is_wanted():
                await self.refresh()
            await asyncio.sleep(LOOK_SECONDS)

    async def refresh(self) -> None:
        """Look at the disk now."""
        self._files = await asyncio.to_thread(self._found)

    async def read(self, sha256: str, at: int, size: int) -> bytes:
        """Return bytes of a file; empty where it is not here, or ends before."""
        path = self._files.get(sha256)
        if path is None or at < 0 or not 0 < size <= BLOCK_BYTES:
            return b""
        return await asyncio.to_thread(_read, path, at, size)

    def _found(self) -> dict[str, Path]:
        pairs = ((sha256, path) for one in self._look() for path, sha256 in one.digests if sha256)
        return {sha256: path for (sha256, path), _ in zip(pairs, range(MOST_FILES), strict=False)}


def _read(path: Path, at: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(size)
    except OSError:
        return b""


class FileBringer:
    """Brings files from other machines, through the hubs that this one has joined.

    Args:
        links: Returns what asks each hub for blocks.
        clock: Time.
    """

    def __init__(self, links: Callable[[], Iterable[Blocks]], clock: Clock) -> None:
        self._links, self._clock = links, clock

    def __repr__(self) -> str:
        return "<FileBringer>"

    async def bring(self, sha256: str, size: int, part: Path) -> int:
        """Go on with a file for a while, and return how much of it is here; -1 where no machine has it.

        Args:
            sha256: Of the file.
            size: Of it, in bytes.
            part: Where its bytes collect; what is there already is not asked for again.
        """
        for blocks in self._links():
            try:
                return await self._from(blocks, sha256, size, part)
            except LinkError as error:
                Journal("daemon").info("files.interrupted", reason=error.message)
        return -1

    async def _from(self, blocks: Blocks, sha256: str, size: int, part: Path) -> int:
        with part.open("ab") as file:
            os.fchmod(file.fileno(), stat.S_IRUSR | stat.S_IWUSR)
            at = file.tell()
            if at > size:
                file.truncate(at := 0)
            until = self._clock.monotonic() + STEP_SECONDS
            while at < size and self._clock.monotonic() < until:
                starts = range(at, min(size, at + _AT_ONCE * BLOCK_BYTES), BLOCK_BYTES)
                asked = [blocks.get(sha256, one, min(BLOCK_BYTES, size - one)) for one in starts]
                for start, block in zip(starts, await asyncio.gather(*asked), strict=True):
                    if len(block) != min(BLOCK_BYTES, size - start):
                        return -1
                    file.write(block)
                    at += len(block)
            return at
