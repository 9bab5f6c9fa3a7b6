"""Do clients notice an upgrade? `python -m tests.bench.upgrade`

Two replicas of a slow model with 8 slots each, 100 streams open, 20 new requests a second: half of them on
connections that are kept, half on a new one each. In the middle the daemon is replaced; then once more, by
one that crashes.
"""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from tests.daemon.test_faults import config
from tests.daemons import Daemon, sabotage_successors
from tests.ggufs import SLOW, make_model

STREAMS = 100
STREAM_TOKENS = 40
RATE = 20
LOAD_SECONDS = 15.0
UPGRADE_AFTER_SECONDS = 4.0
WHOLE = "whole"


@dataclass
class Load:
    """Requests of three kinds of clients, and how each came out.

    Args:
        url: Of the daemon.
    """

    url: str
    outcomes: dict[str, Counter[str]] = field(
        default_factory=lambda: {"stream": Counter(), "kept": Counter(), "fresh": Counter()}
    )

    async def stream(self, client: aiohttp.ClientSession, tokens: int) -> None:
        self.outcomes["stream"][await self._ask(client, tokens, stream=True)] += 1

    async def kept(self, client: aiohttp.ClientSession) -> None:
        self.outcomes["kept"][await self._ask(client, 3, stream=False)] += 1

    async def fresh(self) -> None:
        async with aiohttp.ClientSession() as client:
            self.outcomes["fresh"][await self._ask(client, 3, stream=False)] += 1

    async def _ask(self, client: aiohttp.ClientSession, tokens: int, *, stream: bool) -> str:
        body = {"model": "slow", "prompt": "x", "max_tokens": tokens, "ignore_eos": True, "stream": stream}
        try:
            async with client.post(f"{self.url}/v1/completions", json=body) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, OSError) as error:
            return repr(error)
        if answer.status != 200:
            return f"{answer.status}: {text}"
        return WHOLE if not stream or text.endswith("data: [DONE]\n\n") else f"cut: {text[-100:]}"


async def run(daemon: Daemon, load: Load) -> dict[str, Any]:
    """Put the load on a daemon, upgrade it in the middle, and return what `relayd upgrade` said."""
    endless = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=endless, timeout=timeout) as client:
        tasks = [asyncio.create_task(load.stream(client, STREAM_TOKENS)) for _ in range(STREAMS)]
        upgrading = asyncio.create_task(_upgrade(daemon))
        end = time.monotonic() + LOAD_SECONDS
        while time.monotonic() < end:
            tasks += [asyncio.create_task(load.kept(client)), asyncio.create_task(load.fresh())]
            await asyncio.sleep(2 / RATE)
        await asyncio.gather(*tasks)
        return await upgrading


async def _upgrade(daemon: Daemon) -> dict[str, Any]:
    await asyncio.sleep(UPGRADE_AFTER_SECONDS)
    old = psutil.Process(daemon.status()["pid"])
    begun = time.monotonic()
    done = await asyncio.to_thread(daemon.run, "upgrade")
    answered = time.monotonic() - begun
    print(f"relayd upgrade: exit {done.returncode} after {answered:.2f} s")
    print((done.stdout + done.stderr).strip())
    if done.returncode == 0:
        while old.is_running() and old.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.05)
        print(f"both daemons lived for {time.monotonic() - begun:.2f} s, from the command on")
    return daemon.replicas()


def main() -> None:
    """Run both and print what happened."""
    home = Path(tempfile.mkdtemp(prefix="u"))
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine")
    queue = "[queue]\ndepth = 1000\n"
    text = queue + config(make_model(home / "slow.gguf", SLOW), slots=8, replicas=2)
    daemon = Daemon(home, engine.path, text, (), {"PYTHONPATH": str(home)})
    try:
        daemon.await_event("try")
        for crash in (False, True):
            print(f"--- {'the new daemon crashes' if crash else 'the new daemon comes up'}")
            if crash:
                sabotage_successors(home)
            before, load = daemon.replicas(), Load(daemon.url)
            after = asyncio.run(run(daemon, load))
            for kind, counted in load.outcomes.items():
                print(f"{kind}: {dict(counted)}")
            replaced = [name for name, one in before.items() if one["pid"] != after[name]["pid"]]
            print(f"replicas restarted: {len(replaced)}")
    finally:
        daemon.end()
        print(f"left behind: {daemon.leftovers() or 'nothing'}")
        shutil.rmtree(home)


if __name__ == "__main__":
    main()
