"""How does one request become one answer, whatever replicas do meanwhile?"""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Protocol

import msgspec
from aiohttp import web

from relayd.endpoint import Endpoint
from relayd.errors import UpstreamError
from relayd.router.answer import Answer
from relayd.router.headers import Call
from relayd.router.pool import Pools
from relayd.router.splice import Splice, can_splice

_NOTHING: Mapping[str, str] = MappingProxyType({})

_ONCE_MORE = frozenset({500, 502, 504})
"""Statuses that another replica may not give; a prompt that fails two of them must not fail a third."""

_CODES = {"exceed_context_size_error": "context_length_exceeded"}
"""The engine's error types that OpenAI clients know by a code."""


class Placement(Protocol):
    """One request's place in the schedule."""

    async def placed(self) -> Endpoint:
        """Wait for a slot and return where it is; raise a `RequestError` if there is none."""
        ...

    def failed(self, *, sent: bool = False) -> None:
        """Report a failed attempt, and whether the client saw a part of its answer; `placed` is next."""
        ...


class Proxy:
    """Sends requests to replicas and their answers to clients.

    Args:
        pools: Connections to replicas.
        write_stall_seconds: How long a client may take nothing of its answer.
        on_fault: Told of every replica that failed a request, and how.
    """

    def __init__(
        self, pools: Pools, *, write_stall_seconds: float, on_fault: Callable[[Endpoint, str], None]
    ) -> None:
        self._pools = pools
        self._write_stall_seconds = write_stall_seconds
        self._on_fault = on_fault

    async def forward(
        self,
        request: web.BaseRequest,
        call: Call,
        placement: Placement,
        request_id: str,
        headers: Mapping[str, str] = _NOTHING,
    ) -> web.StreamResponse:
        """Return the answer to `call`, most often already written.

        Until the client has seen a byte, a replica that is gone or still loading sends the
        request elsewhere, as often as `placement` allows; one that fails inside or answers no
        HTTP does so once; any other answer is final. Afterwards nothing is tried again. A client
        that leaves cancels this coroutine, which closes the connection to the replica. The answer
        says which replica gave it, and how long the request had waited for it.

        Args:
            request: The client's, its body read.
            call: What the replica gets.
            placement: Finds a replica with a free slot.
            request_id: The answer's `X-Request-ID`.
            headers: What else the answer must carry.

        Raises:
            RequestError: The client has seen nothing, and this is why.
        """
        own = {"Server": "relayd", **headers, "X-Request-ID": request_id}
        arrived, faults = time.monotonic(), 0
        while True:
            endpoint = await placement.placed()
            own["X-Relayd-Replica"] = endpoint.replica
            own["X-Relayd-Queue-Ms"] = str(round(1000 * (time.monotonic() - arrived)))
            try:
                answer = await self._attempt(request, call, endpoint, own)
            except OSError as error:
                self._on_fault(endpoint, str(error))
            except UpstreamError as error:
                self._on_fault(endpoint, error.message)
                if faults:
                    raise
                faults += 1
            else:
                if answer.status == 401:
                    raise UpstreamError("The replica refuses relayd's key.", remedy="Restart the replica.")
                may_try_again = answer.status == 503 or (answer.status in _ONCE_MORE and not faults)
                if not may_try_again:
                    return answer
                self._on_fault(endpoint, f"answered {answer.status}")
                faults += answer.status != 503
            placement.failed()

    async def _attempt(
        self, request: web.BaseRequest, call: Call, endpoint: Endpoint, own: Mapping[str, str]
    ) -> web.StreamResponse:
        upstream = await self._pools.ask(endpoint, call)
        try:
            head = upstream.head
            if not head.is_success:
                return _refusal(head.status, upstream.payload(), own)
            kind = Splice if can_splice(request, head) else Answer
            answer = kind(request, head, own, stall_seconds=self._write_stall_seconds)
            try:
                await answer.start()
                await upstream.relay(answer)
                await answer.finish()
            except (OSError, UpstreamError) as error:
                await answer.fail()
                if answer.truncated:
                    self._on_fault(endpoint, str(error))
            return answer
        finally:
            self._pools.give_back(endpoint, upstream)


def _refusal(status: int, payload: bytes, own: Mapping[str, str]) -> web.Response:
    """Return the engine's refusal as OpenAI clients read it; members of its own stay.

    Raises:
        UpstreamError: It has not the engine's shape.
    """
    try:
        error = msgspec.json.decode(payload, type=dict[str, dict[str, object]])["error"]
    except (msgspec.DecodeError, KeyError) as fault:
        raise UpstreamError(f"The replica answered {status} without saying why.") from fault
    kind = error.get("type")
    body = {
        "error": {"param": None, **error, "code": _CODES.get(kind, kind) if isinstance(kind, str) else None}
    }
    return web.json_response(body=msgspec.json.encode(body), status=status, headers=own)
