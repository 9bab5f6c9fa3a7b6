"""Are the settings of a model written down as relay.toml has them?"""

import tomllib

import pytest
import tomli_w

from relayd.config import Model
from relayd.daemon.modellines import settings_of

pytestmark = pytest.mark.pure


def test_settings_are_those_that_a_file_gives_back() -> None:
    model = Model(name="a", file="/m/a.gguf", aliases=("b", "c"), slots=2)

    assert {"file": "/m/a.gguf", "aliases": ["b", "c"], "slots": 2} == settings_of(model)
    assert settings_of(model) == tomllib.loads(tomli_w.dumps(settings_of(model)))
