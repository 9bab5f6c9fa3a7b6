"""Is a key of relayd's own known from any other text, and a mistyped one from a whole one?"""

import re
import string
from random import Random

import pytest

from relayd.apikey import PREFIX, check_foreign, hint, is_mistyped, make_key
from relayd.errors import UsageError
from relayd.secret import Secret

pytestmark = pytest.mark.pure

BASE62 = string.digits + string.ascii_letters


def test_a_key_has_one_form() -> None:
    assert re.fullmatch(r"sk-relayd-[0-9A-Za-z]{49}", make_key().reveal())


def test_r10_no_key_is_made_twice() -> None:
    assert 1000 == len({make_key().reveal() for _ in range(1000)})


def test_a_whole_key_is_not_mistyped() -> None:
    assert not any(is_mistyped(make_key().reveal()) for _ in range(200))


def test_the_checksum_stays_what_it_is() -> None:
    assert not is_mistyped("sk-relayd-" + "0" * 43 + "3ReS0Z")


@pytest.mark.parametrize("seed", range(20))
def test_one_wrong_character_is_noticed(seed: int) -> None:
    random = Random(seed)
    key = make_key().reveal()
    at = random.randrange(len(PREFIX), len(key))
    other = random.choice([one for one in BASE62 if one != key[at]])

    assert is_mistyped(key[:at] + other + key[at + 1 :])


@pytest.mark.parametrize("seed", range(20))
def test_two_characters_in_the_wrong_order_are_noticed(seed: int) -> None:
    random = Random(seed)
    key = make_key().reveal()
    places = [at for at in range(len(PREFIX), len(key) - 1) if key[at] != key[at + 1]]
    at = random.choice(places)

    assert is_mistyped(key[:at] + key[at + 1] + key[at] + key[at + 2 :])


@pytest.mark.parametrize("cut", [1, 6, 20, 49])
def test_a_key_that_was_not_copied_whole_is_noticed(cut: int) -> None:
    assert is_mistyped(make_key().reveal()[:-cut])


@pytest.mark.parametrize("key", ["", "mr_live_abcdefghijklmnopqrstuvwxyz012345", "sk-proj-abc", "sk-relay-1"])
def test_keys_of_others_have_no_checksum_of_ours(key: str) -> None:
    assert not is_mistyped(key)


def test_a_hint_leaves_most_of_a_key_unknown() -> None:
    assert "sk-relayd-" == hint(make_key())[:10]
    assert 16 == len(hint(make_key()))
    assert "abcdefgh" == hint(Secret("abcdefghijklmnopqrstuvwx"))


def test_a_key_of_modelrelay_is_accepted() -> None:
    check_foreign(Secret("mr_live_0123456789abcdefghijklmnopqrstuv"))


@pytest.mark.parametrize(
    "secret",
    ["short", "x" * 23, "x" * 1025, "with a space in the middle of it", "ünïcode-of-enough-characters", ""],
)
def test_r10_what_is_weak_or_cannot_be_sent_is_refused_without_repeating_it(secret: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_foreign(Secret(secret))

    assert not secret or secret not in str(refused.value)


def test_a_mistyped_key_of_ours_is_refused_as_that() -> None:
    with pytest.raises(UsageError, match="typing error"):
        check_foreign(Secret(make_key().reveal()[:-1]))
