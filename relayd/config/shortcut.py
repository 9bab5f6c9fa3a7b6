"""RelayServe's environment variables, read as a configuration of one model.

    LLAMA_MODEL_PATH    the GGUF that is served
    LLAMA_PORTS         ports of its replicas on 127.0.0.1, one replica each: `8081`, `8081,8083`, `8081-8084`
    LLAMA_SERVER_ARGS   further flags, split as a shell does; those that are settings here become settings
    RELAYSERVE_PORT     where clients connect
    RELAYSERVE_MODEL_ID another name of the model; `relay-gguf` by default
    RELAYSERVE_BACKENDS servers that serve it too, or alone, in turns: URLs with commas

LLAMA_SERVER_PATH, the engine, is read where engines are looked for. RelayServe listened on every interface;
here only this machine gets in, until a `listen` and a key say otherwise.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relayd.config.check import Document, Surroundings, check
from relayd.config.listen import parse_ports
from relayd.config.locate import KeyPath
from relayd.config.seedvariables import modelrelay, without_meaning
from relayd.config.upstreams import name_of
from relayd.errors import ConfigError

MODEL, PORTS, ARGS = "LLAMA_MODEL_PATH", "LLAMA_PORTS", "LLAMA_SERVER_ARGS"
DOOR, ALIAS, BACKENDS = "RELAYSERVE_PORT", "RELAYSERVE_MODEL_ID", "RELAYSERVE_BACKENDS"

_ALIAS = "relay-gguf"
"""What RelayServe calls its model, whatever its file is called."""

FLAGS: Mapping[str, str] = {
    **dict.fromkeys(("-a", "--alias"), "name"),
    **dict.fromkeys(("-c", "--ctx-size"), "context"),
    **dict.fromkeys(("-np", "--parallel"), "slots"),
    **dict.fromkeys(("-t", "--threads"), "threads"),
    **dict.fromkeys(("-cram", "--cache-ram"), "cache_ram_mib"),
}
"""Flag of llama-server -> the setting of a model that has its meaning here."""

SWITCHES = frozenset({"--embedding", "--embeddings"})

_PLACES: Mapping[tuple[str | int, ...], str] = {
    ("server",): DOOR,
    ("replicas",): PORTS,
    ("model", 0): ARGS,
    ("model", 0, "name"): MODEL,
    ("model", 0, "file"): MODEL,
    ("model", 0, "replicas"): PORTS,
    ("model", 0, "aliases"): ALIAS,
    ("upstream",): BACKENDS,
    ("hub",): "WORKER_SECRET",
}
"""Which variable a setting came from; the longest beginning that is listed counts."""


def shortcut(around: Surroundings) -> Document:
    """Return the settings of RelayServe's variables as one configuration layer; empty ones count as unset.

    Without LLAMA_MODEL_PATH there is nothing that LLAMA_SERVER_ARGS could belong to: that is a warning.
    LLAMA_PORTS alone selects TCP for the replicas of any model.
    """
    names = (MODEL, PORTS, ARGS, DOOR, ALIAS, BACKENDS)
    given = {name: text for name in names if (text := around.environ.get(name))}
    relay, document = modelrelay(around.environ), Document()
    try:
        document = check(_merged(_table(given), relay.table), _place, around)
    except ConfigError as error:
        document.problems.append(f"{error.message}. {error.remedy}")
    document.warnings += (*relay.warnings, *without_meaning(around.environ))
    document.sources += relay.used
    for name in (ARGS, ALIAS):
        if name in given and not given.keys() & ({MODEL, BACKENDS} if name == ALIAS else {MODEL}):
            document.warnings.append(f"{name} has no effect without {MODEL}")
            del given[name]
    document.sources += given
    return document


def _table(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the variables as values of a relay.toml."""
    table: dict[str, Any] = {}
    ports = _ports(given[PORTS]) if PORTS in given else None
    if ports:
        is_range = len(ports) == ports[-1] - ports[0] + 1
        spelled = f"{ports[0]}-{ports[-1]}" if is_range else ",".join(map(str, ports))
        table["replicas"] = {"listen": "tcp", "ports": spelled}
    if DOOR in given:
        table["server"] = {"listen": f"127.0.0.1:{given[DOOR]}"}
    if MODEL in given:
        model = {"name": _name(given[MODEL]), "file": given[MODEL], **_settings(given.get(ARGS, ""))}
        if (alias := given.get(ALIAS, _ALIAS)) != model["name"]:
            model["aliases"] = [alias]
        table["model"] = [model | ({"replicas": len(ports)} if ports else {})]
        table["compat"] = {"rewrite_ids": "named"}
    if BACKENDS in given:
        table["upstream"] = _backends(given, table.get("model", [{}])[0].get("name"))
    return table


def _merged(table: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; what is set in the first one counts, blocks add up."""
    for name, value in other.items():
        known = table.get(name)
        table[name] = [*(known or []), *value] if isinstance(value, list) else {**value, **(known or {})}
    return table


def _backends(given: Mapping[str, str], model: str | None) -> list[dict[str, Any]]:
    """Return an upstream for each URL; whatever its model is called there, clients call it as before."""
    urls = dict.fromkeys(one.strip() for one in given[BACKENDS].split(",") if one.strip())
    ours = model or given.get(ALIAS, _ALIAS)
    taken, found = dict[str, int](), []
    for url in urls:
        name = name_of("", url)
        taken[name] = taken.get(name, 0) + 1
        name += f"-{taken[name]}" if taken[name] > 1 else ""
        found.append({"url": url, "name": name, "models": [f"{ours}=*"], "strategy": "round_robin"})
    return found


def _place(path: KeyPath) -> str:
    while path and path not in _PLACES:
        path = path[:-1]
    return _PLACES.get(path, MODEL)


def _name(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).stem).strip("-._")[:120] or "model"


def _ports(text: str) -> Sequence[int]:
    """Read `8081`, `8081,8083` or `8081-8084`.

    Raises:
        ConfigError: It is none of them, or a port comes twice.
    """
    listed = [one.strip() for one in text.split(",") if one.strip()]
    try:
        found = [port for one in listed for port in parse_ports(one if "-" in one else f"{one}-{one}")]
    except ConfigError as error:
        raise ConfigError(
            f"{PORTS}: {text!r} are not valid ports", remedy="Write 8081, 8081,8083 or 8081-8084."
        ) from error
    if not found or len(set(found)) != len(found):
        raise ConfigError(
            f"{PORTS}: {text!r} names no port, or one twice", remedy="Write 8081,8083 or 8081-8084."
        )
    return sorted(found)


def _settings(text: str) -> dict[str, Any]:
    """Return the settings of a model that a line of flags means, and what is left as `args`.

    `-c` is what all slots of a llama-server share, `context` what each of them has; a line without
    slots gets one, so that the slot has the whole context and the model takes the memory the line implies.

    Raises:
        ConfigError: The line cannot be split, or a value is missing or not a number.
    """
    found: dict[str, Any] = {}
    left: list[str] = []
    words = iter(_words(text))
    for word in words:
        flag = word.replace("_", "-") if word.startswith("--") else word
        if flag in SWITCHES:
            found["embeddings"] = True
        elif flag in FLAGS:
            found[FLAGS[flag]] = _value(flag, next(words, ""))
        else:
            left.append(word)
    if "context" in found:
        found["context"] //= max(1, found.setdefault("slots", 1))
    return found | ({"args": left} if left else {})


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(
            f"{ARGS}: {text!r} cannot be split: {error}", remedy="Quote it as for a shell."
        ) from error


def _value(flag: str, text: str) -> str | int:
    if FLAGS[flag] == "name" and text:
        return text.partition(",")[0]
    if text.isascii() and text.isdigit():
        return int(text)
    raise ConfigError(
        f"{ARGS}: {flag} is followed by {text!r}", remedy=f"Give {flag} a number that is not negative."
    )
