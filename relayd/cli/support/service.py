"""The service that this relayd would be installed as, and the checks before it."""

import ipaddress
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from relayd.config import Config, load, parse_addresses
from relayd.errors import UsageError
from relayd.folders import cache_dir, config_dir, data_dir, runtime_dir, state_dir
from relayd.service.budget import stop_budget_seconds
from relayd.service.install import closed_to_others
from relayd.service.plan import ServiceKind, UnitFolders
from relayd.service.units import Service


def service_kind(*, user: bool, system: bool, launchd: bool) -> ServiceKind:
    """Return what was asked for; root serves the machine, others their session.

    Raises:
        UsageError: Both were asked for.
    """
    if user and system:
        raise UsageError("--user and --system exclude each other", remedy="Give one of them.")
    of_machine = system or (not user and os.geteuid() == 0)
    if launchd or sys.platform == "darwin":
        return ServiceKind.DAEMON if of_machine else ServiceKind.AGENT
    return ServiceKind.SYSTEM if of_machine else ServiceKind.SESSION


def places() -> UnitFolders:
    """Return where the service managers of this machine look."""
    return UnitFolders(home=Path.home(), config_home=config_dir().parent)


def folders_of(kind: ServiceKind) -> dict[str, str]:
    """Return the variables that name the service's folders, for it and for commands that look for it."""
    if kind.system:
        runtime = "/var/lib/relayd/run" if kind.launchd else "/run/relayd"
        config, data, state, cache = "/etc", "/var/lib", "/var/lib", "/var/cache"
    else:
        runtime = str(runtime_dir())
        own = (config_dir(), data_dir(), state_dir(), cache_dir())
        config, data, state, cache = (str(one.parent) for one in own)
    return {
        "XDG_CONFIG_HOME": config,
        "XDG_DATA_HOME": data,
        "XDG_STATE_HOME": state,
        "XDG_CACHE_HOME": cache,
        "RELAYD_RUNTIME_DIR": runtime,
    }


def service_of(kind: ServiceKind, program: Path | None, file: Path | None) -> Service:
    """Return the service as the configuration wants it that the service itself will read.

    Args:
        kind: Who runs it.
        program: The relayd to run; None is this one.
        file: The relay.toml to use; None is where the service finds one.

    Raises:
        ConfigError: That configuration cannot be followed.
    """
    folders = folders_of(kind)
    environment_file = Path(folders["XDG_CONFIG_HOME"]) / "relayd/environment"
    config = _config(file, folders | _variables(environment_file), system=kind.system)
    addresses, replicas = parse_addresses(config.server.listen), config.replicas
    are_fixed = all(_is_address(address.host) and address.port for address in addresses)
    flags = ("--config", str(file.absolute())) if file else ()
    return Service(
        command=(*program_of(program), "serve", *flags),
        system=kind.system,
        environment=folders,
        environment_file=str(environment_file),
        stop_seconds=stop_budget_seconds(
            replicas.drain_seconds, replicas.stop_seconds, replicas.kill_seconds
        ),
        listen=" ".join(map(str, addresses)) if are_fixed else "",
        local=all(_is_loopback(address.host) for address in addresses),
        log=f"{folders['XDG_STATE_HOME']}/relayd/service.log",
        home=str(Path.home()),
        installs_engine=not config.engine.path,
    )


def _config(file: Path | None, environ: Mapping[str, str], *, system: bool) -> Config:

    home = Path("/var/lib/relayd") if system else Path.home()
    return load(file, environ, home, Path("/")).config


def _variables(file: Path) -> dict[str, str]:
    """Return the variables in a file for the service manager; see EnvironmentFile= in systemd.exec(5)."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.strip().partition("=") for line in lines if not line.lstrip().startswith(("#", ";")))
    return {name: value.strip("\"'") for name, equals, value in pairs if equals}


def program_of(program: Path | None) -> tuple[str, ...]:
    """Return how this relayd, or the one that was named, is started."""
    if program:
        return (str(program.absolute()),)
    beside = Path(sys.executable).with_name("relayd")
    return (str(beside),) if beside.exists() else (sys.executable, "-P", "-m", "relayd")


def _is_address(host: str) -> bool:

    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:

    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def require_rights(kind: ServiceKind) -> None:
    """Refuse to touch the machine's services as anyone but root.

    Raises:
        UsageError: This is another user.
    """
    if kind.system and os.geteuid() != 0:
        raise UsageError(
            "only root may install a service of the machine",
            remedy=f"Run `sudo {' '.join(program_of(None))} service …`, or add --user for your session.",
        )


def require_program(kind: ServiceKind, program: Path) -> None:
    """Refuse a relayd that the service could not start.

    Raises:
        UsageError: It is missing, or closed to the service's own user.
    """
    if not program.exists():
        raise UsageError(f"{program} does not exist", remedy="Name the relayd to run with --program FILE.")
    ours = (Path(sys.executable).resolve(), Path(__file__)) if str(program) == program_of(None)[0] else ()
    for path in (program, *ours) if kind.system else ():
        if closed := closed_to_others(path):
            raise UsageError(
                f"other users cannot read {closed}, so the service could not run {path}",
                remedy="Install relayd where every user can read it, and the service from there:\n"
                "python3 -m venv /opt/relayd && /opt/relayd/bin/pip install .\n"
                "/opt/relayd/bin/relayd service install --system",
            )
