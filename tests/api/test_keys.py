"""Is a key found wherever it may stand, and nowhere else?"""

import hashlib

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from relayd.api.admission import Access
from relayd.api.grants import ANYONE, KeyGrant
from relayd.api.guard import Headers
from relayd.api.keys import FailedKeys, Keyring, KnownKeys, presented_key
from relayd.errors import RequestError, UnauthorizedError
from relayd.rights import KeyRights

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


def known(*keys: str, scopes: tuple[str, ...] = ("inference",), is_open: bool = False) -> KnownKeys:
    grants = {digest(key): KeyGrant(key, key, KeyRights(scopes=scopes)) for key in keys}
    return KnownKeys(grants, is_open, is_unused=not keys, has_admin="admin" in scopes)


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def keyring(clock: StillClock) -> Keyring:
    return Keyring(FailedKeys(clock, peers=2), known("right"))


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
def test_r8_the_key_is_the_bearer_token_or_x_api_key(
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
def test_r8_different_keys_are_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(RequestError) as refused:
        presented_key(head(*fields))

    assert 400 == refused.value.http_status


def test_r11_a_key_is_known_by_its_digest() -> None:
    assert "right" == keyring(StillClock()).identify(head(("x-api-key", "right")), "peer").id


@pytest.mark.parametrize(
    "wrong", ["wrong", "Right", "right ", "\udcff", hashlib.sha256(b"right").hexdigest()]
)
def test_a_wrong_key_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(UnauthorizedError) as refused:
        keyring(StillClock()).identify(head(("x-api-key", wrong)), "peer")

    assert wrong not in str(refused.value)


def test_without_configured_keys_none_is_looked_at() -> None:
    keys = Keyring(FailedKeys(StillClock()))

    assert ANYONE is keys.identify(head(("x-api-key", "a"), ("Authorization", "Bearer b")), "peer")


def test_r12_a_peer_with_too_many_wrong_keys_waits_until_its_minute_is_over() -> None:
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

    assert "right" == keys.identify(head(("x-api-key", "right")), "peer").id


def test_the_table_of_peers_is_bounded_and_forgets_the_oldest() -> None:
    failed = FailedKeys(StillClock(), limit=1, peers=2)

    answers = [failed.count(peer) for peer in ("a", "b", "c", "a", "c")]

    assert [None, None, None, None, 60] == answers


OPEN, CLOSED, NOTHING = known("a", scopes=("admin",), is_open=True), known("a"), KnownKeys()


@pytest.mark.parametrize(
    ("keys", "access", "sent", "expected"),
    [
        (NOTHING, Access.CLIENT, "", "let in"),
        (NOTHING, Access.METRICS, "", "let in"),
        (NOTHING, Access.ADMIN, "", "admin_key_required"),
        (NOTHING, Access.CLIENT, "unused", "let in"),
        (OPEN, Access.CLIENT, "", "let in"),
        (OPEN, Access.CLIENT, "unused", "let in"),
        (OPEN, Access.CLIENT, "a", "let in"),
        (OPEN, Access.PUBLIC, "unused", "let in"),
        (OPEN, Access.METRICS, "", "invalid_api_key"),
        (OPEN, Access.METRICS, "a", "key_scope"),
        (OPEN, Access.ADMIN, "", "invalid_api_key"),
        (OPEN, Access.ADMIN, "unused", "invalid_api_key"),
        (OPEN, Access.ADMIN, "a", "let in"),
        (CLOSED, Access.CLIENT, "", "invalid_api_key"),
        (CLOSED, Access.CLIENT, "unused", "invalid_api_key"),
        (CLOSED, Access.CLIENT, "a", "let in"),
        (CLOSED, Access.PUBLIC, "", "let in"),
        (CLOSED, Access.PUBLIC, "unused", "invalid_api_key"),
        (CLOSED, Access.METRICS, "a", "key_scope"),
        (CLOSED, Access.ADMIN, "", "admin_key_required"),
        (CLOSED, Access.ADMIN, "a", "admin_key_required"),
        (known("a", scopes=("metrics",)), Access.CLIENT, "a", "key_scope"),
        (known("a", scopes=("metrics",)), Access.METRICS, "a", "let in"),
        (known("a", scopes=("node",)), Access.ADMIN, "a", "admin_key_required"),
    ],
)
def test_r13_a_key_opens_what_its_scopes_name_and_nothing_else(
    keys: KnownKeys, access: Access, sent: str, expected: str
) -> None:
    assert expected == outcome(keys, access, sent)


def outcome(keys: KnownKeys, access: Access, sent: str) -> str:
    ring = Keyring(FailedKeys(StillClock()), keys)
    try:
        ring.check(ring.identify(head(("x-api-key", sent)) if sent else head(), "peer", access), access)
    except RequestError as error:
        return error.code
    return "let in"


def test_what_was_granted_to_a_head_holds_until_its_key_changes() -> None:
    ring = Keyring(FailedKeys(StillClock()), CLOSED)
    grant = CLOSED.grants[digest("a")]

    assert ring.still_holds(digest("a"), grant)
    assert not ring.still_holds(None, ANYONE)
    ring.known = known("a")
    assert not ring.still_holds(digest("a"), grant)
    ring.known = KnownKeys()
    assert ring.still_holds(None, ANYONE)
    assert ring.still_holds(digest("unused"), ANYONE)
    assert not ring.still_holds(digest("a"), grant)
