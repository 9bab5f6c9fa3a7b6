"""The key of relay.toml that was probably meant: a misspelled one, or one of another program."""

import difflib
from collections.abc import Iterable, Mapping
from typing import get_args

from msgspec.structs import fields

from relayd.config.describe import given, is_array, is_section, meant, quote
from relayd.config.schema import Config, Section

_CALLED_OTHERWISE: Mapping[str, str] = {
    **dict.fromkeys(
        ("ctx_size", "n_ctx", "num_ctx", "ctx", "context_length", "context_size", "c"), "context"
    ),
    **dict.fromkeys(("parallel", "n_parallel", "num_parallel", "np", "concurrency_limit"), "slots"),
    **dict.fromkeys(("path", "model", "model_path", "gguf", "m"), "file"),
    **dict.fromkeys(("host", "port", "bind", "address"), "listen"),
    **dict.fromkeys(("n_gpu_layers", "gpu_layers", "ngl", "num_gpu", "gpulayers"), "gpu_layers"),
    **dict.fromkeys(("tensor_split", "ts"), "shares"),
    **dict.fromkeys(("device", "main_gpu", "gpus"), "devices"),
    **dict.fromkeys(("n_cpu_moe", "ncmoe", "cpu_moe"), "experts_on_cpu"),
    **dict.fromkeys(("flash_attn", "fa"), "flash_attention"),
    **dict.fromkeys(("ctk", "type_k"), "cache_type_k"),
    **dict.fromkeys(("ctv", "type_v"), "cache_type_v"),
    **dict.fromkeys(("batch_size", "n_batch", "num_batch"), "batch"),
    **dict.fromkeys(("ubatch", "ubatch_size", "n_ubatch"), "micro_batch"),
    **dict.fromkeys(("n_threads", "num_thread"), "threads"),
    **dict.fromkeys(("mmproj", "clip_model"), "projector"),
    **dict.fromkeys(("cache_ram", "cram"), "cache_ram_mib"),
    **dict.fromkeys(("ttl", "keep_alive", "idle_timeout"), "idle_minutes"),
    **dict.fromkeys(("alias", "use_model_name"), "aliases"),
    **dict.fromkeys(("flags", "extra_args", "server_args"), "args"),
    **dict.fromkeys(("api_keys", "apikey", "key"), "api_key"),
    **dict.fromkeys(("embedding",), "embeddings"),
}
"""Names that llama-server, Ollama and llama-swap give to settings that are named otherwise here."""

_SENT_WITH_REQUESTS = frozenset({
    "temperature", "temp", "top_k", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty",
    "frequency_penalty", "seed", "stop", "n_predict", "num_predict", "grammar", "chat_template_kwargs",
})  # fmt: skip
"""Members of requests, which Ollama's Modelfiles keep with the model."""


def hint(key: str, section: type[Section]) -> str:
    """Return `; did you mean …?` for an unknown key of a table, or "".

    Names of other programs count before similar ones: `n_gpu_layers` is like nothing here.
    """
    known = section.__struct_fields__
    spelled = key.replace("-", "_").casefold()
    name = _CALLED_OTHERWISE.get(spelled, key)
    if guess := nearest(key, known, cutoff=0.8) or (name if name in known else None):
        return f"; did you mean {quote(guess)}?"
    if table := _inner_table(name, section) or _other_table(name):
        return f"; did you mean {quote(name)} in {table}?"
    if spelled in _SENT_WITH_REQUESTS and "file" in known:
        return f"; requests set it: did you mean set = {{ {spelled} = … }} of a [[virtual]] model?"
    if spelled in {"cmd", "command", "cmd_stop"}:
        return "; relayd makes the command line: did you mean file, and args for further flags?"
    guess = nearest(key, known)
    return f"; did you mean {quote(guess)}?" if guess else ""


def blocks_hint(name: str) -> str:
    """Return `; did you mean [[model]]?` for blocks of an unknown name, or ""."""
    arrays = [one.name for one in fields(Config) if is_array(one.type) and is_section(_item(one.type))]
    guess = nearest(name, arrays, cutoff=0.5)
    return f"; did you mean [[{guess}]]?" if guess else ""


def nearest(word: str, candidates: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the candidate most like `word`, if one is at least `cutoff` like it (0 to 1)."""
    return next(iter(difflib.get_close_matches(word, list(candidates), n=1, cutoff=cutoff)), None)


def _inner_table(name: str, section: type[Section]) -> str:
    """Return the table within a block that has a key, as it is written."""
    outer = next((one.name for one in fields(Config) if _item(one.type) is section), "")
    for one in fields(section):
        inner = _item(one.type)
        if is_section(inner) and name in inner.__struct_fields__:
            written = f"{outer}.{one.name}" if outer else one.name
            return f"[[{written}]]" if is_array(one.type) else f"[{written}]"
    return ""


def _other_table(name: str) -> str:
    """Return the table of the top level that has a key, as it is written; the first one in the file."""
    for one in fields(Config):
        inner = _item(one.type)
        if is_section(inner) and name in inner.__struct_fields__:
            return f"[[{one.name}]]" if is_array(one.type) else f"[{one.name}]"
    return ""


def _item(kind: object) -> type[Section]:
    """Return the table that a setting holds, or of which it holds many; else its type."""
    found = meant(given(kind), {})
    if is_array(kind):
        (found, *_) = get_args(meant(given(kind), []))
    return found  # type: ignore[no-any-return]  # callers check what it is
