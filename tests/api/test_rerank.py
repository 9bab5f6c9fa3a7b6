"""Does each spelling of a ranking reach the engine, and answer in its own form?"""

import json
from functools import partial

import pytest

from relayd.api.rerank import PATHS, rerank_routes
from tests.api.conftest import Doors
from tests.api.stage import Stage, post
from tests.fakes.replica import act, json_answer

pytestmark = pytest.mark.system

ANSWER = b'{"model":"m","results":[{"index":0,"relevance_score":0.5}],"usage":{"prompt_tokens":3}}'
BODY = {"model": "qwen", "query": "q", "documents": [{"text": "a"}], "return_documents": True}

stage = partial(Stage, routes=rerank_routes, script=act(json_answer(ANSWER)))


@pytest.mark.parametrize("path", PATHS)
def test_each_spelling_ranks_documents(doors: Doors, path: str) -> None:
    here = stage()

    answer = here.ask(doors, post(BODY, path))

    assert ("/v1/rerank", {"model": "qwen", "query": "q", "documents": ["a"]}) == (here.sent_to, here.sent)
    assert {"index": 0, "relevance_score": 0.5, "document": {"text": "a"}} == json.loads(answer.body)[
        "results"
    ][0]
    assert (PATHS[path] == "cohere") == ("id" in json.loads(answer.body))


def test_a_ranking_is_as_wide_as_its_documents(doors: Doors) -> None:
    here = stage()

    here.ask(doors, post({**BODY, "documents": ["a", "b", "c"]}, "/rerank"))

    assert [("qwen", 3)] == here.arrived
