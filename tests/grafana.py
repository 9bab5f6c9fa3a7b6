"""Rewrite the dashboard for Grafana in extras/: `python -m tests.grafana`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXTRAS = Path(__file__).parents[1] / "extras"
DASHBOARD = EXTRAS / "grafana-dashboard.json"

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_MODEL = 'model=~"$model"'


def _quantile(share: float, name: str) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({name}_bucket{{{_MODEL}}}[$__rate_interval])))"


def _panel(
    title: str, unit: str, *queries: tuple[str, str], kind: str = "timeseries", stack: bool = False
) -> dict[str, Any]:
    """Return a panel; each query with the legend of its lines."""
    stacking = {"custom": {"stacking": {"mode": "normal"}, "fillOpacity": 30}} if stack else {}
    return {
        "title": title,
        "type": kind,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, **stacking}, "overrides": []},
        "options": {},
        "targets": [
            {"refId": chr(65 + at), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(queries)
        ],
    }


def _shares(name: str, *shares: float) -> list[tuple[str, str]]:
    return [(_quantile(share, name), f"p{share * 100:g}") for share in shares]


def _grown(name: str, by: str) -> str:
    return f"sum by ({by}) (increase({name}[$__rate_interval]))"


def _rate(name: str, by: str = "model") -> str:
    selector = f"{{{_MODEL}}}" if "model" in by else ""
    return f"sum by ({by}) (rate({name}{selector}[$__rate_interval]))"


PANELS: Sequence[dict[str, Any]] = (
    _panel("Tokens out", "short", (_rate("relayd_completion_tokens_total"), "{{model}}")),
    _panel(
        "Running and waiting",
        "short",
        (f"sum(relayd_requests_running{{{_MODEL}}})", "running"),
        (f"sum(relayd_requests_waiting{{{_MODEL}}})", "waiting"),
        (f"sum(relayd_slots{{{_MODEL}}})", "slots"),
    ),
    _panel(
        "First byte",
        "s",
        *_shares("relayd_time_to_first_byte_seconds", 0.5, 0.95, 0.99),
    ),
    _panel("Queue", "s", *_shares("relayd_queue_seconds", 0.5, 0.95)),
    _panel(
        "Each token",
        "s",
        *_shares("relayd_time_per_output_token_seconds", 0.5, 0.95),
    ),
    _panel(
        "Requests by outcome",
        "reqps",
        (_rate("relayd_requests_total", "model, outcome"), "{{model}} {{outcome}}"),
        stack=True,
    ),
    _panel("Errors by code", "reqps", (_rate("relayd_errors_total", "code"), "{{code}}")),
    _panel(
        "Prompts: share from the cache",
        "percentunit",
        (f"{_rate('relayd_cached_tokens_total')} / {_rate('relayd_prompt_tokens_total')}", "{{model}}"),
    ),
    _panel(
        "Memory held",
        "bytes",
        ('relayd_memory_bytes{kind="held"}', "{{account}}"),
        ('relayd_memory_bytes{kind="capacity"}', "{{account}}, capacity"),
    ),
    _panel("Memory free", "bytes", ('relayd_memory_bytes{kind="free"}', "{{account}}")),
    _panel(
        "Loads and evictions",
        "short",
        (_grown("relayd_loads_total", "model"), "load {{model}}"),
        (_grown("relayd_evictions_total", "cause"), "evicted: {{cause}}"),
    ),
    _panel(
        "Exits of replicas", "short", (_grown("relayd_exits_total", "model, cause"), "{{model}} {{cause}}")
    ),
    _panel(
        "Retries and continuations",
        "short",
        (_rate("relayd_retries_total"), "retried {{model}}"),
        (_rate("relayd_continuations_total"), "continued {{model}}"),
    ),
    _panel(
        "Tokens by key",
        "short",
        (_rate("relayd_key_tokens_total", "key, direction"), "{{key}} {{direction}}"),
        stack=True,
    ),
    _panel("Devices busy", "percentunit", ("relayd_device_utilization_ratio", "{{device}}")),
    _panel("Temperature", "celsius", ("relayd_device_temperature_celsius", "{{device}}")),
    _panel(
        "relayd's own CPU", "percentunit", ("rate(process_cpu_seconds_total[$__rate_interval])", "relayd")
    ),
    _panel("relayd's own memory", "bytes", ("process_resident_memory_bytes", "relayd")),
)


def dashboard() -> str:
    """Return the dashboard."""
    panels = [
        {**panel, "id": at + 1, "gridPos": {"x": 8 * (at % 3), "y": 8 * (at // 3), "w": 8, "h": 8}}
        for at, panel in enumerate(PANELS)
    ]
    document = {
        "title": "relayd",
        "uid": "relayd",
        "tags": ["llama.cpp", "relayd"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-6h", "to": "now"},
        "graphTooltip": 1,
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
                {
                    "name": "model",
                    "type": "query",
                    "datasource": _SOURCE,
                    "includeAll": True,
                    "multi": True,
                    "query": {"query": "label_values(relayd_slots, model)", "refId": "models"},
                    "allValue": ".*",
                    "refresh": 2,
                    "current": {"text": "All", "value": "$__all"},
                },
            ]
        },
        "annotations": {
            "list": [
                {
                    "name": "Exits",
                    "enable": True,
                    "datasource": _SOURCE,
                    "iconColor": "red",
                    "expr": "sum by (model, cause) (increase(relayd_exits_total[1m])) > 0",
                    "titleFormat": "{{model}}: {{cause}}",
                }
            ]
        },
        "panels": panels,
    }
    return json.dumps(document, indent=1) + "\n"


if __name__ == "__main__":
    DASHBOARD.write_text(dashboard())
