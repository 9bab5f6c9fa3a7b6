"""Do virtual models look like those behind them, and is what they set judged before it holds?"""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from relayd.api import ModelState
from relayd.config import Config, VirtualModel
from relayd.config.schema import Server
from relayd.daemon.virtual import check_virtual, virtual_views
from relayd.errors import ConfigError
from tests.api.conftest import view

pytestmark = pytest.mark.pure

QWEN, LLAMA = replace(view(), context=8192), replace(view("llama"), context=4096)


def config(server: Server | None = None, **members: Any) -> Config:
    model = VirtualModel(**{"name": "coder", "models": ("qwen", "llama"), **members})
    return Config(server=server or Server(), virtual=(model,))


def test_it_holds_what_each_of_its_models_holds() -> None:
    (coder,) = virtual_views(config(), (QWEN, LLAMA))

    assert ("coder", 4096, ("qwen", "llama"), None) == (
        coder.name,
        coder.window,
        coder.served_by,
        coder.preset,
    )


@pytest.mark.parametrize("state", [ModelState.FAILED, ModelState.STOPPED])
def test_a_model_that_is_down_comes_after_the_others(state: ModelState) -> None:
    (coder,) = virtual_views(config(), (replace(QWEN, state=state), LLAMA))

    assert ("llama", "qwen") == coder.served_by


@pytest.mark.parametrize("state", [ModelState.COLD, ModelState.LOADING, ModelState.WAITING])
def test_a_model_that_has_to_load_keeps_its_place(state: ModelState) -> None:
    (coder,) = virtual_views(config(), (replace(QWEN, state=state), LLAMA))

    assert ("qwen", "llama") == coder.served_by


def test_one_without_any_of_its_models_is_not_listed() -> None:
    assert [] == list(virtual_views(config(models=("gone",)), (QWEN, LLAMA)))


@pytest.mark.parametrize("name", ["coder", "code"])
def test_the_default_model_may_be_virtual(name: str) -> None:
    (coder,) = virtual_views(config(Server(default_model=name), aliases=("code",)), (QWEN,))

    assert coder.is_default


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"set": {"temperature": "hot"}}, "temperature must be a number"),
        ({"defaults": {"max_tokens": -5}}, "max_tokens must be a number from -1"),
        ({"set": {"model": "x"}}, "only a client decides it"),
        ({"defaults": {"stream": True}}, "only a client decides it"),
        ({"set": {"n": 2}}, "only a client decides it"),
        ({"set": {"temprature": 1}}, "there is no member temprature"),
        ({"set": {"id_slot": 1}}, "there is no member id_slot"),
        ({"set": {"lora": [{"id": 0}]}}, "lora"),
        ({"set": {"grammar": "root ::= ("}}, "grammar"),
        ({"strip": ("messages",)}, "messages cannot be taken out"),
        ({"strip": ("seed",), "set": {"seed": 1}}, "seed cannot be taken out"),
    ],
)
def test_what_no_client_could_send_is_refused_with_its_name(members: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match='"coder"') as caught:
        check_virtual(config(**members))

    assert words in caught.value.message


def test_a_name_that_the_operator_lets_pass_may_be_set() -> None:
    check_virtual(config(Server(extra_members=("min_tokens",)), set={"min_tokens": 3}))


def test_all_problems_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        check_virtual(config(set={"model": "x"}, defaults={"nonsense": 1}))

    assert 2 == len(caught.value.message.splitlines())


def test_a_list_is_written_as_one() -> None:
    (coder,) = virtual_views(config(set={"stop": ["a", "b"]}), (QWEN,))

    assert coder.preset is not None
    assert {"stop": ["a", "b"]} == msgspec.json.decode(coder.preset.apply(b"{}", {"stop"})[0])
