"""Is a form with files read as it is meant, and written so that no value adds to it?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.dialects.multipart import MOST_PARTS, FormPart, boundary_of, read_form, write_form
from relayd.errors import RequestError

pytestmark = pytest.mark.pure

PARTS = [FormPart("model", b"qwen"), FormPart("file", b"RIFF\r\n\r\n--x\0\xff", "a b.wav", "audio/wav")]


def test_a_form_comes_back_as_it_was_written() -> None:
    assert PARTS == read_form(write_form(PARTS, b"x-1"), b"x-1")


@given(
    st.lists(st.tuples(st.from_regex(r"\A[a-z_]{1,20}\Z"), st.binary(max_size=200)), min_size=1, max_size=8)
)
def test_any_value_does(fields: list[tuple[str, bytes]]) -> None:
    parts = [FormPart(name, value) for name, value in fields]

    assert parts == read_form(write_form(parts, b"0123456789abcdef" * 2), b"0123456789abcdef" * 2)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('Multipart/Form-Data;charset=utf-8; boundary="a b"', b"a b"),
        ("multipart/form-data; boundary=----WebKitFormBoundaryX", b"----WebKitFormBoundaryX"),
    ],
)
def test_the_boundary_is_found(content_type: str, boundary: bytes) -> None:
    assert boundary == boundary_of(content_type)


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "multipart/form-data", "multipart/mixed; boundary=a"]
)
def test_what_is_no_form_is_refused(content_type: str) -> None:
    with pytest.raises(RequestError):
        boundary_of(content_type)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b"no form at all",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n',
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n",
        b"--x\r\n\r\n1\r\n--x--\r\n",
        write_form([FormPart("a", b"")] * (MOST_PARTS + 1), b"x"),
    ],
)
def test_a_broken_form_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        read_form(body, b"x")


def test_a_name_cannot_end_its_line() -> None:
    written = write_form([FormPart('a"\r\nX-Evil: 1', b"", 'f"\r\n.wav')], b"x")

    assert b"\r\nX-Evil" not in written


def test_a_value_cannot_end_its_part() -> None:
    with pytest.raises(RequestError):
        write_form([FormPart("a", b"1\r\n--abc--")], b"abc")
