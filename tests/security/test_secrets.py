"""Does a secret stay one, wherever it is printed?"""

import copy
import json
import pickle
import traceback

import msgspec
import pytest

from relayd.config.schema import Config, Server
from relayd.secret import Secret, new_secret

pytestmark = pytest.mark.pure

CANARY = "canary-0123456789-0123456789"


def test_r19_a_secret_prints_as_stars_however_it_is_printed() -> None:
    secret = Secret(CANARY)
    config = Config(server=Server(api_key=secret))

    prints = (str(secret), repr(secret), f"{secret}", f"{secret:>40}", repr(config), str(config))
    for shown in prints:
        assert CANARY not in shown
        assert "***" in shown


@pytest.mark.parametrize("dump", [json.dumps, pickle.dumps, msgspec.json.encode, copy.deepcopy])
def test_r19_a_secret_is_written_by_no_encoder(dump: object) -> None:
    try:
        written = dump(Secret(CANARY))  # type: ignore[operator]  # each takes one value
    except TypeError:
        return
    assert CANARY not in str(written)


def test_r19_a_traceback_shows_none() -> None:
    secret = Secret(CANARY)
    try:
        raise ValueError(f"no use for {secret!r}")
    except ValueError:
        shown = traceback.format_exc()

    assert CANARY not in shown


def test_r10_a_new_secret_has_256_bits_and_is_no_other() -> None:
    made = {new_secret().reveal() for _ in range(100)}

    assert 100 == len(made)
    assert all(len(one) >= 43 for one in made), "256 bits are 43 characters of base64"
