"""A replica is started with the engine, the folders and the address that the daemon was given."""

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.daemon.launch import launcher
from relayd.desired.state import DesiredState
from relayd.engine import Engine
from relayd.engine.argv import Features
from tests.contract.stage import launched
from tests.daemon.assembled import MODEL, desired
from tests.daemons import wait_until

pytestmark = pytest.mark.fake

FLAGS = """--parallel --ctx-size --cache-ram --fit --gpu-layers --device --n-cpu-moe --cache-type-k
--cache-type-v --flash-attn --batch-size --ubatch-size --kv-unified
--embeddings --mmproj --threads --api-key-file --no-ui"""

ENGINE = """#!/usr/bin/env python3
import json, os, pathlib, signal, sys
key_file = pathlib.Path(sys.argv[sys.argv.index("--api-key-file") + 1])
key = {"folder": str(key_file.parent), "mode": key_file.stat().st_mode & 0o777, "text": key_file.read_text()}
seen = {"argv": sys.argv, "environ": dict(os.environ), "folder": os.getcwd(), "key": key}
path = pathlib.Path(__file__).parent / "seen.json"
path.with_suffix(".new").write_text(json.dumps(seen))
path.with_suffix(".new").rename(path)
signal.pause()
"""
"""Writes down how it was started, which a real engine does not."""


def given(home: Path, listen: str, environ: Mapping[str, str]) -> DesiredState:
    binary = home / "llama-server"
    binary.write_text(ENGINE)
    binary.chmod(0o700)
    state = desired(home, MODEL, environ=environ)
    replicas = msgspec.structs.replace(state.config.replicas, listen=listen, ports="18300-18310")
    features = Features(
        "b1", 1, frozenset(FLAGS.split()), {"--flash-attn": "[on|off|auto]"}, unix_sockets=True
    )
    engine = Engine(binary, "configured", features)
    return replace(state, engine=engine, config=msgspec.structs.replace(state.config, replicas=replicas))


def started(home: Path, listen: str = "unix", **environ: str) -> tuple[dict[str, Any], str, int]:
    """Return how the engine was started, the address of its endpoint, and its incarnation."""
    state = given(home, listen, {"PATH": os.environ["PATH"], **environ})
    child = launched(launcher(state), state.plan[0], 3)
    try:
        wait_until((home / "seen.json").exists)
    finally:
        child.signal(signal.SIGKILL)
        child.reap()
    seen: dict[str, Any] = json.loads((home / "seen.json").read_text())
    return seen, str(child.endpoint.address), child.endpoint.incarnation


def test_a_socket_file_in_the_runtime_folder_is_listened_on(tmp_path: Path) -> None:
    seen, address, incarnation = started(tmp_path)
    argv = seen["argv"]

    assert str(tmp_path / "r") == seen["folder"]
    assert f"unix:{tmp_path}/r/{argv[argv.index('--host') + 1]}" == address
    assert 3 == incarnation


def test_a_port_of_the_configured_range_is_listened_on(tmp_path: Path) -> None:
    seen, address, _ = started(tmp_path, "tcp")
    argv = seen["argv"]

    assert f"127.0.0.1:{argv[argv.index('--port') + 1]}" == address
    assert 18300 <= int(argv[argv.index("--port") + 1]) <= 18310


def test_the_replica_is_tagged_and_gets_only_what_is_allowed_of_the_environment(tmp_path: Path) -> None:
    seen, *_ = started(tmp_path, LLAMA_API_KEY="theirs", RELAYD_HANDOVER="9", HOME="/home/op")
    environ = seen["environ"]

    assert (str(tmp_path / "r"), "m#0") == (environ["RELAYD_INSTANCE"], environ["RELAYD_REPLICA"])
    assert str(tmp_path / "r" / "xdg") == environ["XDG_CONFIG_HOME"]
    assert not {"LLAMA_API_KEY", "RELAYD_HANDOVER"} & environ.keys()


def test_the_key_is_in_a_file_and_not_in_the_command_line(tmp_path: Path) -> None:
    seen, *_ = started(tmp_path)
    key = seen["key"]

    assert (str(tmp_path / "r"), 0o600) == (key["folder"], key["mode"])
    assert key["text"].strip()
    assert key["text"].strip() not in " ".join(seen["argv"])
