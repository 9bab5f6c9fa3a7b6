"""Send a running relayd what its description allows and forbids: `python -m tests.openapi URL [MODEL]`.

schemathesis makes the requests: `pip install schemathesis`, which relayd itself does not need. Give it a
daemon of its own: requests load and unload models, and with an administrator's key change them.
"""

import os
import subprocess
import sys
from pathlib import Path

CHECKS = (
    "no_fault", "status_code_conformance", "content_type_conformance",
    "response_schema_conformance", "unsupported_method",
)  # fmt: skip
"""What an answer must be, whatever was asked."""

EXAMPLES = 30
"""Requests made for each operation, at most."""


def command(url: str, examples: int = EXAMPLES, seed: int = 7) -> list[str]:
    """Return the command that tests a relayd by its own description."""
    return [
        "schemathesis", "run", f"{url.rstrip('/')}/openapi.json", "--checks", ",".join(CHECKS),
        "--phases", "fuzzing", "--max-examples", str(examples), "--seed", str(seed), "--workers", "1",
        "--request-timeout", "60", "--continue-on-failure", "--suppress-health-check", "all", "--no-color",
    ]  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run schemathesis, and return its exit status."""
    url, *named = arguments or ["http://127.0.0.1:8080"]
    hooks = str(Path(__file__).with_name("hooks.py"))
    environ = os.environ | {"SCHEMATHESIS_HOOKS": hooks, "RELAYD_TESTED_MODEL": (named or [""])[0]}
    try:
        return subprocess.run(command(url), env=environ, check=False).returncode
    except FileNotFoundError:
        sys.stderr.write("schemathesis is not on PATH: pip install schemathesis\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
