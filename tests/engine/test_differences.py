"""Are the flags named by which a running server differs from what is planned?"""

import pytest

from relayd.engine.differences import differences

pytestmark = pytest.mark.pure

RUNNING = ("/bin/llama-server", "--model", "/m.gguf", "--host", "a.sock", "--ctx-size", "4096", "--metrics")


@pytest.mark.parametrize(
    ("planned", "named"),
    [
        (("--model", "/m.gguf", "--ctx-size", "4096", "--metrics"), ()),
        (("--metrics", "--ctx-size", "4096", "--model", "/m.gguf", "--host", "b.sock"), ()),
        (
            ("--model", "/m.gguf", "--ctx-size", "8192", "--metrics"),
            ("--ctx-size 4096 (planned 8192)",),
        ),
        (
            ("--model", "/m.gguf", "--ctx-size", "4096", "--metrics", "--pooling", "mean", "--slots"),
            ("without --pooling mean", "without --slots"),
        ),
        (("--model", "/m.gguf", "--metrics"), ("--ctx-size 4096 (not planned)",)),
        (
            ("--model", "/m.gguf", "--ctx-size", "4096", "--metrics", "--lora", "a", "--lora", "b"),
            ("without --lora a b",),
        ),
    ],
)
def test_flags_that_differ_are_named_without_those_of_each_start(
    planned: tuple[str, ...], named: tuple[str, ...]
) -> None:
    assert named == differences(RUNNING, ("/other/llama-server", *planned, "--port", "1"))
