"""How is a model listed, under every name by which clients look for its window and what it can do?

One object carries the members of OpenAI's, Anthropic's and llama-server's lists; each client reads its own.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from relayd.api.fleet import ModelView

_DEMO = "A demo that answers from a fixed table, to try relayd without a download; not a language model."

_PLAIN = frozenset({"completion", "embedding", "rerank"})


def model_entry(model: ModelView) -> dict[str, object]:
    """Return a model as it is listed."""
    window, facts = model.window, model.facts
    entry: dict[str, object] = {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": "relayd",
        "aliases": model.aliases,
        "tags": [],
        "state": model.state.value,
        "slots": model.slots,
        "context": model.context,
        "context_length": window,
        "context_window": window,
        "max_model_len": window,
        "max_input_tokens": window,
        "capabilities": [*model.abilities],
        "quantization": facts.quantization,
        "size": facts.size,
        "architecture": {
            "input_modalities": model.modalities,
            "output_modalities": ["text"] if "completion" in model.abilities else [],
        },
        "meta": _meta(model),
        "type": "model",
        "display_name": model.name,
        "created_at": _stamp(model),
    }
    if model.reason:
        entry["reason"] = model.reason
    return entry | {"demo": True, "description": _DEMO} if model.demo else entry


def _meta(model: ModelView) -> dict[str, object]:
    """Return what llama-server lists as `meta`."""
    facts = model.facts
    return {
        "n_ctx": model.window,
        "n_ctx_train": facts.trained_context,
        "n_embd": facts.embedding_length,
        "n_params": facts.parameters,
        "n_vocab": facts.vocabulary,
        "size": facts.size,
        "ftype": facts.quantization,
    }


def model_list(models: Sequence[ModelView]) -> dict[str, object]:
    """Return all models: as OpenAI and Anthropic list them, and in `models` as llama-server does besides."""
    return {
        "object": "list",
        "data": [model_entry(model) for model in models],
        "models": [_as_llama_server(model) for model in models],
        "has_more": False,
        "first_id": models[0].name if models else None,
        "last_id": models[-1].name if models else None,
    }


def _as_llama_server(model: ModelView) -> dict[str, object]:
    more = ["multimodal"] if len(model.modalities) > 1 else []
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": _stamp(model),
        "size": str(model.facts.size),
        "digest": "",
        "type": "model",
        "description": "",
        "tags": [""],
        "capabilities": [*(name for name in model.abilities if name in _PLAIN), *more],
        "parameters": "",
        "details": model_details(model),
    }


def model_details(model: ModelView) -> dict[str, object]:
    """Return what Ollama lists as `details`, and llama-server after it."""
    facts = model.facts
    family = facts.architecture or "unknown"
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": _parameters(facts.parameters),
        "quantization_level": facts.quantization or "unknown",
    }


def _parameters(count: int) -> str:
    """Return a count as Ollama writes it, like `8.0B`."""
    for unit, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= unit:
            return f"{count / unit:.1f}{suffix}"
    return str(count)


def _stamp(model: ModelView) -> str:
    return datetime.fromtimestamp(model.created, UTC).isoformat().replace("+00:00", "Z")
