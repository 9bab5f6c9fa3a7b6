"""Does one who follows the journal get every event from then on, and never more than fits?"""

import logging
from collections.abc import AsyncIterator

import pytest

from relayd.daemon.adminreport import Happening
from relayd.daemon.happenings import MOST, Happenings
from relayd.journal import Journal

pytestmark = pytest.mark.pure

ROOM = "tests-of-the-feed"


class Feed:
    """The feed of one room's journal."""

    def __init__(self) -> None:
        self.happenings = Happenings()
        self.logger = logging.getLogger(f"relayd.{ROOM}")
        self.logger.setLevel(logging.INFO)
        self.logger.addHandler(self.happenings)
        self.journal = Journal(ROOM)

    def follow(self, prefix: str = "") -> AsyncIterator[Happening]:
        return self.happenings.follow(prefix)

    def close(self) -> None:
        self.logger.removeHandler(self.happenings)


async def test_who_follows_gets_the_events_of_its_prefix_from_then_on() -> None:
    feed = Feed()
    feed.journal.info("replica.ready", replica="before")
    following = feed.follow("replica.")
    feed.journal.info("reload.begins")
    feed.journal.warning("replica.exited", replica="a#0", code=1)

    found = await anext(following)

    feed.close()
    assert ("replica.exited", "warning") == (found.event, found.level)
    assert {"replica": "a#0", "code": 1} == found.fields


async def test_one_who_is_slow_loses_the_oldest_and_is_told() -> None:
    feed = Feed()
    following = feed.follow()
    for number in range(MOST + 5):
        feed.journal.info("replica.ready", number=number)

    lost, first = await anext(following), await anext(following)

    feed.close()
    assert ("events.lost", {"lost": 5}) == (lost.event, lost.fields)
    assert {"number": 5} == first.fields


async def test_what_no_json_has_is_shown_as_text() -> None:
    feed = Feed()
    following = feed.follow()
    feed.journal.info("replica.ready", path=feed)

    found = await anext(following)

    feed.close()
    assert {"path": str(feed)} == found.fields
