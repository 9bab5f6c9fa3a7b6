"""Do two relayds on two machines become one fleet by two commands, with a real engine behind them?"""

import hashlib
import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from relayd.daemon.nodereport import NodeReport
from relayd.engine import Engine
from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, wait_until
from tests.fakes.hub import running_hub

pytestmark = pytest.mark.real

REPOSITORY = "maker/tiny-GGUF"


@pytest.fixture
def machines(
    engine: Engine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Daemon, Daemon]]:
    """A hub without models of its own, and another machine that serves one."""
    model = f'{FAST}\n[[model]]\nname = "m"\nfile = "{tiny_model}"\nslots = 2\n'
    folders = [tmp_path_factory.mktemp(name) for name in "ab"]
    hub = Daemon(folders[0], engine.path, FAST, ["--hub"], {})
    with running_hub() as files:
        files.add(REPOSITORY, **{"tiny-Q8_0": tiny_model.read_bytes()})
        environ = {"HF_ENDPOINT": files.endpoint, "HF_HOME": str(folders[1] / "hf")}
        box = Daemon(folders[1], engine.path, model, [], environ)
        hub.await_event("listening")
        box.await_event("try")
        yield hub, box
        for daemon in (box, hub):
            daemon.end()
    assert [] == [name for daemon in (hub, box) for name in daemon.leftovers()]


def node_of(hub: Daemon) -> NodeReport:
    (found,) = hub.client.nodes().nodes
    return found


def name_of(box: Daemon) -> str:
    return f"box-{box.home.name}"


def serves(hub: Daemon) -> bool:
    return any(one.state == "ready" for one in node_of(hub).replicas)


def asked(
    hub: Daemon, path: str, key: str, body: object = None, method: str = ""
) -> tuple[int, dict[str, str], bytes]:
    """Ask the hub as a client does."""
    place = urlsplit(hub.url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=DEADLINE_SECONDS)
    fields = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    raw = None if body is None else json.dumps(body)
    connection.request(method or ("GET" if raw is None else "POST"), path, raw, fields)
    answer = connection.getresponse()
    try:
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_two_machines_become_one_by_two_commands(machines: tuple[Daemon, Daemon]) -> None:
    hub, box = machines
    invite = json.loads(hub.run("nodes", "invite", "box", "--json").stdout)["join"]
    assert 0 == box.run("join", invite, "--provider", "attic").returncode
    wait_until(lambda: hub.client.nodes().nodes and serves(hub))
    key = hub.run("keys", "create", "me", "--scope", "inference", "--scope", "metrics").stdout.strip()
    prompt = {"model": "m", "prompt": "a", "max_tokens": 3}

    status, fields, body = asked(hub, "/v1/completions", key, prompt)
    assert (200, "m#0@box") == (status, fields["X-Relayd-Replica"])
    assert 3 == json.loads(body)["usage"]["completion_tokens"]
    assert ("connected", "attic") == (node_of(hub).state, node_of(hub).provider)
    assert "m#0@box" in hub.run("nodes").stdout

    used_up = box.run("join", invite)
    assert (1, True) == (used_up.returncode, "refuses the invite (401)" in used_up.stderr)
    token = json.loads((box.home / "state/relayd/hubs.json").read_text())["hubs"][0]["token"]
    assert 0o600 == (box.home / "state/relayd/hubs.json").stat().st_mode & 0o777
    assert 403 == asked(hub, "/v1/completions", token, prompt)[0]
    assert 403 == asked(hub, "/v1/node/connect", key)[0]
    assert 401 == asked(hub, "/v1/node/connect", "sk-wrong-token-of-a-node-000000")[0]

    assert {"m#0@box": "cold"} == json.loads(hub.run("unload", "m@box", "--json").stdout)["replicas"]
    wait_until(lambda: not serves(hub))
    assert {"m#0@box": "ready"} == json.loads(hub.run("load", "m@box", "--json").stdout)["replicas"]
    wait_until(lambda: serves(hub))
    assert "m#0" in hub.run("logs", "m@box").stdout

    pulled = hub.run("pull", f"hf:{REPOSITORY}", "--node", "box")
    assert (0, f"box has hf:{REPOSITORY}\n") == (pulled.returncode, pulled.stdout), pulled.stderr
    assert [*(box.home / "hf").rglob("tiny-Q8_0.gguf")]
    assert "box did not fetch nosuch" in hub.run("pull", "nosuch", "--node", "box").stderr

    assert "box answers for m" in hub.run("upstreams", "test", "box").stdout
    shown = hub.run("status").stdout
    assert all(one in shown for one in ("m#0@box", "attic", "ROUND TRIP"))
    assert "m#0@box" in hub.run("top", "--once").stdout
    assert 'relayd_node_connected{node="box"} 1.0' in asked(hub, "/metrics", key)[2].decode()

    hub.run("drain", "box")
    assert ("drained", False) == (node_of(hub).state, serves(hub))
    assert 1 == hub.run("upstreams", "test", "box").returncode
    hub.run("start", "box")
    assert serves(hub)
    removed = hub.run("nodes", "remove", "box")
    assert (0, "") == (removed.returncode, removed.stderr)
    wait_until(lambda: "refuses this node's token" in box.client.nodes().hubs[0].state)
    assert () == hub.client.nodes().nodes
    assert 404 == asked(hub, "/v1/completions", key, prompt)[0]


def test_another_relayd_is_an_upstream_that_an_administrator_adds(machines: tuple[Daemon, Daemon]) -> None:
    hub, box = machines
    admin = hub.run("keys", "create", "me", "--scope", "admin").stdout.strip()
    theirs = box.run("keys", "create", "hub").stdout.strip()
    key = hub.run("keys", "create", "you").stdout.strip()
    prompt = {"model": "m", "prompt": "a", "max_tokens": 3}

    line = {"url": box.url, "name": "box", "key": theirs}
    for wrong in ({**line, "key": "${ENV:HOME}"}, {"url": box.url, "key_file": "/etc/passwd"}, {"url": "x"}):
        assert 400 == asked(hub, "/admin/upstreams", admin, wrong)[0]
    status, _, body = asked(hub, "/admin/upstreams", admin, line)
    assert (201, "ready") == (status, json.loads(body)["models"][0]["state"])
    assert 400 == asked(hub, "/admin/upstreams", admin, line)[0]
    status, fields, body = asked(hub, "/v1/completions", key, prompt)
    assert (200, "m@box") == (status, fields["X-Relayd-Replica"])
    assert 200 == json.loads(asked(hub, "/admin/upstreams/box/test", admin, {})[2])["status"]
    assert "m@box" in asked(hub, "/admin/now", admin)[2].decode()
    assert 0 == hub.run("upstreams", "remove", "box").returncode
    assert 404 == asked(hub, "/v1/completions", key, prompt)[0]


def test_models_are_placed_over_the_machines_of_a_hub(machines: tuple[Daemon, Daemon]) -> None:
    hub, box = machines
    invite = json.loads(hub.run("nodes", "invite", "box", "--json").stdout)["join"]
    assert 0 == box.run("join", invite).returncode
    wait_until(lambda: hub.client.nodes().nodes and serves(hub))

    planned = hub.run("plan", "--fleet", "--json")
    assert 0 == planned.returncode, planned.stderr
    (replica,) = (found := json.loads(planned.stdout))["replicas"]
    assert ("m", "box", False, None) == tuple(
        replica[name] for name in ("model", "machine", "is_new", "move")
    )
    assert "it runs there now" in replica["reasons"]
    assert [] == found["commands"]
    shown = hub.run("plan", "--fleet").stdout
    assert "box" in shown
    assert "nothing has to move" in shown

    advised = hub.run("recommend", "--fleet", "--for", "embedding", "--json")
    assert 0 == advised.returncode, advised.stderr
    rows = json.loads(advised.stdout)["recommendations"]
    assert all(row["machine"] in ("box", "this machine") and row["pull"] for row in rows)
    assert 2 == hub.run("plan", "--fleet", "--command").returncode


def test_a_request_has_a_model_loaded_on_the_node_that_has_unloaded_it(
    machines: tuple[Daemon, Daemon],
) -> None:
    hub, box = machines
    invite = json.loads(hub.run("nodes", "invite", "box", "--json").stdout)["join"]
    assert 0 == box.run("join", invite).returncode
    wait_until(lambda: hub.client.nodes().nodes and serves(hub))
    key = hub.run("keys", "create", "me").stdout.strip()
    assert 0 == hub.run("unload", "m@box").returncode
    wait_until(lambda: ["cold"] == [one.state for one in node_of(hub).replicas])

    status, fields, body = asked(hub, "/v1/completions", key, {"model": "m", "prompt": "a", "max_tokens": 3})
    assert 200 == status, body
    assert "m#0@box" == fields["X-Relayd-Replica"]


def test_a_request_wakes_the_node_that_serves_its_model(
    engine: Engine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = f'{FAST}\n[[model]]\nname = "m"\nfile = "{tiny_model}"\nslots = 2\n'
    folders = [tmp_path_factory.mktemp(name) for name in "ab"]
    woken = folders[0] / "woken"
    power = (
        f'{FAST}\n[hub]\nresume_seconds = 0.2\n[power]\nwake_command = ["sh", "-c", "echo $0 > {woken}"]\n'
    )
    hub = Daemon(folders[0], engine.path, power, ["--hub"], {})
    box = Daemon(folders[1], engine.path, model, [], {})
    try:
        box.await_event("try")
        invite = json.loads(hub.run("nodes", "invite", "box", "--json").stdout)["join"]
        assert 0 == box.run("join", invite).returncode
        wait_until(lambda: hub.client.nodes().nodes and serves(hub))
        key = hub.run("keys", "create", "me").stdout.strip()
        box.end()
        wait_until(lambda: ["cold"] == [one.state for one in node_of(hub).replicas])
        assert "a request wakes it" in node_of(hub).replicas[0].reason

        with ThreadPoolExecutor(1) as aside:
            body = {"model": "m", "prompt": "a", "max_tokens": 3}
            asking = aside.submit(asked, hub, "/v1/completions", key, body)
            wait_until(woken.exists)
            box = Daemon(folders[1], engine.path, model, [], {})
            status, fields, answer = asking.result(DEADLINE_SECONDS)
        assert 200 == status, answer
        assert "m#0@box" == fields["X-Relayd-Replica"]
        assert "box" == woken.read_text().strip()
    finally:
        for daemon in (box, hub):
            daemon.end()
    assert [] == [name for daemon in (hub, box) for name in daemon.leftovers()]


def test_a_node_has_a_file_from_another_one_before_it_asks_the_internet(
    engine: Engine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = [tmp_path_factory.mktemp(name) for name in "abc"]
    hub = Daemon(folders[0], engine.path, FAST, ["--hub"], {})
    with running_hub() as files:
        files.add(REPOSITORY, **{"tiny-Q8_0": tiny_model.read_bytes()})
        boxes = [
            Daemon(
                folder, engine.path, FAST, [], {"HF_ENDPOINT": files.endpoint, "HF_HOME": str(folder / "hf")}
            )
            for folder in folders[1:]
        ]
        try:
            hub.await_event("listening")
            for box in boxes:
                box.await_event("listening")
                invite = json.loads(hub.run("nodes", "invite", name_of(box), "--json").stdout)["join"]
                assert 0 == box.run("join", invite).returncode
            wait_until(lambda: ["connected"] * 2 == [one.state for one in hub.client.nodes().nodes])
            first, second = boxes
            assert 0 == first.run("pull", f"hf:{REPOSITORY}:Q8_0").returncode
            sha256 = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
            wait_until(lambda: any(one.files for one in hub.client.nodes().nodes))
            asked_before = len([one for one in files.asked if one.host == "cdn"])
            pulled = hub.run("pull", f"hf:{REPOSITORY}:Q8_0", "--node", name_of(second))
            assert 0 == pulled.returncode, pulled.stderr
            assert asked_before == len([one for one in files.asked if one.host == "cdn"])
            (blob,) = (second.home / "hf").rglob(f"blobs/{sha256}")
            assert tiny_model.read_bytes() == blob.read_bytes()
        finally:
            for daemon in (*boxes, hub):
                daemon.end()
    assert [] == [name for daemon in (hub, *boxes) for name in daemon.leftovers()]
