"""What the answers of a replica say of it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from relayd.endpoint import Endpoint, UnixAddress
from relayd.secret import Secret
from relayd.supervisor.probe import Prober, ProbeResult
from relayd.supervisor.stall import NO_ANSWER

pytestmark = pytest.mark.pure

ENDPOINT = Endpoint(UnixAddress(Path("/none.sock")), Secret("k"), "m#0", 1)

Answer = tuple[int, bytes] | None
"""Status and body; None is silence."""


@dataclass
class Answers:
    """A replica with prepared answers, by path and by whether the key is shown."""

    answers: Mapping[tuple[str, bool], Answer]
    asked: list[tuple[str, bool, float]] = field(default_factory=list)

    async def __call__(
        self, endpoint: Endpoint, path: str, *, with_key: bool, timeout_seconds: float
    ) -> tuple[int, bytes]:
        assert ENDPOINT is endpoint
        self.asked.append((path, with_key, timeout_seconds))
        answer = self.answers.get((path, with_key))
        if answer is None:
            raise ConnectionRefusedError
        return answer


def prober(answers: Mapping[tuple[str, bool], Answer]) -> Prober:
    return Prober(ENDPOINT, Answers(answers), timeout_seconds=3)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, b'{"status": "ok"}'), ProbeResult.READY),
        ((503, b'{"error": {"message": "Loading model"}}'), ProbeResult.LOADING),
        ((200, b"<html>"), ProbeResult.LOADING),
        ((200, b"[1]"), ProbeResult.LOADING),
        ((200, b"\xff\xfe"), ProbeResult.LOADING),
        (None, ProbeResult.SILENT),
    ],
)
def test_health_says_whether_it_answers_and_whether_it_still_loads(
    answer: Answer, expected: ProbeResult
) -> None:
    assert expected is asyncio.run(prober({("/health", False): answer}).health())


@pytest.mark.parametrize(
    ("refused", "accepted", "expected"),
    [
        ((401, b""), (200, b"{}"), ProbeResult.READY),
        ((200, b"{}"), (200, b"{}"), ProbeResult.IMPOSTOR),
        ((401, b""), (401, b""), ProbeResult.IMPOSTOR),
        ((404, b""), (404, b""), ProbeResult.IMPOSTOR),
        (None, (200, b"{}"), ProbeResult.SILENT),
        ((401, b""), None, ProbeResult.SILENT),
    ],
)
def test_r23_only_the_process_with_our_key_refuses_without_it_and_accepts_with_it(
    refused: Answer, accepted: Answer, expected: ProbeResult
) -> None:
    answers = {("/props", False): refused, ("/props", True): accepted}

    assert expected is asyncio.run(prober(answers).identity())


def test_the_counters_of_a_replica_are_what_moves_while_it_works() -> None:
    text = b"# HELP x\nllamacpp:n_decode_total 12\nllamacpp:prompt_tokens_total 340\nllamacpp:other 9\n"

    assert (12, 340) == asyncio.run(prober({("/metrics", True): (200, text)}).counters())


@pytest.mark.parametrize("answer", [(501, b"llamacpp:n_decode_total 1\n"), (200, b"nothing here\n")])
def test_a_replica_that_tells_no_counters_has_none(answer: Answer) -> None:
    assert None is asyncio.run(prober({("/metrics", True): answer}).counters())


def test_health_shows_no_key_and_every_answer_has_a_deadline() -> None:
    answers = Answers({})

    asyncio.run(Prober(ENDPOINT, answers, timeout_seconds=3).health())

    assert [("/health", False, 3)] == answers.asked


def test_no_answer_is_not_the_same_as_no_counters() -> None:
    assert NO_ANSWER == asyncio.run(prober({}).counters())
    assert (None, 0.0) == asyncio.run(prober({}).decoding(512))


def test_the_seconds_of_a_batch_are_learnt_from_the_prompts_it_has_read() -> None:
    decodes = b"llamacpp:n_decode_total 12\n"
    prompts = b"llamacpp:prompt_tokens_total 400\nllamacpp:prompt_seconds_total 2.0\n"

    assert (12, 2.56) == asyncio.run(prober({("/metrics", True): (200, decodes + prompts)}).decoding(512))
    assert (12, 0) == asyncio.run(prober({("/metrics", True): (200, decodes)}).decoding(512))
    assert None is asyncio.run(prober({("/metrics", True): (501, b"")}).decoding(512))
