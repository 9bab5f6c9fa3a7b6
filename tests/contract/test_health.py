"""S46 to S52: answering is not living, and looking does no harm."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from threading import Event

import pytest

from relayd.client.unix import UnixConnection
from relayd.config.schema import Probe
from relayd.supervisor.causes import Cause
from relayd.supervisor.child import Files
from relayd.supervisor.state import State
from tests.contract.stage import Stage, pid_of, quick, until
from tests.daemons import DEADLINE_SECONDS, FAST, Daemon


@pytest.mark.fake
def test_s46_a_stranger_on_our_address_is_sent_nothing(stage: Stage) -> None:
    replica = stage.replica("impostor", settings=quick(budget=1))

    async def story() -> None:
        replica.start()
        await replica.reached(State.FATAL)
        last = replica.status().last_exit
        assert last
        assert Cause.IMPOSTOR is last.cause

    stage.play(story, replica)
    assert not [news for news in stage.listener.heard if " ready " in news]
    assert "POST" not in stage.log()


@pytest.mark.pure
def test_s47_by_default_a_hung_replica_loses_its_work_in_15_s_and_its_life_in_45_s() -> None:
    probe = Probe()
    one_look = probe.timeout_seconds + probe.slow_seconds

    assert probe.ready_seconds + probe.failures * one_look <= 15
    assert probe.ready_seconds + probe.hung_seconds + one_look <= 45


def ask(stage: Stage) -> None:
    """Send a replica a request and wait for its answer, or its end."""
    connection = UnixConnection(Files.of(stage.runtime, "m#0").socket, DEADLINE_SECONDS)
    try:
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "x", "max_tokens": 1}))
        connection.getresponse().read()
    except (OSError, HTTPException):
        pass
    finally:
        connection.close()


@pytest.mark.fake
def test_s48_a_replica_that_answers_health_and_decodes_nothing_is_replaced(stage: Stage) -> None:
    replica = stage.replica("wedge,lives=1", settings=quick(stall_seconds=0.4), busy=lambda _: True)

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        request = asyncio.create_task(asyncio.to_thread(ask, stage))
        await until(lambda: replica.status().incarnation == 2)
        await request
        last = replica.status().last_exit
        assert last
        assert Cause.NOT_ANSWERING is last.cause
        assert "got nowhere" in last.message

    stage.play(story, replica)


@pytest.mark.fake
def test_s49_a_replica_that_reads_a_long_prompt_is_left_alone(stage: Stage) -> None:
    asking = Event()
    replica = stage.replica("prefill=3", settings=quick(stall_seconds=1), busy=lambda _: asking.is_set())

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        asking.set()
        await asyncio.to_thread(ask, stage)
        asking.clear()
        assert (State.READY, 1) == (replica.state, replica.status().incarnation)

    stage.play(story, replica)


@pytest.mark.fake
def test_a_fault_of_our_own_in_a_look_is_told_and_the_next_look_comes(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [ZeroDivisionError("ours"), ZeroDivisionError("again")]

    def busy(_replica: str) -> bool:
        if faults:
            raise faults.pop(0)
        return False

    replica = stage.replica(settings=quick(timeout_seconds=0.2, hung_seconds=1.5), busy=busy)

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        await until(lambda: not faults)
        await until(lambda: "2 so far" in (replica.status().health_fault or ""))
        assert (State.READY, 1) == (replica.state, replica.status().incarnation)
        os.kill(pid_of(replica), signal.SIGSTOP)
        await replica.reached(State.UNHEALTHY)
        os.kill(pid_of(replica), signal.SIGCONT)
        await replica.reached(State.READY)
        os.kill(pid_of(replica), signal.SIGSTOP)
        await until(lambda: replica.status().incarnation == 2)
        await replica.reached(State.READY)
        assert replica.status().health_fault is None

    with caplog.at_level(logging.ERROR):
        stage.play(story, replica)
    (told,) = (record for record in caplog.records if "health.fault" in record.message)
    assert told.exc_info, "where it happened is told, once"


@pytest.mark.fake
def test_s50_a_replica_that_hangs_delays_no_look_at_another(stage: Stage) -> None:
    settings = quick(timeout_seconds=DEADLINE_SECONDS)
    hung, other = (stage.replica(name=name, settings=settings) for name in ("hung", "other"))

    async def story() -> None:
        for replica in (hung, other):
            replica.start()
        for replica in (hung, other):
            await replica.reached(State.READY)
        os.kill(pid_of(hung), signal.SIGSTOP)
        await until(lambda: stage.probes.waits_for("hung#0"))
        looks = stage.log("other").count("GET /health")
        await until(lambda: stage.log("other").count("GET /health") >= looks + 5)
        assert State.READY is hung.state, "its own look still waits for an answer"

    stage.play(story, hung, other)


@pytest.mark.fake
def test_s51_looking_sends_no_user_data(stage: Stage) -> None:
    replica = stage.replica()

    async def story() -> None:
        replica.start()
        await replica.reached(State.READY)
        await until(lambda: stage.log().count("GET /health") > 5)
        os.kill(pid_of(replica), signal.SIGSEGV)
        await until(lambda: replica.status().incarnation == 2)
        await replica.reached(State.READY)

    stage.play(story, replica)
    asked = {line.split("fake: ")[1] for line in stage.log().splitlines() if "GET" in line or "POST" in line}
    assert {"GET /health without the key", "GET /props without the key", "GET /props with the key"} == asked


@pytest.mark.fake
def test_s52_without_a_ready_replica_the_daemon_answers_for_itself(
    start_faked: Callable[..., Daemon], faulty: Callable[..., str]
) -> None:
    daemon = start_faked(faulty(FAST + "budget = 1\n", m="exit=1"))
    host, port = daemon.url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=DEADLINE_SECONDS)
    try:
        connection.request("GET", "/healthz")
        alive = connection.getresponse()
        alive.read()
        assert 200 == alive.status
        body = json.dumps({"model": "m", "prompt": "x"})
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        refused = connection.getresponse()
        assert 503 == refused.status
        assert "gave up" in refused.read().decode()
        assert int(refused.headers["Retry-After"]) > 0
    finally:
        connection.close()
