"""Do README and the pages beside it say what the program says?"""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from relayd.api import anthropic, health, openai, rerank, responses
from relayd.cli.main import COMMANDS
from relayd.config.check import Surroundings, check
from relayd.errors import RelaydError
from tests.readme import DOCS, README, ROOT, documents, generated

pytestmark = pytest.mark.pure

SHELL = re.compile(r"^```(?:console|shell|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TOML = re.compile(r"^```toml\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)")
CALL = re.compile(r"\$? ?(?:sudo )?(?:\S*/bin/)?relayd (.*)")
CLAIMS = re.compile(r"^\| \|(.*?)\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)


def test_the_generated_pages_are_current() -> None:
    stale = [page.name for page, text in generated().items() if not page.exists() or page.read_text() != text]

    assert [] == stale, "run: python -m tests.readme"


def test_every_error_code_is_documented() -> None:
    documented = set(re.findall(r"\| `(\w+)` \|", (DOCS / "errors.md").read_text()))

    assert {
        one.code for one in _all_errors(RelaydError) if one.__module__.startswith("relayd.errors")
    } <= documented


def test_every_route_is_documented() -> None:
    text = (DOCS / "api.md").read_text()
    sources = (
        Path(str(module.__file__)).read_text() for module in (anthropic, health, openai, rerank, responses)
    )
    paths = {path for source in sources for path in re.findall(r'"(/[a-z0-9_/]+?)/?"', source)}

    assert {path for path in paths if path in text} == paths
    assert len(paths) > 6


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]

    assert [] == [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_every_command_in_an_example_exists(page: Path) -> None:
    assert [] == [line for line in _typed(page.read_text()) if not _exists(line)]


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_every_setting_in_an_example_exists(page: Path) -> None:
    around = Surroundings(Path("/"), Path("/home"), {})
    blocks = [check(tomllib.loads(text), str, around) for text in TOML.findall(page.read_text())]

    assert [] == [problem for block in blocks for problem in block.problems]


def test_every_claim_against_others_leads_to_its_test() -> None:
    (table,) = [rows for heading, rows in CLAIMS.findall(README.read_text()) if "Ollama" in heading]
    claimed = {row.split("|")[1].strip(): row.split("|")[2].strip() for row in table.splitlines()}

    assert [] == [name for name, cell in claimed.items() if cell != "no" and "](tests/" not in cell]
    assert len(claimed) > 8


def test_the_picture_of_the_readme_loads_nothing_from_elsewhere() -> None:
    picture = (DOCS / "screen.svg").read_text()

    assert "svg" in ET.fromstring(picture).tag
    assert ["http://www.w3.org/2000/svg"] == re.findall(
        r"(?:xmlns=|url\(|href=)[\"']?(https?:[^\"')]+)", picture
    )


def test_the_readme_is_read_in_five_minutes() -> None:
    assert len(README.read_text().splitlines()) <= 260, f"put what is longer under {DOCS.relative_to(ROOT)}"


def _typed(text: str) -> Iterator[str]:
    """Yield the arguments of each call of relayd that a page has a person type."""
    for line in "".join(SHELL.findall(text)).splitlines():
        for part in re.split(r"&&|[|;<]", line) if line.startswith(("$ ", ".venv/")) else ():
            if found := CALL.match(part):
                yield found[1].partition(" # ")[0]


def _exists(line: str) -> bool:
    """Return whether the command of a line is there, with all options that the line has."""
    name, *words = shlex.split(line)
    if name.startswith("-"):
        return name in {"--help", "--version"}
    if name not in COMMANDS:
        return False
    command = COMMANDS[name].load(name)
    if inner := getattr(command, "commands", None):
        command = inner.get(words[0] if words and words[0] in inner else getattr(command, "default", ""))
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    return {word.partition("=")[0] for word in words if word.startswith("-")} <= known | {"--help"}


def _all_errors(kind: type[RelaydError]) -> set[type[RelaydError]]:
    return {kind}.union(*(_all_errors(one) for one in kind.__subclasses__()))
