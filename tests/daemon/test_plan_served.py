"""What is planned is what runs: at a start, over a reload, and for what does not fit."""

import json
import random
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.engine import Engine
from tests.daemons import DEADLINE_SECONDS, Daemon
from tests.ggufs import make_model
from tests.oracle.plan_argv import SHAPES, configuration, differences

pytestmark = pytest.mark.real


def line(name: str, file: Path, more: str = "") -> str:
    """Return a line; its slots are fixed, as relayd plans fewer where memory is small."""
    return f'[[model]]\nname = "{name}"\nfile = "{file}"\nslots = 4\n{more}\n'


def pids(daemon: Daemon) -> dict[str, int]:
    return {name: replica["pid"] for name, replica in daemon.replicas().items() if replica["pid"]}


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_the_processes_of_any_configuration_have_the_command_lines_that_plan_prints(
    home: Path, engine: Engine, tmp_path: Path, seed: int
) -> None:
    files = [make_model(tmp_path / f"{number}.gguf", shape) for number, shape in enumerate(SHAPES)]

    assert {} == differences(home, engine.path, configuration(random.Random(seed), files))


def test_what_runs_keeps_its_process_when_a_line_is_added_and_when_the_daemon_starts_again(
    start_daemon: Callable[..., Daemon], tiny_model: Path, slow_model: Path
) -> None:
    keep = '[replicas]\non_daemon_exit = "keep"\n'
    daemon = start_daemon(keep + line("a", tiny_model))
    before = pids(daemon)
    daemon.config.write_text(keep + line("a", tiny_model, 'aliases = ["also"]') + line("b", slow_model))
    reloaded = daemon.run("reload", "--json")
    after = pids(daemon)
    daemon.end()
    again = start_daemon(daemon.config.read_text())

    assert 0 == reloaded.returncode, reloaded.stderr
    assert before["a#0"] == after["a#0"]
    assert after == pids(again)
    again.run("stop", "--all")


def test_plan_keeps_what_runs_and_names_the_plan_that_all_models_would_get_anew(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    limit = "[memory]\nhost_mib = 700\n"
    daemon = start_daemon(limit + line("first", slow_model))
    daemon.config.write_text(limit + line("zero", slow_model) + line("first", slow_model))
    kept = json.loads(daemon.run("plan", "--json").stdout)
    fresh = json.loads(daemon.run("plan", "--json", "--fresh").stdout)

    assert ["zero#0"] == [one["name"] for one in kept["cold"]]
    assert any("relayd plan --fresh" in note for note in kept["notes"])
    assert ["first#0"] == [one["name"] for one in fresh["cold"]]


def test_a_model_that_does_not_fit_beside_the_others_is_said_and_not_started(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    config = "[memory]\nhost_mib = 700\n" + line("first", slow_model) + line("second", slow_model)
    daemon = start_daemon(config)
    shown = daemon.run("status").stdout
    planned = daemon.run("plan", "--config", str(daemon.config))

    assert {"first#0"} == pids(daemon).keys()
    assert "cold" == daemon.replicas()["second#0"]["state"]
    for text in (daemon.stderr, shown, planned.stdout):  # a long name of a processor breaks a row
        assert all(word in text for word in "second#0 [memory] host_mib allows 700 MiB for first#0".split())
    assert 1 == planned.returncode


def test_what_runs_beyond_a_budget_that_has_shrunk_is_said_and_keeps_its_process(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon("[memory]\nhost_mib = 700\n" + line("first", slow_model))
    before = pids(daemon)
    daemon.config.write_text("[memory]\nhost_mib = 200\n" + line("first", slow_model))
    reloaded, planned = daemon.run("reload", "--json"), daemon.run("plan")
    shown = " ".join(planned.stdout.split())

    assert 0 == reloaded.returncode, reloaded.stderr
    assert before == pids(daemon)
    assert 1 == planned.returncode
    assert "too much is planned on host" in shown
    assert "[memory] host_mib allows 200 MiB" in shown
    assert "relayd plan --fresh" in shown


def test_restart_applies_the_plan_that_all_models_would_get_anew(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    limit = "[memory]\nhost_mib = 700\n"
    daemon = start_daemon(limit + line("first", slow_model))
    daemon.config.write_text(limit + line("zero", slow_model) + line("first", slow_model))
    assert 0 == daemon.run("reload").returncode
    assert {"first#0"} == pids(daemon).keys()
    restarted = json.loads(daemon.run("restart", "--json").stdout)
    planned = daemon.run("plan", "--json")

    assert {"zero#0": "ready", "first#0": "cold"} == restarted["replicas"]
    assert "for zero#0" in restarted["not_started"]["first#0"]
    assert {"zero#0"} == pids(daemon).keys()
    assert ["first#0"] == [one["name"] for one in json.loads(planned.stdout)["cold"]]
    assert [] == json.loads(planned.stdout)["notes"]


def test_restart_of_a_model_applies_a_budget_that_has_shrunk_and_leaves_the_others(
    start_daemon: Callable[..., Daemon], slow_model: Path, tiny_model: Path
) -> None:
    models = line("first", slow_model) + line("other", tiny_model)
    daemon = start_daemon("[memory]\nhost_mib = 700\n" + models)
    before = pids(daemon)
    daemon.config.write_text("[memory]\nhost_mib = 550\n" + models)
    daemon.run("reload")
    over = daemon.run("plan")
    restarted = daemon.run("restart", "first")
    planned = daemon.run("plan", "--json")

    assert before["other#0"] == pids(daemon)["other#0"]
    assert before["first#0"] != pids(daemon)["first#0"]
    assert "applied by relayd restart" in " ".join(over.stdout.split())
    assert "first#0 is ready (" in restarted.stdout
    assert (0, []) == (planned.returncode, json.loads(planned.stdout)["notes"])
    assert not any("too much" in warning for warning in daemon.status()["warnings"])


def test_a_replica_that_was_adopted_with_other_arguments_is_named_and_restarted_to_the_plan(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    config = '[replicas]\non_daemon_exit = "keep"\n' + line("old", tiny_model)
    first = start_daemon(config)
    first.end()
    (first.home / "state" / "relayd" / "plans.json").unlink()
    daemon = start_daemon("[memory]\nhost_mib = 120\n" + config)
    planned, shown = daemon.run("plan").stdout, daemon.run("status").stdout
    restarted = daemon.run("restart", "old")
    after = daemon.run("plan").stdout + daemon.run("status").stdout
    daemon.run("stop", "--all")

    for text in (planned, shown):
        assert "old#0 runs with other arguments than planned: " in " ".join(text.split())
        assert "relayd restart applies the plan" in " ".join(text.split())
    assert 0 == restarted.returncode, restarted.stderr
    assert "other arguments" not in after


def test_inputs_for_vectors_may_be_as_long_as_the_context(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    settings = "embeddings = true\ncontext = 3000\n"
    daemon = start_daemon(
        line("planned", tiny_model, settings) + line("fitted", tiny_model, settings + 'fit = "engine"')
    )
    statuses = {}
    for model in ("planned", "fitted"):
        body = json.dumps({"model": model, "input": "a" * 2900}).encode()
        request = urllib.request.Request(
            f"{daemon.url}/v1/embeddings", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
            statuses[model] = answer.status

    assert {"planned": 200, "fitted": 200} == statuses
