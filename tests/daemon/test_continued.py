"""Does an answer outlast the end of its replica, and is it then the one that it would have been?"""

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemon.test_faults import ask
from tests.daemons import DEADLINE_SECONDS, Daemon, wait_until
from tests.ggufs import SLOW, make_model
from tests.kills.__main__ import TEMPLATE
from tests.kills.forms import FORMS, Form
from tests.kills.points import Given, Stage, config

pytestmark = pytest.mark.real

PROMPT = "once upon a time"
TOKENS = 120


def disturbed(stage: Stage, form: Form, disturb: Callable[[], object]) -> Given:
    """Return an answer in the middle of which something happens."""
    answers: list[Given] = []
    client = threading.Thread(target=lambda: answers.append(stage.ask(form, PROMPT, TOKENS)))
    before = stage.spent()
    client.start()
    while sum(stage.spent().values()) < sum(before.values()) + 0.1:
        threading.Event().wait(0.005)
    disturb()
    client.join()
    return answers[0]


@pytest.fixture
def stage(start_daemon: Callable[..., Daemon], tmp_path: Path) -> Stage:
    file = make_model(tmp_path / "m.gguf", replace(SLOW, template=TEMPLATE, writes_bytes=False))
    stage = Stage(start_daemon(config(file)))
    stage.settle()
    return stage


def test_an_answer_outlasts_the_end_of_its_replica_in_every_form(stage: Stage) -> None:
    outcomes = {}
    for name, form in FORMS.items():
        whole = stage.ask(form, PROMPT, TOKENS)
        stage.settle()

        def kill() -> None:
            for pid in stage.pids:
                os.kill(pid, signal.SIGKILL)

        again = disturbed(stage, form, kill)
        outcomes[name] = (again.status, again.error, again.text == whole.text, again.raw.count(form.ends))
        stage.settle()

    assert {
        name: (200, "", True, 1 if form.stream else outcomes[name][3]) for name, form in FORMS.items()
    } == outcomes


def restart(stage: Stage, _busy: str) -> None:
    stage.daemon.client.restart("m")


def restart_one_by_one(stage: Stage, _busy: str) -> None:
    stage.daemon.client.restart("m", rolling=True)


def stop_one(stage: Stage, busy: str) -> None:
    stage.daemon.client.stop(busy)


def unload(stage: Stage, _busy: str) -> None:
    """Have the model leave memory, which what waits for it brings back."""
    stage.daemon.client.unload("m", force=True)


def reload_another_line(stage: Stage, _busy: str) -> None:
    """Have every replica started again, as its line of the configuration has changed."""
    config = stage.daemon.config
    config.write_text(config.read_text().replace("context = 4096", "context = 2048"))
    stage.daemon.client.reload()


@pytest.mark.parametrize("command", [restart, restart_one_by_one, stop_one, unload, reload_another_line])
def test_an_answer_outlasts_a_command_that_ends_its_replica_before_it(
    stage: Stage, command: Callable[[Stage, str], None]
) -> None:
    stage.daemon.config.write_text(stage.daemon.config.read_text() + "\n[replicas]\ndrain_seconds = 0.1\n")
    stage.daemon.client.reload()
    stage.settle()
    whole = stage.ask(FORMS["chat"], PROMPT, TOKENS)
    before = stage.spent()

    def end() -> None:
        busiest = max(stage.spent(), key=lambda pid: stage.spent()[pid] - before[pid])
        command(stage, stage.replica_of(busiest))

    again = disturbed(stage, FORMS["chat"], end)

    assert (200, whole.text) == (again.status, again.text)
    assert b": relayd continues" in again.raw


TWO_MODELS = """\
[memory]
host_mib = 700
[replicas]
drain_seconds = 0.1
[[model]]
name = "first"
file = "{file}"
slots = 4
[[model]]
name = "second"
file = "{file}"
slots = 4
load = "demand"
"""
"""One fits at a time; a stream takes far longer than the drain."""


def test_an_answer_longer_than_the_drain_outlasts_the_eviction_of_its_model(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(TWO_MODELS.format(file=slow_model))
    with ThreadPoolExecutor(2) as pool:
        stream = pool.submit(ask, daemon.url, 300, model="first")
        wait_until(lambda: running(daemon)["first"] == 1)
        other = pool.submit(ask, daemon.url, 3, model="second")
        wait_until(lambda: running(daemon, "waiting")["second"] == 1)
        late = pool.submit(ask, daemon.url, 3, model="first")

        outcomes = [one.result() for one in (stream, other, late)]

    assert [(True, "")] * 3 == [(one.done, one.error) for one in outcomes]
    assert ('"predicted_n":300' in outcomes[0].text, "continues" in outcomes[0].text) == (True, False)


def test_an_answer_longer_than_the_drain_outlasts_an_upgrade(stage: Stage) -> None:
    daemon = stage.daemon
    daemon.config.write_text(daemon.config.read_text() + "\n[replicas]\ndrain_seconds = 0.1\n")
    daemon.client.reload()
    stage.settle()
    whole = stage.ask(FORMS["chat"], PROMPT, TOKENS)

    again = disturbed(stage, FORMS["chat"], lambda: daemon.run("upgrade"))

    assert (200, whole.text) == (again.status, again.text)
    assert 0 == daemon.process.wait(DEADLINE_SECONDS)


def running(daemon: Daemon, count: str = "running") -> dict[str, int]:
    """Return how many requests of each model run, or wait."""
    return {model["name"]: model[count] for model in daemon.status()["models"]}
