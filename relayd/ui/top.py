"""How does `relayd top` look: one screen of any terminal from 80 columns and 24 lines on?"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

from rich.console import Group, RenderableType
from rich.text import Text

from relayd.daemon.adminreport import RequestReport
from relayd.daemon.livereport import LiveReport, NowReport
from relayd.daemon.report import ReplicaReport
from relayd.ui.elsewhere import every_replica, slots_elsewhere
from relayd.units import show_bytes, show_seconds

_BARS = " ▁▂▃▄▅▆▇█"
_ASCII_BARS = " .:-=+*#%"

_MARKS = {
    "ready": ("●", "green"), "loading": ("◐", "cyan"), "starting": ("◔", "cyan"), "waiting": ("◌", "cyan"),
    "draining": ("◑", "yellow"), "stopping": ("◕", "yellow"), "backoff": ("↻", "yellow"),
    "exited": ("✕", "red"), "unhealthy": ("!", "yellow"), "cold": ("○", "dim"), "stopped": ("■", "dim"),
    "fatal": ("✕", "bold red"),
}  # fmt: skip

HELP = (
    ("arrows, j k", "choose a replica"), ("Enter", "its details"), ("l", "its log"),
    ("L  U", "load, unload its model"), ("R  D  S", "restart, drain, start it"),
    ("s", "sort by name, state, load, tokens a second"), ("/", "filter"), ("Esc", "back"), ("q", "leave"),
)  # fmt: skip

_NAME_WIDTH = 14

SORTS = ("name", "state", "busy", "rate")


@dataclass(frozen=True, slots=True)
class TopView:
    """What is shown.

    Attributes:
        report: The daemon now.
        now: Wall-clock seconds.
        width: Columns.
        height: Lines.
        selected: The replica that is chosen.
        filter: What names and states must contain.
        sort: By what replicas are sorted, one of `SORTS`.
        page: `fleet`, `details`, `log` or `help`.
        message: What was done last, or a question.
        typing: Whether the filter is being typed.
        tokens: Tokens a second, the oldest first.
        waiting: Waiting requests, the oldest first.
        log: Lines of the log of the replica that is chosen.
        plain: Only ASCII.
    """

    report: LiveReport
    now: float
    width: int = 80
    height: int = 24
    selected: str = ""
    filter: str = ""
    sort: str = "name"
    page: str = "fleet"
    message: str = ""
    typing: bool = False
    tokens: Sequence[float] = ()
    waiting: Sequence[float] = ()
    log: Sequence[str] = field(default=())
    plain: bool = False


def sparkline(values: Sequence[float], width: int, *, plain: bool = False) -> str:
    """Return values as a line of bars, the last `width` of them."""
    bars = _ASCII_BARS if plain else _BARS
    shown = [0.0] * max(0, width - len(values)) + list(values)[
        len(values) - width if len(values) > width else 0 :
    ]
    top = max(shown, default=0.0)
    return "".join(bars[round(value / top * (len(bars) - 1)) if top > 0 else 0] for value in shown)


def chosen_replicas(view: TopView) -> list[ReplicaReport]:
    """Return the replicas that are shown, in their order."""
    found = [
        replica
        for replica in every_replica(view.report.status)
        if all(word in f"{replica.name} {replica.state}".lower() for word in view.filter.lower().split())
    ]

    def place(one: ReplicaReport) -> tuple[float, str, str]:
        now = view.report.replicas.get(one.name, NowReport())
        amount = {"busy": -float(now.running), "rate": -now.tokens_per_second}.get(view.sort, 0.0)
        return amount, one.state if view.sort == "state" else "", one.name

    return sorted(found, key=place)


def render_top(view: TopView) -> RenderableType:
    """Return the screen: exactly as high as the terminal, if that has 24 lines or more."""
    head = [*_head(view)]
    foot = [_foot(view)]
    room = max(3, view.height - len(head) - len(foot))
    body = {"details": _details, "log": _log, "help": _help}.get(view.page, _fleet)(view, room)
    return Group(*head, *_fitted(body, room), *foot)


def _fitted(lines: list[RenderableType], room: int) -> list[RenderableType]:
    return [*lines[:room], *(Text() for _ in range(room - len(lines)))]


def _head(view: TopView) -> list[Text]:
    report = view.report
    running = sum(one.running for one in report.models.values())
    waiting = sum(one.waiting for one in report.models.values())
    slots = sum(model.slots for model in report.status.models) + slots_elsewhere(report.status)
    spark = max(8, (view.width - 48) // 2)
    first = Text(no_wrap=True, overflow="crop")
    first.append(f"{report.tokens_per_second:6.0f} tok/s ", "bold")
    first.append(sparkline(view.tokens, spark, plain=view.plain), "cyan")
    first.append(f"  {running}/{slots} slots  ")
    first.append(f"{waiting} wait ", "yellow" if waiting else "")
    first.append(sparkline(view.waiting, spark, plain=view.plain), "yellow")
    lines = [first, _memory(view)]
    for one in report.attention[: 2 if view.height < 30 else 4]:
        style = {"error": "bold red", "warning": "yellow"}.get(one.level, "dim")
        sign = {"error": "x", "warning": "!"}.get(one.level, "i")
        cause = f" {one.cause}" if one.cause else ""
        lines.append(Text(f"{sign} {one.text}{cause}", style=style, no_wrap=True, overflow="crop"))
    return lines


def _memory(view: TopView) -> Text:
    line = Text(no_wrap=True, overflow="crop")
    for account in view.report.status.memory.accounts:
        size = 12
        full = min(size, round(size * account.held / account.capacity)) if account.capacity else 0
        on, off = ("#", ".") if view.plain else ("█", "░")
        line.append(f"{account.account} ")
        line.append(on * full, "red" if account.free < 0 else "green")
        line.append(off * (size - full), "dim")
        line.append(f" {show_bytes(account.held)} of {show_bytes(account.capacity)}   ")
    return line


def _fleet(view: TopView, room: int) -> list[RenderableType]:
    replicas = chosen_replicas(view)
    open_requests = sorted(view.report.requests.values(), key=lambda one: one.since)
    below = min(len(open_requests) + 1, max(3, room // 3)) if open_requests else 0
    above = max(2, room - below)
    at = next((place for place, one in enumerate(replicas) if one.name == view.selected), 0)
    first = max(0, min(at - (above - 2) // 2, len(replicas) - (above - 1)))
    lines: list[RenderableType] = [_columns(view, _HEADS, "bold dim")]
    shown = replicas[first : first + above - 1]
    lines += [_replica(view, one) for one in shown]
    if not replicas:
        lines.append(Text("  No replica matches the filter." if view.filter else "  No model is configured."))
    lines += [Text() for _ in range(above - len(lines))]
    if below:
        lines.append(_request_columns(view, _REQUEST_HEADS, "bold dim"))
        lines += [_request(view, one) for one in open_requests[: below - 1]]
    return lines


_HEADS = ("REPLICA", "STATE", "FOR", "SLOTS", "TOK/S", "MEMORY")
_REQUEST_HEADS = ("REQUEST", "MODEL", "STATE", "WAITED", "TOKENS", "AGE")


def _columns(view: TopView, cells: Sequence[str], style: str = "") -> Text:
    name = max(16, view.width - 60)
    widths = (name, 12, 13, 11, 7, 10)
    text = "  " + " ".join(
        f"{_cut(cell, width):{'<' if at < 2 else '>'}{width}}"
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return Text(text, style=style, no_wrap=True, overflow="crop")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}~"


def _replica(view: TopView, one: ReplicaReport) -> Text:
    now = view.report.replicas.get(one.name, NowReport())
    mark, style = _MARKS.get(one.state, ("?", ""))
    held = one.memory.held or one.memory.planned
    is_there = one.state not in ("cold", "stopped", "fatal", "backoff")
    bar = ("#" if view.plain else "▮") * min(6, now.running)
    cells = (
        one.name,
        f"{'' if view.plain else mark + ' '}{one.state}",
        show_seconds(max(0.0, view.now - one.since)) if one.since else "-",
        f"{bar} {now.running}/{one.slots}",
        f"{now.tokens_per_second:.0f}" if is_there else "-",
        show_bytes(sum(held.bytes.values())) if held and is_there else "-",
    )
    line = _columns(view, cells, style)
    if one.name == view.selected:
        line.plain = ">" + line.plain[1:]
        line.stylize("reverse")
    return line


def _request_columns(view: TopView, cells: Sequence[str], style: str = "") -> Text:
    widths = (max(12, view.width - 66), 16, 14, 10, 8, 10)
    text = "  " + " ".join(
        f"{_cut(cell, width):{'<' if at < 3 else '>'}{width}}"
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return Text(text, style=style, no_wrap=True, overflow="crop")


def _request(view: TopView, one: RequestReport) -> Text:
    state = one.state
    if one.state == "waiting" and one.position:
        state = f"waits, {one.position}."
    elif one.prompt_total:
        state = f"prompt {100 * one.prompt_done // one.prompt_total} %"
    waited = view.now - one.since if one.state == "waiting" else one.waited_seconds
    cells = (
        one.id, one.model, state, show_seconds(max(0.0, waited)), f"~{one.tokens}" if one.tokens else "-",
        show_seconds(max(0.0, view.now - one.since)),
    )  # fmt: skip
    return _request_columns(view, cells, "yellow" if one.state == "waiting" else "")


def _find(view: TopView) -> ReplicaReport | None:
    return next((one for one in every_replica(view.report.status) if one.name == view.selected), None)


def _details(view: TopView, _room: int) -> list[RenderableType]:
    one = _find(view)
    if one is None:
        return [Text("No replica is chosen.")]
    since = show_seconds(max(0.0, view.now - one.since))
    rows = [
        ("replica", one.name),
        ("state", f"{one.state} for {since}" if one.since else one.state),
        ("why", one.reason),
        ("pid", str(one.pid or "-")),
        ("address", one.address or "-"),
        ("slots", str(one.slots)),
        ("restarts", f"{one.restarts}; {one.budget_left} more are tolerated"),
        ("made smaller", "; ".join(one.reduced)),
        ("last exit", f"{one.last_exit.cause}: {one.last_exit.message}" if one.last_exit else ""),
        ("remedy", one.last_exit.remedy if one.last_exit else ""),
        ("log", one.log or ""),
        ("command", " ".join(one.command)),
    ]
    return [*_pairs(rows, view.width)]


def _pairs(rows: Iterable[tuple[str, str]], width: int) -> Iterator[Text]:
    """Yield names and their values, folded at the edge."""
    for name, value in rows:
        for at, part in enumerate(wrap(value, max(20, width - _NAME_WIDTH))):
            yield Text(f"{name if at == 0 else '':<{_NAME_WIDTH}}{part}", no_wrap=True, overflow="crop")


def _log(view: TopView, room: int) -> list[RenderableType]:
    lines = [Text(line, no_wrap=True, overflow="crop") for line in view.log[-room:]]
    return [*lines] or [Text(f"Nothing is in the log of {view.selected} yet.", style="dim")]


def _help(_view: TopView, _room: int) -> list[RenderableType]:
    return [Text(f"  {keys:<12} {text}") for keys, text in HELP]


def _foot(view: TopView) -> Text:
    if view.typing:
        return Text(f"/{view.filter}_", style="bold", no_wrap=True, overflow="crop")
    if view.message:
        return Text(view.message, style="bold", no_wrap=True, overflow="crop")
    more = f"  filter: {view.filter}" if view.filter else ""
    text = f"Enter more  l log  L load  U unload  R restart  s: {view.sort}  / find  ? help  q quit{more}"
    return Text(text, style="dim", no_wrap=True, overflow="crop")
