"""Checks of the operating system: limits, control groups, other llama-servers, logout."""

import getpass
import os
import resource
from collections.abc import Iterator

from relayd.checkup.finding import Finding, Patient, Severity
from relayd.units import MIB, show_bytes, show_seconds

FEW_DESCRIPTORS = 4096
LITTLE_MEMLOCK = 64 * MIB


def check_system(patient: Patient) -> Iterator[Finding]:
    """Yield limits that are too low, servers without a relayd, and other surprises."""
    yield from _limits()
    yield from _control_group(patient)
    yield from _servers(patient)
    yield from _session(patient)
    if "microsoft" in _kernel(patient) and not patient.machine.gpus:
        remedy = "Set memory= under [wsl2] in .wslconfig if models do not fit."
        yield Finding("WSL", Severity.NOTE, "RAM is what .wslconfig gives the virtual machine", remedy)
    if os.geteuid() == 0:
        yield Finding("user", Severity.NOTE, "relayd would run as root", "Run it as a user of its own.")


def _limits() -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FEW_DESCRIPTORS:
        remedy = "Raise LimitNOFILE in the unit, or `ulimit -Hn`."
        yield Finding("descriptors", Severity.NOTE, f"at most {hard} open files", remedy)
    else:
        yield Finding("descriptors", Severity.OK, f"up to {'any number' if hard < 0 else hard}")
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY and soft < LITTLE_MEMLOCK:
        needs = "only --load-mode mlock needs more: LimitMEMLOCK=infinity, or ulimit -l unlimited"
        yield Finding("locked memory", Severity.OK, f"at most {show_bytes(soft)}; {needs}")


def _control_group(patient: Patient) -> Iterator[Finding]:
    memory = patient.machine.memory
    if memory.limit is not None and memory.limit.limit < memory.total:
        detail = f"this process may use {show_bytes(memory.limit.limit)} of {show_bytes(memory.total)}"
        yield Finding(
            "control group", Severity.NOTE, detail, "Raise the container's limit if models do not fit."
        )


def _servers(patient: Patient) -> Iterator[Finding]:
    """Yield llama-servers that hold memory and that no running relayd supervises."""
    ours = (str(patient.paths.runtime), str(patient.paths.runtime / "demo"))
    for one in patient.servers():
        facts = (
            f"pid {one.pid}",
            f"port {one.port}" if one.port else "",
            f"user {one.user}" if one.user else "",
            f"for {show_seconds(one.age_seconds)}" if one.age_seconds else "",
        )
        held = f"({', '.join(filter(None, facts))}) holds {show_bytes(one.memory)} of RAM"
        if not one.instance:
            detail = f"a llama-server that relayd did not start {held}"
            yield Finding("also running", Severity.NOTE, detail)
        elif one.instance in ours and not patient.running:
            detail = f"a replica whose relayd has ended {held}"
            yield Finding("left over", Severity.NOTE, detail, "The next `relayd serve` adopts it.")


def _session(patient: Patient) -> Iterator[Finding]:
    """Yield a note where the service of a session ends at logout, models with it."""
    unit = patient.paths.config.parent / "systemd/user/relayd.service"
    if not unit.exists():
        return
    user = getpass.getuser()
    if not (patient.root / "var/lib/systemd/linger" / user).exists():
        remedy = f"Run `loginctl enable-linger {user}`."
        yield Finding("service", Severity.NOTE, "the service ends when you log out", remedy)


def _kernel(patient: Patient) -> str:
    try:
        return (patient.root / "proc/sys/kernel/osrelease").read_text().lower()
    except OSError:
        return ""
