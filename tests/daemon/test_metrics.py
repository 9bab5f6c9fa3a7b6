"""Are the figures what happened, in the form that Prometheus reads, with labels that no client chooses?"""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types
from prometheus_client.parser import text_string_to_metric_families

from relayd.daemon.eventcounts import EventCounts
from relayd.daemon.figures import BY_NAME, FIGURES
from relayd.daemon.metrics import Values, as_json, collect, exposition
from relayd.daemon.totals import FIRST_BYTE_EDGES, TOKEN_EDGES, Distribution, Totals
from relayd.hardware.loads import DeviceLoad, device_loads
from relayd.journal import Journal
from relayd.scheduler import Ask, Ended, Exchange
from relayd.scheduler.exchange import Usage
from tests.daemon.assembled import MODEL, Assembled, desired, with_parts
from tests.grafana import DASHBOARD, EXTRAS, dashboard

pytestmark = pytest.mark.system


PROMTOOL = shutil.which("promtool") or ""


def ended(model: str = "m", *, stream: bool = True, how: Ended = Ended.DONE, code: str = "") -> Exchange:
    return Exchange(
        Ask(model, stream=stream, key="key_1"), ended=how, code=code, attempts=3, continued=1,
        arrived_at=10.0, queued_at=10.1, placed_at=10.4, first_byte_at=12.0, ended_at=16.0,
        usage=Usage(100, 40, 21),
    )  # fmt: skip


def values(home: Path, *exchanges: Exchange, devices: tuple[DeviceLoad, ...] = ()) -> Values:
    async def story(assembled: Assembled) -> Values:
        for one in exchanges:
            assembled.parts.totals.note(one)
        return collect(assembled.parts, EventCounts(), devices)

    return with_parts(desired(home, MODEL), story)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


@pytest.mark.skipif(not PROMTOOL, reason="needs promtool: apt install prometheus")
def test_promtool_accepts_the_figures_and_the_rules(home: Path) -> None:
    text = exposition(values(home, ended(), ended(stream=False, how=Ended.CUT)))
    checks = [
        subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False),
        subprocess.run(
            [PROMTOOL, "check", "rules", EXTRAS / "prometheus-rules.yml"], capture_output=True, check=False
        ),
    ]

    assert [(0, b""), (0, b"")] == [(one.returncode, one.stderr) for one in checks]


def test_requests_become_counters_and_histograms_that_prometheus_reads(home: Path) -> None:
    found = samples(exposition(values(home, ended(), ended(), ended(stream=False))).decode())

    model = ("model", "m")
    assert 2 == found["relayd_requests_total", (model, ("outcome", "done"), ("stream", "true"))]
    assert (300, 120, 63) == tuple(
        found[f"relayd_{kind}_tokens_total", (model,)] for kind in ("prompt", "cached", "completion")
    )
    assert (6, 3) == (found["relayd_retries_total", (model,)], found["relayd_continuations_total", (model,)])
    assert 3 == found["relayd_key_requests_total", (("key", "key_1"),)]
    assert 300 == found["relayd_key_tokens_total", (("direction", "in"), ("key", "key_1"))]
    first = "relayd_time_to_first_byte_seconds_bucket"
    assert (0, 2) == tuple(found[first, (("le", edge), model, ("stream", "true"))] for edge in ("1.0", "2.5"))
    assert 2 == found["relayd_time_per_output_token_seconds_bucket", (("le", "0.2"), model)]
    assert 3 == found["relayd_queue_seconds_count", (model,)]
    assert pytest.approx(0.9) == found["relayd_queue_seconds_sum", (model,)]


def test_every_figure_that_is_written_is_in_the_table_and_has_its_labels(home: Path) -> None:
    load = DeviceLoad("cuda0", 0.5, 60.0, 250.0, 1)
    text = exposition(values(home, ended(how=Ended.REFUSED, code="queue_full"), devices=(load,))).decode()

    written = [one for one in text_string_to_metric_families(text) if one.name.startswith("relayd_")]
    for family in written:
        figure = BY_NAME.get(family.name) or BY_NAME[f"{family.name}_total"]
        assert figure.text == family.documentation
        for one in family.samples:
            assert set(figure.labels) == one.labels.keys() - {"le"}
    assert 0.5 == samples(text)["relayd_device_utilization_ratio", (("device", "cuda0"),)]


def test_names_follow_the_conventions() -> None:
    for figure in FIGURES:
        assert re.fullmatch(r"relayd_[a-z_]+", figure.name)
        assert (figure.kind == "counter") == figure.name.endswith("_total"), figure.name


def test_buckets_reach_from_a_machine_that_is_fast_to_minutes() -> None:
    spread = Distribution(FIRST_BYTE_EDGES)
    spread.add((9999.0, 0.05, 0.0, 2560.0))
    spread.add((0.051,))

    buckets = dict(spread.buckets())

    assert (2, 3, 4, 5) == tuple(buckets[edge] for edge in ("0.05", "0.1", "2560.0", "+Inf"))
    assert len(TOKEN_EDGES) + 1 == len(Distribution(TOKEN_EDGES).counts)


def test_requests_that_stream_and_those_that_do_not_are_added_up_for_people() -> None:
    totals = Totals()
    for one in (ended(), ended(stream=False)):
        totals.note(one)

    row = totals.by_model()["m"]["done"]

    assert (2, 200, 80, 42, 12.0) == (
        row.requests, row.prompt_tokens, row.cached_tokens, row.completion_tokens, row.seconds
    )  # fmt: skip


def test_what_the_journal_is_given_is_counted_by_event_model_and_cause() -> None:
    marks: list[tuple[str, str, str]] = []
    counts = EventCounts(lambda _at, *mark: marks.append(mark))
    journal = Journal("tests-of-counts")
    logger = journal._logger
    logger.addHandler(counts)
    logger.setLevel("INFO")
    try:
        journal.info("replica.ready", replica="org/m#0")
        journal.warning("replica.exited", replica="org/m#0", cause="crash")
        journal.info("key.created", key="key_1")
    finally:
        logger.removeHandler(counts)

    assert {"replica.ready": 1, "replica.exited": 1, "key.created": 1} == counts.by_event
    assert ({"org/m": 1}, {("org/m", "crash"): 1}) == (counts.loads, counts.exits)
    assert [("replica.ready", "org/m#0", ""), ("replica.exited", "org/m#0", "crash")] == marks


def test_json_has_the_members_that_relayserve_has_and_every_figure(home: Path) -> None:
    async def story(assembled: Assembled) -> dict[str, Any]:
        assembled.parts.doors.exchanges.add(ended())
        found = as_json(collect(assembled.parts, EventCounts()), assembled.parts)
        return dict(json.loads(json.dumps(found)))

    found = with_parts(desired(home, MODEL), story)

    assert (1, 2000.0, 300.0) == tuple(
        found["stats"][name] for name in ("count", "avg_ttft_ms", "avg_queue_ms")
    )
    assert 0 == found["queue_depth"]
    assert BY_NAME.keys() == found["figures"].keys()


def test_a_machine_without_a_driver_has_no_device_loads() -> None:
    def missing() -> Any:
        raise OSError("no driver")

    assert () == device_loads(missing)


class FaultyDriver:
    """A driver that tells the memory and nothing else."""

    class NVMLError(Exception):
        """What it raises."""

    def nvmlInit(self) -> None: ...  # noqa: N802 - the library's name
    def nvmlShutdown(self) -> None: ...  # noqa: N802 - the library's name

    def __getattr__(self, name: str) -> Any:
        def answer(*_: object) -> Any:
            if name == "nvmlDeviceGetCount":
                return 1
            if name == "nvmlDeviceGetHandleByIndex":
                return 0
            raise self.NVMLError

        return 0 if name == "NVML_TEMPERATURE_GPU" else answer


def test_what_a_driver_does_not_tell_is_left_out() -> None:
    assert (DeviceLoad("cuda0"),) == device_loads(FaultyDriver)


def expressions() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in yaml.safe_load((EXTRAS / "prometheus-rules.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_dashboard_and_alerts_ask_for_figures_that_exist_with_labels_that_they_have() -> None:
    for expression in expressions():
        assert expression.count("(") == expression.count(")"), expression
        for name, selector in re.findall(r"(relayd_[a-z_]+)(?:\{([^}]*)\})?", expression):
            plain = re.sub(r"_(bucket|sum|count)$", "", name)
            assert plain in BY_NAME, expression
            labels = set(re.findall(r'(\w+)=~?"', selector))
            assert labels <= {*BY_NAME[plain].labels, "instance"}, expression


def test_the_dashboard_is_current_and_has_what_grafana_needs() -> None:
    assert dashboard() == DASHBOARD.read_text(), "run: python -m tests.grafana"
    document = json.loads(dashboard())
    assert {"title", "uid", "schemaVersion", "panels", "templating", "annotations", "time"} <= document.keys()
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))


def test_a_scrape_is_the_same_from_many_at_once(home: Path) -> None:
    found = values(home, ended())

    async def many() -> list[bytes]:
        return await asyncio.gather(*(asyncio.to_thread(exposition, found) for _ in range(8)))

    texts = {re.sub(rb"(?m)^(# (HELP|TYPE) )?process_.*$", b"", one) for one in asyncio.run(many())}
    assert 1 == len(texts)
