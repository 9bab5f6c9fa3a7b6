"""Does an answer state what it took, and does its client get only what it asked for (`response_fields`)?"""

import json
from collections.abc import Callable

import msgspec
import pytest

from relayd.dialects.fields import EventsWithoutTimings, WithoutTimings, with_timings
from relayd.router.dialect import Translation

pytestmark = pytest.mark.pure

TIMINGS = b'"timings":{"cache_n":6,"prompt_n":1,"predicted_n":3,"prompt_ms":0.8,"predicted_ms":2.5}'


def asked(**members: object) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["content"], ["content", "timings"]),
        (["content", "timings/prompt_n"], ["content", "timings/prompt_n", "timings"]),
        (["a/timings"], ["a/timings", "timings"]),
    ],
)
def test_an_answer_states_what_it_took_besides_what_is_asked_for(
    fields: list[str], expected: list[str]
) -> None:
    found = with_timings(asked(prompt="a", response_fields=fields, n_predict=5))

    assert found is not None
    assert ["prompt", "response_fields", "n_predict"] == [*found]
    assert expected == json.loads(bytes(found["response_fields"]))


@pytest.mark.parametrize("fields", [[], ["timings"], ["content", "timings"], None, "content", [5]])
def test_an_answer_that_states_it_anyway_is_left_as_it_is(fields: object) -> None:
    assert with_timings(asked(prompt="a", response_fields=fields)) is None
    assert with_timings(asked(prompt="a")) is None


WHOLE = [
    (
        b'{"content":"\\u00e4 \\"timings\\"","timings/prompt_n":7,%b}' % TIMINGS,
        ["content", "timings/prompt_n"],
    ),
    (b"{%b}" % TIMINGS, []),
]


@pytest.mark.parametrize(("whole", "names"), WHOLE)
def test_a_whole_answer_has_what_was_asked_for(whole: bytes, names: list[str]) -> None:
    for cut in range(len(whole)):
        found = json.loads(translated(WithoutTimings, whole, cut))
        assert names == [*found]
        assert all(json.loads(whole)[name] == found[name] for name in names)


def test_each_of_several_answers_has_what_was_asked_for() -> None:
    whole = b'[{"content":"a",%b},{"content":"b",%b}]' % (TIMINGS, TIMINGS)

    assert [{"content": "a"}, {"content": "b"}] == json.loads(translated(WithoutTimings, whole, 9))


def test_a_refusal_and_an_answer_without_timings_pass_as_they_came() -> None:
    for whole in (b'{"error":{"code":400}}', b"[]", b""):
        assert whole == translated(WithoutTimings, whole, 0)


def test_a_stream_has_what_was_asked_for() -> None:
    stream = b'data: {"content":"a"}\n\n: ping\n\ndata: {"content":"","timings/prompt_n":7,%b}\n\n' % TIMINGS
    expected = b'data: {"content":"a"}\n\n: ping\n\ndata: {"content":"","timings/prompt_n":7}\n\n'

    for cut in range(len(stream)):
        assert expected == translated(EventsWithoutTimings, stream, cut)


def test_a_text_about_timings_is_left_alone() -> None:
    stream = b'data: {"content":"\\"timings\\""}\n\n'

    assert stream == translated(EventsWithoutTimings, stream, 7)


def translated(make: Callable[[], Translation], raw: bytes, cut: int) -> bytes:
    translation = make()
    return b"".join((translation.feed(raw[:cut]), translation.feed(raw[cut:]), translation.end()))
