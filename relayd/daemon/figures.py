"""What relayd counts and measures, by name: the figures of `/metrics`, each with what it means.

The names follow Prometheus' conventions. Where OpenTelemetry's conventions for generative AI (1.42, in
development) have a name for the same, it stands beside ours; they change, so it is a hint and no second name.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class Figure(NamedTuple):
    """One figure.

    Attributes:
        name: What it is called; counters end in `_total`.
        kind: What Prometheus makes of it.
        text: What it means.
        labels: What it is told apart by.
        like: OpenTelemetry's name for the same.
    """

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    like: str = ""


FIGURES = (
    Figure(
        "relayd_build_info",
        "gauge",
        "1; version of relayd, of the engine and of Python.",
        ("version", "engine", "python"),
    ),
    Figure("relayd_start_time_seconds", "gauge", "When the daemon started, in seconds since 1970."),
    Figure(
        "relayd_requests_total",
        "counter",
        "Requests that ended, by how: done, continued, refused, cut, cancelled.",
        ("model", "outcome", "stream"),
    ),
    Figure("relayd_batches", "gauge", "Batches that are kept, by their state.", ("state",)),
    Figure("relayd_batch_lines_left", "gauge", "Lines of batches that are still to be answered."),
    Figure("relayd_batch_lines_running", "gauge", "Lines of batches that wait for a slot, or have one."),
    Figure("relayd_batch_lines_per_second", "gauge", "Lines of batches that are answered in a second."),
    Figure("relayd_batch_seconds_left", "gauge", "Until the last line of all batches is answered."),
    Figure("relayd_batches_paused", "gauge", "1 while the results of batches cannot be written."),
    Figure("relayd_errors_total", "counter", "Requests that got an error, by its code.", ("code",)),
    Figure(
        "relayd_key_requests_total",
        "counter",
        "Requests that ended, by the id of their key; empty without one.",
        ("key",),
    ),
    Figure(
        "relayd_key_tokens_total",
        "counter",
        "Tokens by the id of the key: of prompts (in) and answers (out).",
        ("key", "direction"),
    ),
    Figure(
        "relayd_prompt_tokens_total",
        "counter",
        "Tokens of prompts, those that were in the cache included.",
        ("model",),
        "gen_ai.client.inference.usage.input_tokens",
    ),
    Figure(
        "relayd_cached_tokens_total",
        "counter",
        "Tokens of prompts that were in the cache.",
        ("model",),
        "gen_ai.client.inference.usage.cache_read.input_tokens",
    ),
    Figure(
        "relayd_completion_tokens_total",
        "counter",
        "Tokens of answers.",
        ("model",),
        "gen_ai.client.inference.usage.output_tokens",
    ),
    Figure("relayd_queue_seconds", "histogram", "Seconds that requests waited for their slot.", ("model",)),
    Figure(
        "relayd_time_to_first_byte_seconds",
        "histogram",
        "Seconds from a request's arrival to the first byte of its answer: to the first token, if streamed.",
        ("model", "stream"),
        "gen_ai.server.time_to_first_token",
    ),
    Figure(
        "relayd_time_per_output_token_seconds",
        "histogram",
        "Seconds for each token of a stream after the first one.",
        ("model",),
        "gen_ai.server.time_per_output_token",
    ),
    Figure(
        "relayd_request_seconds",
        "histogram",
        "Seconds from a request's arrival to its end.",
        ("model", "outcome", "stream"),
        "gen_ai.server.request.duration",
    ),
    Figure("relayd_retries_total", "counter", "Further replicas that requests were tried on.", ("model",)),
    Figure("relayd_continuations_total", "counter", "Answers that another replica went on with.", ("model",)),
    Figure("relayd_requests_running", "gauge", "Requests that have a slot.", ("model",)),
    Figure("relayd_requests_waiting", "gauge", "Requests that wait for a slot.", ("model",)),
    Figure(
        "relayd_requests_held",
        "gauge",
        "Requests that wait because their key has as many in flight as it may.",
    ),
    Figure("relayd_slots", "gauge", "Slots of replicas that serve.", ("model",)),
    Figure("relayd_replica_running", "gauge", "Requests that a replica works on.", ("model", "replica")),
    Figure(
        "relayd_replica_state",
        "gauge",
        "1 for the state that a replica is in.",
        ("model", "replica", "state"),
    ),
    Figure(
        "relayd_replica_restarts",
        "gauge",
        "Unexpected exits of a replica that count against its budget.",
        ("model", "replica"),
    ),
    Figure("relayd_loads_total", "counter", "Times that a replica became ready.", ("model",)),
    Figure(
        "relayd_exits_total", "counter", "Processes of replicas that ended, by cause.", ("model", "cause")
    ),
    Figure("relayd_evictions_total", "counter", "Replicas that left memory, by cause.", ("cause",)),
    Figure("relayd_events_total", "counter", "Lines of the journal, by event.", ("event",)),
    Figure(
        "relayd_memory_bytes",
        "gauge",
        "The memory ledger: capacity, planned, measured, held, others, free.",
        ("account", "kind"),
    ),
    Figure(
        "relayd_device_utilization_ratio",
        "gauge",
        "How busy a device is, 0 to 1, where its driver reports it.",
        ("device",),
    ),
    Figure(
        "relayd_device_temperature_celsius",
        "gauge",
        "Temperature of a device, where its driver reports it.",
        ("device",),
    ),
    Figure(
        "relayd_device_power_watts",
        "gauge",
        "Power that a device draws, where its driver reports it.",
        ("device",),
    ),
    Figure(
        "relayd_device_memory_used_bytes",
        "gauge",
        "Memory of a device that is used, by whatever program.",
        ("device",),
    ),
    Figure(
        "relayd_origin_models",
        "gauge",
        "Models that an upstream, node or worker serves now.",
        ("origin", "kind"),
    ),
    Figure(
        "relayd_origin_slots",
        "gauge",
        "Slots that an upstream, node or worker has for this relayd.",
        ("origin", "kind"),
    ),
    Figure(
        "relayd_origin_running",
        "gauge",
        "Requests of this relayd that an upstream, node or worker works on.",
        ("origin", "kind"),
    ),
    Figure("relayd_node_connected", "gauge", "1 while a node is connected.", ("node",)),
    Figure(
        "relayd_node_round_trip_seconds",
        "gauge",
        "There and back to a node, when last measured.",
        ("node",),
    ),
    Figure(
        "relayd_node_memory_bytes",
        "gauge",
        "A node's memory ledger: capacity, held, free.",
        ("node", "account", "kind"),
    ),
)
"""Every figure of relayd's own, in the order in which they are written."""

BY_NAME: Mapping[str, Figure] = {one.name: one for one in FIGURES}


def page() -> str:
    """Return the table of all figures for the documentation."""
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels) or '-'} | {one.text}"
        f"{f' OpenTelemetry: `{one.like}`.' if one.like else ''} |"
        for one in FIGURES
    ]
    return "\n".join(["| name | kind | labels | |", "|---|---|---|---|", *rows])
