"""What can an administrator see and do over TCP, with real replicas behind it?"""

import http.client
import json
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, wait_until

pytestmark = pytest.mark.real

KEY = "an-administrators-key-0123456789"


@dataclass(frozen=True)
class Admin:
    """A client of the administrator's API."""

    url: str
    key: str = KEY

    def open(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE_SECONDS)
        fields = {"Connection": "close"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        connection.request(method, path, None if body is None else json.dumps(body), fields)
        return connection.getresponse()

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        with closing(self.open(method, path, body)) as answer:
            return answer.status, json.loads(answer.read() or b"null")

    def get(self, path: str) -> Any:
        status, found = self.ask("GET", path)
        assert 200 == status, found
        return found

    def events(self, path: str) -> Iterator[dict[str, Any]]:
        """Follow a stream, which has begun when this returns."""
        answer = self.open("GET", path)
        assert b": open\n" == answer.readline()
        return events_of(answer)


def events_of(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    with closing(answer):
        for line in answer:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


def configured(slow: Path, *folders: Path) -> str:
    names = ", ".join(f'"{folder}"' for folder in folders)
    return (
        f'{FAST}\n[server]\napi_key = "{KEY}"\n[models]\nfolders = [{names}]\n'
        f'[[model]]\nname = "slow"\nfile = "{slow}"\nslots = 1\ncontext = 4096\n'
    )


def chat(
    url: str, model: str, tokens: int, request_id: str = "x", key: str = KEY
) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=DEADLINE_SECONDS)
    body = {"model": model, "prompt": "a", "max_tokens": tokens, "stream": True, "ignore_eos": True}
    fields = {"Authorization": f"Bearer {key}", "X-Request-ID": request_id, "Connection": "close"}
    connection.request("POST", "/v1/completions", json.dumps(body), fields)
    return connection.getresponse()


def test_a_request_that_its_key_holds_back_is_seen_counted_and_ended(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(configured(slow_model))
    admin = Admin(daemon.url)
    status, made = admin.ask("POST", "/admin/keys", {"name": "one", "limits": {"in_flight": 1}})
    assert 201 == status
    running = chat(daemon.url, "slow", 3000, "first", made["secret"])
    running.readline()
    held: list[bytes] = []
    thread = threading.Thread(
        target=lambda: held.append(chat(daemon.url, "slow", 5, "second", made["secret"]).read())
    )
    thread.start()
    try:
        wait_until(lambda: len(admin.get("/admin/requests")["requests"]) == 2)
        found = {one["id"]: one for one in admin.get("/admin/requests")["requests"]}
        assert ("held", 1, "slow") == tuple(found["second"][name] for name in ("state", "position", "model"))
        assert {"local": 1} == admin.get("/admin/stats")["queue_depth"]
        assert 1 == admin.get("/health")["queue_depth"]
        assert (200, {"cancelled": 1}) == admin.ask("DELETE", "/admin/requests/second")
        thread.join(DEADLINE_SECONDS)
    finally:
        running.close()
        thread.join()
    assert b"request_cancelled" in held[0]


def test_models_are_added_changed_and_removed_while_the_daemon_serves(
    start_daemon: Callable[..., Daemon], slow_model: Path, tiny_model: Path
) -> None:
    daemon = start_daemon(configured(slow_model, tiny_model.parent))
    admin = Admin(daemon.url)
    written = daemon.home / "state/relayd/models.toml"
    line = {"model_name": "org/tiny", "file": str(tiny_model), "context": 512, "slots": 1}

    assert ["slow"] == [*admin.get("/admin/models")]
    assert (201, "Model org/tiny added successfully.") == said(admin.ask("POST", "/admin/models", line))
    assert (400, "Model already exists") == refused(admin.ask("POST", "/admin/models", line))
    assert {"slow", "org/tiny"} == {one["id"] for one in admin.get("/v1/models")["data"]}
    assert admin.get("/admin/models/org/tiny")["written"]
    assert ["org/tiny"] == [one["name"] for one in tomllib.loads(written.read_text())["model"]]

    assert (400, "No updates provided") == refused(admin.ask("PUT", "/admin/models/org/tiny", {}))
    changed = admin.ask("PUT", "/admin/models/org/tiny", {"context": None, "aliases": ["t"]})
    assert (200, "Model org/tiny updated successfully.") == said(changed)
    settings = admin.get("/admin/models/t")["settings"]
    assert ({"file", "aliases", "slots"}, ["t"]) == ({*settings}, settings["aliases"])

    before = written.read_bytes()
    for bad in ({"slots": 9999}, {"slotz": 1}, {"file": "/etc/passwd"}, {"args": ["--host=x"]}):
        assert 400 == admin.ask("PUT", "/admin/models/t", bad)[0], bad
    assert before == written.read_bytes()

    with closing(chat(daemon.url, "t", 400)) as stream:
        stream.readline()
        assert (200, "Model org/tiny deleted successfully.") == said(admin.ask("DELETE", "/admin/models/t"))
        assert stream.read().rstrip().endswith(b"data: [DONE]"), "the request was not finished first"
    assert ["slow"] == [*admin.get("/admin/models")]
    assert 404 == admin.ask("DELETE", "/admin/models/org/tiny")[0]
    assert 400 == admin.ask("DELETE", "/admin/models/slow")[0], "relay.toml is an operator's own"


def test_models_of_other_servers_are_added_as_llmstream_has_them(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(configured(slow_model))
    admin = Admin(daemon.url)
    written = daemon.home / "state/relayd/models.toml"
    line = {"model_name": "org/far", "servers": ["http://127.0.0.1:9", "http://127.0.0.1:10"]}

    assert (201, "Model org/far added successfully.") == said(admin.ask("POST", "/admin/models", line))
    assert (400, "Model already exists") == refused(admin.ask("POST", "/admin/models", line))
    found = admin.get("/admin/models")
    assert {"servers": line["servers"], "strategy": "round_robin"} == found["org/far"]["settings"]
    assert (line["servers"], "round_robin") == (found["org/far"]["servers"], found["org/far"]["strategy"])
    assert 2 == len(tomllib.loads(written.read_text())["upstream"])

    changed = admin.ask("PUT", "/admin/models/org/far", {"strategy": "least_connection"})
    assert (200, "Model org/far updated successfully.") == said(changed)
    assert "least_connection" == admin.get("/admin/models/org/far")["settings"]["strategy"]
    before = written.read_bytes()
    wrong: list[dict[str, object]] = [{"servers": ["ftp://x"]}, {"servers": []}, {"strategy": "fastest"}]
    for bad in [*wrong, {"file": "/a.gguf"}]:
        assert 400 == admin.ask("PUT", "/admin/models/org/far", bad)[0], bad
    assert before == written.read_bytes()

    assert (200, "Model org/far deleted successfully.") == said(admin.ask("DELETE", "/admin/models/org/far"))
    assert ["slow"] == [*admin.get("/admin/models")]


def test_ollamas_clients_copy_make_and_delete_models(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(configured(slow_model))
    admin = Admin(daemon.url)
    made = {"model": "short", "from": "slow", "parameters": {"num_predict": 3}, "stream": False}

    assert 200 == admin.ask("POST", "/api/copy", {"source": "slow", "destination": "again"})[0]
    assert 200 == admin.ask("POST", "/api/create", made)[0]
    names = {one["name"] for one in admin.get("/api/tags")["models"]}
    assert {"slow:latest", "again:latest", "short:latest"} == names
    body = {"model": "short", "prompt": "a", "stream": False, "raw": True}
    status, answer = admin.ask("POST", "/api/generate", body)
    assert (200, 3) == (status, answer["eval_count"])
    assert 200 == admin.ask("POST", "/api/create", {**made, "parameters": {"num_predict": 5}})[0]
    assert 5 == admin.ask("POST", "/api/generate", body)[1]["eval_count"], "it is replaced"

    assert 400 == admin.ask("POST", "/api/copy", {"source": "short", "destination": "slow"})[0]
    assert 400 == admin.ask("POST", "/api/create", {**made, "parameters": {"temperature": "hot"}})[0]
    assert 404 == admin.ask("POST", "/api/copy", {"source": "absent", "destination": "b"})[0]
    assert 400 == admin.ask("DELETE", "/api/delete", {"model": "slow"})[0], "relay.toml is an operator's own"

    for name in ("again", "short"):
        assert 200 == admin.ask("DELETE", "/api/delete", {"model": name})[0]
    assert ["slow:latest"] == [one["name"] for one in admin.get("/api/tags")["models"]]


def said(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1].get("message", answer[1])


def refused(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], " ".join(answer[1]["error"]["message"].split()[:3])


def test_requests_are_seen_and_ended_and_figures_follow(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(configured(slow_model))
    admin = Admin(daemon.url)
    running = chat(daemon.url, "slow", 3000, "first")
    running.readline()
    waiting: list[bytes] = []
    thread = threading.Thread(target=lambda: waiting.append(chat(daemon.url, "slow", 5, "second").read()))
    thread.start()
    try:
        wait_until(lambda: len(admin.get("/admin/requests")["requests"]) == 2)
        found = {one["id"]: one for one in admin.get("/admin/requests")["requests"]}
        assert ("answering", "slow#0") == (found["first"]["state"], found["first"]["replica"])
        assert ("waiting", "") == (found["second"]["state"], found["second"]["replica"])
        (worker,) = admin.get("/admin/workers")["workers"]
        assert (1, 1, "local", ["slow"]) == tuple(
            worker[name] for name in ("in_flight_count", "max_concurrent", "provider", "models")
        )
        figures = admin.get("/admin/stats")
        assert ({"local": 1}, 1) == (figures["queue_depth"], figures["active_workers"])
        assert (0, 1) == (found["first"]["position"], found["second"]["position"])

        assert (200, {"cancelled": 1}) == admin.ask("POST", "/admin/requests/second/cancel")
        assert (200, {"cancelled": 1}) == admin.ask("DELETE", "/admin/requests/first")
        assert b"request_cancelled" in rest(running)
    finally:
        thread.join()
        running.close()
    assert b"request_cancelled" in waiting[0]
    assert 404 == admin.ask("POST", "/admin/requests/first/cancel")[0]
    counted = admin.get("/admin/stats")["models"]["slow"]
    assert {"cut": 1, "refused": 1} == {ended: row["requests"] for ended, row in counted.items()}
    (placed,) = admin.get("/admin/placement")["replicas"]
    assert ("slow#0", 1) == (placed["replica"], placed["spec"]["slots"])


def test_replicas_are_commanded_and_what_happens_is_followed(
    start_daemon: Callable[..., Daemon], slow_model: Path
) -> None:
    daemon = start_daemon(configured(slow_model))
    admin, name = Admin(daemon.url), quote("slow#0", safe="")
    happened = admin.events("/admin/events")
    lines = admin.events(f"/admin/logs?target={name}&lines=2")

    assert 2 == len([*lines])
    first = threading.Thread(target=lambda: admin.ask("POST", f"/admin/replicas/{name}/restart"))
    first.start()
    seen = []
    for event in happened:
        seen.append(event["event"])
        if event["event"] == "replica.ready":
            break
    first.join()
    assert "admin.command" in seen
    assert seen.index("admin.command") < seen.index("replica.ready")
    assert (200, {"slow#0": "stopped"}) == outcome(admin.ask("POST", f"/admin/replicas/{name}/stop"))
    assert (200, {"slow#0": "ready"}) == outcome(admin.ask("POST", f"/admin/replicas/{name}/start"))
    assert (200, {"slow#0": "cold"}) == outcome(admin.ask("POST", "/admin/models/slow/unload"))
    assert (200, {"slow#0": "ready"}) == outcome(admin.ask("POST", "/admin/models/slow/load"))
    assert {"ready"} == {one["state"] for one in admin.get("/admin/status")["models"][0]["replicas"]}
    assert admin.ask("POST", "/admin/models/slow/pin")[1]["pinned"]
    assert admin.ask("POST", "/admin/reload", {"dry_run": True})[1]["dry_run"]
    assert 404 == admin.ask("POST", "/admin/replicas/slow%2399/stop")[0]
    assert 404 == admin.ask("GET", "/admin/logs?target=../../etc/passwd")[0]
    assert 404 == admin.ask("POST", "/admin/stop")[0], "the daemon's end is for the control socket"
    audit = daemon.run("logs", "relayd", "-n", "1000", "--grep", "admin.command").stdout
    assert "verb=restart name=slow#0 client=127.0.0.1 key=configured" in audit
    assert KEY not in daemon.run("logs", "relayd", "-n", "1000").stdout


def rest(answer: http.client.HTTPResponse) -> bytes:
    """Return what is left of a stream that ends without its last chunk."""
    try:
        return answer.read()
    except http.client.IncompleteRead as cut:
        return cut.partial


def outcome(answer: tuple[int, Any]) -> tuple[int, dict[str, str]]:
    return answer[0], answer[1].get("replicas", answer[1])


@pytest.mark.parametrize("path", ["/admin/status", "/admin/models", "/admin/events", "/admin/nothing"])
def test_without_a_key_nobody_administers(demo: Daemon, path: str) -> None:
    status, answer = Admin(demo.url, key="").ask("GET", path)

    assert (404 if path == "/admin/nothing" else 403) == status
    assert answer["error"]["code"] in ("admin_key_required", "not_found")
