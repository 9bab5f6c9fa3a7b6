"""Does `relayd recommend` answer within its width, with reasons, and with a line that starts?"""

import json
import shlex
import subprocess
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from relayd.advice.known import catalogue_header
from relayd.cli.plan import plan
from relayd.cli.recommend import recommend
from relayd.engine import Engine
from relayd.engine.memory import breakdown
from relayd.errors import ConfigError, ModelFileError, UsageError
from relayd.gguf.writer import write_sparse
from relayd.planner.quality import Use
from tests.planner.models import catalogue

pytestmark = pytest.mark.real

GPU = "gpu=4090:24,ram=64"


Run = Callable[..., Result]

app = typer.Typer()
app.command()(recommend)
app.command()(plan)


@pytest.fixture
def run(home: Path, engine: Engine) -> Run:
    """Run a command in a home of its own, whose relay.toml may be written first."""
    folders = {f"XDG_{one}_HOME": str(home / one.lower()) for one in ("STATE", "DATA", "CONFIG", "CACHE")}
    env = folders | {"LLAMA_SERVER_PATH": str(engine.path)}

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env=env)

    return invoke


def configure(home: Path, model: Path, more: str = "", before: str = "") -> None:
    folder = home / "config" / "relayd"
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    (folder / "relay.toml").write_text(f'{before}[[model]]\nname = "mine"\nfile = "{model}"\n{more}')
    (folder / "relay.toml").chmod(0o600)


def test_the_best_of_each_use_come_in_a_table_of_100_columns(run: Run) -> None:
    said = run("recommend", "--all", "--simulate", GPU).output

    assert all(f"for {use}:" in said for use in Use)
    assert 100 >= max(map(len, said.splitlines()))
    assert "\x1b" not in said


def test_three_answers_come_as_sentences_with_the_machine_on_top(run: Run) -> None:
    said = run("recommend", "--simulate", "4090,ram=64").output

    assert said.startswith("Simulated: RTX 4090, 24 GiB, 1008 GB/s; 64 GiB RAM\nModels may take ")
    assert all(f"\n{kind}" in said for kind in ("Comfortable", "Best that fits", "Small and quick"))
    assert 3 == said.count("  relayd pull ")
    assert 100 >= max(map(len, said.splitlines()))


def test_other_words_for_a_use_are_understood_and_nonsense_is_refused(run: Run) -> None:
    assert "For code, one user" in run("recommend", "--for", "coding", "--simulate", "4090").output
    refused = run("recommend", "--for", "gardening", "--simulate", "4090").exception

    assert isinstance(refused, UsageError)
    assert "Choose one of chat, agent, code, reasoning, vision, embedding, long." == refused.remedy


def test_every_number_has_its_tag(run: Run) -> None:
    said = json.loads(run("recommend", "--for", "code", "--simulate", GPU, "--json").output)

    first = said["recommendations"]["code"][0]
    placement = first["placement"]
    assert {"value", "low", "high", "tag"} == placement["tokens_per_second"]["alone"].keys()
    assert all(one["tag"] in {"modelled", "measured"} for one in placement["memory"].values())
    assert "catalogue" == placement["file_bytes"]["tag"]
    assert "modelled" == first["quality"]["tag"]


def test_a_no_shows_need_and_have_and_what_would_fit(run: Run) -> None:
    said = run("recommend", "--model", "llama-3.3-70b-instruct", "--simulate", "gpu=4060:8,ram=16").output

    assert "Verdict    no" in said
    assert "Q4_K_M needs at least 36 GiB of host, 12 GiB can be used" in " ".join(said.split())
    assert "Would fit  Q4_K_M with 1 x 8192 tokens takes 41 GiB of one GPU" in " ".join(said.split("\n"))


def test_a_context_and_a_speed_are_demanded(run: Run) -> None:
    said = json.loads(
        run("recommend", "--for", "chat", "--simulate", GPU, "--min-context", "65536", "--min-speed", "40",
            "--slots", "2", "--json").output
    )  # fmt: skip

    good = [one["placement"] for one in said["recommendations"]["chat"] if one["recommended"]]
    assert good
    assert all(one["context"] >= 65536 and one["slots"] == 2 for one in good)
    assert all(one["tokens_per_second"]["each"]["value"] >= 40 for one in good)


def test_a_file_that_is_not_here_is_not_written_but_can_be_pulled(run: Run) -> None:
    found = run("recommend", "--for", "chat", "--simulate", GPU, "--write").exception

    assert isinstance(found, ModelFileError)
    assert "relayd pull " in found.remedy


def test_a_file_on_disk_is_written_as_a_model(run: Run, home: Path, tiny_model: Path) -> None:
    configure(home, tiny_model)

    said = run("recommend", "--model", tiny_model.stem, "--write").output
    path = Path(said.split(" to ")[1].split(";")[0])

    (written,) = tomllib.loads(path.read_text())["model"]
    assert (tiny_model.stem, str(tiny_model)) == (written["name"], written["file"])
    assert (0, []) == (written["placement"]["gpu_layers"], written["placement"]["devices"])


def test_what_is_written_fits_beside_what_is_configured(run: Run, home: Path, slow_model: Path) -> None:
    configure(home, slow_model, "context = 4096\n", "[memory]\nhost_mib = 1500\n")

    written = run("recommend", "--model", slow_model.stem, "--write")

    assert "Added" in written.output
    planned = json.loads(run("plan", "--json").output)["replicas"]
    assert ["mine#0", f"{slow_model.stem}#0"] == [one["name"] for one in planned]
    assert 0 == run("plan").exit_code


def test_what_does_not_fit_beside_it_is_refused_with_need_have_and_who_holds_the_rest(
    run: Run, home: Path, slow_model: Path
) -> None:
    configure(home, slow_model, "context = 4096\n", "[memory]\nhost_mib = 700\n")
    asked = ("--model", slow_model.stem, "--min-context", "4096", "--slots", "4")

    refused = run("recommend", *asked, "--write").exception

    assert isinstance(refused, UsageError)
    assert "slow does not fit" in refused.message
    assert " can be used (of " in refused.message
    assert "for mine#0" in refused.message


def test_the_plan_tells_what_every_device_is_left_with(run: Run, home: Path, tiny_model: Path) -> None:
    configure(home, tiny_model, "replicas = 2\ncache_ram_mib = 64\n")

    said = json.loads(run("plan", "--json").output)

    assert ["mine#0", "mine#1"] == [one["name"] for one in said["replicas"]]
    (cpu,) = said["devices"]
    assert cpu["planned_bytes"] == sum(one["placement"]["memory"]["cpu"]["bytes"] for one in said["replicas"])
    assert "FREE" in run("plan").output


def test_a_context_that_is_configured_is_planned_as_it_will_run(
    run: Run, home: Path, tiny_model: Path
) -> None:
    configure(home, tiny_model, "context = 16384\nslots = 2\n")

    (replica,) = json.loads(run("plan", "--json").output)["replicas"]
    assert (16384, 2) == (replica["placement"]["context"], replica["placement"]["slots"])


def test_what_serve_would_refuse_is_not_planned(run: Run, home: Path, tiny_model: Path) -> None:
    configure(home, tiny_model, 'args = ["--port", "1"]\n')

    assert isinstance(run("plan").exception, ConfigError)


def test_nothing_to_plan_says_what_to_do(run: Run) -> None:
    assert "relayd recommend" in run("plan").output


def test_the_printed_line_starts(run: Run, home: Path, tiny_model: Path) -> None:
    configure(home, tiny_model)
    line = run("recommend", "--model", tiny_model.stem, "--command").output.strip()
    command = shlex.split(line)
    command[command.index("--port") + 1] = "0"

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    assert process.stderr
    try:
        assert any("listening on" in said for said in process.stderr)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stderr.close()


def test_the_engine_takes_every_flag_of_a_printed_line(run: Run, engine: Engine, tmp_path: Path) -> None:
    """A header without weights is enough for the engine to read the flags and the shape."""
    line = run("recommend", "--for", "chat", "--simulate", "ram=32", "--command").output.splitlines()[-1]
    command = shlex.split(line)
    name = command[command.index("--alias") + 1]
    entry = next(one for one in catalogue() if one.name == name.partition(":")[0])
    path = tmp_path / "header.gguf"
    write_sparse(path, catalogue_header(entry, "Q4_K_M"))
    given = command[command.index("--parallel") :]
    place = given.index("--fit")
    flags = [one for index, one in enumerate(given) if index not in {place, place + 1}]

    assert breakdown(engine.path, path, flags, {})
