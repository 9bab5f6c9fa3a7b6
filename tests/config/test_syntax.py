"""A file that is not TOML is answered with how the line is written."""

import tomllib

import pytest

from relayd.config.syntax import syntax_problem

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("line", "how"),
    [
        ("listen = 127.0.0.1:9000", 'put text in quotes: listen = "127.0.0.1:9000"'),
        ("listen=localhost:1", 'put text in quotes: listen = "localhost:1"'),
        ("file = ~/models/x.gguf # mine", 'put text in quotes: file = "~/models/x.gguf"'),
        ("file = /m/x.gguf", 'put text in quotes: file = "/m/x.gguf"'),
        ("pin = True", "write pin = true"),
        ("pin = no", "write pin = false"),
        (r'file = "C:\models\x.gguf"', r"a backslash needs single quotes: file = 'C:\models\x.gguf'"),
    ],
)
def test_a_line_of_a_beginner_is_answered_with_the_right_one(line: str, how: str) -> None:
    shown = problem(f"[server]\n{line}\n")

    assert shown.startswith(":2:")
    assert shown.endswith(f"; {how}")
    if not how.startswith("a backslash"):
        assert tomllib.loads(how.partition(": ")[2] or how.removeprefix("write "))


@pytest.mark.parametrize("text", ["[server\n", "a = [1, 2", 'a = "x', "= 1", "a = {b = 1"])
def test_other_mistakes_have_their_place_alone(text: str) -> None:
    assert ";" not in problem(text)


def problem(text: str) -> str:
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    return syntax_problem(caught.value, text.encode())
