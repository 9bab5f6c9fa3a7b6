"""What one daemon sends reaches the other, whole, in order and with its files."""

import asyncio
import os
import socket
from pathlib import Path

import msgspec
import pytest

from relayd.handover.channel import PEER_GONE, Channel

pytestmark = pytest.mark.system

DEADLINE_SECONDS = 120


class Side:
    """One end, and what came to it."""

    def __init__(self, end: socket.socket) -> None:
        self.came: asyncio.Queue[tuple[bytes, list[int]]] = asyncio.Queue()
        self.reason: asyncio.Queue[str] = asyncio.Queue()
        self.channel = Channel(end, self._receive, self.reason.put_nowait)

    def _receive(self, message: bytes, files: list[int]) -> None:
        msgspec.json.decode(message)
        self.came.put_nowait((message, files))

    async def receive(self, number: int) -> list[tuple[bytes, list[int]]]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return [await self.came.get() for _ in range(number)]

    async def gone(self) -> str:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.reason.get()


def pair() -> tuple[Side, Side]:
    ours, theirs = socket.socketpair()
    return Side(ours), Side(theirs)


def test_messages_come_in_order_each_with_its_own_files(tmp_path: Path) -> None:
    async def scene() -> list[tuple[bytes, list[bytes]]]:
        old, new = pair()
        for name in ("a", "b", "c"):
            (tmp_path / name).write_text(name)
        files = [os.open(tmp_path / name, os.O_RDONLY) for name in ("a", "b", "c")]
        old.channel.send(b"1", files[:2])
        old.channel.send(b"2")
        old.channel.send(b"3", files[2:])
        came = await new.receive(3)
        messages = [(message, [os.read(one, 9) for one in passed]) for message, passed in came]
        for descriptor in (*files, *(one for _, passed in came for one in passed)):
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)
        old.channel.close()
        await new.gone()
        return messages

    assert [(b"1", [b"a", b"b"]), (b"2", []), (b"3", [b"c"])] == asyncio.run(scene())


def test_a_message_larger_than_the_socket_holds_comes_whole() -> None:
    async def scene() -> bytes:
        old, new = pair()
        large = b'"%b"' % (b"x" * 2_000_000)
        sending = asyncio.to_thread(old.channel.send, large)
        _, ((message, _), *_) = await asyncio.gather(sending, new.receive(1))
        for side in (old, new):
            side.channel.close()
        assert message == large
        return message

    assert 2_000_002 == len(asyncio.run(scene()))


def test_a_close_is_reported_once_and_what_is_sent_then_is_lost() -> None:
    async def scene() -> tuple[int, str, bool]:
        old, new = pair()
        new.channel.close()
        old.channel.send(b"{}")
        old.channel.send(b"{}")
        reason = await old.gone()
        old.channel.send(b"{}")
        return new.came.qsize(), reason, old.reason.empty()

    assert (0, PEER_GONE, True) == asyncio.run(scene())


def test_what_the_peer_sent_before_it_closed_arrives_even_after_a_send_failed() -> None:
    async def scene() -> list[tuple[bytes, list[int]]]:
        old, new = pair()
        old.channel.send(b"1")
        old.channel.close()
        new.channel.send(b"2")
        messages = await new.receive(1)
        await new.gone()
        return messages

    assert [(b"1", [])] == asyncio.run(scene())


@pytest.mark.parametrize(
    ("line", "reason"), [(b"0 no JSON\n", "cannot be read: JSON is malformed"), (b"1 {}\n", "did not arrive")]
)
def test_what_cannot_be_read_ends_the_channel_and_the_reason_is_given(line: bytes, reason: str) -> None:
    async def scene() -> tuple[int, bool]:
        ours, theirs = socket.socketpair()
        side = Side(ours)
        with theirs:
            theirs.sendall(line + b"0 {}\n")
            return side.came.qsize(), reason in await side.gone()

    assert (0, True) == asyncio.run(scene())
