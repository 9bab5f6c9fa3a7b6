"""Does the locator know every key of a document, and the right line of each?"""

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from relayd.config.locate import KeyPath, lines, locate

pytestmark = pytest.mark.pure


def located(text: str, *path: str | int) -> int:
    tomllib.loads(text)
    return locate(lines(text), path)


def every_path(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    items: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in items:
        yield (*path, key)
        yield from every_path(inner, (*path, key))


def test_a_key_of_a_table_has_its_line() -> None:
    assert 4 == located("# top\n[server]\n\nlisten = 'x'\n", "server", "listen")


def test_a_key_of_each_table_in_an_array_has_its_own_line() -> None:
    text = '[[model]]\nname = "a"\n[[model]]\nname = "b"\n'

    assert (2, 4) == (located(text, "model", 0, "name"), located(text, "model", 1, "name"))


def test_a_nested_array_of_tables_belongs_to_the_last_table_above() -> None:
    text = "[[model]]\n[[model.lora]]\nscale = 1\n[[model]]\n[[model.lora]]\n[[model.lora]]\nscale = 2\n"

    assert (3, 7) == (
        located(text, "model", 0, "lora", 0, "scale"),
        located(text, "model", 1, "lora", 1, "scale"),
    )


def test_a_subtable_after_an_array_of_tables_belongs_to_its_last_table() -> None:
    assert 4 == located("[[a]]\n[[a]]\n[a.b]\nc = 1\n", "a", 1, "b", "c")


@pytest.mark.parametrize("quotes", ['"""', "'''"])
def test_what_looks_like_a_key_inside_a_string_is_none(quotes: str) -> None:
    text = f'a = {quotes}\n[b]\nc = 1 # "\n{quotes}\n[b]\nc = 2\n'

    assert 6 == located(text, "b", "c")


@pytest.mark.parametrize(
    "string",
    [
        '"""a""""',
        '"""a"""""',
        '""""a"""',
        '""""""',
        r'"""\""""',
        r'"\\"',
        r'"\"]#}"',
        "'''a'''''",
        "''''a'''",
        "'\\'",
        '""',
        "'#'",
    ],
)
def test_strings_end_where_toml_ends_them(string: str) -> None:
    assert 2 == located(f"a = [{string}, {string}] # b = 1\nb = {{c = {string}}}\n", "b", "c")


def test_a_key_in_quotes_is_known_by_its_value() -> None:
    assert 2 == located("\n\"li\\u0073ten\" = 1 # x\n'a.b' = 2\n", "listen")
    assert 3 == located("\n\"li\\u0073ten\" = 1 # x\n'a.b' = 2\n", "a.b")


def test_dotted_keys_are_tables() -> None:
    assert 2 == located('# x\nserver . "listen" = 1\n', "server", "listen")


def test_items_of_an_array_over_several_lines_have_lines_of_their_own() -> None:
    assert 4 == located("a = [\n  1, # ],\n\n  2,\n]\n", "a", 1)


def test_keys_of_inline_tables_are_found() -> None:
    text = "model = [\n  {name = 'a', lora = [{file = 'f'}]},\n  {name = 'b'},\n]\n"

    assert (2, 3) == (located(text, "model", 0, "lora", 0, "file"), located(text, "model", 1, "name"))


def test_dates_with_a_space_are_one_value() -> None:
    assert 2 == located("a = 1979-05-27 07:32:00Z # x\nb = [1979-05-27, +inf]\n", "b")


def test_lines_that_end_in_carriage_returns_count_once() -> None:
    assert 3 == located("[a]\r\n# x\r\nb = 1\r\n", "a", "b")


def test_a_missing_key_is_where_its_table_begins() -> None:
    assert 2 == located("\n[[model]]\nname = 'a'\n", "model", 0, "file")


def test_nothing_known_is_the_first_line() -> None:
    assert 1 == located("", "server")


SCALARS = st.one_of(st.integers(-9, 9), st.booleans(), st.text(max_size=8), st.floats(allow_nan=False))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.lists(st.dictionaries(st.text(max_size=4), inner, max_size=2), min_size=1, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), st.booleans())
def test_every_key_and_item_of_any_document_is_found(data: dict[str, Any], multiline: bool) -> None:
    text = tomli_w.dumps(data, multiline_strings=multiline)

    assert set(every_path(tomllib.loads(text))) == lines(text).keys()


@given(st.lists(st.text(alphabet="ab\n", max_size=6), min_size=1, max_size=6))
def test_the_line_found_is_the_line_of_the_key(values: list[str]) -> None:
    text = tomli_w.dumps({f"key{index}": value for index, value in enumerate(values)}, multiline_strings=True)

    rows = text.split("\n")

    for (key, *_), line in lines(text).items():
        assert rows[line - 1].startswith(f"{key} = ")
