"""Is what a model's file states known soon after it is asked for, and never assumed?"""

from pathlib import Path

import pytest

from relayd.api import UNKNOWN, FileFacts
from relayd.daemon.modelfacts import KnownFacts
from relayd.desired.demo import demo_model
from tests.ggufs import TINY, make_model

pytestmark = pytest.mark.system


async def known(file: Path) -> tuple[FileFacts, FileFacts, int]:
    times: list[int] = []
    facts = KnownFacts()
    facts.on_known(lambda: times.append(1))
    first = facts.of(str(file))
    while facts._reading:
        for task in tuple(facts._reading):
            await task
    return first, facts.of(str(file)), len(times)


async def test_what_a_file_states_is_read_aside(tmp_path: Path) -> None:
    file = make_model(tmp_path / "m.gguf", TINY)

    first, stated, times = await known(file)

    assert (UNKNOWN, 1) == (first, times)
    assert ("llama", file.stat().st_size, TINY.n_context, TINY.n_embd) == (
        stated.architecture, stated.size, stated.trained_context, stated.embedding_length,
    )  # fmt: skip
    assert len("<0x00>") == stated.longest_token
    assert stated.parameters > stated.vocabulary > 0


async def test_a_file_that_cannot_be_read_states_nothing(tmp_path: Path) -> None:
    assert (UNKNOWN, UNKNOWN, 0) == await known(tmp_path / "none.gguf")


async def test_the_demo_model_has_a_template() -> None:
    _, stated, _ = await known(Path(demo_model().file))

    assert "messages" in stated.template
