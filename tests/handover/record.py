"""Record the messages of this build's hand-over protocol: `python -m tests.handover.record`.

Once a build with a protocol has been released, its recording stays as it is: what a later build of the same
number cannot read is a change that needs a new number (`relayd.handover.messages.PROTOCOL`).
"""

from pathlib import Path

from relayd.endpoint import Endpoint, TcpAddress, UnixAddress
from relayd.handover import HandoverState, PendingRestart, messages
from relayd.scheduler import Ask, Ended, Exchange, Inherited, Refusal, Ticket, Usage
from relayd.secret import Secret

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
STATE = HandoverState(
    running=(Inherited(Ticket(1, ASK), SOCKET, 4), Inherited(Ticket(2, Ask("qwen")), PORT, 4)),
    waiting=(Ticket(3, ASK),),
    stopped=frozenset({"gemma#0"}),
    cold={"gemma#1": "other models needed its memory"},
    pending={"gemma#2": PendingRestart(5e8, 3, 7, 6, "crashed", -11, "it crashed", "See its log.", 4e8)},
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
