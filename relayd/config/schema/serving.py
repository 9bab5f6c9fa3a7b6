"""How clients are served: the server, the queue, and what other programs expect."""

from typing import Literal

import msgspec

from relayd.config.schema.section import Section
from relayd.config.values import (
    Count,
    CountOrUnlimited,
    DefaultName,
    HostName,
    Interval,
    Mebibytes,
    MemberName,
    OptionalFilePath,
    Origin,
    ProxyNetwork,
    Seconds,
    SecondsOrUnlimited,
)
from relayd.secret import Secret


class Server(Section, frozen=True):
    """The HTTP server that clients use.

    Attributes:
        listen: HOST:PORT, or a list of them; IPv6 in brackets. Other machines reach it only with a key.
        api_key: The key that clients send; empty requires none. `${ENV:NAME}` reads that variable.
        require_key: Who needs a key for models: `auto` is every client once there is a key for models,
            and no one before; `always` is every client, whatever keys there are.
        kept_responses: Whether what `/v1/responses` keeps for an hour outlives the daemon, in a file that
            holds prompts and answers.
        allowed_hosts: Host names a client may use besides loopback and the listening address.
        cors_origins: Origins of web pages that may call the API; none by default. Applications and
            browser extensions have schemes of their own (`app://`); `null` needs a key.
        tls_cert: Certificate that clients are shown (PEM, with those between it and a root): connections are
            then encrypted, and only those. It is read again when its file changes.
        tls_key: Its private key (PEM, without a password, not readable by other users).
        trusted_proxies: Addresses or networks of reverse proxies. Their `X-Forwarded-For` and
            `X-Forwarded-Proto` are believed, and each may open as many connections as there are.
        default_model: The model of requests that name none; by default the only one that can answer.
        max_body_mib: Largest request body, in MiB.
        unknown_members: What becomes of a member of a body that is not known: dropped, or refused.
        extra_members: Members that pass although relayd does not know them: what a newer engine accepts.
        body_budget_mib: What the bodies of all requests may take together, in MiB, at any time.
        header_seconds: How long the head of a request may take to arrive.
        body_seconds: Longest pause while a request body arrives.
        write_stall_seconds: Longest time a client may stop reading before it is disconnected.
        first_byte_suspect_seconds: How long a replica may owe the first byte of an answer before others
            are preferred, and a stream that waits behind is moved to one.
        head_hold_seconds: How long the head of a stream is held back after its request has come; then it
            goes out with a comment, where clients take those. 0 holds it until the answer begins.
        first_byte_seconds: How long an answer that comes as events may take to begin, counted from the
            arrival of its request; 0 sets none.
        token_gap_seconds: Longest pause between two bytes of an answer that comes as events; 0 sets none.
        total_seconds: How long a request may take as a whole; 0 sets none.
        keep_alive_seconds: How long an unused connection stays open.
        takeover_seconds: How long the new daemon of `relayd upgrade` may take to come up.
    """

    listen: str | tuple[str, ...] = "127.0.0.1:8080"
    api_key: Secret = msgspec.field(default_factory=lambda: Secret(""))
    require_key: Literal["auto", "always"] = "auto"
    kept_responses: Literal["memory", "disk"] = "memory"
    allowed_hosts: tuple[HostName, ...] = ()
    cors_origins: tuple[Origin, ...] = ()
    tls_cert: OptionalFilePath = ""
    tls_key: OptionalFilePath = ""
    trusted_proxies: tuple[ProxyNetwork, ...] = ()
    default_model: DefaultName = ""
    max_body_mib: Mebibytes = 16
    unknown_members: Literal["drop", "refuse"] = "drop"
    extra_members: tuple[MemberName, ...] = ()
    body_budget_mib: Mebibytes = 256
    header_seconds: Interval = 10
    body_seconds: Interval = 30
    write_stall_seconds: Interval = 60
    first_byte_suspect_seconds: Interval = 60
    head_hold_seconds: Seconds = 10
    first_byte_seconds: Seconds = 0
    token_gap_seconds: Seconds = 0
    total_seconds: Seconds = 0
    keep_alive_seconds: Interval = 75
    takeover_seconds: Interval = 60


class QueueSettings(Section, frozen=True):
    """How long and how deep requests wait for a free slot.

    Attributes:
        depth: Requests that may wait for one model, or "unlimited"; more are refused.
        max_wait_seconds: Longest wait for a slot, or "unlimited"; zero never waits.
        attempts: Replicas a request may be given to before it fails.
        avoid_seconds: How long a request stays away from a replica that failed it, while
            another one is there.
        key_depth: Requests of one key (else session, else address) that may wait for one model, or
            "unlimited".
        max_hold_seconds: How long a request may be held for a busy replica that has read its prompt before,
            while others pass it; zero holds none.
        continue_answers: Whether another replica continues an answer whose replica failed, where that is
            sound. With the header `X-Relayd-Continue: off` such an answer ends with an error.
        progress_comments: Whether a stream that waits gets comments on how far it is: its position, a model
            that loads, the seconds expected. The header `X-Relayd-Progress: 1` asks for them otherwise.
    """

    depth: CountOrUnlimited = 256
    max_wait_seconds: SecondsOrUnlimited = 300
    attempts: Count = 3
    avoid_seconds: Seconds = 1
    key_depth: CountOrUnlimited = "unlimited"
    max_hold_seconds: Seconds = 20
    continue_answers: bool = True
    progress_comments: bool = False


HygieneName = Literal[
    "claude-code-billing", "claude-code-tokens-left", "pi-clock", "anythingllm-clock", "openhands-clock",
    "nanobot-clock", "goose-clock", "tool-order",
]  # fmt: skip
"""Rules that keep a prompt's beginning stable (`dialects.hygiene`)."""


class Compat(Section, frozen=True):
    """What other programs expect, and what is changed so that they work with any model.

    Attributes:
        rewrite_ids: Whether answers to requests that were named (X-Request-ID) have that name as `id`.
        fit_roles: Whether a conversation is fitted to the roles that the model's template takes.
        simplify_tools: Whether schemas of tools that the engine cannot hold are simplified.
        repair_calls: Whether broken calls of tools in a history are repaired, and cut ones in an answer.
        salvage_answers: Whether an answer whose format the engine cannot read is tried once more, and then
            given as text.
        hygiene: Whether what clients write at the front of a prompt that changes with each request is made
            stable.
        hygiene_off: Names of the rules for that which do not hold.
    """

    rewrite_ids: Literal["never", "named"] = "never"
    fit_roles: bool = True
    simplify_tools: bool = True
    repair_calls: bool = True
    salvage_answers: bool = True
    hygiene: bool = True
    hygiene_off: tuple[HygieneName, ...] = ()
