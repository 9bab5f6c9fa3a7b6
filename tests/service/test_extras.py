"""Are the files in extras/ current, and do their readers understand them?"""

import importlib
import json
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from relayd.cli.join import TOKEN_VARIABLE
from relayd.config.load import SYSTEM_FILE
from relayd.config.schema import Config, Server
from relayd.config.trust import OWNER_VARIABLE
from relayd.service.budget import stop_budget_seconds
from relayd.service.units import is_ours
from tests.extras import COMMANDS, EXTRAS, regenerated

pytestmark = pytest.mark.system

DOCKER_INSTRUCTIONS = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL RUN SHELL STOPSIGNAL USER VOLUME "
    "WORKDIR".split()
)
PATHS = {
    "XDG_CONFIG_HOME": "/etc",
    "XDG_DATA_HOME": "/var/lib",
    "XDG_STATE_HOME": "/var/lib",
    "XDG_CACHE_HOME": "/var/cache",
    "RELAYD_RUNTIME_DIR": "/run/relayd",
}


def dockerfile() -> list[tuple[str, str]]:
    """Return instructions and their arguments, lines joined and comments gone."""
    text = re.sub(r"^#.*\n", "", (EXTRAS / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines if line]


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    # The engine's own GGUF library needs it, so it is there; without types of its own.
    document = importlib.import_module("yaml").safe_load((EXTRAS / name).read_text())
    assert isinstance(document, dict)
    return document


def budget_seconds() -> float:
    replicas = Config().replicas
    return stop_budget_seconds(replicas.drain_seconds, replicas.stop_seconds, replicas.kill_seconds)


@pytest.mark.skipif(SYSTEM_FILE.exists(), reason=f"{SYSTEM_FILE} of this machine would be read")
@pytest.mark.parametrize("name", COMMANDS)
def test_the_units_are_what_the_command_prints(name: str) -> None:
    assert regenerated(name) == (EXTRAS / name).read_text(), "run: python -m tests.extras"


@pytest.mark.parametrize("name", COMMANDS)
def test_whoever_copies_a_unit_can_have_relayd_replace_it(name: str) -> None:
    assert is_ours((EXTRAS / name).read_bytes())


@pytest.mark.parametrize("name", [name for name in COMMANDS if name.endswith(".plist")])
def test_s80_the_property_lists_are_valid(name: str) -> None:
    file = EXTRAS / name
    content = plistlib.loads(file.read_bytes())

    assert "dev.relayd" == content["Label"]
    assert content["AbandonProcessGroup"] is True
    assert content["ExitTimeOut"] >= budget_seconds()
    if plutil := shutil.which("plutil"):
        subprocess.run([plutil, "-lint", str(file)], check=True, timeout=30)


def test_the_image_is_built_from_what_is_there() -> None:
    instructions = dockerfile()

    assert "FROM" == instructions[0][0]
    assert {name for name, _ in instructions} <= DOCKER_INSTRUCTIONS
    for name, arguments in instructions:
        if name == "COPY":
            *sources, _ = arguments.split()
            assert [] == [one for one in sources if not (EXTRAS.parent / one).exists()]


def test_the_image_runs_as_a_user_in_the_services_folders() -> None:
    instructions = dict(dockerfile())
    variables = dict(pair.split("=", 1) for pair in shlex.split(instructions["ENV"]))

    assert "relayd" == instructions["USER"]
    assert PATHS == variables
    assert '["relayd"]' == instructions["ENTRYPOINT"]
    assert '["serve", "--listen", "0.0.0.0:8080"]' == instructions["CMD"]


class Door(BaseHTTPRequestHandler):
    """Answers /healthz with the status that its server was given."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Answering)
        self.send_response(self.server.status if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class Answering(HTTPServer):
    status = 200


@pytest.mark.parametrize("status", [200, 503])
def test_the_image_asks_for_its_health_where_anybody_may_and_through_no_proxy(status: int) -> None:
    check = dict(dockerfile())["HEALTHCHECK"]
    *_, program = json.loads(check[check.index("[") :])
    with Answering(("127.0.0.1", 0), Door) as server:
        server.status = status
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        done = subprocess.run(
            [sys.executable, "-c", program.replace("8080", str(server.server_port))],
            env={"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"},
            check=False,
            timeout=60,
        )
        thread.join()

    assert (status == 200) == (done.returncode == 0)


def test_the_container_has_time_to_stop_and_a_key() -> None:
    relayd = compose()["services"]["relayd"]

    assert float(relayd["stop_grace_period"].rstrip("s")) >= budget_seconds()
    assert relayd["environment"]["RELAYD_API_KEY"].startswith("${RELAYD_API_KEY:?")
    assert relayd["init"] is True
    assert ["127.0.0.1:8080:8080"] == relayd["ports"]
    assert (EXTRAS / relayd["build"]["context"] / relayd["build"]["dockerfile"]).exists()


def test_the_container_reads_a_configuration_of_the_user_who_started_it() -> None:
    relayd = compose()["services"]["relayd"]
    bound = {one["target"]: one for one in relayd["volumes"] if isinstance(one, dict)}

    assert {"/etc/relayd/relay.toml", "/models"} == bound.keys()
    for one in bound.values():
        assert ("bind", True) == (one["type"], one["read_only"])
        assert one["bind"]["create_host_path"] is False
    assert OWNER_VARIABLE in relayd["environment"]


def test_the_container_writes_only_where_relayd_keeps_things() -> None:
    document = compose()
    relayd = document["services"]["relayd"]
    volumes = {one.split(":")[1] for one in relayd["volumes"] if isinstance(one, str)}
    places = {one.split(":")[0] for one in relayd["tmpfs"]} | volumes

    assert relayd["read_only"] is True
    assert {"/run/relayd", "/var/cache/relayd", "/tmp", "/var/lib/relayd"} <= places
    assert {"state"} == document["volumes"].keys()


def test_hub_and_nodes_are_kept_as_one_machine_is() -> None:
    alone, fleet = compose()["services"]["relayd"], compose("compose-hub.yaml")["services"]

    assert {"hub", "node1", "node2"} == fleet.keys()
    for name in ("build", "init", "restart", "read_only", "tmpfs", "cap_drop", "security_opt", "ulimits"):
        assert [alone[name]] * 3 == [one[name] for one in fleet.values()], name
    assert all(float(one["stop_grace_period"].rstrip("s")) >= budget_seconds() for one in fleet.values())


def test_nodes_of_the_fleet_find_the_hub_by_a_name_that_it_lets_in_and_open_nothing() -> None:
    fleet = compose("compose-hub.yaml")["services"]
    url = fleet["hub"]["environment"]["RELAYD_HUB__URL"]

    assert ["serve", "--hub"] == fleet["hub"]["command"]
    assert fleet["hub"]["environment"]["RELAYD_API_KEY"].startswith("${RELAYD_API_KEY:?")
    for node in (fleet["node1"], fleet["node2"]):
        assert ["join", url] == node["command"]
        assert {TOKEN_VARIABLE, OWNER_VARIABLE} == node["environment"].keys()
        assert "ports" not in node


def test_nginx_knows_relayds_limits() -> None:
    text = (EXTRAS / "nginx.conf").read_text()
    server = Server()

    assert f"client_max_body_size {server.max_body_mib:g}m;" in text
    (keepalive,) = re.findall(r"keepalive_timeout (\d+)s;", text)
    assert float(keepalive) < server.keep_alive_seconds
    assert f"server {server.listen};" in text
