"""Are events passed on to a command and to webhooks, and never too often?"""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from relayd.clock import SystemClock
from relayd.config.schema import Notify
from relayd.daemon.notifications import (
    AGAIN_SECONDS,
    MOST_IN_A_MINUTE,
    NotificationLimits,
    Notifications,
    notification_of,
)
from relayd.journal import Journal
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system


@dataclass
class MovedClock(SystemClock):
    """A clock that the test moves."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_the_same_about_the_same_comes_once_a_minute_and_says_what_was_left_out() -> None:
    clock = MovedClock()
    limits = NotificationLimits(clock)

    assert [0, None, None, 0] == [limits.admit("loaded", subject) for subject in ("a#0", "a#0", "a#0", "b#0")]
    clock.now += AGAIN_SECONDS
    assert 2 == limits.admit("loaded", "a#0")


def test_all_together_are_few_in_a_minute() -> None:
    clock = MovedClock()
    limits = NotificationLimits(clock)
    admitted = [limits.admit("loaded", f"m#{n}") for n in range(MOST_IN_A_MINUTE + 5)]
    assert 5 == admitted.count(None)
    clock.now += 61

    assert 0 == limits.admit("loaded", "another")


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        ("replica.ready", {"replica": "m#0"}, ("loaded", "m#0", "m#0 is ready.")),
        (
            "replica.evicted", {"replica": "m#0", "cause": "idle"},
            ("evicted", "m#0", "m#0 leaves memory: idle."),
        ),
        ("replica.fatal", {"replica": "m#0"}, ("given_up", "m#0", "m#0 was given up. See: relayd status")),
        (
            "replica.exited", {"replica": "m#0", "cause": "out of host memory"},
            ("out_of_memory", "m#0", "m#0 has ended: out of host memory."),
        ),
        ("replica.exited", {"replica": "m#0", "cause": "commanded"}, None),
        ("key.created", {}, None),
    ],
)  # fmt: skip
def test_events_of_the_journal_have_their_notice(
    event: str, fields: Mapping[str, Any], expected: tuple[str, str, str] | None
) -> None:
    assert expected == notification_of(event, fields)


class Story:
    """Notifications of a journal of their own."""

    def __init__(self, settings: Notify) -> None:
        self.waits: dict[str, float] = {}
        self.refused: dict[str, int] = {}
        self.notices = Notifications(
            lambda: settings, SystemClock(), lambda: self.waits, lambda: self.refused
        )
        self.journal = Journal("tests-of-notices")
        self.logger = logging.getLogger("relayd.tests-of-notices")
        self.logger.setLevel(logging.INFO)
        self.logger.addHandler(self.notices)
        self.running = asyncio.create_task(self.notices.run())

    def close(self) -> None:
        self.logger.removeHandler(self.notices)
        self.running.cancel()


async def test_a_command_reads_what_happened(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    script = f'cat > {taken}.new; echo "$RELAYD_EVENT $RELAYD_SUBJECT" >> {taken}.new; mv {taken}.new {taken}'
    story = Story(Notify(command=("sh", "-c", script)))
    story.journal.info("replica.ready", replica="m#0")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not taken.exists():
            await asyncio.sleep(0.01)
    story.close()

    body, _, told = taken.read_text().rpartition("}")
    assert {"event": "loaded", "subject": "m#0", "text": "m#0 is ready."}.items() <= json.loads(
        body + "}"
    ).items()
    assert "loaded m#0" == told.strip()


async def test_a_webhook_is_posted_to_after_a_command_that_fails() -> None:
    came: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        await came.put(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    story = Story(Notify(command=("/no/such/program",), webhooks=(url,)))
    story.journal.warning("replica.fatal", replica="m#0")
    async with asyncio.timeout(DEADLINE_SECONDS):
        found = await came.get()
    story.close()
    await runner.cleanup()

    assert ("given_up", "m#0") == (found["event"], found["subject"])


async def test_nothing_is_kept_where_nothing_is_set() -> None:
    story = Story(Notify())
    story.journal.info("replica.ready", replica="m#0")
    await asyncio.sleep(0)
    story.close()

    assert "waiting=0" in repr(story.notices)
