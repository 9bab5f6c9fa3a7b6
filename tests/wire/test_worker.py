"""Does this machine serve a hub of ModelRelay's protocol as its own worker would, and without its faults?"""

import asyncio
import json

import pytest
from aiohttp import web

from tests.wire.hubs import member, scripted_backend, scripted_hub
from tests.wire.peers import SECRET, chat, delta

pytestmark = pytest.mark.fake

EMOJI = delta("😀").replace("\\ud83d\\ude00", "😀")


async def test_a_worker_registers_with_its_secret_its_models_and_its_slots() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url, slots=3):
        register = await (await hub.connections.get()).accept()

        assert hub.headers == [(SECRET, "provider=lab")]
        assert register == {
            "type": "register",
            "worker_name": "box",
            "models": ["m"],
            "max_concurrent": 3,
            "protocol_version": "2026-04-bridge-v1",
            "current_load": 0,
        }


async def test_a_request_is_posted_as_it_came_and_its_answer_returned() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url, key="local"):
        connected = await hub.connections.get()
        await connected.accept()
        body = chat("m", top_k=3)
        await connected.ask("r-1", body)
        text, end = await connected.answer_to("r-1")
        path, headers, sent = backend.seen[0]

        assert (path, json.loads(sent)) == ("/v1/chat/completions", body)
        assert (text, end["status_code"], end["body"]) == ("", 200, '{"ok":true}')
        assert end["headers"]["content-type"].startswith("application/json")
        assert (headers["authorization"], headers["x-request-id"]) == ("Bearer local", "r-9")
        assert "cookie" not in headers


@pytest.mark.parametrize("cut", range(1, 4))
async def test_c62_a_character_in_two_parts_is_put_together(cut: int) -> None:
    at = EMOJI.encode().index("😀".encode()) + cut
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url):
        backend.pieces = [EMOJI.encode()[:at], EMOJI.encode()[at:], b"data: [DONE]\n\n"]
        connected = await hub.connections.get()
        await connected.accept()
        await connected.ask("r-1", chat("m", stream=True))
        text, end = await connected.answer_to("r-1")

        assert text == EMOJI + "data: [DONE]\n\n"
        assert (end["type"], end["status_code"], end["body"]) == ("response_complete", 200, "")


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
async def test_c63_a_refused_stream_is_completed_with_its_status_and_no_chunk(status: int) -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url):
        backend.status, backend.body = status, b'{"error":1}'
        connected = await hub.connections.get()
        await connected.accept()
        await connected.ask("r-1", chat("m", stream=True))

        text, end = await connected.answer_to("r-1")
        assert (text, end["status_code"], end["body"]) == ("", status, '{"error":1}')


async def test_c24_a_cancelled_request_stops_the_backend_and_is_completed() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url):
        backend.pieces = [b"data: 1\n\n"]
        connected = await hub.connections.get()
        await connected.accept()
        await connected.ask("r-1", chat("m", stream=True, hold=True))
        await connected.receive("response_chunk")
        await connected.send("cancel", request_id="r-1", reason="client_disconnect")

        assert (await connected.receive())["status_code"] == 499
        while backend.running:
            await asyncio.sleep(0.01)


async def test_c22_a_cancel_of_what_does_not_run_is_ignored() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url):
        connected = await hub.connections.get()
        await connected.accept()
        await connected.send("cancel", request_id="never", reason={"other": "x"})
        await connected.send("ping", timestamp_unix_ms=7)

        assert await connected.receive() == {"type": "pong", "current_load": 0, "timestamp_unix_ms": 7}


async def test_c16_a_backend_that_is_down_fails_one_request_and_keeps_the_session() -> None:
    async with scripted_hub() as hub, member(hub, "http://127.0.0.1:9", models=("m",)):
        connected = await hub.connections.get()
        register = await connected.accept()
        assert register["models"] == []
        await connected.ask("r-1", chat("m"))
        _, end = await connected.answer_to("r-1")
        assert end["status_code"] == 502
        assert "failed" in json.loads(end["body"])["error"]["message"]

        await connected.send("ping")
        assert (await connected.receive("pong"))["current_load"] == 0


async def test_a_stream_that_breaks_off_ends_with_an_event_that_states_so() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url):
        backend.pieces, backend.cut = [b"data: 1\n\n", b"data: 2"], True
        connected = await hub.connections.get()
        await connected.accept()
        await connected.ask("r-1", chat("m", stream=True))
        text, end = await connected.answer_to("r-1")

        assert text.startswith("data: 1\n\ndata: 2\n\ndata: {")
        assert "broke off" in text
        assert end["type"] == "response_complete"


async def test_a_relayd_is_sent_an_error_instead_so_that_it_can_go_on_elsewhere() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend:
        hub.is_relayd = True
        async with member(hub, backend.url):
            backend.pieces, backend.cut = [b"data: 1\n\n"], True
            connected = await hub.connections.get()
            await connected.accept()
            await connected.ask("r-1", chat("m", stream=True))

            assert (await connected.answer_to("r-1"))[1]["type"] == "error"


@pytest.mark.parametrize(
    "path", ["/api/delete", "/admin/keys", "//evil.example/v1", "http://evil/", "/v1/../x"]
)
async def test_what_is_not_inference_never_reaches_the_backend(path: str) -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url):
        connected = await hub.connections.get()
        await connected.accept()
        await connected.ask("r-1", chat("m"), path)

        assert (await connected.answer_to("r-1"))[1]["status_code"] == 404
        assert backend.seen == []


async def test_the_list_of_models_is_followed() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url):
        connected = await hub.connections.get()
        await connected.accept()

        backend.models = ["m", "n"]
        assert (await connected.receive("models_update"))["models"] == ["m", "n"]
        backend.is_down = True
        assert (await connected.receive("models_update"))["models"] == []
        backend.is_down = False
        assert (await connected.receive("models_update"))["models"] == ["m", "n"]


async def test_models_that_are_named_are_offered_while_the_backend_answers() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend:
        backend.is_down = True
        async with member(hub, backend.url, models=("a", "b")):
            connected = await hub.connections.get()
            assert (await connected.accept())["models"] == []
            backend.is_down = False
            assert (await connected.receive("models_update"))["models"] == ["a", "b"]


async def test_a_refresh_is_answered_with_the_models() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url):
        connected = await hub.connections.get()
        await connected.accept()
        await connected.send("models_refresh")

        assert await connected.receive() == {"type": "models_update", "models": ["m"], "current_load": 0}


async def test_c44_a_request_during_a_drain_is_refused_and_the_session_goes_on() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url):
        connected = await hub.connections.get()
        await connected.accept()
        await connected.send("graceful_shutdown", reason="maintenance", drain_timeout_secs=5)
        await connected.ask("r-1", chat("m"))

        assert (await connected.answer_to("r-1"))[1]["status_code"] == 503


async def test_types_that_are_not_known_are_ignored() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url):
        connected = await hub.connections.get()
        await connected.accept()
        await connected.send("telemetry")
        await connected.send("ping")

        assert (await connected.receive())["type"] == "pong"


async def test_c34_a_worker_comes_back_after_its_hub_was_lost() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url) as (_, shown):
        connected = await hub.connections.get()
        await connected.accept()
        assert await shown.events.get() == ("accepted", "m")
        await connected.socket.close(code=1012, message=b"restart")
        connected.over.set()

        assert await shown.events.get() == ("lost", "restart")
        assert (await (await hub.connections.get()).accept())["models"] == ["m"]


async def test_c34_a_refused_worker_says_so_and_tries_again() -> None:
    async def refuse(socket: web.WebSocketResponse) -> None:
        await socket.close(code=1008, message=b"worker authentication failed")

    async with scripted_hub() as hub, scripted_backend() as backend:
        hub.refuse = refuse
        async with member(hub, backend.url) as (_, shown):
            for _ in range(2):
                assert await shown.events.get() == ("refused", "worker authentication failed")


async def test_a_worker_that_leaves_offers_nothing_and_finishes_what_runs() -> None:
    async with scripted_hub() as hub, scripted_backend() as backend, member(hub, backend.url) as (ours, _):
        backend.pieces = [b"data: 1\n\n"]
        connected = await hub.connections.get()
        await connected.accept()
        await connected.ask("r-1", chat("m", stream=True, hold=True))
        await connected.receive("response_chunk")
        leaving = asyncio.create_task(ours.leave(30))
        assert (await connected.receive("models_update"))["models"] == []
        backend.hold.set()

        assert (await connected.answer_to("r-1"))[1]["status_code"] == 200
        await leaving
