"""Is what requests used counted once, by day, key and model, whatever happens to the disk and to daemons?"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
from msgspec.structs import replace

from relayd.config.schema import Server
from relayd.daemon.arguments import UsageArguments
from relayd.daemon.keybook import KeyBook
from relayd.daemon.keyreport import usage_report
from relayd.daemon.usage import usage_row
from relayd.rights import KeyRights, Quota, UsageRow
from relayd.scheduler import Ask, Ended, Exchange, Usage
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system

Result = TypeVar("Result")
NOON = 1_796_040_000.0  # 2026-11-30 12:00 UTC


class SetClock:
    """A clock that a test sets: the time of day, with as many monotonic seconds since that noon."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOON + self.now


def exchange(
    key: str = "", model: str = "qwen", *, at: float = 1.0, tokens: int = 10, replica: str = "qwen#0"
) -> Exchange:
    ask, usage = Ask(model=model, key=key), Usage(tokens, 4, 2)
    return Exchange(ask=ask, replica=replica, placed_at=at - 0.5, ended_at=at, usage=usage)


def with_book(
    folder: Path, story: Callable[[KeyBook], Awaitable[Result]], clock: SetClock | None = None
) -> Result:
    async def scene() -> Result:
        book = KeyBook(folder / "relayd.db", clock or SetClock())
        async with asyncio.timeout(DEADLINE_SECONDS):
            await book.open(Server())
            try:
                return await story(book)
            finally:
                await book.close()

    return asyncio.run(scene())


async def rows(book: KeyBook) -> tuple[UsageRow, ...]:
    return (await book.used(UsageArguments())).rows


def test_what_was_used_is_there_at_once_and_after_the_end(tmp_path: Path) -> None:
    async def use(book: KeyBook) -> tuple[UsageRow, ...]:
        for _ in range(3):
            book.usage.note(exchange())
        return await rows(book)

    expected = UsageRow(
        day="2026-11-30", key="", model="qwen", requests=3, prompt_tokens=30, cached_tokens=12,
        completion_tokens=6, seconds=1.5,
    )  # fmt: skip

    assert (expected,) == with_book(tmp_path, use)
    assert (expected,) == with_book(tmp_path, rows)


def test_what_reached_no_replica_is_not_counted(tmp_path: Path) -> None:
    async def story(book: KeyBook) -> tuple[UsageRow, ...]:
        book.usage.note(exchange(replica=""))
        book.usage.note(Exchange(ask=Ask(), ended=Ended.REFUSED))
        return await rows(book)

    assert () == with_book(tmp_path, story)


def test_a_request_belongs_to_the_day_on_which_it_ended() -> None:
    assert "2026-11-30" == usage_row(exchange(at=11.9 * 3600), NOON).day
    assert "2026-12-01" == usage_row(exchange(at=12.1 * 3600), NOON).day


def test_a_request_beside_the_queue_belongs_to_the_model_of_its_replica() -> None:
    assert "org/qwen" == usage_row(exchange(model="", replica="org/qwen#1"), NOON).model


def test_an_answer_without_figures_counts_as_a_request() -> None:
    row = usage_row(replace(exchange(), usage=None, placed_at=None), NOON)

    assert (1, 0, 0.0) == (row.requests, row.tokens, row.seconds)


def test_a_disk_that_is_full_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    async def story(book: KeyBook) -> list[int]:
        book.usage.note(exchange())
        await book.database.close()
        seen = []
        for _ in range(3):
            book.usage.note(exchange())
            await book.usage.flush()
            seen.append(sum(row.requests for row in book.usage.pending()))
        book.database.take_back()
        await book.usage.flush()
        seen.append(sum(row.requests for row in book.usage.pending()))
        return [*seen, sum(row.requests for row in await rows(book))]

    assert [2, 3, 4, 0, 4] == with_book(tmp_path, story)


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_requests_flushes_failures_and_restarts_gives_the_sum(tmp_path: Path, seed: int) -> None:
    random, total = Random(seed), 0

    async def story(book: KeyBook) -> tuple[UsageRow, ...]:
        nonlocal total
        for _ in range(80):
            match random.randrange(5):
                case 0:
                    await book.usage.flush()
                case 1:
                    await book.database.close()
                case 2:
                    book.database.take_back()
                case _:
                    tokens = random.randrange(100)
                    total += tokens
                    book.usage.note(exchange(random.choice("ab"), random.choice("xy"), tokens=tokens))
        book.database.take_back()
        return await rows(book)

    for _ in range(3):
        seen = with_book(tmp_path, story)
        assert total == sum(row.prompt_tokens for row in seen)
        assert len(seen) <= 4
        assert all(row.requests > 0 and row.seconds >= 0 for row in seen)


def test_what_a_daemon_hands_over_is_counted_by_the_next_one(tmp_path: Path) -> None:
    async def old(book: KeyBook) -> tuple[Exchange, ...]:
        book.usage.note(exchange())
        await book.give_up()
        book.usage.note(exchange())
        finished = book.usage.noted
        book.usage.leave_off()
        book.usage.note(exchange())  # it goes through the channel
        return finished

    finished = with_book(tmp_path, old)

    async def new(book: KeyBook) -> tuple[UsageRow, ...]:
        for one in (*finished, exchange()):
            book.count(one)
        return await rows(book)

    assert [3] == [row.requests for row in with_book(tmp_path, new)]


def test_a_quota_goes_on_after_a_restart_and_after_a_hand_over(tmp_path: Path) -> None:
    quota = Quota("tokens", 1000, "month")

    async def first(book: KeyBook) -> str:
        key, _ = await book.create("a", KeyRights(quotas=(quota,)))
        book.count(exchange(key.id, tokens=98))
        return key.id

    key = with_book(tmp_path, first)

    async def second(book: KeyBook) -> dict[str, int]:
        book.count(exchange(key, tokens=8))
        return book.spent(key)

    assert {"tokens=1000/month": 110} == with_book(tmp_path, second)


def test_a_quota_that_is_given_later_counts_what_was_used_before(tmp_path: Path) -> None:
    async def story(book: KeyBook) -> dict[str, int]:
        key, _ = await book.create("a", KeyRights())
        book.usage.note(exchange(key.id, tokens=98))
        await book.change("a", KeyRights(quotas=(Quota("tokens", 1000, "day"),)))
        return book.spent(key.id)

    assert {"tokens=1000/day": 100} == with_book(tmp_path, story)


def test_when_a_key_came_along_last_is_known_at_once_and_kept(tmp_path: Path) -> None:
    async def use(book: KeyBook) -> float | None:
        key, _ = await book.create("a", KeyRights())
        book.usage.note(exchange(key.id, at=7.0))
        return book.last_used(key)

    async def look(book: KeyBook) -> float | None:
        return book.find("a").last_used

    assert NOON + 7 == with_book(tmp_path, use) == with_book(tmp_path, look)


def test_rows_are_chosen_by_key_model_and_day_and_named() -> None:
    known = [usage_row(exchange("key_1", model), NOON) for model in ("x", "y")]
    known.append(replace(known[0], day="2026-11-29"))

    report = usage_report(known, [], UsageArguments(key="key_1", model="x", since="2026-11-30"))

    assert ([("2026-11-30", "x")], {"key_1": "key_1"}) == (
        [(row.day, row.model) for row in report.rows],
        report.names,
    )
