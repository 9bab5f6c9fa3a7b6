"""Does every request get the answer that its head deserves, over a real socket?"""

import pytest
from aiohttp import web

from relayd.api.admission import Access, RequestContext, Route
from relayd.api.served import over_aiohttp
from relayd.errors import RequestError, UpstreamError
from tests.api.conftest import BODY_LIMIT, KEY, ROUTES, Doors, Response, echo, run_with

pytestmark = pytest.mark.system

HOST = b"Host: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST
BEARER = b"Authorization: Bearer " + KEY.encode() + b"\r\n"


def get(path: str, *fields: bytes) -> bytes:
    return b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"".join(fields) + b"\r\n"


def post(*fields: bytes, body: bytes = b"{}") -> bytes:
    return CHAT + JSON + b"".join(fields) + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def ask(doors: Doors, raw: bytes, **options: object) -> Response:
    async def scene() -> Response:
        async with doors(**options) as client:
            return await client.ask(raw)

    return run_with(scene)


def test_a_request_reaches_its_handler_and_carries_an_id(doors: Doors) -> None:
    answer = ask(doors, post())

    assert (200, b'{"bytes":2}') == (answer.status, answer.body)
    assert 32 == len(answer.headers["x-request-id"])
    assert "relayd" == answer.headers["server"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("my.id-1_x", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a b/{}=\"'", True),
        ("caf\u00e9", False),
        ("a\x01b", False),
    ],
)
def test_a_well_formed_request_id_is_the_clients(doors: Doors, sent: str, kept: bool) -> None:
    answer = ask(doors, get("/healthz", f"X-Request-ID: {sent}\r\n".encode()))

    assert kept == (sent == answer.headers.get("x-request-id"))


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (b"Request-Id: other\r\n", "other"),
        (b"request-id:  \t other \r\n", "other"),
        (b"Request-Id: other\r\nX-Request-ID: first\r\n", "first"),
        (b"X-Request-ID:  \r\nRequest-Id: other\r\n", "other"),
    ],
)
def test_either_field_names_a_request_and_the_first_one_wins(doors: Doors, fields: bytes, named: str) -> None:
    assert named == ask(doors, get("/healthz", fields)).headers["x-request-id"]


@pytest.mark.parametrize(
    "path",
    [
        "/", "/v1", "/v1/", "/v1/models/", "/v1/chat/completions/", "/v1//chat/completions",
        "//v1/chat/completions",
        "/V1/chat/completions", "/v1/chat%2Fcompletions", "/v1/%63hat/completions", "/v1/./chat/completions",
        "/v1/x/../chat/completions", "/v1/%2e%2e/v1/chat/completions", "/v1/chat/completions%00",
        "/v1/chat/completions;a", "/v1/chat/completions#a", "/slots", "/props", "/lora-adapters", "/tools",
        "/index.html", "/..%2f..%2fetc/passwd", "/../../etc/passwd",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "TRACE", "DELETE"])
def test_r34_paths_are_exact(doors: Doors, path: str, method: str) -> None:
    raw = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"

    answer = ask(doors, raw.encode())

    assert (404, "not_found") == (answer.status, answer.error["code"])


@pytest.mark.parametrize(
    "target", ["*", "localhost:443", "evil:443", "http://evil/healthz", "http://[::1/healthz", "/a\x00b"]
)
@pytest.mark.parametrize("method", ["GET", "CONNECT", "OPTIONS"])
def test_targets_that_are_no_path_of_this_server_are_malformed(
    doors: Doors, target: str, method: str
) -> None:
    answer = ask(doors, f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    assert (400, "invalid_request") == (answer.status, answer.error["code"])
    assert answer.headers["x-request-id"]


def test_the_absolute_form_of_this_server_passes(doors: Doors) -> None:
    assert 200 == ask(doors, get("http://localhost/healthz")).status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("[::1]:8080", 200), ("LOCALHOST.", 200), ("127.0.0.1", 200), ("models.lan:1", 200),
        ("127.0.0.1.nip.io", 421), ("localhost.evil", 421), ("0x7f000001", 421), ("a@localhost", 421),
        ("", 421), ("caf\u00e9", 421),
    ],
)  # fmt: skip
def test_r4_the_host_is_checked_before_everything_else(doors: Doors, host: str, status: int) -> None:
    raw = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil\r\nx-api-key: wrong\r\n\r\n"
    if status == 200:
        raw = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"

    answer = ask(doors, raw.encode(), allowed_hosts=("models.lan",), keys=(KEY,))

    assert status == answer.status


def test_r28_http_1_0_works_and_needs_a_host_too(doors: Doors) -> None:
    assert 200 == ask(doors, b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").status
    assert 421 == ask(doors, b"GET /healthz HTTP/1.0\r\n\r\n").status


def test_r28_head_answers_like_get_without_a_body(doors: Doors) -> None:
    answer = ask(doors, get("/healthz").replace(b"GET", b"HEAD"))

    assert (200, "15", b"") == (answer.status, answer.headers["content-length"], answer.body)


def test_a_wrong_method_names_the_right_ones(doors: Doors) -> None:
    answer = ask(doors, get("/v1/chat/completions"))

    assert (405, "POST, OPTIONS") == (answer.status, answer.headers["allow"])
    assert "method_not_allowed" == answer.error["code"]


def test_r28_options_names_the_methods(doors: Doors) -> None:
    answer = ask(doors, get("/healthz").replace(b"GET", b"OPTIONS"))

    assert (204, "GET, HEAD, OPTIONS") == (answer.status, answer.headers["allow"])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_r9_every_route_that_is_not_public_needs_a_key(doors: Doors, route: Route) -> None:
    raw = f"{route.method} {route.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"

    answer = ask(doors, raw.encode(), keys=(KEY,))

    public = route.access is Access.PUBLIC
    assert public == (401 != answer.status)
    assert public == (route.path in {"/health", "/v1/health", "/healthz", "/readyz"})


@pytest.mark.parametrize(
    "raw", [get("/nothing"), get("/v1/chat/completions"), get("/healthz").replace(b"GET", b"OPTIONS")]
)
def test_without_a_key_nothing_is_learned_about_paths(doors: Doors, raw: bytes) -> None:
    assert 401 == ask(doors, raw, keys=(KEY,)).status


@pytest.mark.parametrize(
    ("raw", "path", "status"),
    [
        (get("/v1/models?key=secret"), "/v1/models", 401),
        (get("/nothing", BEARER), "/nothing", 404),
        (get("/v1/chat/completions", BEARER), "/v1/chat/completions", 405),
    ],
)
def test_what_is_refused_at_the_door_is_noted_once(doors: Doors, raw: bytes, path: str, status: int) -> None:
    refused: list[tuple[str, int]] = []

    def note(_id: str, path: str, error: RequestError) -> None:
        refused.append((path, error.http_status))

    answer = ask(doors, raw, keys=(KEY,), on_refused=note)

    assert status == answer.status
    assert [(path, status)] == refused


def test_what_a_handler_refuses_is_not_the_doors(doors: Doors) -> None:
    refused: list[RequestError] = []

    answer = ask(doors, post(body=b"x" * (BODY_LIMIT + 1)), on_refused=lambda *_: refused.append(_[-1]))

    assert (413, []) == (answer.status, refused)


CREDENTIALS = [
    ([BEARER], 200),
    ([b"x-api-key: " + KEY.encode() + b"\r\n"], 200),
    ([BEARER, b"x-api-key: " + KEY.encode() + b"\r\n"], 200),
    ([BEARER, b"x-api-key: other\r\n"], 400),
    ([b"Authorization: Bearer other\r\n"], 401),
    ([b"x-api-key: other\r\n"], 401),
    ([b"x-api-key: caf\xe9\r\n"], 401),
    ([b"Authorization: Basic " + KEY.encode() + b"\r\n"], 401),
    ([b"Cookie: api_key=" + KEY.encode() + b"\r\n"], 401),
    ([], 401),
]


@pytest.mark.parametrize(("fields", "status"), CREDENTIALS)
def test_each_way_to_bring_a_key(doors: Doors, fields: list[bytes], status: int) -> None:
    assert status == ask(doors, post(*fields), keys=(KEY,)).status


def test_r8_a_key_in_the_query_opens_nothing(doors: Doors) -> None:
    raw = post().replace(b"completions HTTP", b"completions?api_key=" + KEY.encode() + b" HTTP")

    assert 401 == ask(doors, raw, keys=(KEY,)).status


def test_r12_missing_and_wrong_keys_get_the_same_bytes(doors: Doors) -> None:
    fixed = b"X-Request-ID: same\r\n"
    answers = [
        ask(doors, post(fixed, *fields), keys=(KEY,))
        for fields in ([], [b"x-api-key: other\r\n"], [b"Authorization: Bearer \r\n"])
    ]

    assert 1 == len({answer.body for answer in answers})
    assert {"Bearer"} == {answer.headers["www-authenticate"] for answer in answers}
    assert "authentication_error" == answers[0].error["type"]


def test_too_many_wrong_keys_are_told_to_wait(doors: Doors) -> None:
    async def scene() -> list[Response]:
        async with doors(keys=(KEY,)) as client:
            return [await client.ask(post(b"x-api-key: other\r\n")) for _ in range(21)]

    *before, last = run_with(scene)

    assert {401} == {answer.status for answer in before}
    assert (429, "rate_limit_error") == (last.status, last.error["type"])
    assert 0 < int(last.headers["retry-after"]) <= 60


@pytest.mark.parametrize("method", [b"POST", b"GET", b"OPTIONS"])
@pytest.mark.parametrize(
    "field", [b"Origin: http://evil\r\n", b"Origin: null\r\n", b"Sec-Fetch-Site: cross-site\r\n"]
)
def test_r5_pages_of_other_sites_are_refused_with_every_method(
    doors: Doors, method: bytes, field: bytes
) -> None:
    answer = ask(doors, post(field, BEARER).replace(b"POST", method, 1), keys=(KEY,))

    assert (403, "permission_error") == (answer.status, answer.error["type"])
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_listed_page_may_ask_and_reads_errors_too(doors: Doors) -> None:
    origin = b"Origin: http://app.example\r\n"

    answers = [
        ask(doors, raw, cors_origins=("http://app.example",), keys=(KEY,))
        for raw in (post(origin, BEARER), post(origin), post(origin, BEARER, body=b"x" * 200_000))
    ]

    assert [200, 401, 413] == [answer.status for answer in answers]
    assert {"http://app.example"} == {answer.headers["access-control-allow-origin"] for answer in answers}
    assert {"Origin"} == {answer.headers["vary"] for answer in answers}


def test_a_listed_page_gets_its_preflight_without_a_key(doors: Doors) -> None:
    raw = (
        b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nOrigin: http://app.example\r\n"
        b"Access-Control-Request-Method: POST\r\n"
        b"Access-Control-Request-Headers: authorization, x-stainless-os\r\n\r\n"
    )

    answer = ask(doors, raw, cors_origins=("http://app.example",), keys=(KEY,))

    assert 204 == answer.status
    assert "POST, OPTIONS" == answer.headers["access-control-allow-methods"]
    assert "authorization, x-stainless-os" == answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def test_the_own_page_may_ask_and_needs_no_cors(doors: Doors) -> None:
    answer = ask(doors, post(b"Origin: http://localhost\r\n"))

    assert 200 == answer.status
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "media_type", [b"text/plain", b"multipart/form-data; boundary=x", b"application/x-www-form-urlencoded"]
)
def test_r7_forms_of_web_pages_are_refused(doors: Doors, media_type: bytes) -> None:
    own_page = post(b"Origin: http://localhost\r\n").replace(b"application/json", media_type)
    plain = post().replace(b"application/json", media_type)

    refused = ask(doors, own_page)
    assert (415, "unsupported_media_type") == (refused.status, refused.error["code"])
    assert 200 == ask(doors, plain).status


def test_a_fault_of_ours_tells_nothing_but_its_id(doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(
        doors, post().replace(b"/v1/chat/completions", b"/fail").replace(JSON, JSON + b"X-Request-ID: r1\r\n")
    )

    assert (500, "internal_error") == (answer.status, answer.error["code"])
    assert "r1" == answer.headers["x-request-id"]
    assert b"secret" not in answer.body
    assert "request.failed request_id=r1" in caplog.text


def test_an_error_after_the_first_byte_closes_instead_of_answering_again(doors: Doors) -> None:
    async def late(request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        raise UpstreamError("too late")

    async def scene() -> bytes:
        async with doors([Route("GET", "/late", late)]) as client:
            reader, writer = await client.connect()
            writer.write(get("/late"))
            everything = await reader.read()
            writer.close()
            return everything

    everything = run_with(scene)

    assert 1 == everything.count(b"HTTP/1.1")
    assert everything.endswith(b"first\r\n")


def test_a_client_that_has_left_is_no_failure(doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    async def leaves(_request: web.BaseRequest, _context: RequestContext) -> web.StreamResponse:
        raise ConnectionResetError("the client left")

    async def scene() -> bytes:
        async with doors([Route("GET", "/left", leaves)]) as client:
            reader, writer = await client.connect()
            writer.write(get("/left"))
            everything = await reader.read()
            writer.close()
            return everything

    assert b"" == run_with(scene)
    assert "request_failed" not in caplog.text


def test_r28_an_upgrade_is_ignored_and_the_body_still_read(doors: Doors) -> None:
    """Java's HttpClient offers h2c with every first request."""
    answer = ask(
        doors, post(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n")
    )

    assert (200, b'{"bytes":2}') == (answer.status, answer.body)


def test_a_route_is_found_by_method(doors: Doors) -> None:
    routes = [Route("POST", "/x", over_aiohttp(echo), direct=echo), Route("GET", "/x", ROUTES[0].handler)]

    assert 200 == ask(doors, get("/x"), routes=routes).status
