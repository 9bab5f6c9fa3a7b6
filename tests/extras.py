"""Rewrite the units and property lists in extras/: `python -m tests.extras`."""

from pathlib import Path

from typer.testing import CliRunner

from relayd.cli.service import app

EXTRAS = Path(__file__).parents[1] / "extras"

COMMANDS = {
    "relayd.service": "show relayd.service --system --program /opt/relayd/bin/relayd",
    "relayd.socket": "show relayd.socket --system --program /opt/relayd/bin/relayd",
    "relayd.sysusers.conf": "show sysusers.conf --system --program /opt/relayd/bin/relayd",
    "relayd-user.service": "show relayd.service --user --program /home/you/.local/bin/relayd",
    "dev.relayd.agent.plist": "show dev.relayd.plist --user --launchd --program /Users/you/.local/bin/relayd",
    "dev.relayd.daemon.plist": "show dev.relayd.plist --system --launchd --program /opt/relayd/bin/relayd",
}
"""File -> what follows `relayd service` to print it."""


def regenerated(name: str) -> str:
    """Return a file as it should be: what the command prints for somebody without any settings."""
    command = COMMANDS[name]
    home = "/Users/you" if "launchd" in command else "/home/you"
    variables = dict.fromkeys(
        [f"XDG_{one}_HOME" for one in ("CONFIG", "DATA", "STATE", "CACHE")] + ["RELAYD_RUNTIME_DIR"]
    )
    result = CliRunner(env={**variables, "HOME": home}).invoke(app, command.split())
    assert result.exit_code == 0, result.output
    return result.output


if __name__ == "__main__":
    for one in COMMANDS:
        (EXTRAS / one).write_text(regenerated(one))
