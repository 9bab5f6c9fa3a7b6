"""The text of systemd units and launchd property lists.

Renders the files of systemd (systemd.service(5), systemd.socket(5), sysusers.d(5)) and launchd
(launchd.plist(5)). Each file begins with the digest of the rest: so it is known later whether it is
still the one that relayd wrote.
"""

import hashlib
import plistlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

SYSTEM_USER = "relayd"
LAUNCHD_USER = "_relayd"
"""macOS requires the underscore for a user without a login."""

LABEL = "dev.relayd"

WATCHDOG_SECONDS = 30
BACKLOG = 512
"""Connections that may wait while no daemon accepts; equal to the daemon's own backlog."""

_MARK = re.compile(rb"(?:# |<!-- )Written by relayd\. sha256 of the rest: ([0-9a-f]{64})(?: -->)?\n")


@dataclass(frozen=True, slots=True)
class Service:
    """What runs, and where it keeps what it needs.

    Attributes:
        command: The whole command, `relayd serve` with its flags; the program is an absolute path.
        system: Whether the machine runs it, not a person's session.
        environment: Variables it gets.
        environment_file: File with further variables of the operator, such as keys; may be missing.
        stop_seconds: Longest time of an orderly stop.
        listen: `ADDRESS:PORT` that the service manager listens on for it, several with spaces between;
            empty leaves that to relayd.
        local: Whether only this machine reaches it; then it reaches nothing else either.
        log: File for output that launchd would discard.
        home: Home of the person whose session runs it.
        installs_engine: Whether it gets an engine of its own; not where the configuration names one.
    """

    command: tuple[str, ...]
    system: bool
    environment: Mapping[str, str]
    environment_file: str
    stop_seconds: float
    listen: str = ""
    local: bool = True
    log: str = ""
    home: str = ""
    installs_engine: bool = True


def systemd_service(service: Service) -> str:
    """Return relayd.service."""
    own = _SYSTEM if service.system else _SESSION
    only_local = "IPAddressDeny=any\nIPAddressAllow=localhost\n" if service.system and service.local else ""
    return _marked(
        _SERVICE.format(
            own=own.format(user=SYSTEM_USER, only_local=only_local),
            order=_SYSTEM_ORDER if service.system else "",
            command=" ".join(_word(service, one, dollar="$$") for one in service.command),
            environment="\n".join(
                f"Environment={_word(service, f'{name}={value}')}"
                for name, value in service.environment.items()
            ),
            environment_file=_specified(service, service.environment_file),
            stop_seconds=f"{service.stop_seconds:g}",
            watchdog_seconds=WATCHDOG_SECONDS,
            target="multi-user.target" if service.system else "default.target",
        )
    )


def systemd_socket(service: Service) -> str:
    """Return relayd.socket; the service needs an address for it."""
    listen = "\nListenStream=".join(service.listen.split())
    return _marked(_SOCKET.format(listen=listen, backlog=BACKLOG))


def sysusers() -> str:
    """Return the file that makes the system unit's user, with the groups that own GPUs."""
    return _marked(_SYSUSERS.format(user=SYSTEM_USER))


def launchd_plist(service: Service) -> str:
    """Return the property list of an agent (a person's session) or a daemon (the machine)."""
    content: dict[str, object] = {
        "Label": LABEL,
        "ProgramArguments": list(service.command),
        "EnvironmentVariables": dict(service.environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        # The default throttles CPU and disk, which a model's tokens wait for.
        "ProcessType": "Interactive",
        # Replicas outlive a daemon that crashed; the next one adopts them.
        "AbandonProcessGroup": True,
        "ExitTimeOut": round(service.stop_seconds),
        "Umask": 0o077,
        "SoftResourceLimits": {"NumberOfFiles": 65536},
        "HardResourceLimits": {"NumberOfFiles": 65536},
        "StandardErrorPath": service.log,
        "WorkingDirectory": "/",
    }
    if service.system:
        content["UserName"] = LAUNCHD_USER
    head, _, rest = plistlib.dumps(content, sort_keys=False).decode().partition("\n")
    return f"{head}\n<!-- {_mark(rest)} -->\n{rest}"


def is_ours(data: bytes) -> bool:
    """Return whether relayd wrote this file and it is unchanged since."""
    found = _MARK.search(data[:300])
    return found is not None and found[1].decode() == hashlib.sha256(data[found.end() :]).hexdigest()


def _marked(text: str) -> str:
    return f"# {_mark(text)}\n{text}"


def _mark(text: str) -> str:
    return f"Written by relayd. sha256 of the rest: {hashlib.sha256(text.encode()).hexdigest()}"


def _word(service: Service, text: str, *, dollar: str = "$") -> str:
    """Quote a word for systemd; see systemd.syntax(7), and systemd.service(5) for `$` in commands alone."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", dollar)
    specified = _specified(service, escaped)
    return f'"{specified}"' if re.search(r"[\s'\";\\]", specified) else specified


def _specified(service: Service, text: str) -> str:
    """Escape what systemd would replace; a person's home at the start of a path becomes `%h`."""
    text = text.replace("%", "%%")
    if service.home and not service.system:
        return re.sub(rf"(?<![^=]){re.escape(service.home)}(?=/|$)", "%h", text)
    return text


_SERVICE = """\
[Unit]
Description=relayd, a supervisor and router for llama.cpp servers
Wants=relayd.socket
After=relayd.socket
{order}# Gives up after 30 failed starts in ten minutes; from systemd 254 on they are too far apart for that.
StartLimitIntervalSec=600
StartLimitBurst=30

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
WorkingDirectory=/
{environment}
EnvironmentFile=-{environment_file}

# A start may have to compile an engine first, a reload to load a large model.
TimeoutStartSec=1200
# Drain, stop and kill of relay.toml, and a margin; the daemon asks for more when these have grown.
TimeoutStopSec={stop_seconds}
WatchdogSec={watchdog_seconds}
Restart=on-failure
RestartSec=500ms
RestartSteps=8
RestartMaxDelaySec=60

# Models outlive a daemon that crashed, and one that the kernel killed for memory does not end the others.
KillMode=process
OOMPolicy=continue
LimitNOFILE=65536
LimitMEMLOCK=infinity
LimitCORE=0

UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
{own}
[Install]
WantedBy={target}
"""

_SYSTEM_ORDER = """\
# The driver's module is not loaded on demand from in here: that takes a set-user-ID program.
Wants=modprobe@nvidia_uvm.service
After=modprobe@nvidia_uvm.service nvidia-persistenced.service network.target remote-fs.target
"""

_SESSION = ""
"""A session's manager has no more rights than its person, and cannot make the namespaces below."""

_SYSTEM = """\

User={user}
StateDirectory=relayd
StateDirectoryMode=0700
CacheDirectory=relayd
CacheDirectoryMode=0700
RuntimeDirectory=relayd
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes

# GPUs and nothing else. PrivateDevices= would hide them, and the compilers inside GPU drivers
# need memory that is writable and executable, so MemoryDenyWriteExecute= stays away too.
DevicePolicy=closed
DeviceAllow=char-nvidia* rw
DeviceAllow=char-drm rw
DeviceAllow=char-kfd rw

CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
{only_local}"""

_SOCKET = """\
[Unit]
Description=The address of relayd; clients wait here while it restarts

[Socket]
ListenStream={listen}
BindIPv6Only=ipv6-only
FreeBind=yes
Backlog={backlog}

[Install]
WantedBy=sockets.target
"""

_SYSUSERS = """\
u {user} - "relayd" /var/lib/relayd
m {user} render
m {user} video
"""
