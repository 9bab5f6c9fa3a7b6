"""Do commands mean what the running daemon was given, wherever they are typed?"""

import http.server
import json
import socketserver
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from tests.daemons import Daemon, home_environ, run_relayd

pytestmark = pytest.mark.real

KEY = "a-key-that-is-long-enough-for-relayd"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder without a relay.toml."""
    return tmp_path


@pytest.fixture
def keyed(start_daemon: Callable[..., Daemon], tiny_model: Path) -> Daemon:
    """A daemon whose configuration no command finds by itself: it was named, and its key is a variable."""
    config = f'[server]\napi_key = "${{ENV:MY_KEY}}"\n[[model]]\nname = "tiny"\nfile = "{tiny_model}"\n'
    return start_daemon(config, MY_KEY=KEY)


def test_chat_and_test_have_the_key_of_a_configuration_that_was_named(keyed: Daemon, elsewhere: Path) -> None:
    environ = home_environ(keyed.home)
    chat = run_relayd(environ, elsewhere, "chat", "tiny", "-m", "hi", "--json")
    tried = run_relayd(environ, elsewhere, "test", "--json")

    assert 0 == chat.returncode, chat.stderr
    assert "tiny#0" == json.loads(chat.stdout)["replica"]
    assert 0 == tried.returncode, tried.stderr


def test_plan_shows_the_models_of_a_configuration_that_was_named(keyed: Daemon, elsewhere: Path) -> None:
    done = run_relayd(home_environ(keyed.home), elsewhere, "plan", "--json")

    assert ["tiny#0"] == [one["name"] for one in json.loads(done.stdout)["replicas"]]


def test_a_configuration_that_is_named_for_a_command_goes_before_the_daemons(
    keyed: Daemon, elsewhere: Path, slow_model: Path
) -> None:
    own = elsewhere / "own.toml"
    own.write_text(f'[[model]]\nname = "mine"\nfile = "{slow_model}"\n')
    environ = home_environ(keyed.home) | {"LLAMA_SERVER_PATH": keyed.environ["LLAMA_SERVER_PATH"]}
    done = run_relayd(environ, elsewhere, "plan", "--config", str(own), "--json")

    assert ["mine#0"] == [one["name"] for one in json.loads(done.stdout)["replicas"]]


def test_the_key_and_the_environment_are_shown_by_no_command(keyed: Daemon, elsewhere: Path) -> None:
    shown = [
        run_relayd(home_environ(keyed.home), elsewhere, *command.split())
        for command in ("status", "status --json", "plan", "plan --json", "plan --command", "doctor")
    ]

    assert not any(KEY in done.stdout + done.stderr for done in shown)
    assert KEY not in repr(keyed.client.configuration())
    assert KEY not in (keyed.home / "state/relayd/logs/relayd.log").read_text()


def test_engine_path_is_that_of_the_daemon(keyed: Daemon, elsewhere: Path) -> None:
    done = run_relayd(home_environ(keyed.home), elsewhere, "engine", "path")

    assert keyed.environ["LLAMA_SERVER_PATH"] == done.stdout.strip()


def test_without_a_daemon_a_command_looks_here(home: Path, elsewhere: Path, slow_model: Path) -> None:
    (elsewhere / "relay.toml").write_text(f'[[model]]\nname = "mine"\nfile = "{slow_model}"\n')
    done = run_relayd(home_environ(home), elsewhere, "plan", "--json")

    assert ["mine#0"] == [one["name"] for one in json.loads(done.stdout)["replicas"]], done.stderr


class EarlierBuild(http.server.BaseHTTPRequestHandler):
    """A control socket that does not know what it is asked, as that of e573402."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"404: Not Found")

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.mark.parametrize("command", ["plan", "recommend --write", "recommend"])
def test_a_daemon_of_another_build_is_not_passed_over_in_silence(
    home: Path, elsewhere: Path, tiny_model: Path, command: str
) -> None:
    (elsewhere / "relay.toml").write_text(f'[[model]]\nname = "mine"\nfile = "{tiny_model}"\n')
    (home / "r").mkdir(mode=0o700)
    with socketserver.ThreadingUnixStreamServer(str(home / "r/control.sock"), EarlierBuild) as server:
        Thread(target=server.serve_forever).start()
        done = run_relayd(home_environ(home), elsewhere, *command.split())
        named = run_relayd(home_environ(home), elsewhere, "plan", "--config", "relay.toml", "--json")
        server.shutdown()

    assert 1 == done.returncode
    assert "the running daemon is of another build" in done.stderr
    assert "relayd upgrade" in done.stderr
    assert not list(home.rglob("models.toml"))
    assert ["mine#0"] == [one["name"] for one in json.loads(named.stdout)["replicas"]]
