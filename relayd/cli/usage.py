"""relayd usage: what each key used of each model, by day."""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from relayd.cli.support.control import daemon_client
from relayd.cli.support.keys import opened_database, with_keys
from relayd.cli.support.keyspec import parse_since
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.terminal import show
from relayd.clock import SystemClock
from relayd.daemon.arguments import UsageArguments
from relayd.daemon.keyreport import UsageReport, usage_report
from relayd.errors import NoDaemonError, UsageError
from relayd.rights import UsageRow
from relayd.store.keycopies import MARK, key_here
from relayd.store.keys import KeyTable, find_key
from relayd.store.usage import UsageTable
from relayd.ui.keys import usage_table

COLUMNS = ("day", "key", "name", "model", *UsageRow.__struct_fields__[3:])


def usage(
    key: Annotated[str | None, typer.Option(metavar="NAME|ID", help="Only of this key.")] = None,
    model: Annotated[str, typer.Option(help="Only of this model.")] = "",
    since: Annotated[str, typer.Option(metavar="30d|DAY", help="From then on: 7d, 2026-11-01, all.")] = "30d",
    others: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="HUB=FILE", help="Add what `usage --json` printed on another hub."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what each key used of each model, by day.

    Days are those of UTC. Requests without a key are those of `-`.
    """
    arguments = UsageArguments(key, model, parse_since(since, SystemClock().wall()))
    report = _summed(_report(arguments), others or [], arguments)
    if as_json:
        print_json(msgspec.to_builtins(report))
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(COLUMNS)
        for row in report.rows:
            day, known, *sums = msgspec.structs.astuple(row)
            writer.writerow((day, known, report.names.get(row.key, ""), *sums))
    elif report.rows:
        show(usage_table(report))
    else:
        typer.echo("Nothing was used in this time.")


def _report(arguments: UsageArguments) -> UsageReport:
    """Return the usage: of the running daemon, or of the database while none runs."""
    try:
        return daemon_client().usage(arguments)
    except NoDaemonError:
        with opened_database() as database:
            keys = KeyTable(database).every()
            named = arguments.key
            known = find_key(keys, named).id if named and named not in ("configured", "local") else named
            asked = msgspec.structs.replace(arguments, key=known)
            return usage_report(UsageTable(database).rows(since=asked.since), keys, asked)


def _summed(report: UsageReport, others: list[str], arguments: UsageArguments) -> UsageReport:
    """Return the usage with that of other hubs, where a key of this one is `ID@` and the name of this one.

    Raises:
        UsageError: A file cannot be read.
    """
    if not others:
        return report
    rows, names = [*report.rows], dict(report.names)
    own = {key.id for key in with_keys(lambda service: service.keys()).keys}
    for hub, mark, file in (one.partition("=") for one in others):
        try:
            theirs = msgspec.json.decode(Path(file).read_bytes(), type=UsageReport)
        except (OSError, msgspec.DecodeError) as error:
            raise UsageError(
                f"{file or hub} cannot be added: {error if mark else 'no HUB= before it'}",
                remedy="Print it there: `relayd usage --json`, and give --with HUB=FILE.",
            ) from error
        for row in theirs.rows:
            key = key_here(row.key, hub, own)
            rows.append(msgspec.structs.replace(row, key=key))
            names.setdefault(key, f"{theirs.names.get(row.key, row.key)}{MARK}{hub}")
    wanted = arguments.key and find_key_id(names, arguments.key)
    kept = [row for row in rows if not wanted or row.key == wanted]
    summed = usage_report(kept, (), msgspec.structs.replace(arguments, key=None))
    return msgspec.structs.replace(summed, names={key: names.get(key, key) for key in summed.names})


def find_key_id(names: Mapping[str, str], named: str) -> str:
    """Return the id of a key that was used, by its name or id."""
    return next((key for key, name in names.items() if named in (key, name)), named)
