"""How is a model listed for Ollama's clients, and for LM Studio's?"""

import hashlib
from collections.abc import Mapping, Sequence

from relayd.api.fleet import ModelState, ModelView
from relayd.api.listing import model_details
from relayd.dialects.ollama_answer import stamp

_TAG = ":latest"

_LASTING = 9_999_999_999
"""Until when a model is listed as loaded, in seconds since 1970: what ends it is memory, not a time."""

_CAPABILITIES = {"completion", "tools", "insert", "thinking", "vision", "embedding"}
"""Abilities that Ollama has a word for, the same as relayd's."""

_LM_STATES: Mapping[ModelState, str] = {
    ModelState.READY: "loaded",
    ModelState.LOADING: "loading",
    ModelState.WAITING: "loading",
}


def tagged(name: str) -> str:
    """Return a name with a tag: clients look for their own, which they complete by `:latest`."""
    return name if ":" in name.rpartition("/")[2] else name + _TAG


def digest_of(model: ModelView) -> str:
    """Return 64 digits that no other model has, and that change when its file or what it can do changes.

    Clients keep what a model can do by them, so two names of one file have two.
    """
    facts = model.facts
    what = (model.name, facts.size, facts.changed_ns, facts.architecture, facts.parameters, *model.abilities)
    return hashlib.sha256(repr(what).encode()).hexdigest()


def tags(models: Sequence[ModelView]) -> dict[str, object]:
    """Return every model (`/api/tags`)."""
    return {"models": [_entry(model) for model in models]}


def running(models: Sequence[ModelView]) -> dict[str, object]:
    """Return the models that are in memory (`/api/ps`)."""
    return {"models": [_running(model) for model in models if model.replicas_ready]}


def shown(model: ModelView, *, verbose: bool = False) -> dict[str, object]:
    """Return one model in full (`/api/show`)."""
    facts = model.facts
    family = facts.architecture or "unknown"
    template = facts.template
    info: dict[str, object] = {
        "general.architecture": family,
        "general.basename": facts.base_name or model.name,
        "general.parameter_count": facts.parameters,
        f"{family}.context_length": facts.trained_context or model.window,
        f"{family}.embedding_length": facts.embedding_length,
    }
    if verbose:
        info["tokenizer.ggml.tokens"] = None
    return {
        "license": "",
        "modelfile": f"FROM {tagged(model.name)}\n",
        "parameters": f"num_ctx                        {model.window}" if model.window else "",
        "template": template or "{{ .Prompt }}",
        "details": model_details(model),
        "model_info": info,
        "capabilities": [one for one in model.abilities if one in _CAPABILITIES],
        "modified_at": _modified(model),
    }


def lm_models(models: Sequence[ModelView]) -> dict[str, object]:
    """Return every model as LM Studio lists them (`/api/v0/models`)."""
    return {"object": "list", "data": [lm_model(model) for model in models]}


def lm_model(model: ModelView) -> dict[str, object]:
    """Return one model as LM Studio lists it."""
    kind = (
        "vlm" if "vision" in model.abilities else "llm" if "completion" in model.abilities else "embeddings"
    )
    entry: dict[str, object] = {
        "id": model.name,
        "object": "model",
        "type": kind,
        "publisher": "relayd",
        "arch": model.facts.architecture,
        "compatibility_type": "gguf",
        "quantization": model.facts.quantization,
        "state": _LM_STATES.get(model.state, "not-loaded"),
        "max_context_length": model.facts.trained_context or model.window,
        "capabilities": ["tool_use"] if "tools" in model.abilities else [],
    }
    if model.replicas_ready:
        entry["loaded_context_length"] = model.window
    return entry


def _entry(model: ModelView) -> dict[str, object]:
    name = tagged(model.name)
    return {
        "name": name,
        "model": name,
        "modified_at": _modified(model),
        "size": model.facts.size,
        "digest": digest_of(model),
        "details": model_details(model),
    }


def _running(model: ModelView) -> dict[str, object]:
    name = tagged(model.name)
    return {
        "name": name,
        "model": name,
        "size": model.host_bytes + model.device_bytes or model.facts.size,
        "digest": digest_of(model),
        "details": model_details(model),
        "expires_at": stamp(_LASTING),
        "size_vram": model.device_bytes,
        "context_length": model.window,
    }


def _modified(model: ModelView) -> str:
    return stamp(model.facts.changed_ns / 1e9 if model.facts.changed_ns else model.created)
