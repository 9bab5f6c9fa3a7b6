"""How are hub and backend named, and when is a hub tried again?"""

from random import Random

import pytest

from relayd.errors import UsageError
from relayd.remote.modelrelay.backend import parse_backend
from relayd.remote.modelrelay.joining import hub_url
from relayd.remote.modelrelay.worker import Backoff

pytestmark = pytest.mark.pure


def test_c34_the_wait_doubles_from_one_to_thirty_seconds() -> None:
    backoff = Backoff(Random(1))
    waits = [backoff.next_seconds() for _ in range(7)]

    for expected, wait in zip((1, 2, 4, 8, 16, 30, 30), waits, strict=True):
        assert expected <= wait < expected + 0.5
    backoff.reset()
    assert backoff.next_seconds() < 1.5


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("wss://hub.example", "wss://hub.example/v1/worker/connect?provider=local"),
        ("https://hub.example/", "wss://hub.example/v1/worker/connect?provider=local"),
        ("http://10.0.0.1:8080", "ws://10.0.0.1:8080/v1/worker/connect?provider=local"),
        ("hub:8080", "ws://hub:8080/v1/worker/connect?provider=local"),
        ("wss://hub.example/v1/worker/connect?x=1", "wss://hub.example/v1/worker/connect?provider=local"),
        ("wss://hub.example/base", "wss://hub.example/base/v1/worker/connect?provider=local"),
    ],
)
def test_a_hub_is_named_as_people_write_it(text: str, url: str) -> None:
    assert str(hub_url(text, "local")) == url


@pytest.mark.parametrize("text", ["ftp://hub", "ws://", "ws://user:pass@hub"])
def test_what_is_not_a_hub_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        hub_url(text, "local")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434"),
        ("127.0.0.1:1234", "http://127.0.0.1:1234"),
        ("https://box/base/v1", "https://box/base"),
    ],
)
def test_a_backend_is_named_with_or_without_v1(text: str, url: str) -> None:
    assert str(parse_backend(text)).rstrip("/") == url


@pytest.mark.parametrize("text", ["file:///etc/passwd", "http://", "http://a?b=c", "http://user:pass@a"])
def test_what_is_not_a_backend_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_backend(text)
