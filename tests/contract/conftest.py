"""A daemon whose llama-server is a stand-in: the faults a real one cannot be made to have."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.stage import Stage, free_ports
from tests.daemons import FAST, Daemon
from tests.fakes import llama_server


@pytest.fixture(scope="session")
def fake_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in as a program."""
    program = tmp_path_factory.mktemp("engine") / "llama-server"
    source = Path(llama_server.__file__).read_text("utf-8")
    program.write_text(f"#!{sys.executable} -IS\n{source}")
    program.chmod(0o755)
    return program


@pytest.fixture
def listen(request: pytest.FixtureRequest) -> str:
    """What replicas listen on: `unix`, or with the mark `on_both` also `tcp`."""
    return str(getattr(request, "param", "unix"))


@pytest.fixture
def stage(fake_engine: Path, home: Path, listen: str) -> Stage:
    """Replicas of the stand-in without a daemon."""
    return Stage(fake_engine, home, ports=free_ports(8) if listen == "tcp" else ())


@pytest.fixture
def start_faked(fake_engine: Path, home: Path) -> Iterator[Callable[..., Daemon]]:
    """Start `relayd serve` with the stand-in; at the end nothing of it may be left."""
    daemons: list[Daemon] = []

    def start(config: str, *arguments: str, wait: bool = True, **environ: str) -> Daemon:
        daemon = Daemon(home, fake_engine, config, arguments, environ)
        daemons.append(daemon)
        if wait:
            daemon.await_event("replica")
        return daemon

    yield start
    for daemon in daemons:
        daemon.end()
    leftovers = [name for daemon in daemons for name in daemon.leftovers()]
    assert [] == leftovers


@pytest.fixture
def faulty(home: Path, tiny_model: Path) -> Callable[..., str]:
    """Write a configuration of models that have faults, by name; the first part sets other things."""

    def write(settings: str = FAST, *, replicas: int = 1, slots: int = 1, **models: str) -> str:
        text = settings
        for name, faults in models.items():
            file = home / f"{name}.gguf"
            shutil.copy(tiny_model, file)
            text += f'[[model]]\nname = "{name}"\nfile = "{file}"\nslots = {slots}\nreplicas = {replicas}\n'
            text += "cache_ram_mib = 512\n"  # what several may grow to must fit together
            text += f'args = ["--fault", "{faults}"]\n' if faults else ""
        return text

    return write
