"""What an old daemon sends its successor, and what it makes of what comes back."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from relayd.errors import UpgradeError
from relayd.handover import HandoverState, Successor, messages
from relayd.handover.successor import last_lines, successor_environment
from relayd.scheduler import Arrived, Ask, AttemptFailed, Dispatch, Finished, Refusal, Refuse, Tick, Ticket
from tests.handover.record import DATA, EXCHANGE, PORT, STATE

pytestmark = pytest.mark.system

Result = TypeVar("Result")


def ticket(number: int) -> Ticket:
    return Ticket(number, Ask("m"))


class OldDaemon:
    """An old daemon's view of a new one, whose end of the pair is `new`.

    Args:
        script: What the process of the new daemon runs.
    """

    def __init__(self, script: str = "import time; time.sleep(600)") -> None:
        ours, self.new = socket.socketpair()
        self.new.setblocking(False)
        output = tempfile.TemporaryFile()  # noqa: SIM115 - the successor owns it
        self.process = subprocess.Popen([sys.executable, "-c", script], stdout=output, stderr=output)
        self.answers: list[Dispatch | Refuse] = []
        self.successor = Successor(self.process, ours, output, self.answers.append)

    def receive(self, *sent: messages.FromNew | bytes) -> None:
        """Have the new daemon send all of this."""
        raw = (one if isinstance(one, bytes) else messages.encode(one) for one in sent)
        self.new.sendall(b"".join(b"0 %b\n" % one.strip() for one in raw))

    async def sent(self) -> list[messages.FromOld]:
        """Return what the new daemon has got, files aside."""
        lines = (await asyncio.get_running_loop().sock_recv(self.new, 1 << 16)).splitlines()
        return [messages.decode_from_old(line.partition(b" ")[2]) for line in lines]

    def close(self) -> None:
        self.successor.close()
        self.new.close()
        self.process.kill()
        self.process.wait()


def played(scene: Coroutine[Any, Any, Result]) -> Result:
    async def within_deadline() -> Result:
        async with asyncio.timeout(120):
            return await scene

    return asyncio.run(within_deadline())


@pytest.mark.parametrize(
    ("prepared", "named"),
    [
        ((DATA / "unnumbered" / "Prepared.json").read_bytes(), "a protocol without a number"),
        (messages.Prepared("9.9", "x", messages.PROTOCOL + 1), f"protocol {messages.PROTOCOL + 1}"),
    ],
    ids=["of a build without a number", "of a later build"],
)
def test_another_protocol_is_refused_before_anything_is_sent(
    prepared: bytes | messages.Prepared, named: str
) -> None:
    async def scene() -> tuple[UpgradeError, bytes]:
        old = OldDaemon()
        old.receive(prepared)
        with pytest.raises(UpgradeError) as refusal:
            await old.successor.prepared()
        old.successor.close()
        received = await asyncio.get_running_loop().sock_recv(old.new, 1)
        old.close()
        return refusal.value, received

    error, received = played(scene())
    assert b"" == received
    assert named in error.message
    assert f"by protocol {messages.PROTOCOL}" in error.message
    assert "Restart the service instead." == error.remedy


def test_the_offer_shows_the_state_and_shares_the_files() -> None:
    async def scene() -> tuple[messages.FromOld, int]:
        old = OldDaemon()
        old.receive(messages.Prepared("1", "x", messages.PROTOCOL), messages.Standby())
        await old.successor.prepared()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            await old.successor.standby(listening.fileno(), [listening.fileno()], STATE)
        raw, files, *_ = socket.recv_fds(old.new, 1 << 16, 16)
        for descriptor in files:
            os.close(descriptor)
        old.close()
        return messages.decode_from_old(raw.strip().partition(b" ")[2]), len(files)

    assert (messages.Offered.of(STATE), 4) == played(scene())


def test_what_happens_here_after_the_commit_is_sent() -> None:
    async def scene() -> list[messages.FromOld]:
        old = OldDaemon()
        old.successor.commit(STATE)
        failed = AttemptFailed(9, sent=True, hung_up=True, deadline=7.5)
        for event in (Arrived(ticket(9)), failed, Finished(9, EXCHANGE)):
            old.successor.post(event)
        with pytest.raises(TypeError):
            old.successor.post(Tick())
        sent = await old.sent()
        old.close()
        return sent

    assert [
        messages.Commit.of(STATE),
        messages.TicketArrived(ticket(9)),
        messages.TicketAttemptFailed(9, sent=True, hung_up=True, deadline=7.5),
        messages.TicketFinished(9, EXCHANGE),
    ] == played(scene())


def test_what_the_new_scheduler_decides_is_carried_out_here() -> None:
    async def scene() -> list[Dispatch | Refuse]:
        old = OldDaemon()
        placed = messages.TicketPlaced(1, messages.SentEndpoint.of(PORT))
        refused = messages.TicketRefused(2, Refusal.QUEUE_FULL.value, "r", 2.0)
        old.receive(placed, refused, messages.TakenOver())
        await old.successor.taken_over()
        old.close()
        return old.answers

    assert [Dispatch(1, PORT), Refuse(2, Refusal.QUEUE_FULL, "r", 2.0)] == played(scene())


def test_requests_that_wait_for_a_daemon_that_ends_are_refused_each_once() -> None:
    async def scene() -> list[int]:
        old = OldDaemon()
        old.successor.commit(HandoverState(waiting=(ticket(1), ticket(2))))
        old.successor.post(Finished(1))
        old.new.close()
        with pytest.raises(ConnectionError):
            await old.successor.taken_over()
        refused = [one.ticket_id for one in old.answers]
        old.answers.clear()
        old.successor.post(Finished(2))
        old.successor.post(Arrived(ticket(3)))
        late = [one.ticket_id for one in old.answers]
        old.close()
        return refused + late

    assert [2, 3] == played(scene())


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("print('relayd: a.toml:2: unknown key')", "a.toml:2: unknown key"),
        ("raise SystemExit(3)", "it ended with status 3"),
        ("import os; os.abort()", f"it ended by {signal.SIGABRT.name}"),
    ],
)
def test_a_new_daemon_that_ended_by_itself_is_quoted(script: str, expected: str) -> None:
    async def scene() -> str:
        old = OldDaemon(script)
        old.new.close()
        with pytest.raises(ConnectionError):
            await old.successor.prepared()
        return await old.successor.abandon()

    assert expected == played(scene())


def test_a_new_daemon_that_hangs_is_killed() -> None:
    async def scene() -> str:
        old = OldDaemon()
        ended = await old.successor.abandon()
        old.new.close()
        return ended

    assert "it ended by SIGKILL" == played(scene())


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (["warning: runs as root", "relayd: no engine", "  Install one: relayd engine install"],
         "no engine Install one: relayd engine install"),
        (['{"event": "x"}', '{"error": {"code": "c", "message": "no engine", "remedy": "Install one."}}'],
         "no engine Install one."),
        (['{"error": {"message": "no engine"}}'], "no engine"),
        (["1", "2", "3", "4", "5"], "2 3 4 5"),
        ([], ""),
    ],
)  # fmt: skip
def test_the_last_lines_say_why_with_the_remedy(output: Sequence[str], expected: str) -> None:
    assert expected == last_lines("\n".join(output))


def test_the_environment_names_the_channel_and_the_protocol_and_drops_what_is_this_process_s_own() -> None:
    environ = {
        "PATH": "/bin",
        "LISTEN_FDS": "1",
        "LISTEN_PID": "7",
        "WATCHDOG_PID": "7",
        "RELAYD_HANDOVER": "3",
    }

    protocol = str(messages.PROTOCOL)
    assert {"PATH": "/bin", "RELAYD_HANDOVER": "9", "RELAYD_HANDOVER_PROTOCOL": protocol} == (
        successor_environment(environ, 9)
    )
