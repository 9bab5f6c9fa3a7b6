"""Which process is the engine, of those that bubblewrap makes?

bubblewrap stays: one process waits outside for the end, one is the first inside and reaps. The engine is the
child of that one. Its pid is what is watched, measured and remembered, as without a sandbox; signals go to
the group inside, in which the first process ignores SIGTERM and takes the others with it when it is killed.
"""

import contextlib
import os
import select
import subprocess
import time
from pathlib import Path

import msgspec
import psutil

from relayd.errors import EngineError

_FOUND_SECONDS = 30.0
"""How long bubblewrap may take until the engine is there: 10 ms, on a loaded machine 100."""

_LOOK_SECONDS = 0.002
_SIGNALLED = 128


class _SandboxInfo(msgspec.Struct):
    """What bubblewrap writes about the sandbox (`--info-fd`)."""

    child: int = msgspec.field(name="child-pid")


def engine_in(monitor: subprocess.Popen[bytes], info: int) -> tuple[int, int]:
    """Return the pid of the engine, and its group. Blocks.

    Args:
        monitor: bubblewrap.
        info: Descriptor of what it writes about the sandbox.

    Raises:
        EngineError: The sandbox cannot be made.
        ChildProcessError: The engine has ended already.
    """
    deadline = time.monotonic() + _FOUND_SECONDS
    group = _first_inside(info, deadline)
    while time.monotonic() < deadline:
        if children := _children(group):
            return children[0], group
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = monitor.wait(_LOOK_SECONDS)
            raise ChildProcessError(0, f"bubblewrap ended with {code} before the engine was there")
    raise _not_made()


def _first_inside(info: int, deadline: float) -> int:
    """Return the process that is the first inside."""
    written = b""
    while b"}" not in written:
        ready, _, _ = select.select([info], [], [], max(0.0, deadline - time.monotonic()))
        if not ready or not (more := os.read(info, 4096)):
            raise _not_made()
        written += more
    return msgspec.json.decode(written, type=_SandboxInfo).child


def _not_made() -> EngineError:
    return EngineError(
        "bubblewrap could not make a sandbox: the log of the replica has its reason.",
        remedy='Allow user namespaces, or set [replicas] sandbox = "none"; `relayd doctor` tries it.',
    )


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:  # a kernel without that file, or the process is gone
        with contextlib.suppress(psutil.Error):
            return [one.pid for one in psutil.Process(pid).children()]
        return []


def as_signalled(code: int) -> int:
    """Return the exit code of the engine by that of bubblewrap, which cannot end by a signal in its place."""
    return _SIGNALLED - code if code > _SIGNALLED else code
