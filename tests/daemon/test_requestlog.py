"""Which requests get a line, what is in it, and what a broken disk costs."""

import asyncio
import json
import resource
import signal
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from relayd.daemon.requestlog import RequestLog, Requests, line
from relayd.scheduler import Ask, Ended, Exchange, Usage
from relayd.units import Bytes

pytestmark = pytest.mark.system

MANY = Bytes(1 << 20)


class FixedClock:
    """1,000 s after the machine's start, which was at the beginning of 1970."""

    def monotonic(self) -> float:
        return 1000.0

    def wall(self) -> float:
        return 1000.0


def exchange(ended: Ended = Ended.DONE, request_id: str = "r") -> Exchange:
    return Exchange(ask=Ask("m", key="team"), request_id=request_id, ended=ended, ended_at=1000.0)


def log_to(path: Path, requests: Requests = "all", *, max_bytes: Bytes = MANY) -> RequestLog:
    log = RequestLog(path, FixedClock())
    log.configure(requests, max_bytes=max_bytes, backups=1)
    return log


def written(log: RequestLog, exchanges: Iterable[Exchange]) -> None:
    async def scene() -> None:
        for one in exchanges:
            log.note(one)
        await log.close()

    asyncio.run(scene())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def test_a_key_without_retention_leaves_no_line(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "requests.jsonl", FixedClock(), lambda key: key != "team")
    log.configure("all", max_bytes=MANY, backups=1)

    written(log, [exchange(), exchange(Ended.REFUSED), Exchange(ask=Ask("m", key="other"), ended_at=1000.0)])

    assert ["other"] == [one["key"] for one in lines(tmp_path / "requests.jsonl")]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [("off", set()), ("errors", {"refused", "cut"}), ("all", {ended.value for ended in Ended})],
)
def test_the_setting_decides_which_requests_are_logged(
    tmp_path: Path, requests: Requests, expected: set[str]
) -> None:
    path = tmp_path / "logs" / "requests.jsonl"

    written(log_to(path, requests), map(exchange, Ended))

    assert expected == {one["ended"] for one in lines(path)}


def test_a_line_holds_what_happened_and_no_text() -> None:
    one = Exchange(
        ask=Ask("m", 2, "team", "batch", (1, 2), 5.0, stream=True),
        request_id="r",
        path="/v1/completions",
        ended=Ended.CUT,
        status=200,
        code="upstream_failed",
        replica="m#0",
        incarnation=3,
        attempts=2,
        arrived_at=10.0,
        queued_at=10.1,
        placed_at=10.25,
        first_byte_at=11.0,
        ended_at=12.0,
        sent_bytes=400,
        usage=Usage(9, 4, 7, 1.25, 70.0),
    )

    assert {
        "time": "1970-01-01T00:01:52.000Z",
        "request_id": "r",
        "path": "/v1/completions",
        "model": "m",
        "key": "team",
        "class": "batch",
        "stream": True,
        "ended": "cut",
        "status": 200,
        "code": "upstream_failed",
        "replica": "m#0",
        "incarnation": 3,
        "attempts": 2,
        "continued": 0,
        "queue_ms": 150.0,
        "first_byte_ms": 1000.0,
        "total_ms": 2000.0,
        "sent_bytes": 400,
        "prompt_tokens": 9,
        "cached_tokens": 4,
        "completion_tokens": 7,
        "prompt_ms": 1.2,
        "completion_ms": 70.0,
    } == json.loads(line(one, 100.0))


def test_what_never_happened_has_no_time() -> None:
    found = json.loads(line(Exchange(ask=Ask("m"), ended=Ended.REFUSED), 0.0))

    assert [None, None] == [found["queue_ms"], found["first_byte_ms"]]
    assert "prompt_tokens" not in found


def test_a_log_that_is_full_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    log = log_to(path, max_bytes=Bytes(10))

    written(log, [exchange(request_id="old")])
    written(log, [exchange(request_id="new")])

    assert ["new"] == [one["request_id"] for one in lines(path)]
    assert ["old"] == [one["request_id"] for one in lines(path.with_name("requests.jsonl.1"))]


def test_two_daemons_that_write_and_rotate_one_log_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"

    def write(daemon: int) -> None:
        log = RequestLog(path, FixedClock())
        log.configure("all", max_bytes=Bytes(500), backups=200)
        for number in range(40):
            written(log, [exchange(request_id=f"{daemon}.{number}")])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))

    found = [one["request_id"] for file in tmp_path.glob("requests.jsonl*") for one in lines(file)]
    assert sorted(f"{daemon}.{number}" for daemon in range(2) for number in range(40)) == sorted(found)


def test_lines_that_could_not_be_written_are_counted_in_the_next(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "requests.jsonl"
    path.parent.write_text("a file where a folder should be")
    log = log_to(path)

    written(log, [exchange(), exchange()])
    path.parent.unlink()
    written(log, [exchange(request_id="next")])

    assert ["next"] == [one["request_id"] for one in lines(path) if "request_id" in one]
    assert [2] == [one["lost_lines"] for one in lines(path) if "lost_lines" in one]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of a file by prlimit")
def test_half_a_line_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    log = log_to(path)
    written(log, [exchange(request_id="first")])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, limits[1]))
    try:
        written(log, [exchange(request_id="lost")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    written(log, [exchange(request_id="next")])

    assert ["first", "next"] == [one["request_id"] for one in lines(path) if "request_id" in one]
    assert [1] == [one["lost_lines"] for one in lines(path) if "lost_lines" in one]


def test_what_waits_for_a_disk_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"

    written(log_to(path), [exchange()] * 5000)

    assert 4096 == sum("request_id" in one for one in lines(path))
    assert [904] == [one["lost_lines"] for one in lines(path) if "lost_lines" in one]


def test_a_log_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"

    written(log_to(path), [exchange()])

    assert 0o600 == path.stat().st_mode & 0o777
