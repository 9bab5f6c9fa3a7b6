"""Steps of a first start besides the model: engine, configuration, service."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from relayd.cli.engine import lend_installer
from relayd.cli.service import run_step
from relayd.cli.support.control import daemon_client
from relayd.cli.support.given import given_settings
from relayd.cli.support.guide import Guide
from relayd.cli.support.service import places, program_of, require_program, service_kind, service_of
from relayd.errors import DaemonError, NoDaemonError, RelaydError
from relayd.service.install import carry_out, missing_manager
from relayd.service.plan import RunCommand, ServiceKind, Step, plan_install, plan_uninstall


def install_engine(*, quiet: bool) -> None:
    """Install a llama-server, with progress on standard error.

    Raises:
        EngineError: There is none for this machine.
        FetchError: It did not arrive.
    """
    settings = given_settings()[0].config.engine
    with lend_installer(quiet=quiet, release_sha256=settings.release_sha256) as installer:
        installer.install()


def offer_service(guide: Guide) -> str:
    """Install the service of this session if that is wanted and possible.

    Returns:
        "installed", "running" where a relayd runs already, or "" where there is none.

    Raises:
        StateError: A file is in the way, or a command failed; what was installed until then is undone.
    """
    if why := no_service():
        guide.show(f"No service is installed: {why}.")
        return "running" if is_running() else ""
    if not guide.agrees("\nRun relayd as a service, from login on?"):
        return ""

    kind = service_kind(user=False, system=False, launchd=False)
    service = service_of(kind, None, None)
    require_program(kind, Path(service.command[0]))
    steps = plan_install(kind, service, places(), os.getuid())
    uid, relayd = os.getuid(), program_of(None)
    undo = None if _is_installed(kind) else lambda: plan_uninstall(kind, places(), uid, relayd=relayd)
    carry_out_or_undo(steps, undo, run_step, lambda step: guide.show(str(step)))
    return "installed"


def no_service() -> str:
    """Return why no service can be installed now, or ""."""
    kind = service_kind(user=False, system=False, launchd=False)
    if is_running():
        return "a relayd is running already"
    if kind.system:
        return "as root it would be the system service, with models of its own (relayd service install)"
    return missing_manager(kind, os.environ)


def carry_out_or_undo(
    steps: Sequence[Step],
    undo: Callable[[], Sequence[Step]] | None,
    run: Callable[[RunCommand], int],
    report: Callable[[Step], None],
) -> None:
    """Do every step in order; after a failure, or Ctrl-C, take back what was done.

    Args:
        steps: What to do.
        undo: Returns what takes it back, as things are then; None when it was there before.
        run: Runs a command and returns its exit status.
        report: Called before each step.

    Raises:
        StateError: A step failed.
    """
    try:
        carry_out(steps, run, report)
    except (KeyboardInterrupt, RelaydError):
        if undo:
            carry_out(undo(), run, report)
        raise


def is_running() -> bool:
    """Return whether a daemon answers, or holds its socket and does not."""
    try:
        daemon_client().status()
    except NoDaemonError:
        return False
    except DaemonError:
        pass
    return True


def _is_installed(kind: ServiceKind) -> bool:

    return any(path.exists() for path in places().files(kind).values())
