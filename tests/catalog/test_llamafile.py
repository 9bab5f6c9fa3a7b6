import pytest

from relayd.catalog.llamafile import read_line, read_lines
from relayd.errors import UsageError

pytestmark = pytest.mark.pure

URL = "https://huggingface.co/Mozilla/Some-7B/resolve/main/some-7b.Q4_K_M.llamafile"
LINE = f"some-7b|Some 7B Q4_K_M|4700000000|4.4 GB|Apache 2.0|some-7b.Q4_K_M.llamafile|{URL}|chat,code"


def line(**fields: str) -> str:
    names = ("slug", "title", "size", "human", "license", "file", "url", "tags")
    return "|".join((dict(zip(names, LINE.split("|"), strict=True)) | fields).values())


def test_a_line_becomes_a_model() -> None:
    model = read_line(LINE)
    assert ("some-7b", "Some 7B Q4_K_M") == (model.name, model.title)
    assert ("apache-2.0", ("chat", "code")) == (model.license, model.capabilities)
    (file,) = model.files
    assert ("Q4_K_M", 4_700_000_000, False) == (file.quant, file.bytes, file.exact)
    assert ("Mozilla/Some-7B", "some-7b.Q4_K_M.llamafile", "") == (file.repo, file.file, file.url)


def test_a_file_from_elsewhere_keeps_its_address() -> None:
    (file,) = read_line(line(url="local://some-7b.gguf")).files
    assert ("", "local://some-7b.gguf") == (file.repo, file.url)


@pytest.mark.parametrize(
    ("label", "license_"),
    [("LLaMA 3.2", "llama3.2"), ("Gemma 3", "gemma"), ("MIT", "mit"), ("lfm1.0", "lfm1.0"), ("", "unknown")],
)
def test_licence_labels_are_spelled_as_in_the_catalogue(label: str, license_: str) -> None:
    assert license_ == read_line(line(license=label)).license


@pytest.mark.parametrize(
    ("name", "quant"),
    [
        ("m.UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("m-mxfp4.llamafile", "MXFP4_MOE"),
        ("m.F16.llamafile", "F16"),
        ("m-q4.llamafile", "unknown"),
        ("M-8B-Instruct.llamafile", "unknown"),
    ],
)
def test_the_file_name_tells_the_quantization(name: str, quant: str) -> None:
    assert quant == read_line(line(file=name, size="20000000000")).files[0].quant


def test_tags_that_are_no_capability_are_left_out() -> None:
    assert ("vision",) == read_line(line(tags="vision, favourite")).capabilities
    assert ("chat",) == read_line(line(tags="")).capabilities


def test_a_size_that_the_quantization_cannot_have_is_refused() -> None:
    with pytest.raises(UsageError, match=r"8170586112 bytes for 32B weights are 2\.0 bits"):
        read_line(line(slug="qwq-32b", title="QwQ 32B Q4_K_M", size="8170586112"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a|b|c", "3 fields"),
        (line(size="4.4 GB"), "not a valid size in bytes"),
        (line(size="0"), "not a valid size in bytes"),
        (line(slug="two words"), "name"),
    ],
)
def test_a_line_that_makes_no_sense_is_an_error_with_its_number(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=rf"line 3: .*{problem}"):
        list(read_lines(f"# mine\n\n{text}\n{LINE}"))
