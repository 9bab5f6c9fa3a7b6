"""Text of a model as it comes, with line breaks between words instead of inside them."""

from unicodedata import east_asian_width

_FENCE = "```"


class WordWrap:
    """Breaks a stream of text into lines; code between fences keeps its own.

    A word is shown once it is known to be whole, so that no line has to be taken back.

    Args:
        columns: Width of a line; 0 breaks nothing.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._at = 0
        self._word = ""
        self._line = ""
        self._in_code = False

    def __repr__(self) -> str:
        return f"<WordWrap to {self._columns} columns: at {self._at}, {self._word!r} waits>"

    def feed(self, text: str) -> str:
        """Return what can be shown now."""
        return text if self._columns == 0 else "".join(map(self._take, text))

    def end(self) -> str:
        """Return what still waits."""
        return self._shown_word()

    def _take(self, character: str) -> str:
        if character == "\n":
            shown = self._shown_word() + character
            self._in_code ^= self._line.lstrip().startswith(_FENCE)
            self._at, self._line = 0, ""
            return shown
        self._line += character
        if self._in_code or self._line.lstrip().startswith(_FENCE):
            return self._shown_word() + character
        if character.isspace():
            shown = self._shown_word()
            if self._at >= self._columns:
                return shown  # the break stands for the space
            self._at += 1
            return shown + character
        self._word += character
        # what has no spaces may be broken anywhere
        return self._shown_word() if east_asian_width(character) in "WF" else ""

    def _shown_word(self) -> str:
        word, self._word = self._word, ""
        width = width_of(word)
        if word and self._at and self._at + width > self._columns:
            self._at = width
            return f"\n{word}"
        self._at += width
        return word


def width_of(text: str) -> int:
    """Return how many columns a text takes."""
    return sum(2 if east_asian_width(one) in "WF" else 1 for one in text)
