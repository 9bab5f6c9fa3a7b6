"""What was typed after `relayd`, before commands parse it: aliases, `--config`, flags for the engine."""

import os
from collections.abc import Mapping, MutableMapping, Sequence

ALIASES: Mapping[str, tuple[str, ...]] = {
    "ps": ("status",),
    "list": ("models",),
    "ls": ("models",),
    "rm": ("models", "rm"),
    "show": ("catalog", "show"),
}
"""Words of Ollama and Docker -> what they are here."""

CONFIG = "--config"
CONFIG_VARIABLE = "RELAYD_CONFIG"

WITH_CONFIG = frozenset({"serve", "run", "plan", "service"})
"""Commands with an option `--config` of their own, as it outlives them."""

WITH_ENGINE_FLAGS = frozenset({"serve", "run"})
"""Commands that take flags for llama-server after `--`."""

ENGINE_FLAG = "--engine-flag"


def prepared(typed: Sequence[str], environ: MutableMapping[str, str]) -> list[str]:
    """Return what commands parse.

    A relay.toml that is named for a command without an option for it goes into its environment.

    Args:
        typed: The words after the program's name.
        environ: That of this process.
    """
    words = _spelled_out(typed)
    end = words.index("--") if "--" in words else len(words)
    words, flags = words[:end], words[end:]
    command = next((word for at, word in enumerate(words) if _is_command(words, at)), "")
    if command not in WITH_CONFIG:
        words, files = without_config(words)
        if files:
            environ[CONFIG_VARIABLE] = os.path.abspath(files[-1])  # noqa: PTH100 - pathlib is slow to import
    elif words[0] != command:
        first, files = without_config(words[: words.index(command)])
        words = [*first, *words[words.index(command) :], *(f"{CONFIG}={file}" for file in files)]
    if command in WITH_ENGINE_FLAGS:
        return [*words, *(f"{ENGINE_FLAG}={flag}" for flag in flags[1:])]
    return words + flags


def without_config(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return words without `--config FILE`, and the files that were named so."""
    kept, files, left = list[str](), list[str](), iter(words)
    for word in left:
        name, equals, value = word.partition("=")
        if name != CONFIG:
            kept.append(word)
        elif value := value if equals else next(left, ""):
            files.append(value)
        else:
            kept.append(word)  # typer refuses it: its value is missing
    return kept, files


def _spelled_out(typed: Sequence[str]) -> list[str]:
    """Return the words with ours in place of an alias."""
    at = next((at for at in range(len(typed)) if _is_command(typed, at)), None)
    if at is None:
        return ["version"] if [*typed] in (["--version"], ["-V"]) else [*typed]
    before, word, rest = typed[:at], typed[at], [*typed[at + 1 :]]
    if word == "help":
        topic = [*ALIASES.get(rest[0], (rest[0],)), *rest[1:]] if rest else []
        return [*before, *topic, "--help"]
    return [*before, *ALIASES.get(word, (word,)), *rest]


def _is_command(words: Sequence[str], at: int) -> bool:
    return not words[at].startswith("-") and (at == 0 or words[at - 1] != CONFIG)
