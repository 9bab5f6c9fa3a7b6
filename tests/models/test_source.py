import pytest

from relayd.errors import UsageError
from relayd.models.source import AtUrl, InRepo, Named, Source, parse_source, safe_file_name, safe_path

pytestmark = pytest.mark.pure

HUB = "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("qwen3-8b", Named("qwen3-8b")),
        ("qwen3-8b:Q4_K_M", Named("qwen3-8b:Q4_K_M")),
        ("hf:Owner/Name", InRepo("Owner/Name")),
        ("hf:Owner/Name:q8_0", InRepo("Owner/Name", quant="q8_0")),
        ("hf:Owner/Name/sub/a b.gguf", InRepo("Owner/Name", "sub/a b.gguf")),
        (
            "https://example.org/x/m-Q8_0.gguf?key=1",
            AtUrl("https://example.org/x/m-Q8_0.gguf?key=1", "m-Q8_0.gguf"),
        ),
        ("https://huggingface.co/O/N/resolve/main/s/f.gguf", InRepo("O/N", "s/f.gguf")),
        ("https://huggingface.co/O/N/blob/v2/f.gguf?x=1", InRepo("O/N", "f.gguf", revision="v2")),
        ("https://hf.co/O/N", InRepo("O/N")),
        (f"http://{HUB}/O/N/resolve/main/f.gguf", InRepo("O/N", "f.gguf")),
    ],
)
def test_what_is_typed_is_a_name_a_repository_or_an_address(text: str, meant: Source) -> None:
    assert meant == parse_source(text, HUB)


@pytest.mark.parametrize(
    "text",
    [
        "../etc/passwd",
        "/etc/passwd",
        "a/../../b",
        "hf:../..",
        "hf:a/b/../../../x.gguf",
        "hf:a/b//x.gguf",
        "hf:a/b/c\\..\\x.gguf",
        "hf:a",
        "hf:a/..",
        "hf:a--b/c",
        "hf:-a/b",
        "hf:a/b:Q4 K",
        "hf:a/b:../x",
        "https://example.org/..%2f..%2fx.gguf",
        "https://example.org/%2e%2e",
        "https://example.org/-rf.gguf",
        "https://example.org/model.bin",
        "https://example.org/",
        "https://huggingface.co/O/N/resolve/main/..%2f..%2fx.gguf",
        "https://huggingface.co/O/../resolve/main/x.gguf",
    ],
)
def test_nothing_typed_leaves_the_folder_of_models(text: str) -> None:
    with pytest.raises(UsageError):
        parse_source(text)


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", "../a", "a/..", "a/./b", "a\x00b", "a\nb", "x" * 201]
)
def test_paths_that_climb_or_cannot_be_are_refused(path: str) -> None:
    with pytest.raises(UsageError):
        safe_path(path)


@pytest.mark.parametrize(
    "name", [".gguf", "a/b.gguf", "..gguf", "a.gguf\n", "\uff41.gguf", "C:x.gguf", "a.gguf.sh"]
)
def test_file_names_that_mean_something_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        safe_file_name(name)
