"""A server of batch APIs in a thread: OpenAI's files and batches, Together's upload, Anthropic's messages.

A test decides when batches end (`finish`), which requests fail (those whose prompt has "fail"), and which
answers are faults instead (`faults`).
"""

import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Document = dict[str, Any]


class BatchServer(ThreadingHTTPServer):
    """Serves at `url`; what it was sent is in `seen`, as (method, path, headers, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Document] = {}
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.faults: list[tuple[int, dict[str, str]]] = []
        self.cuts = 0
        self.finish_at_once = False
        self.upload_to = f"{self.url}/bucket/1"
        self.numbers = itertools.count(1)

    def finish(self, status: str = "completed") -> None:
        """End every batch, with a result for each request that does not fail."""
        for batch in self.batches.values():
            if batch.get("type") == "message_batch":
                end_messages(self, batch, status)
            else:
                end_files(self, batch, status)

    def calls(self) -> list[str]:
        return [f"{method} {path}" for method, path, _, _ in self.seen]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: BatchServer

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        if self.server.faults:
            status, headers = self.server.faults.pop(0)
            self.send(status, {"error": {"message": "not now"}}, headers)
            return
        path = urlsplit(self.path).path
        for method, pattern, handle in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == self.command:
                handle(self, body, *found.groups())
                return
        self.send(404, {"error": {"message": f"nothing at {path}"}})

    do_GET = do_POST = do_PUT = answer  # noqa: N815 - as http.server names them

    def send(self, status: int, document: object, headers: dict[str, str] | None = None) -> None:
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def batch_server() -> Iterator[BatchServer]:
    server = BatchServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def post_file(handler: Handler, body: bytes) -> None:
    server, kind = handler.server, handler.headers["Content-Type"]
    name = f"file-{next(server.numbers)}"
    if kind == "application/x-www-form-urlencoded":
        assert ["batch-api"] == parse_qs(body.decode())["purpose"]
        handler.send(302, b"", {"Location": server.upload_to, "X-Together-File-Id": name})
        return
    found = dict(form_of(kind, body))
    assert b"batch" == found["purpose"]
    server.files[name] = found["file"]
    handler.send(200, {"id": name, "object": "file", "purpose": "batch", "bytes": len(server.files[name])})


def form_of(kind: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the fields of a multipart body."""
    boundary = kind.partition("boundary=")[2].encode()
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        yield re.findall(r'name="([^"]+)"', head.decode())[0], value.removesuffix(b"\r\n")


def put_bucket(handler: Handler, body: bytes, number: str) -> None:
    handler.server.files[f"bucket-{number}"] = body
    handler.send(200, b"")


def preprocess(handler: Handler, _: bytes, name: str) -> None:
    handler.server.files[name] = handler.server.files.pop("bucket-1")
    handler.send(200, {"id": name, "purpose": "batch-api"})


def content(handler: Handler, _: bytes, name: str) -> None:
    raw = handler.server.files[name]
    if handler.server.cuts:
        handler.server.cuts -= 1
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw[: len(raw) // 2])
        handler.close_connection = True
        return
    handler.send(200, raw)


def post_batch(handler: Handler, body: bytes) -> None:
    server, asked = handler.server, json.loads(body)
    lines = server.files[asked["input_file_id"]].splitlines()
    together = "completion_window" not in asked
    batch: Document = {
        "id": f"batch_{next(server.numbers)}",
        "object": "batch",
        "status": "VALIDATING" if together else "validating",
        "created_at": 1_800_000_000,
        **asked,
    }
    if not together:
        batch["request_counts"] = {"total": len(lines), "completed": 0, "failed": 0}
    server.batches[batch["id"]] = batch
    if server.finish_at_once:
        end_files(server, batch, "completed")
    handler.send(200, {"job": batch} if together else batch)


def get_batch(handler: Handler, _: bytes, name: str) -> None:
    found = handler.server.batches.get(name)
    handler.send(200 if found else 404, found or {"error": {"message": f"no batch {name}"}})


def list_batches(handler: Handler, _: bytes) -> None:
    asked = parse_qs(urlsplit(handler.path).query)
    every = [one for one in reversed(handler.server.batches.values()) if one.get("object") == "batch"]
    after = next((i + 1 for i, one in enumerate(every) if [one["id"]] == asked.get("after")), 0)
    page = every[after : after + 2]
    handler.send(200, {"object": "list", "data": page, "has_more": after + len(page) < len(every)})


def cancel_batch(handler: Handler, _: bytes, name: str) -> None:
    batch = handler.server.batches[name]
    if batch["status"] in {"completed", "failed", "expired", "cancelled", "COMPLETED"}:
        handler.send(409, {"error": {"message": f"cannot cancel a batch that is {batch['status']}"}})
        return
    batch["status"] = "CANCELLED" if batch["status"].isupper() else "cancelling"
    handler.send(200, batch)


def end_files(server: BatchServer, batch: Document, status: str) -> None:
    done, failed = list[Document](), list[Document]()
    for line in map(json.loads, server.files[batch["input_file_id"]].splitlines()):
        bad = "fail" in json.dumps(line["body"])
        response = {"status_code": 400 if bad else 200, "request_id": "r", "body": answer_to(line, bad=bad)}
        result = {"id": "batch_req_1", "custom_id": line["custom_id"], "response": response, "error": None}
        (failed if bad else done).append(result)
    upper = batch["status"].isupper()
    batch["status"] = status.upper() if upper else status
    for name, lines in (("output_file_id", done), ("error_file_id", failed)):
        if lines:
            batch[name] = f"file-{next(server.numbers)}"
            server.files[batch[name]] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    if not upper:
        batch["request_counts"] |= {"completed": len(done), "failed": len(failed)}


def answer_to(line: Document, *, bad: bool) -> Document:
    if bad:
        return {"error": {"message": "it fails"}}
    if line["url"] == "/v1/responses":
        text = {"type": "output_text", "text": f"answer to {line['body']['input']}"}
        return {"output": [{"type": "message", "content": [text]}], "usage": {"output_tokens": 3}}
    prompt = line["body"]["messages"][-1]["content"]
    message = {"role": "assistant", "content": f"answer to {prompt}"}
    return {"choices": [{"message": message}], "usage": {"completion_tokens": 3}}


def post_messages(handler: Handler, body: bytes) -> None:
    server, asked = handler.server, json.loads(body)
    assert all(isinstance(one["params"]["max_tokens"], int) for one in asked["requests"])
    batch: Document = {
        "id": f"msgbatch_{next(server.numbers)}",
        "type": "message_batch",
        "processing_status": "in_progress",
        "request_counts": dict.fromkeys(("succeeded", "errored", "canceled", "expired"), 0)
        | {"processing": len(asked["requests"])},
        "cancel_initiated_at": None,
        "results_url": None,
        "requests": asked["requests"],
    }
    server.batches[batch["id"]] = batch
    handler.send(200, batch)


def end_messages(server: BatchServer, batch: Document, status: str) -> None:
    results = list[Document]()
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    for one in batch["requests"]:
        prompt = one["params"]["messages"][0]["content"]
        kind = "errored" if "fail" in prompt else "canceled" if status == "cancelled" else "succeeded"
        counts[kind] += 1
        message = {"content": [{"type": "text", "text": f"answer to {prompt}"}]}
        result = {"type": kind, **({"message": message} if kind == "succeeded" else {})}
        results.append({"custom_id": one["custom_id"], "result": result})
    url = f"{server.url}/v1/messages/batches/{batch['id']}/results"
    batch |= {"processing_status": "ended", "request_counts": counts, "results_url": url}
    server.files[batch["id"]] = b"".join(json.dumps(one).encode() + b"\n" for one in results)


def cancel_messages(handler: Handler, _: bytes, name: str) -> None:
    batch = handler.server.batches[name]
    batch |= {"processing_status": "canceling", "cancel_initiated_at": "2026-01-01T00:00:00Z"}
    handler.send(200, batch)


ROUTES = (
    ("POST", "/v1/files", post_file),
    ("PUT", r"/bucket/(\d+)", put_bucket),
    ("POST", "/v1/files/([^/]+)/preprocess", preprocess),
    ("GET", "/v1/files/([^/]+)/content", content),
    ("POST", "/v1/batches", post_batch),
    ("GET", "/v1/batches", list_batches),
    ("GET", "/v1/batches/([^/]+)", get_batch),
    ("POST", "/v1/batches/([^/]+)/cancel", cancel_batch),
    ("POST", "/v1/messages/batches", post_messages),
    ("GET", "/v1/messages/batches/([^/]+)", get_batch),
    ("GET", "/v1/messages/batches/([^/]+)/results", content),
    ("POST", "/v1/messages/batches/([^/]+)/cancel", cancel_messages),
)
