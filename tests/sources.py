"""The files of the repository as the house rules read them: text, syntax tree, tokens."""

import ast
import io
import shutil
import subprocess
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

Function = ast.FunctionDef | ast.AsyncFunctionDef


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
    return tuple(read(name) for name in files() if name.endswith(".py"))


def read(name: str) -> Source:
    text = (ROOT / name).read_text("utf-8")
    return Source(name, text, ast.parse(text, name))


def ours() -> list[Source]:
    return [source for source in sources() if source.name.startswith("relayd/")]


def every_node(among: Iterable[Source]) -> Iterator[tuple[Source, ast.AST]]:
    return ((source, node) for source in among for node in ast.walk(source.tree))


def every_function(among: Iterable[Source]) -> Iterator[tuple[Source, Function]]:
    return ((source, node) for source, node in every_node(among) if isinstance(node, Function))


def every_token(kind: int) -> Iterator[tuple[Source, tokenize.TokenInfo]]:
    for source in sources():
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
            if token.type == kind:
                yield source, token


def lines_of(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def report(problems: Iterable[str]) -> None:
    found = list(dict.fromkeys(problems))
    assert not found, "\n" + "\n".join(found)


def is_binary(data: bytes) -> bool:
    return b"\0" in data[:8192]
