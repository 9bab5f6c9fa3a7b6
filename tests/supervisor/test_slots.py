"""What of slots is kept and read back, against an engine that answers as it should, or does not."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.endpoint import Endpoint, TcpAddress
from relayd.planner import ReplicaSpec
from relayd.secret import Secret
from relayd.store.slotfiles import SlotFiles
from relayd.supervisor.slots import LEAST_TOKENS, SlotKeeper

pytestmark = pytest.mark.fake

SPEC = ReplicaSpec("m", 0, Path("/m.gguf"), slots=3)
WHERE = Endpoint(TcpAddress(1), Secret("k"), SPEC.name, 1)


class FakeEngine:
    """Slots of some tokens each; the third one is at work."""

    def __init__(self, folder: Path, *, recalls: bool = True, fails: str = "") -> None:
        self.folder = folder
        self.tokens = [900, LEAST_TOKENS - 1, 700]
        self.recalls = recalls
        self.fails = fails
        self.asked: list[str] = []
        self.told: list[str] = []

    async def ask(
        self, endpoint: Endpoint, path: str, body: bytes | None, *, timeout_seconds: float
    ) -> bytes:
        assert (WHERE, True) == (endpoint, timeout_seconds > 0)
        self.asked.append(path)
        if self.fails and self.fails in path:
            raise ConnectionError(f"{path} was answered 501")
        return json.dumps(self._answer(path, json.loads(body or b"{}"))).encode()

    def _answer(self, path: str, asked: dict[str, object]) -> object:
        if path == "/slots":
            return [{"id": number, "is_processing": number == 2} for number in range(3)]
        if path == "/completion":
            forgets = not self.recalls and any("restore" in one for one in self.asked)
            return {"content": "x", "timings": {"cache_n": 0 if forgets else 40, "prompt_n": 1}}
        number, file = int(path.split("/")[2].partition("?")[0]), self.folder / str(asked["filename"])
        if path.endswith("save"):
            file.write_bytes(bytes([number]) * self.tokens[number])
            return {"n_saved": self.tokens[number]}
        return {"n_restored": len(file.read_bytes())}


def keeper(engine: FakeEngine, *, may_keep: bool = True) -> SlotKeeper:
    return SlotKeeper(
        SlotFiles(engine.folder, 10_000, SystemClock()),
        engine.ask,
        lambda _: "a" * 32,
        lambda: may_keep,
        on_kept=lambda replica: engine.told.append(f"{replica} kept"),
        on_restored=lambda replica: engine.told.append(f"{replica} restored"),
    )


def kept(engine: FakeEngine) -> list[int]:
    return [one.tokens for one in SlotFiles(engine.folder, 10_000, SystemClock()).find("a" * 32)]


def test_long_prompts_of_slots_at_rest_are_kept_and_read_back_by_the_next_one(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path)
    asyncio.run(keeper(engine).keep(SPEC, WHERE, 5))
    assert [900] == kept(engine)
    assert not any(path.startswith("/slots/2") for path in engine.asked)

    engine.asked.clear()
    asyncio.run(keeper(engine).restore(SPEC, WHERE))

    assert ["/slots/0?action=restore"] == engine.asked
    assert ["m#0 kept", "m#0 restored"] == engine.told


def test_an_engine_that_does_not_go_on_from_what_it_reads_back_is_tried_once(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, recalls=False)
    asyncio.run(keeper(engine).keep(SPEC, WHERE, 5))
    engine.asked.clear()
    asyncio.run(keeper(engine).keep(SPEC, WHERE, 5))

    assert ([], []) == (kept(engine), engine.asked)


@pytest.mark.parametrize("fails", ["/slots", "save", "/completion", "erase"])
def test_what_cannot_be_kept_leaves_nothing_and_ends_nothing(tmp_path: Path, fails: str) -> None:
    engine = FakeEngine(tmp_path, fails=fails)
    asyncio.run(keeper(engine).keep(SPEC, WHERE, 5))

    assert ([], []) == (kept(engine), list(tmp_path.glob("*.part")))


def test_what_cannot_be_read_back_does_not_keep_a_replica_from_serving(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path)
    asyncio.run(keeper(engine).keep(SPEC, WHERE, 5))
    engine.fails = "restore"

    asyncio.run(keeper(engine).restore(SPEC, WHERE))


def test_a_key_that_forbids_it_has_everything_removed(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path)
    asyncio.run(keeper(engine).keep(SPEC, WHERE, 5))
    asyncio.run(keeper(engine, may_keep=False).keep(SPEC, WHERE, 5))

    assert [] == kept(engine)


def test_a_model_of_vectors_has_nothing_to_keep(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path)
    asyncio.run(keeper(engine).keep(replace(SPEC, embeddings=True), WHERE, 5))

    assert [] == engine.asked
