"""Do lines of upstreams serve a model by the servers that LLMStream's API names, and nothing else?"""

import pytest

from relayd.config.remotelines import ServerList, remote_models, with_remote, without_remote

pytestmark = pytest.mark.pure

A, B = "http://a:1", "http://b:2"
OTHER = {"url": A, "name": "paid", "cost": 5.0}
"""A line that serves whatever its server has."""


def test_a_model_is_served_by_each_of_its_servers() -> None:
    lines = with_remote([OTHER], "m", ServerList((A, B)))

    assert [OTHER, ("a-1", A, ["m"]), ("b-2", B, ["m"])] == [
        lines[0], *((one["name"], one["url"], one["models"]) for one in lines[1:])
    ]  # fmt: skip
    assert {"m": ServerList((A, B), "round_robin")} == remote_models(lines)


def test_models_with_one_strategy_share_the_line_of_a_server() -> None:
    lines = with_remote(with_remote([], "m", ServerList((A,))), "n", ServerList((A, B)))

    assert [(A, ["m", "n"]), (B, ["n"])] == [(one["url"], one["models"]) for one in lines]


def test_another_strategy_has_a_line_and_a_name_of_its_own() -> None:
    lines = with_remote([], "m", ServerList((A,)))
    lines = with_remote(lines, "n", ServerList((A,), "random"), ["a-1-2"])

    assert [("a-1", "round_robin"), ("a-1-3", "random")] == [(one["name"], one["strategy"]) for one in lines]


def test_other_servers_take_the_place_of_those_before() -> None:
    lines = with_remote(with_remote([OTHER], "m", ServerList((A,))), "m", ServerList((B,)))

    assert [A, B] == [one["url"] for one in lines]
    assert {"m": ServerList((B,))} == remote_models(lines)


def test_a_model_that_is_taken_out_leaves_the_others() -> None:
    lines = with_remote(with_remote([OTHER], "m", ServerList((A,))), "n", ServerList((A,)))

    assert {"n"} == {*remote_models(without_remote(lines, "m"))}
    assert [OTHER] == without_remote(without_remote(lines, "m"), "n")


def test_patterns_and_names_of_others_are_no_models_of_ours() -> None:
    assert {} == remote_models([OTHER, {"url": A, "models": ["*", "x=y", "qwen*"]}])
