"""The words that relayd's text avoids, each with a plainer twin, and where that text is.

Read are docstrings, comments and messages of `relayd/`, and the documents. Rooms in `UNREVISED` are not
yet rewritten: who has rewritten one takes it out.
"""

import ast
import re
import tokenize
from collections.abc import Iterator, Mapping

from tests.sources import ROOT, Source, every_node, every_token, ours

UNREVISED: frozenset[str] = frozenset()
"""Rooms, modules of the top level, and the documents, whose text is still to be rewritten."""

DOCUMENTS = ("README.md", ".github/CONTRIBUTING.md", "relay.toml.example")

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
}
"""Word, as a regular expression -> what the field says."""

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


def prose() -> Iterator[tuple[str, str]]:
    """Yield where a text is, and the text: docstrings, messages, comments, documents."""
    for source, node in every_node(one for one in ours() if room(one) not in UNREVISED):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield source.at(node.lineno), node.value
    for source, token in every_token(tokenize.COMMENT):
        if source.name.startswith("relayd/") and room(source) not in UNREVISED:
            yield source.at(token.start[0]), token.string
    for name in () if "documents" in UNREVISED else DOCUMENTS:
        if (ROOT / name).exists():
            for number, line in enumerate((ROOT / name).read_text().splitlines(), start=1):
                yield f"{name}:{number}", line


def remedies(source: Source) -> Iterator[tuple[int, str]]:
    """Yield every remedy that is written out: an argument, an assignment, or that of a finding."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.keyword) and node.arg == "remedy":
            yield from ((node.value.lineno, text) for text in spelled(node.value))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith("remedy"):
            yield from ((node.lineno, text) for text in spelled(node.value))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding" and len(node.args) > 3:
            yield from ((node.lineno, text) for text in spelled(node.args[3]))


def spelled(node: ast.expr) -> list[str]:
    """Return what an expression of strings may become; a value that is put in is `{}`."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values)]
    if isinstance(node, ast.IfExp):
        return [*spelled(node.body), *spelled(node.orelse)]
    return ["\0"]
