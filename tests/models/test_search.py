"""The hub's search, as its API answers it, with the file of each repository that would be downloaded."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.errors import FetchError
from relayd.models.hub import Hub
from relayd.models.search import Hit, search
from tests.fakes.hub import FakeHub, running_hub

pytestmark = pytest.mark.fake


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with running_hub() as fake:
        yield fake


def found(fake: FakeHub, words: str, limit: int = 10) -> list[Hit]:
    return search(Hub(Path("/nowhere"), fake.endpoint), words, limit)


def test_the_most_downloaded_comes_first_with_the_file_that_is_taken(fake: FakeHub) -> None:
    fake.add("maker/Tiny-GGUF", **{"tiny-Q4_K_M": b"x" * 40, "tiny-Q8_0": b"x" * 80, "mmproj-tiny": b"x" * 9})
    fake.add("other/tiny-chat-GGUF", **{"tiny-chat-Q8_0": b"x" * 70})
    fake.add("other/large-GGUF", **{"large-Q8_0": b"x"})
    fake.downloaded = {"other/tiny-chat-GGUF": 12_345}

    hits = found(fake, "tiny GGUF")

    assert ["other/tiny-chat-GGUF", "maker/Tiny-GGUF"] == [one.repo for one in hits]
    assert [("Q8_0", 70), ("Q4_K_M", 40)] == [(one.quant, one.bytes) for one in hits]
    assert (12_345, 3, "2026-11-20", False) == (
        hits[0].downloads,
        hits[0].likes,
        hits[0].updated,
        hits[0].gated,
    )


def test_parts_of_a_model_count_together(fake: FakeHub) -> None:
    fake.add("maker/big-GGUF", **{f"Q8_0__big-Q8_0-0000{one}-of-00002": b"x" * one for one in (1, 2)})

    assert [3] == [one.bytes for one in found(fake, "big")]


def test_a_repository_without_a_model_has_the_reason(fake: FakeHub) -> None:
    fake.add("maker/none-GGUF", **{"mmproj-x": b"x"})

    (hit,) = found(fake, "none")
    assert (0, "") == (hit.bytes, hit.quant)
    assert "no" in hit.problem


def test_no_more_than_asked_for_are_looked_at(fake: FakeHub) -> None:
    for number in range(5):
        fake.add(f"maker/m{number}-GGUF", **{"m-Q8_0": b"x"})

    assert 2 == len(found(fake, "maker", limit=2))
    assert 3 == len(fake.asked)


def test_nothing_found_is_an_empty_list(fake: FakeHub) -> None:
    assert [] == found(fake, "no such thing")


def test_a_hub_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(FetchError):
        search(Hub(Path("/nowhere"), "http://127.0.0.1:1"), "tiny", 1)
