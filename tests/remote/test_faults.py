"""What becomes of answers when nodes and upstreams fail, with real engines behind them?"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.engine import Engine
from tests.daemons import FAST, Daemon, lasting_processes, wait_until
from tests.ggufs import SLOW, make_model
from tests.remote.machines import Hub, begin_hub, config, end, join
from tests.remote.test_joined import asked

pytestmark = pytest.mark.real

TOKENS = 150


@pytest.fixture(scope="session")
def steady_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slow model whose answers can be continued."""
    return make_model(tmp_path_factory.mktemp("steady") / "m.gguf", replace(SLOW, writes_bytes=False))


class Scene:
    """Machines that are made as a test needs them, and end with it."""

    def __init__(self, engine: Engine, model: Path, folders: pytest.TempPathFactory) -> None:
        self._engine, self._model, self._folders = engine.path, model, folders
        self.daemons: list[Daemon] = []
        self.killed: list[Daemon] = []

    def hub(self, settings: str = "") -> Hub:
        """Start a hub."""
        made = begin_hub(self._folders.mktemp("hub"), self._engine, settings)
        self.daemons.append(made.daemon)
        return made

    def box(self, slots: int = 2, settings: str = "") -> Daemon:
        """Start a machine with the model."""
        made = Daemon(
            self._folders.mktemp("box"), self._engine, config(self._model, slots) + settings, [], {}
        )
        self.daemons.append(made)
        made.await_event("listening")
        wait_until(lambda: any(one["state"] == "ready" for one in made.replicas().values()))
        return made

    def kill(self, box: Daemon) -> None:
        """Kill a machine's daemon and its replicas at once."""
        replicas = [one["pid"] for one in box.replicas().values()]
        box.process.send_signal(signal.SIGKILL)
        for pid in replicas:
            os.kill(pid, signal.SIGKILL)
        box.end()
        for process in lasting_processes(box.home):
            process.kill()
        self.daemons.remove(box)


@pytest.fixture
def scene(engine: Engine, steady_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(engine, steady_model, tmp_path_factory)
    with ExitStack() as stack:
        stack.callback(lambda: end(*reversed(made.daemons)))
        yield made


def test_an_answer_of_a_node_that_is_killed_goes_on_at_another(scene: Scene) -> None:
    hub, boxes = scene.hub(), {name: scene.box() for name in ("one", "two")}
    for name, box in boxes.items():
        join(box, hub, name)
    with hub.asking(TOKENS) as asking:
        whole = asking.read()
    with hub.asking(TOKENS) as asking:
        asking.read(20)
        scene.kill(boxes[asking.node])
        asking.read()

    assert (True, TOKENS) == (asking.is_over, len(asking.texts))
    assert "".join(whole.texts[:20]) == "".join(asking.texts[:20])


def test_an_answer_of_an_upstream_that_is_killed_goes_on_at_another(scene: Scene) -> None:
    hub, boxes = scene.hub(), {name: scene.box() for name in ("one", "two")}
    for name, box in boxes.items():
        line = {"url": box.url, "name": name}
        assert 201 == asked(hub.daemon, "/admin/upstreams", hub.key, line)[0]
    with hub.asking(TOKENS) as asking:
        asking.read(20)
        scene.kill(boxes[asking.node])
        asking.read()

    assert (True, TOKENS) == (asking.is_over, len(asking.texts))


def test_a_client_that_leaves_frees_the_slot_of_a_node(scene: Scene) -> None:
    hub, box = scene.hub(), scene.box(slots=1)
    join(box, hub, "one")
    with hub.asking(3000) as asking:
        asking.read(5)
        assert 1 == hub.running("one")
    wait_until(lambda: hub.running("one") == 0)
    with hub.asking(3) as asking:
        assert asking.read().is_over
    assert "m#0" in box.replicas()


def test_a_request_that_takes_too_long_at_a_node_ends_and_frees_its_slot(scene: Scene) -> None:
    hub, box = scene.hub("[server]\ntotal_seconds = 1\n"), scene.box(slots=1)
    join(box, hub, "one")
    with hub.asking(3500) as asking:
        asking.read()
    assert "error" in asking.events[-1]
    wait_until(lambda: hub.running("one") == 0)
    with hub.asking(3) as asking:
        assert asking.read().is_over


def test_a_request_at_the_hub_loads_a_model_that_is_not_in_a_nodes_memory(scene: Scene) -> None:
    hub, box = scene.hub(), scene.box()
    join(box, hub, "one", "--provider", "attic")
    box.client.unload("m")
    wait_until(lambda: hub.state("m#0@one") == "cold")
    with hub.asking(3, X_Request_ID="from-the-hub") as asking:
        assert asking.read().is_over
    wait_until(lambda: hub.state("m#0@one") == "ready")

    log = box.home / "state/relayd/logs/requests.jsonl"
    wait_until(lambda: log.exists() and "from-the-hub" in log.read_text())
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (line,) = (one for one in lines if one["request_id"] == "from-the-hub")
    assert ("done", 3, "m#0") == (line["ended"], line["completion_tokens"], line["replica"])
    assert line["key"].startswith("hub:127.0.0.1:")
    stats = json.loads(asked(hub.daemon, "/admin/stats", hub.key)[2])["providers"]["attic"]
    assert (["one"], 2, 1) == (stats["origins"], stats["slots"], stats["requests"])


def test_a_slot_that_two_hubs_want_is_given_once_and_both_are_served(scene: Scene) -> None:
    first, second, box = scene.hub(), scene.hub(), scene.box(slots=1)
    join(box, first, "one")
    join(box, second, "one")
    with first.asking(TOKENS) as asking:
        asking.read(5)
        wait_until(lambda: not second.ready("one"))  # it has no slot for this hub
        with second.asking(3) as other:
            asking.read()
            assert other.read().is_over
    assert asking.is_over


def test_a_node_whose_hub_is_gone_serves_its_clients_and_joins_again(scene: Scene) -> None:
    hub, box = scene.hub(), scene.box()
    join(box, hub, "one")
    port = hub.daemon.url.rpartition(":")[2]
    hub.daemon.process.send_signal(signal.SIGKILL)
    hub.daemon.end()
    wait_until(lambda: box.client.nodes().hubs[0].state != "connected")
    status, _, _ = asked(box, "/v1/completions", "", {"model": "m", "prompt": "a", "max_tokens": 3})
    assert 200 == status

    scene.daemons.remove(hub.daemon)
    again = Daemon(hub.daemon.home, scene._engine, FAST, ["--hub", "--listen", f"127.0.0.1:{port}"], {})
    scene.daemons.append(again)
    again.await_event("listening")
    back = Hub(again, hub.key)
    wait_until(lambda: back.ready("one"))
    with back.asking(3) as asking:
        assert asking.read().is_over
