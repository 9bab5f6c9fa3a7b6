"""What is changed in a request so that its model and its engine carry it out?

Chosen once for each model: what its template takes was found by a probe when it was loaded. Where that is
not known yet, a request goes out as it came, and once more with a careful conversation if the engine refuses
it for its form.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from relayd.api.admission import RequestContext
from relayd.api.fleet import ModelView
from relayd.api.forwarding import Members, rewritten
from relayd.dialects.conversation import CONVERSATIONS, fit_conversation, is_regular
from relayd.dialects.hygiene import STAMP, TOOL_ORDER, HygieneRule
from relayd.dialects.toolorder import ToolOrder
from relayd.dialects.turns import CAREFUL, PLAIN
from relayd.endpoint import Endpoint
from relayd.errors import UpstreamError
from relayd.router import (
    CHANGED,
    Beside,
    BodyRules,
    Call,
    Fetched,
    OpenedBody,
    Peek,
    Problem,
    Unlisted,
    bare_tools,
    judge,
    looser_tools,
    shapeless_tools,
)

_FORM = re.compile(
    r"Jinja|template|While executing|Failed to parse (messages|tools|tool call)|JSON schema|[Gg]rammar"
    r"|Cannot continue|must contain|2 or more assistant|[Mm]issing tool|[Cc]ontent"
)
"""What the engine's refusals hold that are about the form of a conversation or of tools."""

_REFUSED = 400


@dataclass(frozen=True, slots=True)
class Fitting:
    """What may be changed (`[compat]`).

    Attributes:
        roles: Conversations are fitted to the model's template.
        tools: Schemas of tools that the engine cannot hold are simplified.
        calls: Broken calls in a history are repaired.
        rules: What is taken out of a prompt that changes with each request.
        order: Has the same tools come in the same order; None leaves theirs.
    """

    roles: bool = True
    tools: bool = True
    calls: bool = True
    rules: tuple[HygieneRule, ...] = ()
    order: ToolOrder | None = None

    @property
    def keeps_stamp(self) -> bool:
        """Whether the stamp of Claude Code stays in its system prompt."""
        return all(rule.pattern is not STAMP for rule in self.rules)

    def judged(
        self, opened: OpenedBody, rules: BodyRules, unlisted: Unlisted
    ) -> tuple[OpenedBody, Peek, str]:
        """Return a body whose tools the engine can hold, what routing needs of it, and what was changed.

        Raises:
            RequestError: It asks for what no client may have.
        """
        raw, changes = opened.members.get("tools"), list[str]()
        if raw is not None and self.order is not None and (ordered := self.order.steady(raw)) is not None:
            opened, raw = _with_tools(opened, ordered), ordered
            changes.append(f"stable: {TOOL_ORDER}")
        if raw is not None and self.tools and (found := looser_tools(raw)) is not None:
            opened = _with_tools(opened, found.raw)
            changes.append(found.change)
        return opened, judge(opened, rules, unlisted), "; ".join(changes)

    def concerns(self, path: str, members: Members, model: ModelView) -> bool:
        """Return whether the conversation that goes to a path of the engine has to be looked at."""
        if path not in CONVERSATIONS:
            return False
        if "tools" in members:
            return bool(self.roles or self.calls or self.rules)
        if not self.roles or (traits := model.traits) is None or traits.takes_any_order:
            return False
        return "messages" not in members or "system" in members or not is_regular(members["messages"])

    def fit(self, call: Call, model: ModelView, context: RequestContext) -> Call:
        """Return a call whose conversation the engine and the model's template take."""
        traits = model.traits if self.roles else None
        found = fit_conversation(call.path, call.body, traits, self.rules, repairs=self.calls)
        if found is None:
            return call
        note_change(found.change, context)
        return msgspec.structs.replace(call, body=found.body)

    def again(self, call: Call, problem: Problem) -> Iterator[tuple[Call, str]]:
        """Yield what may be tried instead of a call that the engine refused for its form."""
        if call.path not in CONVERSATIONS or problem.details or not _FORM.search(problem.message):
            return
        tried = [(call, "")]
        for traits in (CAREFUL, PLAIN) if self.roles else (None,):
            found = fit_conversation(call.path, call.body, traits, repairs=self.calls)
            if found is not None:
                tried.append((msgspec.structs.replace(call, body=found.body), found.change))
        yield from tried[1:]
        for other, change in tried if self.tools else ():
            opened = _opened(other.body)
            for simplify in (bare_tools, shapeless_tools) if "tools" in opened else ():
                if (simpler := simplify(opened["tools"])) is not None:
                    body = rewritten({**opened, "tools": simpler.raw})
                    changes = "; ".join(filter(None, (change, simpler.change)))
                    yield msgspec.structs.replace(other, body=body), changes

    async def ask(
        self, beside: Beside, model: ModelView, call: Call, context: RequestContext
    ) -> tuple[Endpoint, Fetched] | None:
        """Return what a replica answers beside its slots; what it refuses for its form is asked once more."""
        found = await beside.ask(model.replicas_of, call)
        if found is None or found[1].status < _REFUSED or (problem := _problem_in(found[1])) is None:
            return found
        for other, change in self.again(call, problem):
            again = await beside.ask(model.replicas_of, other)
            if again is not None and again[1].status < _REFUSED:
                note_change(change, context)
                return again
        return found


NO_FITTING = Fitting(roles=False, tools=False, calls=False)


def note_change(change: str, context: RequestContext) -> None:
    """Add what the client should know to its answer."""
    if change:
        known = context.headers.get(CHANGED)
        context.headers[CHANGED] = f"{known}; {change}" if known else change


def _with_tools(opened: OpenedBody, tools: msgspec.Raw) -> OpenedBody:
    members = {**opened.members, "tools": tools}
    return OpenedBody(rewritten(members), members, opened.came or opened)


def _problem_in(fetched: Fetched) -> Problem | None:
    try:
        return Problem.of_engine(fetched.status, fetched.body)
    except UpstreamError:
        return None


def _opened(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return {}
