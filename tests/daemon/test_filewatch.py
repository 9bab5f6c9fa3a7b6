"""Replicas that were given up are started again once their files have come or changed, and only then."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from relayd.config import Model
from relayd.daemon.arguments import TargetArguments
from relayd.daemon.filewatch import FileWatch
from relayd.errors import ModelFileError
from relayd.supervisor import Replica
from tests.daemon.assembled import Assembled, desired, with_parts

pytestmark = pytest.mark.system

GONE, BACK, SAME = b"gone", b"back", b"same"

STORIES: Mapping[str, Sequence[tuple[bytes, bool]]] = {
    "it comes": [(SAME, False), (b"GGUF", False), (SAME, True), (SAME, False), (SAME, False)],
    "it is there before the first look": [(b"GGUF", False), (SAME, True), (SAME, False)],
    "it is being copied": [(b"GGUF", False), (b"GGUF+", False), (b"GGUF++", False), (SAME, True)],
    "it did not help, and changes": [
        *((b"GGUF", False), (SAME, True), (SAME, False)),
        *((b"GGUF+", False), (SAME, True), (SAME, False)),
    ],
    "it goes and comes back as it was": [
        *((b"GGUF", False), (SAME, True), (GONE, False)),
        *((BACK, False), (SAME, True), (SAME, False)),
    ],
    "it is no GGUF": [(b"<!DOCTYPE html>", False), (SAME, False), (SAME, False)],
}
"""What happens to the file before each look, and whether that look starts the replica."""


def happen(file: Path, what: bytes) -> None:
    away = file.with_suffix(".away")
    if what is GONE:
        file.rename(away)
    elif what is BACK:
        away.rename(file)
    elif what is not SAME:
        file.write_bytes(what)


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("name", STORIES)
def test_a_replica_is_started_for_files_that_two_looks_found_the_same(
    tmp_path: Path, name: str, *, refused: bool
) -> None:
    file = tmp_path / "far.gguf"
    started: list[str] = []

    async def scene(daemon: Assembled) -> list[bool]:
        async def start(name: str) -> None:
            started.append(name)
            if refused:
                raise ModelFileError("not yet")
            await daemon.operations.start(TargetArguments(name))  # there is no engine: it is given up again

        watch = FileWatch(lambda: daemon.parts.fleet.select(None), start, lambda: 60)
        await daemon.operations.start(TargetArguments("far"))
        found = []
        for what, _ in STORIES[name]:
            await asyncio.to_thread(happen, file, what)
            started.clear()
            await watch.look()
            found.append(started == ["far#0"])
        return found

    found = with_parts(desired(tmp_path, Model(name="far", file=str(file))), scene)

    assert [expected for _, expected in STORIES[name]] == found


def test_looks_are_repeated() -> None:
    async def story() -> None:
        looks = asyncio.Semaphore(0)

        def replicas() -> Iterable[Replica]:
            looks.release()
            return ()

        async def start(_: str) -> None: ...

        running = asyncio.create_task(FileWatch(replicas, start, lambda: 0.001).run())
        async with asyncio.timeout(60):
            await looks.acquire()
            await looks.acquire()
        running.cancel()

    asyncio.run(story())
