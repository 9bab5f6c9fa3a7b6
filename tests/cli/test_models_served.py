import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relayd.cli.models import app
from relayd.errors import UsageError
from relayd.models.shelf import ModelRecord, ModelShelf, StoredFile
from tests.daemons import Daemon

pytestmark = pytest.mark.real


def test_a_model_that_runs_is_shown_so_and_not_removed(
    start_daemon: Callable[..., Daemon], home: Path, tiny_model: Path
) -> None:
    shelf = ModelShelf(home / "data/relayd/models")
    shelf.make()
    file = shelf.root / "tiny.gguf"
    shutil.copy(tiny_model, file)
    kept = StoredFile(path=str(file), data=str(file), bytes=file.stat().st_size)
    shelf.write(
        ModelRecord(name="tiny", source="https://example.org/tiny.gguf", kind="pulled", parts=(kept,))
    )
    daemon = start_daemon(f'[[model]]\nname = "tiny"\nfile = "{file}"\ncontext = 512\n')

    shown = CliRunner().invoke(app, ["--json"], env=daemon.environ)
    removed = CliRunner().invoke(app, ["rm", "tiny"], env=daemon.environ)

    assert [("tiny", True)] == [(one["name"], one["running"]) for one in json.loads(shown.stdout)["models"]]
    assert isinstance(removed.exception, UsageError)
    assert "relayd stop" in removed.exception.remedy
    assert file.exists()
