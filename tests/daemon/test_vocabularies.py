"""Is the longest token of a model known soon after it is asked for, and never assumed?"""

from pathlib import Path

import pytest

from relayd.daemon.vocabularies import Vocabularies
from tests.ggufs import TINY, make_model

pytestmark = pytest.mark.system


async def known(file: Path) -> tuple[int, int, int]:
    times: list[int] = []
    vocabularies = Vocabularies()
    vocabularies.on_known(lambda: times.append(1))
    first = vocabularies.longest_token(str(file))
    while vocabularies._reading:
        for task in tuple(vocabularies._reading):
            await task
    return first, vocabularies.longest_token(str(file)), len(times)


async def test_the_longest_token_is_read_aside(tmp_path: Path) -> None:
    assert (0, len("<0x00>"), 1) == await known(make_model(tmp_path / "m.gguf", TINY))


async def test_a_file_that_cannot_be_read_sets_no_limit(tmp_path: Path) -> None:
    assert (0, 0, 0) == await known(tmp_path / "none.gguf")
