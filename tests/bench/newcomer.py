"""How long is the way from a clone to an answer? `python -m tests.bench.newcomer [--without-engine]`

Somebody with an empty home types what README and screens say, on a terminal of 100 columns. Models come
from a hub on this machine that speaks the Hub's protocol and gives the built-in model for every name.
"""

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from relayd.catalog import find_entry
from relayd.desired.demo import demo_model
from relayd.folders import data_dir
from tests.bench.terminal import Terminal
from tests.daemons import home_environ
from tests.fakes.hub import FakeHub, running_hub
from tests.planner.models import catalogue

CHECKOUT = Path(__file__).parents[2]
KEPT_LINES = 16
"""Of the beginning and of the end of a long screen."""

INSTALL = "python3 -m venv .venv && .venv/bin/pip install -q ."


class Newcomer:
    """Types commands, and keeps every screen with the time it took."""

    def __init__(self, terminal: Terminal, folder: Path) -> None:
        self._terminal = terminal
        self._folder = folder
        self.steps: list[tuple[str, float, str]] = []
        self.serving = ""

    def types(self, line: str, folder: Path | None = None) -> str:
        """Type a command that ends well, and return its screen."""
        began = time.monotonic()
        window = self._terminal.open(line, folder or self._folder)
        status = self._terminal.await_end(window)
        self._keep(line, began, window)
        if status:
            raise SystemExit(f"{line} ended with {status}:\n{self._terminal.screen(window)}")
        return self._terminal.screen(window)

    def serves(self, line: str) -> str:
        """Type `relayd serve`, and return its screen when it says what to try."""
        began = time.monotonic()
        self.serving = self._terminal.open(line, self._folder)
        self._terminal.await_text(self.serving, "Try it:")
        self._terminal.await_text(self.serving, "curl ")
        self._keep(line, began, self.serving)
        return self._terminal.screen(self.serving)

    def _keep(self, line: str, began: float, window: str) -> None:
        seconds = time.monotonic() - began
        self.steps.append((line, seconds, self._terminal.screen(window)))
        print(f"{seconds:8.2f} s  {line[:80]}", flush=True)


def main() -> None:
    """Walk the way once, and print each command with its time and its screen."""
    arguments = argparse.ArgumentParser(prog="python -m tests.bench.newcomer")
    arguments.add_argument("--without-engine", action="store_true", help="have it install one, in minutes")
    with_engine = not arguments.parse_args().without_engine
    home = Path(tempfile.mkdtemp(prefix="n"))
    try:
        with running_hub() as hub:
            _walk(home, hub, with_engine=with_engine)
    finally:
        shutil.rmtree(home)


def _walk(home: Path, hub: FakeHub, *, with_engine: bool) -> None:
    if with_engine:
        shutil.copytree(data_dir() / "engines", home / "data/relayd/engines", symlinks=True)
    print(f"engine {'installed before' if with_engine else 'not installed'}; {_load()}")
    terminal = Terminal(home, _environ(home, hub))
    newcomer = Newcomer(terminal, home / "relayd")
    try:
        _type(newcomer, hub, home)
    finally:
        terminal.close()
    print(f"{sum(seconds for _, seconds, _ in newcomer.steps):8.2f} s  in all; {_load()}")
    for line, seconds, screen in newcomer.steps:
        print(f"\n$ {line}    [{seconds:.2f} s]\n{_shortened(screen)}")


def _type(newcomer: Newcomer, hub: FakeHub, home: Path) -> None:
    newcomer.types(f"git clone -q {CHECKOUT} relayd", home)
    newcomer.types(INSTALL)
    advice = newcomer.types("relayd recommend")
    get = advice.splitlines()[-1].removeprefix("Get it: ")
    _offer(hub, get.removeprefix("relayd pull "))
    newcomer.types(get)
    newcomer.types("relayd models")
    screen = newcomer.serves("relayd serve")
    found = re.search(r"^ *(curl .*\}')", screen, re.MULTILINE | re.DOTALL)
    assert found, screen
    answer = newcomer.types(found[1])
    assert '"choices"' in answer, answer
    newcomer.types('relayd chat -m "Hello!"')
    newcomer.types("relayd status")
    newcomer.types("relayd stop")


def _shortened(screen: str) -> str:
    """Return a screen without the middle of a long one: every word of a stream has an event."""
    lines = screen.splitlines()
    left_out = len(lines) - 2 * KEPT_LINES
    middle = [f"… {left_out} lines …"]
    return screen if left_out < 2 else "\n".join([*lines[:KEPT_LINES], *middle, *lines[-KEPT_LINES:]])


def _offer(hub: FakeHub, name: str) -> None:
    """Let the hub give the built-in model where the catalogue looks for a model."""
    match = find_entry(catalogue(), name)
    file = match.file.file if match.file else ""
    repo = (match.file.repo if match.file else "") or match.entry.repos[0]
    path = file.removesuffix(".gguf").replace("/", "__") or f"{match.entry.name}-{match.quant}"
    hub.add(repo, **{path: Path(demo_model().file).read_bytes()})


def _environ(home: Path, hub: FakeHub) -> dict[str, str]:
    environ = home_environ(home) | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home / "hf")}
    environ |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    del environ["NO_COLOR"]
    return environ | {"PATH": f"{home / 'relayd/.venv/bin'}:{os.environ['PATH']}"}


def _load() -> str:
    commit = subprocess.run(
        ["git", "-C", CHECKOUT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return f"commit {commit}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    main()
