"""What may a client send to Ollama's API, path by path (v0.17.4)?

From `api/types.go` and `server/routes.go` of github.com/ollama/ollama; and from what its clients were seen to
send. `options` are checked as what llama-server gets of them; those without a counterpart there are ignored.
"""

from collections.abc import Mapping

import msgspec

from relayd.errors import RequestError
from relayd.router.constraints import check_schema, check_tools
from relayd.router.lengths import of_conversation, of_prompts
from relayd.router.llamaserver import LLAMA_SERVER
from relayd.router.media import MOST_MESSAGES, check_conversation
from relayd.router.members import (
    BodyRules,
    MemberRule,
    anything,
    explain,
    flag,
    flag_or_text,
    number,
    shaped,
    text,
)
from relayd.units import KIB, MIB

OPTIONS: Mapping[str, str] = {
    "num_predict": "n_predict",
    "num_keep": "n_keep",
    **{
        name: name
        for name in (
            "seed", "temperature", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n",
            "repeat_penalty", "presence_penalty", "frequency_penalty", "mirostat", "mirostat_tau",
            "mirostat_eta", "stop",
        )
    },
}  # fmt: skip
"""Option -> the member of llama-server that it becomes. `num_ctx` and what else would need another process
are ignored: the context is set in relay.toml."""

_ENGINE = {name: LLAMA_SERVER["/completion"].members[member] for name, member in OPTIONS.items()}
_COUNTS: Mapping[str, MemberRule] = {
    "num_predict": number(-2, 2**31 - 1),
    "repeat_last_n": number(-1, 256 * KIB),
}
_RULES = {**_ENGINE, **_COUNTS}
_members = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)
_IGNORED = anything(64 * KIB)


def check_options(raw: msgspec.Raw) -> None:
    """Refuse an option that llama-server would not take.

    Raises:
        RequestError: An option is not of its type, or out of its range.
        msgspec.ValidationError: They are not an object.
    """
    if len(memoryview(raw)) > MIB:
        raise msgspec.ValidationError
    for name, value in (_members.decode(raw) or {}).items():
        if rule := _RULES.get(name):
            try:
                rule.check(value)
            except msgspec.DecodeError as error:
                raise explain(f"options.{name}", value, rule) from error


def check_answer_format(raw: msgspec.Raw) -> None:
    """Refuse a format that is neither `json` nor a schema within the limits; an empty one is none.

    Raises:
        RequestError: The schema costs too much, or a word is not a format.
        msgspec.ValidationError: It is neither a string nor an object.
    """
    if bytes(memoryview(raw)[:1]) != b'"':
        check_schema(raw)
    elif bytes(memoryview(raw)[:16]) not in (b'""', b'"json"'):
        raise RequestError("format is a string other than 'json'.", remedy="Send 'json' or a JSON schema.")


_GENERAL: Mapping[str, MemberRule] = {
    "model": text(512),
    "keep_alive": anything(64),
    "options": MemberRule("an object of options", check_options),
}

_GENERATION: Mapping[str, MemberRule] = {
    **_GENERAL,
    "stream": flag(),
    "format": MemberRule("'json', or a JSON schema within the limits below", check_answer_format),
    "think": flag_or_text(16),
    "logprobs": flag(),
    "top_logprobs": number(0, 64),
    "truncate": _IGNORED,
    "shift": _IGNORED,
}

_IMAGES = shaped(b"[", "a list of images, each as base64")

_CHAT: Mapping[str, MemberRule] = {
    **_GENERATION,
    "messages": MemberRule(
        f"a list of at most {MOST_MESSAGES:,} messages, each an object", check_conversation
    ),
    "tools": MemberRule("a list of tools, their schemas together within the limits below", check_tools),
}

_GENERATE: Mapping[str, MemberRule] = {
    **_GENERATION,
    "prompt": shaped(b'"', "a string"),
    "suffix": shaped(b'"', "a string"),
    "system": shaped(b'"', "a string"),
    "template": _IGNORED,
    "context": shaped(b"[", "a list of token ids"),
    "raw": flag(),
    "images": _IMAGES,
}

_EMBED: Mapping[str, MemberRule] = {
    **_GENERAL,
    "input": shaped(b'"[', "a string or a list of strings"),
    "dimensions": number(0, 2**31 - 1),
    "truncate": _IGNORED,
}

_EMBEDDINGS: Mapping[str, MemberRule] = {**_GENERAL, "prompt": shaped(b'"', "a string")}

_NAMING: Mapping[str, MemberRule] = {"model": text(512), "name": text(512)}

OLLAMA: Mapping[str, BodyRules] = {
    "/api/chat": BodyRules(_CHAT, constraints=("format", "tools"), streams=True,
                           length=of_conversation("messages")),
    "/api/generate": BodyRules(_GENERATE, constraints=("format",), streams=True,
                               length=of_prompts("prompt")),
    "/api/embed": BodyRules(_EMBED, prompts=("input",), most_prompts=2048, length=of_prompts("input")),
    "/api/embeddings": BodyRules(_EMBEDDINGS, length=of_prompts("prompt")),
    "/api/show": BodyRules(
        {**_NAMING, **dict.fromkeys(("system", "template", "options", "verbose"), _IGNORED)}
    ),
    "/api/pull": BodyRules(
        {**_NAMING, "stream": flag(), **dict.fromkeys(("insecure", "username", "password"), _IGNORED)},
        streams=True,
    ),
}  # fmt: skip
"""Each path of Ollama that takes a body of a client."""
