"""Inputs of a batch, JSON lines, CSV or plain text, become the lines of its file; faults name their line.

Lines are read one by one: a file may be larger than memory.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from relayd.batch.client.lines import CHAT, RESPONSES, chat_body, json_line, message_params, responses_body
from relayd.batch.client.template import PromptTemplate
from relayd.batch.client.values import BatchRequest
from relayd.errors import UsageError

MOST_FAULTS = 10
"""Faults that are shown; the rest of a file is not read."""

ENDPOINTS = (CHAT, "/v1/completions", "/v1/embeddings", RESPONSES, "/v1/messages", "/v1/rerank")
"""What lines can be for."""

_CSV = {".csv": ",", ".tsv": "\t"}
_LINES = frozenset({".jsonl", ".ndjson", ".json"})
_LONGEST_CELL = 1 << 24
_FORMATS = "Lines of a batch have custom_id, url and body; with --prompt-template any object goes."


@dataclass(frozen=True, slots=True)
class InputPlan:
    """How rows become requests.

    Attributes:
        endpoint: What they are for; "" is what the lines name, else chat completions.
        model: The model of lines that name none; "" leaves that to the server.
        template: What a prompt is made of; "" is the row's `prompt`, or the line of a text.
        system: The system prompt, a template too.
        max_tokens: Most tokens of an answer; None leaves that to the server.
    """

    endpoint: str = ""
    model: str = ""
    template: str = ""
    system: str = ""
    max_tokens: int | None = None


class InputLine(NamedTuple):
    """A request as it goes into the file."""

    raw: bytes
    url: str


class _InputRow(NamedTuple):
    number: int
    values: Mapping[str, str]


class _LineFaultError(Exception):
    """Why one line cannot be sent."""


def request_lines(file: Path, plan: InputPlan) -> Iterator[InputLine]:
    """Yield the requests of a file.

    Args:
        file: `.jsonl`, `.csv` or `.tsv`; anything else is a text with a prompt a line.
        plan: How rows become requests.

    Raises:
        UsageError: The file cannot be read, has nothing, or has faults; the first ones are named.
    """
    faults, seen = list[str](), dict[bytes, int]()
    try:
        with file.open("rb") as opened:
            for number, made in _made(opened, file.suffix.lower(), plan):
                try:
                    line = made()
                    _take(line, number, seen)
                    yield InputLine(json_line(line), line["url"])
                except _LineFaultError as fault:
                    faults.append(f"line {number}: {fault}")
                    if len(faults) == MOST_FAULTS:
                        break
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    if faults:
        more = " and maybe more" if len(faults) == MOST_FAULTS else ""
        raise UsageError(
            f"{file} has {len(faults)} bad lines{more}:\n  " + "\n  ".join(faults), remedy=_FORMATS
        )
    if not seen:
        raise UsageError(f"{file} has no requests in it", remedy=_FORMATS)


def _made(
    opened: Iterable[bytes], suffix: str, plan: InputPlan
) -> Iterator[tuple[int, Callable[[], dict[str, Any]]]]:
    """Yield the number of each line, and what makes its request."""
    if suffix in _LINES:
        for number, raw in enumerate(opened, 1):
            if raw.strip():
                yield number, partial(_from_object, raw, number, plan)
        return
    rows = _table(opened, _CSV[suffix], plan) if suffix in _CSV else _text(opened)
    fill = _filler(plan, "{line}" if suffix not in _CSV else "{prompt}")
    for row in rows:
        yield row.number, partial(fill, row)


def _from_object(raw: bytes, number: int, plan: InputPlan) -> dict[str, Any]:
    """Return the request of a JSON line: as it is, or filled into the template."""
    try:
        found = json.loads(raw)
    except UnicodeDecodeError as error:
        raise _LineFaultError(f"not UTF-8: {error.reason}") from error
    except json.JSONDecodeError as error:
        raise _LineFaultError(f"not valid JSON at character {error.pos + 1}: {error.msg}") from error
    if not isinstance(found, dict):
        raise _LineFaultError("not a JSON object")
    if "body" not in found and (plan.template or "prompt" in found):
        values = {
            str(name): value if isinstance(value, str) else json.dumps(value) for name, value in found.items()
        }
        return _filler(plan, "{prompt}")(_InputRow(number, values))
    if not isinstance(found.get("body"), dict):
        raise _LineFaultError("it has no `body`, an object with the request")
    url = plan.endpoint or found.get("url") or CHAT
    if url not in ENDPOINTS:
        raise _LineFaultError(f"`url` is {url!r}; batches are for {', '.join(ENDPOINTS)}")
    body = found["body"]
    if plan.model and not body.get("model"):
        body = {**body, "model": plan.model}
    if plan.max_tokens is not None:
        body = {"max_tokens" if url != RESPONSES else "max_output_tokens": plan.max_tokens, **body}
    return {**found, "method": "POST", "url": url, "body": body}


def _filler(plan: InputPlan, otherwise: str) -> Callable[[_InputRow], dict[str, Any]]:
    """Return what makes a request of a row."""
    template, system = PromptTemplate(plan.template or otherwise), PromptTemplate(plan.system)
    url = plan.endpoint or CHAT
    if url not in ENDPOINTS or url == "/v1/rerank":
        raise UsageError(
            f"prompts cannot be sent to {url}", remedy=f"Name one of: {', '.join(ENDPOINTS[:-1])}."
        )

    def fill(row: _InputRow) -> dict[str, Any]:
        try:
            prompt, instructions = template.filled(row.values), system.filled(row.values)
        except UsageError as error:
            raise _LineFaultError(f"{error.message}. {error.remedy}") from error
        name = row.values.get("custom_id") or row.values.get("id") or f"line-{row.number}"
        model = row.values.get("model") or plan.model
        return {
            "custom_id": name,
            "method": "POST",
            "url": url,
            "body": _body(url, BatchRequest(name, model, instructions, prompt, plan.max_tokens)),
        }

    return fill


def _body(url: str, request: BatchRequest) -> dict[str, Any]:
    """Return the body of a prompt for an endpoint."""
    if url == CHAT:
        body = chat_body(request)
    elif url == RESPONSES:
        body = responses_body(request)
    elif url == "/v1/messages":
        body = message_params(request)
    elif url == "/v1/embeddings":
        body = {"model": request.model, "input": request.prompt}
    else:
        text = f"{request.system_prompt}\n\n{request.prompt}" if request.system_prompt else request.prompt
        limit = {} if request.max_tokens is None else {"max_tokens": request.max_tokens}
        body = {"model": request.model, "prompt": text, **limit}
    if not request.model:
        del body["model"]
    return body


def _take(line: Mapping[str, Any], number: int, seen: dict[bytes, int]) -> None:
    """Note the id of a line; of each only a digest is kept, as there may be millions."""
    name = line.get("custom_id")
    if not isinstance(name, str) or not name:
        raise _LineFaultError("it has no `custom_id`, by which its result is found")
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()
    if digest in seen:
        raise _LineFaultError(f"its `custom_id` {name!r} is that of line {seen[digest]}")
    seen[digest] = number


def _table(opened: Iterable[bytes], delimiter: str, plan: InputPlan) -> Iterator[_InputRow]:
    """Yield the rows of a CSV; its first line names the columns.

    Raises:
        UsageError: It is not one, or lacks a column that the templates ask for.
    """
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.DictReader(_decoded(opened), delimiter=delimiter)
    asked = PromptTemplate((plan.template or "{prompt}") + plan.system).names
    missing = [name for name in asked if name not in (reader.fieldnames or asked)]
    if missing:
        raise UsageError(
            f"there is no column {missing[0]!r}: there are {', '.join(reader.fieldnames or ())}",
            remedy="Write the prompt with columns in braces: --prompt-template 'Translate: {text}'.",
        )
    try:
        for values in reader:
            yield _InputRow(
                reader.line_num, {name: text or "" for name, text in values.items() if name is not None}
            )
    except csv.Error as error:
        raise UsageError(f"line {reader.line_num} is not valid CSV: {error}") from error


def _text(opened: Iterable[bytes]) -> Iterator[_InputRow]:
    """Yield the lines of a text that are not empty."""
    for number, line in enumerate(_decoded(opened), 1):
        if text := line.strip():
            yield _InputRow(number, {"line": text})


def _decoded(opened: Iterable[bytes]) -> Iterator[str]:
    """Yield lines as text.

    Raises:
        UsageError: One is not UTF-8.
    """
    for number, raw in enumerate(opened, 1):
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"line {number} is not UTF-8: {error.reason}") from error
