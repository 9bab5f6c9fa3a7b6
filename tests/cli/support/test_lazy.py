"""The lazy group: what it lists without an import is what the commands say of themselves."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relayd.cli.app import app
from relayd.cli.main import COMMANDS
from tests.daemons import home_environ


@pytest.mark.pure
@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_first_sentence_of_the_commands_own_help(name: str) -> None:
    command = COMMANDS[name].load(name)

    assert COMMANDS[name].summary.rstrip(".") == command.get_short_help_str(200).rstrip(".")
    assert name == command.name


@pytest.mark.pure
def test_a_command_runs_under_its_name_in_the_group() -> None:
    shown = CliRunner().invoke(app, ["version"])

    assert 0 == shown.exit_code
    assert shown.stdout.startswith("relayd ")


@pytest.mark.pure
def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    shown = CliRunner().invoke(app, ["statos"])

    assert 2 == shown.exit_code
    assert "'status'" in shown.output


@pytest.mark.system
def test_help_imports_no_command() -> None:
    program = (
        "import sys; from relayd.cli.app import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('relayd.') and 'errors' not in name], "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    commands = {one.module for one in COMMANDS.values()}
    assert not [module for module in commands if f"'{module}'" in done.stderr]


@pytest.mark.system
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("relayd sta", {"start", "status"}),
        ("relayd engine ", {"install", "list", "path", "rollback", "update"}),
    ],
)
def test_a_shell_completes_commands_and_those_of_a_group(words: str, expected: set[str], home: Path) -> None:
    environ = {
        **home_environ(home),
        "_RELAYD_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    program = "from relayd.cli.app import app; app(prog_name='relayd')"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False
    )

    assert expected == set(done.stdout.split())


@pytest.mark.system
def test_asking_a_daemon_loads_nothing_of_what_runs_in_it() -> None:
    program = "import relayd.client.control, sys; print(*(name for name in sys.modules if 'relayd' in name))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert not {"router", "scheduler", "api"} & {
        name.split(".")[1] for name in done.stdout.split() if "." in name
    }


@pytest.mark.system
def test_listing_models_loads_no_tls_and_where_there_are_none_no_tables(home: Path) -> None:
    program = """import sys
from relayd.cli.main import run
try: run()
finally: print(*sys.modules, file=sys.stderr)"""
    done = subprocess.run(
        [sys.executable, "-c", program, "models"],
        env=home_environ(home), cwd=home, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert "No model is on this disk." in done.stdout
    assert not {"ssl", "http.client", "rich", "relayd.hardware", "asyncio"} & {*done.stderr.split()}
