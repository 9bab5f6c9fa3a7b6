"""Does a request's id find it wherever it is: open, ended, in the log?"""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.daemon.test_admin import chat, configured, rest
from tests.daemons import Daemon, wait_until

pytestmark = pytest.mark.real


def test_a_request_is_found_by_its_id_and_ended(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(configured(slow_model))
    with closing(chat(daemon.url, "slow", 3000, "first one")) as stream:
        stream.readline()
        found = json.loads(daemon.run("requests", "first one", "--json").stdout)
        assert (["answering"], []) == ([one["state"] for one in found["open"]], found["ended"])
        assert "slow" in daemon.run("requests").stdout
        assert "slow#0" in daemon.run("top", "--once").stdout

        assert 0 == daemon.run("requests", "--cancel", "first one").returncode
        assert b"request_cancelled" in rest(stream)

    def ended() -> bool:
        document = json.loads(daemon.run("requests", "first one", "--json").stdout or "{}")
        return [one["code"] for one in document.get("ended", [])] == ["request_cancelled"]

    wait_until(ended)
    assert "request_cancelled" in daemon.run("requests", "first one").stdout
    assert 1 == daemon.run("requests", "no such one").returncode
    assert 1 == daemon.run("requests", "--cancel", "no such one").returncode
    assert 2 == daemon.run("requests", "a", "--follow").returncode


def test_without_a_daemon_the_log_is_looked_through(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(configured(slow_model) + '[logs]\nrequests = "all"\n')
    with closing(chat(daemon.url, "slow", 3, "kept")) as stream:
        stream.read()
    daemon.end()

    found = json.loads(daemon.run("requests", "kept", "--json").stdout)

    assert ["slow"] == [one["model"] for one in found["logged"]]
    assert 3 == daemon.run("requests").returncode
    assert 3 == daemon.run("top").returncode
