"""Are keys kept without their secret, and found by what people call them?"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.apikey import is_mistyped
from relayd.errors import KeyUnknownError, UsageError
from relayd.rights import KeyLimits, KeyRights, Quota
from relayd.secret import Secret
from relayd.store.database import Database
from relayd.store.keys import KeyTable, digest_of

pytestmark = pytest.mark.system

FOREIGN = Secret("mr_live_0123456789abcdefghijklmnopqrstuv")
RIGHTS = KeyRights(
    scopes=("inference", "metrics"),
    models=("qwen*",),
    expires=2000.0,
    limits=KeyLimits(rpm=60, in_flight=4, queued=8),
    quotas=(Quota("tokens", 5_000_000, "month"),),
    klass="batch",
    retain=False,
)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[KeyTable]:
    database = Database.open(tmp_path / "relayd.db")
    yield KeyTable(database)
    database.close()


def test_a_key_is_made_and_found_again_with_all_its_rights(table: KeyTable) -> None:
    key, secret = table.create("laptop", RIGHTS, 1000.0)

    assert not is_mistyped(secret.reveal())
    assert key == table.find("laptop") == table.find(key.id)
    assert (RIGHTS, 1000.0, None) == (key.rights, key.created, key.revoked)
    assert digest_of(secret.reveal()) == key.digest


def test_r10_the_secret_is_in_no_file(table: KeyTable, tmp_path: Path) -> None:
    _, made = table.create("made", KeyRights(), 1000.0)
    table.create("imported", KeyRights(), 1000.0, FOREIGN)
    _, rotated = table.rotate("made", 1100.0)

    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    for secret in (made, FOREIGN, rotated):
        assert secret.reveal().encode() not in content
        assert secret.reveal()[16:].encode() not in content
    assert b"made" in content


def test_a_key_from_elsewhere_is_taken_as_it_is(table: KeyTable) -> None:
    key, secret = table.create("old", KeyRights(), 1000.0, FOREIGN)

    assert FOREIGN.digest() == key.digest
    assert secret == FOREIGN


def test_a_secret_belongs_to_one_key(table: KeyTable) -> None:
    table.create("one", KeyRights(), 1000.0, FOREIGN)
    table.revoke("one", 1001.0)

    with pytest.raises(UsageError, match="given to a key before"):
        table.create("two", KeyRights(), 1002.0, FOREIGN)


def test_a_name_belongs_to_one_key_until_it_is_revoked(table: KeyTable) -> None:
    first, _ = table.create("laptop", KeyRights(), 1000.0)
    with pytest.raises(UsageError, match="already"):
        table.create("laptop", KeyRights(), 1001.0)

    table.revoke("laptop", 1002.0)
    second, _ = table.create("laptop", KeyRights(), 1003.0)

    assert second.id != first.id
    assert second.id == table.find("laptop").id
    assert [first.id, second.id] == [key.id for key in table.every()]


def test_a_rotated_key_keeps_everything_but_its_secret(table: KeyTable) -> None:
    key, secret = table.create("laptop", RIGHTS, 1000.0)

    rotated, fresh = table.rotate("laptop", 1500.0)

    assert fresh != secret
    assert (key.id, key.rights, 1000.0, 1500.0) == (
        rotated.id,
        rotated.rights,
        rotated.created,
        rotated.rotated,
    )
    assert [fresh.digest()] == [one.digest for one in table.every()]


def test_a_key_that_was_revoked_stays_so(table: KeyTable) -> None:
    table.create("laptop", KeyRights(), 1000.0)

    assert 1100.0 == table.revoke("laptop", 1100.0).revoked == table.revoke("laptop", 1200.0).revoked
    for change in (lambda: table.rotate("laptop", 1.0), lambda: table.change("laptop", KeyRights())):
        with pytest.raises(KeyUnknownError, match="revoked"):
            change()


def test_rights_are_replaced_as_a_whole(table: KeyTable) -> None:
    table.create("laptop", RIGHTS, 1000.0)

    table.change("laptop", KeyRights(limits=KeyLimits(rpm=1)))

    assert KeyRights(limits=KeyLimits(rpm=1)) == table.find("laptop").rights


def test_when_a_key_came_along_last_is_kept(table: KeyTable) -> None:
    key, _ = table.create("laptop", KeyRights(), 1000.0)

    table.note_used([(key.id, 1234.5), ("key_unknown", 1.0)])

    assert 1234.5 == table.find("laptop").last_used


def test_an_unknown_key_is_an_error_that_names_it(table: KeyTable) -> None:
    with pytest.raises(KeyUnknownError, match="'nope'"):
        table.revoke("nope", 1.0)


@pytest.mark.parametrize("name", ["", " a", "a b", "../x", "ä", "x" * 129, "a\n", "configured", "key_1"])
def test_a_name_that_cannot_be_is_refused(table: KeyTable, name: str) -> None:
    with pytest.raises(UsageError):
        table.create(name, KeyRights(), 1.0)

    assert [] == table.every()


@pytest.mark.parametrize(
    "rights",
    [
        KeyRights(scopes=()),
        KeyRights(scopes=("root",)),
        KeyRights(models=("a b",)),
        KeyRights(models=("",)),
        KeyRights(klass="express"),
        KeyRights(limits=KeyLimits(rpm=0)),
        KeyRights(limits=KeyLimits(queued=3)),
        KeyRights(limits=KeyLimits(in_flight=1, queued=-1)),
        KeyRights(quotas=(Quota("tokens", 0, "day"),)),
        KeyRights(quotas=(Quota("tokens", 10**16, "day"),)),
        KeyRights(limits=KeyLimits(rpm=10**30)),
        KeyRights(limits=KeyLimits(in_flight=1, queued=10**30)),
        KeyRights(expires=1e300),
        KeyRights(expires=-1.0),
    ],
)
def test_rights_that_cannot_be_followed_are_refused(table: KeyTable, rights: KeyRights) -> None:
    with pytest.raises(UsageError):
        table.create("laptop", rights, 1.0)

    assert [] == table.every()
