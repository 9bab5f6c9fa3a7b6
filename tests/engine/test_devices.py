"""What an engine lists when it is asked for its devices."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from relayd.engine import Engine
from relayd.engine.devices import list_devices
from relayd.errors import EngineError


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """Write a program that stands in for llama-server."""

    def write(body: str) -> Path:
        path = tmp_path / "llama-server"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o700)
        return path

    return write


@pytest.mark.real
def test_the_engine_lists_its_devices(engine: Engine) -> None:
    assert list_devices(engine.path, os.environ).startswith("Available devices:")


@pytest.mark.fake
def test_only_standard_output_counts_and_the_environment_is_scrubbed(script: Callable[[str], Path]) -> None:
    binary = script('echo noise >&2; echo "$1 [$LLAMA_ARG_DEVICE] [$CUDA_VISIBLE_DEVICES]"')
    parent = {"LLAMA_ARG_DEVICE": "none", "CUDA_VISIBLE_DEVICES": "7"}

    assert "--list-devices [] [7]\n" == list_devices(binary, parent)
    assert "--list-devices [] [GPU-b,GPU-a]\n" == list_devices(binary, parent, ("GPU-b", "GPU-a"))


@pytest.mark.fake
def test_an_engine_without_the_flag_is_told_by_its_own_words(script: Callable[[str], Path]) -> None:
    binary = script("echo starting >&2; echo 'error: unknown argument: --list-devices' >&2; exit 1")

    with pytest.raises(EngineError, match="failed: error: unknown argument"):
        list_devices(binary, {})


@pytest.mark.fake
def test_a_driver_that_hangs_is_not_waited_for(script: Callable[[str], Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    binary = script(f"exec < {tmp_path / 'never'}")

    with pytest.raises(EngineError, match=r"did not answer within 0\.05 s"):
        list_devices(binary, {}, timeout_seconds=0.05)


@pytest.mark.fake
def test_a_missing_binary_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="relayd engine install"):
        list_devices(tmp_path / "none", {})
