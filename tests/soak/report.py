"""What came of it all, for people."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from relayd.units import show_bytes
from tests.soak.clients import WHOLE
from tests.soak.load import Load
from tests.soak.timeline import Timeline
from tests.soak.watch import Watch
from tests.soak.world import World

_NOT_INJECTED = {
    "suspend": "would stop the whole machine; pure tests move an injected clock on",
    "stalled load, wedged decode, broken HTTP of a replica": "the real engine does none on demand: fakes do",
}


def lines(world: World, timeline: Timeline, load: Load, watch: Watch) -> Iterator[str]:
    """Yield the report."""
    yield f"faults: {timeline.faults.total()}"
    yield from (f"  {count:5}  {name}" for name, count in timeline.faults.most_common())
    yield from (f"  not injected: {name} ({why})" for name, why in _NOT_INJECTED.items())
    if not world.has_small_disk:
        yield "  not injected: full disk, read-only folders (only root may mount)"
    if not world.clock:
        yield "  not injected: clock steps (needs a C compiler)"
    if not world.memory_group:
        yield "  not injected: a kill by the kernel's OOM killer (needs a memory cgroup of our own)"
    sent = ", ".join(f"{count} {kind}" for kind, count in load.sent.items())
    yield f"requests: {load.sent.total()} ({sent}), whole {load.outcomes[WHOLE]}"
    failed = Counter({name: count for name, count in load.outcomes.items() if name != WHOLE})
    yield f"  failed {failed.total()}"
    for name, count in failed.most_common():
        yield f"  {count:5}  {name}"
        yield f"           such as: {load.examples[name][:230]}"
    yield f"badly behaved clients: {load.rude.total()}"
    yield from (f"  {count:5}  {name}" for name, count in sorted(load.rude.items()))
    yield f"looks for a replica that runs twice: {watch.looks}"
    yield from (f"{name}: {count}" for name, count in timeline.findings.items())
    for model, (seconds, at, causes) in sorted(watch.outages.items()):
        yield f"longest without a ready replica: {model} {seconds:.2f} s at {at:.1f} s ({causes})"
    for model, seconds in sorted(watch.stopped_outages.items()):
        yield f"longest while an operator had stopped it: {model} {seconds:.2f} s"
    yield from _figures(watch)
    yield from _journal(world.state / "relayd" / "logs")
    yield f"standard error of daemons: {len(world.stderr)} lines"
    unindented = Counter(line[:150] for line in world.stderr if not line.startswith(" "))
    yield from (f"  {count:5}  {line}" for line, count in unindented.most_common(12))
    yield f"invariants broken: {len(timeline.broken)}"
    yield from (f"  {each}" for each in timeline.broken)


def _figures(watch: Watch) -> Iterator[str]:
    yield f"daemons: {len(watch.figures)}; memory and descriptors (first, last, most), longest lives:"
    for figures in sorted(watch.figures, key=lambda one: -len(one.samples))[:3]:
        if not figures.samples:
            continue
        settled = [one for one in figures.samples if one[0] - figures.began > 3] or figures.samples
        _, memory, descriptors = zip(*settled, strict=True)
        bytes_ = ", ".join(show_bytes(value) for value in (memory[0], memory[-1], max(memory)))
        life = figures.samples[-1][0] - figures.samples[0][0]
        yield f"  {life:5.0f} s  {bytes_};  {descriptors[0]}, {descriptors[-1]}, {max(descriptors)}"


def _journal(folder: Path) -> Iterator[str]:
    """Yield how often each warning and error stands in the daemon's log, and how each trace ends."""
    events: Counter[str] = Counter()
    traces: Counter[str] = Counter()
    for path in sorted(folder.glob("relayd.log*")):
        lines_ = path.read_text("utf-8", "replace").splitlines()
        for number, line in enumerate(lines_):
            if found := re.match(r"\S+Z (WARNING|ERROR|CRITICAL) +(\S+)", line):
                detail = re.search(r"message=.*", line) if found[2] in _DETAILED else None
                events[f"{found[1]} {found[2]} {detail[0] if detail else ''}"] += 1
            elif re.match(r"\w*(\.\w+)*(Error|Exception)\b", line):
                traces[" | ".join(each.strip() for each in lines_[max(0, number - 6) : number + 1])] += 1
    yield "daemon log: warnings and errors"
    yield from (f"  {count:5}  {name}" for name, count in events.most_common())
    yield from (f"  {count:5}  trace: {name}" for name, count in traces.most_common(10))


_DETAILED = {"health.fault", "footprint.fault", "record.not_written", "log.not_rotated", "replica.unkillable"}
