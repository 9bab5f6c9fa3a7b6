"""What do clients get whose model cannot be loaded, and when? `python -m tests.bench.loads`

Four clients, one after the other, of a damaged file, of a model that is too large, and of one whose engine
is killed as it loads. Needs a llama-server: LLAMA_SERVER_PATH, or the one that relayd has installed.
"""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from tests.daemon.test_residence import LINE, ask, spoil
from tests.daemons import FAST, Daemon
from tests.ggufs import SLOW, TINY, make_model

CLIENTS = 4
APART_SECONDS = 0.3
PATIENCE_SECONDS = 60.0

Answer = tuple[str, float]
"""What a client got, and after how many seconds."""


def main() -> None:
    """Measure once, and print a row for each way to fail."""
    home = Path(tempfile.mkdtemp(prefix="lo"))
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine").path
    try:
        measure(home, engine)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def measure(home: Path, engine: Path) -> None:
    """Print what clients get of models that cannot be loaded."""
    tiny = make_model(home / "tiny.gguf", TINY)
    spoil(Path(shutil.copy(tiny, home / "bad.gguf")))
    make_model(home / "slow.gguf", SLOW)
    lines = (
        *(f'[[model]]\nname = "{name}"\nfile = "{home}/{name}.gguf"\n{LINE}' for name in ("bad", "slow")),
        f'[[model]]\nname = "large"\nfile = "{home}/slow.gguf"\nload = "demand"\nslots = 64\n',
    )
    daemon = Daemon(home, engine, f"[memory]\nhost_mib = 700\n{FAST}{''.join(lines)}", (), {})
    print(f"{CLIENTS} clients, each {APART_SECONDS} s after the one before: what each got, after how long")
    try:
        daemon.await_event("listening")
        for name, model, meanwhile in (
            ("damaged file", "bad", None),
            ("the same again, within its backoff", "bad", None),
            ("too large", "large", None),
            ("killed as it loads", "slow", _kill_once),
        ):
            answers = _asked(daemon, model, meanwhile)
            cells = (f"{what} {seconds:5.2f} s" for what, seconds in answers)
            print(f"{name:36} {'   '.join(cells)}", flush=True)
    finally:
        daemon.end()


def _asked(daemon: Daemon, model: str, meanwhile: Callable[[Daemon, str], None] | None) -> list[Answer]:
    def one(number: int) -> Answer:
        threading.Event().wait(number * APART_SECONDS)
        began = time.monotonic()
        status, body, after = ask(daemon, model)
        code = body["error"]["code"] if status != 200 else ""
        what = " ".join(filter(None, (str(status), code, after and f"retry {after}")))
        return what, time.monotonic() - began

    with ThreadPoolExecutor(CLIENTS) as pool:
        found = pool.map(one, range(CLIENTS))
        if meanwhile:
            meanwhile(daemon, model)
        return list(found)


def _kill_once(daemon: Daemon, model: str) -> None:
    """Kill the engine of a model as soon as there is one."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends_at:
        if pid := daemon.replicas()[f"{model}#0"]["pid"]:
            os.kill(pid, signal.SIGKILL)
            return
        threading.Event().wait(0.005)


if __name__ == "__main__":
    main()
