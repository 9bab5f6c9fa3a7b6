"""Is a key found wherever it may stand, and nowhere else?"""

import hashlib

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from relayd.api.guard import Headers
from relayd.api.keys import FailedKeys, Keyring, presented_key
from relayd.errors import RequestError, UnauthorizedError

pytestmark = pytest.mark.pure


class StillClock:
    """A clock that moves when told."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


def head(*fields: tuple[str, str]) -> Headers:
    return CIMultiDictProxy(CIMultiDict(fields))


def keyring(clock: StillClock) -> Keyring:
    return Keyring({hashlib.sha256(b"right").digest(): "laptop"}, FailedKeys(clock, peers=2))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], None),
        ([("Authorization", "Bearer k")], "k"),
        ([("authorization", "bearer   k ")], "k"),
        ([("X-API-Key", "k")], "k"),
        ([("x-api-key", "k"), ("Authorization", "Bearer k")], "k"),
        ([("Authorization", "Basic k")], None),
        ([("Authorization", "k")], None),
        ([("Authorization", "Bearer "), ("x-api-key", "")], None),
        ([("Cookie", "api_key=k"), ("api-key", "k")], None),
    ],
)
def test_the_key_is_the_bearer_token_or_x_api_key(
    fields: list[tuple[str, str]], expected: str | None
) -> None:
    assert expected == presented_key(head(*fields))


@pytest.mark.parametrize(
    "fields",
    [
        [("x-api-key", "a"), ("Authorization", "Bearer b")],
        [("x-api-key", "a"), ("x-api-key", "b")],
        [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
    ],
)
def test_different_keys_are_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(RequestError) as refused:
        presented_key(head(*fields))

    assert 400 == refused.value.http_status


def test_a_key_is_known_by_its_digest() -> None:
    assert "laptop" == keyring(StillClock()).identify(head(("x-api-key", "right")), "peer")


@pytest.mark.parametrize(
    "wrong", ["wrong", "Right", "right ", "\udcff", hashlib.sha256(b"right").hexdigest()]
)
def test_a_wrong_key_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        keyring(StillClock()).identify(head(("x-api-key", wrong)), "peer")

    assert wrong not in str(refused.value)


def test_without_configured_keys_none_is_looked_at() -> None:
    keys = Keyring({}, FailedKeys(StillClock()))

    assert keys.identify(head(("x-api-key", "a"), ("Authorization", "Bearer b")), "peer") is None


def test_a_peer_with_too_many_wrong_keys_waits_until_its_minute_is_over() -> None:
    clock = StillClock()
    keys = keyring(clock)
    wrong = head(("x-api-key", "wrong"))

    for _ in range(20):
        with pytest.raises(UnauthorizedError):
            keys.identify(wrong, "peer")
    clock.now = 45
    with pytest.raises(RequestError) as refused:
        keys.identify(wrong, "peer")

    assert (429, 15) == (refused.value.http_status, refused.value.retry_after_seconds)
    with pytest.raises(UnauthorizedError):
        keys.identify(wrong, "another peer")
    clock.now = 60
    with pytest.raises(UnauthorizedError):
        keys.identify(wrong, "peer")


def test_wrong_keys_lock_no_right_one_out() -> None:
    keys = keyring(StillClock())

    for _ in range(30):
        with pytest.raises(RequestError):
            keys.identify(head(("x-api-key", "wrong")), "peer")

    assert "laptop" == keys.identify(head(("x-api-key", "right")), "peer")


def test_the_table_of_peers_is_bounded_and_forgets_the_oldest() -> None:
    failed = FailedKeys(StillClock(), limit=1, peers=2)

    answers = [failed.count(peer) for peer in ("a", "b", "c", "a", "c")]

    assert [None, None, None, None, 60] == answers
