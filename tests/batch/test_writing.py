"""Does a full disk pause the writing of results, and does it go on by itself?"""

import asyncio

import pytest

import relayd.batch.writing
from relayd.batch.writing import ResultWriter
from relayd.errors import StorageFullError

pytestmark = pytest.mark.fake


def test_a_full_disk_pauses_and_what_was_to_be_written_is_written_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relayd.batch.writing, "FULL_SECONDS", 0.0)
    resumed: list[str] = []
    seen: list[str] = []

    async def scene() -> None:
        writer = ResultWriter(lambda _: None, lambda: resumed.append(writer.why_paused))

        async def write() -> None:
            seen.append(writer.why_paused)
            if len(seen) < 3:
                raise StorageFullError("the disk is full")

        await writer.insist(write)

    asyncio.run(scene())

    assert ["", "the disk is full", "the disk is full"] == seen
    assert [""] == resumed


def test_a_writer_that_is_held_gives_up() -> None:
    async def scene() -> None:
        writer = ResultWriter(lambda _: None, lambda: None)
        writer.is_held = True
        await writer.insist(pytest.fail)

    asyncio.run(scene())
