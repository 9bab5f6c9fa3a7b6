"""Reports keep the form that other builds and scripts read."""

from pathlib import Path

import msgspec
import pytest

from relayd.daemon.givenreport import ConfigurationReport
from relayd.daemon.report import ReloadReport, StatusReport

pytestmark = pytest.mark.pure

DATA = Path(__file__).parent / "data"


def test_a_report_of_the_last_build_is_read_with_defaults_and_without_what_is_unknown() -> None:
    raw = (DATA / "status_e573402.json").read_bytes()
    sent = msgspec.json.decode(raw)
    report = msgspec.json.decode(raw, type=StatusReport)

    assert [] == lost(sent, msgspec.json.decode(msgspec.json.encode(report))), "no member is lost or renamed"
    newer = msgspec.json.encode(sent | {"colour": 1})
    assert report == msgspec.json.decode(newer, type=StatusReport)
    del sent["predecessor"], sent["service"]
    assert report == msgspec.json.decode(msgspec.json.encode(sent), type=StatusReport)


def lost(sent: object, kept: object, at: str = "report") -> list[str]:
    """Return the members that are missing or have another value; further ones may be there."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [one for key, value in sent.items() for one in lost(value, kept.get(key), f"{at}.{key}")]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        pairs = enumerate(zip(sent, kept, strict=True))
        return [one for number, (was, now) in pairs for one in lost(was, now, f"{at}[{number}]")]
    return [] if sent == kept else [at]


def test_the_key_is_not_in_the_text_of_a_report() -> None:
    report = ConfigurationReport(("relay.toml",), "127.0.0.1:8080", "http://127.0.0.1:8080", "secret")

    assert "secret" not in f"{report} {report!r} {[report]}"


def test_only_a_reload_that_was_carried_out_names_replicas() -> None:
    report = ReloadReport(True, [], [], [], {}, [])

    assert "replicas" not in msgspec.to_builtins(report)
    done = msgspec.structs.replace(report, replicas={})
    assert {} == msgspec.to_builtins(done)["replicas"]
