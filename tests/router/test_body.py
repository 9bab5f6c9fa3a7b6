"""What is seen of a body, what is taken out of it, and what is refused?"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.errors import RequestError
from relayd.router import LLAMA_SERVER, BodyRules, peek

pytestmark = pytest.mark.pure

CHAT, COMPLETION, EMBEDDING = (
    LLAMA_SERVER[path] for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
)

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
NAMES = ("metadata", "modalities", "prediction", "store", "user", "verbosity")
OTHERS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5)


def test_model_and_stream_are_seen() -> None:
    seen = peek(b'{"stream":true,"model":"qwen","messages":[]}', CHAT)

    assert ("qwen", True, 1) == (seen.model, seen.stream, seen.width)


@pytest.mark.parametrize("raw", [b"{}", b'{"model":null}'])
def test_a_body_may_name_no_model(raw: bytes) -> None:
    assert peek(raw, CHAT).model is None


def test_a_byte_order_mark_is_skipped() -> None:
    assert b'{"n":2}' == peek(b'\xef\xbb\xbf{"n":2}', CHAT).body


@given(others=OTHERS, indent=st.sampled_from([None, 0, 3]), ascii_only=st.booleans())
def test_a_harmless_body_passes_byte_for_byte(
    others: dict[str, object], indent: int | None, ascii_only: bool
) -> None:
    raw = json.dumps(others, indent=indent, ensure_ascii=ascii_only).encode()

    assert peek(raw, CHAT).body is raw


@given(others=OTHERS, at=st.integers(0, 5), indent=st.sampled_from([None, 3]))
def test_a_pinned_slot_is_taken_out_and_nothing_else_changes(
    others: dict[str, object], at: int, indent: int | None
) -> None:
    items = list(others.items())
    raw = json.dumps(dict([*items[:at], ("id_slot", 1), *items[at:]]), indent=indent).encode()

    assert others == json.loads(peek(raw, CHAT).body)


def test_what_stays_is_written_as_it_was() -> None:
    raw = b'{ "top_p" : 0.50 , "id_slot":0, "us\\u0065r":"\\u00e9" }'

    assert peek(raw, CHAT).body == b'{ "top_p" : 0.50, "us\\u0065r":"\\u00e9"}'


@pytest.mark.parametrize("name", [b"id_slot", b"slot_id", b"id\\u005fslot"])
def test_every_spelling_of_a_pinned_slot_is_taken_out(name: bytes) -> None:
    assert peek(b'{"' + name + b'":0}', CHAT).body == b"{}"


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        (b"", "truncated"),
        (b"[]", "object"),
        (b'"text"', "object"),
        (b'{"a":NaN}', "byte 5"),
        (b'{"a":[1,]}', "byte 8"),
        (b'{"a":1}x', "byte 8"),
        (b'{"a":"\x01"}', "byte 6"),
        (b'{"a":"\xff"}', "byte 6"),
        (b'{"\xff":1}', "byte 2"),
        (b'{"a":01}', "byte 6"),
        (b'{"a":' + b"[" * 9999, "deeper than 64"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_place(raw: bytes, place: str) -> None:
    with pytest.raises(RequestError, match=place):
        peek(raw, CHAT)


@pytest.mark.parametrize("filler", [b"", b'"[[{{",' * 70, b'"\\\\","\\"[",' * 70, b"[],{},[[]]," * 40])
def test_r32_nesting_is_refused_from_the_65th_level_on(filler: bytes) -> None:
    start = b'{"user":[' + filler + b'0],"metadata":'
    allowed = start + b"[" * 63 + b"]" * 63 + b"}"
    too_deep = start + b"[" * 64 + b"]" * 64 + b"}"

    assert peek(allowed, CHAT).body == allowed
    with pytest.raises(RequestError, match="deeper than 64"):
        peek(too_deep, CHAT)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"n":1,"n":2}',
        b'{"n":1,"n":1}',
        b'{"n":12,"n":1}',
        b'{"n":1,"\\u006e":1}',
        b'{"a":1,"b":2,"a":1}',
        b'{"a":1,"a":1,"b":1}',
        b'{"a":{"b":1},"a":{"b":1}, "b":1}',
    ],
)
def test_r32_a_name_that_comes_twice_is_refused(raw: bytes) -> None:
    with pytest.raises(RequestError, match="twice"):
        peek(raw, CHAT)


def test_names_may_repeat_inside() -> None:
    raw = b'{"messages":[{"content":"a"},{"content":"b"}],"user":{"messages":"c"}}'

    assert peek(raw, CHAT).body is raw


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b'{"model":1}', "model"),
        (b'{"stream":"yes"}', "stream"),
        (b'{"n":0}', "n"),
        (b'{"n":129}', "n"),
        (b'{"n":"2"}', "n"),
        (b'{"n":true}', "n"),
        (b'{"n_discard":-1}', "n_discard"),
        (b'{"n_predict":-2}', "n_predict"),
        (b'{"repeat_last_n":300000000}', "repeat_last_n"),
        (b'{"dry_penalty_last_n":2147483647}', "dry_penalty_last_n"),
        (b'{"mirostat":3}', "mirostat"),
        (b'{"min_keep":1000000}', "min_keep"),
        (b'{"top_k":99999999999}', "top_k"),
        (b'{"n_indent":2147483647}', "n_indent"),
        (b'{"temperature":"hot"}', "temperature"),
        (b'{"cache_prompt":1}', "cache_prompt"),
        (b'{"samplers":["' + b'top_k","' * 32 + b'"]}', "samplers"),
        (b'{"stop":["' + b'x","' * 256 + b'"]}', "stop"),
        (b'{"stop":[1]}', "stop"),
        (b'{"dry_sequence_breakers":["' + b'x","' * 64 + b'"]}', "dry_sequence_breakers"),
        (b'{"logit_bias":[' + b"[1,2]," * 4096 + b"[1,2]]}", "logit_bias"),
        (b'{"messages":[' + b"{}," * 10_000 + b"{}]}", "messages"),
        (b'{"max_tokens":5000000000}', "max_tokens"),
        (b'{"max_tokens":99999999999999999999999999}', "max_tokens"),
        (b'{"n_probs":100000}', "n_probs"),
        (b'{"sse_ping_interval":-1}', "sse_ping_interval"),
        (b'{"lora":[{"id":0,"scale":1}]}', "lora"),
        (b'{"grammar":"' + b"x" * 70_000 + b'"}', "grammar"),
        (b'{"messages":"hi"}', "messages"),
        (b'{"messages":["hi"]}', "messages"),
    ],
)
def test_what_no_client_may_ask_for_is_refused_by_name(raw: bytes, param: str) -> None:
    with pytest.raises(RequestError) as refused:
        peek(raw, CHAT)

    assert refused.value.param == param


@pytest.mark.parametrize("raw", [b'{"stream":null}', b'{"n":null,"max_tokens":-1}', b'{"max_tokens":10.0}'])
def test_what_clients_send_without_harm_passes(raw: bytes) -> None:
    assert peek(raw, CHAT).body is raw


def image(url: str, name: str = '"image_url"') -> bytes:
    return f'{{"messages":[{{"content":[{{"type":"image_url",{name}:{url}}}]}}]}}'.encode()


@pytest.mark.parametrize(
    "raw",
    [
        image('{"url":"http://10.0.0.1/x.png"}'),
        image('{"url":"https://example.com/x.png"}'),
        image('{"url":"file:///etc/passwd"}'),
        image('{"url":"FILE:///etc/passwd"}'),
        image('"file:///etc/passwd"'),
        image('{"url":1}'),
        image('{"url":"file:///etc/passwd"}', '"image\\u005furl"'),
        image('{"url":"http://x"}', '"video_url"'),
        image('"http://x"'),
    ],
)
def test_nothing_is_fetched_for_a_client(raw: bytes) -> None:
    with pytest.raises(RequestError, match="data: URL"):
        peek(raw, CHAT)


@pytest.mark.parametrize(
    "raw",
    [
        image('{"url":"data:image/png;base64,AAAA"}'),
        image('"data:image/png;base64,AAAA"'),
        image('{"url":"iVBORw0KGgo="}'),
        image('"iVBORw0KGgo="'),
        b'{"messages":[{"content":[{"type":"text","text":"a","image_url":null}]}]}',
        b'{"n":1.0,"lora":[],"seed":-1}',
        b'{"messages":[{"content":"see http://x"},{"role":"assistant"}]}',
    ],
)
def test_what_the_engine_reads_passes(raw: bytes) -> None:
    assert peek(raw, CHAT).body is raw


@pytest.mark.parametrize(
    ("rules", "raw", "width"),
    [
        (CHAT, b'{"n":3}', 3),
        (CHAT, b'{"n":3.0}', 3),
        (CHAT, b'{"n_cmpl":2}', 2),
        (CHAT, b'{"prompt":["a","b"]}', 1),
        (COMPLETION, b'{"prompt":"a"}', 1),
        (COMPLETION, b'{"prompt":["a","b","c"],"n":2}', 6),
        (COMPLETION, b'{"prompt":[1,2,3]}', 1),
        (COMPLETION, b'{"prompt":["a",2,"c"]}', 1),
        (COMPLETION, b'{"prompt":[[1,2],[3]]}', 2),
        (COMPLETION, b'{"prompt":[]}', 1),
        (EMBEDDING, b'{"input":["a","b"]}', 2),
        (EMBEDDING, b'{"content":["a","b"]}', 2),
        (EMBEDDING, b'{"input":"a"}', 1),
    ],
)
def test_the_width_is_what_a_replica_runs_at_the_same_time(rules: BodyRules, raw: bytes, width: int) -> None:
    assert width == peek(raw, rules).width
