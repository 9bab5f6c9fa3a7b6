"""Do kept responses outlive the daemon where that is asked for, within bounds, and nowhere else?"""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relayd.api.kept import KEPT_SECONDS, MOST_KEPT, KeptResponses
from relayd.daemon.responses import FILE, KeptOnDisk
from tests.daemon.test_keys_served import ask
from tests.daemons import DEADLINE_SECONDS, Daemon


class Clock:
    """A clock that a test sets: another daemon counts from elsewhere."""

    def __init__(self, monotonic: float = 0.0, wall: float = 1_000_000.0) -> None:
        self.times = [monotonic, wall]

    def monotonic(self) -> float:
        return self.times[0]

    def wall(self) -> float:
        return self.times[1]


def opened(state: Path, clock: Clock, *, enabled: bool = True) -> tuple[KeptResponses, KeptOnDisk]:
    kept = KeptResponses(clock)
    on_disk = KeptOnDisk(kept, clock)
    asyncio.run(on_disk.open(state, enabled=enabled))
    return kept, on_disk


def response(number: int = 1) -> dict[str, Any]:
    return {"id": f"resp_{number}", "output": [{"type": "message", "id": f"msg_{number}00"}]}


def written(state: Path, clock: Clock, count: int = 1) -> None:
    kept, on_disk = opened(state, clock)
    for number in range(1, count + 1):
        kept.keep("key_1", response(number), [{"role": "user", "content": "hello"}])
    asyncio.run(on_disk.save())


@pytest.mark.system
def test_a_response_outlives_the_daemon_for_the_key_that_made_it(tmp_path: Path) -> None:
    written(tmp_path, Clock())

    kept, _ = opened(tmp_path, Clock(5000.0, 1_000_060.0))

    found = kept.find("key_1", "resp_1")
    assert found is not None
    assert [{"role": "user", "content": "hello"}, *response()["output"]] == found.conversation()
    assert kept.find("key_2", "resp_1") is None
    assert 0o600 == stat.S_IMODE((tmp_path / FILE).stat().st_mode)


@pytest.mark.system
def test_the_hour_goes_on_while_no_daemon_runs(tmp_path: Path) -> None:
    written(tmp_path, Clock())

    late, _ = opened(tmp_path, Clock(5.0, 1_000_000.0 + KEPT_SECONDS + 1))
    set_back, _ = opened(tmp_path, Clock(5.0, 900_000.0))

    assert late.find("key_1", "resp_1") is None
    assert set_back.find("key_1", "resp_1") is not None, "a clock that was set back keeps none for longer"


@pytest.mark.system
def test_bounds_hold_for_what_was_on_disk_too(tmp_path: Path) -> None:
    written(tmp_path, Clock(), MOST_KEPT + 5)

    kept, _ = opened(tmp_path, Clock())

    assert kept.find("key_1", "resp_5") is None
    assert kept.find("key_1", f"resp_{MOST_KEPT + 5}") is not None


@pytest.mark.system
def test_nothing_is_on_disk_where_that_is_not_asked_for_any_more(tmp_path: Path) -> None:
    written(tmp_path, Clock())

    kept, on_disk = opened(tmp_path, Clock(), enabled=False)
    kept.keep("key_1", response(2), [])
    asyncio.run(on_disk.save())

    assert [] == [*tmp_path.iterdir()]


@pytest.mark.system
def test_a_daemon_that_has_handed_over_writes_nothing_more(tmp_path: Path) -> None:
    kept, on_disk = opened(tmp_path, Clock())
    kept.keep("key_1", response(), [])

    on_disk.leave_off()
    asyncio.run(on_disk.save())

    assert [] == [*tmp_path.iterdir()]


@pytest.mark.system
@pytest.mark.parametrize(
    "text", ["", "{", '{"schema":7,"responses":[]}', '{"schema":1,"responses":[{"id":5}]}']
)
def test_a_file_that_cannot_be_read_is_put_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)

    kept, _ = opened(tmp_path, Clock())

    assert kept.find("key_1", "resp_1") is None
    assert not (tmp_path / FILE).exists()


@pytest.mark.real
def test_a_conversation_goes_on_with_the_next_daemon(start_daemon: Callable[..., Daemon]) -> None:
    config = '[server]\nkept_responses = "disk"\n'
    first = start_daemon(config, "--demo")
    status, _, body = ask(first, "", "/v1/responses", input="Hello", max_output_tokens=4)
    assert 200 == status
    name = body.partition('"id":"')[2].partition('"')[0]
    first.client.stop_daemon()
    first.process.wait(DEADLINE_SECONDS)

    second = start_daemon(config, "--demo")

    assert 200 == ask(second, "", f"/v1/responses/{name}")[0]
    members = {"input": "more", "previous_response_id": name, "max_output_tokens": 4}
    assert 200 == ask(second, "", "/v1/responses", **members)[0]
