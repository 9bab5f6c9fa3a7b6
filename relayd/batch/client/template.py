"""Prompt templates: `{name}` is replaced by a value of the row, `{{` and `}}` are braces (pure)."""

import string
from collections.abc import Mapping

from relayd.errors import UsageError


class PromptTemplate:
    """A text with places for values.

    Args:
        text: The template.

    Raises:
        UsageError: A brace is not closed, or a place is more than a name.
    """

    def __init__(self, text: str) -> None:
        try:
            self._pieces = [
                (before, name, bool(form or conversion))
                for before, name, form, conversion in string.Formatter().parse(text)
            ]
        except ValueError as error:
            raise UsageError(
                f"the template {text!r} cannot be read: {error}", remedy="Write `{{` for a brace of the text."
            ) from error
        for _, name, formatted in self._pieces:
            if name is not None and (formatted or not name.strip()):
                raise UsageError(
                    f"the template {text!r} has a place that is not a name",
                    remedy="Write a column of the input in braces, such as `{text}`.",
                )
        self.text = text

    def __repr__(self) -> str:
        return f"<PromptTemplate of {', '.join(self.names) or 'no values'}>"

    @property
    def names(self) -> list[str]:
        """What is put in, in order."""
        return [name for _, name, _ in self._pieces if name is not None]

    def filled(self, row: Mapping[str, str]) -> str:
        """Return the text with the values of a row.

        Raises:
            UsageError: The row lacks one.
        """
        missing = [name for name in self.names if name not in row]
        if missing:
            raise UsageError(
                f"the template asks for {{{missing[0]}}}, which the input lacks",
                remedy=f"There are: {', '.join(row) or 'none'}.",
            )
        return "".join(before + ("" if name is None else row[name]) for before, name, _ in self._pieces)
