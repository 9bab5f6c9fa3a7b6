import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.peers import free_port
from tests.bench.running import await_answer, started
from tests.bench.scenarios import EVENTS, SCENARIOS, Programs, compiled

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(shutil.which("cc") is None, reason="a C compiler compiles engine and clients"),
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return compiled(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def engine(programs: Programs, tmp_path: Path) -> Iterator[int]:
    port, log = free_port(), tmp_path / "engine.log"
    with started((str(programs.engine), "--port", str(port)), tmp_path, log) as process:
        await_answer(port, process, log)
        yield port


def test_clients_read_whole_answers(programs: Programs, engine: int) -> None:
    seen = programs.ask(engine, replace(SCENARIOS["requests"], connections=4, seconds=0.1))

    assert seen["requests"] >= 4
    assert 0 == seen["errors"]


def test_clients_count_every_event_of_a_stream(programs: Programs, engine: int) -> None:
    seen = programs.ask(engine, replace(SCENARIOS["chunks"], connections=4, seconds=0.01, gap_us=500))

    assert EVENTS * seen["requests"] == seen["chunks"]
    assert seen["delay_p50_us"] > 0
    assert 0 == seen["errors"]


def test_clients_that_cannot_connect_end_the_measurement(programs: Programs) -> None:
    with pytest.raises(SystemExit, match="the clients ended with status 1"):
        programs.ask(free_port(), replace(SCENARIOS["requests"], connections=1, seconds=0.1))
