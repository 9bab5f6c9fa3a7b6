"""How busy is a server, with the requests of all its clients, as its figures state (`/metrics`)?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_LINE = re.compile(r"^([A-Za-z_:][A-Za-z0-9_:]*)(?:\{[^}]*\})?\s+([0-9.eE+-]+)", re.MULTILINE)

_RUNNING = frozenset({
    "llamacpp:requests_processing", "vllm:num_requests_running", "sglang:num_running_reqs",
    "relayd_requests_running", "tgi_batch_current_size",
})  # fmt: skip
_WAITING = frozenset({
    "llamacpp:requests_deferred", "vllm:num_requests_waiting", "sglang:num_queue_reqs",
    "relayd_requests_waiting", "tgi_queue_size",
})  # fmt: skip
"""Figures of llama.cpp b11434, vLLM 0.11, SGLang 0.5, relayd and TGI 3."""


@dataclass(frozen=True, slots=True)
class RemoteLoad:
    """Requests that a server works on, and that wait there, of all its clients."""

    running: int
    waiting: int


def read_load(payload: bytes) -> RemoteLoad | None:
    """Return how busy a server is, all of its models together; None where its figures do not state it."""
    sums: dict[str, float] = {}
    for name, value in _LINE.findall(payload.decode("utf-8", "replace")):
        if name in _RUNNING or name in _WAITING:
            try:
                sums[name] = sums.get(name, 0.0) + float(value)
            except ValueError:
                continue
    if not sums:
        return None
    return RemoteLoad(_total(sums, _RUNNING), _total(sums, _WAITING))


def _total(sums: Mapping[str, float], names: frozenset[str]) -> int:
    return round(sum(value for name, value in sums.items() if name in names))


def free_slots(slots: int, load: RemoteLoad, ours: int) -> int:
    """Return how many of a server's slots are for us: those that others take, or wait for, are not.

    One is always left, so that the server's own queue decides and not a figure that may be old.

    Args:
        slots: That it has.
        load: How busy it is.
        ours: Requests that relayd has there.
    """
    others = max(0, load.running + load.waiting - ours)
    return max(1, slots - others)
