"""What does Ollama answer where a request asks only for its model to be loaded or unloaded?"""

from dataclasses import dataclass

import msgspec

from relayd.dialects.ollama_answer import NDJSON, Form, stamp


@dataclass(slots=True)
class OnlyLoaded:
    """Answers a request that asks for nothing but its model.

    Attributes:
        payload: The answer.
        media_type: Of it.
    """

    payload: bytes
    media_type: str

    def feed(self, payload: bytes) -> bytes:  # noqa: ARG002 - what the engine answers to nothing
        """Take what the engine answers, which is nothing to the client."""
        return b""

    def end(self) -> bytes:
        """Return the answer."""
        return self.payload


def loaded(form: Form, model: str, reason: str, seconds_since_1970: float, *, stream: bool) -> OnlyLoaded:
    """Return the answer to a request that only has its model loaded (`load`) or unloaded (`unload`)."""
    words: dict[str, object] = (
        {"message": {"role": "assistant", "content": ""}} if form == "chat" else {"response": ""}
    )
    dated = {"model": model, "created_at": stamp(seconds_since_1970)}
    answer = {**dated, **words, "done": True, "done_reason": reason}
    payload = msgspec.json.encode(answer) + (b"\n" if stream else b"")
    return OnlyLoaded(payload, NDJSON if stream else "application/json")
