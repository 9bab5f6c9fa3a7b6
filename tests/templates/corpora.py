"""Where do the tools of real agents and MCP servers come from (corpora)?

None is kept here: agents are pointed at `record`, and MCP servers are asked.
"""

import json
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

Tools = Sequence[Mapping[str, Any]]
"""Tools with `name`, `description` and `input_schema`."""

_MCP_VERSION = "2025-06-18"

_DESCRIBED = 24
"""Characters that are kept of a description: to the tiny model each is a token, and no parser reads them."""

_MOST_BYTES = 4_000
"""Tools of one request: what reading costs grows with the square of it."""


def of_server(command: str) -> tuple[str, Tools]:
    """Return the name of an MCP server and its tools, asked over its standard streams.

    Args:
        command: Its command line.

    Raises:
        ValueError: It does not answer.
    """
    process = subprocess.Popen(
        shlex.split(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        client = {"name": "relayd-tests", "version": "1"}
        begin = {"protocolVersion": _MCP_VERSION, "capabilities": {}, "clientInfo": client}
        info = _ask(process, 1, "initialize", begin)["serverInfo"]
        _send(process, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        tools = _ask(process, 2, "tools/list", {})["tools"]
    finally:
        process.kill()
        process.wait()
    found = [_tool(one["name"], one.get("description", ""), one.get("inputSchema", {})) for one in tools]
    return str(info["name"]), found


def _send(process: "subprocess.Popen[str]", message: object) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def _ask(process: "subprocess.Popen[str]", number: int, method: str, params: object) -> dict[str, Any]:
    assert process.stdout is not None
    _send(process, {"jsonrpc": "2.0", "id": number, "method": method, "params": params})
    for line in process.stdout:
        answer = json.loads(line) if line.startswith("{") else {}
        if answer.get("id") == number and "result" in answer:
            return dict(answer["result"])
    raise ValueError(f"{method} was not answered")


def of_request(body: Mapping[str, Any]) -> Tools:
    """Return the tools of a recorded request, of any API; what runs at the provider is left out."""
    return [*_flat(body.get("tools") or ())]


def _flat(tools: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for one in tools:
        function = one.get("function", one)
        yield from _flat(one.get("tools", ()))
        schema = function.get("input_schema", function.get("parameters"))
        if isinstance(schema, dict) and "name" in function:
            yield _tool(function["name"], function.get("description", ""), schema)


def groups(tools: Tools) -> Iterator[Tools]:
    """Yield tools in groups that the tiny model reads within a second; each tool is in one."""
    group: list[Mapping[str, Any]] = []
    for one in tools:
        if group and len(json.dumps([*group, one])) > _MOST_BYTES:
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def _tool(name: str, description: str, schema: object) -> Mapping[str, Any]:
    return {"name": name, "description": description[:_DESCRIBED], "input_schema": _shortened(schema)}


def _shortened(schema: object) -> Any:
    if isinstance(schema, list):
        return [_shortened(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: value[:_DESCRIBED] if name == "description" and isinstance(value, str) else _shortened(value)
        for name, value in schema.items()
    }


def record(folder: Path, port: int) -> None:
    """Write each request with tools to a file, until interrupted; answer none.

    Args:
        folder: Where to; files are named by the path and the number of tools.
        port: On loopback.
    """
    folder.mkdir(parents=True, exist_ok=True)

    class Recorder(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if tools := of_request(json.loads(body or b"{}")):
                door = self.path.partition("?")[0].strip("/").replace("/", "-")
                (folder / f"{door}-{len(tools)}.json").write_bytes(body)
            self.send_error(400)

    with HTTPServer(("127.0.0.1", port), Recorder) as server:
        server.serve_forever()
