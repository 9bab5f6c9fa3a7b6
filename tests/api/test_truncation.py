"""Are texts cut to what a slot holds, by the tokens of their model, and only where that is asked for?"""

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from relayd.api.truncation import fitted
from relayd.endpoint import Endpoint
from relayd.router import Beside, Call
from relayd.router.pool import Fetched, Pools
from tests.api.conftest import view

pytestmark = pytest.mark.pure

EMBED = replace(view("embed"), context=5, abilities=("embedding",))


class Tokenizer(Beside):
    """Takes a letter for a token; answers none where there would be more than `most`."""

    def __init__(self, most: int = 1000, closing: tuple[int, ...] = ()) -> None:
        super().__init__(Pools(), lambda _: ())
        self._most, self._closing = most, closing

    async def ask(self, model: str, call: Call) -> tuple[Endpoint, Fetched] | None:
        assert ("embed", "/tokenize") == (model, call.path)
        tokens = [1, *map(ord, json.loads(call.body)["content"]), *self._closing]
        if len(tokens) > self._most:
            return None
        return (None, Fetched(200, json.dumps({"tokens": tokens}).encode()))  # type: ignore[return-value]  # who answered is not read


async def cut(tokenizer: Tokenizer, given: object, **more: Any) -> Any:
    members = {
        name: msgspec.Raw(json.dumps(value).encode()) for name, value in {"input": given, **more}.items()
    }
    return json.loads(bytes((await fitted("input", members, EMBED, tokenizer))["input"]))


@pytest.mark.parametrize("given", ["ab", ["ab", "c"], "", [], None, [[1, 2, 3, 4, 5, 6]], 7])
async def test_what_fits_or_is_no_text_stays_as_it_came(given: object) -> None:
    assert given == await cut(Tokenizer(), given)


async def test_a_long_text_becomes_its_first_tokens() -> None:
    assert [[1, 98, 98, 98], "a"] == await cut(Tokenizer(), ["b" * 9, "a"])


async def test_the_closing_token_of_the_model_stays() -> None:
    assert [1, 98, 98, 2] == (await cut(Tokenizer(closing=(2,)), ["b" * 9]))[0]


async def test_a_text_of_more_tokens_than_can_be_read_is_cut_before() -> None:
    assert [1, 98, 98, 98] == (await cut(Tokenizer(most=9), ["b" * 500]))[0]


@pytest.mark.parametrize("tokenizer", [Tokenizer(most=0)])
async def test_without_a_replica_the_engine_judges(tokenizer: Tokenizer) -> None:
    assert ["b" * 9] == await cut(tokenizer, ["b" * 9])


async def test_a_client_may_refuse_it() -> None:
    assert ["b" * 9] == await cut(Tokenizer(), ["b" * 9], truncate=False)
