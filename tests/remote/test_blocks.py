"""Does a file travel whole: in blocks, throttled, over a cut, and as far as another machine has it?"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from relayd.clock import SystemClock
from relayd.daemon.sharedfiles import FileBringer
from relayd.remote.blocks import BLOCK_BYTES, Blocks, Throttle
from relayd.remote.filerelay import FileRelay
from relayd.units import MIB
from tests.fakes.replica import fake_replica
from tests.remote.pair import Machine, Pair, paired
from tests.remote.test_pair import until

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

FILE = os.urandom(3 * MIB + 17)
SHA256 = hashlib.sha256(FILE).hexdigest()


@asynccontextmanager
async def hub_with_file(bytes_per_second: float = 1e12) -> AsyncIterator[tuple[Pair, FileRelay, FileBringer]]:
    """Return a hub that has a file, and a node that may have it."""

    async def own(sha256: str, at: int, size: int) -> bytes:
        return FILE[at : at + size] if sha256 == SHA256 else b""

    async with fake_replica(None) as fake, paired(Machine(fake)) as pair:
        relay = FileRelay(pair.hub, own, Throttle(SystemClock(), lambda: bytes_per_second))

        def links() -> list[Blocks]:
            return [pair.node.blocks] if pair.node.blocks is not None else []

        await until(lambda: pair.is_ready)
        yield pair, relay, FileBringer(links, SystemClock())


async def bring_all(bringer: FileBringer, part: Path) -> int:
    done = 0
    while 0 <= done < len(FILE):
        done = await bringer.bring(SHA256, len(FILE), part)
    return done


async def test_a_file_arrives_whole(tmp_path: Path) -> None:
    async with hub_with_file() as (_, relay, bringer):
        assert len(FILE) == await bring_all(bringer, tmp_path / "f.part")

        assert FILE == (tmp_path / "f.part").read_bytes()
        assert len(FILE) == relay.passed_bytes


async def test_it_travels_no_faster_than_it_may(tmp_path: Path) -> None:
    async with hub_with_file(6 * MIB) as (_, _relay, bringer):
        began = monotonic()
        await bring_all(bringer, tmp_path / "f.part")

        # Each of the last window may leave at once; what was before them took its time.
        assert monotonic() - began >= (len(FILE) - 5 * BLOCK_BYTES) / (6 * MIB)


async def test_what_was_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    part = tmp_path / "f.part"
    async with hub_with_file(4 * MIB) as (pair, relay, bringer):
        bringing = asyncio.create_task(bring_all(bringer, part))
        await until(lambda: relay.passed_bytes > MIB)
        bringing.cancel()
        await asyncio.gather(bringing, return_exceptions=True)
        pair.cut()
        await until(lambda: not pair.is_ready)
        here = part.stat().st_size
        await until(lambda: pair.is_ready and pair.node.blocks is not None)
        passed = relay.passed_bytes
        assert len(FILE) == await bring_all(bringer, part)

        assert FILE == part.read_bytes()
        assert here > 0
        assert relay.passed_bytes - passed <= len(FILE) - here + 4 * BLOCK_BYTES


async def test_a_file_that_no_machine_has_is_not_waited_for(tmp_path: Path) -> None:
    async with hub_with_file() as (_, _relay, bringer):
        assert -1 == await bringer.bring("0" * 64, 100, tmp_path / "f.part")


async def test_nothing_travels_where_the_rate_is_0(tmp_path: Path) -> None:
    async with hub_with_file(0.0) as (_, relay, bringer):
        assert -1 == await bringer.bring(SHA256, len(FILE), tmp_path / "f.part")
        assert not relay.passed_bytes
