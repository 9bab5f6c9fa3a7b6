"""The devices that a llama-server lists."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from relayd.engine.environment import probe_environment
from relayd.errors import EngineError

FLAG = "--list-devices"

TIMEOUT_SECONDS = 30.0
"""How long a listing may take: 20 ms on a CPU, seconds where a GPU driver starts; it may hang."""


def list_devices(
    binary: Path,
    parent: Mapping[str, str],
    cuda_order: Sequence[str] = (),
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> str:
    """Return what `binary --list-devices` prints.

    Args:
        binary: The llama-server; absolute.
        parent: Our environment, of which the binary sees an allow-list.
        cuda_order: UUIDs of CUDA devices, which it then lists in this order and without others.
        timeout_seconds: How long it may take.

    Raises:
        EngineError: It does not run here, knows no such flag, or does not answer.
    """
    environ = probe_environment(parent)
    if cuda_order:
        environ["CUDA_VISIBLE_DEVICES"] = ",".join(cuda_order)
    try:
        done = subprocess.run(
            [binary, FLAG],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environ,
            timeout=timeout_seconds,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"{binary} {FLAG} did not answer within {timeout_seconds:g} s",
            remedy="A GPU or its driver hangs: see dmesg.",
        ) from error
    except OSError as error:
        raise EngineError(
            f"{binary} cannot be run: {os.strerror(error.errno or 0)}",
            remedy="Install one for this machine with `relayd engine install`.",
        ) from error
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}"
        raise EngineError(f"{binary} {FLAG} failed: {last}", remedy="Run `relayd engine install`.")
    return done.stdout
