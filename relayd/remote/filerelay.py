"""How does a hub pass model files from machine to machine: who has one, and how fast may it travel?"""

import asyncio
from collections.abc import Iterator

from relayd.errors import LinkError
from relayd.remote.blocks import BLOCK_BYTES, ReadBlock, Throttle, block_frame
from relayd.remote.frames import DocumentFrame, FrameKind
from relayd.remote.hub import NodeHub, NodeSession
from relayd.remote.messages import BlockWanted, document_of

MOST_AT_ONCE = 16
"""Blocks that are on their way to one node; what it asks for beyond that is not answered."""


class FileRelay:
    """Answers what nodes ask for, with files of this machine and of other nodes.

    Args:
        hub: The nodes.
        own: Reads files of this machine.
        throttle: Of all files together.

    Attributes:
        throttle: Likewise; without a rate nothing travels.
        passed_bytes: How much was passed on since the daemon began.
    """

    def __init__(self, hub: NodeHub, own: ReadBlock, throttle: Throttle) -> None:
        self._hub, self._own, self.throttle = hub, own, throttle
        self._tasks: dict[str, set[asyncio.Task[None]]] = {}
        self.passed_bytes = 0
        hub.on_block = self.take

    def __repr__(self) -> str:
        return f"<FileRelay passed={self.passed_bytes} {self.throttle!r}>"

    def take(self, session: NodeSession, frame: DocumentFrame) -> None:
        """Take what a node sends of files: a block, or that it wants one."""
        if frame.kind is FrameKind.BLOCK:
            session.blocks.take(frame)
            return
        wanted = document_of(frame)
        assert isinstance(wanted, BlockWanted)  # noqa: S101 - for the type checker
        tasks = self._tasks.setdefault(session.name, set())
        if len(tasks) < MOST_AT_ONCE:
            task = asyncio.create_task(self._answer(session, wanted))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _answer(self, session: NodeSession, wanted: BlockWanted) -> None:
        block = await self._find(session, wanted) if self.throttle.bytes_per_second > 0 else b""
        if block:
            await self.throttle.take(len(block))
            self.passed_bytes += len(block)
        session.link.send(block_frame(wanted.id, block))

    async def _find(self, asker: NodeSession, wanted: BlockWanted) -> bytes:
        size = min(wanted.bytes, BLOCK_BYTES)
        if block := await self._own(wanted.sha256, wanted.at, size):
            return block
        for holder in self._holders(asker, wanted.sha256):
            try:
                block = await holder.blocks.get(wanted.sha256, wanted.at, size)
            except LinkError:
                continue
            if block:
                return block
        return b""

    def _holders(self, asker: NodeSession, sha256: str) -> Iterator[NodeSession]:
        """Yield the nodes that have a file, those with the fewest requests first."""
        found = [
            one for one in self._hub if one is not asker and one.channel and sha256 in one.inventory.files
        ]
        yield from sorted(found, key=lambda one: (one.streams, one.name))
