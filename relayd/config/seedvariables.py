"""ModelRelay's environment variables, and which variables of the programs before relayd mean nothing here.

    server   LISTEN_ADDR                    server.listen
             MODELRELAY_REQUIRE_API_KEYS    server.require_key
             WORKER_SECRET                  hub.worker_secret
    worker   BACKEND_URL                    an [[upstream]]
             MODELS, MAX_CONCURRENCY        its models and slots
             WORKER_NAME                    its name

Other programs have some of these names too: they count only beside one that is ModelRelay's own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from relayd.config.check import SHORTEST_KEY
from relayd.config.upstreams import name_of

_OWN = ("MODELRELAY_ADMIN_TOKEN", "MODELRELAY_REQUIRE_API_KEYS", "WORKER_SECRET")
"""Variables that only ModelRelay has."""

_ELSEWHERE: Mapping[str, str] = {
    "MODELRELAY_ADMIN_TOKEN": "make an admin key: relayd keys create NAME --scope admin",
    "RELAYSERVE_BATCH_SIZE": "as many requests run at once as there are slots",
    "RELAYSERVE_BATCH_WAIT_MS": "no request waits for others",
    "RELAYSERVE_METRICS_MAX_ITEMS": "the last 1,000 requests are kept",
    "RELAYSERVE_TOTAL_LAYERS": "the model's file states its layers",
    "RELAYSERVE_PRETTY_JSON": "answers are JSON on one line",
    "RELAYSERVE_PRETTY_DEFAULT": "answers are JSON; relayd chat has colours",
    "RELAYSERVE_ROOT": "name a configuration with RELAYD_CONFIG",
    "RELAYSERVE_ENABLE_GPU": "devices are detected; relayd hardware lists them",
    "RELAYSERVE_GPU_BACKEND": "devices are detected; relayd hardware lists them",
    "RELAYSERVE_GPU_VRAM_GB": "devices are detected; relayd hardware lists them",
    "RELAYSERVE_GPU_TFLOPS": "speeds are measured: relayd bench",
    "RELAYSERVE_GPU_BW_GBPS": "speeds are measured: relayd bench",
    "MODELRELAY_HOME": "relayd models lists where models are",
}
"""Variable -> what there is instead."""

_READ = frozenset({
    "RELAYSERVE_PORT", "RELAYSERVE_MODEL_ID", "RELAYSERVE_BACKENDS", "MODELRELAY_REQUIRE_API_KEYS",
})  # fmt: skip
_SHORT_SECRET = (
    f"WORKER_SECRET is shorter than {SHORTEST_KEY} characters, so no worker of ModelRelay can join: "
    "set a longer worker_secret in [hub]"
)
_YES = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class ModelRelaySettings:
    """What ModelRelay's variables set.

    Attributes:
        table: As values of a relay.toml.
        used: The variables that count.
        warnings: What is not taken over, a sentence each.
    """

    table: Mapping[str, Any] = field(default_factory=dict)
    used: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def modelrelay(environ: Mapping[str, str]) -> ModelRelaySettings:
    """Return what the variables of a ModelRelay server or worker set; nothing where there are none."""
    if not any(environ.get(name) for name in _OWN):
        return ModelRelaySettings()
    table: dict[str, Any] = {}
    used = [
        name for name in ("MODELRELAY_REQUIRE_API_KEYS", "LISTEN_ADDR", "BACKEND_URL") if environ.get(name)
    ]
    server: dict[str, Any] = {}
    if environ.get("MODELRELAY_REQUIRE_API_KEYS", "").lower() in _YES:
        server["require_key"] = "always"
    if listen := environ.get("LISTEN_ADDR"):
        server["listen"] = listen
    if server:
        table["server"] = server
    if url := environ.get("BACKEND_URL"):
        table["upstream"] = [_backend(environ, url)]
        used += (name for name in ("MODELS", "MAX_CONCURRENCY", "WORKER_NAME") if environ.get(name))
    secret, warnings = environ.get("WORKER_SECRET", ""), list[str]()
    if secret and not (url or environ.get("PROXY_URL")):  # a server's
        if len(secret) < SHORTEST_KEY:
            warnings.append(_SHORT_SECRET)
        else:
            table["hub"] = {"worker_secret": secret}
            used.append("WORKER_SECRET")
    return ModelRelaySettings(table, tuple(used), tuple(warnings))


def _backend(environ: Mapping[str, str], url: str) -> dict[str, Any]:
    slots = environ.get("MAX_CONCURRENCY", "1")
    line: dict[str, Any] = {"url": url, "name": name_of(environ.get("WORKER_NAME", ""), url)}
    line["slots"] = int(slots) if slots.isascii() and slots.isdigit() else slots
    names = [name.strip() for name in environ.get("MODELS", "").split(",")]
    if (found := [name for name in names if name]) and found != ["default"]:
        line["models"] = found
    return line


def without_meaning(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each variable of RelayServe or ModelRelay that is set and has no meaning here."""
    for name in sorted(environ):
        if environ[name] and name.startswith(("RELAYSERVE_", "MODELRELAY_")) and name not in _READ:
            instead = _ELSEWHERE.get(name)
            yield f"{name} has no effect here" + (f": {instead}" if instead else "")
