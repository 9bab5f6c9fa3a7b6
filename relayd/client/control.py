"""The client of a daemon's control socket: one method a verb, values in and out (control client).

One exchange is all of it, so that the HTTP it needs is written out here: the standard library's client loads
TLS and e-mail, which took a third of the start of a command.
"""

import re
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from relayd.daemon.adminreport import CancelReport, NodeLogReport, RequestsReport
from relayd.daemon.arguments import (
    BringFileArguments,
    CancelArguments,
    ChangeKeyArguments,
    CollectArguments,
    CreateKeyArguments,
    HubArguments,
    ImportKeyArguments,
    JoinArguments,
    KeyArguments,
    LogArguments,
    ModelArguments,
    NameArguments,
    NoArguments,
    NodeArguments,
    NodePullArguments,
    ReloadArguments,
    RestartArguments,
    StopArguments,
    TargetArguments,
    UnloadArguments,
    UpgradeArguments,
    UpstreamLineArguments,
    UsageArguments,
)
from relayd.daemon.batchreport import CollectedReport
from relayd.daemon.givenreport import ConfigurationReport
from relayd.daemon.keyreport import ChangedKeyReport, KeysReport, NewKeyReport, UsageReport
from relayd.daemon.livereport import LinkReport, LiveReport, PullReport
from relayd.daemon.nodereport import BroughtReport, InviteReport, NodesReport, TokenReport
from relayd.daemon.report import (
    PinReport,
    ReloadReport,
    ReplicasReport,
    StatusReport,
    StoppingReport,
    UpgradeReport,
)
from relayd.daemon.upstreamreport import TestedReport, UpstreamReport
from relayd.daemon.whyreport import WhyReport
from relayd.errors import DaemonError, DaemonSilentError, NoDaemonError, OtherBuildError
from relayd.planner.stated import MachinesReport
from relayd.rights import KeyCopies, KeyRights
from relayd.secret import Secret

ANSWER_SECONDS = 5.0
"""How long a daemon may take to answer what it knows before it counts as silent."""

STOP_SECONDS = 120.0
"""How long stopping replicas may take: the drain timeout, and then they are killed."""

UPGRADE = "Restart it with this build: relayd upgrade, or restart the service."
"""The remedy where a daemon is of another build."""

WORK_SECONDS = 3600.0
"""How long work with limits of its own may take: loads, drains, upgrades."""

_CHUNK = 1 << 16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})\b")
_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)\r?$")

Report = TypeVar("Report", bound=msgspec.Struct)


class Client:
    """A daemon's control socket, as a command sees it.

    Every method raises:
        NoDaemonError: No daemon listens.
        DaemonSilentError: A daemon listens and does not answer in time.
        DaemonError: The daemon refuses.

    Args:
        sockets: Where a daemon may be listening; the first that accepts is used.
    """

    def __init__(self, sockets: Iterable[Path]) -> None:
        self._sockets = tuple(sockets)

    def __repr__(self) -> str:
        return f"<Client of {' or '.join(map(str, self._sockets))}>"

    def status(self, *, timeout_seconds: float = ANSWER_SECONDS) -> StatusReport:
        """Return the daemon, its models and every replica."""
        return self._call("GET", "status", NoArguments(), StatusReport, timeout_seconds)

    def now(self, *, timeout_seconds: float = ANSWER_SECONDS) -> LiveReport:
        """Return everything of this moment: status, rates, requests, and what needs attention."""
        return self._call("GET", "now", NoArguments(), LiveReport, timeout_seconds)

    def link(self) -> LinkReport:
        """Return a link that opens the dashboard once."""
        return self._call("POST", "link", NoArguments(), LinkReport, ANSWER_SECONDS)

    def requests(self) -> RequestsReport:
        """Return the requests that wait or run."""
        return self._call("GET", "requests", NoArguments(), RequestsReport, ANSWER_SECONDS)

    def why(self, request: str) -> WhyReport:
        """Return what of a request's prompt was reused, and why no more."""
        return self._call("GET", "why", CancelArguments(request), WhyReport, ANSWER_SECONDS)

    def cancel(self, request: str) -> CancelReport:
        """End every request of an id."""
        return self._call("POST", "cancel", CancelArguments(request), CancelReport, ANSWER_SECONDS)

    def collect_batches(self, days: float | None = None) -> CollectedReport:
        """Remove ended batches and files older than so many days; None follows the settings."""
        return self._call("POST", "collect_batches", CollectArguments(days), CollectedReport, WORK_SECONDS)

    def configuration(self) -> ConfigurationReport:
        """Return what the daemon was given; it holds the key."""
        return self._call("GET", "configuration", NoArguments(), ConfigurationReport, ANSWER_SECONDS)

    def start(self, target: str | None = None) -> ReplicasReport:
        """Start what is stopped or was given up, and wait for it."""
        return self._call("POST", "start", TargetArguments(target), ReplicasReport, WORK_SECONDS)

    def stop(self, target: str) -> ReplicasReport:
        """Stop a model or a replica within the drain timeout."""
        return self._call("POST", "stop", StopArguments(target), ReplicasReport, STOP_SECONDS)

    def stop_daemon(self) -> int:
        """Let the daemon end with all its replicas, and return its pid."""
        stopping = self._call("POST", "stop", StopArguments(all=True), StoppingReport, ANSWER_SECONDS)
        return stopping.stopping

    def drain(self, target: str | None = None) -> ReplicasReport:
        """Stop replicas after their last request, without a timeout."""
        return self._call("POST", "drain", TargetArguments(target), ReplicasReport, WORK_SECONDS)

    def restart(self, target: str | None = None, *, rolling: bool = False) -> ReplicasReport:
        """Stop replicas and start them again; `rolling` does one of a model after the other."""
        return self._call("POST", "restart", RestartArguments(target, rolling), ReplicasReport, WORK_SECONDS)

    def load(self, model: str) -> ReplicasReport:
        """Bring a model into memory, and wait for it."""
        return self._call("POST", "load", ModelArguments(model), ReplicasReport, WORK_SECONDS)

    def unload(self, target: str, *, force: bool = False) -> ReplicasReport:
        """Take a model or a replica out of memory after its requests, or at once."""
        return self._call("POST", "unload", UnloadArguments(target, force), ReplicasReport, WORK_SECONDS)

    def pin(self, model: str, *, pinned: bool) -> PinReport:
        """Keep a model in memory once it is loaded, or let it make room again."""
        verb = "pin" if pinned else "unpin"
        return self._call("POST", verb, ModelArguments(model), PinReport, ANSWER_SECONDS)

    def reload(self, *, dry_run: bool = False) -> ReloadReport:
        """Let the daemon follow its configuration, or return what that would change."""
        return self._call("POST", "reload", ReloadArguments(dry_run), ReloadReport, WORK_SECONDS)

    def upgrade(self, drain_seconds: float | None = None) -> UpgradeReport:
        """Put the build that is installed now in the daemon's place."""
        return self._call("POST", "upgrade", UpgradeArguments(drain_seconds), UpgradeReport, WORK_SECONDS)

    def nodes(self) -> NodesReport:
        """Return the nodes of this hub, and the hubs that this machine is a node of."""
        return self._call("GET", "nodes", NoArguments(), NodesReport, ANSWER_SECONDS)

    def bring_file(self, sha256: str, size: int, part: Path) -> int:
        """Go on for a while with a file that another machine has; return how much is here, -1 for none."""
        arguments = BringFileArguments(sha256, size, str(part))
        return self._call("POST", "bring_file", arguments, BroughtReport, WORK_SECONDS).bytes

    def fleet(self) -> MachinesReport:
        """Return what this machine and every node is, has and serves."""
        return self._call("GET", "fleet", NoArguments(), MachinesReport, WORK_SECONDS)

    def invite_node(self, node: str) -> InviteReport:
        """Return an invite for a node."""
        return self._call("POST", "invite_node", NodeArguments(node), InviteReport, ANSWER_SECONDS)

    def node_token(self, node: str) -> TokenReport:
        """Return a lasting token for a node."""
        return self._call("POST", "node_token", NodeArguments(node), TokenReport, ANSWER_SECONDS)

    def remove_node(self, node: str) -> NodesReport:
        """Take a node's token back, and cut it off."""
        return self._call("POST", "remove_node", NodeArguments(node), NodesReport, ANSWER_SECONDS)

    def drain_node(self, node: str, *, drained: bool) -> NodesReport:
        """Give a node no new requests, or give it some again."""
        verb = "drain_node" if drained else "undrain_node"
        return self._call("POST", verb, NodeArguments(node), NodesReport, ANSWER_SECONDS)

    def wake_node(self, node: str) -> NodesReport:
        """Wake a node, and wait until it is connected."""
        return self._call("POST", "wake_node", NodeArguments(node), NodesReport, WORK_SECONDS)

    def pull_at(self, node: str, model: str, step: Literal["begin", "look", "end"] = "begin") -> PullReport:
        """Have a node fetch a model, look how far it is, or interrupt it."""
        arguments = NodePullArguments(node, model, step)
        return self._call("POST", "node_pull", arguments, PullReport, ANSWER_SECONDS)

    def join_hub(self, arguments: JoinArguments) -> NodesReport:
        """Have the daemon be a node of a hub."""
        return self._call("POST", "join_hub", arguments, NodesReport, ANSWER_SECONDS)

    def leave_hub(self, url: str) -> NodesReport:
        """Have the daemon leave a hub."""
        return self._call("POST", "leave_hub", HubArguments(url), NodesReport, ANSWER_SECONDS)

    def node_logs(self, target: str, lines: int) -> NodeLogReport:
        """Return the last lines of the logs of a node's model or replica."""
        return self._call("GET", "node_logs", LogArguments(target, lines), NodeLogReport, WORK_SECONDS)

    def add_upstream(self, url: str, settings: dict[str, Any]) -> UpstreamReport:
        """Have the daemon serve what a server elsewhere has, from now on."""
        arguments = UpstreamLineArguments(url, settings)
        return self._call("POST", "add_upstream", arguments, UpstreamReport, WORK_SECONDS)

    def test_upstream(self, name: str) -> TestedReport:
        """Have an upstream, a node or a worker answer a request of one token."""
        return self._call("POST", "test_upstream", NameArguments(name), TestedReport, WORK_SECONDS)

    def keys(self) -> KeysReport:
        """Return every API key, without its secret."""
        return self._call("GET", "keys", NoArguments(), KeysReport, ANSWER_SECONDS)

    def create_key(self, name: str, rights: KeyRights) -> NewKeyReport:
        """Make a key, and return it with its secret."""
        return self._call(
            "POST", "create_key", CreateKeyArguments(name, rights), NewKeyReport, ANSWER_SECONDS
        )

    def import_key(self, name: str, secret: Secret, rights: KeyRights) -> NewKeyReport:
        """Take a secret that clients have already."""
        arguments = ImportKeyArguments(name, secret.reveal(), rights)
        return self._call("POST", "import_key", arguments, NewKeyReport, ANSWER_SECONDS)

    def rotate_key(self, key: str) -> NewKeyReport:
        """Replace the secret of a key, and return the new one."""
        return self._call("POST", "rotate_key", KeyArguments(key), NewKeyReport, ANSWER_SECONDS)

    def change_key(self, arguments: ChangeKeyArguments) -> ChangedKeyReport:
        """Change what a key may do."""
        return self._call("POST", "change_key", arguments, ChangedKeyReport, ANSWER_SECONDS)

    def revoke_key(self, key: str) -> ChangedKeyReport:
        """Take a key back."""
        return self._call("POST", "revoke_key", KeyArguments(key), ChangedKeyReport, ANSWER_SECONDS)

    def copy_keys(self, hub: str) -> KeyCopies:
        """Return the keys of this daemon, as other hubs may hold them under its name."""
        return self._call("GET", "copy_keys", KeyArguments(hub), KeyCopies, ANSWER_SECONDS)

    def take_keys(self, copies: KeyCopies) -> KeysReport:
        """Hold the keys of another hub, and return those that have changed."""
        return self._call("POST", "take_keys", copies, KeysReport, ANSWER_SECONDS)

    def usage(self, arguments: UsageArguments) -> UsageReport:
        """Return what keys used of models, by day."""
        return self._call("GET", "usage", arguments, UsageReport, ANSWER_SECONDS)

    def _call(
        self, method: str, verb: str, arguments: msgspec.Struct, kind: type[Report], timeout_seconds: float
    ) -> Report:
        body = b"" if isinstance(arguments, NoArguments) else msgspec.json.encode(arguments)
        for path in self._sockets:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout_seconds)
                try:
                    connection.connect(str(path))
                except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
                    continue
                except PermissionError as error:
                    raise DaemonError(f"the daemon's socket {path} belongs to another user") from error
                try:
                    status, answer = _exchange(connection, method, verb, body)
                except TimeoutError as error:
                    message = f"the daemon at {path} did not answer within {timeout_seconds:g} s"
                    raise DaemonSilentError(message, remedy="Look at its log: `relayd logs`.") from error
                except OSError as error:
                    raise DaemonSilentError(f"the daemon at {path} closed the connection: {error}") from error
            return _report(verb, status, answer, kind)
        raise NoDaemonError(
            "no relayd is running",
            remedy="Start one: `relayd serve` (to look around: `relayd serve --demo`).",
        )


class _ErrorReply(msgspec.Struct):
    """Why a daemon refuses."""

    message: str
    code: str = DaemonError.code
    remedy: str = ""


def _exchange(connection: socket.socket, method: str, verb: str, body: bytes) -> tuple[int, bytes]:
    """Return status and body of the only answer on a connection (HTTP/1.0: its end is that of the answer).

    Raises:
        OSError: The daemon is silent, or hung up before its answer was complete.
    """
    head = f"{method} /{verb} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = b"".join(iter(lambda: connection.recv(_CHUNK), b""))
    first, _, content = answer.partition(b"\r\n\r\n")
    found, length = _STATUS.match(first), _LENGTH.search(first)
    if found is None or (length and int(length[1]) != len(content)):
        raise ConnectionError("its answer broke off")
    return int(found[1]), content


def _report(verb: str, status: int, answer: bytes, kind: type[Report]) -> Report:
    """Return the report of an answer; raise `DaemonError` if it is a refusal."""
    try:
        if status == 200:
            return msgspec.json.decode(answer, type=kind)
        refusal = msgspec.json.decode(answer, type=_ErrorReply)
    except msgspec.DecodeError as error:
        raise OtherBuildError(
            f"the running daemon is of another build: it answers {verb!r} with status {status}, "
            "and in a form that cannot be read",
            remedy=UPGRADE,
        ) from error
    refused = DaemonError(refusal.message, remedy=refusal.remedy)
    refused.code = refusal.code
    raise refused
