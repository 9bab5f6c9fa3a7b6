"""What may a client send to llama-server, path by path (b11434)?

From `server-schema.cpp`, `server-common.cpp`, `server-chat.cpp` and its README; and from what clients of
these APIs were seen to send, most of which the engine ignores.
"""

from collections.abc import Mapping

from relayd.router.constraints import (
    check_format,
    check_grammar,
    check_output_config,
    check_schema,
    check_text,
    check_tools,
)
from relayd.router.lengths import Measure, nothing, of_conversation, of_prompts
from relayd.router.media import MOST_MESSAGES, check_conversation, check_images, check_inputs, check_items
from relayd.router.members import (
    BodyRules,
    MemberRule,
    anything,
    biases,
    check_thread,
    flag,
    flag_or_number,
    flag_or_text,
    number,
    real,
    refused,
    shaped,
    text,
    texts,
)
from relayd.units import KIB

_INT32 = 2**31 - 1
_MOST_PENALISED = 256 * KIB
"""Tokens a penalty may look back at: the longest usual context. The engine allocates 4 bytes for each at
once, 8 for `dry_penalty_last_n`."""

_MOST_PROBS = 64
"""Probabilities of one token; the engine takes 850 bytes for each of an unstreamed answer."""

_MOST_PROMPTS = 2048
"""What OpenAI takes in one request for embeddings."""

_IGNORED = anything(64 * KIB)

INTERNAL = frozenset({
    "__metadata_user_id", "chat_format", "chat_parser", "generation_prompt", "grammar_lazy",
    "grammar_triggers", "grammar_type", "id_slot", "message_delimiters", "preserved_tokens",
    "reasoning_budget_end_tag", "reasoning_budget_end_tags", "reasoning_budget_start_tag", "slot_id",
})  # fmt: skip
"""What only the engine's own chat code and relayd set. From a client they end the engine (`grammar_triggers`
and `chat_parser` are read without a check), or, pinned to a busy slot, corrupt the answer it is giving."""

_GENERAL: Mapping[str, MemberRule] = {
    "model": text(512),
    "user": _IGNORED,
    "metadata": _IGNORED,
}

_STREAM: Mapping[str, MemberRule] = {
    "stream": flag(),
    "stream_options": anything(4 * KIB),
    "return_progress": flag(),
    "timings_per_token": flag(),
    "sse_ping_interval": number(1, 30),
    "verbose": flag(),
}

_LENGTH: Mapping[str, MemberRule] = {
    "n_predict": number(-1, _INT32),
    "max_tokens": number(-1, _INT32),
    "max_completion_tokens": number(-1, _INT32),
    "n": number(1, 128),
    "n_cmpl": number(1, 128),
    "n_keep": number(-1, _INT32),
    "n_discard": number(0, _INT32),
    "n_indent": number(0, 4096),
    "n_cache_reuse": number(0, _INT32),
    "t_max_prompt_ms": number(-1, 2**53),
    "t_max_predict_ms": number(-1, 2**53),
    "stop": texts(256, KIB),
    "ignore_eos": flag(),
}

_SAMPLING: Mapping[str, MemberRule] = {
    "seed": real(),
    "temperature": real(),
    "dynatemp_range": real(),
    "dynatemp_exponent": real(),
    "top_k": number(-_INT32, _INT32),
    "top_p": real(),
    "min_p": real(),
    "typical_p": real(),
    "top_n_sigma": real(),
    "xtc_probability": real(),
    "xtc_threshold": real(),
    "repeat_last_n": number(-1, _MOST_PENALISED),
    "repeat_penalty": real(),
    "presence_penalty": real(),
    "frequency_penalty": real(),
    "dry_multiplier": real(),
    "dry_base": real(),
    "dry_allowed_length": number(0, _INT32),
    "dry_penalty_last_n": number(-1, _MOST_PENALISED),
    "dry_sequence_breakers": texts(64, 64),
    "mirostat": number(0, 2),
    "mirostat_tau": real(),
    "mirostat_eta": real(),
    "adaptive_target": real(),
    "adaptive_decay": real(),
    "min_keep": number(0, 64 * KIB),
    "samplers": texts(32, 64),
    "logit_bias": biases(4096, 64),
    "backend_sampling": flag(),
    "grammar": MemberRule("a grammar (GBNF) within the limits below", check_grammar),
    "json_schema": MemberRule("a JSON schema within the limits below", check_schema),
}

_ANSWER: Mapping[str, MemberRule] = {
    "n_probs": number(0, _MOST_PROBS),
    "post_sampling_probs": flag(),
    "return_tokens": flag(),
    "response_fields": texts(256, 256),
    "cache_prompt": flag(),
    "lora": refused("Adapters are set in relay.toml, for every request to the model."),
}

_REASONING: Mapping[str, MemberRule] = {
    "reasoning_format": text(32),
    "reasoning_control": flag(),
    "reasoning_budget_tokens": number(-1, _INT32),
    "thinking_budget_tokens": number(-1, _INT32),
    "reasoning_budget_message": text(4 * KIB),
}

_GENERATION: Mapping[str, MemberRule] = {
    **_GENERAL,
    **_STREAM,
    **_LENGTH,
    **_SAMPLING,
    **_ANSWER,
    **_REASONING,
    "echo": flag(),
}

_OPENAI: Mapping[str, MemberRule] = dict.fromkeys(
    ("prompt_cache_key", "prompt_cache_retention", "safety_identifier", "service_tier", "store"), _IGNORED
)
"""Of OpenAI's API, and ignored by the engine."""

_COMPLETION: Mapping[str, MemberRule] = {
    **_GENERATION,
    "prompt": MemberRule(
        "a string, a list of token ids, an object with prompt_string, or a list of them", check_inputs
    ),
    "logprobs": flag_or_number(0, _MOST_PROBS),
    "best_of": _IGNORED,
    "suffix": _IGNORED,
    "continue_final_message": flag_or_text(32),
    "parse_tool_calls": flag(),
}

_TOOLS = MemberRule("a list of tools, their schemas together within the limits below", check_tools)

_MESSAGES = MemberRule(f"a list of at most {MOST_MESSAGES:,} messages, each an object", check_conversation)

_CHAT: Mapping[str, MemberRule] = {
    **_GENERATION,
    **_OPENAI,
    **dict.fromkeys(
        ("audio", "modalities", "prediction", "reasoning", "verbosity",
         "web_search_options"),
        _IGNORED,
    ),
    "functions": refused("Send them as tools."),
    "function_call": refused("Send tool_choice instead."),
    "messages": _MESSAGES,
    "tools": _TOOLS,
    "tool_choice": shaped(b'"{', "a string or an object"),
    "parallel_tool_calls": flag(),
    "response_format": MemberRule(
        "an object with a type, its schema within the limits below", check_format
    ),
    "reasoning_effort": text(64),
    "logprobs": flag(),
    "top_logprobs": number(0, _MOST_PROBS),
    "chat_template_kwargs": anything(64 * KIB),
    "add_generation_prompt": flag(),
    "continue_final_message": flag_or_text(32),
    "parse_tool_calls": flag(),
}  # fmt: skip

_RESPONSES: Mapping[str, MemberRule] = {
    **{name: member for name, member in _CHAT.items() if name not in {"messages", "n", "n_cmpl"}},
    **dict.fromkeys(("client_metadata", "include", "max_tool_calls", "truncation"), _IGNORED),
    "input": MemberRule("a string or a list of items, each an object", check_items),
    "instructions": shaped(b'"', "a string"),
    "max_output_tokens": number(-1, _INT32),
    "reasoning": anything(4 * KIB),
    "previous_response_id": shaped(b'"', "a string"),
    "background": refused("Send the request again without it.", unless=b"false"),
    "prompt": refused("Send its text as instructions and input."),
    "text": MemberRule("an object with format, its schema within the limits below", check_text),
    "conversation": refused("Send the whole conversation as input."),
}

_ANTHROPIC: Mapping[str, MemberRule] = {
    **{name: _GENERATION[name] for name in ("model", "metadata", "stream", "temperature", "top_p", "top_k")},
    **dict.fromkeys(
        ("cache_control", "context_management", "inference_geo", "service_tier", "speed"), _IGNORED
    ),
    "output_config": MemberRule("an object with effort, format or both", check_output_config),
    "output_format": MemberRule("an object with a type, its schema within the limits below", check_format),
    "max_tokens": number(-1, _INT32),
    "messages": _MESSAGES,
    "system": shaped(b'"[', "a string or a list of blocks"),
    "stop_sequences": texts(256, KIB),
    "tools": _TOOLS,
    "tool_choice": shaped(b"{", "an object with a type"),
    "thinking": anything(4 * KIB),
    "chat_template_kwargs": anything(64 * KIB),
    "thread": MemberRule("null, or left out", check_thread),
    "mcp_servers": refused("relayd calls no servers for clients."),
    "container": refused("There are no containers here."),
}

_EMBEDDING: Mapping[str, MemberRule] = {
    **_GENERAL,
    "input": MemberRule("a string, a list of token ids, or a list of them", check_inputs),
    "content": MemberRule("a string, a list of token ids, or a list of them", check_inputs),
    "encoding_format": text(32),
    "dimensions": number(1, _INT32),
    "embd_normalize": number(-1, _INT32),
}

_RERANK: Mapping[str, MemberRule] = {
    **_GENERAL,
    **dict.fromkeys(("max_chunks_per_doc", "max_tokens_per_doc", "priority", "truncation"), _IGNORED),
    "query": shaped(b'"', "a string"),
    "documents": shaped(b"[", "a list of strings, or of objects with a text"),
    "texts": shaped(b"[", "a list of strings"),
    "top_n": number(0, _INT32),
    "return_documents": flag(),
    "return_text": flag(),
}

_INFILL: Mapping[str, MemberRule] = {
    **_COMPLETION,
    "prompt": shaped(b'"', "a string"),
    "input_prefix": shaped(b'"', "a string"),
    "input_suffix": shaped(b'"', "a string"),
    "input_extra": shaped(b"[", "a list of objects with text and filename"),
}

_TOKENIZE: Mapping[str, MemberRule] = {
    "model": text(512),
    "content": shaped(b'"[', "a string, or a list of strings and token ids"),
    "add_special": flag(),
    "parse_special": flag(),
    "with_pieces": flag(),
}

_DETOKENIZE: Mapping[str, MemberRule] = {"model": text(512), "tokens": shaped(b"[", "a list of token ids")}

_CONTROL: Mapping[str, MemberRule] = {"model": text(512), "id": text(256), "action": text(64)}


_DECISION: Mapping[str, MemberRule] = {
    **_GENERAL,
    "state": MemberRule("a string, an object or a list", check_inputs),
    "images": MemberRule("a list of data: URLs", check_images),
    "questions": shaped(b"{", "an object of questions, each with a type"),
}


def _several(members: Mapping[str, MemberRule], *prompts: str, length: Measure = nothing) -> BodyRules:
    return BodyRules(members, INTERNAL, prompts, _MOST_PROMPTS, length=length)


_FAMILIES: Mapping[tuple[str, ...], BodyRules] = {
    ("/completion", "/completions", "/v1/completions"): _several(
        _COMPLETION, "prompt", length=of_prompts("prompt")
    ),
    (
        "/chat/completions",
        "/v1/chat/completions",
        "/chat/completions/input_tokens",
        "/v1/chat/completions/input_tokens",
        "/apply-template",
    ): BodyRules(_CHAT, INTERNAL, length=of_conversation("messages")),
    ("/responses", "/v1/responses", "/responses/input_tokens", "/v1/responses/input_tokens"): BodyRules(
        _RESPONSES, INTERNAL, length=of_conversation("input", "instructions")
    ),
    ("/v1/messages", "/v1/messages/count_tokens"): BodyRules(
        _ANTHROPIC, INTERNAL, length=of_conversation("messages", "system")
    ),
    ("/embedding", "/embeddings", "/v1/embeddings"): _several(
        _EMBEDDING, "input", "content", length=of_prompts("input", "content")
    ),
    ("/rerank", "/reranking", "/v1/rerank", "/v1/reranking"): _several(_RERANK, "documents", "texts"),
    ("/infill",): BodyRules(_INFILL, INTERNAL),
    ("/tokenize",): BodyRules(_TOKENIZE, INTERNAL),
    ("/detokenize",): BodyRules(_DETOKENIZE, INTERNAL),
    ("/v1/systemone",): BodyRules(_DECISION, INTERNAL),
    ("/v1/chat/completions/control",): BodyRules(_CONTROL, INTERNAL),
}

LLAMA_SERVER: Mapping[str, BodyRules] = {
    path: endpoint for paths, endpoint in _FAMILIES.items() for path in paths
}
"""Each path of llama-server that takes a body of a client."""
