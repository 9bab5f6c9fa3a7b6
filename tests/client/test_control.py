"""What a command gets from the daemon's control socket, and what it says when there is none."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from relayd.api.control import Verb, open_control
from relayd.client.control import Client
from relayd.client.unix import UnixConnection
from relayd.daemon.arguments import (
    ModelArguments,
    NoArguments,
    ReloadArguments,
    RestartArguments,
    StopArguments,
    TargetArguments,
    UnloadArguments,
    UpgradeArguments,
)
from relayd.daemon.givenreport import ConfigurationReport
from relayd.daemon.report import (
    PinReport,
    ReloadReport,
    ReplicasReport,
    StatusReport,
    StoppingReport,
    UpgradeReport,
)
from relayd.errors import DaemonError, DaemonSilentError, ModelNotFoundError, NoDaemonError

pytestmark = pytest.mark.system

NOTHING_CHANGED = ReloadReport(False, [], [], [], {}, [])
READY = ReplicasReport({"m#0": "ready"})
PINNED = PinReport("m", True, {"m#0": "ready"})
UPGRADED = UpgradeReport(1, 2, 7, "2", "1", 30.0)

Result = TypeVar("Result")


def asked(path: Path, verbs: dict[tuple[str, str], Verb], ask: Callable[[Client], Result]) -> Result:
    """Return what `ask` gets from a control socket with these verbs."""

    async def scene() -> Result:
        runner = await open_control(path, verbs)
        try:
            async with asyncio.timeout(120):
                return await asyncio.to_thread(ask, Client([path]))
        finally:
            await runner.cleanup()

    return asyncio.run(scene())


class Answers:
    """Answers with the same report, and keeps what it was asked with."""

    def __init__(self, report: msgspec.Struct) -> None:
        self.report = report
        self.arguments: Any = None

    async def __call__(self, arguments: msgspec.Struct) -> msgspec.Struct:
        self.arguments = arguments
        return self.report


@pytest.mark.parametrize(
    ("verb", "ask", "arguments", "report"),
    [
        (("GET", "status"), Client.status, NoArguments(), StatusReport(version="1")),
        (("GET", "configuration"), Client.configuration, NoArguments(), ConfigurationReport(key="k")),
        (("POST", "start"), lambda client: client.start("m"), TargetArguments("m"), READY),
        (("POST", "stop"), lambda client: client.stop("m"), StopArguments("m"), READY),
        (("POST", "drain"), Client.drain, TargetArguments(), READY),
        (("POST", "restart"), lambda client: client.restart("m"), RestartArguments("m"), READY),
        (("POST", "load"), lambda client: client.load("m"), ModelArguments("m"), READY),
        (("POST", "unload"), lambda client: client.unload("m#0"), UnloadArguments("m#0"), READY),
        (("POST", "pin"), lambda client: client.pin("m", pinned=True), ModelArguments("m"), PINNED),
        (("POST", "unpin"), lambda client: client.pin("m", pinned=False), ModelArguments("m"), PINNED),
        (("POST", "reload"), Client.reload, ReloadArguments(), NOTHING_CHANGED),
        (("POST", "upgrade"), lambda client: client.upgrade(3), UpgradeArguments(3), UPGRADED),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)  # fmt: skip
def test_each_verb_carries_its_arguments_and_its_report(
    tmp_path: Path,
    verb: tuple[str, str],
    ask: Callable[[Client], msgspec.Struct],
    arguments: msgspec.Struct,
    report: msgspec.Struct,
) -> None:
    answers = Answers(report)

    assert report == asked(tmp_path / "c.sock", {verb: Verb(type(arguments), answers)}, ask)
    assert arguments == answers.arguments


def test_the_daemon_that_is_stopped_is_named_by_its_pid(tmp_path: Path) -> None:
    answers = Answers(StoppingReport(7))
    verbs = {("POST", "stop"): Verb(StopArguments, answers)}

    assert 7 == asked(tmp_path / "c.sock", verbs, Client.stop_daemon)
    assert StopArguments(all=True) == answers.arguments


def test_a_refusal_keeps_its_code_and_its_remedy(tmp_path: Path) -> None:
    async def refuse(_arguments: TargetArguments) -> ReplicasReport:
        raise ModelNotFoundError("no model is called 'x'", remedy="There are: m#0.")

    verbs = {("POST", "start"): Verb(TargetArguments, refuse)}
    with pytest.raises(DaemonError) as refusal:
        asked(tmp_path / "c.sock", verbs, lambda client: client.start("x"))

    error = refusal.value
    assert ("model_not_found", "no model is called 'x'", "There are: m#0.") == (
        error.code, error.message, error.remedy
    )  # fmt: skip


def test_arguments_of_another_type_are_refused(tmp_path: Path) -> None:
    answers, path = Answers(READY), tmp_path / "c.sock"

    def send(_client: Client) -> tuple[int, dict[str, str]]:
        with closing(UnixConnection(path, 60.0)) as connection:
            connection.request("POST", "/start", b'{"target": 3}')
            response = connection.getresponse()
            return response.status, msgspec.json.decode(response.read())

    status, refusal = asked(path, {("POST", "start"): Verb(TargetArguments, answers)}, send)
    assert (400, "usage") == (status, refusal["code"])
    assert "invalid arguments: Expected `str | null`, got `int` - at `$.target`" == refusal["message"]
    assert answers.arguments is None


def test_a_verb_that_the_daemon_does_not_know_is_told_from_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(DaemonError) as unknown:
        asked(tmp_path / "c.sock", {}, Client.configuration)

    assert "is of another build" in unknown.value.message
    assert "relayd upgrade" in unknown.value.remedy


def test_the_first_socket_that_accepts_is_asked(tmp_path: Path) -> None:
    stale = tmp_path / "stale.sock"
    with closing(socket.socket(socket.AF_UNIX)) as gone:
        gone.bind(str(stale))
    verbs = {("GET", "status"): Verb(NoArguments, Answers(StatusReport(pid=7)))}
    sockets = [tmp_path / "none.sock", stale, tmp_path / "c.sock"]

    assert 7 == asked(tmp_path / "c.sock", verbs, lambda _: Client(sockets).status().pid)


def test_without_a_daemon_the_remedy_is_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match="relayd serve"):
        Client([tmp_path / "c.sock"]).status()


def test_a_daemon_that_does_not_answer_is_silent(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "c.sock"))
        listening.listen()

        with pytest.raises(DaemonSilentError, match=r"did not answer within 0\.05 s"):
            Client([tmp_path / "c.sock"]).status(timeout_seconds=0.05)


def test_a_daemon_that_closes_the_connection_is_silent(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as listening:
        listening.bind(str(tmp_path / "c.sock"))
        listening.listen()

        def accept_and_close() -> None:
            listening.accept()[0].close()

        closer = threading.Thread(target=accept_and_close)
        closer.start()
        with pytest.raises(DaemonSilentError, match="closed the connection"):
            Client([tmp_path / "c.sock"]).status()
        closer.join()
