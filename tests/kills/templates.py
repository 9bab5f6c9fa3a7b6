"""Does the prompt of a continued chat begin with the one that was answered? `python -m tests.kills.templates`

    python -m tests.kills.templates FOLDER_OR_FILE ... [--model MODEL]

The engine renders both by `/apply-template`, with each template that is given, for an answer that broke off
in its reasoning, behind it, or that has none, with tools and without. Where the prompt of the continuation
begins otherwise, the model goes on from a text that it never had: such templates are counted, not refused.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from relayd.router import continuation_probes
from tests.daemons import wait_until
from tests.ggufs import TINY, make_model

PORT = 18_790


@contextmanager
def engine(binary: Path, model: Path, template: Path) -> Iterator[None]:
    """Have a llama-server render by a template."""
    flags = f"--port {PORT} -c 512 -np 1 -t 1 --jinja --no-ui --chat-template-file"
    command = [str(binary), "-m", str(model), *flags.split(), str(template)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or _serves())
        yield
    finally:
        process.kill()
        process.wait()


def _serves() -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health").close()
    except OSError:
        return False
    return True


def rendered(body: bytes) -> str | None:
    """Return the prompt of a chat; None where the engine refuses it."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/apply-template", body, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return str(json.load(answer)["prompt"])
    except (OSError, urllib.error.HTTPError):
        return None


def main() -> None:
    """Print a line for each template, and the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills.templates", description=__doc__)
    parser.add_argument("templates", type=Path, nargs="+")
    parser.add_argument("--model", type=Path)
    asked = parser.parse_args()
    with lend_installer() as installer:
        binary = ensure(installer, cache=cache_dir() / "engine").path
    files = [
        file for one in asked.templates for file in (sorted(one.glob("*.jinja")) if one.is_dir() else [one])
    ]
    counts: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = asked.model or make_model(Path(folder) / "tiny.gguf", TINY)
        for file in files:
            with engine(binary, model, file):
                for probe in continuation_probes():
                    outcome, between = probe.compare(rendered(probe.before), rendered(probe.after))
                    counts.setdefault(probe.name, Counter())[outcome] += 1
                    sys.stdout.write(f"{file.stem:50} {probe.name:32} {outcome:13} {between[:40]!r}\n")
            sys.stdout.flush()
    for label, found in counts.items():
        sys.stdout.write(f"{label:32} {', '.join(f'{count} {how}' for how, count in found.items())}\n")


if __name__ == "__main__":
    main()
