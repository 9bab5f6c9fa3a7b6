"""How does an answer come together that can be rewritten only as a whole (collected answer)?"""


class CollectedAnswer:
    """An answer of the engine, kept until it is whole; a subclass rewrites it in `end`."""

    media_type = "application/json"

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def __repr__(self) -> str:
        return f"<{type(self).__name__} pieces={len(self._pieces)}>"

    def feed(self, payload: bytes) -> bytes:
        """Keep the next bytes."""
        self._pieces.append(payload)
        return b""

    def collected(self) -> bytes:
        """Return what has come."""
        return b"".join(self._pieces)
