"""The figures of `/metrics` and `/metrics.json`, read off the daemon when they are asked for (collector)."""

import importlib
import platform
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from relayd import __version__
from relayd.daemon.batchreport import BatchesReport
from relayd.daemon.eventcounts import EventCounts
from relayd.daemon.figures import FIGURES
from relayd.daemon.parts import DaemonParts
from relayd.daemon.remotemetrics import collect_elsewhere
from relayd.daemon.totals import Distribution, RequestSums, Totals
from relayd.hardware.loads import DeviceLoad
from relayd.supervisor import State, Status

if TYPE_CHECKING:
    from prometheus_client.core import Metric

Labels = tuple[str, ...]
Values = Mapping[str, Mapping[Labels, float | Distribution]]
"""Figure → values of its labels → its value."""


class Collected:
    """Values of figures as they are collected."""

    def __init__(self) -> None:
        self.values: dict[str, dict[Labels, float | Distribution]] = {one.name: {} for one in FIGURES}

    def __repr__(self) -> str:
        return f"<Collected {sum(map(len, self.values.values()))} values>"

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a value."""
        self.values[name][labels] = value

    def add(self, name: str, value: float, *labels: str) -> None:
        """Add to a value."""
        row = self.values[name]
        known = row.get(labels, 0.0)
        row[labels] = value + (known if isinstance(known, int | float) else 0.0)

    def merge(self, name: str, found: Distribution, *labels: str) -> None:
        """Add the counts of a distribution to those of the same labels."""
        known = self.values[name].get(labels)
        if isinstance(known, Distribution):
            known.counts = [mine + theirs for mine, theirs in zip(known.counts, found.counts, strict=True)]
            known.total += found.total
        elif sum(found.counts):
            self.values[name][labels] = found.copy()


def collect(parts: DaemonParts, events: EventCounts, devices: Iterable[DeviceLoad] = ()) -> Values:
    """Return every figure of a daemon as it is now.

    Args:
        parts: Of the daemon.
        events: What its journal has counted.
        devices: How busy its devices are.
    """
    found, statuses = Collected(), parts.fleet.statuses()
    engine = parts.desired.engine.version
    found.set("relayd_build_info", 1, __version__, engine, platform.python_version())
    found.set("relayd_start_time_seconds", parts.started)
    _requests(found, parts.totals)
    for model in parts.desired.config.model:
        load = parts.scheduler.load(model.name)
        found.set("relayd_requests_running", load.running, model.name)
        found.set("relayd_requests_waiting", load.waiting, model.name)
        found.set("relayd_slots", load.slots, model.name)
    collect_elsewhere(found, parts)
    _batches(found, parts.batches.summary())
    found.set("relayd_requests_held", len(parts.keys.waiting()))
    for status in statuses:
        _replica(found, status, parts.scheduler.running_on(status.spec.name))
    _events(found, events)
    for row in parts.scheduler.memory.ledger():
        for kind in ("capacity", "planned", "measured", "held", "others", "free"):
            found.set("relayd_memory_bytes", getattr(row, kind), row.account, kind)
    for cause, count in parts.scheduler.memory.evictions().items():
        found.set("relayd_evictions_total", count, cause.value)
    for device in devices:
        _device(found, device)
    return found.values


def _batches(found: Collected, summary: BatchesReport) -> None:
    for state, count in summary.states.items():
        found.set("relayd_batches", count, state)
    found.set("relayd_batch_lines_left", summary.lines_left)
    found.set("relayd_batch_lines_running", summary.lines_running)
    found.set("relayd_batch_lines_per_second", summary.lines_per_second)
    if summary.seconds_left is not None:
        found.set("relayd_batch_seconds_left", summary.seconds_left)
    found.set("relayd_batches_paused", float(bool(summary.paused)))


def _requests(found: Collected, totals: Totals) -> None:
    for model, ended, stream, row in totals.rows():
        streamed = "true" if stream else "false"
        found.set("relayd_requests_total", row.requests, model, ended, streamed)
        found.merge("relayd_request_seconds", row.seconds, model, ended, streamed)
        found.merge("relayd_time_to_first_byte_seconds", row.first_byte, model, streamed)
        _by_model(found, model, row)
    for code, count in totals.refused.items():
        found.set("relayd_errors_total", count, code)
    for key, sums in totals.keys.items():
        found.set("relayd_key_requests_total", sums.requests, key)
        found.set("relayd_key_tokens_total", sums.prompt_tokens, key, "in")
        found.set("relayd_key_tokens_total", sums.completion_tokens, key, "out")


def _by_model(found: Collected, model: str, row: RequestSums) -> None:
    found.merge("relayd_queue_seconds", row.queue, model)
    found.merge("relayd_time_per_output_token_seconds", row.token, model)
    for name, value in (
        ("relayd_prompt_tokens_total", row.prompt_tokens),
        ("relayd_cached_tokens_total", row.cached_tokens),
        ("relayd_completion_tokens_total", row.completion_tokens),
        ("relayd_retries_total", row.retries),
        ("relayd_continuations_total", row.continued),
    ):
        found.add(name, value, model)


def _replica(found: Collected, status: Status, running: int) -> None:
    model, replica = status.spec.model, status.spec.name
    found.set("relayd_replica_running", running, model, replica)
    found.set("relayd_replica_restarts", status.restarts, model, replica)
    for state in State:
        found.set("relayd_replica_state", float(state is status.state), model, replica, state.value)


def _events(found: Collected, events: EventCounts) -> None:
    for event, count in events.by_event.items():
        found.set("relayd_events_total", count, event)
    for model, count in events.loads.items():
        found.set("relayd_loads_total", count, model)
    for (model, cause), count in events.exits.items():
        found.set("relayd_exits_total", count, model, cause)


def _device(found: Collected, device: DeviceLoad) -> None:
    for name, value in (
        ("relayd_device_utilization_ratio", device.utilization),
        ("relayd_device_temperature_celsius", device.celsius),
        ("relayd_device_power_watts", device.watts),
        ("relayd_device_memory_used_bytes", device.used_bytes),
    ):
        if value is not None:
            found.set(name, value, device.device)


def exposition(values: Values) -> bytes:
    """Return figures in Prometheus' text format, with those of the process, by its own library."""
    core: Any = importlib.import_module("prometheus_client.core")
    client: Any = importlib.import_module("prometheus_client")
    registry = core.CollectorRegistry(auto_describe=False)
    registry.register(_Families(core, values))
    client.ProcessCollector(registry=registry)
    return bytes(client.generate_latest(registry))


class _Families:
    """The figures as the library wants them."""

    def __init__(self, core: Any, values: Values) -> None:
        self._core = core
        self._values = values

    def __repr__(self) -> str:
        return f"<_Families of {len(self._values)} figures>"

    def collect(self) -> "Iterator[Metric]":
        """Yield every figure that has a value."""
        kinds = {
            "counter": self._core.CounterMetricFamily,
            "gauge": self._core.GaugeMetricFamily,
            "histogram": self._core.HistogramMetricFamily,
        }
        for figure in FIGURES:
            family = kinds[figure.kind](figure.name, figure.text, labels=figure.labels)
            for labels, value in self._values[figure.name].items():
                if isinstance(value, Distribution):
                    family.add_metric(labels, buckets=value.buckets(), sum_value=value.total)
                else:
                    family.add_metric(labels, value)
            if family.samples:
                yield family


def as_json(values: Values, parts: DaemonParts) -> dict[str, object]:
    """Return figures as JSON, with the members that RelayServe's users know first."""
    recent = parts.doors.exchanges.recent()
    firsts = [one.first_byte_at - one.arrived_at for one in recent if one.first_byte_at is not None]
    queues = [
        one.placed_at - one.queued_at
        for one in recent
        if one.placed_at is not None and one.queued_at is not None
    ]
    by_replica: dict[str, int] = {}
    for one in recent:
        if one.replica:
            by_replica[one.replica] = by_replica.get(one.replica, 0) + 1
    return {
        "stats": {
            "count": len(recent),
            "avg_ttft_ms": _average_ms(firsts),
            "avg_queue_ms": _average_ms(queues),
            "by_device": by_replica,
        },
        "queue_depth": sum(parts.scheduler.load(model.name).waiting for model in parts.desired.config.model),
        "figures": {figure.name: _entries(figure.labels, values[figure.name]) for figure in FIGURES},
    }


def _average_ms(seconds: list[float]) -> float:
    return round(1000 * sum(seconds) / len(seconds), 3) if seconds else 0.0


def _entries(labels: Labels, rows: Mapping[Labels, float | Distribution]) -> list[dict[str, object]]:
    return [
        {
            "labels": dict(zip(labels, given, strict=True)),
            **(
                {"buckets": dict(value.buckets()), "sum": value.total, "count": sum(value.counts)}
                if isinstance(value, Distribution)
                else {"value": value}
            ),
        }
        for given, value in rows.items()
    ]
