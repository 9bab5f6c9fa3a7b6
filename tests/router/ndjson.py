"""A second API in one file: NDJSON lines instead of events, and errors of another shape."""

from collections.abc import Iterator

import msgspec

from relayd.router import Dialect, Problem, Translation

_DONE = b"[DONE]"


def error_body(problem: Problem) -> bytes:
    return msgspec.json.encode({"error": problem.message, "reason": problem.code})


def error_line(problem: Problem) -> bytes:
    return error_body(problem) + b"\n"


class Lines:
    """Events of the engine to lines, one for one."""

    media_type = "application/x-ndjson"

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, payload: bytes) -> bytes:
        *events, self._rest = (self._rest + payload).split(b"\n\n")
        return b"".join(self._lines(events))

    def end(self) -> bytes:
        return b'{"done":true}\n'

    def _lines(self, events: list[bytes]) -> Iterator[bytes]:
        for event in events:
            data = event.removeprefix(b"data: ")
            if data != _DONE:
                yield data + b"\n"


def translation(*, stream: bool) -> Translation | None:
    return Lines() if stream else None


NDJSON = Dialect(
    name="ndjson",
    error_body=error_body,
    error_event=error_line,
    event_end=b"\n",
    translation=translation,
)
