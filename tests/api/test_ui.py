"""Are the dashboard's files small, our own, and free of what the browser may not run?"""

import re
from pathlib import Path

import pytest

from relayd.api.ui.pages import FOLDER, INDEX

pytestmark = pytest.mark.system

FIRST = (
    "index.html",
    "style.css",
    "app.js",
    "api.js",
    "dom.js",
    "format.js",
    "parts.js",
    "pages/fleet.js",
    "icon.svg",
)
"""What is loaded before the first page is drawn."""

FORBIDDEN = (
    "eval(",
    "new Function",
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "http://www.",
    "//cdn",
)


def sources() -> list[Path]:
    return sorted(path for path in FOLDER.rglob("*") if path.is_file())


def test_all_files_are_under_200_kb_and_the_first_page_under_60() -> None:
    assert sum(path.stat().st_size for path in sources()) < 200_000
    assert sum((FOLDER / name).stat().st_size for name in FIRST) < 60_000


def test_nothing_is_made_of_text_that_came_from_elsewhere() -> None:
    found = {
        (path.name, word)
        for path in sources()
        for word in FORBIDDEN
        if word in path.read_text().replace("http://www.w3.org/2000/svg", "")
    }

    assert set() == found


def test_the_first_page_is_all_that_its_files_load() -> None:
    """Everything else is loaded with its page."""
    loaded = {INDEX, "style.css", "icon.svg"}
    waiting = ["app.js", "pages/fleet.js"]
    while waiting:
        name = waiting.pop()
        if name not in loaded:
            loaded.add(name)
            text = (FOLDER / name).read_text()
            imports = re.findall(r'^import .* from "([^"]+)"', text, re.MULTILINE)
            waiting += [
                ((FOLDER / name).parent / one).resolve().relative_to(FOLDER).as_posix() for one in imports
            ]

    assert set(FIRST) == loaded


def test_every_page_has_its_file() -> None:
    named = re.findall(r'import\("\./(pages/\w+\.js)"\)', (FOLDER / "app.js").read_text())

    assert named
    assert {f"pages/{path.name}" for path in (FOLDER / "pages").iterdir()} == set(named)
