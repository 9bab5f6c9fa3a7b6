"""Which command line runs a llama-server in a sandbox (bubblewrap)?

What is inside sees no network, no other process, a /tmp of its own, and of the disk what it needs to run: the
system's programs and libraries, its own binary, the files of its model, all of them read-only. It writes to
one folder, where its socket is. Nothing ends it with its parent: replicas outlive the daemon.
"""

import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "bwrap"

_TRY_SECONDS = 10.0

REMEDY = 'Install bubblewrap (`apt install bubblewrap`), or set [replicas] sandbox = "none".'

_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/gnu/store", "/sys",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime",
    "/etc/OpenCL", "/etc/vulkan", "/etc/glvnd",
)  # fmt: skip
"""What programs run on: libraries, the topology of processors, and where drivers of GPUs are named."""

DEVICES = ("nvidia*", "dri", "kfd")
"""Files below /dev through which models use GPUs."""

_TMP = Path("/tmp")  # noqa: S108 - the sandbox's own


@dataclass(frozen=True, slots=True)
class SandboxFolder:
    """Where what runs inside may write.

    Attributes:
        outside: The folder.
        inside: Where it is seen, and what runs inside begins.
    """

    outside: Path
    inside: Path


def sandboxed(
    program: Path,
    command: Sequence[str],
    *,
    readable: Iterable[Path],
    folder: SandboxFolder,
    devices: Iterable[Path] = (),
    variables: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the arguments of bubblewrap that run a command; its own path is the first one.

    Args:
        program: bubblewrap.
        command: Argv of what runs inside.
        readable: Files and folders that it reads, besides the system's.
        folder: Where it may write.
        devices: Files of GPUs.
        variables: What is set inside only: the tags of a replica, which bubblewrap itself must not carry.
    """
    found = [str(program), "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]
    found += ["--new-session", "--cap-drop", "ALL"]
    for path in _SYSTEM:
        found += ["--ro-bind-try", path, path]
    found += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", str(_TMP)]
    for device in devices:
        found += ["--dev-bind-try", str(device), str(device)]
    found += ["--bind", str(folder.outside), str(folder.inside), "--chdir", str(folder.inside)]
    for one in dict.fromkeys(readable):
        found += ["--ro-bind", str(one), str(one)]
    for name, value in {**variables, "HOME": str(_TMP), "TMPDIR": str(_TMP)}.items():
        found += ["--setenv", name, value]
    return (*found, "--", *command)


def folders_of(binary: Path) -> list[Path]:
    """Return the folders of a program and of the libraries that come with it."""
    here = binary.resolve().parent
    beside = [here.parent / name for name in ("lib", "lib64")] if here.name == "bin" else []
    return [here, *(folder for folder in beside if folder.is_dir())]


def why_unusable(path: str | None = None) -> str:
    """Return why no sandbox can be made on this machine; "" where one can. Blocks.

    Args:
        path: Where programs are looked for; None for this process's own.
    """
    if (program := shutil.which(PROGRAM, path=path)) is None:
        return "bubblewrap is not installed"
    argv = [program, "--unshare-net", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "--", "true"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TRY_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run: {error}"
    return f"bubblewrap makes none: {done.stderr.strip()[-200:]}" if done.returncode else ""
