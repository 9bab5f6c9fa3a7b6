"""The catalogue's tables and pages."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.catalog.entry import CatalogEntry, ModelFile
from relayd.units import show_bytes

ORIGINS = {
    "updated": "from relayd catalog update",
    "imported": "from relayd catalog import",
    "own": "from your own files",
}
MARKS = {"updated": "+", "imported": "*", "own": "*"}
GATED = "!"


def models_table(entries: Sequence[CatalogEntry]) -> RenderableType:
    """Return a line for each model; marks show which are not relayd's own."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("NAME", no_wrap=True, overflow="fold")
    table.add_column("SIZE", no_wrap=True, justify="right")
    table.add_column("QUANTS", no_wrap=True)
    table.add_column("CONTEXT", no_wrap=True, justify="right")
    table.add_column("TAGS")
    table.add_column("LICENCE")
    for entry in entries:
        table.add_row(*map(Text, _cells(entry)))
    notes = [
        f"{MARKS[origin]} {ORIGINS[origin]}"
        for origin in sorted({entry.origin for entry in entries} & MARKS.keys())
    ]
    if any(entry.gated for entry in entries):
        notes.append(f"{GATED} the publisher asks to accept the licence first")
    return Group(table, *map(Text, notes))


def model_page(entry: CatalogEntry) -> RenderableType:
    """Return everything the catalogue knows of a model, and from where."""
    parts: list[RenderableType] = [_grid(_facts(entry))]
    if entry.dimensions is not None:
        shape = msgspec.to_builtins(entry.dimensions)
        parts += [_heading("Dimensions"), _grid((name, _spelled(value)) for name, value in shape.items())]
    if entry.files:
        parts += [_heading("Files"), _files(entry)]
    parts += [_heading("Sources"), _grid(_sources(entry))]
    return Group(*parts)


def show_count(count: int) -> str:
    """Return a number of weights as people write it: `0.27B`, `8.2B`, `235B`."""
    billions = count / 1e9
    return (
        f"{billions:.2f}B" if billions < 1 else f"{billions:.1f}B" if billions < 100 else f"{billions:.0f}B"
    )


def show_context(tokens: int) -> str:
    """Return a context as people write it: `512`, `128k`."""
    return f"{tokens // 1024}k" if tokens >= 1024 else str(tokens)


def _cells(entry: CatalogEntry) -> Iterator[str]:
    yield entry.name + MARKS.get(entry.origin, "")
    yield _size(entry)
    short = [_short(quant) for quant in entry.quants]
    yield "-".join(dict.fromkeys((short[0], short[-1]))) if short else ""
    yield show_context(entry.context) if entry.context else ""
    yield " ".join(entry.capabilities)
    yield entry.license + (GATED if entry.gated else "")


def _short(quant: str) -> str:
    """Return a quantization without its variant: `Q4` for `UD-Q4_K_XL`."""
    found = re.match(r"(?:UD-)?(I?Q\d|[A-Z]+\d+)", quant)
    return found[1] if found else quant


def _size(entry: CatalogEntry) -> str:
    if entry.parameters is None:
        return ""
    active = f"-A{show_count(entry.active_parameters)}" if entry.active_parameters else ""
    return show_count(entry.parameters) + active


def _facts(entry: CatalogEntry) -> Iterator[tuple[str, str]]:
    yield "Name", entry.name
    yield "Title", entry.title
    yield "Publisher", ", ".join(filter(None, (entry.publisher, entry.released)))
    yield "Family", entry.family
    yield "Parameters", f"{entry.parameters:,}" if entry.parameters else ""
    yield "Active", f"{entry.active_parameters:,} for a token" if entry.active_parameters else ""
    yield "Context", f"{entry.context:,} tokens" if entry.context else ""
    yield "Tags", " ".join(entry.capabilities)
    gate = ", to be accepted at the publisher's repository first" if entry.gated else ""
    yield "Licence", entry.license + gate
    yield "Engine", f"llama.cpp b{entry.min_engine_build} or later" if entry.min_engine_build else ""
    yield "Aliases", ", ".join((*entry.aliases, *(f"{a} = {q}" for a, q in entry.quant_aliases.items())))
    yield "Repositories", ", ".join(entry.repos)
    yield "Unchecked", ", ".join(entry.unchecked_repos)
    yield "Catalogue", ORIGINS.get(entry.origin, "relayd's own")
    yield "Note", entry.note


def _files(entry: CatalogEntry) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("QUANT", no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("BITS", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("FILE", overflow="fold")
    for file in sorted(entry.files, key=lambda file: file.bytes):
        bits = f"{file.bytes * 8 / entry.parameters:.2f}" if entry.parameters else ""
        kind = "exact" if file.exact else "estimate"
        table.add_row(file.quant, show_bytes(file.bytes), bits, kind, Text(_place(file)))
        if file.mmproj:
            table.add_row("", "", "", "vision", Text(file.mmproj))
    return table


def _place(file: ModelFile) -> str:
    parts = f" ({file.parts} parts)" if file.parts > 1 else ""
    return file.url or "/".join(filter(None, (file.repo, file.file))) + parts


def _sources(entry: CatalogEntry) -> Iterator[tuple[str, str]]:
    for group, texts in msgspec.structs.asdict(entry.sources).items():
        yield group, "; also ".join(texts)
    for kind, exact in (("sizes", True), ("estimates", False)):
        yield kind, "; ".join(dict.fromkeys(file.source for file in entry.files if file.exact == exact))


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _grid(rows: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        if value:
            grid.add_row(Text(label), Text(value))
    return grid


def _spelled(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_spelled(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        runs = ((number, len(list(run))) for number, run in itertools.groupby(value))
        return ", ".join(f"{number} x {length}" for number, length in runs)
    return str(value).lower() if isinstance(value, bool) else str(value)
