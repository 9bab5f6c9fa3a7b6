"""Is a plain answer that relayd collects the one that the engine gives, member by member?"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from relayd.clock import SystemClock
from relayd.endpoint import Endpoint, UnixAddress
from relayd.engine import Engine
from relayd.router import LLAMA_SERVER, Attempts, Call, Exchanges, Pools, judge, open_body, with_additions
from relayd.scheduler import Ask
from relayd.secret import Secret
from tests.chains import make_chain
from tests.daemons import DEADLINE_SECONDS
from tests.router.front import Places

pytestmark = pytest.mark.real

CHAT, TEXT, NATIVE, MESSAGES = "/v1/chat/completions", "/v1/completions", "/completion", "/v1/messages"
OWN = {
    "id", "created", "prompt_ms", "predicted_ms", "prompt_per_second", "predicted_per_second",
    "prompt_per_token_ms", "predicted_per_token_ms",
}  # fmt: skip
"""Members that differ between any two answers."""

THOUGHTS = ("<think>", "\nI am", " thinking about", " it.\n", "</think>", "\n\nLet me look", " it up.")
CALLS = (
    "\n<tool_call>\n", '{"name": "get_weather",', ' "arguments": {"city":', ' "Par', 'is"}}',
    "\n</tool_call>", "\n<tool_call>", '\n{"name": "get_weather", ', '"arguments": {"city": "Rome", "n": 3}}',
    "\n</tool_call> ",
)  # fmt: skip
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["city"],
}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": SCHEMA}}]
ANTHROPIC_TOOLS = [{"name": "get_weather", "input_schema": SCHEMA}]
LETTERS = "root ::= [é一-丠😀-😐]{20}"
"""Each a character of two to four bytes, and a byte is a token."""


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One loop: the same bytes come on all of them."""
    with asyncio.Runner() as runner:
        yield runner


ASCII = "root ::= [a-zA-Q ]+"
"""What the engine holds back when max_tokens ends an answer inside a character is not in a stream."""


def said(text: str, *more: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}, *({"role": "assistant", "content": one} for one in more)]


@contextmanager
def running(engine: Engine, model: Path, folder: Path, *flags: str) -> Iterator[Endpoint]:
    given = "--host r.sock -t 1 -np 2 -c 8192 --cache-ram 0 --no-ui"
    with subprocess.Popen(
        [engine.path, "-m", model, *given.split(), *flags],
        cwd=folder, env={"LLAMA_API_KEY": "k"}, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        while b"listening on" not in process.stderr.readline():
            pass
        yield Endpoint(UnixAddress(folder / "r.sock"), Secret("k"), "real#0", 1)
        process.kill()
        process.stderr.read()


class Asker:
    """Asks an engine for the same thing twice: directly, and as relayd does."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.pools = Pools()
        self._attempts = Attempts(self.pools, lambda *_: None)
        self._exchanges = Exchanges(SystemClock())

    async def plain(self, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        call = Call(path, body)
        fetched = await self.pools.fetch(self.endpoint, call, timeout_seconds=DEADLINE_SECONDS)
        return fetched.status, json.loads(fetched.body)

    async def collected(
        self, path: str, body: bytes, *, is_collected: bool = True
    ) -> tuple[int, dict[str, Any]]:
        opened = open_body(body)
        seen = judge(opened, LLAMA_SERVER[path])
        return await self.collected_as(
            with_additions(Call(path, body, seen.stream), opened.members, seen.width),
            is_collected=is_collected,
        )

    async def collected_as(self, call: Call, *, is_collected: bool = True) -> tuple[int, dict[str, Any]]:
        assert is_collected == (call.collector is not None)
        places = Places(self.endpoint)
        with (
            self._exchanges.begin("request", call.path) as record,
            places.dispatcher.open(Ask("m"), record) as lease,
            await self._attempts.begin(call, lease) as reply,
        ):
            if reply.problem is not None:
                return reply.problem.status, {"message": reply.problem.message}
            taken = Taken()
            await reply.relay(taken)
            assert reply.head.length == len(taken.raw)
            assert ("Content-Type", "application/json; charset=utf-8") in reply.head.passing
            return reply.head.status, json.loads(taken.raw)

    async def both(self, path: str, **members: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return both answers; the prompt is in the cache for both, or for neither."""
        given: dict[str, Any] = {"cache_prompt": False, "seed": 1, "temperature": 0.8}
        if path == MESSAGES:
            given = {"temperature": 0}
        if not {"grammar", "response_format", "tools"} & members.keys():
            given["grammar"] = ASCII
        body = json.dumps({**given, **members}).encode()
        if path == MESSAGES:
            await self.plain(path, body)
        expected, got = await self.plain(path, body), await self.collected(path, body)
        assert (200, 200) == (expected[0], got[0])
        return compared(expected[1]), compared(got[1])


class Taken:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.raw = b""

    def take(self, raw: bytes) -> bool:
        self.raw += raw
        return False

    async def room(self) -> None:
        """Have room."""


def compared(answer: Any) -> Any:
    """Return an answer without what is its own, as a list of members where their order counts."""
    if isinstance(answer, dict):
        return [
            (name, "own" if name in OWN or (name == "id" and "arguments" in answer) else compared(value))
            for name, value in answer.items()
        ]
    return [compared(value) for value in answer] if isinstance(answer, list) else answer


@asynccontextmanager
async def asking(endpoint: Endpoint) -> AsyncIterator[Asker]:
    asker = Asker(endpoint)
    yield asker
    asker.pools.close()


@pytest.fixture(scope="module")
def tiny(engine: Engine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with running(engine, tiny_model, tmp_path_factory.mktemp("e")) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def chain(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("e")
    model = make_chain(folder / "chain.gguf", THOUGHTS + CALLS)
    with running(engine, model, folder) as endpoint:
        yield endpoint


BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "a chat": (CHAT, {"messages": said("hi"), "max_tokens": 40}),
    "a chat of one token": (CHAT, {"messages": said("hi"), "max_tokens": 1}),
    "a stop word": (CHAT, {"messages": said("hi"), "max_tokens": 200, "stop": ["a", "Q"]}),
    "a schema": (
        CHAT, {"messages": said("hi"), "max_tokens": 80, "response_format": {
            "type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
    ),
    "letters of several tokens": (CHAT, {"messages": said("hi"), "max_tokens": 120, "grammar": LETTERS}),
    "letters, cut between two": (CHAT, {"messages": said("hi"), "max_tokens": 11, "grammar": LETTERS}),
    "a long prompt": (CHAT, {"messages": said("hi " * 900), "max_tokens": 20}),
    "an answer that is begun": (
        CHAT, {"messages": said("hi", "Once upon"), "max_tokens": 9},
    ),
    "an answer that is continued": (
        CHAT, {"messages": said("hi", "Once upon"), "max_tokens": 9,
               "continue_final_message": True, "add_generation_prompt": False},
    ),
    "timings for each token": (CHAT, {"messages": said("hi"), "max_tokens": 9, "timings_per_token": True}),
    "progress": (CHAT, {"messages": said("hi"), "max_tokens": 9, "return_progress": True}),
    "a text": (TEXT, {"prompt": "hi", "max_tokens": 40}),
    "a text with a stop word": (TEXT, {"prompt": "hi", "max_tokens": 200, "stop": ["a", "Q"]}),
    "a text of letters": (TEXT, {"prompt": "hi", "max_tokens": 120, "grammar": LETTERS}),
    "a long text": (TEXT, {"prompt": "hi " * 900, "max_tokens": 9}),
    "a text of token ids": (TEXT, {"prompt": [1, 300, 301], "max_tokens": 5}),
    "a native one": (NATIVE, {"prompt": "hi", "n_predict": 40}),
    "a native one of letters": (NATIVE, {"prompt": "hi", "n_predict": 120, "grammar": LETTERS}),
    "a native one with a stop word": (NATIVE, {"prompt": "hi", "n_predict": 200, "stop": ["a"]}),
    "a long native one": (NATIVE, {"prompt": "hi " * 900, "n_predict": 9}),
    "a message": (MESSAGES, {"messages": said("hi"), "max_tokens": 40}),
    "a message with a stop word": (
        MESSAGES, {"messages": said("hi"), "max_tokens": 99, "stop_sequences": ["a"]},
    ),
    "a long message": (MESSAGES, {"messages": said("hi " * 900), "max_tokens": 9}),
}  # fmt: skip


async def test_a_collected_answer_is_the_engines_own(tiny: Endpoint) -> None:
    async with asking(tiny) as asker:
        for name, (path, members) in BODIES.items():
            expected, got = await asker.both(path, **members)
            assert (name, expected) == (name, got)


async def test_reasoning_and_calls_are_the_engines_own_wherever_the_answer_is_cut(chain: Endpoint) -> None:
    """From the second token on: before that, a plain answer shows the mark that begins the reasoning."""
    async with asking(chain) as asker:
        for most in range(2, len(THOUGHTS + CALLS) + 2):
            for path, tools in ((CHAT, TOOLS), (CHAT, []), (MESSAGES, ANTHROPIC_TOOLS)):
                expected, got = await asker.both(
                    path, messages=said("hi"), max_tokens=most, tools=tools, temperature=0
                )
                assert (most, path, expected) == (most, path, got)


@pytest.mark.parametrize(
    "members",
    [
        {"tool_choice": "required", "tools": TOOLS},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"reasoning_format": "none"},
        {"stop": ["look"]},
        {"stop": ["about"]},
    ],
    ids=lambda members: next(iter(members)),
)
async def test_what_forms_reasoning_and_calls_forms_the_collected_answer_alike(
    chain: Endpoint, members: dict[str, Any]
) -> None:
    async with asking(chain) as asker:
        expected, got = await asker.both(CHAT, messages=said("hi"), max_tokens=99, temperature=0, **members)

        assert expected == got


async def test_an_answer_that_only_a_plain_one_can_hold_is_asked_for_plain(tiny: Endpoint) -> None:
    bodies: tuple[tuple[str, dict[str, Any]], ...] = (
        (CHAT, {"messages": said("hi"), "logprobs": True, "top_logprobs": 2}),
        (CHAT, {"messages": said("hi"), "n": 2}),
        (CHAT, {"messages": said("hi"), "verbose": True}),
        (TEXT, {"prompt": "hi", "logprobs": 2}),
        (TEXT, {"prompt": ["hi", "ho"]}),
        (NATIVE, {"prompt": "hi", "return_tokens": True}),
        (NATIVE, {"prompt": "hi", "response_fields": ["content"]}),
    )
    async with asking(tiny) as asker:
        for path, members in bodies:
            body = json.dumps({"max_tokens": 9, "temperature": 0, "cache_prompt": False, **members}).encode()
            expected = await asker.plain(path, body)
            got = await asker.collected(path, body, is_collected=False)
            assert (200, compared(expected[1])) == (got[0], compared(got[1]))


DEAD_END = {"grammar": 'root ::= "ab" [z-a]', "max_tokens": 40}
MISTAKES: dict[str, tuple[str, dict[str, Any], int]] = {
    "no role": (CHAT, {"messages": [{"content": "hi"}]}, 400),
    "too long": (CHAT, {"messages": said("hi " * 9000)}, 400),
    "too long a message": (MESSAGES, {"messages": said("hi " * 9000), "max_tokens": 3}, 400),
    "a bad schema": (CHAT, {"messages": said("hi"), "json_schema": {"type": "zz"}}, 400),
    "a dead end in a chat": (CHAT, {"messages": said("hi"), **DEAD_END}, 400),
    "a dead end in a text": (TEXT, {"prompt": "hi", **DEAD_END}, 400),
    "a dead end in a native one": (NATIVE, {"prompt": "hi", **DEAD_END}, 400),
}


async def test_an_error_behind_the_head_of_a_stream_has_the_status_of_a_plain_one(tiny: Endpoint) -> None:
    """A grammar that leads nowhere fails at its third token, long after the 200."""
    async with asking(tiny) as asker:
        for name, (path, members, status) in MISTAKES.items():
            body = json.dumps(members).encode()  # relayd itself would refuse most of them
            got = await asker.collected_as(with_additions(Call(path, body), open_body(body).members, 1))
            assert (name, status) == (name, got[0])
