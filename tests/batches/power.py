"""What a power cut leaves of the folder of state, at any moment of a batch: does every copy start and finish?

The daemon is stopped (SIGSTOP) while its folder is copied. Of each file the copy has what was in it when it
was last forced to disk (`synced.c`); of one that never was, nothing.
"""

import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from random import Random

from tests.batches.place import Outcome, Place, ask, await_end, lines, outcome, submit
from tests.daemons import Daemon, wait_until

_SOURCE = Path(__file__).with_name("synced.c")


def measure(place: Place, *, number: int, cuts: int, seconds: float, seed: int) -> bool:
    """Cut the power so often during a batch, and let each copy go on; return whether all was there once."""
    random, synced = Random(seed), place.home / "synced"
    library = place.home / "synced.so"
    synced.mkdir()
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, _SOURCE], check=True)
    environ = {"LD_PRELOAD": str(library), "SYNCED_FOLDER": str(synced)}
    daemon = replace(place, environ=environ).start()
    copies: list[Path] = []
    try:
        batch = submit(daemon.url, lines(random, number, 20, 24))
        for cut in range(cuts):
            threading.Event().wait(random.uniform(0.0, 2 * seconds / cuts))
            copies.append(_cut(daemon, place, synced, place.home.with_name(f"{place.home.name}-{cut}")))
    finally:
        daemon.end()
        daemon.leftovers()
    wrong = [copy for copy in copies if not _goes_on(replace(place, home=copy), batch, number)]
    return not wrong


def _cut(daemon: Daemon, place: Place, synced: Path, home: Path) -> Path:
    """Copy what a power cut leaves at this moment into another home."""
    daemon.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: _is_stopped(daemon.process.pid))
    lost = 0
    for path in [one for one in place.state.rglob("*") if one.is_file() and not one.is_symlink()]:
        kept, copy = synced / str(path.stat().st_ino), home / path.relative_to(place.home)
        copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if kept.exists():
            shutil.copyfile(kept, copy)
        else:
            copy.touch()
        copy.chmod(0o600)
        lost += path.stat().st_size - copy.stat().st_size
    daemon.process.send_signal(signal.SIGCONT)
    sys.stdout.write(f"cut {home.name}: {lost:,} bytes that were not forced to disk are lost\n")
    return home


def _is_stopped(pid: int) -> bool:
    """Return whether every thread of a process stands still."""
    states = (
        path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")
    )
    return all(state == "T" for state in states)


def _goes_on(place: Place, batch: str, number: int) -> bool:
    """Start a daemon with a copy and wait for the end of the batch."""
    daemon = place.start()
    try:
        done = ask(daemon.url, "GET", f"/v1/batches/{batch}")["request_counts"]["completed"]
        found = await_end(lambda: daemon.url, batch, 120.0)
        result = outcome(daemon.url, found, number)
    finally:
        daemon.end()
        daemon.leftovers()
        shutil.rmtree(place.home, ignore_errors=True)
    sys.stdout.write(f"{place.home.name}: goes on at {done} of {number}: {result}\n")
    sys.stdout.flush()
    return result == Outcome("completed", 0, 0, 0)
