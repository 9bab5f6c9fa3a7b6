"""chat, test and bench: commands that are clients of the daemon they belong to."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemons import DEADLINE_SECONDS, Daemon, home_environ, run_relayd

pytestmark = pytest.mark.real


def test_chat_keeps_the_conversation_and_shows_what_an_answer_took(demo: Daemon) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "relayd", "chat"],
        input="first\nsecond\n",
        capture_output=True,
        cwd=demo.home,
        env=demo.environ,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )

    assert 2 == done.stdout.count("Hello from relayd!")
    shown = r"\[demo#0 on [\w, ]+: queued \d+ ms, first word after \d+ ms, .* tokens/s\]"
    assert 2 == len(re.findall(shown, done.stdout))
    assert ">" not in done.stdout


def test_one_message_can_be_asked_for_programs(demo: Daemon) -> None:
    turn = json.loads(demo.run("chat", "demo", "-m", "hi", "--json").stdout)

    assert turn["text"].startswith("Hello from relayd!")
    assert "demo#0" == turn["replica"]
    assert turn["devices"]
    assert turn["first_token_seconds"] <= turn["seconds"]


def test_a_model_is_tried_from_each_replica_and_through_the_door(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    key = "a-key-that-is-long-enough-for-relayd"
    daemon = start_daemon(
        f'[[model]]\nname = "tiny"\nfile = "{tiny_model}"\nreplicas = 2\n', RELAYD_API_KEY=key
    )
    done = daemon.run("test", "--json")
    assert 0 == done.returncode, done.stderr + done.stdout
    assert ["tiny#0 itself", "tiny#1 itself", "tiny through relayd"] == [
        result["what"] for result in json.loads(done.stdout)
    ]

    daemon.run("stop", "tiny#1")
    failed = daemon.run("test", "tiny")
    assert 1 == failed.returncode
    assert "FAIL tiny#1 itself" in failed.stdout


def test_a_benchmark_sweeps_the_slots_and_is_remembered(demo: Daemon) -> None:
    done = demo.run("bench", "--json", "--prompt-words", "20", "--tokens", "8", "--rounds", "1")
    result = json.loads(done.stdout)
    kept = list(demo.home.rglob("benchmarks.jsonl"))

    assert [1, 2, 4] == [level["requests"] for level in result["levels"]]
    assert result["decode_per_second"] > 0
    assert result["prefill_per_second"] > 0
    assert result["decode_per_second"] == json.loads(kept[0].read_text())["decode_per_second"]


def test_doctor_names_problems_with_their_remedies(home: Path) -> None:
    config = home / "config" / "relayd" / "relay.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[server]\nlisten = "0.0.0.0:0"\n[engine]\npath = "/nowhere"\n')
    done = run_relayd(home_environ(home), home, "doctor", "--json")
    problems = {found["subject"]: found for found in json.loads(done.stdout) if found["level"] == "problem"}

    assert 1 == done.returncode
    assert {"exposure", "engine"} == set(problems)
    assert "RELAYD_API_KEY" in problems["exposure"]["remedy"]


def test_doctor_finds_nothing_wrong_with_a_good_machine(demo: Daemon) -> None:
    done = demo.run("doctor")

    assert 0 == done.returncode, done.stdout
    assert re.search(r"^ok +engine +llama\.cpp ", done.stdout, re.MULTILINE)


def test_a_benchmark_whose_prompts_are_too_long_names_shorter_ones(
    start_daemon: Callable[..., Daemon], tiny_model: Path
) -> None:
    daemon = start_daemon(f'[[model]]\nname = "tiny"\nfile = "{tiny_model}"\ncontext = 512\n')
    done = daemon.run("bench", "--quiet")

    assert 1 == done.returncode
    assert "exceeds the available context size" in done.stderr
    assert "relayd bench tiny --prompt-words 64" in done.stderr
