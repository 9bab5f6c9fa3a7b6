"""How do upstreams and what they serve look in a terminal?"""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from relayd.daemon.upstreamreport import UpstreamReport

_STYLES = {"ready": "green", "gone": "bold red", "lost": "yellow", "paused": "yellow"}


def upstream_table(upstreams: Iterable[UpstreamReport]) -> Table:
    """Return a line for each model of each upstream; one without a model has a line of its own."""
    table = Table(box=None, pad_edge=False)
    for heading in ("UPSTREAM", "MODEL"):
        table.add_column(heading, overflow="fold")
    table.add_column("STATE", no_wrap=True)
    for heading in ("BUSY", "COST", "WEIGHT"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("URL", overflow="fold")
    for one in upstreams:
        for number, model in enumerate(one.models):
            table.add_row(
                Text(one.name if number == 0 else ""),
                Text(model.model),
                Text(model.state, style=_STYLES.get(model.state, "")),
                f"{model.running}/{model.slots}",
                f"{model.cost:g} s",
                f"{model.weight:g}",
                Text(one.url if number == 0 else ""),
            )
        if not one.models:
            table.add_row(
                Text(one.name), "-", Text("unusable", style="bold red"), "-", "-", "-", Text(one.url)
            )
    return table
