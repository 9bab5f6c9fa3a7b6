import json
from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def machine_files(tmp_path: Path) -> Callable[[str], Path]:
    """Lay kernel files of `fixtures`, written after their documentation, in a folder that stands for `/`."""

    def lay(name: str) -> Path:
        for path, text in json.loads((FIXTURES / f"{name}.json").read_text()).items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.parent.name == "fd":
                file.symlink_to(text)
            else:
                file.write_text(text if text.endswith("\0") else f"{text}\n")
        return tmp_path

    return lay
