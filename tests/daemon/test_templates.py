"""What the template of a model does with continued chats is asked of its replica, and kept."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.daemons import Daemon, wait_until
from tests.ggufs import TINY, make_model
from tests.kills.__main__ import TEMPLATE

pytestmark = pytest.mark.real

THINKING = """\
{%- for m in messages %}[{{ m.role }}]{%- if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>
{%- endif %}{{ m.content }}{% endfor %}
{%- if add_generation_prompt %}[assistant]
{%- if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}{% endif %}"""
"""As Qwen3 has it: who does not think gets an empty thought."""


def continuation(daemon: Daemon) -> dict[str, dict[str, str]]:
    return {model["name"]: model["continuation"] for model in daemon.status()["models"]}


def test_status_shows_how_the_prompts_of_continued_chats_begin(
    start_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    files = {
        name: make_model(tmp_path / f"{name}.gguf", replace(TINY, template=template))
        for name, template in (("plain", TEMPLATE), ("thinks", THINKING))
    }
    lines = [f'[[model]]\nname = "{name}"\nfile = "{file}"\n' for name, file in files.items()]
    daemon = start_daemon("".join(lines))
    wait_until(lambda: all(continuation(daemon).values()))
    found = continuation(daemon)

    assert ["same", "inserts"] == [found[name]["content only"] for name in files]
    assert ["differs", "same"] == [found[name]["in reasoning"] for name in files]
    kept = json.loads((daemon.home / "state" / "relayd" / "templates.json").read_text())
    assert sorted(map(str, found.values())) == sorted(map(str, kept["continuations"].values()))
