"""Does the guided start end with a planned model, and an interrupted one with nothing half done?"""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relayd.desired.demo import demo_model
from relayd.engine import Engine
from tests.daemons import DEADLINE_SECONDS, home_environ
from tests.fakes.hub import FakeHub, Fault, running_hub

pytestmark = pytest.mark.real

REPO = "bartowski/SmolLM2-135M-Instruct-GGUF"
NAME, QUANT = "smollm2-135m-instruct", "Q8_0"
CALLED = f"{NAME}:{QUANT}"
INIT = "import typer; from relayd.cli.app import app; from relayd.cli.init import init; app.command()(init)"
COMMAND = [sys.executable, "-c", f"{INIT}; from relayd.cli.main import run; run()", "init"]

Init = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    """A hub that offers a model of the catalogue, which is our own small one."""
    with running_hub() as fake:
        fake.add(REPO, **{f"SmolLM2-135M-Instruct-{QUANT}": Path(demo_model().file).read_bytes()})
        yield fake


@pytest.fixture
def environ(home: Path, engine: Engine, fake: FakeHub) -> dict[str, str]:
    hub = {"HF_ENDPOINT": fake.endpoint, "HF_HOME": str(home / "hf"), "LLAMA_SERVER_PATH": str(engine.path)}
    return home_environ(home) | hub | {"COLUMNS": "100", "TERM": "dumb"}


@pytest.fixture
def init(home: Path, environ: dict[str, str]) -> Init:
    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=home,
            env=environ | more,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    return run


class Person:
    """Somebody who reads a terminal and types."""

    def __init__(self, home: Path, environ: dict[str, str], *arguments: str) -> None:
        self._terminal, end = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=end,
            stdout=end,
            stderr=end,
            cwd=home,
            env=environ,
            start_new_session=True,
        )
        os.close(end)
        self.screen = ""
        self._seen = 0

    def await_text(self, text: str) -> None:
        """Read until a text is there that comes after the last one."""
        while (at := self.screen.find(text, self._seen)) < 0:
            self.screen += self._read()
        self._seen = at + len(text)

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def interrupts(self) -> int:
        """Type Ctrl-C until it is heard: between a prompt and the read, `input()` does not notice it."""
        while self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=10)
        return self.end()

    def end(self) -> int:
        with contextlib.suppress(OSError):
            while piece := self._read():
                self.screen += piece
        status = self.process.wait(DEADLINE_SECONDS)
        os.close(self._terminal)
        return status

    def _read(self) -> str:
        readable, _, _ = select.select([self._terminal], [], [], DEADLINE_SECONDS)
        if not readable:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"nothing more came: {self.screen}")
        return os.read(self._terminal, 65536).decode(errors="replace")


def written(home: Path) -> list[dict[str, Any]]:
    """Return the models of models.toml."""
    file = home / "state" / "relayd" / "models.toml"
    return list(tomllib.loads(file.read_text())["model"]) if file.exists() else []


def names(home: Path) -> list[tuple[str, str]]:
    """Return names and files of models.toml: the plan beside them follows the memory that is free."""
    return [(model["name"], model["file"]) for model in written(home)]


def test_a_model_is_fetched_planned_and_written(init: Init, home: Path) -> None:
    done = init("--yes", "--model", CALLED, "--no-service")

    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith("CPU: ")
    assert "\nGPU: " in done.stdout
    assert f"\n  relayd serve {CALLED}\n  relayd chat {CALLED} " in done.stdout
    (model,) = written(home)
    assert (CALLED, [NAME]) == (model["name"], model["aliases"])
    assert f"SmolLM2-135M-Instruct-{QUANT}.gguf" == Path(model["file"]).name
    assert "gpu_layers" in model["placement"]


def test_once_more_fetches_nothing_and_writes_the_same(init: Init, home: Path, fake: FakeHub) -> None:
    wanted = ("--yes", "--model", CALLED, "--no-service", "--json")
    first, before, asked = json.loads(init(*wanted).stdout), names(home), len(fake.downloads())
    second = json.loads(init(*wanted).stdout)

    assert first == second
    assert (before, asked) == (names(home), len(fake.downloads()))
    assert [f"relayd serve {CALLED}", f"relayd chat {CALLED}"] == second["next"]


def test_without_a_terminal_it_says_what_it_would_do(init: Init, home: Path, fake: FakeHub) -> None:
    done = init("--model", CALLED)

    assert 2 == done.returncode
    assert f"  fetch {CALLED}, " in done.stdout
    assert f"  add {CALLED} to {home / 'state/relayd/models.toml'}" in done.stdout
    assert "relayd init --yes" in done.stderr
    assert ([], []) == (written(home), fake.asked)


def test_without_a_pull_it_says_how_to_get_the_model(init: Init, home: Path, fake: FakeHub) -> None:
    told = json.loads(init("--yes", "--for", "chat", "--no-pull", "--no-service", "--json").stdout)

    called = f"{told['model']}:{told['quant']}"
    assert [f"relayd pull {called}", f"relayd serve {called}"] == told["next"]
    assert ([], []) == (written(home), fake.asked)


def test_a_model_that_does_not_fit_is_refused_with_the_numbers(init: Init) -> None:
    done = init("--yes", "--model", "kimi-k2-thinking")

    assert 2 == done.returncode
    assert "does not fit this machine: " in done.stderr
    assert "relayd recommend --model kimi-k2-thinking" in done.stderr


def test_a_model_of_relay_toml_stays_as_it_is(init: Init, home: Path, tiny_model: Path) -> None:
    config = home / "config" / "relayd" / "relay.toml"
    config.parent.mkdir(parents=True, mode=0o700)
    config.write_text(f'[[model]]\nname = "{NAME}"\nfile = "{tiny_model}"\n')
    config.chmod(0o600)
    done = init("--yes", "--model", CALLED, "--no-service")

    assert "relay.toml already" in done.stdout
    assert [] == written(home)


def test_a_person_chooses_step_by_step(home: Path, environ: dict[str, str]) -> None:
    person = Person(home, environ)
    person.await_text("What for?")
    person.await_text("skip)")
    person.type("1\n")
    person.await_text("Which model?")
    person.await_text("NAME[:QUANT])")
    person.type("no-such-model\n")
    person.await_text("NAME[:QUANT])")
    person.type(f"{NAME}:{QUANT}\n")
    person.await_text("Fetch ")
    person.await_text("[Y/n]")
    person.type("\n")
    person.await_text(f"Add {NAME}")
    person.await_text("[Y/n]")
    person.type("y\n")

    assert 0 == person.end(), person.screen
    assert "no model 'no-such-model'" in person.screen
    assert [CALLED] == [model["name"] for model in written(home)]


def test_a_failed_network_is_tried_again_and_the_next_start_goes_on_where_it_was(
    home: Path, environ: dict[str, str], fake: FakeHub
) -> None:
    fake.faults.extend([Fault(0)] * 8)
    person = Person(home, environ)
    person.await_text("skip)")
    person.type("1\n")
    person.await_text("NAME[:QUANT])")
    person.type(f"{CALLED}\n")
    for answer in ("\n", "y\n", "n\n"):
        person.await_text("[Y/n]")
        person.type(answer)

    assert 0 == person.end(), person.screen
    assert 2 == person.screen.count("Try again?")
    assert "run relayd init again to go on" in person.screen
    assert f"relayd pull {CALLED}" in person.screen

    again = Person(home, environ)
    again.await_text(f"Continue with {CALLED}, which you chose last time? [Y/n]")
    again.type("\n")
    for question in ("Fetch ", "Add "):
        again.await_text(question)
        again.await_text("[Y/n]")
        again.type("\n")

    assert 0 == again.end(), again.screen
    assert "What for?" not in again.screen
    assert [CALLED] == [model["name"] for model in written(home)]
    assert not (home / "state/relayd/init.json").exists()


def test_every_step_can_be_left_out(home: Path, environ: dict[str, str], fake: FakeHub) -> None:
    person = Person(home, environ)
    person.await_text("skip)")
    person.type("-\n")

    assert 0 == person.end(), person.screen
    assert "relayd serve --demo" in person.screen
    assert ([], []) == (written(home), fake.asked)


@pytest.mark.parametrize("step", ["What for?", "Fetch ", "Add "])
def test_ctrl_c_at_a_question_ends_with_nothing_written(
    home: Path, environ: dict[str, str], step: str
) -> None:
    named = () if step == "What for?" else ("--model", CALLED)
    person = Person(home, environ, *named)
    if step == "Add ":
        person.await_text("Fetch ")
        person.await_text("[Y/n]")
        person.type("\n")
    person.await_text(step)
    person.await_text("skip)" if step == "What for?" else "[Y/n]")

    assert 130 == person.interrupts(), person.screen
    assert "Traceback" not in person.screen
    assert "Nothing is lost: run relayd init again to go on." in person.screen
    assert [] == written(home)


def test_ctrl_c_while_a_model_comes_writes_nothing_and_the_next_one_goes_on(
    home: Path, environ: dict[str, str], fake: FakeHub, init: Init
) -> None:
    fake.faults.append(Fault(300_000, "hold"))
    person = Person(home, environ, "--yes", "--model", CALLED, "--no-service")
    assert fake.held.wait(DEADLINE_SECONDS)

    assert 130 == person.interrupts(), person.screen
    assert "Traceback" not in person.screen
    assert [] == written(home)
    assert 0 == init("--yes", "--model", CALLED, "--no-service").returncode
    assert [CALLED] == [model["name"] for model in written(home)]
