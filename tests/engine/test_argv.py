import contextlib
import http.client
import itertools
import json
import os
import socket
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.config import Allocation
from relayd.endpoint import TcpAddress, UnixAddress
from relayd.engine import Engine, Features, command, environment
from relayd.errors import ConfigError, EngineError
from relayd.planner.plan import Lora, ReplicaSpec
from tests.daemons import DEADLINE_SECONDS

SOCKET = UnixAddress(Path("/run/relayd/0123abcd.sock"))
KEY = Path("/run/relayd/qwen.key")
SPEC = ReplicaSpec(model="qwen", index=0, file=Path("/models/qwen.gguf"), context=8192, slots=4)

NEW = Features(
    version="b11434",
    build=11434,
    flags=frozenset(
        "--api-key-file --cache-ram --fit --embeddings --embedding --metrics --slots --offline "
        "--ui --no-ui --webui --no-webui --jinja --no-jinja".split()
    ),
    hints={"--lora-scaled": "FNAME:SCALE,..."},
    unix_sockets=True,
)
OLD = Features(
    version="b4000",
    build=4000,
    flags=frozenset("--api-key-file --embedding --metrics --slots --no-webui --jinja".split()),
    hints={"--lora-scaled": "FNAME SCALE"},
    unix_sockets=False,
)


@pytest.mark.pure
def test_a_replica_is_started_with_every_flag_that_decides_what_runs() -> None:
    expected = (
        *("--model", "/models/qwen.gguf", "--alias", "qwen", "--host", "0123abcd.sock"),
        *("--api-key-file", "/run/relayd/qwen.key", "--parallel", "4", "--ctx-size", "32768"),
        *("--cache-ram", "8192", "--fit", "on", "--metrics", "--slots", "--offline", "--no-ui"),
    )
    assert expected == command(SPEC, NEW, SOCKET, KEY)


@pytest.mark.pure
def test_an_older_engine_gets_only_what_it_knows() -> None:
    expected = (
        *("--model", "/models/qwen.gguf", "--alias", "qwen", "--host", "127.0.0.1", "--port", "8100"),
        *("--api-key-file", "/run/relayd/qwen.key", "--parallel", "4", "--ctx-size", "32768"),
        *("--metrics", "--slots", "--no-webui", "--jinja"),
    )
    assert expected == command(SPEC, OLD, TcpAddress(8100), KEY)


def _pairs(spec: ReplicaSpec, features: Features = NEW) -> set[tuple[str, str]]:
    argv = command(spec, features, TcpAddress(8100), KEY)
    return set(itertools.pairwise(argv))


@pytest.mark.pure
def test_the_trained_context_is_left_to_the_engine() -> None:
    assert ("--ctx-size", "0") in _pairs(replace(SPEC, context=0))


@pytest.mark.pure
def test_threads_are_given_only_when_they_are_wanted() -> None:
    assert ("--threads", "6") in _pairs(replace(SPEC, threads=6))
    assert "--threads" not in command(SPEC, NEW, SOCKET, KEY)


@pytest.mark.pure
def test_embeddings_are_asked_for_in_the_engines_spelling() -> None:
    spec = replace(SPEC, embeddings=True)
    assert "--embeddings" in command(spec, NEW, SOCKET, KEY)
    assert "--embedding" in command(spec, OLD, TcpAddress(1), KEY)


@pytest.mark.pure
def test_the_operators_own_arguments_come_last() -> None:
    spec = replace(SPEC, extra_args=("--top-k", "20"))
    assert ("--top-k", "20") == command(spec, NEW, SOCKET, KEY)[-2:]


@pytest.mark.pure
def test_adapters_are_given_with_their_scale_as_the_engine_reads_it() -> None:
    spec = replace(SPEC, loras=(Lora(Path("/a.gguf")), Lora(Path("/b.gguf"), 0.5)))
    assert {("--lora", "/a.gguf"), ("--lora-scaled", "/b.gguf:0.5")} <= _pairs(spec)
    assert {("--lora", "/a.gguf"), ("--lora-scaled", "/b.gguf"), ("/b.gguf", "0.5")} <= _pairs(spec, OLD)


@pytest.mark.pure
@pytest.mark.parametrize("lora", [Lora(Path("/a,b.gguf")), Lora(Path("/a:b.gguf"), 2)])
def test_an_adapter_whose_path_the_engine_would_split_is_refused(lora: Lora) -> None:
    with pytest.raises(ConfigError, match="where llama-server splits"):
        command(replace(SPEC, loras=(lora,)), NEW, SOCKET, KEY)


@pytest.mark.pure
def test_an_engine_without_sockets_names_both_ways_out() -> None:
    with pytest.raises(EngineError, match="b4000 cannot listen on a socket file") as caught:
        command(SPEC, OLD, SOCKET, KEY)
    assert 'Or set [replicas] listen = "tcp".' in caught.value.remedy


@pytest.mark.pure
def test_r17_no_replica_is_started_without_a_key() -> None:
    keyless = Features("b1", 1, OLD.flags - {"--api-key-file"}, {}, unix_sockets=False)
    with pytest.raises(EngineError, match="b1 does not know --api-key-file"):
        command(SPEC, keyless, TcpAddress(1), KEY)


class _Socket(http.client.HTTPConnection):
    """HTTP over a socket file."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


def _props(path: Path, key: str) -> tuple[int, Any]:
    """Ask until the engine has loaded its model."""
    pause = threading.Event()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.closing(_Socket(path)) as connection, contextlib.suppress(OSError):
            connection.request("GET", "/props", headers={"Authorization": f"Bearer {key}"})
            response = connection.getresponse()
            if response.status != http.HTTPStatus.SERVICE_UNAVAILABLE:
                return response.status, json.loads(response.read())
        pause.wait(0.02)
    raise AssertionError("the engine did not answer")


@pytest.mark.real
@pytest.mark.parametrize(("context", "slot_context"), [(0, 4096), (512, 512), (300, 512)])
def test_the_real_engine_runs_what_was_specified(
    engine: Engine, tiny_model: Path, home: Path, context: int, slot_context: int
) -> None:
    key_file, address = home / "tiny.key", UnixAddress(home / "0123abcd.sock")
    key_file.write_text("secret-of-this-test")
    spec = ReplicaSpec(model="tiny", index=0, file=tiny_model, context=context, slots=3, threads=1)
    argv = command(spec, engine.features, address, key_file)
    environ = environment(os.environ, instance=str(home), replica="tiny#0", empty_config_home=home)
    with subprocess.Popen([engine.path, *argv], cwd=home, env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            status, props = _props(address.path, "secret-of-this-test")
            refused, _ = _props(address.path, "another")
        finally:
            process.kill()

    assert (200, 401) == (status, refused)
    assert (3, slot_context) == (props["total_slots"], props["default_generation_settings"]["n_ctx"])
    assert ("tiny", str(tiny_model)) == (props["model_alias"], props["model_path"])


@pytest.mark.pure
def test_a_planned_replica_leaves_nothing_to_the_engine() -> None:
    spec = replace(
        SPEC,
        fit=False,
        placement=Allocation(
            gpu_layers=49,
            devices=("CUDA0", "CUDA1"),
            shares=(20.5, 28.5),
            experts_on_cpu=12,
            cache_type_k="q8_0",
            cache_type_v="q8_0",
            flash_attention=True,
            unified=False,
            batch=2048,
            micro_batch=512,
        ),
    )
    features = replace_features(NEW, "--device --n-cpu-moe --no-kv-unified", flash_attention="[on|off|auto]")

    expected = (
        *("--fit", "off", "--gpu-layers", "49", "--device", "CUDA0,CUDA1", "--split-mode", "layer"),
        *("--tensor-split", "20.5,28.5", "--n-cpu-moe", "12"),
        *("--cache-type-k", "q8_0", "--cache-type-v", "q8_0", "--flash-attn", "on"),
        *("--batch-size", "2048", "--ubatch-size", "512", "--no-kv-unified"),
    )
    given = command(spec, features, SOCKET, KEY)
    assert expected == given[given.index("--fit") : given.index("--metrics")]


@pytest.mark.pure
def test_a_replica_planned_for_the_cpu_gets_no_device() -> None:
    spec = replace(SPEC, placement=Allocation(gpu_layers=0, devices=(), flash_attention=False, unified=True))
    features = replace_features(NEW, "--device --kv-unified", flash_attention="[on|off|auto]")

    given = command(spec, features, SOCKET, KEY)

    assert ("--device", "none") == given[given.index("--device") :][:2]
    assert ("--flash-attn", "off") == given[given.index("--flash-attn") :][:2]
    assert "--kv-unified" in given


@pytest.mark.pure
def test_where_flash_attention_is_a_switch_it_takes_no_value() -> None:
    features = replace_features(NEW, "--device --flash-attn", flash_attention="")

    given = command(
        replace(SPEC, placement=Allocation(flash_attention=True, batch=64)), features, SOCKET, KEY
    )

    assert "--batch-size" == given[given.index("--flash-attn") + 1]


@pytest.mark.pure
def test_an_engine_that_cannot_be_told_the_device_runs_no_plan() -> None:
    with pytest.raises(EngineError, match="does not know --device"):
        command(replace(SPEC, placement=Allocation(devices=())), OLD, TcpAddress(8100), KEY)


@pytest.mark.pure
def test_what_has_its_default_is_no_part_of_a_replicas_identity() -> None:
    plain = ReplicaSpec("m", 0, Path("/m.gguf"))

    assert plain.digest == ReplicaSpec("m", 0, Path("/m.gguf"), slots=4, fit=True).digest
    assert plain.digest != replace(plain, fit=False).digest
    assert plain.digest != replace(plain, placement=Allocation(gpu_layers=0)).digest


def replace_features(features: Features, more: str, flash_attention: str) -> Features:
    hints = {**features.hints, "--flash-attn": flash_attention}
    return msgspec.structs.replace(features, flags=features.flags | set(more.split()), hints=hints)


@pytest.mark.pure
def test_a_projector_is_passed_and_belongs_to_the_identity() -> None:
    seeing = replace(SPEC, projector=Path("/mmproj.gguf"))
    given = command(seeing, msgspec.structs.replace(NEW, flags=NEW.flags | {"--mmproj"}), SOCKET, KEY)

    assert "/mmproj.gguf" == given[given.index("--mmproj") + 1]
    assert seeing.digest != SPEC.digest
