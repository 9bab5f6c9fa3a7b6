"""Servers of every kind serve the models that they list, through every part of the daemon."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.config import Config
from relayd.config.schema import UpstreamServer
from relayd.daemon.upstreams import upstream_plan
from relayd.remote import OfferState
from relayd.secret import Secret
from tests.daemon.assembled import SERVER
from tests.remote.scene import CHAT, DEADLINE_SECONDS, Client, play, request, upstream
from tests.remote.servers import (
    HELLO,
    LAST,
    MODEL,
    STREAM,
    Answer,
    Got,
    Server,
    Write,
    answers,
    chunk,
    event,
    plain,
    refusal,
    said,
    streams,
)  # fmt: skip

pytestmark = (
    pytest.mark.fake
)  # what vLLM, SGLang, Ollama and LM Studio answer; none of them is installed here


def test_a_server_gets_what_its_client_sent_with_its_own_key_and_name_of_the_model(tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        (server,) = servers
        await client.serve(upstream(server, models=(f"qwen={MODEL}",), key=Secret("sk-theirs")))
        body = {**CHAT, "model": "qwen", "guided_json": {"type": "object"}, "top_k": 3}
        reply = await client.ask(body, X_Request_ID="mine", traceparent="00-1-2-01", Cookie="a=b")
        (got,) = server.got
        assert (200, "lo") == (reply.status, reply.members["choices"][0]["message"]["content"])
        assert {**body, "model": MODEL} == got.members
        fields = got.fields
        assert ("Bearer sk-theirs", "mine", "00-1-2-01") == (
            fields["authorization"], fields["x-request-id"], fields["traceparent"],
        )  # fmt: skip
        assert "cookie" not in fields
        assert "qwen@box" == reply.fields["x-relayd-replica"]

    play(tmp_path, story, answers(said("lo")))


@pytest.mark.parametrize(
    ("path", "listed"),
    [
        ("vLLM", {"object": "list", "data": [{"id": MODEL, "owned_by": "vllm", "max_model_len": 4096}]}),
        ("SGLang", {"object": "list", "data": [{"id": MODEL, "owned_by": "sglang", "max_model_len": 4096}]}),
        ("Ollama", {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "library"}]}),
        (
            "LM Studio",
            {"data": [{"id": MODEL, "object": "model", "type": "llm", "max_context_length": 4096}]},
        ),
        ("Ollama's tags", {"models": [{"name": MODEL, "model": MODEL}]}),
        ("Together", [{"id": MODEL, "context_length": 4096}]),
        ("RelayServe", {"data": [{"id": MODEL, "object": "model"}]}),
    ],
)
def test_the_models_of_a_list_of_any_shape_are_served(path: str, listed: object, tmp_path: Path) -> None:  # noqa: ARG001 - the test's name
    async def story(client: Client, servers: list[Server]) -> None:
        await client.serve(upstream(servers[0]))
        models = (await client.ask(None, "/v1/models")).members["data"]
        assert [MODEL] == [one["id"] for one in models]
        tags = (await client.ask(None, "/api/tags")).members["models"]
        assert [f"{MODEL}:latest"] == [one["name"] for one in tags] or [MODEL] == [
            one["name"] for one in tags
        ]
        assert 200 == (await client.ask()).status

    play(tmp_path, story, Server(answers(said("hello")), models=listed))


@pytest.mark.parametrize(
    "script",
    [
        streams(*HELLO),
        streams(*HELLO, end=b""),  # without [DONE]
        streams(*(piece.replace(b"data: ", b"data:") for piece in HELLO), end=b"data:[DONE]\n\n"),
        streams(*(piece.replace(b"\n\n", b"\r\n\r\n") for piece in HELLO), end=b"data: [DONE]\r\n\r\n"),
        streams(b": OPENROUTER PROCESSING\n\n", *HELLO),
        answers(plain(b"".join(HELLO), kind="text/event-stream")),  # with a length
    ],
)
def test_a_stream_passes_as_it_came(script: Answer, tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        await client.serve(upstream(servers[0]))
        reply = await client.ask({**CHAT, "stream": True})
        texts = [
            json.loads(line[5:])["choices"][0]["delta"].get("content")
            for line in reply.body.decode().splitlines()
            if line.startswith("data:") and "[DONE]" not in line
        ]
        assert (200, "Hello") == (reply.status, "".join(filter(None, texts)))
        assert "stream_options" not in servers[0].got[0].members
        (exchange,) = (
            one for one in client.parts.doors.exchanges.recent() if one.path.endswith("completions")
        )
        assert "done" == exchange.ended.value

    play(tmp_path, story, script)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            400,
            {"object": "error", "message": "max_tokens is too large", "code": 400},
            "max_tokens is too large",
        ),
        (400, {"error": "model is an embedding model"}, "model is an embedding model"),
        (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, "field required"),
        (413, b"<html>413</html>", "answered 413"),
    ],
)
def test_what_the_client_did_wrong_is_refused_in_its_own_dialect_and_tried_once(
    status: int, body: object, message: str, tmp_path: Path
) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        await client.serve(upstream(servers[0], "a"), upstream(servers[1], "b"))
        reply = await client.ask()
        assert status == reply.status
        assert message in reply.message
        assert 1 == sum(len(server.got) for server in servers)

    play(tmp_path, story, *(answers(refusal(status, body)) for _ in range(2)))


@pytest.mark.parametrize(
    "script",
    [
        answers(refusal(500, {"error": {"message": "CUDA out of memory", "type": "InternalServerError"}})),
        answers(refusal(503, {"error": "loading model"})),
        answers(refusal(429, {"error": {"message": "slow down"}}, "Retry-After: 30\r\n")),
        answers(refusal(404, {"error": {"message": "The model does not exist."}})),
        answers(refusal(401, {"error": "bad key"})),
        answers(refusal(302, b"", "Location: http://127.0.0.1:1/\r\n")),
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: banana\r\n\r\n"),
        answers(b"ICY 200 OK\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_before_the_first_byte_is_answered_by_another_server(
    script: Answer, stream: bool, tmp_path: Path
) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        bad, good = servers
        await client.serve(upstream(bad, "bad"), upstream(good, "good", cost=1))
        reply = await client.ask({**CHAT, "stream": stream})
        assert (200, f"{MODEL}@good") == (reply.status, reply.fields["x-relayd-replica"])
        assert 1 == len(bad.got)

    play(tmp_path, story, script, streams(*HELLO) if stream else answers(said("Hello")))


def test_a_server_that_refuses_for_want_of_room_gets_nothing_until_it_has_some(tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        full, other = servers
        await client.serve(upstream(full, "full"), upstream(other, "other", cost=1))
        assert 200 == (await client.ask()).status
        assert OfferState.PAUSED is client.state(f"{MODEL}@full")
        assert 200 == (await client.ask()).status
        assert (1, 2) == (len(full.got), len(other.got))

    full = answers(refusal(429, {"error": {"message": "slow down"}}, "Retry-After: 600\r\n"))
    play(tmp_path, story, full, answers(said("Hello")))


def test_a_server_that_is_gone_is_lost_and_comes_back(tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        (server,) = servers
        replica = f"{MODEL}@box"
        await client.serve(upstream(server))
        server.models = refusal(502, b"")
        await client.until(lambda: client.state(replica) is OfferState.LOST)
        server.models = {"data": [{"id": MODEL}]}
        await client.until(lambda: client.state(replica) is OfferState.READY)
        assert 200 == (await client.ask()).status

    play(tmp_path, story, answers(said("Hello")))


def test_a_list_is_followed(tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        (server,) = servers
        await client.serve(upstream(server))
        server.models = {"data": [{"id": "another"}]}
        await client.until(lambda: client.state("another@box") is OfferState.READY)
        assert client.state(f"{MODEL}@box") is None
        reply = await client.ask()
        assert 404 == reply.status
        assert "another" in reply.message

    play(tmp_path, story, answers(said("Hello")))


def test_a_client_that_leaves_ends_its_request_there(tmp_path: Path) -> None:
    async def endless(_: Got, write: Write) -> None:
        await write(STREAM + chunk(HELLO[0]))
        while True:
            await write(chunk(HELLO[1]))
            await asyncio.sleep(0.01)

    async def story(client: Client, servers: list[Server]) -> None:
        (server,) = servers
        await client.serve(upstream(server, slots=1))
        reader, writer = await client.connect()
        writer.write(request({**CHAT, "stream": True}))
        await reader.readuntil(b"data: ")
        assert 1 == client.parts.scheduler.running_on(f"{MODEL}@box")
        writer.transport.abort()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await server.left.wait()
        await client.until(lambda: client.parts.scheduler.running_on(f"{MODEL}@box") == 0)

    play(tmp_path, story, endless)


def test_an_upstream_that_is_taken_out_finishes_what_runs_there(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slow(_: Got, write: Write) -> None:
        await write(STREAM + chunk(HELLO[0]) + chunk(HELLO[1]))
        await go_on.wait()
        await write(chunk(HELLO[2]) + chunk(b"data: [DONE]\n\n") + LAST)

    async def story(client: Client, servers: list[Server]) -> None:
        await client.serve(upstream(servers[0]))
        asking = asyncio.create_task(client.ask({**CHAT, "stream": True}))
        await client.until(lambda: client.parts.scheduler.running_on(f"{MODEL}@box"))
        client.follow()
        assert 404 == (await client.ask()).status
        go_on.set()
        reply = await asking
        assert reply.body.endswith(b"data: [DONE]\n\n")

    play(tmp_path, story, slow)


def test_a_stream_that_breaks_off_goes_on_where_servers_can_continue_it(tmp_path: Path) -> None:
    async def breaks(_: Got, write: Write) -> None:
        await write(STREAM + chunk(HELLO[0]) + chunk(event({"content": "Hel"})))
        raise ConnectionError

    listed = {"data": [{"id": MODEL, "owned_by": "vllm"}]}

    async def story(client: Client, servers: list[Server]) -> None:
        first, second = servers
        await client.serve(upstream(first, "a"), upstream(second, "b", cost=1))
        reply = await client.ask({**CHAT, "stream": True})
        assert b'"lo"' in reply.body
        assert reply.body.endswith(b"data: [DONE]\n\n")
        sent = second.got[0].members
        assert (True, False) == (sent["continue_final_message"], sent["add_generation_prompt"])
        assert {"role": "assistant", "content": "Hel"} == sent["messages"][-1]

    going_on = streams(event({"role": "assistant"}), event({"content": "lo"}, "stop"))
    play(tmp_path, story, Server(breaks, models=listed), Server(going_on, models=listed))


def test_a_stream_that_breaks_off_ends_with_an_error_where_no_server_can_continue_it(tmp_path: Path) -> None:
    async def breaks(_: Got, write: Write) -> None:
        await write(STREAM + chunk(HELLO[0]) + chunk(event({"content": "Hel"})))
        raise ConnectionError

    async def story(client: Client, servers: list[Server]) -> None:
        await client.serve(upstream(servers[0], "a"), upstream(servers[1], "b", cost=1))
        reply = await client.ask({**CHAT, "stream": True})
        assert b'"error"' in reply.body
        assert b"[DONE]" not in reply.body
        assert [] == servers[1].got

    play(tmp_path, story, breaks, streams(*HELLO))


def test_slots_that_others_have_filled_are_not_used(tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        (server,) = servers
        await client.serve(upstream(server, slots=4, metrics_seconds=0.05))
        await client.until(lambda: client.parts.scheduler.load(MODEL).slots == 2)

    figures = 'vllm:num_requests_running{model_name="x"} 1.0\nvllm:num_requests_waiting{model_name="x"} 1.0\n'
    play(tmp_path, story, Server(answers(said("Hello")), figures=figures))


def test_a_server_that_refuses_the_key_is_named_with_the_remedy(tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        await client.serve(upstream(servers[0], models=(MODEL,)))
        reply = await client.ask()
        assert 503 == reply.status
        assert "refuses the key" in reply.message
        (watch,) = client.parts.upstreams
        assert "refuses the key" in watch.problem

    play(tmp_path, story, Server(answers(said("Hello")), models=refusal(401, {"error": "no"})))


def test_a_server_without_a_list_serves_the_models_that_are_named(tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        await client.serve(upstream(servers[0], models=(f"q={MODEL}",)))
        assert 200 == (await client.ask({**CHAT, "model": "q"})).status

    play(tmp_path, story, Server(answers(said("Hello")), models=refusal(404, b"404 page not found")))


def test_changed_numbers_of_an_upstream_keep_its_connections(tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        before = upstream(servers[0], slots=2)
        await client.serve(before)
        found = client.parts.remotes.get(f"{MODEL}@box")
        await client.serve(msgspec.structs.replace(before, slots=5, cost=7.0))
        after = client.parts.remotes.get(f"{MODEL}@box")
        assert found is not None
        assert after is not None
        assert (found.endpoint, 5, 7.0) == (after.endpoint, after.offer.slots, after.offer.cost)
        assert 5 == client.parts.scheduler.load(MODEL).slots

    play(tmp_path, story, answers(said("Hello")))


def test_members_that_llama_server_would_refuse_are_the_servers_own_matter(tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        await client.serve(upstream(servers[0]))
        assert 200 == (await client.ask({**CHAT, "top_k": "none", "tool_choice": 7})).status

    play(tmp_path, story, answers(said("Hello")))


def test_addresses_of_this_relayd_are_not_its_upstreams() -> None:
    config = Config(
        server=replace_server("127.0.0.1:8080"),
        upstream=(
            UpstreamServer(url="http://localhost:8080"),
            UpstreamServer(url="http://127.0.0.1:8081/v1"),
        ),
    )
    plan = upstream_plan(config)
    assert ("http://localhost:8080",) == plan.ours
    assert ["127.0.0.1-8081"] == [one.name for one in plan.sources]


def replace_server(listen: str) -> Any:
    return msgspec.structs.replace(SERVER, listen=listen)


def test_tokens_are_counted_as_the_server_states_them(tmp_path: Path) -> None:
    async def story(client: Client, servers: list[Server]) -> None:
        await client.serve(upstream(servers[0]))
        await client.ask()
        (exchange,) = (
            one for one in client.parts.doors.exchanges.recent() if one.path.endswith("completions")
        )
        assert exchange.usage is not None
        assert (3, 1) == (exchange.usage.prompt_tokens, exchange.usage.completion_tokens)

    play(tmp_path, story, answers(said("Hello")))
