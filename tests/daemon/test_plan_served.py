"""What is planned is what runs: at a start, over a reload, and for what does not fit."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemons import Daemon

pytestmark = pytest.mark.real


def line(name: str, file: Path, more: str = "") -> str:
    return f'[[model]]\nname = "{name}"\nfile = "{file}"\n{more}\n'


def running_argv(daemon: Daemon) -> dict[str, list[str]]:
    """Return the command line of every process, as the kernel shows it, by replica."""
    return {
        name: Path(f"/proc/{replica['pid']}/cmdline").read_text().rstrip("\0").split("\0")
        for name, replica in daemon.replicas().items()
        if replica["pid"]
    }


def without_address(argv: list[str]) -> list[str]:
    found = list(argv)
    for flag in ("--host", "--port", "--api-key-file"):
        if flag in found:
            place = found.index(flag)
            del found[place : place + 2]
    return found


def planned_argv(daemon: Daemon, *options: str) -> dict[str, list[str]]:
    done = daemon.run("plan", "--config", str(daemon.config), "--command", "--json", *options)
    return {name: without_address(argv) for name, argv in json.loads(done.stdout).items()}


def served_argv(daemon: Daemon) -> dict[str, list[str]]:
    return {name: without_address(argv) for name, argv in running_argv(daemon).items()}


def test_the_processes_have_the_command_lines_that_plan_prints(
    start_daemon: Callable[..., Daemon], tiny_model: Path, slow_model: Path
) -> None:
    config = line("a", tiny_model, "replicas = 2\ncontext = 1024") + line(
        "b", slow_model, 'args = ["-ctk", "q8_0"]'
    )
    daemon = start_daemon(config)

    assert planned_argv(daemon) == served_argv(daemon)


def test_a_model_that_does_not_fit_beside_the_others_is_said_and_not_started(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    config = "[memory]\nhost_mib = 700\n" + line("first", slow_model) + line("second", slow_model)
    daemon = start_daemon(config)
    shown = daemon.run("status").stdout
    planned = daemon.run("plan", "--config", str(daemon.config))

    assert {"first#0"} == running_argv(daemon).keys()
    for text in (daemon.stderr, " ".join(shown.split()), " ".join(planned.stdout.split())):
        assert "second#0" in text
        assert "[memory] host_mib allows 700 MiB" in text
        assert "for first#0" in text
    assert 1 == planned.returncode
