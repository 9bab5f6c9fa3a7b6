"""Requests without a right to what they ask for: with no key, wrong ones, and keys for something else."""

from collections.abc import Iterator, Mapping

from relayd.api.admin import ACTIONS
from tests.attack.wire import Form

_HOST = b"Host: 127.0.0.1\r\n"
_WRONG = b"sk-relayd-" + b"a" * 49

_KEYS: Mapping[str, bytes] = {
    "a wrong key": b"Authorization: Bearer " + _WRONG + b"\r\n",
    "a wrong x-api-key": b"x-api-key: " + _WRONG + b"\r\n",
    "an empty key": b"Authorization: Bearer \r\n",
    "a basic key": b"Authorization: Basic YTpi\r\n",
    "a key of 30,000": b"Authorization: Bearer " + b"a" * 8_000 + b"\r\n",
    "bytes above 127": b"Authorization: Bearer \xff\xfe\r\n",
    "two different keys": b"Authorization: Bearer a\r\nx-api-key: b\r\n",
    "a cookie": b"Cookie: key=" + _WRONG + b"\r\n",
    "no key": b"",
}

_BODIES = (
    b"{}", b"[]", b"null", b"{", b'{"name":', b'{"model_name": "../x", "file": "/etc/passwd"}', b"[" * 9_000,
    b'{"__class__": "x"}', b'{"name": "' + b"a" * 60_000 + b'"}', b'{"file": "/dev/zero", "name": "z"}',
    b'{"name": "x", "scopes": ["root"]}', b'{"lines": 1e999}', b"\xff\xfe", b" " * 70_000,
)  # fmt: skip


def door_forms(secrets: Mapping[str, str]) -> Iterator[Form]:
    """Yield every form.

    Args:
        secrets: Scope to a key that has no other.
    """
    for action in ACTIONS:
        path = action.path.replace("{name}", "tiny")
        for name, head in _KEYS.items():
            yield _form("admin", f"{action.method} {path} with {name}", action.method, path, head)
        for scope in ("metrics", "node"):
            head = _bearer(secrets[scope])
            yield _form("scopes", f"{action.method} {path} for {scope}", action.method, path, head)
    for name, head in _KEYS.items():
        yield _form(
            "keys", f"/admin/status?key with {name}", "GET", f"/admin/status?key={secrets['admin']}", head
        )
    admin = _bearer(secrets["admin"])
    for number, body in enumerate(_BODIES):
        for method, path in (
            ("POST", "/admin/models"),
            ("PUT", "/admin/models/none"),
            ("POST", "/admin/keys"),
        ):
            yield _form("bodies", f"{method} {path} body {number}", method, path, admin, body, let_in=400)
    for path in (
        "%2e%2e/etc",
        "..%2f..%2fetc",
        "a%00b",
        "%ff",
        "a" * 7_000,
        "none/load",
        "%2f",
        "tiny%23-1/stop",
    ):
        for prefix in ("models", "replicas", "requests", "keys"):
            yield _form(
                "names", f"{prefix}/{path[:20]}", "POST", f"/admin/{prefix}/{path}", admin, let_in=400
            )
    yield _form("names", "a log elsewhere", "GET", "/admin/logs?target=../../etc/passwd", admin, let_in=400)


def _form(
    kind: str, name: str, method: str, path: str, head: bytes, body: bytes = b"", *, let_in: int = 200
) -> Form:
    size = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
    line = f"{method} {path} HTTP/1.1\r\n".encode()
    return Form(kind, name, (line + _HOST + head + size + body,), refused_from=let_in)


def _bearer(secret: str) -> bytes:
    return f"Authorization: Bearer {secret}\r\n".encode()
