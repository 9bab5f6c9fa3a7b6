"""The base of every table of relay.toml."""

import msgspec


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of relay.toml: unknown keys are errors, values never change."""
