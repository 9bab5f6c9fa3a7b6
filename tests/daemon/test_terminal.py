"""What `serve`, `chat` and `run` look like on terminals of three widths, and how they are left."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relayd.client.control import Client
from relayd.engine import Engine
from tests.daemons import DEADLINE_SECONDS, Daemon, home_environ, lasting_processes, wait_until
from tests.ptys import OnTerminal

pytestmark = pytest.mark.real

WIDTHS = (80, 100, 140)

ANSWERS = {
    80: "Hello from relayd! This is its built-in demo model: the words are fixed, because\nthere is no real",
    100: "the words are fixed, because there is no real\nlanguage model",
    140: "because there is no real language model behind them. Everything\nelse is genuine",
}
"""Width -> where an answer of the demo model is broken."""


@pytest.fixture
def environ(home: Path, engine: Engine) -> Iterator[dict[str, str]]:
    """An empty home, in which nothing may be left."""
    yield home_environ(home) | {"LLAMA_SERVER_PATH": str(engine.path)}
    wait_until(lambda: not lasting_processes(home))


@pytest.mark.parametrize("columns", WIDTHS)
def test_serve_reports_and_its_end_is_announced(columns: int, environ: dict[str, str], home: Path) -> None:
    serve = OnTerminal("serve --demo --listen 127.0.0.1:0", environ, home, columns)
    serve.await_text("Hello!")
    serve.types("\x03")

    assert 0 == serve.end()
    shown = [line.rpartition("\x1b[2K")[2] for line in serve.screen.splitlines()]
    assert "demo#0 (demo model: fixed answers) is ready" in [line.partition(" after")[0] for line in shown]
    assert any(line.startswith("  http://127.0.0.1:") and "/ui/#link=" in line for line in shown)
    assert "  relayd chat demo" in shown
    assert shown.index("  relayd chat demo") < shown.index("    -H 'Content-Type: application/json' \\")
    assert "Stopping" == shown[-1].removeprefix("^C")
    assert all(len(line) <= 80 for line in shown), "what is copied is never broken"


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_chat_wraps_answers_between_words_and_is_left_by_ctrl_c_twice(columns: int, demo: Daemon) -> None:
    chat = OnTerminal("chat", demo.environ, demo.home, columns)
    chat.await_text(">>> ")
    chat.types("Hello\n")
    chat.await_text("first word")
    chat.await_text(">>> ", 2)
    chat.types("half typed\x03")
    chat.await_text("Ctrl-C again or /bye leaves.")
    chat.await_text(">>> ", 3)
    chat.types("\x03")

    assert 0 == chat.end()
    shown = "\n".join(line.rstrip() for line in chat.screen.splitlines())
    assert ANSWERS[columns] in shown
    assert "Chat with demo (demo model: fixed answers). /help lists commands, /bye leaves." in shown


def test_ctrl_c_ends_an_answer_and_the_chat_goes_on(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(f'[[model]]\nname = "slow"\nfile = "{slow_model}"\ncontext = 65536\n')
    chat = OnTerminal("chat slow", daemon.environ, daemon.home)
    chat.await_text(">>> ")
    chat.types("Hello\n")
    wait_until(lambda: daemon.status()["models"][0]["running"] == 1)
    chat.types("\x03")
    chat.await_text("[cut short]")
    wait_until(lambda: daemon.status()["models"][0]["running"] == 0)
    chat.await_text(">>> ", 2)
    chat.types("/bye\n")

    assert 0 == chat.end()


def test_a_second_ctrl_c_ends_what_the_first_one_waits_for(
    environ: dict[str, str], home: Path, slow_model: Path
) -> None:
    (home / "relay.toml").write_text(f'[[model]]\nname = "slow"\nfile = "{slow_model}"\ncontext = 65536\n')
    client = Client([home / "r" / "control.sock"])
    serve = OnTerminal("serve --listen 127.0.0.1:0", environ, home)
    serve.await_text("Hello!")
    chat = OnTerminal("chat slow tell", environ, home)
    wait_until(lambda: client.status(timeout_seconds=DEADLINE_SECONDS).models[0].running == 1)
    serve.types("\x03")
    serve.await_text("Stopping: 1 answer runs, up to 30 s. Ctrl-C again ends it now.")
    serve.types("\x03")
    serve.await_text("Ending now: 1 unfinished")

    assert (0, 1) == (serve.end(), chat.end())
    assert "slow: 1 request at a time" in serve.screen or "requests at once" in serve.screen
