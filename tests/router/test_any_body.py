"""Does any body get an answer, whatever it holds: what reaches a replica, or a refusal?"""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import RequestError
from relayd.router import LLAMA_SERVER, Unlisted, peek

pytestmark = pytest.mark.pure

SECONDS_A_MEGABYTE = 5
"""Far above what is needed, for a machine under load: bodies that explode take minutes."""

PATHS = st.sampled_from(sorted(LLAMA_SERVER))
NAMES = st.sampled_from(sorted({name for rules in LLAMA_SERVER.values() for name in rules.members}))
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(max_size=20) | st.sampled_from(
    ["root ::= (root)* | [a-z]{1,9}", "http://x", "data:,", "#/$defs/a", "^(a{9}){9}$", "object", "\\ud800"]
)
KEYS = NAMES | st.sampled_from(
    ["$ref", "anyOf", "properties", "function", "parameters", "schema", "content", "type"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
BODIES = st.dictionaries(NAMES | st.text(max_size=5), VALUES, max_size=8)


def answered(raw: bytes, path: str, unlisted: Unlisted) -> bytes | None:
    """Return what a replica gets; None when the request is refused."""
    begin = time.process_time()
    try:
        return peek(raw, LLAMA_SERVER[path], unlisted).body
    except RequestError as error:
        return None if len(error.message) < 300 else error.message.encode()
    finally:
        assert SECONDS_A_MEGABYTE * (1 + len(raw) / 1e6) > time.process_time() - begin


@given(body=BODIES, path=PATHS, action=st.sampled_from(["drop", "refuse"]))
def test_a_body_passes_with_the_members_it_may_have_or_is_refused(
    body: dict[str, object], path: str, action: str
) -> None:
    raw = json.dumps(body, ensure_ascii=True).encode()

    passed = answered(raw, path, Unlisted(action))  # type: ignore[arg-type] # one of the two words

    members = LLAMA_SERVER[path].members
    if passed is not None:
        assert {name: one for name, one in body.items() if name in members} == json.loads(passed)


@given(raw=st.binary(max_size=200), path=PATHS)
def test_any_bytes_are_answered(raw: bytes, path: str) -> None:
    answered(raw, path, Unlisted())


def cut(raw: bytes, at: int) -> bytes:
    return raw[: at % (len(raw) + 1)]


def flip(raw: bytes, at: int) -> bytes:
    at %= len(raw)
    return raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :]


def double(raw: bytes, at: int) -> bytes:
    at %= len(raw)
    return raw[:at] + raw[at // 2 :]


@given(body=BODIES, path=PATHS, change=st.sampled_from([cut, flip, double]), at=st.integers(0, 10_000))
def test_a_damaged_body_is_answered(
    body: dict[str, object], path: str, change: Callable[[bytes, int], bytes], at: int
) -> None:
    answered(change(json.dumps(body).encode(), at), path, Unlisted())
