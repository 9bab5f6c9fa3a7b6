"""Questions of a guided start, answered by a person or by each first choice."""

from collections.abc import Callable, Sequence

SKIP = "-"
"""What a person types to leave a step out."""


class Guide:
    """Asks questions, or takes the first choice of each.

    Args:
        ask: Shows a question and returns what was typed; None takes the first choice.
        show: Shows a line.
    """

    def __init__(self, ask: Callable[[str], str] | None, show: Callable[[str], None]) -> None:
        self._ask = ask
        self.show = show

    @property
    def asks(self) -> bool:
        """Whether a person answers."""
        return self._ask is not None

    def choose(self, question: str, options: Sequence[str], *, others: str = "") -> str | None:
        """Return the option that is chosen; None if the step is left out.

        Args:
            question: What is asked.
            options: What there is to choose from, the first choice first.
            others: What any other text that is typed would be; "" takes only an option.
        """
        if self._ask is None:
            return options[0] if options else None
        listed = "  ".join(f"{number} {option}" for number, option in enumerate(options, start=1))
        enter = f"Enter: {options[0]}, " if options else ""
        prompt = f"{question}  {listed}\n({enter}{SKIP}: skip{f', or {others}' if others else ''}) "
        while True:
            typed = self._typed(prompt)
            if typed == SKIP or not (typed or options):
                return None
            found = _meant(typed, options) or (typed if others and not typed.isdecimal() else "")
            if found:
                return found
            self.show(_refusal(typed, len(options), others))

    def agrees(self, question: str) -> bool:
        """Return whether something shall be done; Enter does it."""
        if self._ask is None:
            return True
        while True:
            typed = self._typed(f"{question} [Y/n] ").casefold()
            if typed in {"", "y", "yes"}:
                return True
            if typed in {"n", "no", SKIP}:
                return False
            self.show("Type y or n.")

    def _typed(self, prompt: str) -> str:
        """Return what is typed; the end of the input leaves the step out."""
        try:
            return self._ask(prompt).strip() if self._ask else ""
        except EOFError:
            return SKIP


def _refusal(typed: str, count: int, others: str) -> str:
    """Return why what was typed is not an answer, and what would be one."""
    numbers = "1" if count == 1 else f"a number from 1 to {count}"
    choices = ([numbers] if count else []) + ([others] if others else []) + [f"{SKIP} to skip"]
    return f"There is no choice {typed}. Type {', '.join(choices[:-1])} or {choices[-1]}."


def _meant(typed: str, options: Sequence[str]) -> str:
    """Return the option of a number, a name, or nothing typed; "" if it is none of them."""
    if not typed:
        return options[0]
    numbered = {str(number): option for number, option in enumerate(options, start=1)}
    return numbered.get(typed) or next((one for one in options if one == typed.casefold()), "")
