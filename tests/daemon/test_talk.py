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


def test_what_is_piped_in_is_one_question(demo: Daemon) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "relayd", "chat", "demo", "sum", "up"],
        input="first\nsecond\n",
        capture_output=True,
        cwd=demo.home,
        env=demo.environ,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=True,
    )

    assert 1 == done.stdout.count("Hello from relayd!")
    assert re.fullmatch(r"\d+ tokens(, \d+(\.\d)?/s)?, first word \d+(\.\d)? m?s\n", done.stderr)


def test_the_rest_of_the_figures_is_shown_to_who_asks(demo: Daemon) -> None:
    done = demo.run("chat", "--verbose", "-m", "hi")

    shown = r"\[demo#0 on [\w, ]+: queued \d+ ms, first word after \d+ ms, .* tokens/s\]\n"
    assert re.fullmatch(shown, done.stderr)


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
    assert ["tiny#0 directly", "tiny#1 directly", "tiny through relayd"] == [
        result["what"] for result in json.loads(done.stdout)
    ]

    daemon.run("stop", "tiny#1")
    failed = daemon.run("test", "tiny")
    assert 1 == failed.returncode
    assert "FAIL tiny#1 directly" in failed.stdout


def test_a_benchmark_sweeps_the_slots_and_is_remembered(demo: Daemon) -> None:
    done = demo.run("bench", "--json", "--prompt-words", "20", "--tokens", "8", "--rounds", "1")
    result = json.loads(done.stdout)
    kept = list(demo.home.rglob("benchmarks.jsonl"))

    assert [1, 2, 4] == [level["requests"] for level in result["levels"]]
    assert result["decode_per_second"] > 0
    assert result["prefill_per_second"] > 0
    assert result["decode_per_second"] == json.loads(kept[0].read_text())["decode_per_second"]
    assert result["predicted"]["answer"]["value"] > 0


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
    assert "relayd bench tiny --prompt-words 96" in done.stderr


def test_the_example_client_streams_an_answer_under_its_own_id(demo: Daemon) -> None:
    script = Path(__file__).parents[2] / "extras" / "streaming_chat.py"

    def run(*arguments: str, url: str = demo.url) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-S", script, *arguments],  # -S: without any package but the standard library
            env={"RELAYD_URL": url},
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    done = run("What are you?", "mine-42")
    assert done.stdout.startswith("Hello from relayd!")
    assert re.fullmatch(r"\[request mine-42, replica demo#0, 52 tokens\]\n", done.stderr)
    assert (2, 1) == (run().returncode, run("x", url="http://127.0.0.1:1").returncode)


def test_a_load_of_requests_is_counted(demo: Daemon) -> None:
    done = demo.run("bench", "--requests", "6", "--concurrency", "3", "--stream", "--tokens", "4", "--json")
    result = json.loads(done.stdout)
    assert (0, 6, {}) == (done.returncode, result["answered"], result["failures"])
    assert result["first_byte"]["p50"] <= result["whole"]["p99"]

    elsewhere = demo.run("bench", "--requests", "2", "--url", f"{demo.url}/v1", "--quiet")
    assert elsewhere.stdout.startswith("2 of 2 answered in ")
    assert 1 == demo.run("bench", "nothing", "--requests", "1", "--url", demo.url, "--quiet").returncode


def test_a_benchmark_of_a_model_that_is_stopped_names_it(demo: Daemon) -> None:
    demo.run("stop", "demo")
    done = demo.run("bench", "demo", "--quiet")

    assert 1 == done.returncode
    assert "demo has no replica that is ready: demo#0 is stopped" in done.stderr
    assert "relayd start demo" in done.stderr
