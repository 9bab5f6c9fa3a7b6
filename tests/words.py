"""The words that relayd's text avoids, each with a plainer twin, and where that text is.

Read are docstrings, comments and messages of `relayd/`, and the documents. Rooms in `UNREVISED` are not
yet rewritten: who has rewritten one takes it out.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache

from tests.sources import ROOT, Source, comments, every, ours

UNREVISED: frozenset[str] = frozenset()
"""Rooms, modules of the top level, and the documents, whose text is still to be rewritten."""

DOCUMENTS = (
    "README.md",
    ".github/CONTRIBUTING.md",
    "relay.toml.example",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / ".github" / "docs").glob("*.md")),
)

PLAINER: Mapping[str, str] = {
    r"(?:tells?|telling|told)(?! (?:\w+ ){0,3}apart)": "reports, returns, given, passed",
    r"hears?|heard|unheard|hearing": "receives, reads, learns of",
    r"somebody|someone|nobody|anybody|everybody|whoever|whomever": "name it: a client, another process",
    r"lies|lie|lying": "is, is stored",
    r"dies|died|dying|death": "exits, ends, is lost",
    r"wish|wishes|wished|wishers?": "setting, configuration, desired state",
    r"speaks?|spoke|spoken": "sends, accepts, uses the protocol of",
    r"says|said": "reports, states, returns, contains",
    r"heirs?|heritage|estate": "successor, hand-over state",
    r"knocks?|riddle|for ever": "connects; is unknown; without limit",
    r"(?:comes?|came) along": "is sent, is used",
    r"without (?:a word|leave)": "silently, with no arguments; without permission",
    r"borne|beneath|lest|deem(?:s|ed)?|heed(?:s|ed)?|hitherto|henceforth|whilst|naught": "a word people say",
    r"through the door|gets? in without": "through relayd; connects without",
    r"of unknown size|they are there": "leave it out; 3 files found",
    r"go(?:es)? on with (?:what|it|that)": "continues, resumes",
}
"""Word, as a regular expression -> what the field says."""

_UNPLAIN = re.compile(rf"\b(?:{'|'.join(PLAINER)})\b", re.IGNORECASE)
"""Any of them: most texts have none, and are searched once."""

DENIAL = re.compile(
    r"(?<![Tt]here )\b(?:is|are) no (?!longer|more|less|fewer|larger|smaller|bigger|later|earlier|other)"
    r"(?:[\w`{]|$)"
)
"""`X is no Y`, where an engineer writes `X is not a valid Y`."""


def is_sentence(text: str) -> bool:
    """Return whether a remedy is one; `{}` and a NUL stand for values that are put in."""
    first, _, lines = text.partition("\n")
    if not text or text.startswith("\0"):
        return True
    ends = (".", ":", ".)") if lines else (".", ".)", "?")
    return first[0] in "{`" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ" and first.endswith(ends)


def room(source: Source) -> str:
    return source.name.split("/")[1]


def context(text: str, found: re.Match[str]) -> str:
    return " ".join(text[max(0, found.start() - 30) : found.end() + 30].split())


@cache
def prose() -> tuple[tuple[str, str], ...]:
    """Return where a text is, and the text: docstrings, messages, comments, documents."""
    return (*_of_code(), *_of_documents())


def _of_code() -> Iterator[tuple[str, str]]:
    for source, node in every(ast.Constant, (one for one in ours() if room(one) not in UNREVISED)):
        if isinstance(node.value, str):
            yield source.at(node.lineno), node.value
    for source, line, comment in comments():
        if source.name.startswith("relayd/") and room(source) not in UNREVISED:
            yield source.at(line), comment


def _of_documents() -> Iterator[tuple[str, str]]:
    for name in () if "documents" in UNREVISED else DOCUMENTS:
        if (ROOT / name).exists():
            for number, line in enumerate((ROOT / name).read_text().splitlines(), start=1):
                yield f"{name}:{number}", line


def unplain(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Yield each word that has a plainer twin, and the twin."""
    if _UNPLAIN.search(text):
        for word, twin in PLAINER.items():
            yield from ((found, twin) for found in re.finditer(rf"\b(?:{word})\b", text, re.IGNORECASE))


def remedies(source: Source) -> Iterator[tuple[int, str]]:
    """Yield every remedy that is written out: an argument, an assignment, or that of a finding."""
    for _, keyword in every(ast.keyword, [source]):
        if keyword.arg == "remedy":
            yield from ((keyword.value.lineno, text) for text in spelled(keyword.value))
    for _, assigned in every(ast.Assign, [source]):
        if ast.unparse(assigned.targets[0]).endswith("remedy"):
            yield from ((assigned.lineno, text) for text in spelled(assigned.value))
    for _, call in every(ast.Call, [source]):
        if isinstance(call.func, ast.Name) and call.func.id == "Finding" and len(call.args) > 3:
            yield from ((call.lineno, text) for text in spelled(call.args[3]))


def spelled(node: ast.expr) -> list[str]:
    """Return what an expression of strings may become; a value that is put in is `{}`."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)]
    if isinstance(node, ast.IfExp):
        return [*spelled(node.body), *spelled(node.orelse)]
    return ["\0"]
