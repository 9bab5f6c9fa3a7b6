"""The modules of relayd and what each imports: the graph that the architecture's rules are checked on."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.sources import ROOT, ours


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name as a module spells it; functions and type checks import later."""

    target: str
    name: str
    line: int
    at_import_time: bool


@dataclass(frozen=True, slots=True)
class Module:
    """One file of relayd; `name` leaves out the leading `relayd.` and is empty for the package itself."""

    name: str
    file: Path
    tree: ast.Module

    @property
    def room(self) -> str:
        return room_of(self.name)

    def at(self, line: int) -> str:
        return f"{self.file.relative_to(ROOT)}:{line}"


@cache
def modules() -> dict[str, Module]:
    found = {}
    for source in ours():
        file = ROOT / source.name
        parts = file.relative_to(ROOT / "relayd").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, file, source.tree)
    return found


@cache
def imports(module: Module) -> tuple[Import, ...]:
    return tuple(walk_imports(module, module.tree, at_import_time=True))


def every_import() -> Iterator[tuple[Module, Import]]:
    return ((module, imported) for module in modules().values() for imported in imports(module))


def walk_imports(module: Module, node: ast.AST, *, at_import_time: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, "", child.lineno, at_import_time) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            target = absolute(module, child)
            yield from (Import(target, alias.name, child.lineno, at_import_time) for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from walk_imports(module, child, at_import_time=False)
        else:
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk_imports(module, child, at_import_time=at_import_time and not later)


def absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = list(module.file.relative_to(ROOT).parts[: -node.level])
    return ".".join([*package, *filter(None, [node.module])])


def within_relayd(imported: Import) -> str | None:
    """Return the module an import reaches, without the leading `relayd.`; None for other libraries."""
    top, _, inner = imported.target.partition(".")
    if top != "relayd":
        return None
    submodule = f"{inner}.{imported.name}".strip(".")
    return submodule if submodule in modules() else inner


def room_of(name: str) -> str:
    return name.partition(".")[0]


def covers(entry: str, name: str) -> bool:
    return name == entry or name.startswith(f"{entry}.")


@cache
def graph_at_import_time() -> dict[str, set[str]]:
    """Return module -> modules that importing it executes, packages of other rooms included."""
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for name, module in modules().items():
        for imported in imports(module):
            target = within_relayd(imported)
            if target and imported.at_import_time:
                above = {one for one in packages_above(target) if not covers(one, name)}
                graph[name] |= {target, *above} & modules().keys()
    return graph


def packages_above(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def reach(start: str) -> set[str]:
    graph, seen, todo = graph_at_import_time(), set[str](), [start]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += graph.get(name, ())
    return seen


def offered(module: Module) -> set[str]:
    """Return the names in `__all__` of a module."""
    lists = (
        node.value
        for node in module.tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["__all__"]
    )
    return {str(one.value) for value in lists for one in ast.walk(value) if isinstance(one, ast.Constant)}
