"""What tests share: the real engine, models, and a daemon of one's own."""

import asyncio
import inspect
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from relayd.cli.engine import lend_installer
from relayd.engine import Engine, ensure
from relayd.folders import cache_dir
from tests.daemons import DEADLINE_SECONDS, Daemon
from tests.ggufs import SLOW, TINY, make_model

settings.register_profile(
    "proof", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", settings.get_profile("proof"), derandomize=False, max_examples=2000)
settings.load_profile("proof")
"""A commit is judged by the same examples at any speed; `--hypothesis-profile search` looks for new ones."""


def pytest_configure() -> None:
    """Let SIGINT reach what tests start, also where a shell in the background had us ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the whole suite on every core; a few tests that were named start sooner in this process.

    Workers begin with neighbouring halves and take from each other at the end (`worksteal`): a module's
    fixtures, and the parsed tree of the house tests, are made once in most runs.
    """
    whole = config.args == config.getini("testpaths")
    return len(os.sched_getaffinity(0)) if whole and hasattr(os, "sched_getaffinity") else 0


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """The loop of a test that is a coroutine."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on the loop of its `runner`, with a deadline."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    runner = pyfuncitem._request.getfixturevalue("runner")
    assert isinstance(runner, asyncio.Runner)
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    runner.run(asyncio.wait_for(pyfuncitem.obj(**arguments), DEADLINE_SECONDS))
    return True


@pytest.fixture(scope="session")
def engine(pytestconfig: pytest.Config) -> Engine:
    """The llama-server of this machine; installed first, by the code that users run, if there is none."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled(), lend_installer() as installer:
        return ensure(installer, cache=cache_dir() / "engine")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is ready in 10 ms."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny.gguf", TINY)


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes 4 ms a token."""
    return make_model(tmp_path_factory.mktemp("models") / "slow.gguf", SLOW)


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty home, with a path short enough for sockets."""
    return tmp_path_factory.mktemp("h")


@pytest.fixture
def start_daemon(engine: Engine, home: Path) -> Iterator[Callable[..., Daemon]]:
    """Start `relayd serve` as users do; at the end nothing of it may be left."""
    daemons: list[Daemon] = []

    def start(config: str = "", *arguments: str, wait: bool = True, **environ: str) -> Daemon:
        daemon = Daemon(home, engine.path, config, arguments, environ)
        daemons.append(daemon)
        if wait:
            daemon.await_event("try")
        return daemon

    yield start
    for daemon in daemons:
        daemon.end()
    leftovers = [name for daemon in daemons for name in daemon.leftovers()]
    assert [] == leftovers


@pytest.fixture
def demo(start_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon that serves the demo model."""
    return start_daemon("", "--demo")
