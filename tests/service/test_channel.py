"""What one daemon says reaches the other, whole, in order and with its files."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from relayd.service import Channel

pytestmark = pytest.mark.system

DEADLINE_SECONDS = 120


class Side:
    """One end, and what came to it."""

    def __init__(self, end: socket.socket) -> None:
        self.heard: list[tuple[bytes, list[int]]] = []
        self.gone = asyncio.Event()
        self.channel = Channel(end, lambda message, files: self.heard.append((message, files)), self.gone.set)

    async def hears(self, number: int) -> list[tuple[bytes, list[int]]]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(self.heard) < number:
                await asyncio.sleep(0)
        return self.heard


def pair() -> tuple[Side, Side]:
    ours, theirs = socket.socketpair()
    return Side(ours), Side(theirs)


def test_messages_come_in_order_each_with_its_own_files(tmp_path: Path) -> None:
    async def scene() -> list[tuple[bytes, list[bytes]]]:
        old, new = pair()
        for name in ("a", "b", "c"):
            (tmp_path / name).write_text(name)
        files = [os.open(tmp_path / name, os.O_RDONLY) for name in ("a", "b", "c")]
        old.channel.send(b"{1}", files[:2])
        old.channel.send(b"{2}")
        old.channel.send(b"{3}", files[2:])
        heard = [(message, [os.read(one, 9) for one in passed]) for message, passed in await new.hears(3)]
        for descriptor in (*files, *(one for _, passed in new.heard for one in passed)):
            assert not os.get_inheritable(descriptor)
            os.close(descriptor)
        old.channel.close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await new.gone.wait()
        return heard

    assert [(b"{1}", [b"a", b"b"]), (b"{2}", []), (b"{3}", [b"c"])] == asyncio.run(scene())


def test_a_message_larger_than_the_socket_holds_comes_whole() -> None:
    async def scene() -> bytes:
        old, new = pair()
        large = b"x" * 2_000_000
        sending = asyncio.to_thread(old.channel.send, large)
        _, ((message, _), *_) = await asyncio.gather(sending, new.hears(1))
        for side in (old, new):
            side.channel.close()
        assert message == large
        return message

    assert 2_000_000 == len(asyncio.run(scene()))


def test_the_end_of_one_side_is_told_once_and_what_is_said_to_it_is_lost() -> None:
    async def scene() -> int:
        old, new = pair()
        new.channel.close()
        old.channel.send(b"{}")
        old.channel.send(b"{}")
        async with asyncio.timeout(DEADLINE_SECONDS):
            await old.gone.wait()
        old.channel.send(b"{}")
        return len(new.heard)

    assert 0 == asyncio.run(scene())
