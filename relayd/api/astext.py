"""How does an answer become text whose format the engine cannot read, with the values of the router?"""

from dataclasses import dataclass

from relayd.clock import Clock
from relayd.dialects.plaintext import COMPLETION, NOTE, RENDERING, answer_of, completion_of, rendering_of
from relayd.router import Call, Salvaged


@dataclass(frozen=True, slots=True)
class AnswerAsText:
    """Makes text of an answer (`router.salvage.PlainText`).

    Attributes:
        clock: Dates it.
    """

    clock: Clock

    def rendering(self, call: Call) -> Call | None:
        """Return the call for the prompt of a request; None where its answer cannot be text."""
        body = rendering_of(call.path, call.body)
        return None if body is None else Call(RENDERING, body)

    def completion(self, call: Call, rendered: bytes) -> Call | None:
        """Return the call that completes a rendered prompt."""
        body = completion_of(call.body, rendered)
        return None if body is None else Call(COMPLETION, body, stream=True)

    def answer(self, call: Call, model: str, completed: bytes) -> Salvaged:
        """Return the answer to a request in the engine's own form."""
        created = int(self.clock.wall())
        return Salvaged(answer_of(call.path, model, completed, created, stream=call.answers_events), NOTE)
