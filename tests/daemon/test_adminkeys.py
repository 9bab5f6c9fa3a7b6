"""Do ModelRelay's clients find keys as they know them, with a secret that is shown once?"""

from pathlib import Path

import pytest

from relayd.clock import SystemClock
from relayd.config.schema import Server
from relayd.daemon.adminkeys import AdminKeys
from relayd.daemon.arguments import ChangeKeyArguments, CreateKeyArguments, KeyArguments, NoArguments
from relayd.daemon.keybook import KeyBook
from relayd.errors import RelaydError
from relayd.rights import KeyRights

pytestmark = pytest.mark.system


async def test_c71_a_secret_is_shown_once_and_only_its_beginning_later(tmp_path: Path) -> None:
    book = KeyBook(tmp_path / "relayd.db", SystemClock())
    await book.open(Server())
    keys = AdminKeys(book)

    made = await keys.create(CreateKeyArguments("laptop", KeyRights(models=("qwen*",))))
    (listed,) = (await keys.every(NoArguments())).keys

    assert (made.id, "laptop", False, None) == (listed.id, listed.name, listed.revoked, listed.last_used_at)
    assert ("", ("qwen*",)) == (listed.secret, listed.rights.models)
    assert made.secret.startswith(listed.prefix)
    assert len(listed.prefix) < len(made.secret) / 2
    assert made.secret not in repr(made)
    await book.close()


async def test_a_key_is_changed_rotated_and_taken_back_also_twice(tmp_path: Path) -> None:
    book = KeyBook(tmp_path / "relayd.db", SystemClock())
    await book.open(Server())
    keys = AdminKeys(book)
    made = await keys.create(CreateKeyArguments("laptop"))

    changed = await keys.change(ChangeKeyArguments(made.id, models=("a",)))
    rotated = await keys.rotate(KeyArguments("laptop"))
    for _ in range(2):
        await keys.revoke(KeyArguments(made.id))
    (listed,) = (await keys.every(NoArguments())).keys

    assert ("a",) == changed.rights.models == rotated.rights.models
    assert made.secret != rotated.secret
    assert listed.revoked
    with pytest.raises(RelaydError) as unknown:
        await keys.revoke(KeyArguments("nobody"))
    assert 404 == unknown.value.http_status
    await book.close()
