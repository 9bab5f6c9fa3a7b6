"""`relayd run`: a model by its name, from an empty home to its first words."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.client.control import Client
from relayd.engine import Engine
from tests.daemons import DEADLINE_SECONDS, home_environ, lasting_processes, run_relayd, wait_until
from tests.fakes.hub import FakeHub

pytestmark = pytest.mark.real


class Newcomer:
    """A person with an empty home, a hub and a terminal that is none."""

    def __init__(self, home: Path, hub: FakeHub, engine: Path) -> None:
        self.home = home
        self.environ = home_environ(home) | {"HF_ENDPOINT": hub.endpoint, "LLAMA_SERVER_PATH": str(engine)}
        self.environ["RELAYD_SERVER__LISTEN"] = "127.0.0.1:0"

    @property
    def client(self) -> Client:
        return Client([self.home / "r" / "control.sock"])

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_relayd(self.environ, self.home, *words)

    def models(self) -> list[str]:
        return [model.name for model in self.client.status(timeout_seconds=DEADLINE_SECONDS).models]


@pytest.fixture
def newcomer(home: Path, engine: Engine, tiny_model: Path) -> Iterator[Newcomer]:
    """Whatever they have started is ended, and nothing of it may be left."""
    files = {"tiny-Q8_0.gguf": tiny_model.read_bytes(), "tiny-Q4_0.gguf": tiny_model.read_bytes() + b"\0"}
    hub = FakeHub(repos={"maker/tiny-GGUF": files})
    person = Newcomer(home, hub, engine.path)
    yield person
    person.types("stop")
    wait_until(lambda: not lasting_processes(home))
    hub.close()


def test_one_command_leads_from_an_empty_home_to_the_first_words(newcomer: Newcomer) -> None:
    first = newcomer.types("run", "maker/tiny-GGUF:q8_0", "Hello", "--max-tokens", "4", "--json")
    pid = newcomer.client.status().pid
    again = newcomer.types("run", "tiny-q8_0", "Hello", "--max-tokens", "4", "--json")

    assert 0 == first.returncode, first.stderr
    assert "tiny-Q8_0#0" == json.loads(first.stdout)["replica"]
    assert 0 == again.returncode, again.stderr
    assert pid == newcomer.client.status().pid, "the daemon that runs is used"
    assert 0 == newcomer.types("stop").returncode
    assert 3 == newcomer.types("ps").returncode


def test_each_model_that_is_run_joins_those_that_are_served(newcomer: Newcomer, slow_model: Path) -> None:
    """Models of the hub and files lie where they are, and are loaded when they are asked for."""
    newcomer.types("run", "hf.co/maker/tiny-GGUF:Q8_0", "Hello", "--max-tokens", "1")
    other = newcomer.types("run", str(slow_model), "Hello", "--max-tokens", "1")

    assert 0 == other.returncode, other.stderr
    assert ["slow", "tiny-Q8_0"] == sorted(newcomer.models())


def test_beside_configured_models_one_that_is_run_is_configured_too(
    newcomer: Newcomer, slow_model: Path
) -> None:
    (newcomer.home / "relay.toml").write_text(f'[[model]]\nname = "mine"\nfile = "{slow_model}"\n')
    done = newcomer.types("run", "maker/tiny-GGUF:Q8_0", "Hello", "--max-tokens", "1")
    added = newcomer.types("run", "maker/tiny-GGUF:Q4_0", "Hello", "--max-tokens", "1")

    assert (0, 0) == (done.returncode, added.returncode), done.stderr + added.stderr
    assert ["mine", "tiny-Q4_0", "tiny-Q8_0"] == sorted(newcomer.models())


def test_settings_and_flags_of_the_line_are_planned(newcomer: Newcomer, tiny_model: Path) -> None:
    done = newcomer.types(
        "run", str(tiny_model), "Hello", "--context", "512", "--slots", "2", "--", "--top-k", "7"
    )
    (model,) = newcomer.client.status().models
    command = model.replicas[0].command
    refused = newcomer.types("run", str(tiny_model), "--context", "64", "Hello")

    assert 0 == done.returncode, done.stderr
    assert ("1024", "2") == (
        command[command.index("--ctx-size") + 1],
        command[command.index("--parallel") + 1],
    )
    assert "7" == command[command.index("--top-k") + 1]
    assert 2 == refused.returncode
    assert "relayd stop" in refused.stderr


def test_a_name_that_means_nothing_starts_nothing(newcomer: Newcomer) -> None:
    done = newcomer.types("run", "no-such-model", "Hello")

    assert 2 == done.returncode
    assert "no-such-model" in done.stderr
    assert 3 == newcomer.types("ps").returncode


def test_a_large_model_is_not_fetched_without_being_asked_for(newcomer: Newcomer) -> None:
    done = newcomer.types("run", "gemma3", "Hello")

    assert 2 == done.returncode
    assert "'gemma3' could be 5 models" in done.stderr
    assert "relayd run gemma-3-" in done.stderr


def test_help_is_one_screen() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "relayd", "run", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "80"},
    ).stdout

    assert len(shown.splitlines()) < 45
    assert "--engine-flag" not in shown
