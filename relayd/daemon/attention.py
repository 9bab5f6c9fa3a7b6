"""What should an operator look at first, why, and what mends it (attention)?

Made of the report of `relayd status`, so that status, dashboard and `top` name the same things.
"""

from collections.abc import Iterator, Mapping

from relayd.daemon.livereport import AttentionReport, NowReport, RemedyReport
from relayd.daemon.report import LedgerReport, ModelReport, ReplicaReport, StatusReport
from relayd.units import show_seconds

LONG_QUEUE_SECONDS = 30.0
"""A request that has waited longer than this makes its model one to look at."""

_LEVELS = ("error", "warning", "note")
_FAILING = frozenset({"fatal", "backoff", "unhealthy"})


def attention(
    status: StatusReport, waits: Mapping[str, float], models: Mapping[str, NowReport]
) -> tuple[AttentionReport, ...]:
    """Return what is wrong, the worst first.

    Args:
        status: The daemon and its models.
        waits: Model → how long its oldest request has waited for a slot, in seconds.
        models: Model → what it does now.
    """
    found = [*_of_daemon(status)]
    for model in status.models:
        for replica in model.replicas:
            found.extend(_of_replica(model, replica))
        found.extend(_of_queue(model, waits.get(model.name, 0.0), models.get(model.name, NowReport())))
    found.extend(_of_memory(status.memory))
    found.extend(_of_others(status))
    return tuple(sorted(found, key=lambda one: _LEVELS.index(one.level)))


def _of_daemon(status: StatusReport) -> Iterator[AttentionReport]:
    if status.stopping:
        yield AttentionReport("warning", "", "The daemon is stopping; running requests are finished first.")
    shown = [one.last_exit.message for model in status.models for one in model.replicas if one.last_exit]
    for warning in status.warnings:
        if any(message and message in warning for message in shown):
            continue  # the replica itself is named, with what mends it
        yield AttentionReport("warning", "", warning)
    if not (status.models or status.upstreams or status.nodes):
        remedy = RemedyReport("Find a model", "relayd recommend", "recommend")
        yield AttentionReport("note", "", "No model is configured.", remedies=(remedy,))


def _of_others(status: StatusReport) -> Iterator[AttentionReport]:
    """Yield upstreams that cannot be used, and nodes that are not connected and have been."""
    for upstream in status.upstreams:
        if upstream.problem:
            yield AttentionReport(
                "warning", upstream.name, f"{upstream.name} cannot be used.", upstream.problem
            )
    for node in status.nodes:
        if node.state in ("away", "broken") and node.version:
            yield AttentionReport("warning", node.name, f"{node.name} is not connected.", node.reason)


def _of_replica(model: ModelReport, replica: ReplicaReport) -> Iterator[AttentionReport]:
    name, last = replica.name, replica.last_exit
    logs = RemedyReport("Show log", f"relayd logs {name}", "logs", name)
    if replica.state in _FAILING:
        start = RemedyReport("Start again", f"relayd start {name}", "start", name)
        restart = RemedyReport("Restart", f"relayd restart {name}", "restart", name)
        text = {
            "fatal": f"{name} was given up.",
            "backoff": f"{name} has ended and is started again.",
            "unhealthy": f"{name} does not answer its health checks.",
        }[replica.state]
        cause = " ".join(_sentence(one) for one in (last.message, last.remedy) if one) if last else ""
        yield AttentionReport(
            "error" if replica.state == "fatal" else "warning",
            name,
            text,
            cause or replica.reason,
            (start, logs) if replica.state == "fatal" else (restart, logs),
        )
    if replica.health_fault:
        text = f"relayd itself failed to look at {name}, and tries again."
        yield AttentionReport("warning", name, text, replica.health_fault, (logs,))
    if replica.differs:
        yield AttentionReport(
            "note",
            name,
            f"{name} runs with other arguments than planned.",
            ", ".join(replica.differs),
            (RemedyReport("Restart", f"relayd restart {model.name}", "restart", model.name),),
        )
    if replica.reduced and replica.state == "ready":
        text = f"{name} was made smaller to fit into memory."
        yield AttentionReport("note", name, text, "; ".join(replica.reduced))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _of_queue(model: ModelReport, waited: float, now: NowReport) -> Iterator[AttentionReport]:
    if waited < LONG_QUEUE_SECONDS:
        return
    ready = [one for one in model.replicas if one.state == "ready"]
    cause = "every slot is busy" if ready else "no replica of it is ready"
    load = RemedyReport("Load", f"relayd load {model.name}", "load", model.name)
    text = f"{now.waiting} requests wait for {model.name}, the oldest for {show_seconds(waited)}."
    more = RemedyReport("Show requests", "relayd requests", "requests", model.name)
    yield AttentionReport("warning", model.name, text, cause, (more,) if ready else (load, more))


def _of_memory(memory: LedgerReport) -> Iterator[AttentionReport]:
    for account in memory.accounts:
        if account.free < 0:
            text = f"More memory of {account.account} is held than models may take."
            yield AttentionReport("warning", account.account, text)
    for waiter in memory.waiting:
        if waiter.wanted and not waiter.waits_for:
            unload = RemedyReport("Show memory", "relayd status", "fleet", waiter.replica)
            text = f"{waiter.replica} waits for memory that nothing is about to free."
            yield AttentionReport("warning", waiter.replica, text, remedies=(unload,))
