"""Record the messages of this build's hand-over protocol: `python -m tests.handover.record`.

Once a build with a protocol has been released, its recording stays as it is: what a later build of the same
number cannot read is a change that needs a new number (`relayd.handover.messages.PROTOCOL`).
"""

from pathlib import Path

from relayd.endpoint import Endpoint, TcpAddress, UnixAddress
from relayd.handover import HandoverState, messages
from relayd.planner import Basis, ReplicaSpec
from relayd.scheduler import Ask, Ended, Exchange, Inherited, Refusal, Ticket, Usage
from relayd.secret import Secret
from relayd.supervisor.causes import Cause, Exit
from relayd.supervisor.restarts import CountedExit, Spent
from relayd.supervisor.sizing import Reduction
from relayd.supervisor.snapshot import Snapshot
from relayd.supervisor.state import State
from relayd.units import Bytes

DATA = Path(__file__).parent / "data"

SOCKET = Endpoint(UnixAddress(Path("/run/relayd/1a2b3c4d.sock")), Secret("k" * 64), "qwen#0", 3)
PORT = Endpoint(TcpAddress(8101, "127.0.0.2"), Secret("k" * 64), "qwen#1@attic", 1)
ASK = Ask("qwen", 2, "team", "batch", (1, 2), 5000.5, stream=True)
USAGE = Usage(100, 60, 20, 30.5, 400.25)
EXCHANGE = Exchange(
    ask=ASK, request_id="r1", path="/v1/completions", ended=Ended.CUT, status=200, code="upstream_failed",
    replica="qwen#0", incarnation=3, attempts=2, arrived_at=4990.5, placed_at=4991.5, first_byte_at=4992.5,
    ended_at=4999.5, sent_bytes=2048, usage=USAGE,
)  # fmt: skip
REDUCTION = Reduction(
    "0123456789abcdef",
    ReplicaSpec("gemma", 2, Path("/models/gemma.gguf"), slots=2),
    2,
    ("slots: 4 → 2",),
    3e8,
    {"host": Bytes(1 << 30)},
    Basis.PREDICTED,
)
STATE = HandoverState(
    running=(
        Inherited(Ticket(1, ASK), SOCKET, 4),
        Inherited(Ticket(2, Ask("qwen", klass="interactive")), PORT, 4),
    ),
    waiting=(Ticket(3, ASK),),
    replicas={
        "gemma#0": Snapshot("0123456789abcdef", State.STOPPED, incarnation=2),
        "gemma#1": Snapshot("0123456789abcdef", State.COLD, "other models needed its memory"),
        "gemma#2": Snapshot(
            "0123456789abcdef",
            State.BACKOFF,
            retry_at=5e8,
            spent=Spent((CountedExit(4e8, 1, frozenset({"7d1a"})),), failures=3, slow=1),
            incarnation=7,
            restarts=6,
            last_exit=Exit(Cause.CRASH, -11, "it crashed", "See its log."),
            last_exit_at=4e8,
            last_words=("GGML_ASSERT",),
            reduction=REDUCTION,
        ),
    },
    service_seconds={"gemma": 2.5},
)
EXAMPLES: tuple[messages.FromOld | messages.FromNew, ...] = (
    messages.Prepared("0.1.0", "127.0.0.1:8080", messages.PROTOCOL),
    messages.Offered.of(STATE),
    messages.Standby(),
    messages.Commit.of(STATE),
    messages.TakenOver(),
    messages.IdleConnection(),
    messages.TicketArrived(Ticket(4, ASK)),
    messages.TicketAttemptFailed(1, sent=True),
    messages.TicketFinished(2, EXCHANGE),
    messages.TicketPlaced(3, messages.SentEndpoint.of(PORT)),
    messages.TicketRefused(4, Refusal.TIMED_OUT.value, "no slot in 60 s", 2.0),
)
"""One message of every kind."""


def record(protocol: int) -> None:
    """Write every example into the folder of a protocol."""
    folder = DATA / f"protocol_{protocol}"
    folder.mkdir(exist_ok=True)
    for message in EXAMPLES:
        (folder / f"{type(message).__name__}.json").write_bytes(messages.encode(message) + b"\n")


if __name__ == "__main__":
    record(messages.PROTOCOL)
