"""Are vectors cut to the length that was asked for, and brought to length one again?"""

import base64
import json
from array import array
from math import hypot, isclose
from typing import Any

import msgspec
import pytest

from relayd.dialects.embeddings import ShortenedVectors, shortened
from relayd.errors import RequestError, UpstreamError

pytestmark = pytest.mark.pure


def members(**values: object) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in values.items()}


def encoded(*numbers: float) -> str:
    return base64.b64encode(array("f", numbers).tobytes()).decode()


def answer(*vectors: str) -> bytes:
    data = [{"embedding": one, "index": index, "object": "embedding"} for index, one in enumerate(vectors)]
    return json.dumps({"data": data, "model": "m", "object": "list", "usage": {"prompt_tokens": 3}}).encode()


def cut(raw: bytes, dimensions: int = 2, **how: bool) -> dict[str, Any]:
    subject = ShortenedVectors(dimensions, **{"as_floats": True, "normalizes": True, **how})
    assert b"" == subject.feed(raw[:10]) == subject.feed(raw[10:])
    return dict(json.loads(subject.end()))


@pytest.mark.parametrize("dimensions", [None, 4])
def test_nothing_is_cut_where_nothing_has_to_be(dimensions: object) -> None:
    assert shortened(members(input="x", dimensions=dimensions), 4) is None
    assert shortened(members(input="x"), 0) is None


@pytest.mark.parametrize("most", [0, 4])
def test_the_engine_is_asked_for_numbers_that_need_no_parsing(most: int) -> None:
    found = shortened(members(input="x", dimensions=2, encoding_format="float"), most)

    assert found is not None
    assert {"input": "x", "encoding_format": "base64"} == {
        name: json.loads(bytes(raw)) for name, raw in found[0].items()
    }


def test_more_numbers_than_there_are_is_an_error() -> None:
    with pytest.raises(RequestError, match="have 4") as found:
        shortened(members(input="x", dimensions=5), 4)

    assert "dimensions" == found.value.param


def test_a_vector_is_cut_and_has_length_one() -> None:
    whole = cut(answer(encoded(3, 4, 12), encoded(1, 0, 0)))

    first, second = (one["embedding"] for one in whole["data"])
    assert isclose(1, hypot(*first), rel_tol=1e-6)
    assert [0.6, 0.8] == [round(number, 6) for number in first]
    assert [1, 0] == second
    assert ([0, 1], "m", {"prompt_tokens": 3}) == (
        [one["index"] for one in whole["data"]],
        whole["model"],
        whole["usage"],
    )


def test_a_vector_is_written_as_the_client_reads_it() -> None:
    (one,) = cut(answer(encoded(3, 4, 12)), as_floats=False, normalizes=False)["data"]

    assert encoded(3, 4) == one["embedding"]


def test_a_vector_of_zeros_stays_one() -> None:
    assert [0, 0] == cut(answer(encoded(0, 0, 1)))["data"][0]["embedding"]


@pytest.mark.parametrize("raw", [b"[]", b'{"data":[{"embedding":[1]}]}', answer(encoded(1))])
def test_an_answer_without_such_vectors_is_the_replicas_fault(raw: bytes) -> None:
    subject = ShortenedVectors(2, as_floats=True, normalizes=True)
    subject.feed(raw)

    with pytest.raises(UpstreamError):
        subject.end()
