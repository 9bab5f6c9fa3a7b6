"""Is a configuration file refused when others could have written it, or can read the key in it?"""

import errno
import os
from pathlib import Path

import pytest

from relayd.config.trust import check_trust, trusted_owner, unreadable
from relayd.errors import ConfigError

pytestmark = pytest.mark.pure

FILE = Path("relay.toml")
ME, ROOT, OTHER = 1000, 0, 1001


def status(mode: int, owner: int = ME) -> os.stat_result:
    return os.stat_result((0o100000 | mode, 1, 1, 1, owner, 1000, 0, 0, 0, 0))


def test_a_private_file_may_hold_a_key() -> None:
    assert [] == check_trust(FILE, status(0o600), ME, holds_key=True)


def test_a_file_without_a_key_may_be_read_by_all() -> None:
    assert [] == check_trust(FILE, status(0o644), ME, holds_key=False)


def test_a_file_its_group_can_write_is_a_warning() -> None:
    expected = ["relay.toml: its group can write it (mode 0664); chmod g-w relay.toml"]

    assert expected == check_trust(FILE, status(0o664), ME, holds_key=False)


@pytest.mark.parametrize("owner", [ME, ROOT])
def test_r21_a_file_everyone_can_write_is_refused(owner: int) -> None:
    with pytest.raises(ConfigError, match=r"relay.toml: every user can write it \(mode 0666\)"):
        check_trust(FILE, status(0o666, owner), ME, holds_key=False)


@pytest.mark.parametrize("uid", [ME, ROOT])
def test_a_file_of_another_user_is_refused(uid: int) -> None:
    with pytest.raises(ConfigError, match=r"relay.toml: belongs to another user \(uid 1001\)"):
        check_trust(FILE, status(0o600, OTHER), uid, holds_key=False)


def test_a_file_of_a_user_who_is_trusted_is_read() -> None:
    owner = trusted_owner({"RELAYD_CONFIG_UID": str(OTHER)})

    assert [] == check_trust(FILE, status(0o644, OTHER), ME, holds_key=False, trusted=owner)
    with pytest.raises(ConfigError, match="every user can write it"):
        check_trust(FILE, status(0o666, OTHER), ME, holds_key=False, trusted=owner)


def test_the_remedy_for_a_file_of_another_user_names_the_variable() -> None:
    with pytest.raises(ConfigError) as refused:
        check_trust(FILE, status(0o644, OTHER), ME, holds_key=False, trusted=trusted_owner({}))

    assert "RELAYD_CONFIG_UID=1001" in refused.value.remedy


@pytest.mark.parametrize("text", ["me", "-1", "1000,1001", "²"])
def test_a_trusted_user_that_is_no_number_is_refused_with_the_value(text: str) -> None:
    with pytest.raises(ConfigError, match="RELAYD_CONFIG_UID=") as refused:
        trusted_owner({"RELAYD_CONFIG_UID": text})

    assert repr(text) in refused.value.message


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EACCES, "Let uid 1000 read it"), (errno.EISDIR, "Docker"), (errno.EIO, "")]
)
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(number: int, remedy: str) -> None:
    error = unreadable(FILE, OSError(number, os.strerror(number)), ME)

    assert f"relay.toml: cannot be read: {os.strerror(number)}" == error.message
    assert remedy in error.remedy


@pytest.mark.parametrize(("mode", "owner"), [(0o644, ME), (0o640, ME), (0o604, ROOT)])
def test_r21_a_key_others_can_read_is_refused(mode: int, owner: int) -> None:
    with pytest.raises(ConfigError, match="holds a secret, and other users can read it") as refused:
        check_trust(FILE, status(mode, owner), ME, holds_key=True)

    assert "Run `chmod 600 relay.toml`." == refused.value.remedy


def test_a_service_reads_a_key_through_its_group() -> None:
    assert [] == check_trust(FILE, status(0o640, ROOT), ME, holds_key=True)
