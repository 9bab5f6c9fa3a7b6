"""Do two relayds that only a bus connects become one fleet, with a real engine and a real nats-server?"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayd.daemon.nodereport import NodesReport
from relayd.engine import Engine
from tests.daemons import FAST, Daemon, wait_until
from tests.remote.busserver import BusServer
from tests.remote.test_joined import asked

pytest.importorskip("nats", reason="nats-py is not installed: pip install 'relayd[nats]'")

from relayd.remote.bus.credentials import read_credentials
from relayd.remote.bus.generate import make_bus

pytestmark = pytest.mark.real


@pytest.fixture
def fleet(
    engine: Engine, tiny_model: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[BusServer, Daemon, Daemon]]:
    """A bus, a hub without models of its own, and another machine that serves one."""
    make_bus(tmp_path / "bus", ["main"], ["box"], "127.0.0.1:4222")
    made = {name: tmp_path / "bus" / f"{name}.json" for name in ("main", "box")}
    server = BusServer(tmp_path, map(read_credentials, made.values()))
    model = f'{FAST}\n[[model]]\nname = "m"\nfile = "{tiny_model}"\nslots = 2\n'
    folders = [tmp_path_factory.mktemp(name) for name in "ab"]
    flags = {name: ["--bus", server.url, "--bus-credentials", str(path)] for name, path in made.items()}
    hub = Daemon(folders[0], engine.path, FAST, flags["main"], {})
    box = Daemon(folders[1], engine.path, model, flags["box"], {})
    hub.await_event("listening")
    box.await_event("try")
    yield server, hub, box
    for daemon in (box, hub):
        daemon.end()
    server.stop()
    assert [] == [name for daemon in (hub, box) for name in daemon.leftovers()]


def serves(hub: Daemon) -> bool:
    return any(one.state == "ready" for node in nodes(hub).nodes for one in node.replicas)


def nodes(hub: Daemon) -> NodesReport:
    return hub.client.nodes()


def test_a_node_that_reaches_only_the_bus_serves_the_hub(fleet: tuple[BusServer, Daemon, Daemon]) -> None:
    server, hub, box = fleet
    wait_until(lambda: serves(hub))
    body = {"model": "m", "prompt": "a", "max_tokens": 4}
    status, fields, answer = asked(hub, "/v1/completions", "", body)

    assert (200, "m#0@box") == (status, fields["X-Relayd-Replica"])
    assert 4 == json.loads(answer)["usage"]["completion_tokens"]
    (node,) = nodes(hub).nodes
    assert ("box", "connected", "the bus") == (node.name, node.state, node.address)
    at_box = nodes(box)
    assert [("bus://main", "connected")] == [(one.url, one.state) for one in at_box.hubs]
    assert at_box.bus is not None
    assert ("node", "box", "connected") == (at_box.bus.role, at_box.bus.name, at_box.bus.state)

    server.stop()
    wait_until(lambda: nodes(hub).nodes[0].state == "broken")
    status, _, _ = asked(box, "/v1/completions", "", body)
    assert 200 == status, "a machine serves its own clients while the bus is away"
    server.start()
    wait_until(lambda: serves(hub))
    assert 200 == asked(hub, "/v1/completions", "", body)[0]
    assert "m#0@box" in hub.run("unload", "m@box", "--json").stdout
