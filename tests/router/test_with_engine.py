"""Does the real engine get what it must, and stop when it must?"""

import asyncio
import json
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relayd.clock import SystemClock
from relayd.endpoint import Endpoint, UnixAddress
from relayd.engine import Engine
from relayd.router import Attempts, Call, Dispatcher, Exchanges, Pools
from relayd.scheduler import Ask, Dispatch, Event, Move, Ready, Refuse, Scheduler
from relayd.secret import Secret
from tests.daemons import DEADLINE_SECONDS
from tests.router.front import Front, Places, body, fields, post, serving, status

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("runner")]

LONG: dict[str, Any] = {"max_tokens": 3000, "stream": True}
"""Takes about 12 s on the slow model."""


class Child:
    """A running engine with one slot."""

    def __init__(self, process: "subprocess.Popen[bytes]", socket: Path) -> None:
        self.endpoint = Endpoint(UnixAddress(socket), Secret("k"), "real#0", 1)
        self._stderr = process.stderr
        self.signal = process.send_signal
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        for line in self._stderr or ():
            self._lines.put(line)

    def await_line(self, words: bytes) -> None:
        self.await_match(re.escape(words))

    def await_match(self, pattern: bytes) -> re.Match[bytes]:
        while not (found := re.search(pattern, self._lines.get(timeout=DEADLINE_SECONDS))):
            pass
        return found

    def tokens_of_first(self) -> int:
        """Return how many tokens the slot held when its first request ended."""
        return int(self.await_match(rb"stop processing: n_tokens = (\d+)")[1])

    def front(self) -> AbstractAsyncContextManager[Front]:
        return serving(Front([self.endpoint], Pools(), 5))


Start = Callable[[Path], Child]


@pytest.fixture
def start(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start the engine on a model and wait until it is ready."""
    with ExitStack() as stack:

        def started(model: Path) -> Child:
            folder = tmp_path_factory.mktemp("e")
            flags = "--host r.sock -t 1 -np 1 -c 4096 -b 256 --cache-ram 0 --no-ui"
            process = subprocess.Popen(
                [engine.path, "-m", model, *flags.split()],
                cwd=folder,
                env={"LLAMA_API_KEY": "k"},
                stderr=subprocess.PIPE,
            )
            stack.enter_context(process)
            child = Child(process, folder / "r.sock")
            stack.callback(child.reader.join)
            stack.callback(process.kill)
            child.await_line(b"listening on")
            return child

        yield started


def chat(content: str = "hi", **members: object) -> bytes:
    return json.dumps(
        {"messages": [{"role": "user", "content": content}], "max_tokens": 1, **members}
    ).encode()


async def test_an_answer_is_the_engines_own(start: Start, tiny_model: Path) -> None:
    async with start(tiny_model).front() as here:
        whole, stream = await here.ask(post(chat())), await here.ask(post(chat(stream=True)))

        assert json.loads(body(whole))["usage"]["completion_tokens"] == 1
        usages = [exchange.usage for exchange in here.exchanges.recent()]
        assert [1, 1] == [usage.completion_tokens for usage in usages if usage]
        assert [True, True] == [usage.prompt_ms > 0 for usage in usages if usage]
        assert body(stream).endswith(b"\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        assert fields(stream)["server"] == "relayd"
        assert "access-control-allow-origin" not in fields(stream)


async def test_more_requests_than_the_engine_takes_on_one_connection_all_succeed(
    start: Start, tiny_model: Path
) -> None:
    async with start(tiny_model).front() as here:
        statuses = [status(await here.ask(post(chat()))) for _ in range(230)]

        assert {200} == set(statuses)
        assert here.faults == []


async def test_a_slot_that_does_not_exist_is_never_asked_for(start: Start, tiny_model: Path) -> None:
    async with start(tiny_model).front() as here:
        assert status(await here.ask(post(chat(id_slot=999)))) == 200


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
MISTAKES: dict[str, dict[str, Any]] = {
    "no role": {"messages": [{"content": "hi"}]},
    "an unknown call": {"messages": [{"role": "assistant", "tool_calls": [{"type": "x"}]}]},
    "tools that are no list": {"tools": {"a": 1}},
    "an unknown tool": {"tools": [{"type": "x"}]},
    "a picture for a text model": {"messages": [{"role": "user", "content": [PICTURE]}]},
    "sound for a text model": {"messages": [{"role": "user", "content": [SOUND]}]},
    "an unknown format": {"response_format": {"type": "xml"}},
    "an unknown reasoning format": {"reasoning_format": "zz"},
    "two grammars": {"json_schema": {"type": "object"}, "grammar": 'root ::= "a"'},
    "a broken grammar": {"grammar": 'root ::= "a'},
    "no stop": {"dry_sequence_breakers": []},
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_clients_mistake_is_a_client_error_and_no_replica_is_blamed(
    start: Start, tiny_model: Path, stream: bool
) -> None:
    child, exchanges, faults, pools = start(tiny_model), Exchanges(SystemClock()), list[str](), Pools()
    attempts = Attempts(pools, lambda _, fault: faults.append(fault))
    for members in MISTAKES.values():
        call = Call("/v1/chat/completions", chat(**members, stream=stream), stream)
        places = Places(child.endpoint, child.endpoint)
        with (
            exchanges.begin("request", call.path) as record,
            places.dispatcher.open(Ask("m"), record) as lease,
            await attempts.begin(call, lease) as reply,
        ):
            assert reply.problem is not None
            record.refused(reply.problem)
    pools.close()

    ends = [(one.status, one.attempts) for one in exchanges.recent()]
    assert dict.fromkeys(MISTAKES, (400, 1)) == dict(zip(MISTAKES, ends, strict=True))
    assert faults == []


async def test_a_prompt_that_is_too_long_is_refused_in_words_that_clients_know(
    start: Start, tiny_model: Path
) -> None:
    async with start(tiny_model).front() as here:
        raw = await here.ask(post(chat("a" * 9000)))

        assert status(raw) == 400
        assert json.loads(body(raw))["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("spoken", [(), ("X-Conversation-Id: mine",)], ids=["plain", "resumable"])
async def test_a_stream_whose_client_left_ends_in_the_engine(
    start: Start, slow_model: Path, spoken: tuple[str, ...]
) -> None:
    child = start(slow_model)

    async with child.front() as here:
        reader, writer = await here.connect()
        writer.write(post(chat(**LONG), *spoken))
        await reader.readuntil(b"data: ")

        writer.close()

        assert status(await here.ask(post(chat()))) == 200
        assert child.tokens_of_first() < 2000


async def test_a_prefill_whose_client_left_ends_in_the_engine(start: Start, slow_model: Path) -> None:
    child = start(slow_model)

    async with child.front() as here:
        _, writer = await here.connect()
        writer.write(post(chat("a" * 900, **LONG)))
        await asyncio.to_thread(child.await_line, b"processing task")

        writer.close()

        assert status(await here.ask(post(chat()))) == 200
        assert child.tokens_of_first() < 2000


async def test_a_stream_behind_a_stopped_engine_is_answered_by_another(
    start: Start, tiny_model: Path
) -> None:
    stopped, free = start(tiny_model), start(tiny_model)
    scheduler, clock, faults, pools = Scheduler(depth=9), SystemClock(), list[str](), Pools()

    def post(event: Event) -> None:
        for effect in scheduler.handle(event, clock.monotonic()):
            if isinstance(effect, Move):
                dispatcher.on_move(effect)
            elif isinstance(effect, Dispatch | Refuse):
                dispatcher.on_answer(effect)

    dispatcher = Dispatcher(post, clock, max_wait_seconds=DEADLINE_SECONDS, suspect_seconds=0.2)
    attempts, exchanges = (
        Attempts(pools, lambda endpoint, _: faults.append(endpoint.replica)),
        Exchanges(clock),
    )

    async def ask() -> int:
        call = Call("/v1/chat/completions", chat(stream=True), stream=True)
        ticket = Ask("m", stream=True)
        with (
            exchanges.begin("r", call.path) as record,
            dispatcher.open(ticket, record) as lease,
            await attempts.begin(call, lease) as reply,
        ):
            return reply.head.status

    post(Ready("m#0", "m", 2, replace(stopped.endpoint, replica="m#0")))
    stopped.signal(signal.SIGSTOP)
    waiting = [asyncio.ensure_future(ask()) for _ in range(2)]
    while scheduler.running_on("m#0") < len(waiting):
        await asyncio.sleep(0)
    post(Ready("m#1", "m", 2, replace(free.endpoint, replica="m#1")))

    assert await waiting[1] == 200
    assert (False, ["m#0"]) == (waiting[0].done(), faults)
    stopped.signal(signal.SIGCONT)
    assert await waiting[0] == 200
    pools.close()
