import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from relayd.cli.pull import pull, too_large
from relayd.errors import RelaydError, UsageError
from tests.daemons import DEADLINE_SECONDS, wait_until
from tests.fakes.hub import FakeHub, Fault, running_hub

pytestmark = pytest.mark.fake

Run = Callable[..., Result]
REPO = "maker/tiny-GGUF"


@pytest.fixture
def fake(tiny_model: Path) -> Iterator[FakeHub]:
    with running_hub() as fake:
        fake.add(REPO, **{"tiny-Q8_0": tiny_model.read_bytes()})
        yield fake


@pytest.fixture
def run(home: Path, fake: FakeHub) -> Run:
    app = typer.Typer()
    app.command()(pull)
    folders = {f"XDG_{name.upper()}_HOME": str(home / name) for name in ("config", "state", "cache", "data")}
    hub = {
        "HF_ENDPOINT": fake.endpoint,
        "HF_TOKEN": fake.token,
        "HF_HOME": str(home / "hf"),
        "LLAMA_CACHE": "",
    }

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments, env={"HOME": str(home)} | folders | hub)

    return run


def test_a_pull_tells_where_the_model_is_and_how_to_serve_it(run: Run, home: Path) -> None:
    result = run(f"hf:{REPO}")
    path, serve = result.stdout.splitlines()
    assert str(home / "hf/hub/models--maker--tiny-GGUF") in path
    assert "Serve it: relayd serve tiny-Q8_0" == serve
    assert "tiny-Q8_0: " in result.stderr
    assert "(100%)" in result.stderr


def test_a_pull_as_json_is_its_record(run: Run) -> None:
    result = run(f"hf:{REPO}", "--json", "--quiet")
    document = json.loads(result.stdout)
    assert ("tiny-Q8_0", True, f"hf:{REPO}/tiny-Q8_0.gguf") == (
        document["name"],
        document["finished"],
        document["source"],
    )
    assert Path(document["path"]).is_file()
    assert "" == result.stderr


def test_a_dry_run_shows_what_would_come_and_fetches_nothing(run: Run, fake: FakeHub, home: Path) -> None:
    result = run(f"hf:{REPO}", "--dry-run")
    assert re.search(rf" from [\d.:]+/{REPO}\n", result.stderr)
    assert ([], []) == (fake.downloads(), list((home / "data").rglob("*")))


def test_the_token_of_the_environment_opens_a_closed_repository(run: Run, fake: FakeHub) -> None:
    fake.closed.add(REPO)
    assert 0 == run(f"hf:{REPO}").exit_code
    assert "hf_right" not in run(f"hf:{REPO}", "--json").output


def test_a_pull_that_ended_early_says_what_it_kept_and_how_to_resume(run: Run, fake: FakeHub) -> None:
    fake.faults.extend([Fault(2048), *[Fault(0)] * 7])
    error = run(f"hf:{REPO}").exception
    assert isinstance(error, RelaydError)
    assert f"Resume: relayd pull hf:{REPO}" in error.remedy
    assert "Kept 2.0 KiB of " in error.remedy


def test_an_interrupted_pull_says_what_it_kept_and_how_to_resume(
    fake: FakeHub, home: Path, tiny_model: Path
) -> None:
    fake.add("maker/large-GGUF", **{"large-Q8_0": tiny_model.read_bytes() * 20})
    fake.faults.append(Fault(1 << 20, "hold"))
    environ = os.environ | {"HOME": str(home), "HF_ENDPOINT": fake.endpoint, "HF_HOME": str(home / "hf")}
    command = [sys.executable, "-m", "relayd", "pull", "hf:maker/large-GGUF"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as pulling:
        assert fake.held.wait(DEADLINE_SECONDS)
        wait_until(lambda: any(part.stat().st_size for part in (home / "hf").rglob("*.part")))
        pulling.send_signal(signal.SIGINT)
        _, shown = pulling.communicate(timeout=DEADLINE_SECONDS)
    assert 130 == pulling.returncode
    assert re.search(r"Kept \S+ [KM]iB of \S+ MiB\. Resume: relayd pull hf:maker/large-GGUF", shown)


def test_a_name_that_nobody_knows_is_an_error(run: Run) -> None:
    result = run("no-such-model")
    assert isinstance(result.exception, UsageError)
    assert "no model 'no-such-model'" in result.exception.message


def test_a_name_of_several_models_is_answered_with_the_two_best_and_why(run: Run, fake: FakeHub) -> None:
    error = run("qwen3").exception
    assert isinstance(error, UsageError)
    best = error.remedy.splitlines()[:2]
    assert all(line.startswith("relayd pull qwen3-") and " GiB, " in line for line in best)
    assert [] == fake.asked


def test_a_model_that_no_memory_could_hold_is_told_with_the_numbers() -> None:
    assert "" == too_large(1)
    assert "" == too_large(0)
    assert "its weights take 1048576 GiB, this machine has" in too_large(1 << 50)
