"""Daemons that end by SIGKILL, each at a step of a launch; arguments: engine, folder, steps."""

import os
import signal
import sys
from pathlib import Path

from tests.contract.stage import Stage


def crash(engine: Path, home: Path, fatal: str) -> None:
    """Launch a replica, and never come back from the step."""
    stage = Stage(engine, home)

    def at(step: str) -> None:
        if step == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    stage.launcher(at=at).launch(stage.planned(), 1)


def main() -> None:
    """Crash once for each step, in a process and a folder of its own."""
    engine, home, *steps = sys.argv[1:]
    for step in steps:
        child = os.fork()
        if not child:
            crash(Path(engine), Path(home) / step, step)
        _, status = os.waitpid(child, 0)
        assert -signal.SIGKILL == os.waitstatus_to_exitcode(status), step


if __name__ == "__main__":
    main()
