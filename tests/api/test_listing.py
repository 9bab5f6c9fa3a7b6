"""Does each client find a model's window and abilities where it looks for them?"""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from relayd.api.listing import model_entry, model_list
from relayd.gguf.facts import THINKING_MARKS, FileFacts
from tests.api.conftest import view

pytestmark = pytest.mark.pure

FACTS = FileFacts("qwen3", "Qwen3", "Q4_K_M", 5_000, 1_000, 32_768, 512, 100)


def entry(**values: Any) -> dict[str, Any]:
    return dict(model_entry(replace(view(), facts=FACTS, **values)))


@pytest.mark.parametrize(("context", "window"), [(8192, 8192), (0, 32_768)])
def test_the_window_of_a_request_stands_under_every_name(context: int, window: int) -> None:
    listed = entry(context=context)

    for name in ("context_length", "context_window", "max_model_len", "max_input_tokens"):
        assert window == listed[name]
    assert (window, 32_768) == (listed["meta"]["n_ctx"], listed["meta"]["n_ctx_train"])


def test_what_the_file_states_is_listed_as_llama_server_lists_it() -> None:
    listed = entry()

    assert {
        "n_embd": 512,
        "n_params": 1_000,
        "n_vocab": 100,
        "size": 5_000,
        "ftype": "Q4_K_M",
    }.items() <= listed["meta"].items()
    assert ("Q4_K_M", 5_000) == (listed["quantization"], listed["size"])


@pytest.mark.parametrize(
    ("abilities", "modalities", "capabilities"),
    [
        (("completion", "tools"), ["text"], ["completion"]),
        (("completion", "vision"), ["text", "image"], ["completion", "multimodal"]),
        (("completion", "audio", "vision"), ["text", "image", "audio"], ["completion", "multimodal"]),
        (("embedding",), ["text"], ["embedding"]),
    ],
)
def test_modalities_follow_from_abilities(
    abilities: tuple[str, ...], modalities: list[str], capabilities: list[str]
) -> None:
    model = replace(view(), abilities=abilities)
    listed: Any = model_list([model])

    assert modalities == list(listed["data"][0]["architecture"]["input_modalities"])
    assert [*abilities] == listed["data"][0]["capabilities"]
    assert capabilities == listed["models"][0]["capabilities"]


def test_llama_servers_list_has_every_member_of_its_own() -> None:
    listed: Any = model_list([view()])
    model = listed["models"][0]

    assert {"modified_at", "digest", "description", "tags", "parameters", "size", "type"} <= {*model}
    details = {"parent_model", "format", "family", "families", "parameter_size", "quantization_level"}
    assert details == {*model["details"]}


def test_anthropics_clients_find_their_members() -> None:
    listed: Any = model_list([view("a"), view("b")])

    assert (False, "a", "b") == (listed["has_more"], listed["first_id"], listed["last_id"])
    assert ("model", "a") == (listed["data"][0]["type"], listed["data"][0]["display_name"])
    assert 1_700_000_000 == datetime.fromisoformat(listed["data"][0]["created_at"]).timestamp()
    assert (None, None, []) == tuple(model_list([])[name] for name in ("first_id", "last_id", "data"))


@pytest.mark.parametrize("mark", THINKING_MARKS)
def test_a_template_shows_what_a_model_can_do(mark: str) -> None:
    assert FileFacts(template=f"{{% {mark} %}}").thinks
    assert FileFacts(template="{% if tools %}").takes_tools
    assert not FileFacts(template="x").thinks
    assert not FileFacts(template="x").takes_tools
