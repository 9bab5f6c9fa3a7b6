"""Is every path that is served described, with the members that it takes?"""

import json
from typing import Any

import msgspec
import pytest
from aiohttp import web

from relayd.api import (
    anthropic_routes,
    health_routes,
    lm_studio_routes,
    native_routes,
    ollama_routes,
    openai_routes,
    rerank_routes,
    responses_routes,
)
from relayd.api.admission import Described, RequestContext, Route
from relayd.api.description import SUMMARIES, description_routes, llms_text, openapi
from relayd.api.inference import Inference
from relayd.api.kept import KeptResponses
from relayd.api.native import FETCHING
from relayd.api.ollama import NO_CHANGES
from relayd.api.openai import NOT_SERVED
from relayd.api.transcription import transcription_routes
from relayd.clock import SystemClock
from relayd.router import LLAMA_SERVER
from relayd.router.members import MemberRule, flag, flag_or_number, number, real, refused, shaped, text, texts
from tests.api.conftest import Doors
from tests.api.stage import Stage, get

pytestmark = pytest.mark.system

UNSERVED = (*NOT_SERVED, *NO_CHANGES, FETCHING)


def every_route(inference: Inference) -> tuple[Route, ...]:
    routes = (
        *openai_routes(inference),
        *anthropic_routes(inference),
        *responses_routes(inference, KeptResponses(SystemClock()), SystemClock()),
        *rerank_routes(inference),
        *transcription_routes(inference),
        *native_routes(inference),
        *ollama_routes(inference, SystemClock()),
        *lm_studio_routes(inference),
        *health_routes(inference.fleet),
    )
    return (*routes, *description_routes(routes))


def document(doors: Doors) -> dict[str, Any]:
    answer = Stage(routes=every_route).ask(doors, get("/openapi.json"))
    assert (200, "application/json") == (answer.status, answer.headers["content-type"])
    return dict(json.loads(answer.body))


def test_every_path_is_described_or_answers_that_it_is_not_served(doors: Doors) -> None:
    found: list[str] = []

    def routes(inference: Inference) -> tuple[Route, ...]:
        found.extend(route.path for route in every_route(inference))
        return every_route(inference)

    Stage(routes=routes).ask(doors, get("/healthz"))

    served = {path for path in found if not path.startswith(UNSERVED)}
    assert set(SUMMARIES) == served


def test_the_description_has_each_body_and_each_stream(doors: Doors) -> None:
    described = document(doors)
    chat = described["paths"]["/v1/chat/completions"]["post"]
    body = chat["requestBody"]["content"]["application/json"]["schema"]

    assert "3.1.0" == described["openapi"]
    assert LLAMA_SERVER["/v1/chat/completions"].members.keys() == body["properties"].keys()
    assert {"application/json", "text/event-stream"} == chat["responses"]["200"]["content"].keys()
    assert {"get", "delete"} <= described["paths"]["/v1/responses/{name}"].keys()
    assert [] == described["paths"]["/healthz"]["get"]["security"]


def test_the_description_has_the_lines_of_ollamas_streams(doors: Doors) -> None:
    content = document(doors)["paths"]["/api/chat"]["post"]["responses"]["200"]["content"]

    assert {"application/json", "application/x-ndjson"} == content.keys()


def test_each_operation_has_an_id_of_its_own(doors: Doors) -> None:
    operations = [one for path in document(doors)["paths"].values() for one in path.values()]

    assert len(operations) == len({one["operationId"] for one in operations})


async def unasked(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
    raise AssertionError


class InnerArguments(msgspec.Struct):
    most: int | None = None


class OuterArguments(msgspec.Struct):
    name: str
    bound: InnerArguments | None = None
    bounds: list[InnerArguments] = []


def test_the_schema_of_an_operation_holds_those_of_its_members() -> None:
    takes = Described("/admin/bounds/{name}", "Set bounds.", OuterArguments, named="name")
    route = Route("PUT", "/admin/bounds/", unasked, described=(takes,))

    operation = openapi((route,))["paths"]["/admin/bounds/{name}"]["put"]
    members = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]

    assert ["bound", "bounds"] == list(members)
    assert "most" in members["bounds"]["items"]["properties"]
    assert "$ref" not in json.dumps(members)


def test_language_models_read_the_same_paths(doors: Doors) -> None:
    answer = Stage(routes=every_route).ask(doors, get("/llms.txt"))

    assert answer.headers["content-type"].startswith("text/plain")
    for path in SUMMARIES:
        assert f" {path}" in answer.body.decode()


@pytest.mark.parametrize(
    ("rule", "accepted", "refused_values"),
    [
        (number(0, 5), [0, 5, 2.5, None], [-1, 6, "x", True]),
        (real(), [1, -1.5, None], ["x", True]),
        (flag(), [True, None], [1, "x"]),
        (flag_or_number(0, 5), [True, 3, None], [6, "x"]),
        (text(3), ["abc", None], ["abcd", 1]),
        (texts(2, 3), ["abc", ["a", "b"], None], [["a", "b", "c"], ["abcd"], 1]),
        (shaped(b'"{', "a string or an object"), ["a", {}, None], [1, []]),
        (refused("No."), [None], [1, "x"]),
    ],
)
def test_a_schema_describes_what_its_rule_accepts(
    rule: MemberRule, accepted: list[Any], refused_values: list[Any]
) -> None:
    for value in accepted:
        rule.check(msgspec.Raw(json.dumps(value).encode()))
        assert fits(value, rule.schema)
    for value in refused_values:
        with pytest.raises(msgspec.ValidationError):
            rule.check(msgspec.Raw(json.dumps(value).encode()))
        assert not fits(value, rule.schema)


def fits(value: object, schema: Any) -> bool:
    """Return whether a value fits what these rules use of JSON schemas."""
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    if names.get(type(value), "null") not in kinds:
        return False
    if isinstance(value, str):
        return len(value) <= int(schema.get("maxLength", len(value)))
    if isinstance(value, list):
        return len(value) <= schema.get("maxItems", len(value)) and all(
            fits(one, schema["items"]) for one in value
        )
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return not is_number or bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


def test_the_texts_are_those_of_the_routes_they_are_given() -> None:
    assert {} == openapi(())["paths"]
    assert "`GET" not in llms_text(()).partition("## Paths")[2]
