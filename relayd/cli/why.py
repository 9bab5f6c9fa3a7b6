"""relayd why: how much of a request's prompt was reused, and what kept the engine from reusing more."""

from typing import Annotated

import msgspec
import typer

from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import print_json
from relayd.daemon.whyreport import WhyReport


def why(
    request: Annotated[str, typer.Argument(metavar="ID", help="As X-Request-ID of its answer names it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what of a prompt was read again, why, and what it cost.

    The last requests are compared with each other, part by part; only hashes and lengths are kept of them.
    """
    report = daemon_client().why(request)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        typer.echo("\n".join(_lines(report)))


def _lines(report: WhyReport) -> list[str]:
    read = report.prompt_tokens - report.cached_tokens
    tokens = f"{report.prompt_tokens:,} tokens: {report.cached_tokens:,} reused, {read:,} read"
    lines = [
        f"{report.request} of {report.model}, answered by {report.replica}",
        f"prompt     {tokens} in {report.prompt_seconds:.1f} s",
        f"cause      {report.cause}: {report.text}",
    ]
    if report.lost_tokens:
        lines.append(f"read again {report.lost_tokens:,} tokens, {report.lost_seconds:.1f} s")
    if report.difference and report.cause != "client":
        lines.append(f"differs    {report.difference}")
    if report.earlier:
        lines.append(f"compared   with {report.earlier}")
    return lines
