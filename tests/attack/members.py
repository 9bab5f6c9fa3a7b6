"""Every member of a body, with values of the wrong type, size, number or length."""

from tests.attack.case import Members, Named, Verbatim

NUMBERS = (
    *("max_tokens", "max_completion_tokens", "n_predict", "n", "n_cmpl", "best_of", "n_keep", "n_discard"),
    *(
        "n_probs",
        "top_logprobs",
        "logprobs",
        "min_keep",
        "top_k",
        "top_p",
        "min_p",
        "typical_p",
        "top_n_sigma",
    ),
    *("temperature", "dynatemp_range", "dynatemp_exponent", "xtc_probability", "xtc_threshold"),
    *("repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n"),
    *("mirostat", "mirostat_tau", "mirostat_eta", "adaptive_target", "adaptive_decay"),
    *("seed", "n_indent", "t_max_predict_ms", "t_max_prompt_ms", "id_slot", "n_cache_reuse"),
    *("sse_ping_interval", "speculative.n_max", "speculative.n_min", "speculative.p_min", "dimensions"),
)
"""Members that the engine reads as numbers."""

_SIZES: tuple[object, ...] = (
    *(-1, 0, 0.5, 300_000_000, 2**31 - 1, 2**31, -(2**31), 2**63, 1e308, -1e308),
    *(Verbatim("NaN"), Verbatim("1e999"), Verbatim("-0"), Verbatim("9" * 5_000)),
)

OTHERS = (
    *("model", "stream", "prompt", "messages", "stop", "logit_bias", "samplers", "dry_sequence_breakers"),
    *("cache_prompt", "ignore_eos", "stream_options", "response_format", "json_schema", "grammar", "tools"),
    *("tool_choice", "parallel_tool_calls", "lora", "suffix", "echo", "user", "metadata", "input"),
    *(
        "chat_template_kwargs",
        "chat_template",
        "reasoning_effort",
        "reasoning_format",
        "add_generation_prompt",
    ),
    *("enable_thinking", "preserved_tokens", "response_fields", "return_tokens", "return_progress"),
    *("timings_per_token", "post_sampling_probs", "backend_sampling", "encoding_format", "functions"),
    *(
        "function_call",
        "modalities",
        "audio",
        "prediction",
        "service_tier",
        "store",
        "verbosity",
        "input_prefix",
    ),
    *("input_suffix", "input_extra", "continue_final_message", "parse_tool_calls", "__verbose"),
)
"""Members of other types."""

_TYPES: tuple[object, ...] = (
    None,
    True,
    -1,
    0.5,
    "",
    "word",
    "\0",
    [],
    [[]],
    [None, 1, "a", {}],
    {},
    {"a": []},
)

_PENALTIES: dict[str, Members] = {
    "repeat_last_n": {"repeat_penalty": 1.1},
    "dry_penalty_last_n": {"dry_multiplier": 0.8},
    "n_probs": {"post_sampling_probs": True},
    "top_logprobs": {"logprobs": True},
}
"""What has to be set besides, before a number takes effect."""


def sizes() -> Named:
    for name in NUMBERS:
        for value in _SIZES:
            shown = value.text[:10] if isinstance(value, Verbatim) else value
            yield f"{name} {shown}", {name: value, **_PENALTIES.get(name, {})}


def types() -> Named:
    for name in (*NUMBERS, *OTHERS):
        for value in _TYPES:
            yield f"{name} {value!r}", {name: value}


def lengths() -> Named:
    for many in (1_000, 300_000):
        yield f"{many} stop words", {"stop": ["x"] * many}
        yield f"{many} biases in a list", {"logit_bias": [[n % 300, 1] for n in range(many)]}
        yield f"{many} biases by word", {"logit_bias": {f"w{n}": 1 for n in range(many)}}
        yield f"{many} samplers", {"samplers": ["top_k"] * many}
        yield f"{many} sampler letters", {"samplers": "k" * many}
        yield f"{many} breakers", {"dry_multiplier": 0.8, "dry_sequence_breakers": ["x"] * many}
        yield f"breakers of {many}", {"dry_multiplier": 0.8, "dry_sequence_breakers": ["x" * many] * 3}
        yield f"{many} fields", {"response_fields": ["content/x"] * many}
        yield f"{many} prompts", {"prompt": ["a"] * many}
        yield f"{many} empty prompts", {"prompt": [""] * many}
        yield f"{many} token ids", {"prompt": [5] * many}
        yield f"{many} lists of token ids", {"prompt": [[5]] * many}
        yield f"{many} inputs", {"input": ["a"] * many}
        yield f"{many} unknown members", {f"x{n}": n for n in range(many)}
        yield f"{many} members of metadata", {"metadata": {f"x{n}": n for n in range(many)}}
        yield f"{many} template arguments", {"chat_template_kwargs": {f"x{n}": n for n in range(many)}}
        yield f"a name of {many}", {"x" * many: 1}
        yield f"a model of {many}", {"model": "x" * many}
    yield from _of_messages()


def _of_messages() -> Named:
    for many in (1_000, 100_000):
        text = {"type": "text", "text": "a"}
        call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        yield f"{many} messages", {"messages": [{"role": "user", "content": "a"}] * many}
        yield f"{many} parts", {"messages": [{"role": "user", "content": [text] * many}]}
        yield f"{many} tool calls", {"messages": [{"role": "assistant", "tool_calls": [call] * many}]}


def tools() -> Named:
    function: dict[str, object] = {
        "name": "f",
        "description": "d",
        "parameters": {"type": "object", "properties": {}},
    }
    tool = {"type": "function", "function": function}
    for many in (128, 2_000, 20_000):
        yield (
            f"{many} tools",
            {"tools": [{**tool, "function": {**function, "name": f"f{n}"}} for n in range(many)]},
        )
        yield f"{many} equal tools", {"tools": [tool] * many}
    wrong_functions: tuple[Members, ...] = (
        *({}, {"name": ""}, {"name": None}, {"name": 5}, {"name": "x" * 100_000}, {"name": 'a"b\\c\n'}),
        *({"name": "\ud800"}, {"name": "f", "parameters": None}, {"name": "f", "parameters": "x"}),
        *({"name": "f", "parameters": []}, {"name": "f", "description": 5}, {"name": "f", "strict": 5}),
        {"name": "f", "description": "d" * 1_000_000},
    )
    for wrong in wrong_functions:
        yield f"function {wrong!r:.40}", {"tools": [{"type": "function", "function": wrong}]}
    others: tuple[object, ...] = (None, 5, "x", {}, [5], [[]], [{}], [{"type": "x"}], [{"type": "function"}])
    for other in others:
        yield f"tools {other!r}", {"tools": other}
    choices: tuple[object, ...] = ("auto", "none", "required", "", None, 5, [], {}, {"type": "function"})
    for choice in choices:
        yield f"tool_choice {choice!r}", {"tools": [tool], "tool_choice": choice}
    yield (
        "tool_choice of another name",
        {
            "tools": [tool],
            "tool_choice": {"type": "function", "function": {"name": "g"}},
        },
    )
    yield "tool_choice without tools", {"tool_choice": "required"}
    yield "a grammar beside tools", {"tools": [tool], "grammar": 'root ::= "a"'}


def mistakes() -> Named:
    """Yield what clients do wrong without meaning harm: each is a client's error, answered once."""
    user = {"role": "user", "content": "a"}
    wrong: tuple[object, ...] = (
        *(
            {},
            {"content": "a"},
            {"role": "user"},
            {"role": None, "content": "a"},
            {"role": 5, "content": "a"},
        ),
        *(
            {"role": "wizard", "content": "a"},
            {"role": "user", "content": 5},
            {"role": "user", "content": None},
        ),
        *(
            {"role": "user", "content": [5]},
            {"role": "user", "content": [{}]},
            {"role": "user", "content": {}},
        ),
        *({"role": "tool", "content": "a"}, {"role": "assistant", "tool_calls": 5}, "a", 5, None, [user]),
        *({"role": "assistant", "tool_calls": [{}]}, {"role": "assistant", "tool_calls": [{"function": {}}]}),
        *({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}, []),
    )
    for message in wrong:
        yield f"message {message!r:.60}", {"messages": [message]}
        yield f"after a good one, {message!r:.60}", {"messages": [user, message]}
    lists: tuple[object, ...] = ([], {}, "a", 5, None)
    for messages in lists:
        yield f"messages {messages!r}", {"messages": messages}
    yield "a prompt that is too long", {"prompt": "a" * 100_000}
    yield "a message that is too long", {"messages": [{"role": "user", "content": "a" * 100_000}]}
    yield "an input that is too long", {"input": "a" * 100_000}
    for token in (-1, 2**31 - 1, 2**40, 0.5):
        yield f"token {token}", {"prompt": [token, 5]}
    yield "a format of no name", {"response_format": {"type": "nothing"}}
    yield "an encoding of no name", {"encoding_format": "nothing"}
    yield "a template", {"chat_template": "{{ 1/0 }}"}
    yield "a template without end", {"chat_template": "{% for a in range(100000000) %}{{ a }}{% endfor %}"}
    yield "template arguments", {"chat_template_kwargs": {"messages": 5, "tools": 5}}
    yield from ((f"model {name!r}", {"model": name}) for name in ("", "nothing", "../tiny", "tiny#0", "TINY"))
    yield from _media()


def _media() -> Named:
    urls: tuple[object, ...] = (
        *("http://127.0.0.1:1/a.png", "https://localhost/a.png", "file:///etc/passwd", "/etc/passwd", ""),
        *(
            "data:",
            "data:image/png;base64,",
            "data:image/png;base64,!!",
            "data:text/html,x",
            "ftp://x",
            "aGVsbG8=",
        ),
        *("data:image/png;base64," + "A" * 1_000_000, "DATA:image/png;base64,AAAA", None, 5, [], {}),
    )
    for url in urls:
        for part in (
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "image_url", "image_url": url},
            {"type": "text", "text": "a", "image_url": url},
        ):
            yield f"part {part!r:.90}", {"messages": [{"role": "user", "content": [part]}]}
    others: tuple[Members, ...] = (
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "input_audio", "input_audio": None},
        {"type": "video_url", "video_url": {"url": "data:,"}},
        {"type": "file", "file": {"file_id": "x"}},
        {"type": "wizard"},
        {"type": None},
        {"type": "text", "text": None},
        {"type": "text", "text": 5},
    )
    for other in others:
        yield f"part {other!r}", {"messages": [{"role": "user", "content": [other]}]}
