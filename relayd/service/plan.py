"""The files and commands that install relayd as a service, and those that undo it.

Only files that relayd wrote and that are unchanged since are ever replaced or removed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from relayd.errors import StateError
from relayd.service.units import (
    LABEL,
    LAUNCHD_USER,
    SYSTEM_USER,
    Service,
    is_ours,
    launchd_plist,
    systemd_service,
    systemd_socket,
    sysusers,
)

UNIT, SOCKET = "relayd.service", "relayd.socket"


class ServiceKind(Enum):
    """Who runs the service; the value is what people read."""

    SYSTEM = "systemd, for the machine"
    SESSION = "systemd, for your session"
    DAEMON = "launchd, for the machine"
    AGENT = "launchd, for your session"

    @property
    def system(self) -> bool:
        """Whether it belongs to the machine."""
        return self in (ServiceKind.SYSTEM, ServiceKind.DAEMON)

    @property
    def launchd(self) -> bool:
        """Whether launchd runs it."""
        return self in (ServiceKind.DAEMON, ServiceKind.AGENT)


@dataclass(frozen=True, slots=True)
class UnitFolders:
    """Where service managers look.

    Attributes:
        home: This person's home.
        config_home: This person's XDG configuration folder.
        root: Stands for `/`, with the home elsewhere.
    """

    home: Path
    config_home: Path
    root: Path = Path("/")

    def files(self, kind: ServiceKind) -> dict[str, Path]:
        """Return every file that a service of this kind may have, by name."""
        if kind.launchd:
            library = (self.root if kind.system else self.home) / "Library"
            return {
                f"{LABEL}.plist": library
                / ("LaunchDaemons" if kind.system else "LaunchAgents")
                / f"{LABEL}.plist"
            }
        units = self.root / "etc/systemd/system" if kind.system else self.config_home / "systemd/user"
        found = {UNIT: units / UNIT, SOCKET: units / SOCKET}
        return found | ({"sysusers.conf": self.root / "etc/sysusers.d/relayd.conf"} if kind.system else {})


@dataclass(frozen=True, slots=True)
class Write:
    """Put this text in this file."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"write {self.path}"


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove this file, and unit folders that are empty afterwards."""

    path: Path

    def __str__(self) -> str:
        return f"remove {self.path}"


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run this command; one that `may_fail` may have nothing left to do."""

    command: tuple[str, ...]
    may_fail: bool = False

    def __str__(self) -> str:
        return f"run {' '.join(self.command)}"


Step = Write | Remove | RunCommand


def rendered(kind: ServiceKind, service: Service) -> dict[str, str]:
    """Return the text of each file by name."""
    if kind.launchd:
        return {f"{LABEL}.plist": launchd_plist(service)}
    texts = {UNIT: systemd_service(service)}
    if service.listen:
        texts[SOCKET] = systemd_socket(service)
    if kind.system:
        texts["sysusers.conf"] = sysusers()
    return texts


def plan_install(kind: ServiceKind, service: Service, places: UnitFolders, uid: int) -> list[Step]:
    """Return the steps that make the service run, now and from the next boot or login on.

    Raises:
        StateError: A file is in the way that is not relayd's.
    """
    files, texts = places.files(kind), rendered(kind, service)
    _require_ours(files.values())
    writes: list[Step] = [
        Write(files[name], text) for name, text in texts.items() if _content(files[name]) != text.encode()
    ]
    if kind.launchd:
        return [*writes, *_launchd_start(kind, service, files[f"{LABEL}.plist"], uid)]
    stale = [path for name, path in files.items() if name not in texts and path.exists()]
    systemctl = _systemctl(kind)
    units = [name for name in (SOCKET, UNIT) if name in texts]
    return [
        *([RunCommand((*systemctl, "disable", "--now", SOCKET))] if stale else []),
        *map(Remove, stale),
        *writes,
        *([RunCommand(("systemd-sysusers", str(files["sysusers.conf"])))] if kind.system else []),
        RunCommand((*systemctl, "daemon-reload")),
        *(RunCommand(_as_service(service, one) if kind.system else one) for one in _engine(service)),
        RunCommand((*systemctl, "enable", *units)),
        RunCommand((*systemctl, "restart" if writes or stale else "start", *units)),
    ]


def plan_uninstall(
    kind: ServiceKind, places: UnitFolders, uid: int, *, relayd: tuple[str, ...], purge: bool = False
) -> list[Step]:
    """Return the steps that end the service with its replicas, and remove what installing it wrote.

    Args:
        kind: Which one.
        places: Where its files are.
        uid: Whose session.
        relayd: The command that reaches this service's daemon.
        purge: Also remove its state, its cache and its user.

    Raises:
        StateError: A file has been changed, or is not relayd's.
    """
    files = {name: path for name, path in places.files(kind).items() if path.exists()}
    _require_ours(files.values())
    if not files:
        return []
    removes = [Remove(path) for path in files.values()]
    stop = RunCommand((*relayd, "stop", "--all"), may_fail=True)
    if kind.launchd:
        return [
            stop,
            RunCommand(("launchctl", "bootout", f"{_domain(kind, uid)}/{LABEL}"), may_fail=True),
            *removes,
        ]
    systemctl = _systemctl(kind)
    kept = ("runtime", "state", "cache") if purge else ("runtime",)
    return [
        # Else the next connection starts it again.
        *([RunCommand((*systemctl, "disable", "--now", SOCKET), may_fail=True)] if SOCKET in files else []),
        stop,
        RunCommand((*systemctl, "disable", "--now", UNIT), may_fail=True),
        # Replicas that outlived a daemon.
        RunCommand((*systemctl, "kill", UNIT), may_fail=True),
        *(
            [RunCommand((*systemctl, "clean", *(f"--what={one}" for one in kept), UNIT))]
            if kind.system
            else []
        ),
        *removes,
        RunCommand((*systemctl, "daemon-reload")),
        *([RunCommand(("userdel", SYSTEM_USER), may_fail=True)] if purge else []),
    ]


def _engine(service: Service) -> list[tuple[str, ...]]:
    """Return the command that gets the service its engine; none where the configuration names one."""
    relayd = service.command[: service.command.index("serve")]
    return [(*relayd, "engine", "install")] if service.installs_engine else []


def _launchd_start(kind: ServiceKind, service: Service, plist: Path, uid: int) -> list[Step]:
    domain = _domain(kind, uid)
    folders: list[Step] = []
    engine = _engine(service)
    if kind.system:
        variables = (f"{name}={value}" for name, value in service.environment.items())
        as_user = ("sudo", "-u", LAUNCHD_USER, "env", *variables)
        engine = [(*as_user, *one) for one in engine]
        own = ("/var/lib/relayd", "/var/cache/relayd")
        folders = [RunCommand(("install", "-d", "-o", LAUNCHD_USER, "-m", "0700", *own))]
    return [
        *folders,
        *map(RunCommand, engine),
        RunCommand(("launchctl", "bootout", f"{domain}/{LABEL}"), may_fail=True),
        RunCommand(("launchctl", "bootstrap", domain, str(plist))),
    ]


def _domain(kind: ServiceKind, uid: int) -> str:
    return "system" if kind.system else f"gui/{uid}"


def _systemctl(kind: ServiceKind) -> tuple[str, ...]:
    return ("systemctl",) if kind.system else ("systemctl", "--user")


def _as_service(service: Service, command: tuple[str, ...]) -> tuple[str, ...]:
    """Run a command as the service's user, in its folders, without its sandbox: it may use the network."""
    folders = ("StateDirectory=relayd", "StateDirectoryMode=0700", "CacheDirectory=relayd")
    return (
        *("systemd-run", "--pipe", "--wait", "--quiet", "--collect", f"--uid={SYSTEM_USER}"),
        *(f"--property={one}" for one in (*folders, "CacheDirectoryMode=0700", "UMask=0077")),
        *(f"--setenv={name}={value}" for name, value in service.environment.items()),
        *command,
    )


def _require_ours(paths: Iterable[Path]) -> None:
    foreign = [str(path) for path in paths if (data := _content(path)) is not None and not is_ours(data)]
    if foreign:
        raise StateError(
            f"not written by relayd, or changed since: {', '.join(foreign)}",
            remedy="Move it away; keep changes of your own with `systemctl edit relayd`.",
        )


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
