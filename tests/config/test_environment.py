"""Do variables override scalars, and are slips in their names found?"""

from pathlib import Path

import pytest

from relayd.config.check import Document, Surroundings
from relayd.config.environment import overrides
from relayd.secret import Secret

pytestmark = pytest.mark.pure

KEY = "k" * 24


def read(**environ: str) -> Document:
    return overrides(Surroundings(Path("/srv"), Path("/home/ann"), environ))


def test_text_becomes_what_the_setting_is() -> None:
    document = read(
        RELAYD_SERVER__LISTEN="0.0.0.0:80",
        RELAYD_QUEUE__DEPTH="5",
        RELAYD_PROBE__FAST_SECONDS="0.5",
        RELAYD_REPLICAS__PORTS="9000-9010",
        RELAYD_ENGINE__PATH="bin/llama-server",
    )

    assert [] == document.problems
    assert {
        "server": {"listen": "0.0.0.0:80"},
        "queue": {"depth": 5},
        "probe": {"fast_seconds": 0.5},
        "replicas": {"ports": "9000-9010"},
        "engine": {"path": "/srv/bin/llama-server"},
    } == document.values


def test_the_variables_used_are_named_as_sources() -> None:
    assert ["RELAYD_API_KEY", "RELAYD_QUEUE__DEPTH"] == read(
        RELAYD_QUEUE__DEPTH="5", RELAYD_API_KEY=KEY, PATH="/bin"
    ).sources


@pytest.mark.parametrize("name", ["RELAYD_API_KEY", "RELAYD_SERVER__API_KEY"])
def test_the_key_has_a_short_form(name: str) -> None:
    assert {"server": {"api_key": Secret(KEY)}} == read(**{name: KEY}).values


def test_both_forms_of_the_key_must_agree() -> None:
    assert [] == read(RELAYD_API_KEY=KEY, RELAYD_SERVER__API_KEY=KEY).problems
    assert [
        "RELAYD_SERVER__API_KEY: another variable sets api_key to something else; keep one of them"
    ] == read(RELAYD_API_KEY=KEY, RELAYD_SERVER__API_KEY=KEY + "x").problems


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("RELAYD_SERVER__LISTN", "x", "unknown setting; did you mean RELAYD_SERVER__LISTEN?"),
        ("RELAYD_ZZZ__QQQ", "x", "unknown setting"),
        ("RELAYD_MODEL__NAME", "x", "unknown setting"),
        (
            "RELAYD_SERVER__ALLOWED_HOSTS",
            "a",
            '"allowed_hosts" in [server] is an array; set it in relay.toml',
        ),
        (
            "RELAYD_QUEUE__DEPTH",
            "many",
            '"depth" in [queue]: expected an integer of at least 1, or "unlimited", got the string "many"',
        ),
        (
            "RELAYD_QUEUE__DEPTH",
            "0",
            '"depth" in [queue]: expected an integer of at least 1, or "unlimited", got the string "0"',
        ),
        (
            "RELAYD_PROBE__FAST_SECONDS",
            "nan",
            '"fast_seconds" in [probe]: expected a number above 0, got the string "nan"',
        ),
        (
            "RELAYD_API_KEY",
            "short",
            (
                '"api_key" in [server]: a key of 5 characters can be guessed, at least 24 are needed; '
                "make one with: openssl rand -hex 32"
            ),
        ),
    ],
)
def test_a_problem_names_the_variable(name: str, text: str, problem: str) -> None:
    (found,) = read(**{name: text}).problems

    assert found == f"{name}: {problem}" or found.startswith(f"{name}: {problem}; did you mean")


@pytest.mark.parametrize(
    "name",
    ["RELAYD_CONFIG", "RELAYD_RUNTIME_DIR", "RELAYD_INSTANCE", "RELAYD_REPLICA", "RELAYD_PORT", "RELAYDX__Y"],
)
def test_variables_that_are_no_settings_are_left_alone(name: str) -> None:
    assert Document() == read(**{name: "x"})


def test_an_empty_variable_counts_as_unset() -> None:
    assert Document() == read(RELAYD_API_KEY="", RELAYD_QUEUE__DEPTH="")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RELAYD_LISTEN", "RELAYD_SERVER__LISTEN"),
        ("RELAYD_SERVER_LISTEN", "RELAYD_SERVER__LISTEN"),
        ("RELAYD_QUEUE_MAX_WAIT_SECONDS", "RELAYD_QUEUE__MAX_WAIT_SECONDS"),
    ],
)
def test_a_forgotten_underscore_is_a_warning(name: str, meant: str) -> None:
    document = read(**{name: "x"})

    assert ([], {}) == (document.problems, document.values)
    assert [f"{name} is not a setting and has no effect; did you mean {meant}?"] == document.warnings


@pytest.mark.parametrize("value", ["unlimited", "7"])
def test_a_limit_of_the_queue_may_be_lifted(value: str) -> None:
    document = read(RELAYD_QUEUE__DEPTH=value, RELAYD_QUEUE__MAX_WAIT_SECONDS=value)

    expected = value if value == "unlimited" else 7
    assert [] == document.problems
    assert {"queue": {"depth": expected, "max_wait_seconds": expected}} == document.values
