"""Does every piece of an answer carry the id that the client gave, and nothing else change?"""

import json

import pytest

from relayd.dialects.naming import NamedEvents, NamedWhole
from tests.dialects.engine import CHAT_THOUGHT, chat_whole

pytestmark = pytest.mark.pure

NAMES = ["r1", 'a"b\\c', "x" * 128]


def ids(raw: bytes) -> set[str]:
    data = [one.removeprefix("data: ") for one in raw.decode().split("\n\n")[:-1]]
    return {json.loads(one)["id"] for one in data if one != "[DONE]"}


@pytest.mark.parametrize("size", [1, 50, 10_000])
@pytest.mark.parametrize("name", NAMES)
def test_every_chunk_has_the_id(name: str, size: int) -> None:
    subject = NamedEvents(name)
    pieces = [subject.feed(CHAT_THOUGHT[at : at + size]) for at in range(0, len(CHAT_THOUGHT), size)]
    written = b"".join(pieces) + subject.end()

    assert {name} == ids(written)
    assert CHAT_THOUGHT == written.replace(json.dumps(name).encode(), b'"chatcmpl-Vu5"')


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [b"chatcmpl-abc", b"cmpl-abc"])
def test_a_whole_answer_has_the_id(name: str, kind: bytes) -> None:
    text = '"id":"chatcmpl-other"'
    raw = chat_whole(text=text, arguments="{}").replace(b'{"choices"', b'{"id":"%b","choices"' % kind)
    raw = raw.replace(b'"id": ', b'"id":')
    subject = NamedWhole(name)
    subject.feed(raw[:30])
    subject.feed(raw[30:])

    answer = json.loads(subject.end())

    message = answer["choices"][0]["message"]
    assert (name, text, "c1") == (answer["id"], message["content"], message["tool_calls"][0]["id"])


def test_an_answer_without_an_id_passes() -> None:
    events, whole = NamedEvents("r1"), NamedWhole("r1")
    whole.feed(b"{}")

    assert b":\n\n" == events.feed(b":\n\n")
    assert b"{}" == whole.end()
