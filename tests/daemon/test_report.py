"""Reports keep the form that other builds and scripts read."""

from pathlib import Path

import msgspec
import pytest

from relayd.daemon.report import ConfigurationReport, ReloadReport, StatusReport

pytestmark = pytest.mark.pure

DATA = Path(__file__).parent / "data"


def test_a_report_of_the_last_build_is_read_with_defaults_and_without_what_is_unknown() -> None:
    raw = (DATA / "status_e573402.json").read_bytes()
    sent = msgspec.json.decode(raw)
    report = msgspec.json.decode(raw, type=StatusReport)

    assert sent == msgspec.json.decode(msgspec.json.encode(report)), "no member is lost or renamed"
    newer = msgspec.json.encode(sent | {"colour": 1})
    assert report == msgspec.json.decode(newer, type=StatusReport)
    del sent["predecessor"], sent["service"]
    assert report == msgspec.json.decode(msgspec.json.encode(sent), type=StatusReport)


def test_the_key_is_not_in_the_text_of_a_report() -> None:
    report = ConfigurationReport(("relay.toml",), "127.0.0.1:8080", "http://127.0.0.1:8080", "secret")

    assert "secret" not in f"{report} {report!r} {[report]}"


def test_only_a_reload_that_was_carried_out_names_replicas() -> None:
    report = ReloadReport(True, [], [], [], {}, [])

    assert "replicas" not in msgspec.to_builtins(report)
    done = msgspec.structs.replace(report, replicas={})
    assert {} == msgspec.to_builtins(done)["replicas"]
