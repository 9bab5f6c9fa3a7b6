"""What one daemon says reaches the other, whole, in order and with its files."""

import asyncio
import os
import socket
from pathlib import Path

import msgspec
import pytest

from relayd.handover.channel import Channel

pytestmark = pytest.mark.system

DEADLINE_SECONDS = 120


class Side:
    """One end, and what came to it."""

    def __init__(self, end: socket.socket) -> None:
        self.came: asyncio.Queue[tuple[bytes, list[int]]] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.channel = Channel(end, self._receive, self.gone.set)

    def _receive(self, message: bytes, files: list[int]) -> None:
        msgspec.json.decode(message)
        self.came.put_nowait((message, files))

    async def hears(self, number: int) -> list[tuple[bytes, list[int]]]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return [await self.came.get() for _ in range(number)]


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
        came = await new.hears(3)
        heard = [(message, [os.read(one, 9) for one in passed]) for message, passed in came]
        for descriptor in (*files, *(one for _, passed in came for one in passed)):
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)
        old.channel.close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await new.gone.wait()
        return heard

    assert [(b"1", [b"a", b"b"]), (b"2", []), (b"3", [b"c"])] == asyncio.run(scene())


def test_a_message_larger_than_the_socket_holds_comes_whole() -> None:
    async def scene() -> bytes:
        old, new = pair()
        large = b'"%b"' % (b"x" * 2_000_000)
        sending = asyncio.to_thread(old.channel.send, large)
        _, ((message, _), *_) = await asyncio.gather(sending, new.hears(1))
        for side in (old, new):
            side.channel.close()
        assert message == large
        return message

    assert 2_000_002 == len(asyncio.run(scene()))


def test_the_end_of_one_side_is_told_once_and_what_is_said_to_it_is_lost() -> None:
    async def scene() -> int:
        old, new = pair()
        new.channel.close()
        old.channel.send(b"{}")
        old.channel.send(b"{}")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await old.gone.wait()
        old.channel.send(b"{}")
        return new.came.qsize()

    assert 0 == asyncio.run(scene())


def test_what_the_other_side_said_before_it_ended_is_heard_even_after_a_send_failed() -> None:
    async def scene() -> list[tuple[bytes, list[int]]]:
        old, new = pair()
        old.channel.send(b"1")
        old.channel.close()
        new.channel.send(b"2")
        heard = await new.hears(1)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await new.gone.wait()
        return heard

    assert [(b"1", [])] == asyncio.run(scene())


@pytest.mark.parametrize("line", [b"0 no JSON\n", b"1 {}\n"])
def test_what_cannot_be_understood_ends_it_with_all_that_follows(line: bytes) -> None:
    async def scene() -> int:
        ours, theirs = socket.socketpair()
        side = Side(ours)
        with theirs:
            theirs.sendall(line + b"0 {}\n")
            async with asyncio.timeout(DEADLINE_SECONDS):
                await side.gone.wait()
        return side.came.qsize()

    assert 0 == asyncio.run(scene())
