"""What `relayd logs` shows of which files, to whom."""

import json
import os
import pty
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from relayd.cli import logs
from relayd.errors import ModelNotFoundError, UsageError
from relayd.supervisor.logs import mark, open_log, show_local, show_time
from tests.daemons import home_environ

pytestmark = pytest.mark.system

NINE = 1795165200.0
"""2026-11-20T09:00:00Z."""


@pytest.fixture
def folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the logs, in a home of its own."""
    for name, value in home_environ(home).items():
        monkeypatch.setenv(name, value)
    made = home / "state" / "relayd" / "logs"
    made.mkdir(parents=True)
    return made


def write(folder: Path, replica: str, *lines: str, wall: float = NINE) -> None:
    descriptor = open_log(folder / f"{replica.replace('#', '.')}.log")
    mark(descriptor, replica, 1, wall)
    os.write(descriptor, "".join(f"{line}\n" for line in lines).encode())
    os.close(descriptor)


def shown(capsys: pytest.CaptureFixture[str], target: str | None = None, **options: object) -> list[str]:
    logs.logs(target, **{"lines": None, "since": None, "grep": None, **options})  # type: ignore[arg-type]  # as typed
    return capsys.readouterr().out.splitlines()


def test_a_model_is_all_of_its_replicas_in_the_order_of_time(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "m#0", "0.01.000.000 first", "0.03.000.000 third")
    write(folder, "m#1", "0.02.000.000 second")
    write(folder, "m.5#0", "0.01.500.000 another model's")

    words = [line.split()[-1] for line in shown(capsys, "m", lines=3)]
    assert ["first", "second", "third"] == words
    assert "second" in shown(capsys, "m#1")[-1]
    assert not shown(capsys, "m#1")[-1].startswith("m#1: "), "one log needs no name on each line"


def test_the_request_log_is_shown_as_it_is_and_since_a_time(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    early, late = (
        json.dumps(
            {"time": f"2026-11-20T0{hour}:00:00.000Z", "request_id": f"r{hour}"}, separators=(",", ":")
        )
        for hour in (8, 9)
    )
    (folder / "relayd.log").write_text("2026-11-20T09:00:00.000Z INFO    daemon.listening\n")
    (folder / "requests.jsonl.1").write_text(f"{early}\n")
    (folder / "requests.jsonl").write_text(f"{late}\n")

    assert [early, late] == shown(capsys, requests=True)
    assert [late] == shown(capsys, requests=True, as_json=True, lines=1)
    assert [late] == shown(capsys, requests=True, since="2026-11-20T08:30:00Z")
    with pytest.raises(UsageError, match="exclude each other"):
        logs.logs("m", requests=True)


def test_without_a_request_log_the_setting_is_named(folder: Path) -> None:
    (folder / "relayd.log").touch()

    with pytest.raises(ModelNotFoundError, match="no request log") as missing:
        logs.logs(requests=True)
    assert "logs.requests" in missing.value.remedy


def test_without_a_target_it_is_the_daemon(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "relayd.log").write_text("2026-11-20T09:00:00.000Z INFO    daemon.listening\n")

    assert [f"{show_local(NINE)} INFO    daemon.listening"] == shown(capsys)
    assert ["2026-11-20T09:00:00.000Z INFO    daemon.listening"] == shown(capsys, raw=True)


def test_lines_of_daemon_and_replicas_begin_with_one_form_of_time(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "relayd.log").write_text("2026-11-20T09:00:04.206Z INFO    replica.ready\n")
    write(folder, "m#0", "0.04.206.261 I srv  main: ready", "a line of its own")

    (daemon,) = shown(capsys)
    begin, ready, more = shown(capsys, "m")
    moment = show_local(NINE + 4.206261)
    assert daemon == f"{moment} INFO    replica.ready"
    assert begin == f"{show_local(NINE)} relayd: m#0 incarnation 1 begins"
    assert [f"{moment} I srv  main: ready", f"{moment} a line of its own"] == [ready, more]
    assert datetime.fromisoformat(moment).timestamp() == pytest.approx(NINE + 4.206)


def test_the_probe_that_relayd_makes_without_a_key_is_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(
        folder, "m#0", "0.00.900.000 W srv    operator(): unauthorized: Invalid API Key", "0.01.000.000 fine"
    )

    assert ["begins", "fine"] == [line.split()[-1] for line in shown(capsys, "m")]
    assert 3 == len(shown(capsys, "m", raw=True))


@pytest.mark.parametrize(("day", "count"), [("today", 1), ("yesterday", 2), ("Yesterday", 2)])
def test_a_day_begins_at_its_midnight(
    folder: Path, capsys: pytest.CaptureFixture[str], day: str, count: int
) -> None:
    midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    moments = (midnight - timedelta(days=1, hours=-12), midnight + timedelta(seconds=1))
    stamps = (show_time(moment.timestamp()) for moment in (midnight - timedelta(days=2), *moments))
    (folder / "relayd.log").write_text("".join(f"{stamp} INFO    x.y\n" for stamp in stamps))

    assert count == len(shown(capsys, since=day))


def test_following_begins_with_a_few_lines(folder: Path, home: Path) -> None:
    write(folder, "m#0", *(f"0.00.{number:03}.000 line {number}" for number in range(200)))
    command = [sys.executable, "-m", "relayd", "logs", "m", "-f"]
    with subprocess.Popen(command, env=home_environ(home), stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline().endswith(" line 190\n")
        following.terminate()


def test_since_and_grep_choose_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "m#0", "0.01.000.000 an error", "1.00.000.000 fine", "2.00.000.000 an error again")

    assert 2 == len(shown(capsys, "m", since="2026-11-20T09:00:30Z"))
    assert [f"{show_local(NINE + 120)} an error again"] == shown(
        capsys, "m", since="2026-11-20T09:01:30+00:00", grep="err"
    )
    assert [] == shown(capsys, "m", since="1m")
    assert 4 == len(shown(capsys, "m", since="9000d ago"))
    assert [f"{show_local(NINE + 120)} an error again"] == shown(capsys, "m", grep="error", lines=1)


def test_json_tells_replica_time_and_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "m.0.log").write_text("from before\n")
    write(folder, "m#0", "0.01.250.000 \x1b[31mred")
    first, *_, last = map(json.loads, shown(capsys, "m", as_json=True))

    assert {"replica": "m#0", "line": "from before"} == first
    expected = {"replica": "m#0", "time": "2026-11-20T09:00:01.250Z", "line": "0.01.250.000 \x1b[31mred"}
    assert expected == last


@pytest.mark.parametrize("options", [{"since": "tomorrow"}, {"since": "10"}, {"grep": "("}])
def test_what_makes_no_sense_is_a_usage_error(
    folder: Path, capsys: pytest.CaptureFixture[str], options: dict[str, str]
) -> None:
    write(folder, "m#0")

    with pytest.raises(UsageError, match="--"):
        shown(capsys, "m", **options)


def test_an_unknown_model_names_those_that_have_logs(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "m#0")

    with pytest.raises(ModelNotFoundError, match="m#0"):
        shown(capsys, "n")


@pytest.mark.parametrize(("options", "kept"), [((), False), (("--raw",), True)])
def test_r50_a_terminal_is_commanded_by_nobody_who_was_not_asked(
    folder: Path, home: Path, options: tuple[str, ...], kept: bool
) -> None:
    write(folder, "m#0", "evil \x1b]0;title\x07\u202ebidi")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "relayd", "logs", "m", *options]
    subprocess.run(command, stdout=theirs, env=home_environ(home), check=True)
    os.close(theirs)
    text = os.read(ours, 10_000)
    os.close(ours)

    assert b"evil" in text
    assert kept == (b"\x1b]0" in text)
    assert kept == ("\u202e".encode() in text)


def test_what_is_no_terminal_gets_every_byte(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "m#0", "evil \x1b]0;title\x07")

    assert f"{show_local(NINE)} evil \x1b]0;title\x07" == shown(capsys, "m")[-1]
    assert "evil \x1b]0;title\x07" == shown(capsys, "m", raw=True)[-1]
