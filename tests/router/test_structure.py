"""Is the structure of a body counted before it is decoded, however its pieces arrive?"""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import RequestError
from relayd.router import LLAMA_SERVER, open_body, peek
from relayd.router.structure import (
    MOST_CONTAINERS,
    MOST_MEMBERS,
    MOST_TOKENS,
    Structure,
    check_utf8,
    count_items,
)

pytestmark = pytest.mark.pure

TEXT = st.text(st.sampled_from('a"\\[]{},:\u00e9')) | st.text()
VALUE = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=30,
)


def tally(value: object) -> tuple[int, int]:
    """Count tokens and containers by walking the value."""
    match value:
        case str():
            return 1, 0
        case list() | dict():
            inner = [*value.values(), *value] if isinstance(value, dict) else value
            found = [tally(one) for one in inner]
            marks = 2 + max(0, len(value) - 1) + (len(value) if isinstance(value, dict) else 0)
            return marks + sum(one for one, _ in found), 1 + sum(one for _, one in found)
        case _:
            return 0, 0


@given(value=VALUE, cuts=st.lists(st.integers(0, 300)), ascii_only=st.booleans())
def test_what_is_counted_does_not_depend_on_how_it_arrives(
    value: object, cuts: list[int], ascii_only: bool
) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    ends = [*sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    structure = Structure()

    for start, end in zip([0, *ends], ends, strict=False):
        structure.feed(raw[start:end])

    assert tally(value) == (structure.tokens, structure.containers)


MIB = 1 << 20
BOMBS = {
    "empty objects": b'{"messages":[' + b"{}," * (5 * MIB) + b"{}]}",
    "messages": b'{"messages":[' + b'{"role":"user","content":"a"},' * MIB + b"{}]}",
    "numbers": b'{"prompt":[' + b"1," * (7 * MIB) + b"1]}",
    "strings": b'{"prompt":[' + b'"a",' * (3 * MIB) + b'"a"]}',
    "members": b"{" + b",".join(b'"%d":1' % n for n in range(MIB)) + b"}",
    "brackets": b'{"user":' + b"[" * (8 * MIB) + b"]" * (8 * MIB) + b"}",
    "pairs": b'{"user":[' + b"[]," * (5 * MIB) + b"[]]}",
    "quotes": b'{"user":"' + b'\\"[' * (4 * MIB) + b'","a":[' + b"[],[]," * (2 * MIB),
    "unfinished": b'{"user":' + b'"","",' * (2 * MIB),
}


@pytest.mark.parametrize("name", BOMBS)
def test_r32_too_much_structure_is_refused_before_it_is_decoded(name: str) -> None:
    begin = time.process_time()

    with pytest.raises(RequestError, match=r"holds more than|deeper than"):
        peek(BOMBS[name], LLAMA_SERVER["/v1/chat/completions"])
    assert 2 > time.process_time() - begin


def test_a_large_honest_body_passes() -> None:
    text = 'def f(x):\n    return "[{" + x\n' * 200
    messages = [{"role": "user", "content": text}] * 2_000
    raw = json.dumps({"messages": messages}).encode()

    assert 10 * MIB < len(raw)
    assert peek(raw, LLAMA_SERVER["/v1/chat/completions"]).body is raw


@pytest.mark.parametrize("piece", [b"[]," * 100_000, b'"",' * 600_000, b"1," * 1_000_001])
def test_counting_stops_at_the_limit(piece: bytes) -> None:
    structure = Structure()

    with pytest.raises(RequestError):
        structure.feed(piece)
    assert structure.tokens < MOST_TOKENS + 200_000
    assert structure.containers < MOST_CONTAINERS + 100_000


@given(items=st.lists(VALUE, min_size=1, max_size=40), most=st.integers(1, 60))
def test_the_items_of_a_list_are_counted_up_to_a_limit(items: list[object], most: int) -> None:
    count = count_items(json.dumps(items).encode(), most)

    assert count == len(items) or len(items) > most < count


@given(members=st.dictionaries(TEXT, VALUE, min_size=1, max_size=40), most=st.integers(1, 60))
def test_the_members_of_an_object_are_counted_up_to_a_limit(members: dict[str, object], most: int) -> None:
    count = count_items(json.dumps(members).encode(), most)

    assert count == len(members) or len(members) > most < count


@pytest.mark.parametrize("value", ["1", '"' + "," * 500 + '"', '{"a":1,"b":[2,3]}'])
@pytest.mark.parametrize("more", [0, 1])
def test_a_body_has_only_so_many_members_of_its_own(value: str, more: int) -> None:
    names = ",".join(f'"m{n}":{value}' for n in range(MOST_MEMBERS + more))

    def members() -> int:
        return len(open_body(f"{{{names}}}".encode()).members)

    if more:
        with pytest.raises(RequestError, match=r"more than 1,024 members\.$"):
            members()
    else:
        assert MOST_MEMBERS == members()


@pytest.mark.parametrize(
    ("member", "shown"),
    [
        ('"stop":[' + ",".join(['"x"'] * 300_000) + "]", "stop is a list of more than 10,000 items"),
        ('"logit_bias":[' + ",".join(["[1,1]"] * 20_000) + "]", "logit_bias is a list of more than 10,000"),
        (
            '"logit_bias":{' + ",".join(f'"w{n}":1' for n in range(300_000)) + "}",
            "logit_bias is an object of more than 10,000 members",
        ),
        (
            '"metadata":{' + ",".join(f'"w{n}":1' for n in range(9_000)) + "}",
            "metadata is an object of 9,000 members",
        ),
    ],
)
def test_a_long_value_is_counted_and_not_decoded(member: str, shown: str) -> None:
    with pytest.raises(RequestError, match=shown):
        peek(f"{{{member}}}".encode(), LLAMA_SERVER["/v1/chat/completions"])


@pytest.mark.parametrize("at", [0, 65_535, 65_536, 131_071, 199_998])
def test_a_byte_that_is_not_utf8_is_found_at_its_place(at: int) -> None:
    raw = bytearray("\u00e4".encode() * 100_000)
    raw[at] = 0xFF

    with pytest.raises(UnicodeDecodeError) as fault:
        check_utf8(bytes(raw))
    with pytest.raises(UnicodeDecodeError) as plain:
        raw.decode()
    assert plain.value.start == fault.value.start


def test_white_space_in_a_row_has_a_limit_and_a_long_string_of_it_has_none() -> None:
    with pytest.raises(RequestError, match="white space"):
        Structure().feed(b'{"a":1' + b" " * 2_000_000 + b"}")
    Structure().feed(b'{"a":1' + b" " * 900_000 + b"}")
    Structure().feed(b'{"a":"' + b" " * 2_000_000 + b'"}')
