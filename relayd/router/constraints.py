"""May what a request wants its answer to follow become a grammar of the engine (grammar, schemas, tools)?

Agents send the same tools with each request, so verdicts of the last ones are kept.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import msgspec

from relayd.errors import RequestError
from relayd.router import gbnf, schema
from relayd.units import KIB

MOST_BYTES = 1024 * KIB
"""Of the tools or the schema of one request: 100 tools with 20 properties each take 150 to 500 kB."""

_KEPT_BYTES = 256 * KIB
_KEPT = 32
"""At most 8 MiB of texts are kept with their verdicts."""

_TEXT = msgspec.json.Decoder(str | None)


def check_grammar(raw: msgspec.Raw) -> None:
    """Refuse a grammar that costs the engine too much.

    Raises:
        RequestError: It does, and why.
        msgspec.ValidationError: It is not a string.
    """
    grammar = _TEXT.decode(raw)
    if grammar and (reason := _kept_fault(grammar) if len(grammar) <= _KEPT_BYTES else gbnf.fault(grammar)):
        raise RequestError(f"grammar {reason}.", param="grammar")


def check_schema(raw: msgspec.Raw) -> None:
    """Refuse a `json_schema` that costs too much; raises as `check_grammar` does."""
    _check("json_schema", raw, b"{", _whole)


def check_format(raw: msgspec.Raw) -> None:
    """Refuse a `response_format` whose schema costs too much; raises as `check_grammar` does."""
    _check("response_format", raw, b"{", _of_format)


def check_output_config(raw: msgspec.Raw) -> None:
    """Refuse a format of an answer whose schema costs too much; raises as `check_grammar` does."""
    _check("output_config", raw, b"{", _inside_format)


def check_text(raw: msgspec.Raw) -> None:
    """Refuse a format of a text whose schema costs too much; raises as `check_grammar` does."""
    _check("text", raw, b"{", _inside_format)


def check_tools(raw: msgspec.Raw) -> None:
    """Refuse tools whose schemas cost too much together; raises as `check_grammar` does."""
    _check("tools", raw, b"[", _of_tools)


_Find = Callable[[object], Iterator[object]]


def _check(name: str, raw: msgspec.Raw, first: bytes, find: _Find) -> None:
    text = bytes(raw)
    if text == b"null":
        return
    if not text.startswith(first):
        raise msgspec.ValidationError
    if len(text) > MOST_BYTES:
        raise RequestError(
            f"{name} has {len(text):,} bytes; at most {MOST_BYTES:,} are accepted.", param=name
        )
    if reason := _kept_faults(text, find) if len(text) <= _KEPT_BYTES else _faults(text, find):
        raise RequestError(f"{name} {reason}.", param=name)


def _faults(text: bytes, find: _Find) -> str:
    return schema.fault(*find(msgspec.json.decode(text)))


_kept_faults = lru_cache(_KEPT)(_faults)
_kept_fault = lru_cache(_KEPT)(gbnf.fault)


def _whole(value: object) -> Iterator[object]:
    yield value


def _of_format(value: object) -> Iterator[object]:
    """Yield the schemas of a format, in each place that the engine looks at."""
    wrapper = _member(value, "json_schema")
    yield from (_member(value, "schema"), _member(wrapper, "schema"))


def _inside_format(value: object) -> Iterator[object]:
    """Yield the schemas of a format that is a member of something else."""
    yield from _of_format(_member(value, "format"))


def _of_tools(value: object) -> Iterator[object]:
    """Yield the schemas of tools, in any API's form; a namespace holds tools of its own."""
    left = [value]
    while left:
        tools = left.pop()
        for tool in tools if isinstance(tools, list) else ():
            left.append(_member(tool, "tools"))
            for holder in (tool, _member(tool, "function")):
                yield from (_member(holder, "parameters"), _member(holder, "input_schema"))


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None
