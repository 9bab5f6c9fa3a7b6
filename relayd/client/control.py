"""How does a command reach the daemon?

Over its control socket, with the standard library only: a command that asks one question
shall not load an HTTP framework.
"""

import http.client
import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from relayd.errors import DaemonError, DaemonSilentError, NoDaemonError

PATIENCE_SECONDS = 5.0
"""How long a daemon may take to answer before it counts as silent."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """A daemon's control socket, as a command sees it.

    Args:
        sockets: Where a daemon may be listening; the first that accepts is used.
    """

    def __init__(self, sockets: Iterable[Path]) -> None:
        self._sockets = tuple(sockets)

    def get(self, verb: str, *, patience_seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Ask for something.

        Raises:
            NoDaemonError: Nobody listens.
            DaemonSilentError: Somebody listens and does not answer.
            DaemonError: The daemon says no.
        """
        return self._call("GET", verb, None, patience_seconds)

    def post(
        self, verb: str, *, patience_seconds: float = PATIENCE_SECONDS, **arguments: object
    ) -> dict[str, Any]:
        """Have something done; raises what `get` raises."""
        return self._call("POST", verb, arguments, patience_seconds)

    def _call(
        self, method: str, verb: str, arguments: dict[str, object] | None, patience_seconds: float
    ) -> dict[str, Any]:
        for path in self._sockets:
            connection = UnixConnection(path, patience_seconds)
            try:
                connection.connect()
            except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
                connection.close()
                continue
            except PermissionError as error:
                connection.close()
                raise DaemonError(f"the daemon's socket {path} belongs to another user") from error
            try:
                return _exchange(connection, method, verb, arguments)
            except TimeoutError as error:
                message = f"the daemon at {path} did not answer within {patience_seconds:g} s"
                raise DaemonSilentError(message, remedy="look at its log: relayd logs") from error
            except (OSError, http.client.HTTPException) as error:
                raise DaemonSilentError(f"the daemon at {path} hung up: {error}") from error
            finally:
                connection.close()
        raise NoDaemonError(
            "no relayd is running", remedy="start one: relayd serve (to look around: relayd serve --demo)"
        )


def _exchange(
    connection: UnixConnection, method: str, verb: str, arguments: dict[str, object] | None
) -> dict[str, Any]:
    body = None if arguments is None else json.dumps(arguments)
    connection.request(method, f"/{verb}", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status == 200:
        return dict(answer)
    error = DaemonError(answer["message"], remedy=answer.get("remedy", ""))
    error.code = answer.get("code", error.code)  # type: ignore[misc]  # the daemon's own code, for --json
    raise error
