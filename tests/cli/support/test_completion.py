"""Does a shell that asks for names get those of the daemon, and never an error?"""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemons import DEADLINE_SECONDS, Daemon, home_environ


def complete(environ: dict[str, str], home: Path, what: str, **asked: str) -> str:
    """Return what the installed program says to a shell."""
    done = subprocess.run(
        [Path(sys.executable).with_name("relayd")],
        capture_output=True,
        cwd=home,
        env=environ | {"_RELAYD_COMPLETE": what} | asked,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )
    assert "" == done.stderr
    return done.stdout


def proposals(environ: dict[str, str], home: Path, words: str) -> list[str]:
    """Return what bash would propose for the last word."""
    last = str(len(words.split(" ")) - 1)
    return complete(environ, home, "complete_bash", COMP_WORDS=words, COMP_CWORD=last).split()


@pytest.mark.real
def test_models_and_replicas_complete(start_daemon: Callable[..., Daemon], tiny_model: Path) -> None:
    daemon = start_daemon(
        f'[[model]]\nname = "tiny"\naliases = ["small"]\nfile = "{tiny_model}"\nreplicas = 2\n'
    )

    def propose(words: str) -> list[str]:
        """Ask as often as it takes: a shell does not wait for long, and a test's machine may be busy."""
        return next(found for _ in range(50) if (found := proposals(daemon.environ, daemon.home, words)))

    assert ["tiny", "tiny#0", "tiny#1"] == propose("relayd stop ")
    assert ["tiny#0", "tiny#1"] == propose("relayd logs tiny#")
    assert ["tiny", "small"] == propose("relayd chat ")
    assert ["small"] == propose("relayd bench s")
    assert ["tiny"] == propose("relayd test t")
    assert ["tiny", "tiny#0", "tiny#1"] == propose("relayd restart ti")


@pytest.mark.system
def test_without_a_daemon_nothing_is_proposed(home: Path) -> None:
    assert [] == proposals(home_environ(home), home, "relayd stop ")


@pytest.mark.system
def test_a_daemon_that_does_not_answer_is_not_waited_for(home: Path) -> None:
    (home / "r").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(home / "r" / "control.sock"))
        silent.listen()

        assert [] == proposals(home_environ(home), home, "relayd stop ")


@pytest.mark.system
def test_a_configuration_that_makes_no_sense_is_no_error(home: Path) -> None:
    environ = home_environ(home) | {"RELAYD_RUNTIME_DIR": "relative"}

    assert [] == proposals(environ, home, "relayd chat ")


@pytest.mark.system
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_there_for_each_shell(home: Path, shell: str) -> None:
    script = complete(home_environ(home), home, f"source_{shell}")

    assert f"_RELAYD_COMPLETE=complete_{shell}" in script


@pytest.mark.real
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_ask_in_their_own_way(demo: Daemon, shell: str) -> None:
    asked = {"_TYPER_COMPLETE_ARGS": "relayd stop de", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}

    assert "demo#0" in complete(demo.environ, demo.home, f"complete_{shell}", **asked)
