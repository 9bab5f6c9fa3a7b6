"""What `relayd serve` prints keeps whole what is copied, at any width."""

import shlex
import subprocess
from pathlib import Path

import pytest

from relayd.planner import Planned, ReplicaSpec
from relayd.ui.served import on_demand_line, planned_line, stopping_line, try_lines
from relayd.units import GIB, Bytes

MODEL = "llama-3.1-8b-instruct:Q4_K_M"
URL = "http://127.0.0.1:8080"


def planned(
    index: int = 0, slots: int = 4, context: int = 8192, cache: int = 2048, **needs: float
) -> Planned:
    spec = ReplicaSpec(MODEL, index, Path("/m.gguf"), slots=slots, context=context, cache_ram_mib=cache)
    return Planned(spec, {key: Bytes(int(size * GIB)) for key, size in needs.items()})


@pytest.mark.pure
@pytest.mark.parametrize(
    ("replicas", "line"),
    [
        ([planned(host=11)], "4 requests at once, 8k tokens each, 9.0 GiB of RAM"),
        ([planned(slots=1, context=5000, host=0.5)], "1 request at a time, 5,000 tokens, 512 MiB of RAM"),
        (
            [planned(0, cuda0=5, host=3), planned(1, cuda0=5, host=3)],
            "2 replicas, each with 4 requests at once, 8k tokens each, 5.0 GiB of cuda0, 1.0 GiB of RAM",
        ),
        ([planned(context=0)], "4 requests at once, the context is the engine's choice"),
    ],
)
def test_what_is_planned_is_one_line_a_model(replicas: list[Planned], line: str) -> None:
    assert f"{MODEL}: {line}" == planned_line(replicas)


@pytest.mark.pure
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("embeddings", [False, True])
def test_the_command_to_try_fits_into_80_columns_indented(keyed: bool, embeddings: bool) -> None:
    lines = try_lines(URL, MODEL, embeddings=embeddings, keyed=keyed, certificate="/etc/relayd/cert.pem")

    assert max(map(len, lines)) <= 77
    assert keyed == any("Authorization" in line for line in lines)


@pytest.mark.system
def test_the_command_to_try_is_what_a_shell_reads(tmp_path: Path) -> None:
    lines = try_lines(URL, MODEL, embeddings=False, keyed=True, certificate="")
    script = tmp_path / "try.sh"
    script.write_text("curl() { printf '%s\\n' \"$@\"; }\n" + "\n".join(f"  {line}" for line in lines))
    words = subprocess.run(
        ["/bin/sh", str(script)], capture_output=True, text=True, check=True, env={"RELAYD_API_KEY": "k"}
    ).stdout

    assert f"{URL}/v1/chat/completions" == words.splitlines()[0]
    assert "Authorization: Bearer k" in words.splitlines()
    assert f'{{"model": "{MODEL}",' in words
    assert "curl" == shlex.split("\n".join(lines))[0]


@pytest.mark.pure
def test_the_end_names_what_it_waits_for() -> None:
    assert "Stopping" == stopping_line(0, 30, on_terminal=True)
    assert "Stopping: 1 answer runs, up to 30 s. Ctrl-C again ends it now." == stopping_line(
        1, 30, on_terminal=True
    )
    assert "Stopping: 2 answers run, up to 2.5 s." == stopping_line(2, 2.5, on_terminal=False)


@pytest.mark.pure
def test_a_few_models_on_demand_are_named() -> None:
    assert "Loaded on demand: a, b" == on_demand_line(["a", "b"])
    assert "Loaded on demand: 0, 1, 2, 3, 4 and 3 more (relayd status)" == on_demand_line([*"01234567"])
