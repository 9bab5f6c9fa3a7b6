"""relayd keys: make API keys, limit them, and take them back."""

import platform
import re
import sys
from typing import Annotated

import msgspec
import typer

from relayd.apikey import LONGEST_KEY, check_foreign, is_mistyped
from relayd.cli.support.bydefault import ListByDefault
from relayd.cli.support.keys import with_keys
from relayd.cli.support.keyspec import parse_limits, parse_moment, parse_quotas
from relayd.cli.support.output import AsJson, print_json
from relayd.cli.support.remark import remark
from relayd.cli.support.terminal import show
from relayd.clock import SystemClock
from relayd.daemon.arguments import ChangeKeyArguments
from relayd.daemon.keyreport import ChangedKeyReport, KeyReport, NewKeyReport, fingerprint
from relayd.errors import KeyUnknownError, UsageError
from relayd.rights import NO_LIMITS, KeyCopies, KeyLimits, KeyRights
from relayd.secret import Secret
from relayd.ui.keys import key_page, keys_table

app = typer.Typer(
    name="keys", cls=ListByDefault, help="Make, limit and revoke API keys; alone it lists them."
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What you call the key.")]
Known = Annotated[str, typer.Argument(metavar="NAME|ID", help="A key, by its name or id.")]
Scopes = Annotated[
    list[str] | None,
    typer.Option("--scope", help="What for: inference, admin, metrics, node.  [default: inference]"),
]
Models = Annotated[
    list[str] | None, typer.Option("--models", metavar="GLOB", help="Only these models, like `qwen*`.")
]
Expires = Annotated[
    str, typer.Option("--expires", metavar="30d|DAY", help="When it ends: 12h, 30d, 2027-01-31, never.")
]
Limited = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME=N,…", help="rpm, tpm, in_flight, queued; NAME=none lifts one."),
]
Quotas = Annotated[
    list[str] | None,
    typer.Option("--quota", metavar="WHAT=N/PERIOD", help="Like `tokens=5M/month`, `requests=1000/day`."),
]
Class = Annotated[str, typer.Option("--class", help="Of its requests, at best: interactive, normal, batch.")]


_HUB = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_BYTES = 64 * 1024 * 1024


@app.command()
def create(
    name: Name,
    scope: Scopes = None,
    models: Models = None,
    expires: Expires = "never",
    limit: Limited = None,
    quota: Quotas = None,
    klass: Class = "",
    no_retention: Annotated[
        bool, typer.Option("--no-retention", help="Keep nothing of its requests after the answer.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown this once.

    It is valid at once, in the running daemon too.
    """
    rights = _rights(scope, models, expires, limit, quota, klass, retain=not no_retention)
    _show_new(with_keys(lambda service: service.create_key(name, rights)), as_json=as_json)


@app.command("import")
def import_(
    name: Name,
    scope: Scopes = None,
    models: Models = None,
    expires: Expires = "never",
    limit: Limited = None,
    quota: Quotas = None,
    klass: Class = "",
    no_retention: Annotated[
        bool, typer.Option("--no-retention", help="Keep nothing of its requests after the answer.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take a key that clients have already, read from standard input.

    Any text of 24 characters or more goes, like ModelRelay's mr_live_…: `relayd keys import old < FILE`.
    """
    rights = _rights(scope, models, expires, limit, quota, klass, retain=not no_retention)
    secret = _secret_from_input()
    check_foreign(secret)
    _show_changed(
        with_keys(lambda service: service.import_key(name, secret, rights)), "imported", as_json=as_json
    )


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", "-a", help="Revoked ones too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the keys."""
    report = with_keys(lambda service: service.keys())
    shown = [key for key in report.keys if every or key.state != "revoked"]
    if as_json:
        print_json(msgspec.to_builtins(report))
    elif shown:
        show(keys_table(shown, SystemClock().wall()))
    else:
        typer.echo("There is no key. Make one: relayd keys create NAME")


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(metavar="[NAME|ID]", help="A key, by its name or id.")] = "",
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Say which key a secret on standard input is.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a key may do, and when it was last used."""
    if bool(name) == stdin:
        raise UsageError("which key?", remedy="Name one, or give its secret to --stdin.")
    secret = _secret_from_input() if stdin else None
    if secret is not None and is_mistyped(secret.reveal()):
        raise UsageError("this is a key of relayd with a typing error: its checksum does not hold")
    known = with_keys(lambda service: service.keys()).keys
    key = _named(known, name) if secret is None else _of_secret(known, secret)
    if as_json:
        print_json(msgspec.to_builtins(key))
    else:
        show(key_page(key))


@app.command()
def rotate(key: Known, as_json: AsJson = False) -> None:
    """Replace the secret of a key; the old one is refused from now on."""
    _show_new(with_keys(lambda service: service.rotate_key(key)), as_json=as_json)


@app.command()
def limits(
    key: Known,
    limit: Limited = None,
    quota: Quotas = None,
    models: Models = None,
    expires: Expires = "",
    klass: Class = "",
    as_json: AsJson = False,
) -> None:
    """Change what a key may use; what is not given stays.

    Quotas and models are replaced as a whole, `--quota none` and `--models '*'` take them away.
    """
    found = _named(with_keys(lambda service: service.keys()).keys, key)
    change = ChangeKeyArguments(
        found.id,
        limits=msgspec.UNSET if limit is None else parse_limits(limit, found.limits),
        quotas=msgspec.UNSET if quota is None else parse_quotas(quota),
        models=msgspec.UNSET if models is None else _patterns(models),
        expires=parse_moment(expires, SystemClock().wall()) if expires else msgspec.UNSET,
        klass=klass or msgspec.UNSET,
    )
    _show_changed(with_keys(lambda service: service.change_key(change)), "changed", as_json=as_json)


@app.command()
def revoke(key: Known, as_json: AsJson = False) -> None:
    """Take a key back; its next request is refused.

    Answers that have begun are finished. Its usage stays.
    """
    _show_changed(with_keys(lambda service: service.revoke_key(key)), "revoked", as_json=as_json)


@app.command()
def copies(
    hub: Annotated[
        str, typer.Option("--as", metavar="HUB", help="What this hub is called there.  [default: host name]")
    ] = "",
    as_json: AsJson = False,  # noqa: ARG001 - it is JSON in any case
) -> None:
    """Print the keys of this hub, as hashes, for others.

    On the other hub, every minute or so: `ssh HUB relayd keys copies | relayd keys take`.
    """
    print_json(msgspec.to_builtins(with_keys(lambda service: service.copy_keys(hub or platform.node()))))


@app.command()
def take(
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(metavar="[FILE]", help="What `relayd keys copies` printed there."),
    ] = "-",  # type: ignore[assignment]  # typer opens it
    as_json: AsJson = False,
) -> None:
    """Let in clients of another hub, by its copies.

    Its keys are NAME@HUB here. What is newer replaces what is here; a revoked key, here or there, stays
    revoked. Limits and quotas come with the first copy, and are counted and changed here.
    """
    try:
        found = msgspec.json.decode(file.read(_MOST_BYTES), type=KeyCopies)
    except msgspec.DecodeError as error:
        raise UsageError(
            f"invalid copies of keys: {error}", remedy="Give what `relayd keys copies` prints."
        ) from error
    if not _HUB.fullmatch(found.hub):
        raise UsageError(
            f"{found.hub[:128]!r} cannot be the name of a hub", remedy="Print them anew with --as HUB."
        )
    report = with_keys(lambda service: service.take_keys(found))
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        print(f"{len(report.keys)} of {len(found.keys)} keys of {found.hub} have changed here")


def _rights(
    scope: list[str] | None,
    models: list[str] | None,
    expires: str,
    limit: list[str] | None,
    quota: list[str] | None,
    klass: str,
    *,
    retain: bool,
) -> KeyRights:
    return KeyRights(
        scopes=tuple(dict.fromkeys(scope or ("inference",))),
        models=_patterns(models or []),
        expires=parse_moment(expires, SystemClock().wall()),
        limits=parse_limits(limit, NO_LIMITS) if limit else KeyLimits(),
        quotas=parse_quotas(quota) if quota else (),
        klass=klass,
        retain=retain,
    )


def _patterns(models: list[str]) -> tuple[str, ...]:
    return () if models == ["*"] else tuple(models)


def _secret_from_input() -> Secret:
    """Return the secret on standard input: there it is in no list of processes and in no history."""
    if sys.stdin.isatty():
        typer.echo("Type or paste the key, then Enter:", err=True)
    line = sys.stdin.buffer.readline(2 * LONGEST_KEY)
    return Secret(line.decode(errors="replace").strip())


def _named(keys: tuple[KeyReport, ...], named: str) -> KeyReport:
    """Return the key of a name or id: of several, the one that is not revoked, else the last.

    Raises:
        KeyUnknownError: There is none.
    """
    found = [key for key in keys if named in (key.id, key.name)]
    if not found:
        raise KeyUnknownError(f"there is no key {named!r}", remedy="See them: `relayd keys list`.")
    return max(found, key=lambda key: (key.id == named, key.state != "revoked", key.created))


def _of_secret(keys: tuple[KeyReport, ...], secret: Secret) -> KeyReport:
    """Return the key that has a secret.

    Raises:
        KeyUnknownError: None has.
    """
    wanted = fingerprint(secret.digest())
    for key in keys:
        if key.fingerprint == wanted:
            return key
    raise KeyUnknownError(
        "this is the secret of no key here", remedy="See the keys: `relayd keys list --all`."
    )


def _show_new(report: NewKeyReport, *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(report))
        return
    print(report.secret)
    typer.echo(f"This is the key {report.key.name}. It is shown this once: keep it now.", err=True)
    if report.note:
        remark(report.note)


def _show_changed(report: ChangedKeyReport | NewKeyReport, done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(ChangedKeyReport(report.key, report.note)))
        return
    print(f"{report.key.name} is {done}")
    if report.note:
        remark(report.note)
