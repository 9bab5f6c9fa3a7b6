"""A load test of an OpenAI address: answers a second, how long each takes, and what fails."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse

from relayd.secret import Secret

PERCENTS = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class Answered:
    """What one request came to.

    Attributes:
        failure: Why it failed, such as `429 queue_full`; "" for a whole answer.
        first_byte_seconds: From sending it to the first byte of the body.
        seconds: From sending it to the end of the answer.
        tokens: Tokens of the answer; 0 where the server counts none.
    """

    failure: str
    first_byte_seconds: float = 0.0
    seconds: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How long requests took, in seconds: half of them at most `p50`, and so on."""

    p50: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of a load test.

    Attributes:
        requests: How many were sent.
        concurrency: How many of them at once.
        seconds: From the first to the end of the last.
        answered: Those with a whole answer.
        failures: How many failed, by status and code.
        requests_per_second: Whole answers a second.
        tokens_per_second: Tokens of all answers a second; 0 where the server counts none.
        first_byte: Times to the first byte; None without an answer.
        whole: Times to the end; None without an answer.
    """

    requests: int
    concurrency: int
    seconds: float
    answered: int
    failures: Mapping[str, int]
    requests_per_second: float
    tokens_per_second: float
    first_byte: Percentiles | None
    whole: Percentiles | None


@dataclass(frozen=True, slots=True)
class Target:
    """A chat API that requests are sent to.

    Attributes:
        connect: Makes a connection that is not open yet.
        path: Of the chat completions.
        body: What every request has.
        prompt: The text of every request, behind its number.
        key: The API key; empty for none.
    """

    connect: Callable[[], HTTPConnection]
    path: str
    body: Mapping[str, object]
    prompt: str
    key: Secret = field(default_factory=lambda: Secret(""))

    def ask(self, connection: HTTPConnection, number: int) -> Answered:
        """Send one request over a connection, and read its answer to the end.

        Args:
            connection: It stays open where the server keeps it so.
            number: Makes the prompt differ from every other, so that no cache answers it.
        """
        body = {**self.body, "messages": [{"role": "user", "content": f"{number} {self.prompt}"}]}
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key.reveal()}"
        sent = time.monotonic()
        try:
            connection.request("POST", self.path, json.dumps(body), headers)
            response = connection.getresponse()
            first, text = _read(response)
        except (OSError, HTTPException) as error:
            connection.close()
            return Answered(_broken(error))
        ended = time.monotonic()
        if failure := _failure(response.status, text, stream=bool(self.body.get("stream"))):
            return Answered(failure)
        return Answered("", first - sent, ended - sent, _tokens(text))


def run_load(
    target: Target, requests: int, concurrency: int, on_answer: Callable[[int], None] = lambda _: None
) -> LoadResult:
    """Send requests, so many at once, and return the result; Ctrl-C returns that of those which have ended.

    Args:
        target: Where they go.
        requests: How many.
        concurrency: How many at once, each over a connection of its own.
        on_answer: Called with the number of answers so far.
    """
    answers: list[Answered] = []
    numbers, lock, stopped = iter(range(1, requests + 1)), threading.Lock(), threading.Event()

    def work() -> None:
        connection = target.connect()
        try:
            for number in _taken(numbers, lock, stopped):
                answer = target.ask(connection, number)
                with lock:
                    answers.append(answer)
                    on_answer(len(answers))
        finally:
            connection.close()

    began = time.monotonic()
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(concurrency, requests))]
    for worker in workers:
        worker.start()
    with suppress(KeyboardInterrupt):
        for worker in workers:
            worker.join()
    stopped.set()
    with lock:
        return result_of(answers, concurrency, time.monotonic() - began)


def result_of(answers: Sequence[Answered], concurrency: int, seconds: float) -> LoadResult:
    """Return what requests came to that took `seconds` together."""
    whole = [one for one in answers if not one.failure]
    per_second = 1 / seconds if seconds > 0 else 0.0
    return LoadResult(
        requests=len(answers),
        concurrency=concurrency,
        seconds=seconds,
        answered=len(whole),
        failures=dict(Counter(one.failure for one in answers if one.failure).most_common()),
        requests_per_second=len(whole) * per_second,
        tokens_per_second=sum(one.tokens for one in whole) * per_second,
        first_byte=percentiles([one.first_byte_seconds for one in whole]),
        whole=percentiles([one.seconds for one in whole]),
    )


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """Return the percentiles of values, each one of them: the smallest that so many are not above."""
    if not values:
        return None
    ordered = sorted(values)
    half, most, nearly_all = (ordered[-(-len(ordered) * percent // 100) - 1] for percent in PERCENTS)
    return Percentiles(half, most, nearly_all, ordered[-1])


def _taken(numbers: Iterator[int], lock: threading.Lock, stopped: threading.Event) -> Iterator[int]:
    """Yield what is left for one of several workers."""
    while not stopped.is_set():
        with lock:
            number = next(numbers, None)
        if number is None:
            return
        yield number


def _read(response: HTTPResponse) -> tuple[float, bytes]:
    """Return when the first byte of a body came, and all of it."""
    first = response.read(1)
    came = time.monotonic()
    return came, first + response.read()


def _failure(status: int, text: bytes, *, stream: bool) -> str:
    """Return status and code of what is not a whole answer; "" for one."""
    if status != 200:
        return " ".join(filter(None, (str(status), _code(text))))
    if not stream:
        return ""
    events = [line.removeprefix(b"data: ") for line in text.splitlines() if line.startswith(b"data: ")]
    failed = next((one for one in events if b'"error"' in one and _code(one)), b"")
    if failed:
        return f"stream {_code(failed)}"
    return "" if events and events[-1].strip() == b"[DONE]" else "stream without an end"


def _code(text: bytes) -> str:
    """Return the code, or else the type, of an error in OpenAI's form."""
    try:
        error = json.loads(text)["error"]
        return str(error.get("code") or error.get("type") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _tokens(text: bytes) -> int:
    """Return the tokens that an answer counts of itself: as a whole, or in an event of its end."""
    documents = [line.removeprefix(b"data: ") for line in text.splitlines() if line.startswith(b"data: ")]
    for document in reversed(documents or [text]):
        if b'"usage"' in document or b'"timings"' in document:
            with suppress(ValueError, TypeError, AttributeError):
                read = json.loads(document)
                usage, timings = read.get("usage") or {}, read.get("timings") or {}
                if count := usage.get("completion_tokens") or timings.get("predicted_n"):
                    return int(count)
    return 0


def _broken(error: Exception) -> str:
    """Return in two words why no answer came."""
    kinds = (
        (ConnectionRefusedError, "connection refused"),
        (TimeoutError, "timed out"),
        (ConnectionError, "connection cut"),
        (HTTPException, "answer cut"),
    )
    return next((text for kind, text in kinds if isinstance(error, kind)), "cannot connect")
