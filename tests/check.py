"""Does everything hold? Runs ruff, the formatter, mypy and pytest, and says so in one line.

`python -m tests.check` from the root of the checkout; `--quick` leaves pytest out.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

STATIC_CHECKS = (
    ("ruff", "check", "--no-fix"),
    ("ruff", "format", "--check"),
    ("mypy",),
)
TESTS = ("pytest",)


def passes(step: tuple[str, ...]) -> bool:
    """Run one tool in this interpreter's environment and say how it went."""
    name = " ".join(step)
    say(f"== {name}")
    started = time.monotonic()
    status = subprocess.run([sys.executable, "-m", *step], cwd=ROOT, check=False).returncode
    say(f"== {name}: {'passed' if status == 0 else 'FAILED'} in {time.monotonic() - started:.1f} s\n")
    return status == 0


def say(line: str) -> None:
    """Print at once, so that lines of the tools keep their place between ours."""
    print(line, flush=True)  # noqa: T201 - a command's output


def main() -> int:
    """Run every step, also after one failed, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.check", description="Run every check of relayd.")
    parser.add_argument("--quick", action="store_true", help="leave pytest out")
    steps = STATIC_CHECKS if parser.parse_args().quick else (*STATIC_CHECKS, TESTS)
    failed = [" ".join(step) for step in steps if not passes(step)]
    say(f"FAILED: {', '.join(failed)}" if failed else f"All {len(steps)} checks passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
