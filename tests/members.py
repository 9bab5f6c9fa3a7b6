"""Rewrite `.github/MEMBERS.md`, what clients may send to each path: `python -m tests.members`."""

from collections.abc import Iterator, Mapping
from itertools import groupby

from relayd.router import LLAMA_SERVER, OLLAMA, BodyRules, constraints, gbnf, schema
from tests.sources import ROOT

PAGE = ROOT / ".github" / "MEMBERS.md"

_HEAD = """# Members of a request's body

What reaches `llama-server`, path by path, and what is read of requests to Ollama's API; written by
`python -m tests.members` from the tables that relayd applies. `null` means the same as a member that is left
out. A value that is not accepted is answered 400 with the name of the member. Other members are dropped, or
refuse the request (`[server] unknown_members`); names in `[server] extra_members` pass. `X-Relayd-Changed`
names what was dropped. The tables cover paths that relayd does not serve yet; `docs/api.md` lists those
that it does.
"""

_LIMITS = """## Limits of what becomes a grammar

Of tools and schemas together (`constraints`), of a grammar and of each pattern (`gbnf`), and of the schemas
of one request (`schema`); each is explained where it is defined, in `relayd/router/`.

| limit | |
|---|---|"""


def page() -> str:
    """Return the page as it should be."""
    return "\n".join([_HEAD, *_tables({**LLAMA_SERVER, **OLLAMA}), _limits()])


def _limits() -> str:
    rows = {
        f"`{name}` of `{module.__name__.rpartition('.')[2]}`": value
        for module in (constraints, gbnf, schema)
        for name, value in vars(module).items()
        if name.startswith(("MOST_", "LONGEST_"))
    }
    return "\n".join([_LIMITS, *(f"| {name} | {value:,} |" for name, value in rows.items()), ""])


def _tables(endpoints: Mapping[str, BodyRules]) -> Iterator[str]:
    for rules, paths in groupby(endpoints, key=lambda path: endpoints[path]):
        yield f"## {' · '.join(f'`{path}`' for path in paths)}\n"
        if rules.prompts:
            yield f"At most {rules.most_prompts:,} items in `{'` or `'.join(rules.prompts)}`.\n"
        yield "| member | accepted |\n|---|---|"
        yield from (f"| `{name}` | {member.wants} |" for name, member in sorted(rules.members.items()))
        if not rules.internal:
            yield ""
            continue
        yield f"\nNever from clients: {', '.join(f'`{name}`' for name in sorted(rules.internal))}.\n"


if __name__ == "__main__":
    PAGE.write_text(page())
