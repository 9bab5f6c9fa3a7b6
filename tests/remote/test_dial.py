"""Is what a node opens to its hub closed again, wherever it is stopped?"""

import asyncio
import gc
from contextlib import AsyncExitStack

import pytest
from aiohttp import WSMsgType, web

from relayd.remote.dial import CONNECT, dial_hub
from relayd.remote.node import DialledHub
from relayd.secret import Secret
from tests.daemons import DEADLINE_SECONDS

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]


async def test_the_connection_of_a_node_that_stops_before_its_greeting_is_closed() -> None:
    closed: asyncio.Future[WSMsgType] = asyncio.get_running_loop().create_future()

    async def connect(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        closed.set_result((await socket.receive()).type)
        return socket

    app = web.Application()
    app.router.add_get(CONNECT, connect)
    async with AsyncExitStack() as stack:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with AsyncExitStack() as dialled:
            await dial_hub(dialled, DialledHub(f"ws://{host}:{port}", Secret("token")))

        async with asyncio.timeout(DEADLINE_SECONDS):
            assert WSMsgType.CLOSE is await closed
        gc.collect()  # an open connection would be reported here
