"""Does every import go down, and do the pure modules stay pure?

The tables are the plan of the house; rooms that are still to come have their place already. Paths are
allowed in pure modules as values (`pathlib.Path` joins and names), never as doors: methods that ask
the file system count as I/O.
"""

import ast
import graphlib
import sys
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import pytest

from tests.imports import (
    Import,
    Module,
    covers,
    every_import,
    graph_at_import_time,
    imports,
    modules,
    offered,
    reach,
    room_of,
    within_relayd,
)

pytestmark = pytest.mark.pure

FOUNDATION = frozenset(
    {
        "errors",
        "units",
        "clock",
        "secret",
        "endpoint",
        "profile",
        "tlsaddress",
        "files",
        "fetch",
        "progress",
        "journal",
        "printable",
        "lock",
        "names",
        "folders",
        "apikey",
        "bind",
        "rights",
    }
)
"""Top-level modules that import no room and that every room may import."""

NOTHING: frozenset[str] = frozenset()

MAY_IMPORT: Mapping[str, AbstractSet[str]] = {
    **dict.fromkeys(
        ("hardware", "gguf", "config", "store", "service", "scheduler", "dialects"),
        NOTHING,
    ),
    "catalog": {"gguf"},
    "models": {"catalog", "gguf"},
    "memory": {"gguf.metadata", "gguf.quants", "catalog.entry"},
    "planner": {
        "memory", "hardware.arithmetic", "hardware.bandwidth", "hardware.machine", "gguf.metadata",
        "gguf.quants", "catalog.entry", "config.schema",
    },
    "engine": {"planner", "memory", "gguf", "hardware.machine", "config.schema"},
    "advice": {"config", "hardware", "gguf", "catalog", "models", "memory", "planner", "engine"},
    "desired": {
        "advice", "config", "hardware", "gguf", "catalog", "models", "memory", "planner", "engine", "store",
    },
    "supervisor": {"engine", "store", "planner", "config.schema"},
    "router": {"scheduler"},
    "batch": {"router", "scheduler", "store"},
    "remote": {"router", "scheduler", "store"},
    "api": {
        "router", "dialects", "scheduler.ask", "scheduler.exchange", "scheduler.limits", "scheduler.views",
        "store", "batch", "remote", "gguf.facts",
    },
    "handover": {"router", "scheduler", "supervisor.snapshot"},
    "daemon": {
        "hardware", "gguf", "catalog", "models", "config", "memory", "planner", "engine", "store", "service",
        "scheduler", "supervisor", "router", "batch", "remote", "api", "desired", "handover",
        "dialects.hygiene", "dialects.preset", "dialects.templateprobe", "dialects.toolorder",
        "dialects.turns",
    },
    "client": {
        "daemon.adminreport", "daemon.arguments", "daemon.keyreport", "daemon.livereport", "daemon.report",
        "daemon.whyreport", "daemon.nodereport", "daemon.batchreport", "daemon.givenreport",
        "daemon.upstreamreport", "planner.stated",
    },
    "ui": {
        "hardware.machine", "gguf.metadata", "catalog.entry", "config.schema", "planner", "memory", "models",
        "daemon.report", "daemon.keyreport", "daemon.livereport", "daemon.adminreport",
        "daemon.upstreamreport", "daemon.nodereport",
    },
    "checkup": {"config", "engine", "hardware", "planner.ledger"},
    "cli": {
        "advice", "ui", "client", "desired", "planner", "memory", "hardware", "gguf", "engine", "catalog",
        "models", "config", "service", "batch.client", "daemon.report", "daemon.givenreport",
    },
    "cli.bus": {"remote.bus"}, "cli.serve": {"daemon.place"}, "cli.bench": {"store"},
    "cli.support.announced": {"daemon", "supervisor"}, "cli.support.serving": {"daemon", "store.hubs"},
    "cli.join": {"daemon.arguments", "remote.dial", "store.hubs"}, "cli.nodes": {"daemon.nodereport"},
    "cli.top": {"supervisor.logs", "daemon.livereport"}, "cli.logs": {"supervisor.logs"},
    "cli.requests": {"supervisor.logs"}, "cli.why": {"daemon.whyreport"}, "__main__": {"cli.main"},
    "cli.support.conversation": {"supervisor.child"}, "cli.support.nodepull": {"daemon.livereport"},
    "cli.support.keys": {"daemon.arguments", "daemon.keyreport", "store"}, "cli.doctor": {"checkup"},
    "cli.keys": {"daemon.arguments", "daemon.keyreport"}, "cli.upstreams": {"daemon.upstreamreport"},
    "cli.usage": {"daemon.arguments", "daemon.keyreport", "store"}, "cli.support.backendwork": {"remote"},
}  # fmt: skip
"""Room (or one module of it, which adds to its room) -> rooms or modules it may import."""

PURE = (
    "dialects",
    "memory",
    "planner",
    "scheduler",
    "ui",
    "daemon.adminreport",
    "daemon.arguments",
    "daemon.attention",
    "daemon.batchreport",
    "daemon.figures",
    "daemon.donereport",
    "daemon.upstreamreport",
    "daemon.keyreport",
    "daemon.livereport",
    "daemon.mergepatch",
    "daemon.nodereport",
    "daemon.givenreport",
    "daemon.rates",
    "daemon.totals",
    "daemon.whyreport",
    "daemon.report",
    "hardware.arithmetic",
    "hardware.bandwidth",
    "hardware.document",
    "hardware.listing",
    "hardware.machine",
    "gguf.metadata",
    "gguf.quants",
    "catalog.entry",
    "catalog.match",
    "catalog.spelling",
    "config.nested",
    "config.schema",
    "config.seeds",
    "config.seedvariables",
    "config.upstreams",
    "config.values",
    "config.check",
    "config.describe",
    "config.diff",
    "config.environment",
    "config.foreign",
    "config.listen",
    "config.locate",
    "config.origin",
    "config.shortcut",
    "config.syntax",
    "engine.argv",
    "service.units",
    "supervisor.state",
    "supervisor.restarts",
    "supervisor.sizing",
    "supervisor.snapshot",
    "supervisor.causes",
    "remote.frames",
    "remote.link",
    "remote.stream",
    "router.additions",
    "router.body",
    "router.collect",
    "router.collectors",
    "router.constraints",
    "router.continuation",
    "router.dialect",
    "router.framing",
    "router.ambiguity",
    "router.characters",
    "router.gbnf",
    "router.headers",
    "router.lengths",
    "router.llamaserver",
    "router.media",
    "router.looser",
    "router.members",
    "router.promptparts",
    "router.message_collector",
    "router.rejoining",
    "router.schema",
    "router.tokenlimit",
    "router.shapes",
    "router.structure",
    "remote.figures",
    "remote.listed",
    "remote.source",
    "api.head",
    "remote.modelrelay.messages",
)
"""Rooms and modules where values go in and values come out; clocks, files and processes stay outside."""

PURE_FOUNDATION = frozenset({"errors", "units", "secret", "endpoint", "profile", "names", "rights"})
"""Foundation that pure modules may use: values only, no clock and no file."""

IMPURE_LIBRARIES = frozenset({
    "aiohttp", "asyncio", "concurrent", "fcntl", "http.client", "io", "logging", "mmap", "multiprocessing",
    "os", "psutil", "pynvml", "random", "resource", "secrets", "select", "selectors", "shutil",
    "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib.request", "uvloop",
})  # fmt: skip
"""Libraries that reach the world outside; `from random import Random` passes, as the type of a value."""

PATH_QUESTIONS = frozenset({
    "chmod", "cwd", "exists", "expanduser", "glob", "home", "is_dir", "is_file", "is_symlink", "iterdir",
    "lstat", "mkdir", "open", "read_bytes", "read_text", "resolve", "rglob", "rmdir", "stat", "touch",
    "unlink", "write_bytes", "write_text",
})  # fmt: skip
"""Methods of `pathlib.Path` that ask or change the file system."""

AIOHTTP_PUBLIC = frozenset({"abc", "hdrs", "test_utils", "typedefs", "web"})
"""Submodules of aiohttp that are documented; the others are its internals."""

AIOHTTP_INTERNALS_IN = frozenset({"api.gate"})
"""The only module that touches aiohttp's internals: a new minor of it is read against this one."""


def report(problems: Iterable[str]) -> None:
    found = list(dict.fromkeys(problems))
    assert not found, "\n" + "\n".join(found)


def may_import(importer: str, target: str) -> bool:
    room = room_of(importer)
    if target == "" or target in FOUNDATION:
        return True
    if room == room_of(target):
        return True
    allowed = {*MAY_IMPORT.get(room, ()), *MAY_IMPORT.get(importer, ())}
    return any(covers(entry, target) for entry in allowed)


def pure_modules() -> list[Module]:
    return [module for name, module in modules().items() if any(covers(entry, name) for entry in PURE)]


def test_every_room_has_its_place_in_the_table() -> None:
    rooms = {module.room for module in modules().values()} - FOUNDATION - {""}

    strangers = sorted(rooms - MAY_IMPORT.keys())

    assert not strangers, f"give these rooms of relayd/ a line in MAY_IMPORT, or another home: {strangers}"


def test_the_table_itself_goes_down_only() -> None:
    graph: dict[str, set[str]] = {}
    for importer, entries in MAY_IMPORT.items():
        graph.setdefault(room_of(importer), set()).update(map(room_of, entries))

    circle = circle_in(graph)

    assert not circle, f"rooms may import each other in a circle: {circle}"


def circle_in(graph: Mapping[str, AbstractSet[str]]) -> str:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as found:
        return " <- ".join(found.args[1])
    return ""


def test_imports_go_down_only() -> None:
    report(
        f"{module.at(imported.line)} {module.name} imports {target}: allowed are the foundation and "
        f"{sorted(MAY_IMPORT.get(module.room, ())) or 'nothing else'}; pass the thing in instead"
        for module, imported in every_import()
        if (target := within_relayd(imported)) is not None and not may_import(module.name, target)
    )


def test_rooms_use_only_public_names_of_each_other() -> None:
    report(
        f"{module.at(imported.line)} imports the private {target}.{imported.name}: make it public or move it"
        for module, imported in every_import()
        if (target := within_relayd(imported)) is not None
        and any(
            part.startswith("_") and not part.startswith("__") for part in (*target.split("."), imported.name)
        )
        and room_of(target) != module.room
    )


def test_a_room_offers_only_names_of_its_own() -> None:
    """A re-export would hide an arrow between two rooms from the table."""
    report(
        f"{module.at(imported.line)} offers {imported.name} of {target}: import it where it is used"
        for module, imported in every_import()
        if (target := within_relayd(imported)) is not None
        and room_of(target) != module.room
        and imported.name in offered(module)
    )


def test_no_import_goes_in_a_circle() -> None:
    circle = circle_in(graph_at_import_time())

    assert not circle, f"modules import each other in a circle: {circle}"


@pytest.mark.parametrize(("one", "other"), [("router", "supervisor"), ("supervisor", "router")])
def test_router_and_supervisor_meet_only_in_the_scheduler(one: str, other: str) -> None:
    starts = [name for name in modules() if covers(one, name)]

    problems = {start: hits for start in starts if (hits := {x for x in reach(start) if covers(other, x)})}

    assert not problems, f"they meet through events of the scheduler, never by import: {problems}"


def test_pure_modules_are_where_the_table_says() -> None:
    rooms = {module.room for module in modules().values()}

    gone = [entry for entry in PURE if room_of(entry) in rooms and entry not in modules()]

    assert not gone, f"PURE names modules that are not there; rename or remove these lines: {gone}"


def test_pure_modules_import_nothing_that_reaches_the_world() -> None:
    report(
        f"{module.at(imported.line)} imports {imported.target}: take its result as a value"
        for module in pure_modules()
        for imported in imports(module)
        if any(covers(library, imported.target) for library in IMPURE_LIBRARIES)
        and (imported.target, imported.name) != ("random", "Random")
    )


def test_pure_modules_import_only_pure_modules() -> None:
    allowed = {*PURE_FOUNDATION, "", *(module.name for module in pure_modules())}

    report(
        f"{module.at(imported.line)} imports relayd.{target}, which is not pure"
        for module in pure_modules()
        for imported in imports(module)
        if (target := within_relayd(imported)) is not None and target not in allowed
    )


def test_pure_modules_open_no_file_and_roll_no_dice() -> None:
    report(
        f"{module.at(node.lineno)} calls {ast.unparse(node.func)}: do it outside and pass the result in"
        for module in pure_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and reaches_out(node)
    )


def reaches_out(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in PATH_QUESTIONS
    name = ast.unparse(call.func)
    return name in {"open", "print", "input"} or (name == "Random" and not call.args)


def test_the_command_line_starts_with_typer_alone() -> None:
    """`--help` and completion answer at once, because the group imports a command only to run it."""
    started = reach("__main__") | reach("cli.main")

    report(
        f"{module.at(imported.line)} imports {imported.target}: move it into the function that uses it"
        for module in (modules()[name] for name in sorted(started))
        for imported in imports(module)
        if imported.at_import_time and not starts_fast(imported)
    )


def starts_fast(imported: Import) -> bool:
    target = within_relayd(imported)
    if target is not None:
        return target == "" or room_of(target) in {"cli", *FOUNDATION}
    top = room_of(imported.target)
    return top == "typer" or top in sys.stdlib_module_names


def test_one_module_touches_the_internals_of_aiohttp() -> None:
    report(
        f"{module.at(imported.line)} imports {imported.target}.{imported.name}: use the public API, "
        f"or do this in {sorted(AIOHTTP_INTERNALS_IN)}"
        for module, imported in every_import()
        if is_internal_of_aiohttp(imported) and module.name not in AIOHTTP_INTERNALS_IN
    )


def is_internal_of_aiohttp(imported: Import) -> bool:
    top, *inner = imported.target.split(".")
    private = imported.name.startswith(("_", "http_", "web_"))
    return top == "aiohttp" and (private or not AIOHTTP_PUBLIC.issuperset(inner[:1]))
