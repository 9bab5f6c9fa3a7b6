import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.engine import Engine, features
from relayd.engine.features import ask, parse_help, parse_version, read_features
from relayd.errors import EngineError


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "version", "build"),
    [
        ("version: 6895 (4341dc8bc)\nbuilt with cc", "b6895", 6895),
        ("version: 0.6.0-dev (build 11434, commit 4341dc8)\nbuilt with GNU", "b11434", 11434),
        ("version: 0.6.0-dev (build 0, commit unknown)\nbuilt with GNU", "0.6.0-dev", None),
        ("version: 0 (abc)", "unknown", None),
        ("something else", "unknown", None),
    ],
)
def test_both_shapes_of_the_version_are_read(text: str, version: str, build: int | None) -> None:
    assert (version, build) == parse_version(text)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("line", "flags"),
    [
        (
            "-h,    --help, --usage                  print usage and exit",
            {"-h": "", "--help": "", "--usage": ""},
        ),
        ("-t,    --threads N                      number of CPU threads", {"-t": "N", "--threads": "N"}),
        ("--cpu-strict <0|1>                      use strict", {"--cpu-strict": "<0|1>"}),
        (
            "-fa,   --flash-attn [on|off|auto]       set",
            dict.fromkeys(("-fa", "--flash-attn"), "[on|off|auto]"),
        ),
        ("-fa,   --flash-attn                     enable", {"-fa": "", "--flash-attn": ""}),
        ("-nocb, --no-cont-batching\n                 disable", {"-nocb": "", "--no-cont-batching": ""}),
        ("--lora-scaled FNAME SCALE               path", {"--lora-scaled": "FNAME SCALE"}),
        ("--fim-qwen-1.5b-default                 use", {"--fim-qwen-1.5b-default": ""}),
        ("--draft, --draft-max N       the argument has been removed. use another", {}),
        ("----- common params -----", {}),
    ],
)
def test_flags_and_what_they_take_are_read_from_the_help(line: str, flags: dict[str, str]) -> None:
    assert flags == parse_help(line)


@pytest.mark.fake
def test_a_binary_is_asked_once_until_it_changes(tmp_path: Path, engine_file: Callable[[Path], Path]) -> None:
    binary, cache = engine_file(tmp_path / "llama-server"), tmp_path / "cache"
    first = read_features(binary, cache, os.environ)
    found = binary.stat()

    binary.write_text(binary.read_text().replace("6895", "6896"))
    os.utime(binary, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert first == read_features(binary, cache, os.environ)

    os.utime(binary, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert ("b6895", "b6896") == (first.version, read_features(binary, cache, os.environ).version)


@pytest.mark.fake
@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff"])
def test_a_damaged_memory_is_replaced(
    tmp_path: Path, engine_file: Callable[[Path], Path], damage: bytes
) -> None:
    binary, cache = engine_file(tmp_path / "llama-server"), tmp_path / "cache"
    first = read_features(binary, cache, os.environ)
    [remembered] = cache.iterdir()
    good = remembered.read_bytes()
    remembered.write_bytes(damage)

    assert first == read_features(binary, cache, os.environ)
    assert len(good) == len(remembered.read_bytes())


@pytest.mark.fake
def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, engine_file: Callable[[Path], Path]
) -> None:
    (tmp_path / "cache").touch()
    found = read_features(engine_file(tmp_path / "llama-server"), tmp_path / "cache", os.environ)
    assert "b6895" == found.version


@pytest.mark.fake
def test_r45_the_binary_sees_neither_our_secrets_nor_our_settings(
    tmp_path: Path, engine_file: Callable[[Path], Path]
) -> None:
    binary = engine_file(tmp_path / "llama-server")
    binary.write_text(binary.read_text().replace("case", f"env > {tmp_path}/env\ncase", 1))

    ask(binary, os.environ | {"LLAMA_ARG_PORT": "1", "HF_TOKEN": "canary", "LD_PRELOAD": ""})

    seen = (tmp_path / "env").read_text()
    assert [] == [name for name in ("LLAMA_", "HF_TOKEN", "LD_PRELOAD") if name in seen]
    assert "XDG_CONFIG_HOME=/dev/null" in seen


@pytest.mark.fake
@pytest.mark.parametrize(
    ("script", "message", "remedy"),
    [
        (f"kill -{signal.SIGILL.value} $$", "built for another CPU", "relayd engine install"),
        (
            "echo 'libggml.so.0: cannot open' >&2; exit 127",
            r"failed: libggml\.so\.0: cannot",
            "engine install",
        ),
        ("exit 3", "exit status 3", "relayd engine install"),
        ("echo usage: something", "is not a llama-server", ""),
    ],
)
def test_a_binary_that_does_not_run_here_is_named_with_the_reason(
    tmp_path: Path, script: str, message: str, remedy: str
) -> None:
    binary = tmp_path / "llama-server"
    binary.write_text(f"#!/bin/sh\nulimit -c 0\n{script}\n")
    binary.chmod(0o755)
    with pytest.raises(EngineError, match=message) as caught:
        ask(binary, os.environ)
    assert remedy in caught.value.remedy


@pytest.mark.fake
def test_a_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "llama-server"
    binary.write_bytes(b"\x7fELF")
    binary.chmod(0o755)
    with pytest.raises(EngineError, match="Exec format error"):
        ask(binary, os.environ)


@pytest.mark.real
def test_the_real_engine_lists_every_flag_relayd_may_pass(engine: Engine) -> None:
    wanted = {
        *("--model", "--alias", "--host", "--port", "--parallel", "--ctx-size", "--cache-ram", "--fit"),
        *("--threads", "--embeddings", "--lora", "--lora-scaled", "--metrics", "--slots", "--offline"),
        *("--no-ui", "--api-key-file", "--no-jinja", "--load-mode", "--log-jsonl", "-kvu", "-no-kvu"),
    }
    assert set() == wanted - engine.features.flags
    assert engine.features.unix_sockets
    assert "--draft-max" not in engine.features.flags
    assert "[on|off|auto]" == engine.features.hints["-fa"]


@pytest.mark.real
def test_the_real_engine_has_a_build_number(engine: Engine) -> None:
    assert engine.build
    assert f"b{engine.build}" == engine.version


@pytest.mark.real
def test_the_real_engine_says_the_same_when_asked_again(engine: Engine) -> None:
    again = features.ask(engine.path, os.environ)
    assert (engine.features.flags, engine.features.hints) == (again.flags, again.hints)
