"""Events of the journal are spelled in one way, and listed for those who search a log."""

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = ROOT / ".github" / "CONTRIBUTING.md"
LEVELS = frozenset({"debug", "info", "warning", "error"})
SPELLING = re.compile(r"[a-z]+(?:\.[a-z]+(?:_[a-z]+)*)(?:\{\})?|[a-z]+\.\{\}")


def written() -> dict[str, str]:
    """Return each event that relayd writes to its journal, and a place where it does."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "relayd").rglob("*.py")):
        text = path.read_text("utf-8")
        if "Journal(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and is_journal(node.func) and node.args:
                found |= dict.fromkeys(events(node.args[0]), f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def is_journal(function: ast.expr) -> bool:
    """Tell whether this is a level of a journal, or a local name for one."""
    if isinstance(function, ast.Attribute):
        return function.attr in LEVELS and "journal" in ast.unparse(function.value).lower()
    return isinstance(function, ast.Name) and function.id == "log"


def events(argument: ast.expr) -> list[str]:
    """Return the events that an argument may name."""
    if isinstance(argument, ast.IfExp):
        return events(argument.body) + events(argument.orelse)
    return [event(argument)]


def event(argument: ast.expr) -> str:
    """Return the name of an event; `{}` stands for what is filled in."""
    if isinstance(argument, ast.Constant):
        return str(argument.value)
    if isinstance(argument, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in argument.values)
        return "".join(map(str, parts))
    return ast.unparse(argument)


def listed() -> set[str]:
    """Return the events of the table in CONTRIBUTING; a word in capitals there is filled in."""
    rows = re.findall(r"^\| `([a-zA-Z._]+)` \|", CONTRIBUTING.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"\b[A-Z]+\b", "{}", row) for row in rows if "." in row}


def test_every_event_has_one_spelling() -> None:
    odd = {place: name for name, place in written().items() if not SPELLING.fullmatch(name)}

    assert {} == odd, "spell an event `subject.what_happened`"


def test_the_table_lists_every_event_and_no_other() -> None:
    assert sorted(written()) == sorted(listed())
