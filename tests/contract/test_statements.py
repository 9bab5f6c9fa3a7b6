"""The table of statements is complete, and names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

from tests.contract.statements import DIFFERENT, PENDING, PROVED

pytestmark = pytest.mark.pure

TESTS = Path(__file__).resolve().parents[1]

REAL = frozenset({22, 23, 24, *range(32, 38)})
"""Statements that only the real engine can prove."""


def marks(test: str) -> set[str]:
    """Return the decorators of a test and the marks of its module; an empty set if it does not exist."""
    file, _, name = test.partition("::")
    found: set[str] = set()
    for node in ast.parse((TESTS / file).read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            found |= {"exists", *map(ast.unparse, node.decorator_list)}
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            found.add(ast.unparse(node.value))
    return found if "exists" in found else set()


def test_every_statement_has_its_place() -> None:
    assert set(range(1, 74)) == PROVED.keys() | PENDING
    assert not PROVED.keys() & PENDING
    assert PROVED.keys() >= DIFFERENT.keys()


def test_every_test_that_is_named_exists() -> None:
    assert [] == [test for tests in PROVED.values() for test in tests if not marks(test)]


def test_what_only_the_real_engine_proves_is_proved_by_it() -> None:
    real = {number for number in REAL for test in PROVED[number] if "pytest.mark.real" in marks(test)}

    assert real == REAL


def test_a_test_that_carries_a_number_stands_in_its_row() -> None:
    for file in sorted((TESTS / "contract").glob("test_*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            name = node.name if isinstance(node, ast.FunctionDef) else ""
            if numbers := re.match(r"test((?:_s\d\d)+)_", name):
                for number in numbers[1].removeprefix("_s").split("_s"):
                    assert f"contract/{file.name}::{name}" in PROVED[int(number)]
