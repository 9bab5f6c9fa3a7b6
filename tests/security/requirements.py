"""The requirements of security, each with the tests that prove it: `python -m tests.security.requirements`.

A test carries the number of what it proves in its name (`test_r5_…`), wherever it stands. The command writes
the table of SECURITY.md; a test keeps that current, and complete.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from tests.sources import every_function, sources

SECURITY = Path(__file__).parents[2] / ".github" / "SECURITY.md"

REQUIREMENTS: Mapping[int, str] = {
    1: "This machine alone is listened on by default",
    2: "Other machines are let in only with a key, or by an option that is explicit",
    3: "A wildcard, and a name with any address that is not loopback, count as other machines",
    4: "Every request names this machine in Host",
    5: "Pages of other origins are refused with every method",
    6: "CORS headers are relayd's own, for listed origins only",
    7: "Browsers declare JSON, which forms cannot",
    8: "A key comes in one of two headers, and two different ones are refused",
    9: "Routes that need no key are listed; health is one word to strangers",
    10: "Keys have 256 random bits and are kept as SHA-256; weak ones are refused",
    11: "A key is looked up by its digest",
    12: "A missing and a wrong key get the same bytes; too many wrong ones wait",
    13: "A key opens what its scopes name and nothing else",
    14: "The control socket is 0600 in a folder that is 0700, for its own user",
    15: "The control socket takes a closed set of verbs with typed arguments of at most 64 KiB",
    16: "No secret is in an argument list",
    17: "Each life of a replica has a key of its own, which is in no log, status or record",
    18: "A client's credentials are not forwarded; a replica gets its own key",
    19: "A secret prints as `***`, also in a traceback",
    20: "Keys and prompts are in no log, error or status",
    21: "Folders are 0700, files 0600; configuration that others can write is refused",
    22: "Replicas listen on unix sockets, or on loopback with a random key",
    23: "A replica serves once it has accepted its key and refused a request without",
    24: "A port that is taken is replaced by another",
    25: "What a replica answers is not trusted: framing is checked, redirects are not followed",
    26: "Nothing in a request chooses where it goes but the name of the model",
    27: "Forwarded headers count from trusted proxies only",
    28: "HEAD, OPTIONS, pipelines, HTTP/1.0 and Upgrade have defined answers",
    29: "Bad framing is 400 and closes; the C parser is required and reads no head otherwise than relayd",
    30: "Heads, bodies, idle connections and slow readers have deadlines",
    31: "Bodies are limited as they stream; compressed ones are refused",
    32: "Depth and structure of JSON are limited; a name that comes twice is refused",
    33: "Members of a body are an allow-list with ranges; no address in it is fetched",
    34: "Paths are exact; the engine's settings can be read and never written",
    35: "Connections are limited, in all and by peer; health checks get through",
    36: "A client that leaves frees its slot",
    37: "One bad client does not hold up the others",
    38: "Names are never paths",
    39: "Model files are regular files; from afar only those in folders of models",
    40: "Configuration is TOML, expands nothing but named variables, and knows every key",
    41: "State that makes no sense is put aside; a pid from a file is checked before it is signalled",
    42: "Links in the place of own files are not followed",
    43: "A program that every user can change is not run",
    44: "Flags that open a door are refused in every spelling",
    45: "A replica's environment is an allow-list",
    46: "A replica gets no descriptor but log and lock, and dumps no core",
    47: "A value that begins like an option is refused where a file or a name is meant",
    48: "Downloads are https with a digest and a limit of size",
    49: "A line of the log stays one line",
    50: "Control characters reach no terminal",
    51: "Text from outside is no markup",
    52: "Changes leave a line with who made them, never with a key",
    53: "Figures need the metrics scope once there are keys",
    54: "Logs have a limit",
    55: "Headers of model files are read within limits of counts, sizes and time",
    56: "Damaged model files are refused, and nothing else comes out of them",
    57: "A digest that is promised is compared",
    58: "Templates and other metadata are never evaluated by relayd",
    59: "A build of llama.cpp that is old is named, with what it lacks",
    60: "The system unit is fenced in and lets GPUs work",
    61: "As root relayd warns; the service has a user of its own",
    62: "Replicas can be run in a sandbox",
    63: "Dependencies are few and audited, and CI actions are pinned",
    64: "Vulnerabilities are reported in private; the threat model and its limits are written down",
}

WITHOUT_TEST: Mapping[int, str] = {}
"""Requirements that no test proves, and why: none now."""

_NUMBERS = re.compile(r"(?<=_)r(\d+)(?=_)")


def files_by_number() -> dict[int, list[str]]:
    """Return the files with tests of each requirement."""
    found: dict[int, list[str]] = {}
    for source, node in every_function(sources()):
        if not re.match(r"test_r\d+_", node.name):
            continue
        for number in _NUMBERS.findall(node.name):
            files = found.setdefault(int(number), [])
            if source.name not in files:
                files.append(source.name)
    return found


def table() -> str:
    """Return the table as SECURITY.md has it."""
    tests = files_by_number()
    lines = ["| | requirement | proved by, or why not |", "|---|---|---|"]
    for number, requirement in REQUIREMENTS.items():
        files = ", ".join(f"`{name.removeprefix('tests/')}`" for name in sorted(tests.get(number, ())))
        lines.append(f"| R{number} | {requirement} | {files or WITHOUT_TEST.get(number, '')} |")
    return "\n".join(lines)


def regenerated(text: str) -> str:
    """Return SECURITY.md with the table as it should be."""
    return re.sub(
        r"(<!-- requirements: begin -->\n).*?(<!-- requirements: end -->)",
        lambda found: f"{found[1]}{table()}\n{found[2]}",
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    SECURITY.write_text(regenerated(SECURITY.read_text("utf-8")), "utf-8")
