"""Secrets that print as `***` and are compared by their hash."""

import hashlib
import hmac
import secrets
from typing import NoReturn


class Secret:
    """A string that prints and formats as `***`, and compares in constant time.

    `reveal()` is the only way to the value, so every use is visible to a search for it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def digest(self) -> bytes:
        """Return the SHA-256 of the secret, which may be stored and looked up."""
        return hashlib.sha256(self._value.encode()).digest()

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        return "***" if self._value else ""

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not serialised; pass it by file or environment")


def new_secret() -> Secret:
    """Return a fresh secret of 256 random bits."""
    return Secret(secrets.token_urlsafe(32))
