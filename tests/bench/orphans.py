"""On how many requests does an engine work, by its own log, and for how long unknown to relayd (orphans)?"""

import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from relayd.endpoint import Endpoint, UnixAddress
from relayd.secret import Secret
from tests.ggufs import SLOW, make_model

SLOTS, REPLICAS, BATCH = 2, 2, 512
WARM = "m"
_WORKS, _RESTS = b"processing task, is_child = 0", b"stop processing"
_STAMP = re.compile(rb"(\d+)\.(\d\d)\.(\d{3})\.(\d{3}) ")
"""Minutes, seconds, milliseconds and microseconds since the engine began."""


class Engine:
    """A llama-server; its log shows when it is done with a request."""

    def __init__(self, path: Path, model: Path, folder: Path, number: int) -> None:
        self.name, self._steps = f"{WARM}#{number}", list[tuple[float, int]]()
        self._began = float("inf")
        flags = f"--host {number}.sock -t 1 -np {SLOTS} -c {4096 * SLOTS} -b {BATCH} --cache-ram 0 --no-ui"
        self.process = subprocess.Popen(
            [path, "-m", model, *flags.split()],
            cwd=folder,
            env={"LLAMA_API_KEY": "k"},
            stderr=subprocess.PIPE,
        )
        self.endpoint = Endpoint(UnixAddress(folder / f"{number}.sock"), Secret("k"), self.name, 1)
        self.ready = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def works(self) -> int:
        """On how many requests it works, by its log."""
        return sum(step for _, step in self._steps)

    @property
    def steps(self) -> list[tuple[float, int]]:
        """When it took a request up (1), and was done with one (-1); monotonic seconds."""
        return [(self._began + at, step) for at, step in self._steps]

    def _read(self) -> None:
        for line in self.process.stderr or ():
            if not (found := _STAMP.match(line)):
                continue
            minutes, seconds, ms, us = map(int, found.groups())
            at = 60 * minutes + seconds + ms / 1e3 + us / 1e6
            self._began = min(self._began, time.monotonic() - at)  # no line is read before it is written
            if b"listening on" in line:
                self.ready.set()
            elif step := (_WORKS in line) - (_RESTS in line):
                self._steps.append((at, step))

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self._reader.join()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def engines(path: Path) -> Iterator[list[Engine]]:
    """Lend two engines that serve."""
    folder = Path(tempfile.mkdtemp(prefix="can"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        model = make_model(folder / "slow.gguf", SLOW)
        found = []
        for number in range(REPLICAS):
            found.append(Engine(path, model, folder, number))
            stack.callback(found[-1].end)
        for one in found:
            one.ready.wait(60)
        yield found


def orphans(engine: list[tuple[float, int]], counted: list[tuple[float, int]]) -> list[tuple[float, float]]:
    """Return when an engine worked on more requests than relayd counted: beginnings, and slot-seconds.

    Args:
        engine: When it took one up (1) and was done with one (-1).
        counted: When relayd counted a slot as taken, and as free.
    """
    found, excess, before, area = list[tuple[float, float]](), 0, 0.0, 0.0
    for moment, step in sorted([*engine, *((moment, -step) for moment, step in counted)]):
        if excess > 0:
            area += excess * (moment - before)
        if excess <= 0 < excess + step:
            area, began = 0.0, moment
        if excess + step <= 0 < excess:
            found.append((began, area))
        excess, before = excess + step, moment
    return found
