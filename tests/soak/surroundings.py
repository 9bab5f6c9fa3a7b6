"""Which parts of the system around a service can be bent here: its clock, its memory, its folders?"""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")
_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class WallClock:
    """The wall clock of some processes, by a library that is loaded before their own.

    Attributes:
        library: `clock.c`, compiled.
        file: Holds by how many seconds it goes before the true time.
    """

    library: Path
    file: Path

    @classmethod
    def make(cls, folder: Path) -> "WallClock | None":
        """Return a clock that goes right; None where no C compiler is."""
        clock = cls(folder / "clock.so", folder / "clock")
        compiler = shutil.which("cc")
        command = (compiler or "", "-shared", "-fPIC", "-O1", "-o", clock.library, _SOURCE)
        if compiler is None or subprocess.run(command, check=False).returncode:
            return None
        clock.step(0)
        return clock

    def step(self, seconds: int) -> None:
        """Show another time from now on; written in place, for it is mapped."""
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, struct.pack("l", seconds))
        os.close(descriptor)

    def environ(self) -> dict[str, str]:
        """Return what a process needs to live by this clock."""
        return {"LD_PRELOAD": str(self.library), "SOAK_CLOCK": str(self.file)}


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A control group of our own that holds one process and leaves it no memory.

    Attributes:
        folder: Of the group.
        limit: The file of its limit, which differs between the two versions.
    """

    folder: Path
    limit: str

    @classmethod
    def make(cls) -> "MemoryGroup | None":
        """Return a group without a limit; None where this user or this system allows none."""
        for mount, limit in ((_GROUPS, "memory.max"), (_GROUPS / "memory", "memory.limit_in_bytes")):
            group = cls(mount / f"relayd-soak-{os.getpid()}", limit)
            with suppress(OSError):
                group.folder.mkdir()
                if (group.folder / limit).exists():
                    return group
                group.close()
        return None

    def take(self, pid: int, nbytes: int) -> None:
        """Take a process in, whose further memory may come to so much; a process that is gone is fine."""
        (self.folder / self.limit).write_text(str(nbytes))
        with suppress(OSError):
            (self.folder / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """Remove the group; what still lives in it stays there."""
        with suppress(OSError):
            self.folder.rmdir()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write below a folder; what is open already goes on.

    Raises:
        CalledProcessError: This user may not mount.
    """
    # In the moment between the two calls somebody may open a file for writing, which makes the second fail.
    while True:
        subprocess.run(("mount", "--bind", folder, folder), check=True)
        if not subprocess.run(("mount", "-o", "remount,bind,ro", folder), check=False).returncode:
            break
        subprocess.run(("umount", "-l", folder), check=True)
    try:
        yield
    finally:
        subprocess.run(("umount", "-l", folder), check=True)
