"""What `relayd serve` prints: what was planned, and what to try."""

from collections.abc import Sequence

from relayd.planner import Planned
from relayd.units import mib, show_bytes

HOST = "host"

NAMED = 5
"""How many models on demand are named."""


def planned_line(replicas: Sequence[Planned]) -> str:
    """Return what was planned for a model: `m: 4 requests at once, 8k tokens each, 9.0 GiB of RAM`."""
    first = replicas[0]
    spec, count = first.spec, len(replicas)
    slots = spec.slots
    parts = [f"{slots} requests at once" if slots != 1 else "1 request at a time"]
    if spec.context:
        parts.append(f"{_tokens(spec.context)} tokens{' each' if slots != 1 else ''}")
    else:
        parts.append("the context is the engine's choice" if spec.fit else "the context it was trained on")
    cache = mib(spec.cache_ram_mib)
    for key, size in first.needs.items():
        own = size - cache if key == HOST and size > cache else size
        parts.append(f"{show_bytes(own)} of {'RAM' if key == HOST else key}")
    times = f"{count} replicas, each with " if count > 1 else ""
    return f"{first.model}: {times}{', '.join(parts)}"


def on_demand_line(models: Sequence[str]) -> str:
    """Return the sentence on models that are not loaded yet, of which it names a few."""
    named, more = ", ".join(models[:NAMED]), len(models) - NAMED
    return f"Loaded on demand: {named}{f' and {more} more (relayd status)' if more > 0 else ''}"


def try_lines(url: str, model: str, *, embeddings: bool, keyed: bool, certificate: str) -> list[str]:
    """Return a command for a shell, in lines of which none is wider than 80 columns for a usual name.

    Args:
        url: Where the daemon listens.
        model: Who is asked.
        embeddings: Whether it makes vectors and no text.
        keyed: Whether a key is needed: the shell has it in RELAYD_API_KEY.
        certificate: The file of the certificate to accept; "" where nothing is encrypted.
    """
    path, asked = "chat/completions", '"messages": [{"role": "user", "content": "Hello!"}]'
    if embeddings:
        path, asked = "embeddings", '"input": "Hello!"'
    lines = [f"curl {url}/v1/{path}", "  -H 'Content-Type: application/json'"]
    lines += ['  -H "Authorization: Bearer $RELAYD_API_KEY"'] * keyed
    lines += [f"  --cacert '{certificate}'"] * bool(certificate)
    lines += [f'  -d \'{{"model": "{model}",\n       {asked}}}\'']
    return " \\\n".join(lines).split("\n")


def stopping_line(requests: int, seconds: float, *, on_terminal: bool) -> str:
    """Return what the end of the daemon waits for."""
    if not requests:
        return "Stopping"
    runs = "1 answer runs" if requests == 1 else f"{requests} answers run"
    again = " Ctrl-C again ends it now." if on_terminal else ""
    return f"Stopping: {runs}, up to {seconds:g} s.{again}"


def _tokens(count: int) -> str:
    return f"{count // 1024}k" if count >= 1024 and count % 1024 == 0 else f"{count:,}"
