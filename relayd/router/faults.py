"""Whose fault is it when the engine refuses a request: the request's own, the replica's, or neither's?

llama-server b11434 answers 500 for two different things. While it reads a request, every
`std::runtime_error` becomes a 500 (`ex_wrapper` in tools/server/server.cpp): that is a mistake of the
client, and another replica would answer the same. What its inference loop sends (`send_error` and
`abort_all_slots` in server-context.cpp) is a short list, and most of it means that the replica failed.
So that list is the table here, and whatever is not in it is the request's own fault.
"""

import re
from dataclasses import replace
from enum import Enum

from relayd.errors import LinkLostError, SlotTakenError
from relayd.router.dialect import Problem

_SERVER_ERROR = 500
_GATEWAY_ERRORS = frozenset({502, 504})
_CLIENT_ERROR = 400


class Fault(Enum):
    """Who is at fault for an answer that is not a success."""

    REQUEST = "request"
    """The client's mistake: final, and no replica is to blame."""
    ANSWER = "answer"
    """What the model wrote cannot be used: final, and no replica is to blame."""
    MEMORY = "memory"
    """An allocation failed, for this request or since an earlier one: the replica has to be restarted."""
    REPLICA = "replica"
    """The replica failed; another one may not."""


_OUT_OF_MEMORY = "bad_alloc"

_DEAD_END = "got exception: Unexpected empty grammar stack"

_BY_PREFIX: tuple[tuple[str, Fault], ...] = (
    # No token goes on as the grammar asks (`llama_grammar_accept_token`): it leads where no text can follow.
    (_DEAD_END, Fault.REQUEST),
    # What the model wrote is not in its template's form (`common_chat_parse`).
    ("The model produced output that does not match", Fault.ANSWER),
    # The exceptions of one slot, of a whole batch, and of the decoder.
    ("got exception: ", Fault.REPLICA),
    ("pre_decode() failed: ", Fault.REPLICA),
    ("decode() failed: ", Fault.REPLICA),
    ("post_decode() failed: ", Fault.REPLICA),
    ("Context size has been exceeded.", Fault.REPLICA),
    ("Invalid input batch.", Fault.REPLICA),
    ("Compute error.", Fault.REPLICA),
    ("failed to process mtmd chunk", Fault.REPLICA),
    ("failed to get embeddings, the question and its options must fit in one batch", Fault.REQUEST),
    ("failed to get logits", Fault.REPLICA),
    ("failed to get embeddings", Fault.REPLICA),
    ("unknown error", Fault.REPLICA),
)
"""How the messages of a 500 begin that are not about reading a request; the first that fits counts."""

_TOO_LONG = "is too large to process. increase the physical batch size"
_CONTEXT_EXCEEDED = "exceed_context_size_error"

_PROJECTOR = "Use a model that takes it; an operator can set projector for this one in relay.toml."
_KIND = "Use a model that is made for it: GET /v1/models lists them."
_EMBEDDINGS = f"{_KIND[:-1]}; an operator can set embeddings = true for a model in relay.toml."
_ARGS = "An operator can change it by args of the model in relay.toml."

_REWORDED: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(f"{_DEAD_END}.*", re.DOTALL),
        (
            "The grammar, the schema or the tools lead to a place where no token of the model fits. "
            "Change them so that some text can follow everywhere."
        ),
    ),
    (
        re.compile(r"This server does not support embeddings\..*"),
        f"This model answers no requests for embeddings. {_EMBEDDINGS}",
    ),
    (
        re.compile(r"This server does not support reranking\..*"),
        f"This model does not rank documents. {_KIND}",
    ),
    (
        re.compile(r"the current context does not support logits computation.*"),
        f"This model makes embeddings and writes no text. {_KIND}",
    ),
    (
        re.compile(r"(image|audio|video) input is not supported - hint.*"),
        rf"This model takes no \1 input. {_PROJECTOR}",
    ),
    (
        re.compile(rf"input \((\d+) tokens\) {re.escape(_TOO_LONG)} \(current batch size: (\d+)\)"),
        (
            r"The input (\1 tokens) is too large: this model takes at most \2 tokens in one. Send it in "
            "parts; an operator can set context, or placement.micro_batch, for the model in relay.toml."
        ),
    ),
    (
        re.compile(r"request \((\d+) tokens\) exceeds the available context size \((\d+) tokens\).*"),
        (
            r"The request (\1 tokens) exceeds the available context size (\2 tokens). Shorten it; an "
            "operator can set context for the model in relay.toml."
        ),
    ),
    (
        re.compile(r"(tools|tool_choice) param requires --jinja flag"),
        rf"This model is served without its chat template, which \1 needs. {_ARGS}",
    ),
    (re.compile(r"(.*?\.) Start it with(?:out)? `--.*"), rf"\1 {_ARGS}"),
)
"""Messages of the engine for its operator, and what a client of relayd can do, or ask for."""


def judge(problem: Problem) -> Fault:
    """Return whose fault an answer of the engine is that is not a success.

    Args:
        problem: What it answered; one without a message is the replica's fault if it is a 5xx.
    """
    if _OUT_OF_MEMORY in problem.message:
        return Fault.MEMORY
    if problem.status in _GATEWAY_ERRORS:
        return Fault.REPLICA
    if problem.status != _SERVER_ERROR:
        return Fault.REQUEST
    if not problem.message:
        return Fault.REPLICA
    found = (fault for prefix, fault in _BY_PREFIX if problem.message.startswith(prefix))
    return next(found, Fault.REQUEST)


def as_client_error(problem: Problem) -> Problem:
    """Return a client's mistake with the status and the type of one, and a remedy that exists here."""
    message = _reworded(problem.message)
    if problem.status != _SERVER_ERROR:
        return problem if message == problem.message else replace(problem, message=message)
    kind = _CONTEXT_EXCEEDED if _TOO_LONG in problem.message else "invalid_request_error"
    return replace(problem, status=_CLIENT_ERROR, code=kind, kind=kind, message=message)


def _reworded(message: str) -> str:
    """Return a message of the engine without names of its flags."""
    for pattern, words in _REWORDED:
        if found := pattern.fullmatch(message):
            return found.expand(words)
    return message


def as_cut(error: Exception | None) -> OSError:
    """Return how a connection ended within an answer: the replica hung up, unless a link was lost."""
    if isinstance(error, LinkLostError | SlotTakenError):
        return error
    return ConnectionResetError(f"the replica hung up on a request ({error or 'closed'})")
