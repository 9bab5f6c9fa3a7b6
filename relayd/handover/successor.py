"""The new daemon, as the old one sees it while it hands over (successor)."""

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

from relayd import __version__
from relayd.errors import UpgradeError
from relayd.handover import messages
from relayd.handover.channel import PEER_GONE, Channel
from relayd.handover.messages import Handshake
from relayd.handover.predecessor import PROTOCOL_VARIABLE
from relayd.handover.state import HandoverState
from relayd.lock import CHANNEL_VARIABLE
from relayd.scheduler import Arrived, AttemptFailed, Dispatch, Event, Finished, Refusal, Refuse

_OWN_VARIABLES = frozenset({"LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID"})
"""Meant for this process alone; the new daemon gets the listening sockets from it."""

_STDIO = (1, 2)
"""Standard output and error. What the new daemon prints before it takes over is kept for error messages."""

_END_SECONDS = 5.0
_LAST_LINES = 4


class Successor:
    """A daemon that was started with this one's own command line, to take over.

    Args:
        process: Its process.
        end: This side of the pair.
        output: What it has printed before it took over.
        answer: Carries out what its scheduler decides of requests that are still here.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        end: socket.socket,
        output: IO[bytes],
        answer: Callable[[Dispatch | Refuse], None],
    ) -> None:
        self._process = process
        self._output = output
        self._answer = answer
        self._handshake = Handshake()
        self._open: set[int] = set()
        self._channel = Channel(end, self._receive, self._lose)
        self.gone = False

    def __repr__(self) -> str:
        state = "gone" if self.gone else "alive"
        return f"<Successor pid {self.pid} {state}: {len(self._open)} requests here>"

    @classmethod
    def start(cls, environ: Mapping[str, str], answer: Callable[[Dispatch | Refuse], None]) -> "Successor":
        """Start the program that is installed now, as this one was started.

        Raises:
            UpgradeError: The system refused.
        """
        with contextlib.ExitStack() as kept:
            try:
                ours, theirs = map(kept.enter_context, socket.socketpair())
                output = kept.enter_context(tempfile.TemporaryFile())
                process = subprocess.Popen(  # noqa: S603 - our own command line
                    _own_command(),
                    env=successor_environment(environ, theirs.fileno()),
                    stdout=output,
                    stderr=output,
                    pass_fds=(theirs.fileno(),),
                )
            except OSError as error:
                raise UpgradeError(f"a new daemon cannot be started: {error.strerror}") from error
            kept.pop_all()
        theirs.close()
        return cls(process, ours, output, answer)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def prepared(self) -> messages.Prepared:
        """Wait until it knows what to run.

        Raises:
            ConnectionError: It has ended.
            UpgradeError: It has another protocol. Nothing was given to it.
        """
        new = await self._handshake.expect(messages.Prepared)
        if new.protocol != messages.PROTOCOL:
            raise UpgradeError(
                f"the installed relayd {new.version} hands over by {_named(new.protocol)}, "
                f"the running relayd {__version__} by {_named(messages.PROTOCOL)}",
                remedy="Restart the service instead.",
            )
        return new

    async def standby(self, lock: int, listening: Sequence[int], state: HandoverState) -> None:
        """Offer what it needs, and wait until it could continue with that.

        Args:
            lock: Descriptor of the lock.
            listening: Descriptors of the listening sockets.
            state: What would go over now.

        Raises:
            ConnectionError: It has ended, or could not read the state.
        """
        offered = messages.encode(messages.Offered.of(state))
        self._channel.send(offered, (lock, *_STDIO, *listening))
        await self._handshake.expect(messages.Standby)

    def commit(self, state: HandoverState) -> None:
        """Leave everything to it."""
        self._open = {one.ticket.id for one in state.running} | {ticket.id for ticket in state.waiting}
        self._channel.send(messages.encode(messages.Commit.of(state)))

    async def taken_over(self) -> None:
        """Wait until clients reach it; raises ConnectionError when it ends instead."""
        await self._handshake.expect(messages.TakenOver)

    def post(self, event: Event) -> None:
        """Send its scheduler what happened to a request that is here."""
        message: messages.TicketArrived | messages.TicketAttemptFailed | messages.TicketFinished
        match event:
            case Arrived(ticket):
                self._open.add(ticket.id)
                message = messages.TicketArrived(ticket)
            case AttemptFailed(ticket_id, sent, hung_up, deadline):
                message = messages.TicketAttemptFailed(ticket_id, sent, hung_up, deadline)
            case Finished(ticket_id, exchange):
                self._open.discard(ticket_id)
                message = messages.TicketFinished(ticket_id, exchange)
            case _:
                raise TypeError(f"{event!r} cannot come from a daemon that has handed over")
        self._channel.send(messages.encode(message))
        if self.gone:
            self._refuse_all()

    def pass_on(self, connection: int) -> None:
        """Give it a client's connection; the descriptor is closed here."""
        self._channel.send(messages.encode(messages.IdleConnection()), [connection])
        os.close(connection)

    async def abandon(self) -> str:
        """End it, and return its last output or how it ended."""
        self._channel.close()
        if self.gone:  # it ends by itself, and prints why
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _END_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
        status = await asyncio.to_thread(self._process.wait)
        self._output.seek(0)
        lines = last_lines(self._output.read().decode(errors="replace"))
        self._output.close()
        if status < 0:
            return f"it ended by {signal.Signals(-status).name}{lines and f' after: {lines}'}"
        return lines or f"it ended with status {status}"

    def cancel(self) -> None:
        """Make the step that waits for it fail: this daemon is about to end."""
        self._handshake.end(PEER_GONE)

    def kill(self) -> None:
        """Send it SIGKILL: it has the lock, and does not go on."""
        self._process.kill()

    def close(self) -> None:
        """Close the channel to it."""
        self._channel.close()
        self._output.close()

    def _receive(self, raw: bytes, _descriptors: list[int]) -> None:
        match messages.decode_from_new(raw):
            case messages.TicketPlaced() | messages.TicketRefused() as decided:
                self._answer(decided.effect())
            case step:
                self._handshake.put(step)

    def _lose(self, reason: str) -> None:
        self.gone = True
        self._handshake.end(reason)
        self._refuse_all()

    def _refuse_all(self) -> None:
        """Refuse what still waits for a slot: no scheduler will give one."""
        for ticket_id in list(self._open):
            reason = "the daemon that took over has ended"
            self._answer(Refuse(ticket_id, Refusal.UNAVAILABLE, reason, 1.0))


def successor_environment(environ: Mapping[str, str], channel: int) -> dict[str, str]:
    """Return the environment of a new daemon, which finds its end of the pair and our protocol in it.

    Args:
        environ: Of this daemon.
        channel: Descriptor of the new daemon's end.
    """
    own = {name: value for name, value in environ.items() if name not in _OWN_VARIABLES}
    return own | {CHANNEL_VARIABLE: str(channel), PROTOCOL_VARIABLE: str(messages.PROTOCOL)}


def _named(protocol: int) -> str:
    return f"protocol {protocol}" if protocol else "a protocol without a number, as earlier builds do"


def _own_command() -> list[str]:
    """Return the command that started this process; a program that was started by its name keeps it."""
    program = sys.orig_argv[1]
    if Path(program).is_file() and os.access(program, os.X_OK):
        return sys.orig_argv[1:]
    return [sys.executable, *sys.orig_argv[1:]]


def last_lines(output: str) -> str:
    """Return why a daemon ended, from what it printed: an error as JSON, or as lines for people."""
    lines = [
        line.strip().removeprefix("relayd: ")
        for line in output.splitlines()
        if not line.startswith("warning: ")
    ]
    with contextlib.suppress(msgspec.DecodeError, IndexError, KeyError, TypeError):
        error = msgspec.json.decode(lines[-1])["error"]
        lines = [error["message"], *error.get("remedy", "").splitlines()]
    return " ".join(lines[-_LAST_LINES:])
