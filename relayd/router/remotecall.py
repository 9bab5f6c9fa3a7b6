"""What does a server elsewhere get of a request, and what do its refusals mean (remote calls)?

A replica gets what llama-server's allow-list lets through, and what relayd asks of it besides. A server that
relayd did not start gets what its client sent: every member but `model`, which is its own name for the model.
"""

import asyncio
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from relayd.endpoint import Endpoint
from relayd.errors import UpstreamError
from relayd.router.dialect import Problem
from relayd.router.headers import Call, Head
from relayd.units import KIB

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode

_PATHS: Mapping[str, str] = {
    "/chat/completions": "/v1/chat/completions",
    "/embeddings": "/v1/embeddings",
    "/rerank": "/v1/rerank",
    "/reranking": "/v1/rerank",
}
"""Second names of paths, which only llama-server has."""

_OF_COLLECTING = ("stream", "stream_options", "echo")
"""Members by which a plain answer is asked for as a stream (`additions`)."""

_OF_PROGRESS = ("return_progress",)

_LARGE = 256 * KIB
"""Bytes of a body that is rewritten in a thread."""

_BUSY = frozenset({408, 425, 429, 503, 529})
"""Statuses of a server that has no room now: another one may have."""

_LONGEST_MESSAGE = 1000


async def for_remote(call: Call, endpoint: Endpoint, *, continues: bool = False) -> Call:
    """Return what a server elsewhere gets of a call.

    Args:
        call: As a replica would get it.
        endpoint: The server.
        continues: Whether the call goes on with the answer of another one.

    Raises:
        UpstreamError: It cannot go on with an answer.
    """
    if continues and not endpoint.profile.continues:
        raise UpstreamError(f"{endpoint.replica} cannot go on with the answer of another server.")
    if len(call.body) > _LARGE:
        return await asyncio.to_thread(remote_call, call, endpoint, continues=continues)
    return remote_call(call, endpoint, continues=continues)


def remote_call(call: Call, endpoint: Endpoint, *, continues: bool = False) -> Call:
    """Return what `for_remote` does, at once."""
    path = _PATHS.get(call.path, call.path)
    fields = call.sent.fields if call.sent is not None else call.fields
    if not call.body or not call.content_type.startswith("application/json"):
        return replace(call, path=path, fields=fields)
    sent = call.sent
    if sent is not None and not (continues or sent.is_translated or sent.is_preset):
        members = dict(sent.members)
    else:
        members = _without_additions(call)
    if endpoint.profile.model:
        members["model"] = msgspec.Raw(_encode(endpoint.profile.model))
    is_stream = call.stream and call.collector is None
    return Call(
        path, _encode(members), is_stream, call.content_type, call.method, call.with_key, fields=fields
    )


def _without_additions(call: Call) -> dict[str, msgspec.Raw]:
    """Return the members of a body without what relayd asks of a replica, and with what no replica gets."""
    members, sent = _MEMBERS.decode(call.body), call.sent
    own = sent.members if sent is not None and not sent.is_translated else {}
    added = (
        *(_OF_COLLECTING if call.collector is not None else ()),
        *(_OF_PROGRESS if call.hides_progress else ()),
    )
    for name in added:
        if name in own:
            members[name] = own[name]
        else:
            members.pop(name, None)
    if sent is not None and not sent.is_translated:
        members |= {name: sent.members[name] for name in sent.dropped}
    return members


def remote_problem(head: Head, payload: bytes, replica: str) -> Problem:
    """Return why a server elsewhere refused, as its client gets to know it.

    Raises:
        UpstreamError: The client has no part in it: the key, a redirect, an answer without a reason.
    """
    status = head.status
    if status in (401, 403):
        raise UpstreamError(
            f"{replica} refuses the key that relayd has for it ({status}).",
            remedy="Set `key` of its [[upstream]] in relay.toml.",
        )
    if status < 400:
        raise UpstreamError(
            f"{replica} answers {status}; relayd follows no redirect.",
            remedy="Set `url` of its [[upstream]] to where that leads.",
        )
    return read_problem(status, payload)


def read_problem(status: int, payload: bytes) -> Problem:
    """Return the error that a body states, in any of the shapes that servers have for it."""
    try:
        found = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        found = payload.decode("utf-8", "replace").strip()
    error = found
    if isinstance(found, dict):
        error = next((found[name] for name in ("error", "detail", "message") if found.get(name)), found)
    kind: object = ""
    param: object = None
    if isinstance(error, dict):
        named, kind = error.get("message") or error.get("detail"), error.get("type") or ""
        param = error.get("param")
        error = named if named is not None else error
    elif isinstance(found, dict):
        kind, param = found.get("type") or "", found.get("param")
    message = error if isinstance(error, str) else _encode(error).decode()
    if message.lstrip().startswith("<"):  # a page of a proxy
        message = ""
    message = message[:_LONGEST_MESSAGE] or f"The server answered {status} without saying why."
    code = kind if isinstance(kind, str) and kind else f"upstream_{status}"
    return Problem(status, code, message, param if isinstance(param, str) else None, kind=code)


def is_final(problem: Problem) -> bool:
    """Return whether a refusal is the client's own doing, so that no other server would answer it."""
    return problem.status not in _BUSY and problem.status != 404 and problem.status < 500


def retry_after(head: Head) -> float | None:
    """Return in how many seconds a server wants to be asked again; None where it does not say."""
    value = next((value for name, value in head.passing if name == "Retry-After"), "")
    return float(value) if value.isdecimal() and len(value) < 7 else None
