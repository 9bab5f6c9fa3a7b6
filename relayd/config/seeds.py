"""What do the configuration files of RelayServe, ModelRelay and LLMStream mean here?

| program | file | becomes |
|---|---|---|
| LLMStream | config.json | an [[upstream]] for each server, with its models and their strategy |
| RelayServe | config.yaml | an [[upstream]] for each backend, its name the model; one is the default |
| ModelRelay | worker.toml | an [[upstream]] for the backend, with its models and as many slots |
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from relayd.config.nested import read_nested
from relayd.config.schema import UpstreamServer
from relayd.config.upstreams import name_of
from relayd.errors import ConfigError

_STRATEGIES = frozenset({"round_robin", "least_connection", "real_time_metrics", "random"})
_OPENAI = frozenset({"vllm", "local", "openai"})
"""Types of a backend of RelayServe that have OpenAI's API."""

_LEGACY = "modal"
"""The type of those that only have the `/completion` of old llama.cpp servers."""


@dataclass(frozen=True, slots=True)
class ImportedLines:
    """What a file of another program becomes.

    Attributes:
        upstreams: Settings of each [[upstream]].
        virtual: Settings of each [[virtual]].
        notes: What has no place here, or is to be done by hand, a sentence each.
    """

    upstreams: tuple[Mapping[str, Any], ...] = ()
    virtual: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


def from_llmstream(text: str) -> ImportedLines:
    """Read LLMStream's config.json.

    Raises:
        ConfigError: It is not one.
    """
    document = _json(text)
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    interval = document.get("metrics_update_interval")
    for model, settings in _table(document.get("models"), "models").items():
        entry = _table(settings, f"models.{model}")
        strategy = entry.get("strategy", "round_robin")
        if strategy not in _STRATEGIES:
            raise ConfigError(
                f"models.{model}.strategy is {strategy!r}",
                remedy=f"Use one of {', '.join(sorted(_STRATEGIES))}.",
            )
        for url in _texts(entry.get("servers"), f"models.{model}.servers"):
            line = lines.setdefault((url, strategy), {"url": url, "models": [], "strategy": strategy})
            line["models"].append(model)
            if isinstance(interval, int | float) and interval > 0:
                line["metrics_seconds"] = interval
    found = _named(list(lines.values()))
    default = document.get("default_generate_server")
    notes = (
        [f"default_generate_server = {default}: POST /generate has no counterpart; name a model."]
        if default
        else []
    )
    return ImportedLines(tuple(found), notes=tuple(notes))


def from_relayserve(text: str) -> ImportedLines:
    """Read RelayServe's config.yaml.

    Raises:
        ConfigError: It is not one.
    """
    document = read_nested(text)
    upstreams, notes = [], []
    for name, settings in _table(document.get("backends"), "backends").items():
        entry = _table(settings, f"backends.{name}")
        url, kind = entry.get("url"), str(entry.get("type", "local"))
        if not isinstance(url, str) or not url:
            raise ConfigError(f"backends.{name} has no url", remedy="Add it, or take the backend out.")
        if kind == _LEGACY:
            notes.append(f"backends.{name}: relayd does not use the old /completion API; it is left out.")
            continue
        if kind not in _OPENAI:
            notes.append(
                f"backends.{name}: the type {kind!r} is not known here; it is taken for OpenAI's API."
            )
        upstreams.append({"url": url, "name": name, "models": [f"{name}=*"]})
    default, virtual = document.get("default_backend"), []
    if isinstance(default, str) and any(one["name"] == default for one in upstreams):
        virtual.append({"name": "default", "models": [default], "aliases": ["*"]})
    return ImportedLines(tuple(upstreams), tuple(virtual), tuple(notes))


def from_modelrelay(text: str) -> ImportedLines:
    """Read the settings of a ModelRelay worker.

    Raises:
        ConfigError: It is not TOML, or names no backend.
    """
    try:
        found = {key.replace("-", "_").lower(): value for key, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", remedy="Correct it.") from error
    url = found.get("backend_url")
    if not isinstance(url, str) or not url:
        raise ConfigError(
            "it names no backend_url", remedy="Name the server that the worker passes requests to."
        )
    models = found.get("models", [])
    names = [one.strip() for one in models.split(",")] if isinstance(models, str) else [*models]
    slots = found.get("max_concurrency", found.get("max_concurrent", 1))
    line: dict[str, Any] = {"url": url, "name": str(found.get("worker_name", "")), "slots": slots}
    if names and names != ["default"]:
        line["models"] = [name for name in names if name]
    notes = []
    if proxy := found.get("proxy_url"):
        notes.append(f"proxy_url = {proxy}: the worker's own job, `relayd join`, is another command.")
    if found.get("worker_secret"):
        notes.append("worker_secret is not copied: an upstream is asked, and joins nothing.")
    return ImportedLines(tuple(_named([line])), notes=tuple(notes))


IMPORTS: Mapping[str, Callable[[str], ImportedLines]] = {
    "llmstream": from_llmstream,
    "relayserve": from_relayserve,
    "modelrelay": from_modelrelay,
}
"""Program -> what reads its file."""


def _named(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give every line a name that no other has."""
    taken: set[str] = set()
    for line in lines:
        base = name = name_of(line.get("name", ""), line["url"])
        number = 2
        while name in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name)
        line["name"] = name
    return lines


def as_upstream(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a line that are not the defaults."""
    defaults = {
        name: getattr(UpstreamServer(url="http://x"), name) for name in UpstreamServer.__struct_fields__
    }
    return {name: value for name, value in line.items() if value not in (defaults.get(name), [])}


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"not valid JSON: {error}", remedy="Correct it.") from error
    return _table(found, "the file")


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise ConfigError(f"{where} is not a table of settings", remedy="Is it the file of that program?")
    return value


def _texts(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value) or not value:
        raise ConfigError(f"{where} is not a list of URLs", remedy="Name at least one server.")
    return value
