"""Ten thousand connections at a time, from several addresses: half idle, half within a head."""

import asyncio
import socket
from contextlib import suppress

from tests.attack.outcome import Outcome

CONNECTIONS = 10_000

_ADDRESSES = 20
"""Clients' addresses, 127.0.0.2 and the next: what one address may hold is a limit of its own."""

_AT_ONCE = 100
_HEAD_BEGUN = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


async def crowd(port: int, connections: int = CONNECTIONS) -> list[Outcome]:
    """Open so many connections, have them stay until the last is there, and end them all.

    Returns:
        One outcome a connection: status 200 for one that was let in, and stayed or gave way to others; 503
        for one that was answered so; 0 for one that could not be made.
    """
    held: list[socket.socket] = []
    turns = asyncio.Semaphore(_AT_ONCE)
    try:
        outcomes = await asyncio.gather(*(_come(port, number, held, turns) for number in range(connections)))
        return [*outcomes]
    finally:
        for one in held:
            one.close()


async def _come(port: int, number: int, held: list[socket.socket], turns: asyncio.Semaphore) -> Outcome:
    loop, one = asyncio.get_running_loop(), socket.socket()
    held.append(one)
    one.setblocking(False)
    status = 0
    async with turns:
        with suppress(OSError, TimeoutError):
            one.bind((f"127.0.0.{2 + number % _ADDRESSES}", 0))
            async with asyncio.timeout(30):
                await loop.sock_connect(one, ("127.0.0.1", port))
            status = 200
            if number % 2:
                await loop.sock_sendall(one, _HEAD_BEGUN)
            with suppress(BlockingIOError):
                status = _status_of(one.recv(1 << 12))
    return Outcome("crowd", "half a head" if number % 2 else "idle", status)


def _status_of(answer: bytes) -> int:
    """Return the status of an answer; nothing is a connection that gave way to others."""
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 200
