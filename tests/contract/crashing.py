"""Daemons that end by SIGKILL, each at a step of a launch; arguments: engine, folder, steps.

A step is the moment before the launch touches the system again: Python's audit hook is called for each file
that is opened and each process that is started (PEP 578), so the launcher needs no hook of its own.
"""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.contract.stage import Stage, launched


def _opens(ending: str) -> Callable[[str, tuple[object, ...]], bool]:
    return lambda event, args: event == "open" and str(args[0]).endswith(ending)


STEPS: Mapping[str, Callable[[str, tuple[object, ...]], bool]] = {
    "intend": _opens(".lock"),
    "locked": _opens(".key"),
    "keyed": _opens(".log"),
    "opened": lambda event, _: event == "subprocess.Popen",
    "started": _opens("/oom_score_adj"),
    "spawned": lambda event, args: event == "tempfile.mkstemp" and ".json." in str(args[0]),
    "recorded": lambda event, _: event == "relayd.launched",
}
"""Step -> whether an audited event is the first one after it."""


def crash(engine: Path, home: Path, fatal: str) -> None:
    """Launch a replica, and never come back from the step."""
    stage = Stage(engine, home)
    launcher, planned = stage.launcher(), stage.planned()
    is_next = STEPS[fatal]

    def audit(event: str, args: tuple[object, ...]) -> None:
        if is_next(event, args):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)
    launched(launcher, planned, 1)
    sys.audit("relayd.launched")


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
