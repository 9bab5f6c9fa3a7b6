"""relayd bus: the keys and the configuration by which hubs and nodes may meet on NATS."""

from pathlib import Path
from typing import Annotated

import typer

from relayd.cli.support.output import AsJson, print_json
from relayd.errors import UsageError

app = typer.Typer(name="bus", help="Make the keys of hubs and nodes that meet on NATS.")


@app.callback()
def _bus() -> None:
    """Keep `init` a command of its own."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go.")],
    hubs: Annotated[
        list[str] | None, typer.Option("--hub", metavar="NAME", help="A hub; once for each.")
    ] = None,
    nodes: Annotated[
        list[str] | None, typer.Option("--node", metavar="NAME", help="A node; once for each.")
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where nats-server listens.")
    ] = "0.0.0.0:4222",
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate of nats-server, on its machine (PEM).")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What signed it, where no system trusts that.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the keys of machines, and the configuration of nats-server.

    FOLDER gets `nats.conf`, which holds public keys only, and NAME.json for each machine: copy it there, and
    start `relayd serve --bus nats://HOST:4222 --bus-credentials NAME.json`. Each key reaches the subjects of
    its own name. Run it again to add machines; those that have a file keep it, and whose file is deleted is
    let in no more once nats-server has reloaded (nats-server --signal reload).
    """
    try:
        from relayd.remote.bus.generate import make_bus
        from relayd.remote.bus.serverconfig import BusTls
    except ImportError as error:
        raise UsageError(
            "the bus needs nats-py, which is not installed", remedy="Install it: pip install 'relayd[nats]'."
        ) from error

    if (tls_cert is None) != (tls_key is None):
        raise UsageError("a certificate and its key go together", remedy="Give --tls-cert and --tls-key.")
    tls = BusTls(tls_cert.absolute(), tls_key.absolute()) if tls_cert and tls_key else None
    made = make_bus(folder, hubs or (), nodes or (), listen, tls, tls_ca)
    if as_json:
        print_json(
            {"config": str(made.config), "made": made.made, "members": made.members, "warning": made.warning}
        )
        return
    print(made.config)
    for name in made.made:
        print(folder / f"{name}.json")
    if made.warning:
        typer.echo(made.warning, err=True)
    typer.echo(f"Start the server: nats-server -c {made.config}", err=True)
