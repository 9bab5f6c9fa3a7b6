"""Is every statement of ModelRelay's contract in the table, and is there each test that the table names?"""

import re

import pytest

from tests.sources import ROOT

pytestmark = pytest.mark.pure

PAGE = ROOT / ".github" / "docs" / "modelrelay.md"

SECTIONS = ((1, 17), (20, 25), (30, 34), (40, 45), (50, 56), (60, 67), (70, 74))


def rows() -> list[tuple[str, str]]:
    """Return number and text of each row of the table."""
    return re.findall(r"^\| (C\d+) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)


def test_the_table_has_every_statement_once() -> None:
    stated = [f"C{number}" for first, last in SECTIONS for number in range(first, last + 1)]

    assert stated == [number for number, _ in rows()]


def test_the_tests_that_the_table_names_exist() -> None:
    written = "".join(path.read_text() for path in (ROOT / "tests" / "wire").glob("test_*.py"))

    for name in re.findall(r"`(test_\w+)`", PAGE.read_text()):
        assert f"def {name}(" in written, name
