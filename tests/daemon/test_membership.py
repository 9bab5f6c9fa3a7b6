"""Is a hub that this machine reaches directly left alone on the bus, and dialled there otherwise?"""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.daemon.membership import Membership
from relayd.errors import LinkError
from relayd.remote.channel import Socket
from relayd.remote.node import DialledHub
from relayd.router import Pools
from relayd.store.hubs import JoinedHub, JoinedHubs
from tests.fakes.replica import fake_replica
from tests.remote.pair import MOST_BYTES, Machine

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]


class Bus:
    """Two hubs are on it; neither answers."""

    def __iter__(self) -> Iterator[str]:
        return iter(("bus://main", "bus://other"))

    async def dial(self, stack: AsyncExitStack, entry: DialledHub) -> Socket:
        raise LinkError(f"{entry.url} does not answer")


async def test_a_hub_of_the_bus_is_not_dialled_there_where_it_is_reached_directly(tmp_path: Path) -> None:
    JoinedHubs(tmp_path).add(JoinedHub("ws://127.0.0.1:9", "token"))
    async with fake_replica(None) as fake:
        pools = Pools()
        membership = Membership(tmp_path, pools, SystemClock())
        membership.reach("box", Bus())
        try:
            await membership.begin(Machine(fake), MOST_BYTES)
            assert {"ws://127.0.0.1:9", "bus://main", "bus://other"} == urls(membership)
            direct = membership._running["ws://127.0.0.1:9"][1]
            direct.hub = "main"  # as its welcome names it
            await membership.follow()
            assert {"ws://127.0.0.1:9", "bus://other"} == urls(membership)
        finally:
            await membership.close()
            pools.close()


def urls(membership: Membership) -> set[str]:
    return {one.url for one in membership.report()}
