"""A search's table keeps names and sizes at any width."""

import io

import pytest
from rich.console import Console

from relayd.ui.search import HitRow, hits_table

pytestmark = pytest.mark.pure

ROWS = [
    HitRow("unsloth/Qwen3-30B-A3B-Instruct-2507-GGUF", "UD-Q4_K_XL", 17_700_000_000, "yes", 123_456, 950,
           "2026-11-20"),
    HitRow("maker/gated-GGUF", "Q4_K_M", 4_000_000_000, "easily", 999, 1, "2026-01-02", "licence to accept"),
    HitRow("maker/odd-GGUF", "", 0, "", 3_400_000, 0, ""),
]  # fmt: skip


def drawn(width: int, rows: list[HitRow] = ROWS[::2]) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(hits_table(rows, width))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (140, "REPOSITORY QUANT SIZE FITS DOWNLOADS LIKES UPDATED"),
        (100, "REPOSITORY QUANT SIZE FITS DOWNLOADS LIKES UPDATED"),
        (80, "REPOSITORY QUANT SIZE FITS DOWNLOADS"),
        (60, "REPOSITORY SIZE FITS"),
    ],
)
def test_columns_go_before_a_name_is_broken(width: int, columns: str) -> None:
    lines = drawn(width)

    assert columns.split() == lines[0].split()
    assert lines[1].startswith("unsloth/Qwen3-30B-A3B-Instruct-2507-GGUF ")
    assert "16 GiB" in lines[1]
    assert 3 == len(lines)


def test_what_is_against_a_repository_is_noted() -> None:
    lines = drawn(140, ROWS)

    assert lines[2].endswith("licence to accept")
    assert "3.4M" in lines[3]
