"""Are addresses found in long contents as in short ones, which are decoded at once?"""

import json

import msgspec
import pytest

from relayd.errors import RequestError
from relayd.router.media import check_conversation, check_inputs, check_items

pytestmark = pytest.mark.pure

LONG = "a" * 100_000
ADDRESS = "http://10.0.0.1/" + LONG


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def said(*parts: object) -> msgspec.Raw:
    return raw([{"role": "user", "content": [{"type": "text", "text": LONG}, *parts]}])


FETCHED = [
    {"type": "image_url", "image_url": {"url": ADDRESS}},
    {"type": "image_url", "image_url": {"url": "http://x"}},
    {"type": "image_url", "image_url": ADDRESS},
    {"type": "x", "video_url": {"url": "file:///etc/" + LONG}},
    {"type": "x", "video_url": [LONG]},
    {"type": "input_audio", "input_audio": {"data": ADDRESS}},
    {"type": "image", "source": {"type": "url", "url": ADDRESS}},
    {"type": "tool_result", "content": [{"type": "text", "text": LONG}, {"source": {"url": "http://x"}}]},
    [[LONG, {"image_url": "http://x"}]],
]


@pytest.mark.parametrize("part", FETCHED)
def test_an_address_in_a_long_content_is_refused(part: object) -> None:
    with pytest.raises(RequestError, match="must be a data: URL"):
        check_conversation(said(part))
    with pytest.raises(RequestError, match="must be a data: URL"):
        check_items(raw([{"output": [{"text": LONG}, part]}]))
    with pytest.raises(RequestError, match="must be a data: URL"):
        check_inputs(raw([{"content": [{"text": LONG}, part]}]))


@pytest.mark.parametrize("written", [r"\u0068ttp://x", r"\u0068\u0074\u0074\u0070:", "HTTPS://x", "ftp:x"])
def test_an_address_is_read_as_it_is_decoded(written: str) -> None:
    part = b'[{"content":[{"image_url":"%b%b"}]}]' % (written.encode(), LONG.encode())

    with pytest.raises(RequestError, match="must be a data: URL"):
        check_conversation(msgspec.Raw(part))


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + LONG}},
        {"type": "image_url", "image_url": LONG},
        {"type": "image_url", "image_url": "\U0001f600" * 50_000},
        {"type": "image_url", "image_url": "x\u00e4" * 50_000},
        {"type": "text", "text": "see " + ADDRESS},
        {"type": "document", "source": {"type": "text", "data": "https: " + LONG}},
        {"type": "image", "source": {"type": "base64", "data": LONG}},
    ],
)
@pytest.mark.parametrize("as_ascii", [True, False])
def test_what_holds_no_address_passes(part: object, as_ascii: bool) -> None:
    message = [{"content": [{"type": "text", "text": LONG}, part]}]

    check_conversation(msgspec.Raw(json.dumps(message, ensure_ascii=as_ascii).encode()))


def test_long_prompts_pass_whatever_they_look_like() -> None:
    check_inputs(raw([LONG + "{", [1, 2, 3], {"prompt_string": LONG}]))
    check_inputs(raw([*range(50_000), "{"]))
    check_conversation(raw([{"content": LONG}, {"content": None}]))


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(RequestError, match="parts of content"):
        check_conversation(raw([{"content": [1] * 20_000}]))
