"""Do path, query and body become the arguments that they mean, and is everything else refused by name?"""

from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from relayd.api.admin.actions import ACTIONS, Action
from relayd.api.admin.arguments import arguments_of, find_action
from relayd.errors import NotFoundError, RequestError

pytestmark = pytest.mark.pure


class Line(msgspec.Struct, frozen=True):
    name: str
    settings: dict[str, Any] = {}


class Target(msgspec.Struct, frozen=True):
    target: str
    force: bool = False
    lines: Annotated[int, Meta(ge=0)] = 5


ADD = Action("POST", "/admin/models", "add", "…", others="settings", renamed={"model_name": "name"})
CHANGE = Action("PUT", "/admin/models/{name}", "change", "…", "name", others="settings")
STOP = Action("POST", "/admin/replicas/{name}/stop", "stop", "…", "target")
SHOW = Action("GET", "/admin/logs", "logs", "…")


def made(
    action: Action, kind: type[msgspec.Struct], body: bytes = b"", *, name: str = "", query: str = ""
) -> Any:
    return arguments_of(action, kind, name=name, query=query, body=body)


def test_a_name_stands_in_the_path_and_settings_in_the_body() -> None:
    assert Line("a/b", {"file": "x"}) == made(CHANGE, Line, b'{"file": "x", "name": "c"}', name="a/b")


def test_llmstreams_name_of_a_model_is_understood() -> None:
    assert Line("m", {"slots": 2}) == made(ADD, Line, b'{"model_name": "m", "slots": 2}')


def test_a_query_is_read_as_the_types_that_are_wanted() -> None:
    assert Target("t", force=True, lines=3) == made(SHOW, Target, query="target=t&force=true&lines=3")


@pytest.mark.parametrize(
    ("action", "kind", "body", "query", "said"),
    [
        (ADD, Line, b"[]", "", "not a JSON object"),
        (ADD, Line, b"{", "", "not a JSON object"),
        (ADD, Line, b"[" * 100_000, "", "not a JSON object"),
        (ADD, Line, b"{}", "", "name"),
        (STOP, Target, b'{"forse": true}', "", "'forse' is not a member"),
        (STOP, Target, b'{"force": "true"}', "", "force"),
        (STOP, Target, b'{"__class__": {}}', "", "'__class__' is not a member"),
        (SHOW, Target, b"", "target=t&lines=-1", "lines"),
        (SHOW, Target, b"", "target=t&shout=1", "'shout' is not a member"),
    ],
)  # fmt: skip
def test_what_a_verb_does_not_take_is_refused_by_name(
    action: Action, kind: type[msgspec.Struct], body: bytes, query: str, said: str
) -> None:
    with pytest.raises(RequestError) as refused:
        made(action, kind, body, name="n", query=query)

    assert said in refused.value.message
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("tail", "verb", "name"),
    [
        ("m", "show", "m"),
        ("a/b", "show", "a/b"),
        ("m/load", "load", "m"),
        ("a/b/load", "load", "a/b"),
        ("demo%231/load", "load", "demo#1"),
    ],
)
def test_the_longest_ending_of_a_path_wins(tail: str, verb: str, name: str) -> None:
    actions = (
        Action("POST", "/admin/models/{name}", "show", "…", "name"),
        Action("POST", "/admin/models/{name}/load", "load", "…", "name"),
    )

    action, found = find_action(actions, tail)

    assert (verb, name) == (action.verb, found)


@pytest.mark.parametrize("tail", ["", "/stop", "demo", "demo/halt"])
def test_a_path_that_means_nothing_is_not_found(tail: str) -> None:
    with pytest.raises(NotFoundError):
        find_action((STOP,), tail)


def test_every_path_of_the_table_is_under_admin_and_told_apart() -> None:
    places = [(one.method, one.path) for one in ACTIONS]

    assert len(places) == len({*places})
    assert all(one.path.startswith("/admin/") for one in ACTIONS)
    assert all(bool(one.named) == ("{name}" in one.path) for one in ACTIONS)


class Rights(msgspec.Struct, frozen=True):
    scopes: tuple[str, ...] = ("inference",)


class Key(msgspec.Struct, frozen=True):
    name: str
    rights: Rights = Rights()


KEY = Action("POST", "/admin/keys", "create_key", "…", others="rights")


def test_members_of_a_nested_value_stand_in_the_body_itself() -> None:
    assert Key("n", Rights(("admin",))) == made(KEY, Key, b'{"name": "n", "scopes": ["admin"]}')


def test_a_member_that_the_nested_value_lacks_is_refused_by_name() -> None:
    with pytest.raises(RequestError, match="'scope' is not a member") as refused:
        made(KEY, Key, b'{"name": "n", "scope": "admin"}')

    assert "scopes" in refused.value.remedy


class _Bounds(msgspec.Struct, frozen=True):
    rpm: int | None = None


class _Nested(msgspec.Struct, frozen=True):
    limits: _Bounds = _Bounds()
    quotas: tuple[_Bounds, ...] = ()
    free: dict[str, Any] = {}


PUT = Action("PUT", "/admin/things", "change", "…")


@pytest.mark.parametrize(
    "body", [b'{"limits": {"rpmm": 1}}', b'{"quotas": [{"rpm": 1}, {"rpm": 1, "rpmm": 2}]}']
)
def test_a_mistyped_member_at_any_depth_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(RequestError, match="'rpmm' is not a member") as refused:
        made(PUT, _Nested, body)

    assert "rpmm" == refused.value.param
    assert "rpm" in str(refused.value.remedy)


def test_what_is_free_at_any_depth_stays_so() -> None:
    expected = _Nested(_Bounds(3), free={"a": {"b": 1}})

    assert expected == made(PUT, _Nested, b'{"limits": {"rpm": 3}, "free": {"a": {"b": 1}}}')
