"""Are limits, quotas and durations read as people type them?"""

from datetime import UTC, datetime

import pytest

from relayd.cli.support.keyspec import parse_count, parse_limits, parse_moment, parse_quotas, parse_since
from relayd.errors import UsageError
from relayd.rights import CLASSES, KeyLimits, Quota
from relayd.scheduler import ask

pytestmark = pytest.mark.pure

NOW = 1_796_040_000.0  # 2026-11-30 12:00 UTC


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["rpm=60,tpm=100000,in_flight=4,queued=8"], KeyLimits(60, 100_000, 4, 8)),
        (["rpm=60", "tpm=1.5M"], KeyLimits(60, 1_500_000, 7)),
        (["in_flight=none"], KeyLimits()),
        (["rpm=1, tpm=100k"], KeyLimits(1, 100_000, 7)),
    ],
)
def test_limits_replace_those_that_are_named(texts: list[str], expected: KeyLimits) -> None:
    assert expected == parse_limits(texts, KeyLimits(in_flight=7))


@pytest.mark.parametrize("text", ["", "rpm", "rpm=", "rpm=x", "rpm=-1", "rps=3", "rpm=1,", "tpm=1T", "=1"])
def test_a_limit_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_limits([text], KeyLimits())

    assert refused.value.remedy


def test_quotas_are_read_one_by_one_or_together() -> None:
    expected = (Quota("tokens", 5_000_000, "month"), Quota("requests", 1000, "day"))

    assert expected == parse_quotas(["tokens=5M/month,requests=1000/day"])
    assert expected == parse_quotas(["tokens=5M/month", "requests=1k/day"])
    assert () == parse_quotas(["none"])
    assert "tokens=5000000/month" == str(expected[0])


@pytest.mark.parametrize("text", ["tokens=5M", "tokens=5M/year", "words=5/day", "5M/month", "tokens=/day"])
def test_a_quota_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(UsageError):
        parse_quotas([text])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", NOW + 30 * 86_400),
        ("12h", NOW + 12 * 3600),
        ("2w", NOW + 14 * 86_400),
        ("never", None),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC).timestamp()),
    ],
)
def test_an_end_is_a_duration_or_a_day(text: str, expected: float | None) -> None:
    assert expected == parse_moment(text, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "d",
        "1y",
        "2026-02-30",
        "2026-11-30",
        "2020-01-01",
        "-1d",
        "0d",
        "99999999999999d",
        "9" * 400 + "d",
    ],
)
def test_an_end_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("text", "expected"), [("60", 60), ("100k", 100_000), ("1.5M", 1_500_000), ("2G", 2 * 10**9)]
)
def test_numbers_may_have_a_multiple(text: str, expected: int) -> None:
    assert expected == parse_count(text)


def test_the_classes_of_keys_are_those_of_requests() -> None:
    assert ask.CLASSES == CLASSES


@pytest.mark.parametrize("text", ["999999999999999999999", "9" * 400, "1000001G"])
def test_a_number_beyond_any_use_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="too large"):
        parse_count(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("all", ""), ("7d", "2026-11-23"), ("2026-11-01", "2026-11-01"), ("99999999999999d", "1970-01-01")],
)
def test_a_time_that_ends_now_begins_on_a_day(text: str, expected: str) -> None:
    assert expected == parse_since(text, NOW)
