"""Work without a client goes to replicas by the same retry policy."""

from contextlib import AsyncExitStack

import msgspec
import pytest

from relayd.clock import SystemClock
from relayd.errors import UpstreamError
from relayd.router import Attempts, Call, Exchanges, Pools
from relayd.router.message_collector import MessageCollector
from relayd.scheduler import Ask, Ended
from tests.dialects.engine import MESSAGE_THOUGHT
from tests.fakes.replica import (
    LAST_CHUNK,
    SSE_HEAD,
    Act,
    Then,
    act,
    chunk,
    event,
    fake_replica,
    json_answer,
    refusal,
)
from tests.router.front import Places

pytestmark = [pytest.mark.fake, pytest.mark.usefixtures("runner")]

GOOD = act(json_answer(b'{"ok":true}'))
CALL = Call("/v1/embeddings", b"{}")


class Collected:
    """A sink that is no client's."""

    def __init__(self) -> None:
        self.raw = b""

    def take(self, raw: bytes) -> bool:
        self.raw += raw
        return False

    async def room(self) -> None: ...


class Batch:
    """Asks for one answer, from replicas that each do as they are told."""

    def __init__(self) -> None:
        self.exchanges = Exchanges(SystemClock())
        self.faults: list[str] = []
        self.sink = Collected()

    async def run(self, *scripts: Act | tuple[Act, ...], call: Call = CALL) -> bytes:
        async with AsyncExitStack() as stack:
            acts = [script if isinstance(script, tuple) else (script,) for script in scripts]
            replicas = [await stack.enter_async_context(fake_replica(None, *some)) for some in acts]
            places = Places(*(replica.endpoint for replica in replicas))
            pools = Pools()
            stack.callback(pools.close)
            attempts = Attempts(pools, lambda _, fault: self.faults.append(fault))
            with (
                self.exchanges.begin("line-1", call.path) as record,
                places.dispatcher.open(Ask("m", klass="batch"), record) as lease,
                await attempts.begin(call, lease) as reply,
            ):
                if reply.problem is not None:
                    record.refused(reply.problem)
                    return b""
                record.began(reply.head.status)
                await reply.relay(self.sink)
                return self.sink.raw


async def test_a_batch_reads_an_answer() -> None:
    batch = Batch()

    assert await batch.run(GOOD) == b'{"ok":true}'
    assert [(Ended.DONE, "batch", 1)] == [
        (one.ended, one.ask.klass, one.attempts) for one in batch.exchanges.recent()
    ]


@pytest.mark.parametrize(
    "first",
    [act(then=Then.CLOSE), act(refusal(503, "unavailable_error", "Loading model")), act(b"nonsense\r\n\r\n")],
    ids=["gone", "loading", "no HTTP"],
)
async def test_what_fails_before_the_first_byte_is_tried_elsewhere(first: Act) -> None:
    batch = Batch()

    assert await batch.run(first, GOOD) == b'{"ok":true}'
    assert [2] == [one.attempts for one in batch.exchanges.recent()]
    assert 1 == len(batch.faults)


async def test_a_refusal_is_a_value() -> None:
    batch = Batch()

    await batch.run(act(refusal(400, "invalid_request_error", "why")), GOOD)

    assert [(Ended.REFUSED, 400, 1)] == [
        (one.ended, one.status, one.attempts) for one in batch.exchanges.recent()
    ]


@pytest.mark.parametrize("size", [10, 300_000, 3_000_000], ids=["short", "cut", "long"])
async def test_a_clients_mistake_is_its_own_error_after_one_attempt(size: int) -> None:
    batch = Batch()
    mistake = "Failed to parse tools: tools = " + "x" * size

    await batch.run(act(refusal(500, "server_error", mistake)), GOOD)

    assert [(Ended.REFUSED, 400, 1)] == [
        (one.ended, one.status, one.attempts) for one in batch.exchanges.recent()
    ]
    assert [] == batch.faults


async def test_an_allocation_that_fails_twice_is_the_requests_own_fault() -> None:
    batch = Batch()
    starved = act(refusal(500, "server_error", "std::bad_alloc"))

    await batch.run(starved, starved, GOOD)

    assert [(Ended.REFUSED, 400, 2)] == [
        (one.ended, one.status, one.attempts) for one in batch.exchanges.recent()
    ]


async def test_when_no_replica_is_left_the_scheduler_says_so() -> None:
    batch = Batch()

    with pytest.raises(UpstreamError, match="every replica"):
        await batch.run(act(then=Then.CLOSE))

    assert [(Ended.REFUSED, 502)] == [(one.ended, one.status) for one in batch.exchanges.recent()]


async def test_what_fails_after_the_first_byte_is_not_hidden() -> None:
    batch = Batch()
    cut = act(SSE_HEAD + chunk(event(1)), then=Then.CLOSE)

    with pytest.raises(ConnectionError):
        await batch.run(cut, call=Call("/v1/completions", b"{}", stream=True))

    assert batch.sink.raw == chunk(event(1))
    assert not batch.sink.raw.endswith(LAST_CHUNK)


MESSAGE = Call("/v1/messages", b'{"messages":[]}', stream=True)
WITHOUT_START = MESSAGE_THOUGHT[MESSAGE_THOUGHT.index(b"event: content_block_start") :]


@pytest.mark.parametrize("collector", [None, MessageCollector])
async def test_a_message_that_begins_with_half_a_character_gets_the_start_that_the_engine_left_out(
    collector: type[MessageCollector] | None,
) -> None:
    begun = act(SSE_HEAD + chunk(WITHOUT_START) + LAST_CHUNK)
    call = msgspec.structs.replace(MESSAGE, collector=collector)

    raw = await Batch().run((begun, act(json_answer(b'{"input_tokens":26}'))), call=call)

    assert 1 == raw.count(b'"id":"chatcmpl-')
    assert b'"model":"m"' in raw
    assert b'"input_tokens":26' in raw


@pytest.mark.parametrize("counting", [act(then=Then.CLOSE), act(refusal(501, "not_supported_error"))])
async def test_a_message_whose_prompt_cannot_be_counted_has_a_start_all_the_same(counting: Act) -> None:
    begun = act(SSE_HEAD + chunk(WITHOUT_START) + LAST_CHUNK)

    raw = await Batch().run((begun, counting), call=MESSAGE)

    assert 1 == raw.count(b"event: message_start")
    assert raw.endswith(LAST_CHUNK)


async def test_a_message_that_has_its_start_is_not_touched() -> None:
    whole = SSE_HEAD + chunk(MESSAGE_THOUGHT) + LAST_CHUNK

    assert whole.partition(b"\r\n\r\n")[2] == await Batch().run(act(whole), call=MESSAGE)
