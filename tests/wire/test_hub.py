"""Does a daemon let workers in, and are requests that clients send carried out by them?"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest

from relayd.engine import Engine
from tests.daemons import Daemon
from tests.wire.peers import ANSWER, DONE, SECRET, ScriptedWorker, chat, delta, settled, worker_at

pytestmark = pytest.mark.fake


@contextmanager
def a_hub(engine: Engine, home: Path) -> Iterator[Daemon]:
    config = f'[hub]\nworker_secret = "{SECRET}"\n'
    daemon = Daemon(home, engine.path, config, (), {})
    daemon.await_event("listening")
    yield daemon
    daemon.end()
    assert daemon.leftovers() == []


@pytest.fixture(scope="module")
def hub(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon without models of its own; each test uses models of its own name."""
    with a_hub(engine, tmp_path_factory.mktemp("h")) as daemon:
        yield daemon


@pytest.fixture
def wronged(engine: Engine, home: Path) -> Iterator[Daemon]:
    """A hub for wrong secrets: after some, it refuses every worker of that address for a while."""
    with a_hub(engine, home) as daemon:
        yield daemon


@asynccontextmanager
async def joined(
    hub: Daemon, *models: str, slots: int = 1, name: str = "box"
) -> AsyncIterator[ScriptedWorker]:
    async with worker_at(hub.url) as worker:
        await worker.register(*models, slots=slots, name=name)
        yield worker


@asynccontextmanager
async def client_of(hub: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(hub.url) as client:
        yield client


async def served(client: aiohttp.ClientSession) -> set[str]:
    async with client.get("/v1/models") as answer:
        return {model["id"] for model in (await answer.json())["data"]}


async def test_a_worker_registers_and_answers_a_request(hub: Daemon) -> None:
    async with joined(hub, "one") as worker, client_of(hub) as client:
        assert "one" in await served(client)
        asked = asyncio.create_task(client.post("/v1/chat/completions", json=chat("one", seed=7)))
        request = await worker.receive("request")
        await worker.complete(request, ANSWER)
        answer = await asked

        assert (request["model"], request["endpoint_path"]) == ("one", "/v1/chat/completions")
        assert json.loads(request["body"]) == chat("one", seed=7)
        assert answer.status == 200
        assert (await answer.json())["choices"][0]["message"]["content"] == "hello"


async def test_c53_the_acknowledgement_lists_the_accepted_models(hub: Daemon) -> None:
    async with worker_at(hub.url) as worker:
        ack = await worker.register(" acked ", "acked", "")

        assert ack["models"] == ["acked"]
        assert ack["protocol_version"] == "2026-04-bridge-v1"
        assert ack["warnings"] == ["An empty model name is left out."]


async def test_c62_events_reach_the_client_while_the_answer_goes_on(hub: Daemon) -> None:
    async with joined(hub, "live") as worker, client_of(hub) as client:
        asked = asyncio.create_task(client.post("/v1/chat/completions", json=chat("live", stream=True)))
        request = await worker.receive("request")
        assert request["is_streaming"] is True
        text = delta("😀")
        await worker.chunk(request, text[:60])
        await worker.chunk(request, text[60:])
        answer = await asked
        assert await answer.content.readuntil(b"\n\n") == text.encode()

        await worker.chunk(request, DONE)
        await worker.complete(request)
        assert (await answer.read()).decode() == DONE
        assert answer.content_type == "text/event-stream"


@pytest.mark.parametrize("status", [400, 404, 422, 429, 500])
async def test_c63_a_refused_stream_has_its_status(hub: Daemon, status: int) -> None:
    async with joined(hub, "refuses") as worker, client_of(hub) as client:

        async def refuse() -> None:
            while True:  # what another server may do is tried again
                request = await worker.receive("request")
                await worker.chunk(
                    request, json.dumps({"error": {"message": "no such thing", "code": status}})
                )
                await worker.complete(request, status=status)

        refusing = asyncio.create_task(refuse())
        async with client.post("/v1/chat/completions", json=chat("refuses", stream=True)) as answer:
            assert answer.status == status
            assert "no such thing" in (await answer.json())["error"]["message"]
        refusing.cancel()


async def test_c24_a_client_that_leaves_frees_the_slot(hub: Daemon) -> None:
    async with joined(hub, "left") as worker, client_of(hub) as client:
        asked = asyncio.create_task(client.post("/v1/chat/completions", json=chat("left", stream=True)))
        request = await worker.receive("request")
        await worker.chunk(request, delta("a"))
        (await asked).close()
        cancel = asyncio.create_task(worker.receive("cancel"))
        while not cancel.done():  # a client that leaves shows when something is written to it
            await worker.chunk(request, delta("a"))
            await asyncio.sleep(0.01)
        assert cancel.result()["request_id"] == request["request_id"]

        again = asyncio.create_task(client.post("/v1/chat/completions", json=chat("left")))
        request = await worker.receive("request")
        await worker.complete(request, ANSWER)
        assert (await again).status == 200


async def test_c8_a_worker_that_registers_gets_what_waits(hub: Daemon) -> None:
    async with client_of(hub) as client:
        async with joined(hub, "waits") as worker:
            first = asyncio.create_task(client.post("/v1/chat/completions", json=chat("waits")))
            await worker.receive("request")
            second = asyncio.create_task(client.post("/v1/chat/completions", json=chat("waits")))
            async with joined(hub, "waits", name="other") as other:
                await other.complete(await other.receive("request"), ANSWER)
                assert (await second).status == 200
        first.cancel()


async def test_c11_requests_of_a_worker_that_is_lost_go_to_another_at_once(hub: Daemon) -> None:
    async with client_of(hub) as client, joined(hub, "moves", name="first") as first:
        asked = asyncio.create_task(client.post("/v1/chat/completions", json=chat("moves")))
        await first.receive("request")
        async with joined(hub, "moves", name="second") as second:
            await first.socket.close()
            await second.complete(await second.receive("request"), ANSWER)

            assert (await asked).status == 200


async def test_c14_an_answer_that_is_cut_is_not_spliced(hub: Daemon) -> None:
    async with client_of(hub) as client, joined(hub, "cut", name="first") as first:
        body = chat("cut", stream=True, tools=[{"type": "function", "function": {"name": "f"}}])
        asked = asyncio.create_task(client.post("/v1/chat/completions", json=body))
        request = await first.receive("request")
        await first.chunk(request, delta("a"))
        answer = await asked
        await first.socket.close()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
        text = b"".join(answer.content._buffer).decode()

        assert "[DONE]" not in text


async def test_c50_a_wrong_secret_is_refused_after_the_upgrade(wronged: Daemon) -> None:
    async with worker_at(wronged.url, secret="wrong") as worker:
        assert await worker.closed() == (1008, "worker authentication failed")
    async with worker_at(wronged.url, query=f"?worker_secret={SECRET}", secret="wrong") as worker:
        assert (await worker.closed())[0] == 1008


async def test_c50_the_secret_may_be_in_the_query(hub: Daemon) -> None:
    async def accepted() -> bool:
        async with worker_at(hub.url, secret=None, query=f"?worker_secret={SECRET}") as worker:
            await worker.send("register", worker_name="q", models=["q"], max_concurrent=1)
            return (await worker.socket.receive()).type is aiohttp.WSMsgType.TEXT

    await settled(accepted)


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"pong","current_load":0}',
        '{"type":"register","worker_name":"w","models":["m"],"max_concurrent":1,"protocol_version":"2"}',
        "nonsense",
    ],
)
async def test_c52_a_first_frame_that_is_no_registration_ends_the_connection(hub: Daemon, frame: str) -> None:
    async def closed() -> tuple[int, str] | None:
        async with worker_at(hub.url) as worker:
            await worker.socket.send_str(frame)
            end = await worker.closed()
            return None if end[0] == 1008 else end

    assert await settled(closed) == (1002, "worker registration protocol error")


async def test_a_binary_frame_ends_the_connection(hub: Daemon) -> None:
    async with joined(hub, "binary") as worker:
        await worker.socket.send_bytes(b"x")

        assert (await worker.closed())[0] == 1002


async def test_types_that_are_not_known_are_ignored(hub: Daemon) -> None:
    async with joined(hub, "unknown") as worker, client_of(hub) as client:
        await worker.send("telemetry", watts=300)
        asked = asyncio.create_task(client.post("/v1/chat/completions", json=chat("unknown")))
        await worker.complete(await worker.receive("request"), ANSWER)

        assert (await asked).status == 200


async def test_c54_models_follow_an_update_without_another_connection(hub: Daemon) -> None:
    async with joined(hub, "old") as worker, client_of(hub) as client:
        await worker.send("models_update", models=["new"], current_load=0)
        asked = asyncio.create_task(settled(lambda: _answers(client, "new")))
        await worker.complete(await worker.receive("request"), ANSWER)
        await asked

        assert {"new"} == await served(client) & {"old", "new"}


async def _answers(client: aiohttp.ClientSession, model: str) -> bool:
    async with client.post("/v1/chat/completions", json=chat(model)) as answer:
        return answer.status == 200


async def test_c55_models_of_a_worker_that_is_gone_are_not_listed(hub: Daemon) -> None:
    async with client_of(hub) as client:
        async with joined(hub, "gone"):
            assert "gone" in await served(client)

        async def is_gone() -> bool:
            return "gone" not in await served(client)

        await settled(is_gone)


async def test_c7_a_model_that_nobody_serves_is_refused_at_once(hub: Daemon) -> None:
    async with client_of(hub) as client, client.post("/v1/chat/completions", json=chat("absent")) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "model_not_found"


async def test_c56_a_key_of_a_client_is_no_secret_of_a_worker(wronged: Daemon) -> None:
    key = json.loads(wronged.run("keys", "create", "a-client", "--scope", "metrics", "--json").stdout)[
        "secret"
    ]
    async with worker_at(wronged.url, secret=key) as worker:
        assert (await worker.closed())[0] == 1008


async def test_workers_are_shown_with_their_provider(hub: Daemon) -> None:
    async with joined(hub, "shown", slots=3, name="shown box"), client_of(hub) as client:
        async with client.get("/health") as answer:
            workers = (await answer.json())["workers"]

        assert {
            "id": "shown-box",
            "provider": "lab",
            "models": ["shown"],
            "in_flight": 0,
            "max_concurrent": 3,
            "is_draining": False,
        } in workers
