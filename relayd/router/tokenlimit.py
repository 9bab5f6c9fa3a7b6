"""How many tokens may an answer have (`max_tokens_default` and `max_tokens_limit` of a model)?"""

import msgspec

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

_NAMES = ("max_tokens", "max_completion_tokens", "n_predict")
"""Members that llama-server reads as one limit (`server-schema.cpp`)."""

_NAME_OF = {
    "/v1/chat/completions": "max_tokens",
    "/chat/completions": "max_tokens",
    "/v1/completions": "max_tokens",
    "/completions": "n_predict",
    "/completion": "n_predict",
    "/infill": "n_predict",
    "/v1/messages": "max_tokens",
}
"""Paths of the engine that generate text -> the member that limits it where the client sends none."""


class TokenLimit(msgspec.Struct, frozen=True, gc=False):
    """What a model allows.

    Attributes:
        default: Tokens of an answer whose request names no number; 0 leaves that open.
        most: Tokens of any answer; 0 sets none.
    """

    default: int = 0
    most: int = 0

    @classmethod
    def of(cls, default: int, most: int) -> "TokenLimit":
        """Return these limits; `UNLIMITED` where they are none."""
        return cls(default, most) if default or most else UNLIMITED

    def apply(self, path: str, body: bytes) -> tuple[bytes, bool]:
        """Return the body that the engine gets, and whether a number of the client was lowered.

        Args:
            path: Of the engine.
            body: A valid JSON object.
        """
        name = _NAME_OF.get(path)
        if name is None or not (self.default or self.most):
            return body, False
        members = _MEMBERS.decode(body)
        named = {one: _number(members[one]) for one in _NAMES if one in members}
        asked = {one: count for one, count in named.items() if count is not None}
        if not asked:
            members |= {name: _raw(self._unnamed())}
            return msgspec.json.encode(members), False
        lowered = {one for one, count in asked.items() if self.most and not 0 <= count <= self.most}
        if not lowered:
            return body, False
        members |= dict.fromkeys(lowered, _raw(self.most))
        return msgspec.json.encode(members), True

    def _unnamed(self) -> int:
        """Return the limit of an answer whose request names none."""
        return min(filter(None, (self.default, self.most)))


UNLIMITED = TokenLimit()
"""No limit; the value by which a model that has none is recognized."""


def _number(raw: msgspec.Raw) -> float | None:
    found = msgspec.json.decode(raw)
    return found if isinstance(found, int | float) else None


def _raw(count: int) -> msgspec.Raw:
    return msgspec.Raw(b"%d" % count)
