"""Do clients of Jina's and Cohere's APIs rank documents, and get them back if they want them?"""

import json
from typing import Any

import msgspec
import pytest

from relayd.dialects.rerank import Form, RankedDocuments, for_engine
from relayd.errors import RequestError, UpstreamError

pytestmark = pytest.mark.pure

ENGINE = {
    "model": "m", "object": "list", "usage": {"prompt_tokens": 7, "total_tokens": 7},
    "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
}  # fmt: skip


def asked(**values: object) -> tuple[dict[str, Any], list[Any] | None]:
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in values.items()}
    members, documents = for_engine(raw)
    return {name: json.loads(bytes(value)) for name, value in members.items()}, documents


def ranked(form: Form, documents: list[Any] | None) -> dict[str, Any]:
    subject = RankedDocuments(form, documents, "r1")
    subject.feed(json.dumps(ENGINE).encode())
    return dict(json.loads(subject.end()))


@pytest.mark.parametrize(
    "documents", [["a", "b"], [{"text": "a"}, {"text": "b", "id": 1}], ["a", {"text": "b"}]]
)
def test_documents_reach_the_engine_as_strings(documents: list[object]) -> None:
    assert ({"query": "q", "documents": ["a", "b"], "top_n": 1}, None) == asked(
        query="q", documents=documents, top_n=1, return_documents=False
    )


def test_documents_come_back_where_they_are_wanted() -> None:
    members, documents = asked(documents=["a", {"text": "b", "id": 1}], return_documents=True)

    assert ({"documents": ["a", "b"]}, [{"text": "a"}, {"text": "b", "id": 1}]) == (members, documents)


def test_what_tei_sends_passes() -> None:
    assert ({"query": "q", "texts": ["a"]}, None) == asked(query="q", texts=["a"])


@pytest.mark.parametrize("document", [7, {"title": "x"}, {"text": 7}])
def test_a_document_without_text_is_refused(document: object) -> None:
    with pytest.raises(RequestError, match=r"documents\[1\] has no text"):
        asked(documents=["a", document])


def test_jinas_form_is_the_engines_with_documents() -> None:
    results = [
        {"index": 1, "relevance_score": 0.9, "document": {"text": "b"}},
        {"index": 0, "relevance_score": 0.1, "document": {"text": "a"}},
    ]

    assert {**ENGINE, "results": results} == ranked("jina", [{"text": "a"}, {"text": "b"}])


def test_coheres_form_has_an_id_and_what_was_billed() -> None:
    answer = ranked("cohere", None)

    assert ("r1", ENGINE["results"]) == (answer["id"], answer["results"])
    assert 7 == answer["meta"]["tokens"]["input_tokens"]


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"results":[{"index":9}]}'])
def test_an_answer_without_results_is_the_replicas_fault(raw: bytes) -> None:
    subject = RankedDocuments("jina", ["a"], "r1")
    subject.feed(raw)

    with pytest.raises(UpstreamError):
        subject.end()
