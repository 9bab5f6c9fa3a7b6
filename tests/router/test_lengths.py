"""How much text of a body must fit into a context: never more than there is."""

import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.router import LLAMA_SERVER, peek
from relayd.router.lengths import of_conversation, of_prompts
from relayd.units import KIB, MIB

pytestmark = pytest.mark.pure

CHAT, COMPLETION = LLAMA_SERVER["/v1/chat/completions"], LLAMA_SERVER["/v1/completions"]


def members(**values: object) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in values.items()}


def said(*contents: object) -> dict[str, msgspec.Raw]:
    return members(messages=[{"role": "user", "content": content} for content in contents])


def test_the_texts_of_all_messages_count_together() -> None:
    assert 7 == of_conversation("messages")(said("abc", "defg"))
    assert 7 == of_conversation("messages")(said("abc", [{"type": "text", "text": "defg"}]))


def test_media_and_tools_do_not_count() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:" + "a" * 100}}, {"type": "text", "text": "ab"}]

    assert 2 == of_conversation("messages")(said(parts) | members(tools=["a" * 100]))


def test_what_comes_before_the_messages_counts() -> None:
    assert 5 == of_conversation("input", "instructions")(members(input="ab", instructions="cde"))
    assert 5 == of_conversation("messages", "system")(said("ab") | members(system=[{"text": "cde"}]))


def test_each_prompt_has_a_context_of_its_own() -> None:
    assert 4 == of_prompts("prompt")(members(prompt=["ab", "cdef", "g"]))
    assert 3 == of_prompts("input", "content")(members(content="abc"))
    assert 0 == of_prompts("prompt")(members(prompt=[1, 2, 3]))


@pytest.mark.parametrize("wrong", [7, None, {}, [7], [{"content": 7}], [{"content": [7]}], "a"])
def test_what_no_api_takes_is_not_measured(wrong: object) -> None:
    assert 1 >= of_conversation("messages")(members(messages=wrong))


@given(text=st.text() | st.text(st.sampled_from('\\"u\n\u00e9\U0001f600')), as_written=st.booleans())
def test_no_text_is_measured_longer_than_it_is(text: str, as_written: bool) -> None:
    raw = msgspec.Raw(json.dumps(text, ensure_ascii=as_written).encode("utf-8", "surrogatepass"))

    assert of_prompts("prompt")({"prompt": raw}) <= len(text.encode("utf-8", "surrogatepass"))


def test_short_bodies_are_not_measured() -> None:
    assert 0 == peek(json.dumps({"prompt": "a" * 60 * KIB}).encode(), COMPLETION).text_bytes
    assert 70 * KIB == peek(json.dumps({"prompt": "a" * 70 * KIB}).encode(), COMPLETION).text_bytes


@pytest.mark.parametrize("ids", [b"1234567,", b" 1 ,", b'"a",'])
def test_a_long_list_of_token_ids_costs_nothing(ids: bytes) -> None:
    measured = {"prompt": msgspec.Raw(b"[%b1]" % (ids * 500_000))}
    begin = time.process_time()

    assert 0 == of_prompts("prompt")(measured)
    assert 0.02 > time.process_time() - begin


def test_16_mib_are_measured_in_milliseconds() -> None:
    measured = said("a\\n" * (8 * MIB))
    begin = time.process_time()
    of_conversation("messages")(measured)

    assert 0.2 > time.process_time() - begin
