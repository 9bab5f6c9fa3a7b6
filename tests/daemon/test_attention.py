"""Is what is wrong named with its cause and what mends it, the worst first, and nothing else?"""

import pytest
from msgspec.structs import replace

from relayd.daemon.attention import LONG_QUEUE_SECONDS, attention
from relayd.daemon.livereport import NowReport
from relayd.daemon.nodereport import NodeReport
from relayd.daemon.report import (
    AccountReport,
    ExitReport,
    LedgerReport,
    MemoryWaitReport,
    ModelReport,
    ReplicaReport,
    StatusReport,
)
from relayd.daemon.upstreamreport import UpstreamReport

pytestmark = pytest.mark.pure

READY = ReplicaReport("a#0", "ready", slots=2)


def status(*replicas: ReplicaReport, **more: object) -> StatusReport:
    report = StatusReport(models=(ModelReport("a", replicas=replicas or (READY,)),))
    return replace(report, **more)


def test_nothing_is_shown_while_all_is_well() -> None:
    cold = ReplicaReport("a#1", "cold", reason="a#1 is loaded on demand")

    assert () == attention(status(READY, cold), {"a": 1.0}, {})


def test_a_replica_that_was_given_up_is_named_with_cause_and_remedies() -> None:
    fatal = ReplicaReport("a#0", "fatal", last_exit=ExitReport("crash", 1, "bad magic", "Pull it again."))

    (one,) = attention(status(fatal), {}, {})

    assert ("error", "a#0", "bad magic. Pull it again.") == (one.level, one.subject, one.cause)
    assert ["relayd start a#0", "relayd logs a#0"] == [remedy.command for remedy in one.remedies]


@pytest.mark.parametrize("state", ["backoff", "unhealthy"])
def test_a_replica_that_fails_may_be_restarted(state: str) -> None:
    (one,) = attention(status(ReplicaReport("a#0", state)), {}, {})

    assert ("warning", "restart") == (one.level, one.remedies[0].verb)


def test_a_long_queue_is_named_with_the_command_that_shows_it() -> None:
    now = {"a": NowReport(2, 7)}

    (busy,) = attention(status(), {"a": LONG_QUEUE_SECONDS}, now)
    (cold,) = attention(status(ReplicaReport("a#0", "cold")), {"a": LONG_QUEUE_SECONDS}, now)

    assert "7 requests wait for a, the oldest for 30 s." == busy.text
    assert ["requests"] == [remedy.verb for remedy in busy.remedies]
    assert "load" == cold.remedies[0].verb


def test_memory_that_is_over_or_waited_for_in_vain_is_named() -> None:
    waiting = (
        MemoryWaitReport("b#0", "b", 0.0),
        MemoryWaitReport("c#0", "c", 0.0, waits_for=("a#0",)),
        MemoryWaitReport("d#0", "d", 0.0, wanted=False),
    )
    memory = LedgerReport((AccountReport("cuda0", 10, free=-1), AccountReport("host", 10, free=1)), waiting)

    assert ["cuda0", "b#0"] == [one.subject for one in attention(status(memory=memory), {}, {})]


def test_the_worst_comes_first() -> None:
    found = attention(
        status(ReplicaReport("a#0", "ready", reduced=("slots: 4 → 2",)), ReplicaReport("a#1", "fatal"),
               warnings=("no key",)), {}, {},
    )  # fmt: skip

    assert ["error", "warning", "note"] == [one.level for one in found]


def test_a_daemon_without_models_shows_how_to_find_one() -> None:
    (one,) = attention(StatusReport(), {}, {})

    assert "relayd recommend" == one.remedies[0].command


def test_a_server_that_cannot_be_used_and_a_node_that_has_left_are_named() -> None:
    others = StatusReport(
        upstreams=(UpstreamReport("gpu2", problem="it refuses the key"), UpstreamReport("gpu3")),
        nodes=(
            NodeReport("attic", "away", version="1.0", reason="nothing came for 15 s"),
            NodeReport("new", "away"),
        ),
    )

    found = attention(others, {}, {})
    assert [("gpu2", "it refuses the key"), ("attic", "nothing came for 15 s")] == [
        (a.subject, a.cause) for a in found
    ]
