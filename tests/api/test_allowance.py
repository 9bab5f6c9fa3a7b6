"""Are requests over the limits of their key refused with what clients read, and the others let through?"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from relayd.api.allowance import FREE_USE, Allowance
from relayd.api.anthropic import anthropic_routes
from relayd.api.grants import KeyGrant
from relayd.api.keys import KnownKeys
from relayd.api.ratelimits import refusal
from relayd.clock import SystemClock
from relayd.errors import QueueTimeoutError, QuotaError, RateLimitError, StoppingError
from relayd.rights import KeyLimits, KeyRights, Quota
from relayd.router import Exchanges
from relayd.scheduler import Arrived
from relayd.scheduler.limits import Bound, Over, Spending
from tests.api.conftest import Doors, Response, view
from tests.api.stage import PATHS, Stage, post
from tests.daemons import DEADLINE_SECONDS

Result = TypeVar("Result")
SECRET = "sk-of-a-limited-client"
USED_UP = Over(Bound.QUOTA, 5, 60.0, Quota("tokens", 5, "day"), 1_796_083_200.0)
BODY = {"model": "qwen", "messages": []}


def allowance(*quotas: Quota, **limits: int) -> Allowance:
    clock = SystemClock()
    return Allowance(KeyRights(limits=KeyLimits(**limits), quotas=quotas), Spending(clock.wall()), clock)


def stage(one: Allowance) -> Stage:
    grant = KeyGrant("key_1", "laptop", KeyRights(), allowance=one)
    digest = hashlib.sha256(SECRET.encode()).digest()
    return Stage(known=KnownKeys({digest: grant}, is_open=False, is_unused=False))


def keyed(path: str = PATHS[0]) -> bytes:
    return post(BODY, path).replace(b"\r\n", f"\r\nx-api-key: {SECRET}\r\n".encode(), 1)


def ask(doors: Doors, subject: Stage) -> Response:
    return subject.ask(doors, keyed())


@pytest.mark.fake
def test_a_request_too_many_is_429_with_what_clients_read(doors: Doors) -> None:
    subject = stage(allowance(rpm=2, tpm=1000))

    first, second, third = (ask(doors, subject) for _ in range(3))

    assert [200, 200, 429] == [first.status, second.status, third.status]
    assert ["1", "0", "0"] == [
        one.headers["x-ratelimit-remaining-requests"] for one in (first, second, third)
    ]
    assert ("2", "1000") == (
        first.headers["x-ratelimit-limit-requests"],
        first.headers["x-ratelimit-limit-tokens"],
    )
    assert 1 <= int(third.headers["retry-after"]) <= 60
    assert 1 <= int(third.headers["x-ratelimit-reset-requests"].rstrip("s")) <= 60
    assert ("rate_limit_error", "rate_limit_exceeded") == (third.error["type"], third.error["code"])
    assert 2 == len(subject.arrived)


@pytest.mark.fake
def test_a_quota_that_is_used_up_says_when_it_begins_anew(doors: Doors) -> None:
    subject = stage(allowance(Quota("requests", 1, "month")))

    first, second = (ask(doors, subject) for _ in range(2))

    assert [200, 429] == [first.status, second.status]
    assert "insufficient_quota" == second.error["code"]
    assert "requests=1/month" in second.error["message"]
    assert "UTC" in second.error["message"]


@pytest.mark.fake
def test_a_refused_request_is_recorded_under_its_key(doors: Doors) -> None:
    subject = stage(allowance(rpm=1))

    for _ in range(2):
        ask(doors, subject)

    codes = [one.code for one in subject.exchanges.recent()]
    assert ["", "rate_limit_exceeded"] == codes
    assert ["key_1", "key_1"] == [one.ask.key for one in subject.exchanges.recent()]


@pytest.mark.pure
def test_a_key_without_limits_has_nothing_to_wait_for() -> None:
    with FREE_USE as use:
        assert not use.needs_turn


def play(story: Callable[[], Awaitable[Result]]) -> Result:
    async def scene() -> Result:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await story()

    return asyncio.run(scene())


async def run(
    one: Allowance, done: asyncio.Event, begun: list[str], name: str, deadline: float | None = None
) -> None:
    record = Exchanges(SystemClock()).begin(name, "/")
    with one.use(record, {}) as use:
        await use.turn(deadline)
        begun.append(name)
        await done.wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.pure
def test_requests_take_turns_in_the_order_in_which_they_came() -> None:
    async def story() -> tuple[list[str], list[str]]:
        one, done, begun = allowance(in_flight=1), asyncio.Event(), list[str]()
        tasks = [asyncio.create_task(run(one, done, begun, name)) for name in "abc"]
        await settled()
        first = list(begun)
        done.set()
        await asyncio.gather(*tasks)
        return first, begun

    assert (["a"], ["a", "b", "c"]) == play(story)


@pytest.mark.pure
def test_a_client_that_leaves_gives_its_turn_and_its_place_to_others() -> None:
    async def story() -> list[str]:
        one, done, begun = allowance(in_flight=1), asyncio.Event(), list[str]()
        tasks = {name: asyncio.create_task(run(one, done, begun, name)) for name in "abcd"}
        await settled()
        tasks["b"].cancel()  # it waits
        tasks["a"].cancel()  # it runs
        await settled()
        done.set()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        return begun

    assert ["a", "c", "d"] == play(story)


@pytest.mark.pure
def test_a_turn_that_was_just_given_to_a_client_that_left_is_given_on() -> None:
    async def story() -> list[str]:
        one, first, rest, begun = allowance(in_flight=1), asyncio.Event(), asyncio.Event(), list[str]()
        a = asyncio.create_task(run(one, first, begun, "a"))
        await settled()
        b, c = (asyncio.create_task(run(one, rest, begun, name)) for name in "bc")
        await settled()
        first.set()
        await asyncio.sleep(0)
        b.cancel()
        rest.set()
        await asyncio.gather(a, b, c, return_exceptions=True)
        await run(one, rest, begun, "d")
        return begun

    assert ["c", "d"] == play(story)[-2:]


@pytest.mark.pure
def test_more_than_may_wait_and_waits_that_are_too_long_are_refused() -> None:
    async def story() -> list[object]:
        one, done, begun = allowance(in_flight=1, queued=1), asyncio.Event(), list[str]()
        running = asyncio.create_task(run(one, done, begun, "a"))
        await settled()
        late = asyncio.create_task(run(one, done, begun, "b", SystemClock().monotonic() + 0.01))
        await settled()
        many = asyncio.create_task(run(one, done, begun, "c"))
        outcomes = await asyncio.gather(late, many, return_exceptions=True)
        done.set()
        await running
        await run(one, done, begun, "d")
        assert ["a", "d"] == begun
        return [type(one) for one in outcomes]

    assert [QueueTimeoutError, RateLimitError] == play(story)


@pytest.mark.pure
def test_requests_that_wait_for_their_turn_show_their_place_and_can_be_ended() -> None:
    async def story() -> tuple[list[str], list[object], list[object]]:
        one, done, begun = allowance(in_flight=1), asyncio.Event(), list[str]()
        tasks = [asyncio.create_task(run(one, done, begun, name)) for name in "abc"]
        await settled()
        shown = [record.request_id for record in one.waiting()]
        ended = [
            one.interrupt(StoppingError("it was ended"), "b"),
            one.interrupt(StoppingError("x"), "nobody"),
        ]
        await settled()
        done.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [] == one.waiting()
        return shown, list(ended), [getattr(outcome, "queue_position", None) for outcome in outcomes]

    assert (["b", "c"], [1, 0], [None, 1, None]) == play(story)


@pytest.mark.pure
def test_the_place_of_a_request_that_waits_falls_and_its_wait_follows_what_others_took() -> None:
    async def story() -> list[tuple[int, bool] | None]:
        one, done, begun = allowance(in_flight=2), asyncio.Event(), list[str]()
        running = [asyncio.create_task(run(one, done, begun, name)) for name in "ab"]
        await settled()
        record, late = Exchanges(SystemClock()).begin("r", "/"), Exchanges(SystemClock()).begin("s", "/")
        with one.use(record, {}) as first, one.use(late, {}) as second:
            turns = [asyncio.create_task(each.turn(None)) for each in (first, second)]
            await settled()
            seen = [second.progress()]
            done.set()
            await asyncio.gather(*running, *turns)
            seen.append(second.progress())
        assert seen[0] is not None
        assert seen[0].seconds > 0
        return [None if each is None else (each.position, each.is_held) for each in seen]

    assert [(2, True), None] == play(story)


@pytest.mark.fake
def test_an_answer_of_the_messages_door_shows_limits_as_anthropic_does(doors: Doors) -> None:
    grant = KeyGrant("key_1", "laptop", KeyRights(), allowance=allowance(rpm=1, tpm=1000))
    known = KnownKeys({hashlib.sha256(SECRET.encode()).digest(): grant}, is_open=False, is_unused=False)
    subject = Stage(known=known, routes=anthropic_routes)
    body = {"model": "qwen", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}
    raw = post(body, "/v1/messages").replace(b"\r\n", f"\r\nx-api-key: {SECRET}\r\n".encode(), 1)

    first, second = (subject.ask(doors, raw) for _ in range(2))

    assert "0" == first.headers["anthropic-ratelimit-requests-remaining"]
    assert ("1", "1000", "1000") == tuple(
        first.headers[f"anthropic-ratelimit-{name}"]
        for name in ("requests-limit", "tokens-limit", "tokens-remaining")
    )
    reset = datetime.fromisoformat(second.headers["anthropic-ratelimit-requests-reset"])
    assert 0 < (reset - datetime.now(UTC)).total_seconds() <= 61
    assert (429, "rate_limit_error") == (second.status, json.loads(second.body)["error"]["type"])
    assert 1 <= int(second.headers["retry-after"]) <= 60
    assert "0" == second.headers["x-ratelimit-remaining-requests"]


@pytest.mark.fake
@pytest.mark.parametrize("retain", [True, False])
def test_of_a_key_without_retention_the_schedule_learns_neither_prompt_nor_session(
    doors: Doors, retain: bool
) -> None:
    grant = KeyGrant("key_1", "laptop", KeyRights(retain=retain))
    known = KnownKeys({hashlib.sha256(SECRET.encode()).digest(): grant}, is_open=False, is_unused=False)
    subject = Stage(known=known)
    body = {"model": "qwen", "messages": [{"role": "user", "content": "a" * 4000}], "prompt_cache_key": "s"}
    raw = post(body).replace(b"\r\n", f"\r\nx-api-key: {SECRET}\r\nX-Session-Id: mine\r\n".encode(), 1)

    subject.ask(doors, raw, (replace(view("qwen"), is_affine=True),))

    (asked,) = [one.ticket.ask for one in subject.events if isinstance(one, Arrived)]
    assert (retain, retain) == (bool(asked.prefix), bool(asked.session))


@pytest.mark.fake
def test_other_doors_show_no_limits_of_anthropic(doors: Doors) -> None:
    answer = ask(doors, stage(allowance(rpm=2)))

    assert [] == [name for name in answer.headers if name.startswith("anthropic")]


@pytest.mark.pure
def test_a_daemon_that_ends_refuses_what_waits_for_its_turn() -> None:
    async def story() -> list[object]:
        one, done, begun = allowance(in_flight=1), asyncio.Event(), list[str]()
        tasks = [asyncio.create_task(run(one, done, begun, name)) for name in "ab"]
        await settled()
        one.interrupt(StoppingError("it ends"))
        await settled()
        done.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second = play(story)
    assert first is None
    assert isinstance(second, StoppingError)


@pytest.mark.pure
def test_a_thousand_that_end_at_once_do_not_nest() -> None:
    async def story() -> int:
        one, done, begun = allowance(in_flight=1), asyncio.Event(), list[str]()
        tasks = [asyncio.create_task(run(one, done, begun, str(name))) for name in range(1500)]
        await settled()
        done.set()
        await asyncio.gather(*tasks)
        return len(begun)

    assert 1500 == play(story)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("over", "kind", "words"),
    [
        (Over(Bound.REQUESTS, 60, 12.2), RateLimitError, "60 requests a minute"),
        (Over(Bound.TOKENS, 1000, 0.0), RateLimitError, "1000 tokens a minute"),
        (Over(Bound.QUEUE, 8, 1.0), RateLimitError, "8 requests of this key wait"),
        (USED_UP, QuotaError, "2026-12-01 00:00"),
    ],
)
def test_a_refusal_names_the_limit_and_when_to_try_again(
    over: Over, kind: type[RateLimitError], words: str
) -> None:
    error = refusal(over)

    assert kind is type(error)
    assert words in error.message
    assert error.retry_after_seconds is not None
    assert error.retry_after_seconds >= 1
