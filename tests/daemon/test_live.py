"""Does everyone who follows the daemon see the same states, and is a slow one never waited for?"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec
import pytest

from relayd.daemon.live import LiveFeed
from relayd.daemon.livereport import LiveEvent, LiveReport, NowReport
from relayd.daemon.mergepatch import patched
from relayd.daemon.report import StatusReport

pytestmark = pytest.mark.pure


class Counter:
    """A daemon whose figure grows with each look."""

    def __init__(self) -> None:
        self.looks = 0

    async def look(self) -> LiveReport:
        self.looks += 1
        return LiveReport(StatusReport(), models={"m": NowReport(self.looks)})


class Page:
    """Who follows: applies what comes, as a page does."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.revision = 0

    def take(self, event: LiveEvent) -> None:
        if isinstance(event.state, msgspec.Raw):
            self.state = msgspec.json.decode(event.state)
        elif isinstance(event.patch, msgspec.Raw):
            assert self.revision + 1 == event.revision, "a patch is for the revision before"
            self.state = patched(self.state, msgspec.json.decode(event.patch))
        self.revision = event.revision

    @property
    def running(self) -> int:
        return int(self.state["models"]["m"]["running"])


async def follow(feed: LiveFeed, events: int, then: Callable[[], None] = lambda: None) -> Page:
    page, following = Page(), feed.follow()
    for _ in range(events):
        page.take(await anext(following))
        then()
    await following.aclose()
    return page


async def test_a_page_gets_the_state_and_then_what_changes() -> None:
    counter = Counter()
    feed = LiveFeed(counter.look, period_seconds=0.001)

    page = await follow(feed, 20)

    assert page.running == page.revision >= 20


async def test_pages_share_the_looks() -> None:
    counter = Counter()
    feed = LiveFeed(counter.look, period_seconds=0.001)

    pages = await asyncio.gather(*(follow(feed, 5) for _ in range(50)))

    assert all(page.running <= counter.looks for page in pages)
    assert counter.looks < 50 * 5


async def test_a_slow_page_gets_all_of_the_latest_state() -> None:
    counter = Counter()
    feed = LiveFeed(counter.look, period_seconds=0.001)
    slow, fast = feed.follow(), feed.follow()
    page = Page()
    page.take(await anext(slow))

    async def quick(following: AsyncGenerator[LiveEvent]) -> None:
        async for event in following:
            if event.revision >= 30:
                return

    await quick(fast)
    late = await anext(slow)
    page.take(late)

    assert isinstance(late.state, msgspec.Raw)
    assert page.running >= 30
    await slow.aclose()
    await fast.aclose()


async def test_nothing_is_looked_at_while_no_page_follows() -> None:
    counter = Counter()
    feed = LiveFeed(counter.look, period_seconds=0.001)
    await follow(feed, 3)
    looks = counter.looks
    for _ in range(50):
        await asyncio.sleep(0)

    assert looks == counter.looks
    assert (await follow(feed, 1)).running > looks, "a page that comes later sees what is then"
