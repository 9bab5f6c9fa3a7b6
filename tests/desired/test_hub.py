"""Does a machine that only lets others serve need no engine of its own?"""

from pathlib import Path

import pytest

from relayd.desired.arguments import ServeArguments
from relayd.desired.display import Silent
from relayd.desired.make import NO_ENGINE
from relayd.desired.site import Site
from relayd.desired.state import desired_state

pytestmark = pytest.mark.system


@pytest.mark.parametrize(
    ("arguments", "config"),
    [
        (ServeArguments(hub=True), ""),
        (ServeArguments(), '[hub]\nworker_secret = "a-secret-of-workers-0123456789"\n'),
        (ServeArguments(), '[[upstream]]\nurl = "http://127.0.0.1:9"\n'),
    ],
)
def test_no_engine_is_fetched_where_no_model_is_on_disk(
    arguments: ServeArguments, config: str, home: Path
) -> None:
    (home / "relay.toml").write_text(config)
    (home / "relay.toml").chmod(0o600)
    environ = {"RELAYD_RUNTIME_DIR": str(home / "r"), "PATH": ""}

    desired = desired_state(arguments, Site(environ, home, home), Silent())

    assert (NO_ENGINE, ()) == (desired.engine, desired.plan)
