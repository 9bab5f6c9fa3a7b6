"""Photograph every page of the dashboard, and audit it with axe-core: `python -m tests.web FOLDER`.

A fleet of its own is behind it: a model that answers, one that queues, one that failed, keys and a batch.
Pages are taken light and dark, 1280 and 390 wide. axe-core comes from npm, or from `--axe FILE`. Exits with
1 if it finds a violation, or a page has a fault.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from tests.daemons import DEADLINE_SECONDS, FAST, Daemon, wait_until
from tests.ggufs import SLOW, TINY, make_model
from tests.web.browser import Dashboard, chromium, dashboard

SCHEMES = ("light", "dark")
WIDTHS = (1280, 390)


def main() -> int:
    """Photograph and audit, print what was found, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.web", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--axe", type=Path, metavar="FILE", help="axe.min.js, if npm shall not fetch it")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as lent:
        axe = (given.axe or fetched_axe(Path(scratch))).read_text("utf-8")
        daemon = lent.enter_context(fleet(Path(scratch)))
        browser = lent.enter_context(chromium())
        found = [
            fault
            for scheme in SCHEMES
            for width in WIDTHS
            for fault in audited(browser, daemon, scheme, width, axe, given.folder)
        ]
    print("\n".join(found) or "no violation and no fault")
    return int(bool(found))


def fetched_axe(folder: Path) -> Path:
    """Fetch axe-core from npm, and return the path of its script."""
    subprocess.run(["npm", "pack", "--silent", "axe-core"], cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob("axe-core-*.tgz")
    with tarfile.open(archive) as files:
        files.extract("package/axe.min.js", folder, filter="data")
    return folder / "package" / "axe.min.js"


@contextmanager
def fleet(folder: Path) -> Iterator[Daemon]:
    """Lend a daemon with something to see on each page."""
    make_model(folder / "quick.gguf", TINY)
    make_model(folder / "slow.gguf", SLOW)
    whole = (folder / "quick.gguf").read_bytes()
    (folder / "broken.gguf").write_bytes(whole[: len(whole) * 2 // 3])
    models = "".join(
        f'[[model]]\nname = "{name}"\nfile = "{folder / name}.gguf"\nslots = {slots}\ncontext = 4096\n'
        for name, slots in (("quick", 4), ("slow", 2), ("broken", 1))
    )
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine")
    home = folder / "home"
    home.mkdir()
    daemon = Daemon(home, engine.path, FAST + models, (), {})
    try:
        daemon.await_event("listening")
        wait_until(lambda: daemon.replicas()["slow#0"]["state"] == "ready")
        used(daemon)
        yield daemon
    finally:
        daemon.end()


def used(daemon: Daemon) -> None:
    """Let a daemon have answered, be answering, and have others wait."""
    for _ in range(12):
        ask(daemon, "quick", 40)
    for _ in range(4):
        threading.Thread(target=ask, args=(daemon, "slow", 4000), daemon=True).start()
    daemon.run("keys", "create", "laptop", "--limit", "rpm=60,in_flight=4", "--expires", "90d")
    lines = daemon.home / "nightly.jsonl"
    body = {"model": "slow", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 400}
    lines.write_text(
        "".join(
            json.dumps({"custom_id": str(at), "method": "POST", "url": "/v1/chat/completions", "body": body})
            + "\n"
            for at in range(20)
        )
    )
    daemon.run("batch", "submit", str(lines))


def ask(daemon: Daemon, model: str, tokens: int) -> None:
    body = {"model": model, "prompt": "on and on " * 20, "max_tokens": tokens, "ignore_eos": True}
    request = urllib.request.Request(
        f"{daemon.url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=DEADLINE_SECONDS).close()
    except OSError:
        return  # the daemon has ended meanwhile


def audited(
    browser: Browser, daemon: Daemon, scheme: str, width: int, axe: str, folder: Path
) -> Iterator[str]:
    """Yield what is wrong with each page of one look."""
    look: dict[str, Any] = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with dashboard(browser, **look) as opened:
        opened.enter(daemon)
        for name in opened.names():
            opened.go(name)
            opened.page.locator("#main h1").first.wait_for(state="attached")
            opened.page.locator(".loading").wait_for(state="detached")
            prepared(opened, name)
            file = f"{name.lower().replace(' ', '-')}-{scheme}-{width}.png"
            opened.page.screenshot(path=folder / file, full_page=True)
            opened.page.evaluate(axe)
            for one in opened.page.evaluate("axe.run().then((found) => found.violations)"):
                where = ", ".join(" ".join(node["target"]) for node in one["nodes"][:3])
                yield f"{name} {scheme} {width}: {one['impact']} {one['id']}: {one['help']} ({where})"
        yield from (f"{scheme} {width}: {fault}" for fault in opened.faults)


def prepared(opened: Dashboard, name: str) -> None:
    """Bring a page to where there is something to see."""
    if name == "Setup":
        opened.reads("cores")
    elif name == "Playground" and not opened.page.locator(".message").count():
        opened.page.locator("#main select").first.select_option("quick")
        field = opened.page.get_by_label("Message", exact=True)
        field.fill("Hello")
        field.press("Enter")
        opened.page.locator(".figures", has_text="tokens/s").wait_for()


if __name__ == "__main__":
    sys.exit(main())
