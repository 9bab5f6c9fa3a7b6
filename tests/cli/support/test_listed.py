"""Is a command imported when it runs, and is the garbage collector as it was afterwards?"""

import gc

import pytest

from relayd.cli.support.listed import LazyCommand

pytestmark = pytest.mark.pure


def test_a_command_is_loaded_under_its_name() -> None:
    command = LazyCommand("relayd.cli.version", "version", "Show the version.").load("version")

    assert "version" == command.name
    assert gc.isenabled()


def test_cycles_are_looked_for_again_after_an_import_that_failed() -> None:
    with pytest.raises(ModuleNotFoundError):
        LazyCommand("relayd.cli.nothing", "nothing", "Do nothing.").load("nothing")

    assert gc.isenabled()
