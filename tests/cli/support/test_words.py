import os
from collections.abc import Sequence

import pytest

from relayd.cli.main import COMMANDS
from relayd.cli.support.words import ALIASES, WITH_CONFIG, WITH_ENGINE_FLAGS, prepared

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ("ps", "status"),
        ("ps --json", "status --json"),
        ("list --json", "models --json"),
        ("rm qwen3-8b", "models rm qwen3-8b"),
        ("help", "--help"),
        ("help serve", "serve --help"),
        ("help ps", "status --help"),
        ("-V", "version"),
        ("--version", "version"),
        ("status", "status"),
        ("chat ps", "chat ps"),
        ("--help", "--help"),
        ("", ""),
    ],
)
def test_words_of_other_programs_are_ours(typed: str, parsed: str) -> None:
    assert parsed.split() == prepared(typed.split(), {})


@pytest.mark.parametrize(
    "typed",
    ["--config my.toml doctor --json", "doctor --config my.toml --json", "doctor --json --config=my.toml"],
)
def test_a_configuration_is_named_before_or_after_any_command(typed: str) -> None:
    environ: dict[str, str] = {}

    assert ["doctor", "--json"] == prepared(typed.split(), environ)
    assert {"RELAYD_CONFIG": os.path.abspath("my.toml")} == environ  # noqa: PTH100 - as the subject does it


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        ("serve a --config x", "serve a --config x"),
        ("--config x serve a", "serve a --config=x"),
        ("--config=x ps", "status"),
        ("--config x service install", "service install --config=x"),
    ],
)
def test_commands_with_an_option_of_their_own_keep_it(typed: str, parsed: str) -> None:
    assert parsed.split() == prepared(typed.split(), {})


def test_a_missing_file_is_left_for_the_parser_to_refuse() -> None:
    assert ["doctor", "--config"] == prepared(["doctor", "--config"], {})


@pytest.mark.parametrize("command", ["serve", "run"])
def test_flags_of_the_engine_follow_two_dashes(command: str) -> None:
    typed = [command, "a.gguf", "--quiet", "--", "--top-k", "20", "--config", "x"]
    flags = [f"--engine-flag={flag}" for flag in ("--top-k", "20", "--config", "x")]

    assert [command, "a.gguf", "--quiet", *flags] == prepared(typed, {})


def test_what_follows_two_dashes_of_another_command_stays() -> None:
    assert ["chat", "m", "--", "--config", "x"] == prepared(["chat", "m", "--", "--config", "x"], {})


@pytest.mark.parametrize("words", [*ALIASES.values()])
def test_an_alias_is_no_command_and_means_one(words: Sequence[str]) -> None:
    assert words[0] in COMMANDS
    assert not ALIASES.keys() & COMMANDS.keys()
    assert {*WITH_CONFIG, *WITH_ENGINE_FLAGS} <= {*COMMANDS, "run"}
