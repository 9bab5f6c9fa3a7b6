"""How is the end of a line written into a file of results, in the API its batch was made with?"""

import msgspec

from relayd.batch.journal import LineOutcome, LineResult
from relayd.store.batches import BatchKind, LineUsage


class LineAnswer(msgspec.Struct, frozen=True):
    """What a door has answered to a line.

    Attributes:
        status: HTTP status.
        body: As a client would get it.
        request_id: Of the request.
        code: Of the error, where relayd itself refused.
        retry_after_seconds: When asking again makes sense; None when that is not known.
        milliseconds: How long it had its slots.
    """

    status: int
    body: bytes
    request_id: str
    code: str = ""
    retry_after_seconds: float | None = None
    milliseconds: int = 0

    @property
    def is_success(self) -> bool:
        """Whether the line was carried out."""
        return 200 <= self.status < 300


class _Response(msgspec.Struct, frozen=True):
    status_code: int
    request_id: str
    body: msgspec.Raw


class _ResultError(msgspec.Struct, frozen=True):
    code: str
    message: str


class _OpenAILine(msgspec.Struct, frozen=True):
    id: str
    custom_id: str
    response: _Response | None
    error: _ResultError | None


class _MessageLine(msgspec.Struct, frozen=True):
    custom_id: str
    result: msgspec.Raw


_NOT_RUN = {
    LineOutcome.CANCELLED: ("batch_cancelled", "This line was not run: its batch was cancelled."),
    LineOutcome.EXPIRED: ("batch_expired", "This line was not run: the time of its batch was over."),
}


def answered(kind: BatchKind, number: int, custom_id: str, answer: LineAnswer) -> LineResult:
    """Return the result of a line that was answered.

    Args:
        kind: Whose API the batch was made with.
        number: Of the line.
        custom_id: Of the line.
        answer: What a door has answered.
    """
    is_good = answer.is_success
    outcome = LineOutcome.COMPLETED if is_good else LineOutcome.FAILED
    body = _as_line(answer.body)
    usage = _usage_of(body if is_good else msgspec.Raw(b"{}"), answer.milliseconds)
    if kind is BatchKind.ANTHROPIC:
        raw = b'{"type":"succeeded","message":%b}' if is_good else b'{"type":"errored","error":%b}'
        line = msgspec.json.encode(_MessageLine(custom_id, msgspec.Raw(raw % bytes(body))))
        return LineResult(number, outcome, line, usage)
    response = _Response(answer.status, answer.request_id, body)
    line = msgspec.json.encode(_OpenAILine(answer.request_id, custom_id, response, None))
    return LineResult(number, outcome, line, usage, is_error=not is_good)


def not_run(
    kind: BatchKind, number: int, custom_id: str, request_id: str, outcome: LineOutcome
) -> LineResult:
    """Return the result of a line that was not run.

    Args:
        kind: Whose API the batch was made with.
        number: Of the line.
        custom_id: Of the line.
        request_id: That it would have had.
        outcome: Why it was not.
    """
    if kind is BatchKind.ANTHROPIC:
        word = b"canceled" if outcome is LineOutcome.CANCELLED else b"expired"
        line = msgspec.json.encode(_MessageLine(custom_id, msgspec.Raw(b'{"type":"%b"}' % word)))
        return LineResult(number, outcome, line)
    line = msgspec.json.encode(_OpenAILine(request_id, custom_id, None, _ResultError(*_NOT_RUN[outcome])))
    return LineResult(number, outcome, line, is_error=True)


def _as_line(body: bytes) -> msgspec.Raw:
    """Return a body that fits on a line: what has line ends, or is not JSON, is written anew."""
    if b"\n" not in body and b"\r" not in body and body[:1] in (b"{", b"["):
        return msgspec.Raw(body)
    try:
        return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(body)))
    except msgspec.DecodeError:
        return msgspec.Raw(msgspec.json.encode(body.decode("utf-8", "replace")))


class _AnswerDetails(msgspec.Struct):
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class _UsageOfAnswer(msgspec.Struct):
    """In any of the dialects."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _AnswerDetails | None = None
    completion_tokens_details: _AnswerDetails | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _AnswerDetails | None = None
    output_tokens_details: _AnswerDetails | None = None
    cache_read_input_tokens: int | None = None


class _AnswerWithUsage(msgspec.Struct):
    usage: _UsageOfAnswer | None = None


_answer = msgspec.json.Decoder(_AnswerWithUsage)
_NO_DETAILS = _AnswerDetails()


def _usage_of(body: msgspec.Raw, milliseconds: int) -> LineUsage:
    """Return the tokens that an answer names; none where it names none."""
    try:
        usage = _answer.decode(body).usage
    except msgspec.DecodeError:
        usage = None
    if usage is None:
        return LineUsage(milliseconds=milliseconds)
    read = usage.prompt_tokens_details or usage.input_tokens_details or _NO_DETAILS
    written = usage.completion_tokens_details or usage.output_tokens_details or _NO_DETAILS
    from_cache = usage.cache_read_input_tokens
    return LineUsage(
        usage.prompt_tokens or usage.input_tokens + (from_cache or 0),
        read.cached_tokens if from_cache is None else from_cache,
        usage.completion_tokens or usage.output_tokens,
        written.reasoning_tokens,
        milliseconds,
    )
