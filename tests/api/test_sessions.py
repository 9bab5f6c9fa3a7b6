"""Does a session hold for whom it was opened, with its token, and as long as its key does?"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from relayd.api.grants import KeyGrant
from relayd.api.sessions import (
    CSRF,
    SESSION_SECONDS,
    Session,
    SessionHolder,
    Sessions,
    cookie_name,
    is_loopback,
)
from relayd.api.ui.links import LINK_SECONDS, Links
from relayd.rights import LOCAL, KeyRights

pytestmark = pytest.mark.pure

HERE, THERE = "127.0.0.1", "192.168.0.7"
ADMIN = KeyGrant("key_1", "ann", KeyRights(scopes=("admin",)))
OWNER = KeyGrant(LOCAL, LOCAL, KeyRights(scopes=("admin",)))


@dataclass
class StoppedClock:
    """A clock that the test sets."""

    now: float = 1_800_000_000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class Stand:
    """Sessions of one key and of the owner."""

    clock: StoppedClock = field(default_factory=StoppedClock)
    holders: dict[str, SessionHolder] = field(
        default_factory=lambda: {
            "key_1": SessionHolder(ADMIN, b"digest"),
            LOCAL: SessionHolder(OWNER, b""),
        }
    )

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.holders.get, self.clock)
        self.sessions.secret = b"s" * 32

    def begin(self, holder: str = "key_1") -> Session:
        session = self.sessions.begin(holder)
        assert session is not None
        return session

    def grant(self, session: Session, client: str = HERE, **changed: str) -> KeyGrant | None:
        return self.sessions.grant(head(session, **changed), client)


def head(
    session: Session, *, cookie: str = "", csrf: str | None = None, host: str = "localhost:8080"
) -> CIMultiDictProxy[str]:
    name = cookie_name(CIMultiDictProxy(CIMultiDict({"Host": host})))
    fields = CIMultiDict(
        {
            "Host": host,
            "Cookie": cookie or f"other=1; {name}={session.cookie}",
            CSRF: session.csrf if csrf is None else csrf,
        }
    )
    return CIMultiDictProxy(fields)


def test_r8_a_session_grants_what_its_key_may() -> None:
    stand = Stand()

    assert ADMIN == stand.grant(stand.begin())
    assert ADMIN == stand.grant(stand.begin(), THERE)


@pytest.mark.parametrize("csrf", ["", "0" * 64, "é"])
def test_r8_a_cookie_alone_grants_nothing(csrf: str) -> None:
    stand = Stand()

    assert None is stand.grant(stand.begin(), csrf=csrf)


def test_the_token_of_another_session_grants_nothing() -> None:
    stand = Stand()

    assert None is stand.grant(stand.begin(), csrf=stand.begin().csrf)


def test_a_session_ends_with_its_time() -> None:
    stand = Stand()
    session = stand.begin()
    stand.clock.now += SESSION_SECONDS - 1
    assert stand.grant(session)
    stand.clock.now += 1

    assert None is stand.grant(session)


def test_a_session_ends_as_its_key_is_revoked_or_rotated() -> None:
    stand = Stand()
    session = stand.begin()
    stand.holders["key_1"] = SessionHolder(ADMIN, b"another digest")
    assert None is stand.grant(session)
    del stand.holders["key_1"]

    assert None is stand.grant(session)


def test_a_session_without_a_key_is_for_this_machine_only() -> None:
    stand = Stand()
    session = stand.begin(LOCAL)

    assert (OWNER, None) == (stand.grant(session, "::1"), stand.grant(session, THERE))


def test_a_session_outlives_the_daemon_and_not_what_signs_it() -> None:
    stand, later = Stand(), Stand()
    session = stand.begin()
    assert ADMIN == later.grant(session)
    later.sessions.secret = b"t" * 32

    assert None is later.grant(session)


def test_nothing_is_opened_or_accepted_before_there_is_what_signs() -> None:
    stand = Stand()
    session = stand.begin()
    stand.sessions.secret = b""

    assert (None, None) == (stand.sessions.begin("key_1"), stand.grant(session))


@pytest.mark.parametrize(
    "damage",
    [
        lambda cookie: cookie[:-1],
        lambda cookie: cookie[:-1] + ("0" if cookie[-1] != "0" else "1"),
        lambda cookie: cookie.replace("key_1", "local"),
        lambda cookie: "2" + cookie[1:],
        lambda cookie: cookie.replace(".18", ".19", 1),
        lambda _: "....",
        lambda _: "",
        lambda _: "1.key_1.99999999999.x." + "0" * 64,
    ],
)
def test_a_cookie_that_was_changed_grants_nothing(damage: Callable[[str], str]) -> None:
    stand = Stand()
    session = stand.begin()
    changed = damage(session.cookie)

    assert None is stand.grant(session, cookie=f"relayd_8080={changed}")


def test_two_relayds_of_a_machine_have_cookies_of_their_own() -> None:
    names = {
        cookie_name(CIMultiDictProxy(CIMultiDict({"Host": host})))
        for host in ("localhost:8080", "localhost:8081", "localhost", "[::1]:8080")
    }

    assert {"relayd_8080", "relayd_8081", "relayd_session"} == names


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False), ("::ffff:10.0.0.1", False), ("", False), ("localhost", False),
    ],
)  # fmt: skip
def test_this_machine_is_known_by_its_address(client: str, expected: bool) -> None:
    assert expected is is_loopback(client)


def test_a_link_holds_once_and_for_five_minutes() -> None:
    clock = StoppedClock()
    links = Links(clock)
    first, second = links.make(), links.make()
    assert [True, False, False] == [links.use(first), links.use(first), links.use("made up")]
    clock.now += LINK_SECONDS

    assert not links.use(second)


def test_unused_links_are_few() -> None:
    links = Links(StoppedClock())
    made = [links.make() for _ in range(40)]

    assert 32 == sum(links.use(one) for one in made)
