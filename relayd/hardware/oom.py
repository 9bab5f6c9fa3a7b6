"""Whether the kernel's out-of-memory killer ended a process."""

import contextlib
import os
import re
from pathlib import Path

from relayd.hardware.kernel import group_folders, read_text

_KILLED = re.compile(rb"Killed process (\d+) \(")
"""What the kernel logs for each of its victims (Linux, mm/oom_kill.c)."""

_RECORD_BYTES = 8192
"""A read of less than a whole record fails (Linux, Documentation/ABI/testing/dev-kmsg)."""

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)

_FIRST_NAMESPACE = "pid:[4026531836]"
"""Only there do the log's pids mean the same to us (Linux, PROC_PID_INIT_INO)."""


class OomKills:
    """Distinguishes victims of the kernel's out-of-memory killer from processes killed otherwise.

    The kernel's log names them, where it may be read. Elsewhere the count of this process's
    control group must have risen since the last call: children are in the same group.

    Args:
        root: The folder that holds `dev`, `proc` and `sys`.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._count = self._counted()

    def ended(self, pid: int) -> bool:
        """Return whether a process that has just been killed was such a victim; takes milliseconds."""
        before, self._count = self._count, self._counted()
        victims = self._logged()
        return self._count > before if victims is None else pid in victims

    def _counted(self) -> int:
        _, folders = group_folders(self._root, "memory")
        for folder in folders:
            for name in ("memory.events", "memory.oom_control"):  # of version 2, of version 1
                if found := _COUNT.search(read_text(folder / name)):
                    return int(found[1])
        return 0

    def _logged(self) -> set[int] | None:
        """Return the victims that the kernel's log names; None where it cannot be used."""
        with contextlib.suppress(OSError):
            if str((self._root / "proc/self/ns/pid").readlink()) == _FIRST_NAMESPACE:
                return {int(pid) for pid in _KILLED.findall(_read_log(self._root / "dev/kmsg"))}
        return None


def _read_log(path: Path) -> bytes:
    """Return what the kernel's log still holds.

    Raises:
        OSError: It may not be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    records = []
    try:
        while True:
            with contextlib.suppress(BrokenPipeError):  # a record was overwritten; the next read goes on
                if not (record := os.read(descriptor, _RECORD_BYTES)):
                    break
                records.append(record)
    except BlockingIOError:
        pass  # that was the last one
    finally:
        os.close(descriptor)
    return b"".join(records)
