"""Shows plans and recommendations over the machines of the hub that runs here (--fleet)."""

import typer

from relayd.advice.machines import FleetOfMachines, advice_rows, check_any, commands, plan_document
from relayd.cli.ondisk import known_models
from relayd.cli.support.control import daemon_client
from relayd.cli.support.output import print_json
from relayd.cli.support.remark import remark
from relayd.cli.support.terminal import MAIL_COLUMNS, show, working
from relayd.planner.quality import Use
from relayd.planner.rank import Request
from relayd.planner.stated import MachinesReport
from relayd.ui.machines import fleet_advice_page, machines_page


def plan_fleet_of_machines(*, as_json: bool) -> None:
    """Show which machine runs which model and why, and what would move; exits with 1 if one has no room.

    Raises:
        NoDaemonError: No hub runs here.
        UsageError: No machine can be planned for.
    """
    report, fleet = _fleet()
    if not fleet.wanted and not as_json:
        typer.echo("No machine serves a model. Find one: relayd recommend --fleet")
        return
    with working("Planning the machines …"):
        plan = fleet.plan()
    here = report.machines[0].name
    if as_json:
        print_json(plan_document(fleet, plan, here))
    else:
        typed = list(commands(fleet, plan, here))
        show(lambda _: machines_page(plan, typed, fleet.left_out), MAIL_COLUMNS)
    if not plan.complete:
        raise typer.Exit(1)


def recommend_over_machines(uses: tuple[Use, ...], users: int, *, as_json: bool) -> None:
    """Show the best model for each use on each machine, beside what runs there.

    Raises:
        NoDaemonError: No hub runs here.
        UsageError: No machine can be planned for.
    """
    report, fleet = _fleet()
    requests = {use: Request(use=use, users=users) for use in uses}
    with working("Comparing models on the machines …"):
        found = fleet.recommend(known_models(), requests)
    if as_json:
        print_json({"recommendations": advice_rows(found), "left_out": dict(fleet.left_out)})
        return
    if not found:
        typer.echo("No model is good enough and fast enough on any machine beside what runs there.")
    else:
        rows = [(one.use, one.box, one.called, one.advice, one.source) for one in found]
        show(lambda _: fleet_advice_page(rows), MAIL_COLUMNS)
        best = found[0]
        at = "" if best.box == report.machines[0].name else f" --node {best.box}"
        typer.echo(f"\nGet the first: relayd pull {best.called}{at}")
    for name, reason in fleet.left_out.items():
        remark(f"Left out: {name}: {reason}")


def _fleet() -> tuple[MachinesReport, FleetOfMachines]:
    report = daemon_client().fleet()
    fleet = FleetOfMachines.read(report.machines, report.bytes_per_second, known_models())
    check_any(fleet)
    return report, fleet
