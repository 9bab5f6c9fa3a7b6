"""Are keys made, shown once, limited and taken back from the command line, also while no daemon runs?"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from relayd.apikey import is_mistyped
from relayd.cli.keys import app
from relayd.errors import KeyUnknownError, UsageError

pytestmark = pytest.mark.system

Run = Callable[..., Result]
FOREIGN = "mr_live_0123456789abcdefghijklmnopqrstuv"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folders = {
        f"XDG_{name.upper()}_HOME": str(tmp_path / name) for name in ("config", "state", "cache", "data")
    }
    environ = folders | {"RELAYD_RUNTIME_DIR": str(tmp_path / "r")}

    def run(*arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(app, arguments, input=typed, env=environ)

    return run


def listed(run: Run) -> dict[str, dict[str, object]]:
    return {key["name"]: key for key in json.loads(run("list", "--json").stdout)["keys"]}


def test_a_key_is_printed_alone_so_that_a_script_can_take_it(run: Run) -> None:
    result = run("create", "laptop")

    secret = result.stdout.strip()
    assert not is_mistyped(secret)
    assert secret.startswith("sk-relayd-")
    assert "shown this once" in result.stderr


def test_the_secret_is_shown_by_no_other_command(run: Run) -> None:
    secret = run("create", "laptop").stdout.strip()

    shown = "".join(
        run(*command).output
        for command in (("list",), ("list", "--json"), ("show", "laptop"), ("show", "laptop", "--json"))
    )

    assert secret not in shown
    assert secret[16:] not in shown
    assert "laptop" in shown


def test_every_right_can_be_given(run: Run) -> None:
    limited = ("--limit", "rpm=60,in_flight=4,queued=8", "--quota", "tokens=5M/month", "--class", "batch")
    scopes = ("--scope", "inference", "--scope", "metrics")
    run("create", "batch", *scopes, "--models", "qwen*", "--expires", "30d", *limited, "--no-retention")

    key = listed(run)["batch"]

    assert ["inference", "metrics"] == key["scopes"]
    assert ["qwen*"] == key["models"]
    assert {"rpm": 60, "in_flight": 4, "queued": 8} == key["limits"]
    assert [{"what": "tokens", "amount": 5_000_000, "period": "month"}] == key["quotas"]
    assert ("batch", False) == (key["klass"], key["retain"])
    assert 29.9 * 86_400 < float(str(key["expires"])) - float(str(key["created"])) < 30.1 * 86_400


def test_limits_change_and_what_is_not_given_stays(run: Run) -> None:
    run("create", "a", "--limit", "rpm=60,tpm=1000", "--models", "qwen*")

    run("limits", "a", "--limit", "rpm=none,in_flight=2", "--quota", "requests=10/day")
    first = listed(run)["a"]
    run("limits", "a", "--models", "*", "--quota", "none")
    second = listed(run)["a"]

    assert {"tpm": 1000, "in_flight": 2} == first["limits"] == second["limits"]
    assert ["qwen*"] == first["models"]
    assert "models" not in second
    assert "quotas" not in second


def test_a_rotated_key_has_another_secret_and_a_revoked_one_leaves_the_list(run: Run) -> None:
    first = run("create", "a").stdout
    assert first != run("rotate", "a").stdout

    assert "a is revoked" in run("revoke", "a").stdout
    assert "There is no key" in run("list").stdout
    assert "revoked" in run("list", "--all").stdout


def test_a_secret_from_elsewhere_is_read_from_standard_input_and_not_repeated(run: Run) -> None:
    result = run("import", "old", typed=f"{FOREIGN}\n")

    assert 0 == result.exit_code
    assert FOREIGN not in result.output
    assert "old" in run("show", "--stdin", typed=FOREIGN).stdout


def test_a_secret_finds_its_key_and_a_mistyped_one_is_told_apart(run: Run) -> None:
    secret = run("create", "laptop").stdout.strip()
    run("create", "other")

    assert "laptop" in run("show", "--stdin", typed=secret).stdout
    mistyped = run("show", "--stdin", typed=f"{secret[:-1]}!")
    assert isinstance(mistyped.exception, UsageError)
    assert "typing error" in str(mistyped.exception)
    assert isinstance(run("show", "--stdin", typed=FOREIGN).exception, KeyUnknownError)


def test_alone_it_lists(run: Run) -> None:
    run("create", "laptop")

    assert "laptop" in run().stdout
    assert "laptop" in run("--json").stdout


@pytest.mark.parametrize(
    "arguments",
    [("create", "a b"), ("create", "a", "--scope", "root"), ("create", "a", "--limit", "x=1"), ("show",)],
)
def test_what_cannot_be_is_an_error_with_a_remedy(run: Run, arguments: tuple[str, ...]) -> None:
    error = run(*arguments).exception

    assert isinstance(error, UsageError)
    assert error.remedy


def test_input_that_is_no_key_is_refused_as_that(run: Run) -> None:
    with_bytes = CliRunner().invoke(
        app, ["import", "old"], input=b"mr_live_\xff\xfe0123456789abcdef0123456789"
    )
    endless = run("import", "old", typed="a" * 100_000)

    assert isinstance(with_bytes.exception, UsageError)
    assert isinstance(endless.exception, UsageError)
    assert "at most 1024" in str(endless.exception)


def test_a_key_whose_end_no_calendar_has_is_not_made(run: Run) -> None:
    assert isinstance(run("create", "laptop", "--expires", "99999999999999d").exception, UsageError)

    assert "There is no key" in run("list").stdout
