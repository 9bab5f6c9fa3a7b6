"""RelayServe's environment variables, read as a configuration of one model.

    LLAMA_MODEL_PATH    the GGUF that is served
    LLAMA_PORTS         ports of its replicas on 127.0.0.1, one replica each: `8081`, `8081,8082`, `8081-8084`
    LLAMA_SERVER_ARGS   further flags, split as a shell does; those that are settings here become settings
    RELAYSERVE_PORT     where clients connect
    RELAYSERVE_MODEL_ID another name of the model; `relay-gguf` by default

LLAMA_SERVER_PATH, the engine, is read where engines are looked for. RelayServe listened on every interface;
here only this machine gets in, until a `listen` and a key say otherwise.
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relayd.config.check import Document, Surroundings, check
from relayd.config.listen import parse_ports
from relayd.config.locate import KeyPath
from relayd.errors import ConfigError

MODEL, PORTS, ARGS = "LLAMA_MODEL_PATH", "LLAMA_PORTS", "LLAMA_SERVER_ARGS"
DOOR, ALIAS = "RELAYSERVE_PORT", "RELAYSERVE_MODEL_ID"

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
}
"""Which variable a setting came from; the longest beginning that is listed counts."""


def shortcut(around: Surroundings) -> Document:
    """Return the settings of RelayServe's variables as one configuration layer; empty ones count as unset.

    Without LLAMA_MODEL_PATH there is nothing that LLAMA_SERVER_ARGS could belong to: that is a warning.
    LLAMA_PORTS alone selects TCP for the replicas of any model.
    """
    given = {name: text for name in (MODEL, PORTS, ARGS, DOOR, ALIAS) if (text := around.environ.get(name))}
    document = Document()
    try:
        document = check(_table(given), _place, around)
    except ConfigError as error:
        document.problems.append(f"{error.message}. {error.remedy}")
    for name in (ARGS, ALIAS):
        if name in given and MODEL not in given:
            document.warnings.append(f"{name} has no effect without {MODEL}")
            del given[name]
    document.sources += given
    return document


def _table(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the variables as values of a relay.toml."""
    table: dict[str, Any] = {}
    ports = _ports(given[PORTS]) if PORTS in given else None
    if ports:
        table["replicas"] = {"listen": "tcp", "ports": f"{ports[0]}-{ports[-1]}"}
    if DOOR in given:
        table["server"] = {"listen": f"127.0.0.1:{given[DOOR]}"}
    if MODEL in given:
        model = {"name": _name(given[MODEL]), "file": given[MODEL], **_settings(given.get(ARGS, ""))}
        if (alias := given.get(ALIAS, _ALIAS)) != model["name"]:
            model["aliases"] = [alias]
        table["model"] = [model | ({"replicas": len(ports)} if ports else {})]
        table["compat"] = {"rewrite_ids": "named"}
    return table


def _place(path: KeyPath) -> str:
    while path and path not in _PLACES:
        path = path[:-1]
    return _PLACES.get(path, MODEL)


def _name(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(path).stem).strip("-._")[:120] or "model"


def _ports(text: str) -> range:
    """Read `8081`, `8081,8082` or `8081-8084`.

    Raises:
        ConfigError: It is none of them, or the ports do not follow one another.
    """
    listed = [one.strip() for one in text.split(",") if one.strip()]
    try:
        if len(listed) == 1:
            return parse_ports(listed[0] if "-" in listed[0] else f"{listed[0]}-{listed[0]}")
        ports = sorted({parse_ports(f"{one}-{one}")[0] for one in listed})
        found = parse_ports(f"{ports[0]}-{ports[-1]}") if ports else range(0)
    except ConfigError as error:
        raise ConfigError(
            f"{PORTS}: {text!r} are not valid ports", remedy="Write 8081, 8081,8082 or 8081-8084."
        ) from error
    if not ports or len(found) != len(listed):
        raise ConfigError(
            f"{PORTS}: {text!r} has gaps or repetitions",
            remedy="Replicas take the ports of one range. Write 8081,8082,8083 or 8081-8083.",
        )
    return found


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
