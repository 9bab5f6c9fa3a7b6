"""Does the head of a request decide rightly whether it may come in?"""

import re

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from relayd.api.guard import (
    Headers,
    canonical_host,
    check_body_head,
    check_framing,
    check_host,
    check_origin,
    make_policy,
    split_target,
)
from relayd.errors import (
    BodyTooLargeError,
    ConfigError,
    HostRefusedError,
    MediaTypeError,
    OriginRefusedError,
    RequestError,
)
from relayd.units import Bytes

pytestmark = pytest.mark.pure

POLICY = make_policy(
    "gpu-box", allowed_hosts=["models.lan"], cors_origins=["https://App.example"], keyed=False
)


def head(*fields: tuple[str, str]) -> Headers:
    return CIMultiDictProxy(CIMultiDict(fields))


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST.", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "[::1]", "[0:0::0:1]:80",
        "gpu-box:8080", "GPU-Box", "models.lan", "192.168.1.7", "192.168.1.7:8080", "[::ffff:192.168.1.7]:80",
    ],
)  # fmt: skip
def test_a_host_that_names_this_machine_passes(host: str) -> None:
    check_host(head(("Host", host)), None, "192.168.1.7", POLICY)


@pytest.mark.parametrize(
    "host",
    [
        "", "evil", "127.0.0.1.nip.io", "localhost.evil", "evil.localhost", "0x7f000001", "2130706433",
        "127.1", "0177.0.0.1", "127.0.0.01", "a@localhost", "localhost@evil", "localhost:80:80",
        "localhost:port", "::1", "[::1", "[localhost]", "[127.0.0.1]", "[a:b]", "[::1]evil", "localhost..",
        "localhost, evil", "localhost evil", "192.168.1.8", "0.0.0.0", "[::]", "l\u00f6calhost", "\udcff",
        "localhost/", "http://localhost",
    ],
)  # fmt: skip
def test_r4_any_other_host_is_refused(host: str) -> None:
    with pytest.raises(HostRefusedError) as refused:
        check_host(head(("Host", host)), None, "192.168.1.7", POLICY)

    assert "server.allowed_hosts" in refused.value.remedy


def test_a_request_without_a_host_is_refused() -> None:
    with pytest.raises(HostRefusedError):
        check_host(head(), None, "127.0.0.1", POLICY)


@pytest.mark.parametrize("arrived_at", ["fe80::1%eth0", "::ffff:10.0.0.1"])
def test_the_address_a_connection_arrived_at_passes_in_any_spelling(arrived_at: str) -> None:
    host = "[FE80::1]" if "fe80" in arrived_at else "10.0.0.1"

    check_host(head(("Host", host)), None, arrived_at, POLICY)


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_a_wildcard_address_is_no_name(wildcard: str) -> None:
    assert {"localhost", "127.0.0.1", "::1"} == make_policy(wildcard, keyed=True).hosts


def test_a_target_that_names_another_host_than_the_host_header_is_refused() -> None:
    with pytest.raises(RequestError) as refused:
        check_host(head(("Host", "localhost")), "evil", "127.0.0.1", POLICY)

    assert 400 == refused.value.http_status


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/v1/models?a=b", (None, "/v1/models")),
        ("//evil/v1/models", (None, "//evil/v1/models")),
        ("/v1/../x%2f%2e", (None, "/v1/../x%2f%2e")),
        ("http://localhost:80/v1/models?x", ("localhost:80", "/v1/models")),
        ("HTTP://evil", ("evil", "/")),
    ],
)
def test_a_target_is_split_as_it_came(target: str, expected: tuple[str | None, str]) -> None:
    assert expected == split_target(target)


@pytest.mark.parametrize("target", ["*", "evil:443", "ftp://localhost/x", "http:/x", "", "http://a/b#c"])
def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    with pytest.raises(RequestError):
        split_target(target)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], None),
        ([("Sec-Fetch-Site", "same-origin")], None),
        ([("Sec-Fetch-Site", "none")], None),
        ([("Origin", "http://localhost:8080")], None),
        ([("Origin", "HTTP://LOCALHOST:8080")], None),
        ([("Origin", "https://app.example")], "https://app.example"),
        ([("Origin", "https://app.example"), ("Sec-Fetch-Site", "cross-site")], "https://app.example"),
    ],
)
def test_the_own_origin_and_a_listed_one_pass(fields: list[tuple[str, str]], expected: str | None) -> None:
    headers = head(("Host", "localhost:8080"), *fields)

    assert expected == check_origin(headers, secure=False, policy=POLICY)


@pytest.mark.parametrize(
    "fields",
    [
        [("Origin", "null")],
        [("Origin", "")],
        [("Origin", "http://evil")],
        [("Origin", "http://app.example")],
        [("Origin", "https://app.example.evil")],
        [("Origin", "https://app.example:444")],
        [("Origin", "http://localhost:3000")],
        [("Origin", "https://localhost:8080")],
        [("Origin", "http://127.0.0.1:8080")],
        [("Origin", "http://a@localhost:8080")],
        [("Origin", "file://")],
        [("Origin", "*")],
        [("Origin", "https://app.example"), ("Origin", "https://app.example")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "none, cross-site")],
        [("Origin", "app://evil")],
        [("Origin", "chrome-extension://abcdef")],
        [("Origin", "http://localhost:8080"), ("Sec-Fetch-Site", "cross-site")],
    ],
)
def test_r5_any_other_page_is_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(OriginRefusedError):
        check_origin(head(("Host", "localhost:8080"), *fields), secure=False, policy=POLICY)


def test_default_ports_are_the_same_with_and_without_the_number() -> None:
    plain = head(("Host", "localhost:80"), ("Origin", "http://localhost"))
    secure = head(("Host", "localhost"), ("Origin", "https://localhost:443"))

    assert check_origin(plain, secure=False, policy=POLICY) is None
    assert check_origin(secure, secure=True, policy=POLICY) is None


def test_r6_a_star_passes_every_page_but_never_null_and_is_not_an_echo() -> None:
    policy = make_policy("localhost", cors_origins=["*"], keyed=True)

    assert "*" == check_origin(
        head(("Host", "localhost"), ("Origin", "http://any")), secure=False, policy=policy
    )
    with pytest.raises(OriginRefusedError):
        check_origin(head(("Host", "localhost"), ("Origin", "null")), secure=False, policy=policy)


@pytest.mark.parametrize("everyone", ["*", "null"])
def test_r6_what_lets_every_page_in_needs_a_key(everyone: str) -> None:
    with pytest.raises(ConfigError, match=f"has '{re.escape(everyone)}' and there is no key"):
        make_policy("localhost", cors_origins=[everyone], keyed=False)


@pytest.mark.parametrize(
    "origin",
    ["app://obsidian.md", "chrome-extension://abcdef", "moz-extension://0-1-2", "tauri://localhost", "null"],
)
def test_the_origin_of_an_application_or_extension_passes_where_it_is_listed(origin: str) -> None:
    policy = make_policy("localhost", cors_origins=[origin], keyed=True)
    fields = head(("Host", "localhost"), ("Origin", origin), ("Sec-Fetch-Site", "cross-site"))

    assert origin == check_origin(fields, secure=False, policy=policy)


@pytest.mark.parametrize(
    "wrong",
    [
        "app.example",
        "https://",
        "https://app.example/path",
        "file://x",
        "data://x",
        "app:x",
        "://x",
        "a b://c",
    ],
)
def test_a_malformed_origin_is_a_configuration_error(wrong: str) -> None:
    with pytest.raises(ConfigError):
        make_policy("localhost", cors_origins=[wrong], keyed=False)


def test_a_malformed_host_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError):
        make_policy("localhost", allowed_hosts=["http://gpu-box"], keyed=False)


def test_an_ipv6_address_to_listen_on_is_written_without_brackets() -> None:
    assert "fd00::1" in make_policy("FD00:0::1", keyed=False).hosts
    assert "fd00::1" == canonical_host("[fd00::1]:8080")


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        ((2, 0), []),
        ((0, 9), []),
        ((1, 0), [("Transfer-Encoding", "chunked")]),
        ((1, 1), [("Transfer-Encoding", "gzip, chunked")]),
        ((1, 1), [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")]),
    ],
)
def test_framing_that_others_read_differently_is_refused(
    version: tuple[int, int], fields: list[tuple[str, str]]
) -> None:
    with pytest.raises(RequestError):
        check_framing(version, head(*fields), 100)


def test_a_head_over_its_limit_is_refused() -> None:
    with pytest.raises(RequestError):
        check_framing((1, 1), head(), 32 * 1024 + 1)


_BROWSER = [("Sec-Fetch-Mode", "cors")], [("Sec-Fetch-Site", "same-origin")], [("Origin", "http://localhost")]


@pytest.mark.parametrize("browser", [[], *_BROWSER])
@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_passes(media_type: str, browser: list[tuple[str, str]]) -> None:
    fields = head(("Content-Type", media_type), ("Content-Encoding", "identity"), *browser)
    check_body_head(fields, Bytes(10))


_OTHER_TYPES = [
    [],
    [("Content-Type", "text/plain")],
    [("Content-Type", "application/x-www-form-urlencoded")],
    [("Content-Type", "multipart/form-data; boundary=x")],
    [("Content-Type", "application/jsonp")],
    [("Content-Type", "application/json"), ("Content-Type", "text/plain")],
]


@pytest.mark.parametrize("fields", _OTHER_TYPES)
def test_any_type_is_read_as_json_where_no_browser_sent_it(fields: list[tuple[str, str]]) -> None:
    check_body_head(head(("Host", "localhost"), *fields), Bytes(10))


@pytest.mark.parametrize("browser", _BROWSER)
@pytest.mark.parametrize("fields", _OTHER_TYPES)
def test_r7_a_browser_must_declare_json(
    fields: list[tuple[str, str]], browser: list[tuple[str, str]]
) -> None:
    with pytest.raises(MediaTypeError):
        check_body_head(head(*browser, *fields), Bytes(10))


@pytest.mark.parametrize(
    "codings", [["gzip"], ["identity, br"], ["identity", "gzip"], ["", "br"], ["identity", "identity", "x"]]
)
def test_a_compressed_body_is_refused_however_often_its_coding_is_named(codings: list[str]) -> None:
    with pytest.raises(MediaTypeError):
        check_body_head(head(*(("Content-Encoding", coding) for coding in codings)), Bytes(10))


@pytest.mark.parametrize("length", ["11", "200000000", "9" * 5000])
def test_a_declared_length_over_the_limit_is_refused(length: str) -> None:
    with pytest.raises(BodyTooLargeError):
        check_body_head(head(("Content-Type", "application/json"), ("Content-Length", length)), Bytes(10))
