"""What do clients do, and what did they see? Clients (load.c) and engine (engine.c) are compiled first."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEY = "sk-0123456789abcdef0123456789abcdef"
EVENTS = 64
"""Of each stream."""

_SOURCES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Scenario:
    """What clients do.

    Attributes:
        title: How it is called in tables; the figure is for one request, or one chunk of a stream.
        stream: They ask for streams.
        connections: How many there are; each asks again as soon as it has its answer.
        seconds: For how long they ask.
        gap_us: Microseconds between two events of a stream.
        prompt_bytes: Length of the prompt.
    """

    title: str
    stream: bool
    connections: int
    seconds: float
    gap_us: int = 0
    prompt_bytes: int = 200


SCENARIOS = {
    "one": Scenario("request, 1 connection", stream=False, connections=1, seconds=3),
    "requests": Scenario("request, 32 connections", stream=False, connections=32, seconds=3),
    "prompts": Scenario("request of 32 kB, 32 connections", False, 32, 3, prompt_bytes=32768),
    "chunks": Scenario("chunk, 32 streams", stream=True, connections=32, seconds=4, gap_us=10_000),
    "streams": Scenario("chunk, 1,000 streams", stream=True, connections=1000, seconds=6, gap_us=50_000),
}

Seen = dict[str, float]
"""Counts, seconds, and quantiles in microseconds as load.c prints them: `requests`, `first_byte_p50_us`, …"""


@dataclass(frozen=True, slots=True)
class Programs:
    """The compiled engine and clients."""

    engine: Path
    load: Path

    @contextmanager
    def asking(self, port: int, scenario: Scenario) -> Iterator[Callable[[], Seen]]:
        """Run clients beside what the caller does; the function lent waits for their end.

        Raises:
            SystemExit: They could not even connect.
        """
        stream = (int(scenario.stream), EVENTS, scenario.gap_us)
        given = (port, KEY, scenario.connections, scenario.seconds, scenario.prompt_bytes, *stream)
        command = [str(self.load), *map(str, given)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

            def wait() -> Seen:
                said, _ = process.communicate()
                if process.returncode:
                    raise SystemExit(f"the clients ended with status {process.returncode}: {command}")
                return {name: float(value) for name, value in json.loads(said).items()}

            yield wait

    def ask(self, port: int, scenario: Scenario) -> Seen:
        """Run clients to their end."""
        with self.asking(port, scenario) as wait:
            return wait()


def compiled(folder: Path) -> Programs:
    """Compile the engine and the clients into a folder.

    Raises:
        SystemExit: There is no C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SystemExit("a C compiler is needed (Debian: apt-get install gcc libc6-dev)")
    made = Programs(folder / "engine", folder / "load")
    for program in (made.engine, made.load):
        source = _SOURCES / f"{program.name}.c"
        subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
    return made
