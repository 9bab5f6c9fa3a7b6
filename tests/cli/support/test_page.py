"""The help page that is printed without typer is the one that typer would print."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.system

_TYPER = "from relayd.cli.app import app; app(['--help'], prog_name='relayd')"
_OURS = "import sys; sys.argv[:] = ['/usr/bin/relayd', '--help']; from relayd.cli.main import run\n"
_LOADED = "try: run()\nexcept SystemExit: print('typer' in sys.modules, file=sys.stderr)"


def ran(program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "NO_COLOR"}}
    return subprocess.run(
        [sys.executable, "-c", program], env=known | environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("columns", ["79", "80", "91", "100", "101", "250"])
def test_the_page_is_that_of_typer_at_any_width(columns: str) -> None:
    ours = ran(_OURS + _LOADED, COLUMNS=columns)

    assert "False" == ours.stderr.strip()
    assert ran(_TYPER, COLUMNS=columns).stdout == ours.stdout


@pytest.mark.parametrize("columns", ["", "0", "-7", "wide"])
def test_a_width_that_makes_no_sense_is_that_of_no_terminal(columns: str) -> None:
    ours = ran(_OURS + _LOADED, COLUMNS=columns)

    assert "False" == ours.stderr.strip()
    assert ran(_TYPER, COLUMNS=columns).stdout == ours.stdout


def test_typer_shortens_the_summaries_on_a_narrow_terminal() -> None:
    ours = ran(_OURS + _LOADED, COLUMNS="60")

    assert "True" == ours.stderr.strip()
    assert "..." in ours.stdout


def test_under_another_name_typer_prints_the_page() -> None:
    program = _OURS.replace("/usr/bin/relayd", "/usr/bin/relay") + _LOADED

    assert "True" == ran(program).stderr.strip()
    assert ran(program).stdout.startswith("Usage: relay [OPTIONS] COMMAND")
