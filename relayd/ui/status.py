"""How does `relayd status` look?"""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from relayd.daemon.nodereport import NodesReport
from relayd.daemon.report import MemoryReport, ReplicaReport, ServiceReport, StatusReport
from relayd.ui.ledger import ledger_notes, ledger_table
from relayd.ui.nodes import nodes_page
from relayd.ui.upstreams import upstream_table
from relayd.units import MIB, show_bytes, show_seconds

_RESTART = "relayd restart applies the plan"

_HOST = "host"
"""The account of the main memory."""

_ABSENT = frozenset({"cold", "stopped", "fatal"})
"""States of replicas that hold no memory and wait for none."""

_STYLES = {"ready": "green", "fatal": "bold red", "backoff": "yellow", "unhealthy": "yellow"}


def render_status(report: StatusReport, now: float) -> RenderableType:
    """Return the report of `relayd status` for a terminal of 80 columns or more.

    Args:
        report: Of the control socket.
        now: Wall-clock seconds.
    """
    age = _age(report.since, now)
    lines = [
        Text(f"relayd {report.version} (pid {report.pid}) at {report.url}, up {age}{_whole(report)}"),
    ]
    if service := report.service:
        lines.append(_service(service))
    if before := report.predecessor:
        text = f"the daemon before (pid {before.pid}) has {before.requests} requests to finish"
        lines.append(Text(text))
    if report.stopping:
        lines.append(Text("stopping: running requests are finished first", style="yellow"))
    if batches := batch_line(report):
        lines.append(Text(batches))
    lines += [Text(f"warning: {warning}", style="yellow") for warning in report.warnings]
    elsewhere = [*_elsewhere(report, now)]
    if not report.models:
        return Group(*lines, *(elsewhere or [Text("no model is configured")]), *_upstream_notes(report))
    tables: list[RenderableType] = [Text(), _table(report, now)]
    if done := _done(report):
        tables += [Text(), done]
    if memory := _memory(report):
        tables += [Text(), memory]
    if report.memory.accounts:
        tables += [Text(), ledger_table(report.memory), Text()]
    notes = (*ledger_notes(report.memory, report.models, now), *_notes(report, now), *_upstream_notes(report))
    return Group(*lines, *tables, *elsewhere, *notes)


def _elsewhere(report: StatusReport, now: float) -> Iterator[RenderableType]:
    """Yield what is on other machines: upstreams, nodes, and the hubs of this one."""
    if report.upstreams:
        yield from (Text(), upstream_table(report.upstreams))
    if report.nodes or report.hubs:
        yield from (Text(), nodes_page(NodesReport(bool(report.nodes), report.nodes, report.hubs), now))


def _upstream_notes(report: StatusReport) -> Iterator[Text]:
    """Yield why an upstream cannot be used."""
    for one in report.upstreams:
        if one.problem:
            yield Text(f"{one.name}: {one.problem}", style="yellow")


def batch_line(report: StatusReport) -> str:
    """Return a line about batches at work; empty where none is."""
    batches = report.batches
    if not batches.lines_left:
        return ""
    found = [f"batches: {batches.lines_left:,} lines to answer"]
    if batches.lines_per_second:
        found.append(f"{batches.lines_per_second:.1f} a second")
    if batches.seconds_left is not None:
        found.append(f"{show_seconds(batches.seconds_left)} left")
    if batches.paused:
        found.append(f"paused: {batches.paused}")
    return ", ".join(found)


def path_lines(report: StatusReport) -> list[str]:
    """Return where engine, configuration and logs are: printed as they are, so that they can be copied."""
    engine = report.engine
    lines = [f"llama.cpp {engine.version}  {engine.path}"]
    lines += [f"configuration     {', '.join(report.config)}"] * bool(report.config)
    return lines + [f"logs              {report.logs}"] * bool(report.logs)


def _whole(report: StatusReport) -> str:
    """Return what all requests came to."""
    done = [model.done for model in report.models]
    if not (requests := sum(one.requests for one in done)):
        return ""
    tokens = sum(one.completion_tokens for one in done)
    return f", {requests:,} request{'' if requests == 1 else 's'}, {tokens:,} tokens written"


def _done(report: StatusReport) -> Table | None:
    """Return what the requests of each model came to; None before there was one."""
    table = Table(box=None, pad_edge=False)
    table.add_column("MODEL", overflow="fold")
    for heading in ("REQUESTS", "FAILED", "TOKENS READ", "WRITTEN", "TOK/S EACH"):
        table.add_column(heading, justify="right", no_wrap=True)
    for model in report.models:
        if (done := model.done).requests:
            speed = f"{done.tokens_per_second:.1f}" if done.tokens_per_second else "-"
            counts = (done.requests, done.failed, done.prompt_tokens, done.completion_tokens)
            table.add_row(Text(model.name), *(f"{count:,}" for count in counts), speed)
    return table if table.row_count else None


def _service(service: ServiceReport) -> Text:
    """Return who manages the daemon, what it allows, and where its journal is."""
    allowed = [f"{service.open_files:,} files"]
    if service.tasks:
        allowed.append(f"{service.tasks:,} tasks")
    if service.memory:
        allowed.append(show_bytes(service.memory))
    if service.watchdog_seconds:
        allowed.append(f"watchdog {show_seconds(service.watchdog_seconds)}")
    journal = f"; {service.journal}" if service.journal else ""
    return Text(f"{service.manager} runs it as {service.name}: {', '.join(allowed)}{journal}")


def _table(report: StatusReport, now: float) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("REPLICA", "STATE"):
        table.add_column(heading, overflow="fold")
    for heading in ("FOR", "PID", "SLOTS", "RESTARTS"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("MODEL BUSY", no_wrap=True)
    for model in report.models:
        for number, replica in enumerate(model.replicas):
            marks = [mark for mark, holds in (("demo", model.demo), ("pinned", model.pinned)) if holds]
            name = replica.name + (f" ({', '.join(marks)})" if marks else "")
            busy = f"{model.running}/{model.slots} slots, {model.waiting} waiting"
            table.add_row(
                Text(name),
                Text(replica.state, style=_STYLES.get(replica.state, "")),
                _age(replica.since, now),
                str(replica.pid or "-"),
                str(replica.slots),
                str(replica.restarts),
                busy if number == 0 else "",
            )
    return table


def _memory(report: StatusReport) -> Table | None:
    """Return what each replica that is there should hold and does, by account; None where none is."""
    table = Table(box=None, pad_edge=False)
    table.add_column("MEMORY", overflow="fold")
    table.add_column("OF", no_wrap=True)
    for heading in ("PLANNED", "HELD"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for replica in (one for model in report.models for one in model.replicas if one.state not in _ABSENT):
        planned, held = replica.memory.planned, replica.memory.held
        sizes = [one.bytes if one else {} for one in (planned, held)]
        for account in sorted({*sizes[0], *sizes[1]}, key=lambda one: (one != _HOST, one)):
            shown = [show_bytes(size[account]) if account in size else "-" for size in sizes]
            if account == _HOST and held:
                shown[1] = show_bytes(sizes[1].get(_HOST, 0) - _cached(replica.memory))
            remark = _remark(replica.memory) if account == _HOST else ""
            table.add_row(Text(replica.name), account, *shown, Text(remark))
    return table if table.row_count else None


def _cached(memory: MemoryReport) -> int:
    """Return the pages of files that a replica does not need: weights that it keeps in another order.

    What its plan counts as weights in a mapped file is needed, whatever the kernel may do with it.
    """
    planned, held = memory.planned, memory.held
    if not (planned and held):
        return 0
    anonymous = held.bytes.get(_HOST, 0) - held.mapped_bytes
    return max(0, held.mapped_bytes - max(0, planned.bytes.get(_HOST, 0) - anonymous))


def _remark(memory: MemoryReport) -> str:
    planned, held, wall = memory.planned, memory.held, memory.wall
    remarks = []
    cached = _cached(memory)
    if held and held.mapped_bytes - cached >= MIB:
        remarks.append(f"{show_bytes(held.mapped_bytes - cached)} of it a mapped file")
    if cached >= 64 * MIB:
        remarks.append(f"and {show_bytes(cached)} of its file, cached until memory is short")
    if planned:
        if planned.prompt_cache_bytes > 0:
            remarks.append(f"and {show_bytes(planned.prompt_cache_bytes)} at most for earlier prompts")
        if planned.basis == "prediction":
            remarks.append("predicted")
        if planned.rough:
            remarks.append("roughly")
    if held and held.source == "rss":
        remarks.append("held with all shared pages")
    if wall and wall.bytes is not None:
        remarks.append(f"limited to {show_bytes(wall.bytes)} of data")
    elif wall:
        remarks.append(f"not limited: {wall.reason}")
    return ", ".join(remarks)


def _notes(report: StatusReport, now: float) -> Iterator[Text]:
    """Yield why a replica that is not ready is not."""
    yield from _reasons(report)
    for model in report.models:
        for replica in model.replicas:
            last = replica.last_exit
            if replica.differs:
                flags = ", ".join(replica.differs)
                yield Text(f"{replica.name} runs with other arguments than planned: {flags}; {_RESTART}")
            if replica.reduced:
                yield Text(f"{replica.name} was made smaller to fit: {'; '.join(replica.reduced)}")
            if replica.health_fault:
                told = f"{replica.name}: relayd failed to look at it, and tries again"
                yield Text(f"{told}: {replica.health_fault}", style="yellow")
                yield Text("  Report it as a fault of relayd, with its place in: relayd logs")
            if replica.state in ("backoff", "fatal") and last:
                retry = (
                    f", next try in {show_seconds(max(0.0, replica.retry_at - now))}"
                    if replica.retry_at
                    else ""
                )
                yield Text(f"{replica.name}: {last.cause}: {last.message}{retry}", style="yellow")
                if last.remedy:
                    yield Text(f"  {last.remedy}")
                if replica.state == "fatal":
                    yield from (Text(f"  | {line}", style="dim") for line in last.last_words[-5:])
                yield Text(f"  more: relayd logs {replica.name}")


def _reasons(report: StatusReport) -> Iterator[Text]:
    """Yield why replicas are not in memory, one line for all that have the same reason."""
    alike = dict[str, list[ReplicaReport]]()
    for replica in (one for model in report.models for one in model.replicas if one.reason):
        alike.setdefault(replica.reason.removeprefix(f"{replica.name} "), []).append(replica)
    for clause, replicas in alike.items():
        names, reason = ", ".join(one.name for one in replicas), replicas[0].reason
        is_sentence = len(replicas) == 1 and replicas[0].name in reason
        yield Text(reason if is_sentence else f"{names}: {clause.removeprefix('is ')}", style="yellow")


def _age(since: float, now: float) -> str:
    return show_seconds(max(0.0, now - since))
