"""The files of the repository as the house rules read them: text, syntax tree, comments; each parsed once."""

import ast
import gc
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]

Function = ast.FunctionDef | ast.AsyncFunctionDef

Node = TypeVar("Node", bound=ast.AST)

_STRING_OR_COMMENT = re.compile(
    r"""'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|(\#[^\n]*)""",
    re.DOTALL,
)
"""Strings are passed over as a whole, so that no comment begins in one; for the syntax of Python 3.11."""


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file; `name` is its path from the root, with forward slashes."""

    name: str
    text: str
    tree: ast.Module

    def at(self, line: int) -> str:
        return f"{self.name}:{line}"


@cache
def files() -> tuple[str, ...]:
    """Return what git knows or would add; in an unpacked archive, everything that is not a cache."""
    git = shutil.which("git")
    if not git or not (ROOT / ".git").exists():
        return tuple(sorted(walk(ROOT)))
    listing = [git, "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split("\0")
    return tuple(sorted({name for name in names if (ROOT / name).is_file()}))


def walk(folder: Path) -> Iterator[str]:
    for path in folder.iterdir():
        if path.name.startswith(".") and path.name not in {".ci", ".github", ".gitignore"}:
            continue
        if path.is_file():
            yield path.relative_to(ROOT).as_posix()
        elif path.name not in {"__pycache__", "build", "dist"}:
            yield from walk(path)


@cache
def sources() -> tuple[Source, ...]:
    """Parse every Python file; half a million nodes that stay are no concern of the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        found = tuple(read(name) for name in files() if name.endswith(".py"))
        for source in found:
            nodes_of(source)
        gc.freeze()
    finally:
        gc.enable()
    return found


def read(name: str) -> Source:
    text = (ROOT / name).read_text("utf-8")
    return Source(name, text, ast.parse(text, name))


@cache
def ours() -> tuple[Source, ...]:
    return tuple(source for source in sources() if source.name.startswith("relayd/"))


@cache
def nodes_of(source: Source) -> Mapping[type[ast.AST], Sequence[ast.AST]]:
    """Return the nodes of a file by their class, in the order of `ast.walk`."""
    found: dict[type[ast.AST], list[ast.AST]] = defaultdict(list)
    for node in ast.walk(source.tree):
        found[type(node)].append(node)
    return found


def every(kind: type[Node], among: Iterable[Source]) -> Iterator[tuple[Source, Node]]:
    """Yield the nodes of exactly one class, with their file."""
    for source in among:
        for node in nodes_of(source).get(kind, ()):
            assert isinstance(node, kind)
            yield source, node


def every_function(among: Iterable[Source]) -> Iterator[tuple[Source, Function]]:
    for source in among:
        yield from every(ast.FunctionDef, [source])
        yield from every(ast.AsyncFunctionDef, [source])


@cache
def comments() -> tuple[tuple[Source, int, str], ...]:
    """Return every comment with its file and line."""
    return tuple(
        (source, line, comment) for source in sources() for line, comment in comments_of(source.text)
    )


def comments_of(text: str) -> Iterator[tuple[int, str]]:
    line, counted = 1, 0
    for found in _STRING_OR_COMMENT.finditer(text):
        if comment := found[1]:
            line += text.count("\n", counted, found.start())
            counted = found.start()
            yield line, comment


def dotted(node: ast.expr) -> str:
    """Return `a.b.c` of names and attributes; empty for what hangs on a value, like `f().c`."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def lines_of(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def report(problems: Iterable[str]) -> None:
    found = list(dict.fromkeys(problems))
    assert not found, "\n" + "\n".join(found)


def is_binary(data: bytes) -> bool:
    return b"\0" in data[:8192]
