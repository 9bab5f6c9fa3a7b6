"""Is usage added up by day, key and model, never negative and never twice?"""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from relayd.rights import UsageRow
from relayd.store.database import Database
from relayd.store.usage import UsageTable, day_of, first_of_month

pytestmark = pytest.mark.system

NOON = 1_796_040_000.0  # 2026-11-30 12:00 UTC


@pytest.fixture
def table(tmp_path: Path) -> Iterator[UsageTable]:
    database = Database.open(tmp_path / "relayd.db")
    yield UsageTable(database)
    database.close()


def used(day: str = "2026-11-30", key: str = "key_a", model: str = "qwen", tokens: int = 10) -> UsageRow:
    return UsageRow(
        day=day, key=key, model=model, requests=1, prompt_tokens=tokens, completion_tokens=1, seconds=0.5
    )


def test_rows_of_the_same_day_key_and_model_are_one(table: UsageTable) -> None:
    table.add([used(), used()])
    table.add([used()])

    (row,) = table.rows()

    assert (3, 30, 3, 33, 1.5) == (
        row.requests,
        row.prompt_tokens,
        row.completion_tokens,
        row.tokens,
        row.seconds,
    )


def test_rows_are_chosen_by_day_key_and_model(table: UsageTable) -> None:
    table.add([used(day="2026-11-29"), used(), used(key=""), used(model="llama")])

    assert 3 == len(table.rows(since="2026-11-30"))
    assert ["2026-11-29", "2026-11-30", "2026-11-30"] == [row.day for row in table.rows(key="key_a")]
    assert [""] == [row.key for row in table.rows(key="")]
    assert ["llama"] == [row.model for row in table.rows(model="llama")]


def test_totals_of_a_key_are_over_all_models(table: UsageTable) -> None:
    table.add([used(day="2026-10-31"), used(), used(model="llama"), used(key="key_b", tokens=1)])

    assert {"key_a": (2, 22), "key_b": (1, 2)} == table.totals("2026-11-01")


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_additions_gives_the_sum(table: UsageTable, seed: int) -> None:
    random = Random(seed)
    rows = [
        used(
            f"2026-11-{random.randrange(1, 4):02}",
            random.choice("ab"),
            random.choice("xy"),
            random.randrange(9),
        )
        for _ in range(100)
    ]
    left = list(rows)
    while left:
        size = random.randrange(1, 20)
        table.add(left[:size])
        del left[:size]

    assert sum(row.tokens for row in rows) == sum(row.tokens for row in table.rows())
    assert 100 == sum(row.requests for row in table.rows())
    assert all(min(row.requests, row.prompt_tokens, row.seconds) >= 0 for row in table.rows())


def test_days_are_those_of_utc() -> None:
    assert ("2026-11-30", "2026-11-01") == (day_of(NOON), first_of_month(NOON))
    assert "2026-12-01" == day_of(NOON + 12 * 3600)
