"""Checks of the configuration against this machine: models, memory, addresses, ports."""

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from relayd.checkup.finding import Finding, Patient, PlanFacts, Severity, problem, tried
from relayd.checkup.memory import check_memory
from relayd.config import (
    Config,
    check_exposure,
    parse_addresses,
    parse_ports,
)
from relayd.errors import RelaydError
from relayd.hardware import Machine
from relayd.secret import Secret
from relayd.units import show_bytes


def check_configuration(patient: Patient) -> Iterator[Finding]:
    """Yield what is wrong with the configuration, by itself and on this machine."""
    config = patient.config
    if isinstance(config, RelaydError):
        yield problem("configuration", config)
        return
    plan = _plan(patient)
    yield Finding("configuration", Severity.OK, _summary(config, plan, patient.sources))
    for warning in patient.warnings:
        yield Finding("configuration", Severity.NOTE, warning)
    if patient.pending:
        remedy = "Run `relayd reload` to follow it."
        yield Finding(
            "configuration", Severity.NOTE, f"changed since the daemon read it: {patient.pending}", remedy
        )
    yield from _sizes(config, patient.machine, plan)
    if plan is not None:
        yield from check_memory(plan, patient.machine)
    yield from _door(config)
    if not patient.running:
        yield from _ports(config)


def _plan(patient: Patient) -> PlanFacts | None:
    """Return what is planned; None where nothing can be, which the checks of models and engine explain."""
    try:
        return patient.plan()
    except RelaydError:
        return None


def _summary(config: Config, plan: PlanFacts | None, sources: Sequence[str]) -> str:
    """Return how many models there are, and where that is written."""
    where = ", ".join(sources) or "no file, so all defaults"
    if config.model or plan is None or not plan.offered:
        return f"{_models(len(config.model))} ({where})"
    return f"no model is configured, so {_models(plan.offered)} on disk can be served ({where})"


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"


def _sizes(config: Config, machine: Machine, plan: PlanFacts | None) -> Iterator[Finding]:
    """Yield models whose weights alone are too large, but for those that the plan refuses.

    On the CPU the engine's own fit overlooks that.
    """
    refused = plan.refused if plan else {}
    ceiling = machine.memory.ceiling + sum(gpu.memory_total for gpu in machine.gpus if not gpu.unified)
    free = machine.usable_ram + sum(gpu.memory_free for gpu in machine.gpus if not gpu.unified)
    for model in config.model:
        size = _size(Path(model.file))
        if model.name in refused:
            continue
        if size > ceiling:
            held, remedy = (
                show_bytes(ceiling),
                "Choose a smaller one: `relayd recommend` shows which fit.",
            )
            detail = f"{model.name}: its weights take {show_bytes(size)}, this machine has {held}"
            yield Finding("model size", Severity.PROBLEM, detail, remedy)
        elif size > free and model.load == "start":
            detail = f"{model.name}: its weights take {show_bytes(size)}, {show_bytes(free)} are free now"
            yield Finding(
                "model size", Severity.NOTE, detail, "Free some memory first, or see `relayd plan`."
            )


def _door(config: Config) -> Iterator[Finding]:
    server = config.server
    yield tried(
        "exposure",
        lambda: check_exposure(server.listen, server.api_key, always_keyed=server.require_key == "always"),
        _who_connects(config),
    )
    name = socket.gethostname()
    if _is_exposed(server.listen) and name not in server.allowed_hosts:
        remedy = f'Set [server] allowed_hosts = ["{name}"], with every other name that clients use.'
        yield Finding(
            "host names", Severity.NOTE, f"clients that call this machine {name} are refused", remedy
        )


def _who_connects(config: Config) -> str:
    if not _is_exposed(config.server.listen):
        return "only this machine can connect"
    return "other machines can connect, with a key"


def _is_exposed(listen: str | Sequence[str]) -> bool:
    try:
        check_exposure(listen, Secret(""))
    except RelaydError:
        return True
    return False


def _ports(config: Config) -> Iterator[Finding]:
    for address in parse_addresses(config.server.listen):
        if why := _taken(address.host, address.port):
            remedy = "Stop the program that listens there, or set server.listen."
            yield Finding("port", Severity.PROBLEM, f"{address}: {why}", remedy)
        else:
            yield Finding("port", Severity.OK, f"{address} is free")
    needed = sum(model.most_replicas for model in config.model)
    if config.replicas.listen == "tcp" and needed:
        ports = parse_ports(config.replicas.ports)
        free = sum(not _taken("127.0.0.1", port) for port in ports)
        level = Severity.OK if free >= needed else Severity.PROBLEM
        remedy = "" if free >= needed else 'Widen [replicas] ports, or set [replicas] listen = "unix".'
        detail = f"{free} of {config.replicas.ports} are free, for {needed} replicas"
        yield Finding("replica ports", level, detail, remedy)


def _taken(host: str, port: int) -> str:
    """Return why the port cannot be bound now, or ""."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return str(error.strerror)
    return ""


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
