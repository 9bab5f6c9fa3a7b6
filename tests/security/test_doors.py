"""Who is let in by default, and what can be commanded?"""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web

from relayd.api.admission import Access, RequestContext, Route
from relayd.api.control import Verb, control_app
from relayd.api.native import native_routes
from relayd.config import parse_listen
from relayd.config.schema import Server
from relayd.daemon.operations import Operations, verbs

pytestmark = pytest.mark.pure


def test_r1_this_machine_alone_is_listened_on_by_default() -> None:
    listen = Server().listen

    assert isinstance(listen, str)
    assert "127.0.0.1" == parse_listen(listen).host


class Named(msgspec.Struct, frozen=True):
    name: str = ""


async def _nothing(_arguments: Named) -> Named:
    return Named()


def test_r15_the_verbs_are_a_closed_set_of_paths_without_look_up_by_name() -> None:
    app = control_app({("GET", "status"): Verb(Named, _nothing), ("POST", "stop"): Verb(Named, _nothing)})

    assert {("GET", "/status"), ("HEAD", "/status"), ("POST", "/stop")} >= {
        (route.method, route.resource.canonical) for route in app.router.routes() if route.resource
    }
    assert 1 << 16 == app._client_max_size


def test_r15_every_verb_of_a_daemon_has_typed_arguments() -> None:
    operations = Operations.__new__(Operations)

    for (method, _), verb in verbs(operations).items():
        assert method in ("GET", "POST")
        assert issubclass(verb.arguments, msgspec.Struct)
        assert asyncio.iscoroutinefunction(verb.run)


async def _none(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
    return web.Response()


def test_r53_figures_are_for_keys_of_their_scope() -> None:
    nothing_answers = SimpleNamespace(
        fleet=None, routes=lambda *_: (), within=lambda *_: Route("GET", "/", _none)
    )
    routes = native_routes(cast("Any", nothing_answers))

    found = {route.access for route in routes if route.path == "/metrics"}

    assert {Access.METRICS} == found
