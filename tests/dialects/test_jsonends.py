"""Can every beginning of a JSON value be ended, by text behind it alone?"""

import json

import pytest

from relayd.dialects.jsonends import ending_of

pytestmark = pytest.mark.pure

WHOLE = '{"a": [1, -2.5e10, true, null, "x\\\\\\"\\u00e9\\n", {"b": {}}, []], "c": "str", "d": false}'


@pytest.mark.parametrize("length", range(len(WHOLE) + 1))
def test_any_beginning_becomes_json_with_what_it_lacks(length: int) -> None:
    begun = WHOLE[:length]
    ending = ending_of(begun)
    assert ending is not None
    json.loads(begun + ending)


@pytest.mark.parametrize("whole", [WHOLE, "{}", " [1] ", '"a"', "0", "null"])
def test_a_whole_value_lacks_nothing(whole: str) -> None:
    assert ending_of(whole) == ""


@pytest.mark.parametrize(
    "text", ["rm -rf", "{a", "[1,]", '{"a" 1', "}", "1 2", "truth", "01", '"\\x', "{]", '{"a":1}}', "[,"]
)
def test_what_begins_no_value_has_no_end(text: str) -> None:
    assert ending_of(text) is None
