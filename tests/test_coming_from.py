"""The command blocks of the page for people who come from other programs are run as they stand."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemons import home_environ

pytestmark = pytest.mark.system

PAGE = (Path(__file__).resolve().parents[1] / ".github" / "docs" / "coming-from.md").read_text("utf-8")
LINES = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)

FILES = {
    "config.yaml": "default_backend: a\nbackends:\n  a:\n    type: local\n    url: http://127.0.0.1:8081\n",
    "config.json": '{"models": {"m": {"servers": ["http://127.0.0.1:8000"], "strategy": "random"}}}',
    "worker.toml": 'backend_url = "http://127.0.0.1:8000"\nmodels = "m"\n',
}
"""What the programs have: smallest files of each kind."""


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_the_page_does_what_it_is_for(line: str, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    words = shlex.split(line)
    variables = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    command = words[len(variables) :]
    assert "relayd" == command[0]
    done = subprocess.run(
        [sys.executable, "-m", "relayd", *command[1:]],
        cwd=tmp_path,
        env=home_environ(tmp_path) | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    wanted = {"import": "[[upstream]]", "replicas.ports": "8081,8083", "--all": "http://127.0.0.1:8082"}
    assert next(text for word, text in wanted.items() if word in command) in done.stdout


def test_an_import_is_written_only_when_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(FILES["config.json"])
    for words, is_written in (((), False), (("--write",), True)):
        subprocess.run(
            [sys.executable, "-m", "relayd", "import", "llmstream", "config.json", *words],
            cwd=tmp_path,
            env=home_environ(tmp_path),
            capture_output=True,
            check=True,
        )
        found = [path.read_text() for path in tmp_path.rglob("models.toml")]
        assert is_written == any('url = "http://127.0.0.1:8000"' in text for text in found)
