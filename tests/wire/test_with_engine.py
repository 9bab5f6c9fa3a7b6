"""Does a model of another machine answer through hub and worker, with a real llama-server at the end?"""

import asyncio
import json
from collections.abc import Callable
from random import Random

import aiohttp
import pytest

from relayd.remote.modelrelay.backend import Backend, parse_backend
from relayd.remote.modelrelay.joining import WorkerMembership, hub_url
from relayd.remote.modelrelay.worker import WorkerOffer
from relayd.secret import Secret
from tests.daemons import Daemon
from tests.wire.hubs import Shown
from tests.wire.peers import SECRET, chat, settled

pytestmark = pytest.mark.real


async def test_a_model_of_a_local_backend_is_served_by_the_hub(
    start_daemon: Callable[..., Daemon], demo: Daemon
) -> None:
    hub = start_daemon(f'[hub]\nworker_secret = "{SECRET}"\n', wait=False)
    hub.await_event("listening")
    backend, shown = Backend(parse_backend(demo.url), Secret("")), Shown()
    offer = WorkerOffer("box", None, 2)
    worker = WorkerMembership(hub_url(hub.url, "lab"), Secret(SECRET), offer, backend, shown, Random(1))
    running = asyncio.create_task(worker.run())
    try:
        _, models = await shown.events.get()
        model = models.split(",")[0]
        async with aiohttp.ClientSession() as client:

            async def ask(url: str, *, stream: bool) -> str:
                body = chat(model, stream=stream, max_tokens=6, temperature=0)
                async with client.post(f"{url}/v1/chat/completions", json=body) as answer:
                    return await answer.text() if answer.status == 200 else ""

            plain = json.loads(await settled(lambda: ask(hub.url, stream=False)))
            direct = json.loads(await ask(demo.url, stream=False))
            streamed = await ask(hub.url, stream=True)

        assert direct["choices"][0]["message"]["content"] == plain["choices"][0]["message"]["content"]
        assert streamed.endswith("data: [DONE]\n\n")
    finally:
        await worker.leave(5)
        await running
        await backend.close()
