"""Which keys are valid after a change, in the running daemon and after its end?"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from relayd.apikey import make_key
from relayd.config.schema import Server
from relayd.daemon.keybook import KeyBook
from relayd.errors import KeyUnknownError, StateError, UsageError
from relayd.rights import KeyLimits, KeyRights
from relayd.secret import Secret
from tests.daemons import DEADLINE_SECONDS

pytestmark = pytest.mark.system

Result = TypeVar("Result")
SERVER, CONFIGURED = Server(), Server(api_key=Secret("a-key-that-is-long-enough-for-relayd"))
ALWAYS = Server(require_key="always")


class SetClock:
    """A clock whose time of day a test sets."""

    def __init__(self, wall: float = 1_000_000.0) -> None:
        self.now = wall

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return self.now


def with_book(
    folder: Path,
    story: Callable[[KeyBook], Awaitable[Result]],
    *,
    server: Server = SERVER,
    clock: SetClock | None = None,
    closed: Callable[[], None] = lambda: None,
) -> Result:
    async def scene() -> Result:
        book = KeyBook(folder / "relayd.db", clock or SetClock())
        book.on_closed = closed
        async with asyncio.timeout(DEADLINE_SECONDS):
            await book.open(server)
            try:
                return await story(book)
            finally:
                await book.close()

    return asyncio.run(scene())


def is_valid(book: KeyBook, secret: Secret) -> bool:
    return secret.digest() in book.keyring.known.grants


def test_a_new_key_is_valid_at_once_and_after_the_end_of_the_daemon(tmp_path: Path) -> None:
    async def make(book: KeyBook) -> tuple[Secret, bool]:
        _, secret = await book.create("laptop", KeyRights())
        return secret, is_valid(book, secret)

    secret, was_valid = with_book(tmp_path, make)

    async def look(book: KeyBook) -> bool:
        return is_valid(book, secret)

    assert was_valid
    assert with_book(tmp_path, look)


def test_a_daemon_without_keys_makes_no_file(tmp_path: Path) -> None:
    async def nothing(_book: KeyBook) -> None:
        return

    with_book(tmp_path, nothing)

    assert [] == list(tmp_path.iterdir())


def test_a_revoked_and_a_rotated_key_are_refused_from_the_next_request_on(tmp_path: Path) -> None:
    async def story(book: KeyBook) -> list[bool]:
        _, first = await book.create("a", KeyRights())
        _, second = await book.create("b", KeyRights())
        _, third = await book.rotate("a")
        await book.revoke("b")
        return [is_valid(book, one) for one in (first, second, third)]

    assert [False, False, True] == with_book(tmp_path, story)


def test_changed_rights_hold_for_the_same_secret(tmp_path: Path) -> None:
    async def story(book: KeyBook) -> KeyLimits:
        _, secret = await book.create("a", KeyRights())
        await book.change("a", KeyRights(limits=KeyLimits(rpm=5)))
        return book.keyring.known.grants[secret.digest()].rights.limits

    assert KeyLimits(rpm=5) == with_book(tmp_path, story)


def test_a_key_ends_at_its_time_and_keeps_the_door_closed(tmp_path: Path) -> None:
    clock = SetClock()

    async def story(book: KeyBook) -> tuple[bool, bool, bool]:
        _, secret = await book.create("a", KeyRights(expires=clock.now + 0.05))
        before = is_valid(book, secret)
        clock.now += 0.1
        while is_valid(book, secret):
            await asyncio.sleep(0)
        return before, is_valid(book, secret), book.is_open

    assert (True, False, False) == with_book(tmp_path, story, clock=clock)


@pytest.mark.parametrize(
    ("server", "scopes", "expected"),
    [
        (SERVER, None, True),
        (SERVER, ("admin",), True),
        (SERVER, ("metrics", "node"), True),
        (SERVER, ("inference",), False),
        (SERVER, ("admin", "inference"), False),
        (CONFIGURED, None, False),
        (ALWAYS, None, False),
        (ALWAYS, ("admin",), False),
    ],
)
def test_only_a_key_for_models_closes_the_door_to_clients_without_one(
    tmp_path: Path, server: Server, scopes: tuple[str, ...] | None, expected: bool
) -> None:
    async def story(book: KeyBook) -> bool:
        if scopes is not None:
            await book.create("a", KeyRights(scopes=scopes))
        return book.is_open

    assert expected is with_book(tmp_path, story, server=server)


def test_that_the_door_closes_is_reported_once(tmp_path: Path) -> None:
    reports: list[str] = []

    async def story(book: KeyBook) -> None:
        await book.create("admin", KeyRights(scopes=("admin",)))
        await book.create("a", KeyRights())
        await book.create("b", KeyRights())

    with_book(tmp_path, story, closed=lambda: reports.append("closed"))

    assert ["closed"] == reports


def test_a_revoked_last_key_opens_the_door_again(tmp_path: Path) -> None:
    async def story(book: KeyBook) -> bool:
        await book.create("a", KeyRights())
        await book.revoke("a")
        return book.is_open

    assert with_book(tmp_path, story)


def test_settings_are_followed(tmp_path: Path) -> None:
    async def story(book: KeyBook) -> list[bool]:
        seen = [book.is_open]
        for server in (CONFIGURED, SERVER, ALWAYS, SERVER):
            book.configure(server)
            seen.append(book.is_open)
        return seen

    assert [True, False, True, False, True] == with_book(tmp_path, story)


def test_commands_are_lent_a_key_where_one_is_needed(tmp_path: Path) -> None:
    async def story(book: KeyBook) -> list[bool]:
        free = book.lend()
        await book.create("a", KeyRights())
        lent = book.lend()
        book.configure(CONFIGURED)
        return [bool(free), is_valid(book, lent), book.lend() == CONFIGURED.api_key]

    assert [False, True, True] == with_book(tmp_path, story)


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    async def story(book: KeyBook) -> int:
        _, secret = await book.create("a", KeyRights())
        with pytest.raises(UsageError):
            await book.create("a", KeyRights())
        with pytest.raises(UsageError):
            await book.create("b", KeyRights(), secret)
        with pytest.raises(KeyUnknownError):
            await book.revoke("c")
        return len(book.every())

    assert 1 == with_book(tmp_path, story)


def test_a_damaged_database_keeps_the_daemon_from_starting(tmp_path: Path) -> None:
    (tmp_path / "relayd.db").write_bytes(b"garbage" * 1000)

    async def nothing(_book: KeyBook) -> None:
        return

    with pytest.raises(StateError, match="damaged"):
        with_book(tmp_path, nothing)


def test_nothing_is_changed_once_the_database_is_given_up(tmp_path: Path) -> None:
    async def story(book: KeyBook) -> int:
        await book.database.close()
        with pytest.raises(StateError, match="taking over"):
            await book.create("a", KeyRights())
        book.database.take_back()
        await book.create("a", KeyRights())
        return len(book.every())

    assert 1 == with_book(tmp_path, story)


def test_an_imported_key_is_known_by_its_secret(tmp_path: Path) -> None:
    foreign = Secret("mr_live_0123456789abcdefghijklmnopqrstuv")

    async def story(book: KeyBook) -> list[bool]:
        await book.create("old", KeyRights(), foreign)
        return [is_valid(book, foreign), is_valid(book, make_key())]

    assert [True, False] == with_book(tmp_path, story)
