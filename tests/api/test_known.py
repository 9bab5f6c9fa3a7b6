"""Is a head that was let in let in again, and no other one with it?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.api.admission import Admitted
from relayd.api.answer import Answer
from relayd.api.door import Door
from relayd.api.guard import make_policy
from relayd.api.head import parse_request
from relayd.api.keys import FailedKeys, Keyring
from relayd.api.known import KnownHead, without_length
from relayd.api.openai import OPENAI
from relayd.clock import SystemClock
from tests.api.conftest import KEY, direct_route, echo, known_keys

pytestmark = pytest.mark.pure


HEAD = b"POST /x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\nContent-Length: %b\r\nX-A: b"


def head(length: bytes = b"12", key: bytes = KEY.encode()) -> bytes:
    return HEAD % (key, length)


def ring(*keys: str) -> Keyring:
    return Keyring(FailedKeys(SystemClock()), known_keys(*keys))


def door(keys: Keyring) -> Door:
    return Door([direct_route("/x", echo)], make_policy("127.0.0.1", keyed=True), keys, OPENAI)


def admit(subject: Door, raw: bytes) -> Admitted | Answer:
    """Let a request in, and have the door remember its head."""
    read = parse_request(raw)
    found = subject.admit(read.presented("127.0.0.1", "127.0.0.1"), "r1")
    bare = without_length(raw)
    if isinstance(found, Admitted) and bare is not None:
        subject.remember("127.0.0.1", bare[0], read, found)
    return found


def recall(subject: Door, raw: bytes, arrived_at: str = "127.0.0.1") -> KnownHead | None:
    bare = without_length(raw)
    return None if bare is None else subject.recall(arrived_at, bare[0])


def test_only_the_length_may_differ() -> None:
    subject = door(ring(KEY))
    assert isinstance(admit(subject, head()), Admitted)

    assert recall(subject, head(b"7")) is not None
    assert recall(subject, head().replace(b"X-A: b", b"X-A: c")) is None
    assert recall(subject, head().replace(b"localhost", b"127.0.0.1")) is None
    assert recall(subject, head(), arrived_at="192.0.2.1") is None


def test_what_was_refused_is_judged_again() -> None:
    subject = door(ring(KEY))
    assert isinstance(admit(subject, head(key=b"wrong")), Answer)

    assert recall(subject, head(key=b"wrong")) is None


def test_a_key_that_is_gone_is_not_known_any_more() -> None:
    keys = ring(KEY)
    subject = door(keys)
    admit(subject, head())
    keys.known = known_keys("another")

    assert recall(subject, head()) is None


def test_a_request_that_came_while_no_key_was_needed_needs_one_once_there_is_one() -> None:
    keys = ring()
    subject = door(keys)
    admit(subject, head())
    assert recall(subject, head()) is not None
    keys.known = known_keys(KEY)

    assert recall(subject, head()) is None


@pytest.mark.parametrize("field", [b"X-Request-ID: r1", b"Request-Id: r1"])
def test_each_request_has_an_id_of_its_own_unless_its_head_sets_one(field: bytes) -> None:
    subject = door(ring(KEY))
    own = head().replace(b"X-A: b", field)
    for raw in (head(), own):
        admit(subject, raw)
    plain, named = recall(subject, head()), recall(subject, own)
    assert plain is not None
    assert named is not None

    first, second = plain.again(), plain.again()
    assert first.request_id != second.request_id
    assert first.request_id == first.headers["X-Request-ID"]
    assert ("r1", "key-0") == (named.again().request_id, named.again().key)


def test_the_fields_of_one_answer_are_not_those_of_another() -> None:
    subject = door(ring(KEY))
    first = admit(subject, head())
    assert isinstance(first, Admitted)
    first.context.headers["X-Relayd-Changed"] = "user"
    known = recall(subject, head())
    assert known is not None
    assert "X-Relayd-Changed" not in known.again().headers

    known.again().headers["X-Relayd-Changed"] = "user"

    assert "X-Relayd-Changed" not in known.again().headers


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"X: Content-Length: 5",
        b"Content-Length: +5",
        b"Content-Length: 5 ",
        b"Content-Length: %d" % 10**16,
    ],
)
def test_a_head_without_a_plain_length_is_not_kept(line: bytes) -> None:
    assert without_length(b"POST /x HTTP/1.1\r\nHost: a\r\n" + line) is None


LINES = [b"Content-Length: 5", b"content-length: 7", b"X: a", b"Y: Content-Length: 1"]


@given(st.lists(st.sampled_from(LINES)))
def test_what_is_taken_out_is_the_value_of_one_field(lines: list[bytes]) -> None:
    raw = b"\r\n".join([b"POST /x HTTP/1.1", *lines])

    if (found := without_length(raw)) is not None:
        bare, length = found
        pairs = zip(raw.split(b"\r\n"), bare.split(b"\r\n"), strict=True)
        assert [b"content-length: %d" % length] == [line.lower() for line, kept in pairs if line != kept]
