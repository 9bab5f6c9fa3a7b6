"""Are comments found as the tokenizer of Python finds them?"""

import io
import tokenize

import pytest

from tests.sources import ROOT, comments_of

pytestmark = pytest.mark.pure

TRICKY = """# first
x = "# no comment"  # yes
y = 'it\\'s # none'  # "quoted"
z = r"\\"  # after a raw string
w = '''a "" # none
# none''' + ""  # third '''
v = f"{x}#{y}" + rb'#'.decode()  # backslash \\
u = ""# close
"""


def test_no_comment_begins_within_a_string() -> None:
    assert tokenized(TRICKY) == [*comments_of(TRICKY)]


@pytest.mark.parametrize("name", ["tests/test_house.py", "tests/sources.py", "relayd/errors/requests.py"])
def test_a_file_has_the_comments_that_the_tokenizer_finds(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")

    assert tokenized(text) == [*comments_of(text)]


def tokenized(text: str) -> list[tuple[int, str]]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]
