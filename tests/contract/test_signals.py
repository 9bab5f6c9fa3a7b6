"""S21 to S31: a signal reaches all that a replica has started, and nothing else."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from relayd.engine import Engine
from relayd.supervisor.state import State
from tests.contract.stage import Stage, launched, no_descriptor_left, pid_of, until
from tests.contract.test_adoption import await_incarnation
from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, lasting_processes, tagged_processes, wait_until

ROOT = Path(__file__).resolve().parents[2]

WRAPPER = """#!/bin/sh
case "$*" in
*"--alias forked"*) {engine} "$@" & wait ;;
*"--alias deaf"*) trap '' TERM; {engine} "$@" & while :; do sleep 0.05; done ;;
*"--alias slow"*)
  trap 'wait $!; sleep 0.6; echo trap finished; exit' TERM; {engine} "$@" & while :; do wait; done ;;
*) exec {engine} "$@" ;;
esac
"""


@pytest.fixture
def start_wrapped(
    start_daemon: Callable[..., Daemon], engine: Engine, tiny_model: Path, home: Path
) -> Callable[..., Daemon]:
    """Start a daemon whose llama-server is run by a shell script that acts on the model's name."""
    wrapper = home / "wrapper"
    wrapper.write_text(WRAPPER.format(engine=engine.path))
    wrapper.chmod(0o755)

    def start(*models: str, **replicas: float) -> Daemon:
        text = FAST + "[replicas]\n" + "".join(f"{key} = {value}\n" for key, value in replicas.items())
        for model in models:
            text += f'[[model]]\nname = "{model}"\nfile = "{tiny_model}"\nslots = 1\ncontext = 512\n'
        return start_daemon(text, "--llama-server", str(wrapper))

    return start


def stop(daemon: Daemon, target: str) -> float:
    """Stop a replica and return how many seconds that took."""
    started = time.monotonic()
    daemon.client.stop(target)
    return time.monotonic() - started


@pytest.mark.fake
def test_s21_to_signal_what_has_just_ended_is_fine(stage: Stage) -> None:
    stage.program = ("/bin/true",)
    child = launched(stage.launcher(), stage.planned(), 1)
    assert child.process
    assert 0 == child.process.wait()

    for number in (signal.SIGTERM, signal.SIGCONT, signal.SIGKILL):
        child.signal(number)
    assert 0 == child.reap()


@pytest.mark.real
def test_s22_what_a_wrapper_has_forked_ends_with_it(start_wrapped: Callable[..., Daemon]) -> None:
    daemon = start_wrapped("forked")
    before = {process.pid for process in tagged_processes(daemon.home)}
    assert 2 == len(before)
    os.kill(daemon.replicas()["forked#0"]["pid"], signal.SIGKILL)
    await_incarnation(daemon, "forked#0", 2)
    wait_until(lambda: not before & {process.pid for process in tagged_processes(daemon.home)})
    assert 2 == len(tagged_processes(daemon.home))

    stop(daemon, "forked")
    assert [] == lasting_processes(daemon.home)


@pytest.mark.real
def test_s23_what_ignores_term_is_killed_in_time_and_what_tidies_up_may_finish(
    start_wrapped: Callable[..., Daemon],
) -> None:
    daemon = start_wrapped("deaf", "slow", stop_seconds=4)
    log = Path(daemon.replicas()["slow#0"]["log"])

    assert stop(daemon, "slow") >= 0.6
    assert "trap finished" in log.read_text()
    assert "cleaning up before exit" in log.read_text(), "the engine under the wrapper was told too"
    assert stop(daemon, "deaf") >= 4
    assert [] == lasting_processes(daemon.home)


@pytest.mark.real
def test_s24_a_stopped_child_stops(start_wrapped: Callable[..., Daemon]) -> None:
    daemon = start_wrapped("plain", stop_seconds=600)
    os.kill(daemon.replicas()["plain#0"]["pid"], signal.SIGSTOP)

    stop(daemon, "plain")
    assert "commanded" == daemon.replicas()["plain#0"]["last_exit"]["cause"]
    assert -signal.SIGKILL != daemon.replicas()["plain#0"]["last_exit"]["code"]


@pytest.mark.fake
def test_s25_what_has_left_the_group_is_ended_too(stage: Stage) -> None:
    replica = stage.replica("grandchild")

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        before = stage.living().keys() | set()
        assert 2 == len(before)
        os.kill(pid_of(replica), signal.SIGSEGV)
        await until(lambda: replica.status().incarnation == 2)
        await replica.reached(State.READY)
        await until(lambda: not before & stage.living().keys())
        replica.stop(0.01)
        await replica.down()
        await until(lambda: not stage.living())

    stage.play(story, replica)


@pytest.mark.fake
def test_s26_the_first_ctrl_c_is_for_the_daemon_alone_and_the_second_one_kills(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    daemon = start_faked(faulty(FAST + "[replicas]\nstop_seconds = 600\n", m="ignore-term"))
    pid = daemon.replicas()["m#0"]["pid"]
    assert pid == os.getsid(pid), "the terminal signals a session that replicas are not in"
    daemon.process.send_signal(signal.SIGINT)
    wait_until(lambda: daemon.replicas()["m#0"]["state"] == "stopping")
    daemon.process.send_signal(signal.SIGINT)

    assert 0 == daemon.process.wait(DEADLINE_SECONDS)
    assert not psutil.pid_exists(pid)


@pytest.mark.fake
def test_s29_replicas_are_stopped_at_once_and_not_one_after_the_other(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    daemon = start_faked(faulty(m="trap=3", replicas=4))
    started = time.monotonic()
    daemon.process.send_signal(signal.SIGTERM)

    assert 0 == daemon.process.wait(DEADLINE_SECONDS)
    assert 3 <= time.monotonic() - started < 12


@pytest.mark.fake
def test_s30_a_stop_needs_no_descriptor(stage: Stage) -> None:
    replica = stage.replica()

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        with no_descriptor_left():
            replica.stop(0.01)
            await replica.down()
        assert {} == stage.living()

    stage.play(story, replica)


@pytest.mark.pure
def test_s31_no_child_is_tied_to_the_life_of_a_thread() -> None:
    sources = [file.read_text("utf-8") for file in (ROOT / "relayd").rglob("*.py")]

    assert not [source for source in sources if "PDEATHSIG" in source or "prctl" in source]
