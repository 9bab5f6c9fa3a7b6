"""What is the new daemon to the one it takes over from?"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from relayd.errors import UpgradeError
from relayd.handover import messages
from relayd.handover.channel import Channel
from relayd.handover.messages import Handshake, Running
from relayd.handover.predecessor import CHANNEL_VARIABLE
from relayd.scheduler import (
    Arrived,
    AttemptFailed,
    Dispatch,
    Event,
    Finished,
    Inherited,
    Refusal,
    Refuse,
    Ticket,
)

_NOT_FOR_IT = frozenset({"LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID"})
"""Meant for this process alone; the new daemon gets the listening sockets from it."""

_VOICE = (1, 2)
"""Standard output and error: what it says before it takes over is kept apart, for the error message."""

_END_SECONDS = 5.0
_LAST_LINES = 4


class Successor:
    """A daemon that was started with this one's own command line, to take over.

    Args:
        process: It.
        end: This side of the pair.
        said: What it has printed before it took over.
        answer: Carries out what its scheduler decides of requests that are still here.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        end: socket.socket,
        said: IO[bytes],
        answer: Callable[[Dispatch | Refuse], None],
    ) -> None:
        self._process = process
        self._said = said
        self._answer = answer
        self._handshake = Handshake()
        self._open: set[int] = set()
        self._channel = Channel(end, self._receive, self._lose)
        self.gone = False

    @classmethod
    def start(cls, environ: Mapping[str, str], answer: Callable[[Dispatch | Refuse], None]) -> "Successor":
        """Start the program that is installed now, as this one was started.

        Raises:
            UpgradeError: The system refused.
        """
        own = {name: value for name, value in environ.items() if name not in _NOT_FOR_IT}
        with contextlib.ExitStack() as kept:
            try:
                ours, theirs = map(kept.enter_context, socket.socketpair())
                said = kept.enter_context(tempfile.TemporaryFile())
                process = subprocess.Popen(  # noqa: S603 - our own command line
                    _own_command(),
                    env=own | {CHANNEL_VARIABLE: str(theirs.fileno())},
                    stdout=said,
                    stderr=said,
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:
                raise UpgradeError(f"a new daemon cannot be started: {error.strerror}") from error
            kept.pop_all()
        theirs.close()
        return cls(process, ours, said, answer)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def prepared(self) -> messages.Prepared:
        """Wait until it knows what to run; raises ConnectionError when it ends instead."""
        return await self._handshake.expect(messages.Prepared)

    async def ready(self, lock: int, listening: Sequence[int]) -> None:
        """Offer what it needs, and wait until it could go on with that.

        Args:
            lock: Descriptor of the lock.
            listening: Descriptors of the listening sockets.

        Raises:
            ConnectionError: It has ended.
        """
        self._channel.send(messages.encode(messages.Offer()), (lock, *_VOICE, *listening))
        await self._handshake.expect(messages.Ready)

    def commit(self, running: Sequence[Inherited], waiting: Sequence[Ticket], stopped: Sequence[str]) -> None:
        """Leave everything to it."""
        self._open = {one.ticket.id for one in running} | {ticket.id for ticket in waiting}
        told = messages.Commit([Running.of(one) for one in running], list(waiting), list(stopped))
        self._channel.send(messages.encode(told))

    async def taken(self) -> None:
        """Wait until clients reach it; raises ConnectionError when it ends instead."""
        await self._handshake.expect(messages.Taken)

    def post(self, event: Event) -> None:
        """Tell its scheduler what happened to a request that is here."""
        told: messages.Arrive | messages.Return | messages.Finish
        match event:
            case Arrived(ticket):
                self._open.add(ticket.id)
                told = messages.Arrive(ticket)
            case AttemptFailed(ticket_id, sent):
                told = messages.Return(ticket_id, sent)
            case Finished(ticket_id, exchange):
                self._open.discard(ticket_id)
                told = messages.Finish(ticket_id, exchange)
            case _:
                raise TypeError(f"{event!r} is none of a daemon that has handed over")
        self._channel.send(messages.encode(told))
        if self.gone:
            self._refuse_all()

    def pass_on(self, connection: int) -> None:
        """Give it a client's connection; the descriptor is closed here."""
        self._channel.send(messages.encode(messages.Connection()), [connection])
        os.close(connection)

    async def abandon(self) -> str:
        """End it, and return its last words or how it ended."""
        self._channel.close()
        if self.gone:  # it ends by itself, and says why
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _END_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
        status = await asyncio.to_thread(self._process.wait)
        self._said.seek(0)
        words = _last_words(self._said.read().decode(errors="replace"))
        self._said.close()
        if status < 0:
            return f"it ended by {signal.Signals(-status).name}{words and f' after: {words}'}"
        return words or f"it ended with status {status}"

    def give_up(self) -> None:
        """End whoever waits for its next word."""
        self._handshake.put(None)

    def kill(self) -> None:
        """End it at once: it has the lock, and does not go on."""
        self._process.kill()

    def close(self) -> None:
        """Say no more to it."""
        self._channel.close()
        self._said.close()

    def _receive(self, message: bytes, _descriptors: list[int]) -> None:
        match messages.decode_from_new(message):
            case messages.Placed() | messages.Denied() as decided:
                self._answer(decided.effect())
            case step:
                self._handshake.put(step)

    def _lose(self) -> None:
        self.gone = True
        self._handshake.put(None)
        self._refuse_all()

    def _refuse_all(self) -> None:
        """Refuse what still waits for a slot; nobody else will give one."""
        for ticket_id in list(self._open):
            reason = "the daemon that took over has ended"
            self._answer(Refuse(ticket_id, Refusal.UNAVAILABLE, reason, 1.0))


def _own_command() -> list[str]:
    """Return the command that started this process; a program that was started by its name keeps it."""
    program = sys.orig_argv[1]
    if Path(program).is_file() and os.access(program, os.X_OK):
        return sys.orig_argv[1:]
    return [sys.executable, *sys.orig_argv[1:]]


def _last_words(said: str) -> str:
    """Return why a daemon ended, from what it printed: an error as JSON, or as lines for people."""
    lines = [line.removeprefix("relayd: ") for line in said.splitlines() if not line.startswith("warning: ")]
    with contextlib.suppress(msgspec.DecodeError, IndexError, KeyError, TypeError):
        return str(msgspec.json.decode(lines[-1])["error"]["message"])
    return " ".join(lines[-_LAST_LINES:])
