"""Can a value become an option, or a template a program?"""

import ast
from pathlib import Path

import pytest

from relayd.config.check import Surroundings, check
from tests.sources import ours, report

pytestmark = pytest.mark.pure

EVALUATORS = frozenset(
    {"jinja2", "mako", "pickle", "marshal", "shelve", "eval", "exec", "compile", "__import__"}
)


@pytest.mark.parametrize(
    "line",
    [
        {"name": "-x", "file": "/m.gguf"},
        {"name": "m", "file": "-x"},
        {"name": "m", "file": "--host=0.0.0.0"},
        {"name": "m", "file": "/m.gguf", "projector": "-x"},
        {"name": "m", "file": "/m.gguf", "aliases": ["--x"]},
        {"name": "m", "file": "/m.gguf", "lora": [{"file": "-x"}]},
    ],
)
def test_r47_a_value_that_begins_like_an_option_is_refused(
    line: dict[str, object], around: Surroundings
) -> None:
    assert check({"model": [line]}, lambda _: "here", around).problems


@pytest.fixture
def around() -> Surroundings:
    return Surroundings(Path("/"), Path("/home"), {})


def test_r58_nothing_that_evaluates_text_is_imported_or_called() -> None:
    report(
        f"{source.name}:{getattr(node, 'lineno', 0)} uses {found}: metadata of a model is never evaluated"
        for source in ours()
        for node in ast.walk(source.tree)
        for found in imported(node) | called(node)
        if found in EVALUATORS
    )


def imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return {one.name.partition(".")[0] for one in node.names} if isinstance(node, ast.Import) else set()


def called(node: ast.AST) -> set[str]:
    return {node.func.id} if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else set()
