"""Which [[upstream]] lines serve a model of other servers, named as LLMStream does (`servers`, `strategy`)?

A server has one line for each strategy, whose `models` are the names that it serves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from relayd.config.upstreams import name_of

STRATEGIES = (
    "round_robin",
    "least_connection",
    "least_busy",
    "prefix_affinity",
    "random",
    "real_time_metrics",
)
"""The first one is LLMStream's default."""

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ServerList:
    """Servers of one model: their URLs, and how requests are spread over them."""

    servers: tuple[str, ...]
    strategy: str = STRATEGIES[0]


def remote_models(lines: Iterable[Line]) -> dict[str, ServerList]:
    """Return the models that lines name one by one; patterns and names of others' choice are none."""
    found: dict[str, ServerList] = {}
    for line in lines:
        for model in line.get("models", ()):
            if not {*model} & {"*", "="}:
                known = found.get(model, ServerList((), line.get("strategy", "prefix_affinity")))
                found[model] = ServerList((*known.servers, line["url"]), known.strategy)
    return found


def with_remote(
    lines: Iterable[Line], model: str, remote: ServerList, taken: Iterable[str] = ()
) -> list[Line]:
    """Return lines that serve a model by these servers, and by no others.

    Args:
        lines: Those that there are.
        model: The model.
        remote: Its servers.
        taken: Names of upstreams that are written elsewhere.
    """
    found = without_remote(lines, model)
    for url in remote.servers:
        at = next((at for at, line in enumerate(found) if _is_for(line, url, remote.strategy)), None)
        if at is None:
            name = _free_name(found, url, taken)
            found.append({"url": url, "name": name, "models": [model], "strategy": remote.strategy})
        else:
            found[at] = {**found[at], "models": [*found[at]["models"], model]}
    return found


def without_remote(lines: Iterable[Line], model: str) -> list[Line]:
    """Return lines that do not serve a model; one that would serve nothing is left out."""
    kept: list[Line] = []
    for line in lines:
        models = line.get("models", ())
        others = [one for one in models if one != model]
        if len(others) == len(models):
            kept.append(line)
        elif others:
            kept.append({**line, "models": others})
    return kept


def _is_for(line: Line, url: str, strategy: str) -> bool:
    """Return whether a line names models of this server one by one, and spreads them so."""
    return bool(line.get("models")) and (line["url"], line.get("strategy")) == (url, strategy)


def _free_name(lines: Iterable[Line], url: str, taken: Iterable[str]) -> str:
    used, base = {line.get("name") for line in lines} | {*taken}, name_of("", url)
    names = (base, *(f"{base}-{number}" for number in range(2, len(used) + 3)))
    return next(name for name in names if name not in used)
