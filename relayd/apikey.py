"""What does an API key of relayd's own look like, and which keys of others are accepted?

    sk-relayd-  43 characters of 256 random bits  6 characters of checksum

All but the prefix is base 62. The checksum (CRC-32 of everything before it, as in GitHub's tokens) lets a
scanner know a leaked key from any other text without a request, and a command know a mistyped one.
"""

import re
import secrets
import string
import zlib

from relayd.errors import UsageError
from relayd.secret import Secret

PREFIX = "sk-relayd-"

SHORTEST_KEY = 24
"""Characters of a key that was not made here; fewer can be guessed."""

LONGEST_KEY = 1024
"""Characters of a key that was not made here; more than any service gives, and little of a head."""

HINT_LENGTH = 16
"""Characters of a key by which people know it again; the rest still has 220 random bits."""

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH = 43
_CHECKSUM_LENGTH = 6
_KEY = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}")


def make_key() -> Secret:
    """Return a new key."""
    body = PREFIX + _base62(secrets.randbits(256), _RANDOM_LENGTH)
    return Secret(body + _checksum(body))


def is_mistyped(key: str) -> bool:
    """Return whether a key is meant to be one of relayd's and cannot be: its checksum does not hold."""
    if not key.startswith(PREFIX):
        return False
    body, checksum = key[:-_CHECKSUM_LENGTH], key[-_CHECKSUM_LENGTH:]
    return _KEY.fullmatch(key) is None or checksum != _checksum(body)


def hint(key: Secret) -> str:
    """Return the beginning of a key, by which people know it again; less of a short one."""
    value = key.reveal()
    return value[: min(HINT_LENGTH, len(value) // 3)]


def check_foreign(key: Secret) -> None:
    """Refuse a key from elsewhere that is weak, cannot be sent in a header, or is one of ours, mistyped.

    Raises:
        UsageError: It is; the message does not repeat it.
    """
    value = key.reveal()
    if is_mistyped(value):
        raise UsageError(
            "this is a key of relayd with a typing error: its checksum does not hold",
            remedy="Copy the whole key, from sk-relayd- to its end.",
        )
    if len(value) < SHORTEST_KEY:
        raise UsageError(
            f"a key of {len(value)} characters can be guessed, at least {SHORTEST_KEY} are needed",
            remedy="Have relayd make one: `relayd keys create NAME`.",
        )
    if len(value) > LONGEST_KEY:
        raise UsageError(
            f"a key has at most {LONGEST_KEY} characters", remedy="Give the key alone, in one line."
        )
    if not all("!" <= one <= "~" for one in value):
        raise UsageError("a key may hold printable ASCII only, without spaces")


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
