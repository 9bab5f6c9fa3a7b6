"""Is every setting documented, in the schema and in relay.toml.example, with its true default?"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from msgspec.structs import fields

from relayd.config.check import Surroundings, check
from relayd.config.describe import describe, is_array, is_section
from relayd.config.locate import lines
from relayd.config.schema import (
    Allocation,
    Config,
    LoraFile,
    Model,
    ReplicaRange,
    Section,
    UpstreamServer,
    VirtualModel,
)
from relayd.daemon.virtual import check_virtual

pytestmark = pytest.mark.pure

EXAMPLE = (Path(__file__).resolve().parents[2] / "relay.toml.example").read_text("utf-8")


def sections() -> list[type[Section]]:
    """Return every table of the schema, nested ones included."""
    found: list[type[Section]] = [Config, ReplicaRange]
    for section in found:
        kinds = (get_args(one.type)[0] if is_array(one.type) else one.type for one in fields(section))
        found += [kind for kind in kinds if is_section(kind)]
    return found


def settings() -> Iterator[tuple[str, str]]:
    return (
        (one.name, key.name) for one in fields(Config) if is_section(one.type) for key in fields(one.type)
    )


def parse(text: str) -> Config:
    around = Surroundings(Path("/"), Path("/home"), {})
    document = check(tomllib.loads(text), lambda path: f"relay.toml.example, {path}", around)
    assert [] == document.problems
    return msgspec.convert(document.values, Config)


def uncommented_models() -> str:
    """Return the commented blocks of [[model]], [model.placement] and [[model.lora]] as TOML."""
    blocks = re.findall(r"^# \[.*?\n(?!#)", EXAMPLE + "\n", re.DOTALL | re.MULTILINE)
    return "".join(re.sub(r"^# ", "", block, flags=re.MULTILINE) for block in blocks)


@pytest.mark.parametrize("section", sections())
def test_every_key_is_documented_in_the_schema(section: type[Section]) -> None:
    documented = re.findall(r"^ {8}(\w+): [A-Z]", section.__doc__ or "", re.MULTILINE)

    assert list(section.__struct_fields__) == documented


@pytest.mark.parametrize("section", sections())
def test_every_type_can_be_described_to_a_person(section: type[Section]) -> None:
    assert all(describe(one.type) for one in fields(section) if not is_section(one.type))


@pytest.mark.parametrize("section", sections())
def test_every_default_is_itself_allowed(section: type[Section]) -> None:
    for one in fields(section):
        if one.default is not msgspec.NODEFAULT:
            msgspec.convert(one.default, one.type)


def test_the_example_says_what_the_defaults_are() -> None:
    assert Config() == parse(EXAMPLE)


def test_the_example_has_every_setting_in_the_order_of_the_schema() -> None:
    assert list(settings()) == [path for path in lines(EXAMPLE) if len(path) == 2]


def test_every_setting_of_the_example_has_a_comment_above() -> None:
    rows = EXAMPLE.split("\n")

    bare = [path for path, line in lines(EXAMPLE).items() if not rows[line - 2].startswith("# ")]

    assert [] == bare


def test_every_setting_in_seconds_or_mebibytes_says_so_in_its_comment() -> None:
    rows = EXAMPLE.split("\n")
    units = {"_seconds": "second", "_mib": "MiB"}

    for path, line in lines(EXAMPLE).items():
        for ending, unit in units.items():
            if str(path[-1]).endswith(ending):
                assert unit.lower() in rows[line - 2].lower(), path


def test_the_commented_models_of_the_example_parse_to_the_defaults() -> None:
    (model,) = parse(uncommented_models()).model

    expected = Model(
        name=model.name,
        file=model.file,
        placement=model.placement,
        lora=tuple(LoraFile(file=one.file) for one in model.lora),
    )

    assert expected == model
    assert 1 == len(model.lora)


def test_the_virtual_model_of_the_example_parses_and_names_what_could_be_set() -> None:
    config = parse(uncommented_models())
    (virtual,) = config.virtual

    assert virtual.models
    check_virtual(config)


def test_the_upstream_of_the_example_parses_to_the_defaults() -> None:
    (upstream,) = parse(uncommented_models()).upstream

    assert UpstreamServer(url=upstream.url) == upstream


def test_the_commented_models_of_the_example_have_every_key_with_a_comment() -> None:
    text = uncommented_models()
    keys = re.findall(r"^(\w+) = .*?  # \S", text, re.MULTILINE)

    tables = {"placement", "lora"}
    expected = [
        *(key for key in Model.__struct_fields__ if key not in tables),
        *Allocation.__struct_fields__,
        *LoraFile.__struct_fields__,
        *VirtualModel.__struct_fields__,
        *UpstreamServer.__struct_fields__,
    ]

    assert expected == keys
