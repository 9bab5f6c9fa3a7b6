"""Do monitors learn the truth, and strangers nothing else?"""

import json

import pytest

from relayd.api.fleet import ModelState, ModelView
from relayd.api.health import HealthWorker, Vitals, can_be_served, health_routes, overall
from tests.api.conftest import KEY, Doors, Response, StillFleet, run_with, view


def ask(
    doors: Doors, path: str, views: tuple[ModelView, ...], *fields: str, keys: tuple[str, ...] = ()
) -> Response:
    async def scene() -> Response:
        async with doors(health_routes(StillFleet(views)), keys=keys) as client:
            head = [f"GET {path} HTTP/1.1", "Host: localhost", *fields, "", ""]
            return await client.ask("\r\n".join(head).encode())

    return run_with(scene)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ((), "ok"),
        ((view(),), "ok"),
        ((view(ready=0),), "loading"),
        ((view(), view("b", ready=0)), "degraded"),
        ((view(ready=1, replicas=2),), "degraded"),
        ((view(ready=0, cold=1),), "ok"),
        ((view(), view("b", ready=0, cold=1)), "ok"),
        ((view(ready=1, replicas=3, cold=1),), "degraded"),
        ((view(ready=0, state=ModelState.WAITING),), "loading"),
        ((view(ready=0, state=ModelState.STOPPED),), "degraded"),
    ],
)
def test_health_is_one_word(views: tuple[ModelView, ...], expected: str) -> None:
    assert expected == overall(views)


@pytest.mark.system
def test_a_daemon_without_a_ready_replica_answers_for_itself(doors: Doors) -> None:
    views = (view(ready=0),)

    assert [200, 503, 503] == [ask(doors, path, views).status for path in ("/healthz", "/readyz", "/health")]


@pytest.mark.pure
@pytest.mark.parametrize(
    ("views", "expected"),
    [
        ((), False),
        ((view(ready=0),), False),
        ((view(ready=0, state=ModelState.WAITING),), False),
        ((view(ready=0, state=ModelState.STOPPED),), False),
        ((view(ready=0, state=ModelState.FAILED), view("b", ready=0)), False),
        ((view(ready=0, state=ModelState.FAILED), view("b")), True),
        ((view(ready=0, state=ModelState.FAILED), view("b", ready=0, cold=1)), True),
        ((view(ready=1, replicas=2),), True),
    ],
)
def test_a_request_can_be_served_by_what_is_ready_or_only_cold(
    views: tuple[ModelView, ...], expected: bool
) -> None:
    assert expected is can_be_served(views)


@pytest.mark.system
def test_health_is_503_while_no_request_can_be_served(doors: Doors) -> None:
    failed = view(ready=0, state=ModelState.FAILED)

    answers = [ask(doors, "/health", views) for views in ((failed,), (failed, view("b", ready=0, cold=1)))]
    assert [(503, "degraded"), (200, "degraded")] == [
        (answer.status, json.loads(answer.body)["status"]) for answer in answers
    ]


@pytest.mark.system
def test_one_model_that_can_serve_makes_relayd_ready(doors: Doors) -> None:
    assert 200 == ask(doors, "/readyz", (view(), view("b", ready=0))).status


@pytest.mark.system
@pytest.mark.parametrize(("keys", "fields"), [((), ()), ((KEY,), (f"Authorization: Bearer {KEY}",))])
def test_health_names_the_models_to_those_who_may_use_them(
    doors: Doors, keys: tuple[str, ...], fields: tuple[str, ...]
) -> None:
    answer = ask(doors, "/health", (view(),), *fields, keys=keys)

    model = {"id": "qwen", "state": "ready", "replicas_ready": 1, "replicas": 1}
    found = json.loads(answer.body)
    assert ("ok", [model]) == (found["status"], found["models"])


@pytest.mark.system
def test_health_has_what_modelrelay_reports_for_those_who_may_see_it(doors: Doors) -> None:
    workers = tuple(
        HealthWorker(f"{name}#0", "local", (name, "alias"), 2, 4, False) for name in ("qwen", "x")
    )
    routes = health_routes(StillFleet((view(),)), lambda: Vitals("1.2.3", 12.3456, 7, workers))

    async def scene() -> list[dict[str, object]]:
        found = []
        for keys, field in (((), ""), ((KEY,), ""), ((KEY,), f"x-api-key: {KEY}\r\n")):
            async with doors(routes, keys=keys) as client:
                raw = f"GET /health HTTP/1.1\r\nHost: localhost\r\n{field}\r\n"
                found.append(json.loads((await client.ask(raw.encode())).body))
        return found

    free, stranger, known = run_with(scene)

    worker = {
        "id": "qwen#0",
        "provider": "local",
        "models": ["qwen", "alias"],
        "in_flight": 2,
        "max_concurrent": 4,
        "is_draining": False,
    }
    expected = {"version": "1.2.3", "workers_connected": 1, "queue_depth": 7, "uptime_secs": 12.346}
    assert {"status": "ok"} == stranger
    assert free == known
    assert expected | {"workers": [worker]} == {name: known[name] for name in (*expected, "workers")}


@pytest.mark.system
def test_r9_health_tells_strangers_one_word(doors: Doors) -> None:
    assert b'{"status":"ok"}' == ask(doors, "/health", (view(),), keys=(KEY,)).body


@pytest.mark.system
def test_a_wrong_key_is_refused_even_where_none_is_needed(doors: Doors) -> None:
    assert 401 == ask(doors, "/health", (view(),), "x-api-key: other", keys=(KEY,)).status
