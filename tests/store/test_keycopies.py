"""What another hub's key is here: by hash, newer states replace older ones, and what was revoked stays so."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from relayd.errors import UsageError
from relayd.rights import KeyLimits, KeyRights
from relayd.store.database import Database
from relayd.store.keycopies import copies_of, key_here
from relayd.store.keys import KeyTable

pytestmark = pytest.mark.system

LIMITED = KeyRights(limits=KeyLimits(rpm=60))


@pytest.fixture
def hubs(tmp_path: Path) -> Iterator[tuple[KeyTable, KeyTable]]:
    databases = [Database.open(tmp_path / name) for name in ("a.db", "b.db")]
    yield KeyTable(databases[0]), KeyTable(databases[1])
    for database in databases:
        database.close()


def test_a_key_is_known_elsewhere_by_hub_and_hash_and_its_changes_follow(
    hubs: tuple[KeyTable, KeyTable],
) -> None:
    here, there = hubs
    made, _ = here.create("me", LIMITED, 1.0)
    here.create("box", KeyRights(scopes=("node",)), 1.0)
    (copy,) = there.take(copies_of("a", here.every()))
    assert (f"{made.id}@a", "me@a", made.digest, LIMITED) == (copy.id, copy.name, copy.digest, copy.rights)
    assert [] == there.take(copies_of("a", here.every()))  # nothing is new

    rotated, _ = here.rotate("me", 2.0)
    assert rotated.sequence > made.sequence
    (copy,) = there.take(copies_of("a", here.every()))
    assert rotated.digest == copy.digest == there.find("me@a").digest
    assert copies_of("b", there.every()).keys == ()  # a copy is not passed on


def test_an_older_state_changes_nothing_but_its_revocation_does(hubs: tuple[KeyTable, KeyTable]) -> None:
    here, there = hubs
    here.create("me", KeyRights(), 1.0)
    old = copies_of("a", here.every())
    here.change("me", KeyRights(models=("qwen*",)))
    there.take(copies_of("a", here.every()))
    assert [] == there.take(old)
    assert ("qwen*",) == there.find("me@a").rights.models

    (key,) = old.keys
    there.take(replace(old, keys=(replace(key, revoked=3.0),)))
    assert 3.0 == there.find("me@a").revoked


def test_what_was_revoked_here_stays_so_whatever_comes_from_its_hub(hubs: tuple[KeyTable, KeyTable]) -> None:
    here, there = hubs
    here.create("me", KeyRights(), 1.0)
    there.take(copies_of("a", here.every()))
    there.revoke("me@a", 2.0)
    here.rotate("me", 3.0)
    there.take(copies_of("a", here.every()))
    assert 2.0 == there.find("me@a").revoked


def test_a_revoked_key_leaves_its_name_to_the_next_one(hubs: tuple[KeyTable, KeyTable]) -> None:
    here, there = hubs
    here.create("me", KeyRights(), 1.0)
    there.take(copies_of("a", here.every()))
    here.revoke("me", 2.0)
    second, _ = here.create("me", KeyRights(), 3.0)
    there.take(copies_of("a", here.every()))
    assert (f"{second.id}@a", None) == (there.find("me@a").id, there.find("me@a").revoked)


def test_limits_are_those_of_the_hub_that_holds_the_copy(hubs: tuple[KeyTable, KeyTable]) -> None:
    here, there = hubs
    here.create("me", LIMITED, 1.0)
    there.take(copies_of("a", here.every()))
    there.change("me@a", KeyRights(limits=KeyLimits(rpm=5)))
    here.change("me", KeyRights(limits=KeyLimits(rpm=99), klass="batch"))
    (copy,) = there.take(copies_of("a", here.every()))
    assert (5, "batch") == (copy.rights.limits.rpm, copy.rights.klass)


def test_a_copy_is_rotated_only_where_it_was_made(hubs: tuple[KeyTable, KeyTable]) -> None:
    here, there = hubs
    here.create("me", KeyRights(), 1.0)
    there.take(copies_of("a", here.every()))
    with pytest.raises(UsageError, match="another hub"):
        there.rotate("me@a", 2.0)


@pytest.mark.parametrize(
    ("there", "here"), [("key-1", "key-1@a"), ("key-2@b", "key-2"), ("key-3@c", "key-3@c"), ("", "")]
)
def test_usage_of_another_hub_is_that_of_the_same_key(there: str, here: str) -> None:
    assert here == key_here(there, "a", {"key-2"})
