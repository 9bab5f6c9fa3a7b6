"""relayd import: the servers that RelayServe, ModelRelay or LLMStream were configured with, as upstreams."""

from pathlib import Path
from typing import Annotated

import tomli_w
import typer

from relayd.cli.support.output import AsJson, print_json
from relayd.config.seeds import IMPORTS, ImportedLines, as_upstream
from relayd.config.written import FILE_NAME, keep
from relayd.desired.site import Site
from relayd.errors import ConfigError, UsageError


def import_settings(
    program: Annotated[str, typer.Argument(help="llmstream, relayserve or modelrelay.")],
    file: Annotated[Path, typer.Argument(help="Its config.json, config.yaml or worker.toml.")],
    write: Annotated[
        bool, typer.Option("--write", help="Write it to models.toml; without it, it is only shown.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take over the servers that another program had.

    They are shown as blocks of [[upstream]]. With --write they go to models.toml, beside relay.toml, and
    `relayd reload` has the daemon follow them.
    """
    found = _read(program, file)
    site = Site()
    place = site.state / FILE_NAME
    if write:
        for table, lines in (("upstream", map(as_upstream, found.upstreams)), ("virtual", found.virtual)):
            for line in lines:
                keep(line, site.state, table)
    if as_json:
        print_json({**_document(found), "notes": [*found.notes], "written": str(place) if write else None})
        return
    print(tomli_w.dumps(_document(found)).rstrip())
    for note in found.notes:
        print(f"# {note}")
    if write:
        print(f"\nWritten to {place}. A running relayd follows it after: relayd reload")
    else:
        print(f"\nNothing was written. With --write it goes to {place}.")


def _read(program: str, file: Path) -> ImportedLines:
    if (reader := IMPORTS.get(program.lower())) is None:
        raise UsageError(f"unknown program {program!r}", remedy=f"Name one of: {', '.join(IMPORTS)}.")
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {getattr(error, 'strerror', error)}") from error
    try:
        return reader(text)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.message}", remedy=error.remedy) from error


def _document(found: ImportedLines) -> dict[str, object]:
    """Return the lines as a relay.toml would have them."""
    document: dict[str, object] = {"upstream": [as_upstream(line) for line in found.upstreams]}
    return document | ({"virtual": [dict(line) for line in found.virtual]} if found.virtual else {})
