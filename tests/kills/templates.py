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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relayd.cli.engine import lend_installer
from relayd.engine import ensure
from relayd.folders import cache_dir
from relayd.router.continuation import Broken, continued
from relayd.router.headers import Call
from tests.daemons import wait_until
from tests.ggufs import TINY, make_model

PORT = 18_790
PATH = "/v1/chat/completions"
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look something up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}
CASES: Mapping[str, Broken] = {
    "in reasoning": Broken(reasoning="First of all"),
    "after reasoning": Broken(text="The answer", reasoning="First of all."),
    "content only": Broken(text="The answer"),
}


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


def compared(broken: Broken, *, tools: bool) -> tuple[str, str]:
    """Return what became of one prompt, and what stands between the first one and what was generated.

    Where there was no reasoning, anything in between is something that the model has not seen.
    """
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Why?"}], "stream": True}
    if tools:
        asked["tools"] = [TOOL]
    call = Call(PATH, json.dumps(asked).encode(), stream=True)
    before, after = rendered(call.body), rendered(continued(call, broken).body)
    if before is None or after is None:
        return ("not rendered" if before is None else "not continued"), ""
    generated = broken.reasoning or broken.text
    between, found, _ = after[len(before) :].partition(generated)
    if not after.startswith(before) or not found:
        return "differs", ""
    return ("inserts" if between and not broken.reasoning else "begins"), between


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
                for tools in (False, True):
                    for name, broken in CASES.items():
                        label = f"{name}, {'with' if tools else 'without'} tools"
                        outcome, between = compared(broken, tools=tools)
                        counts.setdefault(label, Counter())[outcome] += 1
                        sys.stdout.write(f"{file.stem:50} {label:32} {outcome:13} {between[:40]!r}\n")
            sys.stdout.flush()
    for label, found in counts.items():
        sys.stdout.write(f"{label:32} {dict(found)}\n")


if __name__ == "__main__":
    main()
