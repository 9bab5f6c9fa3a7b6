"""Are the lines of a batch well formed, and what do they ask for (validation)?

A file is read once, line by line: what is kept of a line is where it stands, a digest of its `custom_id`, and
what its prompt begins with, by which lines are put into the order of running. Lines of one model follow each
other, and among them those that begin alike, so that a replica finds in its cache what it has read before.

Everything here blocks, and takes about 60 µs of CPU a line: a file is read in many small steps, as it shares
the interpreter with the event loop.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from relayd.batch.lines import BatchLine, LineIndex
from relayd.router import fingerprint
from relayd.store.batches import LineFault
from relayd.units import show_bytes

URLS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/rerank",
)
"""The paths that a line may ask for."""

MOST_FAULTS = 100
"""Faults that are reported; the rest of a file is not read."""

LONGEST_ID = 512
"""Characters of a `custom_id`."""

_ORDERED_BLOCKS = 6
"""By how many blocks of their prompts lines are put into order (`router.fingerprint`)."""

_AT_ONCE = 32
"""Lines that are read before the event loop gets its turn: about 2 ms."""


class GivenLine(msgspec.Struct, gc=False):
    """A line as its owner wrote it."""

    custom_id: str
    body: msgspec.Raw
    method: str = "POST"
    url: str = ""


class _Body(msgspec.Struct, gc=False):
    model: str | None = None
    stream: bool | None = None


_line = msgspec.json.Decoder(GivenLine)
_body = msgspec.json.Decoder(_Body)


@dataclass(frozen=True, slots=True)
class LineRules:
    """What the lines of a batch may be.

    Attributes:
        endpoint: Their path; empty lets each name its own.
        most_lines: How many there may be.
        most_bytes: Of one.
    """

    endpoint: str
    most_lines: int
    most_bytes: int


@dataclass(slots=True)
class CheckedLines:
    """What was found in a file.

    Attributes:
        index: Its lines; None where some cannot be run.
        faults: Why they cannot.
        named: Model -> the number of the first line that names it.
    """

    index: LineIndex | None = None
    faults: list[LineFault] = field(default_factory=list)
    named: Mapping[str, int] = field(default_factory=dict)


def read_lines(path: Path, rules: LineRules) -> CheckedLines:
    """Read a file for the first time.

    Args:
        path: The file.
        rules: What its lines may be.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        reading = LineReading(file, rules)
        while reading.step():
            pass
    return reading.finish()


def _split(file: BinaryIO, most: int) -> Iterator[tuple[int, int, bytes | None]]:
    """Yield where each line begins that is not blank, its number, and the line; None for a longer one."""
    start, number, is_tail = 0, 1, False
    while raw := file.readline(most + 2):
        is_whole = raw.endswith(b"\n")
        is_long = not is_whole and len(raw) >= most + 2
        if not is_tail and (is_long or raw.strip()):
            yield start, number, None if is_long else raw.rstrip(b"\r\n")
        start += len(raw)
        number += is_whole
        is_tail = not is_whole


class LineReading:
    """Reads line after line.

    Args:
        file: With the lines.
        rules: What they may be.

    Attributes:
        faults: Why some of them cannot be run.
        is_full: There are more than there may be.
    """

    def __init__(self, file: BinaryIO, rules: LineRules) -> None:
        self._rules = rules
        self._left = _split(file, rules.most_bytes)
        self.faults: list[LineFault] = []
        self.is_full = False
        self._seen: dict[int, int] = {}
        self._models: dict[str, int] = {}
        self._urls: dict[str, int] = {}
        self._named: dict[str, int] = {}
        self._lines: list[tuple[tuple[int, int, bytes], BatchLine]] = []

    def __repr__(self) -> str:
        return f"<LineReading {len(self._lines)} lines, {len(self.faults)} faults>"

    def step(self) -> bool:
        """Read the next few lines; return whether there are more."""
        for _ in range(_AT_ONCE):
            found = next(self._left, None)
            if found is None:
                return False
            self._take(*found)
            if len(self.faults) >= MOST_FAULTS or self.is_full:
                return False
        return True

    def _take(self, start: int, number: int, raw: bytes | None) -> None:
        """Look at a line."""
        if raw is None:
            most = show_bytes(self._rules.most_bytes)
            self._fail(number, "line_too_long", f"The line is longer than {most}.")
        elif len(self._lines) >= self._rules.most_lines:
            self.is_full = True
            self._fail(
                None,
                "too_many_tasks",
                f"The file has more than {self._rules.most_lines:,} lines. Split it, or raise "
                "batches.max_lines.",
            )
        elif (found := self._decoded(number, raw)) is not None:
            self._enter(found, start, number, len(raw))

    def finish(self) -> CheckedLines:
        """Return what was found."""
        if not self._lines and not self.faults:
            self._fail(None, "empty_file", "The file has no lines.")
        if self.faults:
            return CheckedLines(faults=self.faults)
        self._lines.sort(key=lambda one: one[0])
        index = LineIndex.of((line for _, line in self._lines), [*self._models], [*self._urls])
        return CheckedLines(index, [], self._named)

    def _decoded(self, number: int, raw: bytes) -> tuple[GivenLine, _Body] | None:
        """Return a line that can be run; None where a fault was noted."""
        try:
            line = _line.decode(raw)
        except msgspec.ValidationError as error:
            self._fail(number, "invalid_request", f"{error}.", _member(error))
            return None
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            self._fail(number, "invalid_json_line", "The line is not a JSON object.")
            return None
        if (fault := self._wrong(line)) is not None:
            self._fail(number, *fault)
            return None
        try:
            body = _body.decode(line.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            self._fail(number, "invalid_request", f"Its body: {error}.", "body")
            return None
        return (line, body) if self._is_new(line, body, number) else None

    def _is_new(self, line: GivenLine, body: _Body, number: int) -> bool:
        if body.stream:
            message = "A line of a batch is not streamed. Leave stream out."
            self._fail(number, "invalid_request", message, "stream")
            return False
        first = self._seen.setdefault(_digest(line.custom_id), number)
        if first != number:
            message = f"The custom_id {line.custom_id[:100]!r} is that of line {first} too."
            self._fail(number, "duplicate_custom_id", message, "custom_id")
        return first == number

    def _wrong(self, line: GivenLine) -> tuple[str, str, str] | None:
        """Return code, message and member of what is wrong with a line itself."""
        endpoint = self._rules.endpoint
        if not 0 < len(line.custom_id) <= LONGEST_ID:
            return "invalid_request", f"custom_id has 1 to {LONGEST_ID} characters.", "custom_id"
        if line.method != "POST":
            return "invalid_method", f"The method {line.method[:20]!r} is not POST.", "method"
        url = line.url or endpoint
        if endpoint and url != endpoint:
            message = f"The url {url[:100]!r} is not {endpoint!r}, the endpoint of the batch."
            return "mismatched_endpoint", message, "url"
        if url not in URLS:
            return "invalid_url", f"The url {url[:100]!r} is none of {', '.join(URLS)}.", "url"
        return None

    def _enter(self, found: tuple[GivenLine, _Body], start: int, number: int, size: int) -> None:
        line, body = found
        name = body.model or ""
        model = self._models.setdefault(name, len(self._models))
        url = self._urls.setdefault(line.url or self._rules.endpoint, len(self._urls))
        self._named.setdefault(name, number)
        self._lines.append(((model, url, _beginning(line.body)), BatchLine(start, size, number, model, url)))

    def _fail(self, number: int | None, code: str, message: str, param: str | None = None) -> None:
        """Note why a line cannot be run."""
        self.faults.append(LineFault(code, message, number, param))


def _digest(custom_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(custom_id.encode("utf-8", "replace"), digest_size=8).digest())


def _beginning(body: msgspec.Raw) -> bytes:
    """Return what stands for the beginning of a prompt: equal for those that begin alike."""
    chain = fingerprint(bytes(body)).chain[:_ORDERED_BLOCKS]
    return b"".join(one.to_bytes(8, "big", signed=True) for one in chain)


def _member(error: msgspec.ValidationError) -> str | None:
    """Return the member that an error of msgspec names."""
    text = str(error)
    return next(
        (name for name in GivenLine.__struct_fields__ if f"`{name}`" in text or f".{name}" in text), None
    )
