"""A conversation as a person has it: its messages, commands that begin with a slash, pictures."""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relayd.client.chat import Conversation, Message, Turn
from relayd.errors import RelaydError, StateError, UsageError
from relayd.files import expanded, is_file, write_atomic
from relayd.units import MIB, show_bytes

HELP = '''\
/help          this list
/bye           leave; Ctrl-D does too
/clear         forget all messages
/system TEXT   instructions that come first; without TEXT they are shown
/model NAME    go on with another model
/retry         answer the last question again
/save FILE     write the conversation to a file, as Markdown
"""            begins and ends a text of several lines
A picture is shown to a model that sees by its file: what is on ./cat.png?
Ctrl-C ends an answer, twice leaves.'''

PICTURES: Mapping[str, str] = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
}
"""Suffix of a file -> its media type."""

LARGEST_PICTURE_BYTES = 20 * MIB
"""The body of a request holds a third more, and 64 MiB by default."""

_SUFFIX = rf"(?:{'|'.join(map(re.escape, PICTURES))})"
_PICTURE = re.compile(rf"""["']([^"']+{_SUFFIX})["']|(\S+{_SUFFIX})""", re.IGNORECASE)
_COMMAND = re.compile(r"/([a-z?]*)(?:\s+(.*))?", re.DOTALL)


@dataclass(slots=True)
class Talk:
    """A conversation with a model.

    Attributes:
        conversation: A client of the daemon.
        model: Who is asked.
        named: Returns the model that a name means; raises `RelaydError` for none.
        note: Shows a line besides the answers.
        ask: Has the model answer the messages, and shows it; `KeyboardInterrupt` cuts it short.
        system: Instructions that come first; "" for none.
        messages: Questions and answers, without the instructions.
    """

    conversation: Conversation
    model: str
    named: Callable[[str], str]
    note: Callable[[str], None]
    ask: Callable[["Talk"], Turn]
    system: str = ""
    messages: list[Message] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Talk with {self.model}: {len(self.messages)} messages>"

    @property
    def sent(self) -> list[Message]:
        """What is sent: instructions, then questions and answers."""
        first: list[Message] = [{"role": "system", "content": self.system}] if self.system else []
        return first + self.messages

    def take(self, line: str) -> bool:
        """Carry out a command or have a question answered, and return whether the conversation goes on.

        Raises:
            KeyboardInterrupt: The answer was cut short: it does not become part of the conversation.
            NoDaemonError: The daemon is gone.
        """
        command = _COMMAND.fullmatch(line)
        if command is None:
            self.question(line)
            return True
        word, rest = command[1], (command[2] or "").strip()
        if word in {"bye", "exit", "quit"}:
            return False
        commands: dict[str, Callable[[str], None]] = {
            "help": self._help, "?": self._help, "": self._help, "clear": self._clear,
            "system": self._system, "model": self._model, "retry": self._retry, "save": self._save,
        }  # fmt: skip
        if word in commands:
            commands[word](rest)
        else:
            self.note(f"/{word} is not a command. /help lists them.")
        return True

    def question(self, words: str) -> None:
        """Have words answered; what failed is left out of the conversation.

        Raises:
            KeyboardInterrupt: The answer was cut short.
            RelaydError: It could not be asked.
        """
        self._answer({"role": "user", "content": self._content(words)})

    def _answer(self, question: Message) -> None:
        self.messages.append(question)
        try:
            turn = self.ask(self)
        except (KeyboardInterrupt, RelaydError):
            self.messages.pop()
            raise
        self.messages.append({"role": "assistant", "content": turn.text})

    def _content(self, words: str) -> object:
        """Return a question with the pictures that it names, for a model that sees them."""
        pictures = pictures_in(words)
        if not pictures:
            return words
        if "vision" not in self.conversation.capabilities(self.model):
            names = ", ".join(one.name for one in pictures)
            self.note(f"{self.model} does not see pictures: {names} is sent as text.")
            return words
        return [{"type": "text", "text": words}, *map(_picture, pictures)]

    def _help(self, _: str) -> None:
        self.note(HELP)

    def _clear(self, _: str) -> None:
        self.messages.clear()
        self.note("The conversation is forgotten.")

    def _system(self, text: str) -> None:
        if text:
            self.system = text
        self.note(f"Instructions: {self.system or 'none'}")

    def _model(self, name: str) -> None:
        try:
            self.model = self.named(name) if name else self.model
        except RelaydError as error:
            self.note(f"{error.message}. {error.remedy}")
            return
        self.note(f"The model is {self.model}.")

    def _retry(self, _: str) -> None:
        if len(self.messages) < 2:
            self.note("There is no question to answer again.")
            return
        *self.messages, question, answer = self.messages
        try:
            self._answer(question)
        except (KeyboardInterrupt, RelaydError):
            self.messages += [question, answer]
            raise

    def _save(self, name: str) -> None:
        if not name:
            self.note("Write /save FILE.")
            return
        path = expanded(name)
        try:
            write_atomic(path.absolute(), transcript(self.model, self.sent).encode())
        except StateError as error:
            self.note(error.message)
        else:
            self.note(f"Saved to {path}")


def pictures_in(words: str) -> list[Path]:
    """Return the files of pictures that a text names."""
    named = (expanded(quoted or plain) for quoted, plain in _PICTURE.findall(words))
    return [path for path in dict.fromkeys(named) if is_file(path)]


def transcript(model: str, messages: Sequence[Message]) -> str:
    """Return a conversation as Markdown."""
    names = {"system": "Instructions", "user": "Question", "assistant": model}
    parts = (f"## {names[str(one['role'])]}\n\n{_text(one['content'])}\n" for one in messages)
    return "\n".join(parts)


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(one["text"] for one in parts if one.get("type") == "text")


def _picture(path: Path) -> dict[str, object]:
    """Return a picture as a part of a message.

    Raises:
        UsageError: It is too large, or cannot be read.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_PICTURE_BYTES:
            raise UsageError(
                f"{path} has {show_bytes(size)}",
                remedy=f"Pictures may have {show_bytes(LARGEST_PICTURE_BYTES)}.",
            )
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    return {"type": "image_url", "image_url": {"url": f"data:{PICTURES[path.suffix.lower()]};base64,{data}"}}
