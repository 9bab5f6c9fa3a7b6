"""Does every chat template get an answer for the tools of real agents? `python -m tests.templates`

    python -m tests.templates record FOLDER [--port 18800]
    python -m tests.templates check [SOURCE] [--requests FOLDER] [--mcp COMMAND]...

`record` keeps what agents send that are pointed at it. `check` runs a daemon for each template, and sends it
the tools of each recorded request and each MCP server through three APIs, some at a time and with shortened
descriptions, behind a call that was cut off. SOURCE is a folder of templates or llama.cpp's source
distribution; without it that is fetched from PyPI. Exits with 1 where a request that the window holds is not
answered with 200.
"""

import argparse
import io
import json
import re
import sys
import tarfile
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from itertools import chain
from pathlib import Path
from typing import Any

from relayd.cli.engine import lend_installer
from relayd.engine import build, ensure
from relayd.folders import cache_dir
from tests.daemons import DEADLINE_SECONDS, Daemon
from tests.ggufs import TINY, make_model
from tests.templates.corpora import Tools, groups, of_request, of_server, record

CONTEXT = 32_768
"""Tokens of the window; to the tiny model each byte is one."""

CONFIG = """\
[[model]]
name = "m"
file = "{file}"
slots = 1
context = {context}
threads = 2
"""
INDEX = f"https://pypi.org/simple/{build.PACKAGE}/"


def templates_of(source: Path | None) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of templates."""
    if source is not None and source.is_dir():
        for file in sorted(source.glob("*.jinja")):
            yield file.stem, file.read_text()
        return
    data = source.read_bytes() if source is not None else _fetched()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in sorted(archive.getmembers(), key=lambda one: one.name):
            if re.search(r"models/templates/[^/]+\.jinja$", member.name):
                content = archive.extractfile(member)
                assert content is not None
                yield Path(member.name).stem, content.read().decode()


def _fetched() -> bytes:
    """Return the source distribution that relayd builds from."""
    page = urllib.request.urlopen(INDEX).read().decode()
    found = re.search(rf'href="([^"]+-{re.escape(build.VERSION)}\.tar\.gz)#', page)
    assert found, f"{INDEX} has no version {build.VERSION}"
    data: bytes = urllib.request.urlopen(found[1]).read()
    assert sha256(data).hexdigest() == build.SHA256
    return data


def requests(tools: Tools) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield a name, a path and a body for each API: all tools, behind a call that was cut off."""
    name = tools[0]["name"]
    functions = [
        {"type": "function", "function": {**_described(one), "parameters": one["input_schema"]}}
        for one in tools
    ]
    flat = [{"type": "function", **_described(one), "parameters": one["input_schema"]} for one in tools]
    cut = {"id": "call00001", "type": "function", "function": {"name": name, "arguments": '{"a": '}}
    yield "chat", "/v1/chat/completions", {
        "messages": [
            {"role": "system", "content": "s"}, {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [cut]},
            {"role": "tool", "tool_call_id": "call00001", "content": "no"},
            {"role": "system", "content": "late"}, {"role": "user", "content": "go on"},
        ],
        "tools": functions,
        "max_tokens": 1,
    }  # fmt: skip
    yield "messages", "/v1/messages", {
        "system": "s",
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": name, "input": {}}]},
            {"role": "user", "content": "go on"},
        ],
        "tools": [*tools],
        "max_tokens": 1,
    }  # fmt: skip
    yield "responses", "/v1/responses", {
        "instructions": "s",
        "input": [
            {"role": "user", "content": "hi"},
            {"type": "function_call", "call_id": "c1", "name": name, "arguments": '{"a": '},
            {"type": "function_call_output", "call_id": "c1", "output": "no"},
            {"role": "developer", "content": "late"}, {"role": "user", "content": "go on"},
        ],
        "tools": flat,
        "max_output_tokens": 1,
    }  # fmt: skip


def _described(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": tool["name"], "description": tool["description"]}


def ask(url: str, path: str, body: Mapping[str, Any]) -> tuple[int, str]:
    """Return the status of an answer, and its text."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=DEADLINE_SECONDS)
    sent = json.dumps({"model": "m", **body})
    try:
        connection.request("POST", path, sent, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()


def check(text: str, corpora: Mapping[str, Tools], folder: Path, engine: Path) -> Counter[str]:
    """Send everything to a daemon with one template; print what is not answered, and count."""
    model = make_model(folder / "m.gguf", replace(TINY, n_layer=1, template=text, n_context=CONTEXT))
    daemon = Daemon(folder, engine, CONFIG.format(file=model, context=CONTEXT), (), {})
    counts: Counter[str] = Counter()
    try:
        daemon.await_event("try")
        for corpus, tools in corpora.items():
            for api, path, body in chain.from_iterable(map(requests, groups(tools))):
                status, answer = ask(daemon.url, path, body)
                is_too_long = status == 400 and ("context" in answer or "too long" in answer)
                counts["too long" if is_too_long else str(status)] += 1
                if status != 200 and not is_too_long:
                    _say(f"    {corpus}, {api}: {status} {' '.join(answer.split())[:200]}")
    finally:
        daemon.end()
    return counts


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Record, or check and print a line for each template."""
    parser = argparse.ArgumentParser(prog="python -m tests.templates", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("record")
    one.add_argument("folder", type=Path)
    one.add_argument("--port", type=int, default=18_800)
    one = commands.add_parser("check")
    one.add_argument("source", type=Path, nargs="?")
    one.add_argument("--requests", type=Path)
    one.add_argument("--mcp", action="append", default=[])
    asked = parser.parse_args()
    if asked.command == "record":
        record(asked.folder, asked.port)
        return 0
    corpora = dict(of_server(command) for command in asked.mcp)
    for file in sorted(asked.requests.glob("*.json")) if asked.requests else ():
        corpora[file.stem] = of_request(json.loads(file.read_bytes()))
    if not corpora:
        parser.error("name recorded requests or MCP servers")
    for name, tools in corpora.items():
        _say(f"{name}: {len(tools)} tools, {len(json.dumps(tools)):,} bytes")
    with lend_installer() as installer:
        engine = ensure(installer, cache=cache_dir() / "engine").path
    total: Counter[str] = Counter()
    for name, text in templates_of(asked.source):
        with tempfile.TemporaryDirectory() as folder:
            counts = check(text, corpora, Path(folder), engine)
        total += counts
        _say(f"{name}: {dict(counts)}")
    _say(f"all: {dict(total)}")
    return bool(total.keys() - {"200", "too long"})


if __name__ == "__main__":
    sys.exit(main())
