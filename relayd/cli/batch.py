"""relayd batch: have files of requests run when there is time, and get their results."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from relayd.batch.client.filebatches import written
from relayd.batch.client.inputs import ENDPOINTS, InputPlan
from relayd.batch.client.relay import WINDOW
from relayd.cli.support.batches import opened, served, shown_json, slots_of, watched
from relayd.cli.support.batchfiles import (
    PreparedInput,
    failed_requests,
    input_of,
    results_into,
    save_results,
    submitted,
)
from relayd.cli.support.bydefault import ListByDefault
from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import AsJson, Quiet, print_json
from relayd.cli.support.terminal import show
from relayd.clock import SystemClock
from relayd.errors import BatchJobError, UsageError
from relayd.ui.batches import BatchRow, batch_page, batches_table

app = typer.Typer(
    name="batch",
    cls=ListByDefault,
    help="Run files of requests when there is time; alone it lists.",
)

Known = Annotated[str, typer.Argument(metavar="ID", help="A batch, by its id, its beginning, or its name.")]
Directory = Annotated[
    Path | None,
    typer.Option("--directory", metavar="DIR", help="The jobs of a Relay workspace, not those of relayd."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Show how it gets on until it has ended.")]


@app.command()
def submit(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help=".jsonl, .csv, .tsv, or a text with a prompt a line; - reads."),
    ],
    name: Annotated[str, typer.Option("--id", metavar="NAME", help="What you call it.")] = "",
    endpoint: Annotated[
        str, typer.Option(metavar="PATH", help=f"What the requests are for.  [default: {ENDPOINTS[0]}]")
    ] = "",
    model: Annotated[str, typer.Option(help="The model of requests that name none.")] = "",
    template: Annotated[
        str, typer.Option("--prompt-template", metavar="TEXT", help="Like `Translate: {text}`, by column.")
    ] = "",
    system: Annotated[
        str, typer.Option(metavar="TEXT", help="The system prompt of rows; columns go too.")
    ] = "",
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of an answer.")] = None,
    window: Annotated[str, typer.Option(metavar="24h", help="How long it may take.")] = WINDOW,
    description: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
    wait: Wait = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Submit requests of a file as a batch.

    Lines of a .jsonl file are requests as OpenAI's batches have them, or objects for --prompt-template. Rows
    of a .csv or .tsv file, and lines of any other, become prompts. A column `custom_id` or `id` names a row.

    Everything is checked before anything is sent. With --wait it exits with 1 if a request failed.
    """
    batches = served()
    plan = InputPlan(endpoint, model, template, system, max_tokens)
    with input_of(file, plan, sys.stdin.buffer) as prepared:
        made = submitted(batches, prepared, name, window, {"file": file.name, "description": description})
    if not wait:
        if as_json:
            print_json(shown_json(made))
        else:
            typer.echo(f"Submitted {prepared.count:,} requests as {made.id}.")
            typer.echo(f"Watch it: relayd batch watch {name or made.id}")
        return
    row = watched(batches, made.id, as_json=False, quiet=quiet or as_json)
    _finish(row, as_json=as_json)


@app.command("list")
def list_(
    most: Annotated[int, typer.Option("-n", "--most", min=1, help="How many, the newest first.")] = 20,
    status: Annotated[str, typer.Option("--state", metavar="STATE", help="Only those in this state.")] = "",
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """Show the batches."""
    rows = [row for row in opened(directory).every(most) if not status or row.status == status]
    if as_json:
        print_json([shown_json(row) for row in rows])
    elif rows:
        now = SystemClock().wall()
        show(lambda width: batches_table(rows, now, width))
    else:
        where = f" in {directory}" if directory else ""
        typer.echo(f"There is no batch{where}{f' that is {status}' if status else ''}.")
        if not directory:
            typer.echo("Submit one: relayd batch submit FILE.jsonl")


@app.command("show")
def show_(batch: Known, directory: Directory = None, as_json: AsJson = False) -> None:
    """Show all that is known of a batch."""
    row = opened(directory).find(batch)
    if as_json:
        print_json(shown_json(row))
    else:
        show(batch_page(row, slots_of(row.model) if row.model else 0, SystemClock().wall()), pipe_columns=100)


@app.command()
def watch(
    batch: Known,
    directory: Directory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each change.")] = False,
) -> None:
    """Show how a batch gets on until it has ended.

    Exits with 1 if a request failed, or it did not come to its end. Ctrl-C leaves it running.
    """
    row = watched(opened(directory), batch, as_json=as_json)
    if not as_json:
        _finish(row, as_json=False)
    elif row.status != "completed" or row.failed:
        raise typer.Exit(1)


@app.command()
def results(
    batch: Known,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write them to a file, as a whole.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those of failed requests.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print custom_id, status, text and error as comma-separated values.")
    ] = False,
    directory: Directory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array, not lines.")] = False,
) -> None:
    """Print the results of a batch as JSON lines.

    Those of failed requests come last. A batch that still runs has the results of the requests that are done.
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    batches, form = opened(directory), "csv" if as_csv else "json" if as_json else "jsonl"
    if output is None:
        results_into(batches, batch, sys.stdout.buffer, form, failed_only=failed)
        return
    count = save_results(batches, batch, output, form, failed_only=failed)
    typer.echo(f"{count:,} results are in {output}.", err=True)


@app.command()
def cancel(batch: Known, directory: Directory = None, as_json: AsJson = False) -> None:
    """Cancel a batch; what is done of it can be had as results."""
    row = opened(directory).cancel(batch)
    if as_json:
        print_json(shown_json(row))
    else:
        typer.echo(f"{row.id} is {row.status}: {row.completed:,} of {row.total:,} were done.")


@app.command()
def retry(
    batch: Known,
    name: Annotated[str, typer.Option("--id", metavar="NAME", help="What you call the new one.")] = "",
    wait: Wait = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Submit what failed of a batch, or was not run, as a new one."""
    batches = served()
    old = batches.document(batch)
    with written(failed_requests(batches, old)) as file:
        if not file.stat().st_size:
            raise BatchJobError(f"no request of batch {batch} failed")
        with file.open("rb") as lines:
            count = sum(1 for _ in lines)
        prepared = PreparedInput(file, str(old.get("endpoint") or ""), count)
        window = str(old.get("completion_window") or WINDOW)
        made = submitted(batches, prepared, name, window, {"retry_of": str(old["id"])})
    if wait:
        made = watched(batches, made.id, as_json=False, quiet=quiet or as_json)
        _finish(made, as_json=as_json)
    elif as_json:
        print_json(shown_json(made))
    else:
        typer.echo(f"Submitted the {count:,} that failed as {made.id}.")
        typer.echo(f"Watch it: relayd batch watch {name or made.id}")


@app.command()
def gc(
    days: Annotated[
        float | None,
        typer.Option(min=0, metavar="N", help="What ended earlier goes.  [default: as configured]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove batches that ended long ago, and files that none uses."""
    report = daemon_client().collect_batches(days)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        typer.echo(f"Removed, batches: {report.batches:,}, files: {report.files:,}.")


def _finish(row: BatchRow, *, as_json: bool) -> None:
    """Show how a batch ended, and exit with 1 unless all of it is done."""
    if as_json:
        print_json(shown_json(row))
    else:
        show(batch_page(row, slots_of(row.model) if row.model else 0, SystemClock().wall()), pipe_columns=100)
        typer.echo(f"Results: relayd batch results {row.name or row.id}")
        if row.failed:
            typer.echo(f"Run the {row.failed:,} again: relayd batch retry {row.name or row.id}")
    if row.status != "completed" or row.failed:
        raise typer.Exit(1)
