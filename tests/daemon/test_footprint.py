"""Memory is read when somebody asks, seldom, and never makes an answer wait for long."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event

import pytest

from relayd.clock import SystemClock
from relayd.daemon.footprint import Footprint, Footprints, PlannedMemory, planned_memory, predicted_memory
from relayd.gguf import read_metadata
from relayd.hardware import Cpu, Machine, Memory
from relayd.planner import Basis, Lora, Planned, ReplicaSpec
from relayd.supervisor import State, Status
from relayd.units import GIB, Bytes

pytestmark = pytest.mark.system


class LaterClock(SystemClock):
    """The system's clock, stopped, and moved on by a test."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Looks:
    """A machine that is looked at, and counts that; a look may be held up."""

    count: int = 0
    free: Event = field(default_factory=Event)
    refusal: OSError | None = None

    def look(self) -> Machine:
        self.count += 1
        self.free.wait()
        if self.refusal:
            raise self.refusal
        memory = Memory(Bytes(64 * GIB), Bytes(60 * GIB))
        return Machine("linux", "x86_64", Cpu("c", 8, 16, 8), memory)


def status(model: Path, pid: int | None) -> Status:
    return Status(
        Planned(ReplicaSpec("m", 0, model)), State.READY, 0, pid, 1, None, 0, 5, (), None, None, (), None,
        None, None,
        command=("llama-server", "--model", str(model), "--parallel", "1", "--ctx-size", "512"),
    )  # fmt: skip


def play(story: Callable[[Looks, LaterClock, Footprints], Awaitable[None]], patience_seconds: float) -> None:
    async def tell() -> None:
        looks, clock = Looks(), LaterClock()
        try:
            async with asyncio.timeout(60):
                await story(looks, clock, Footprints(clock, looks.look, patience_seconds=patience_seconds))
        finally:
            looks.free.set()

    asyncio.run(tell())


def test_a_reading_serves_for_two_seconds_unless_a_process_is_another(tiny_model: Path) -> None:
    async def story(looks: Looks, clock: LaterClock, footprints: Footprints) -> None:
        looks.free.set()
        for _ in range(3):
            found = await footprints.read([status(tiny_model, os.getpid())])
        assert found["m#0"].planned
        assert found["m#0"].held
        assert 1 == looks.count
        assert await footprints.read([status(tiny_model, None)]) != found
        assert 2 == looks.count
        clock.now = 2
        await footprints.read([status(tiny_model, None)])
        assert 3 == looks.count

    play(story, patience_seconds=30)


def test_a_driver_that_hangs_holds_no_answer_up_and_is_asked_once(tiny_model: Path) -> None:
    async def story(looks: Looks, clock: LaterClock, footprints: Footprints) -> None:
        for now in (0, 10, 20):
            clock.now = now
            assert {} == await footprints.read([status(tiny_model, os.getpid())])
        assert 1 == looks.count
        looks.free.set()
        while not (found := await footprints.read([status(tiny_model, os.getpid())])):
            pass
        assert found["m#0"].held

    play(story, patience_seconds=0.01)


def test_without_descriptors_what_was_known_must_do(tiny_model: Path) -> None:
    async def story(looks: Looks, clock: LaterClock, footprints: Footprints) -> None:
        looks.free.set()
        known = await footprints.read([status(tiny_model, os.getpid())])
        clock.now, looks.refusal = 10, OSError(errno.EMFILE, "Too many open files")
        assert known == await footprints.read([status(tiny_model, os.getpid())])
        assert 2 == looks.count

    play(story, patience_seconds=30)


def test_a_model_that_cannot_be_read_has_no_plan(tmp_path: Path) -> None:
    async def story(looks: Looks, _clock: LaterClock, footprints: Footprints) -> None:
        looks.free.set()
        (tmp_path / "m.gguf").write_bytes(b"GGUF")
        assert {"m#0": Footprint()} == await footprints.read([status(tmp_path / "m.gguf", None)])

    play(story, patience_seconds=30)


def test_planned_memory_is_what_the_plan_counts_with_and_no_file_is_read() -> None:
    async def story(looks: Looks, _clock: LaterClock, footprints: Footprints) -> None:
        looks.free.set()
        spec = ReplicaSpec("m", 0, Path("/no/such.gguf"), cache_ram_mib=1024)
        needs = {"host": Bytes(3 * GIB), "cuda0": Bytes(9 * GIB)}
        planned = replace(status(spec.file, None), planned=Planned(spec, needs, Basis.CONFIRMED))
        found = await footprints.read([planned])
        sizes = {"cpu": Bytes(2 * GIB), "cuda0": Bytes(9 * GIB)}
        assert PlannedMemory(sizes, Bytes(GIB), "confirmed") == found["m#0"].planned

    play(story, patience_seconds=30)


def test_every_basis_has_its_word_in_the_report() -> None:
    spec = ReplicaSpec("m", 0, Path("/m.gguf"), cache_ram_mib=0)
    words = [planned_memory(Planned(spec, {"host": Bytes(1)}, basis)).basis for basis in Basis]

    assert ["prediction", "prediction", "confirmed", "measured"] == words


def test_without_a_plan_memory_is_predicted_from_the_command_line(tiny_model: Path) -> None:
    async def story(looks: Looks, _clock: LaterClock, footprints: Footprints) -> None:
        looks.free.set()
        found = (await footprints.read([status(tiny_model, None)]))["m#0"].planned
        assert found
        assert ("prediction", ["cpu"]) == (found.basis, list(found.by_device))

    play(story, patience_seconds=30)


def test_adapters_and_drafts_count_where_memory_is_predicted_from_the_command_line(tiny_model: Path) -> None:
    weights = sum(tensor.nbytes for tensor in read_metadata(tiny_model).tensors)
    plain = status(tiny_model, None)
    adapted = ReplicaSpec("m", 0, tiny_model, loras=(Lora(tiny_model, 1.0),))
    drafted = replace(plain, command=(*plain.command, "--model-draft", str(tiny_model)))
    machine = Machine("linux", "x86_64", Cpu("c", 8, 16, 8), Memory(Bytes(16 * GIB), Bytes(8 * GIB)))
    totals = [
        predicted_memory(one, machine).by_device["cpu"]
        for one in (plain, replace(plain, planned=Planned(adapted)), drafted)
    ]

    assert totals[0] + weights == totals[1]
    assert totals[0] + weights < totals[2]
