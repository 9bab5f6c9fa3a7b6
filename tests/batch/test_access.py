"""Where a provider is and with which key: as given, as the environment says, or the running daemon's."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.batch.client.access import address_of
from relayd.errors import NoDaemonError

pytestmark = pytest.mark.system

KEY = "key of the daemon"


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    """The control socket of a daemon at 127.0.0.1:8080."""
    path = tmp_path / "control.sock"
    answers = {"status": {"url": "http://0.0.0.0:8080"}, "configuration": {"key": KEY, "certificate": ""}}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener, answers))
        thread.start()
        yield path
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def serve(listener: socket.socket, answers: dict[str, object]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            verb = connection.recv(4096).split()[1].decode().removeprefix("/")
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(answers[verb]).encode())


def found(provider: str, environ: dict[str, str], control: Path, **given: str) -> tuple[str, str]:
    address = address_of(provider, environ, control=control, **given)
    return address.base_url, address.key.reveal()


def test_relayd_is_the_one_that_runs_here_and_lends_its_key(control: Path) -> None:
    assert ("http://127.0.0.1:8080/v1", KEY) == found("relayd", {}, control)


def test_a_key_of_the_environment_comes_before_the_one_that_is_lent(control: Path) -> None:
    assert ("http://127.0.0.1:8080/v1", "mine") == found("relayd", {"RELAYD_API_KEY": "mine"}, control)


@pytest.mark.parametrize("provider", ["relayd", "openai", "together", "anthropic"])
def test_the_daemons_own_address_gets_its_key_by_whatever_provider(control: Path, provider: str) -> None:
    for url in ("http://127.0.0.1:8080/v1", "http://localhost:8080"):
        assert (url, KEY) == found(provider, {}, control, base_url=url + "/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8081/v1", "http://fleet:8080/v1", "https://fleet/v1"])
def test_no_other_address_gets_the_daemons_key(control: Path, url: str) -> None:
    assert (url, "") == found("relayd", {"RELAYD_BASE_URL": url}, control)


def test_what_is_given_comes_before_the_environment(control: Path) -> None:
    environ = {"OPENAI_BASE_URL": "http://one/v1", "OPENAI_API_KEY": "one"}

    assert ("http://one/v1", "one") == found("openai", environ, control)
    assert ("http://two/v1", "two") == found(
        "openai", environ, control, base_url="http://two/v1", api_key="two"
    )
    assert ("https://api.openai.com/v1", "k") == found("openai", {"OPENAI_API_KEY": "k"}, control)


def test_relayd_without_a_daemon_is_an_error_with_both_remedies(tmp_path: Path) -> None:
    with pytest.raises(NoDaemonError, match=r"relayd serve.*RELAYD_BASE_URL"):
        address_of("relayd", {}, control=tmp_path / "none.sock")
