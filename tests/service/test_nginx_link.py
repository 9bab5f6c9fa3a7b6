"""Does the nginx example let a node's link through, and leave one alone that carries only signs of life?"""

import asyncio
import socket
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from relayd.router import Pools
from tests.daemons import DEADLINE_SECONDS
from tests.fakes.replica import act, fake_replica
from tests.remote.pair import NODE, Machine, paired
from tests.remote.test_pair import WHOLE, asked, no_hold, until
from tests.service.test_nginx import NGINX, write_site

pytestmark = [
    pytest.mark.fake,
    pytest.mark.usefixtures("runner"),
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt install nginx-light)"),
]


async def test_a_link_that_is_silent_but_for_its_beats_outlasts_the_read_timeout(home: Path) -> None:
    """An hour at beats of 5 s, made short in proportion: 1 s at beats of 0.2 s, which is the harder ratio."""
    assert NGINX
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        front = found.getsockname()[1]

    async with fake_replica(None, act(WHOLE)) as fake, AsyncExitStack() as stack:

        def through(port: int) -> str:
            conf = write_site(home, port, f"127.0.0.1:{front}")
            site = (home / "site.conf").read_text()
            assert 2 == site.count("proxy_read_timeout 3600s;")
            (home / "site.conf").write_text(site.replace("3600s", "1s"))
            command = [str(NGINX), "-p", str(home), "-c", str(conf), "-e", str(home / "error.log")]
            nginx = subprocess.Popen(command)
            stack.callback(nginx.wait)
            stack.callback(nginx.terminate)
            return f"ws://127.0.0.1:{front}"

        async with asyncio.timeout(DEADLINE_SECONDS), paired(Machine(fake), through=through) as pair:
            await until(lambda: pair.is_ready)
            channel = pair.hub.node(NODE).channel
            assert channel is not None
            before = channel.messages
            await until(lambda: channel.messages >= before + 20)  # two seconds of beats of both sides

            assert pair.hub.node(NODE).channel is channel
            upstream = await asked(pair, pools := Pools())
            assert 200 == upstream.head.status
            pools.give_back(upstream, no_hold)
            pools.close()
