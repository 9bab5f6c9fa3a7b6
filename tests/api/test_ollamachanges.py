"""Can administrators, and no one else, copy, make and delete models over Ollama's API?"""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from relayd.api.control import Verb
from relayd.api.grants import KeyGrant
from relayd.api.inference import Inference
from relayd.api.keys import KnownKeys
from relayd.api.ollama import ollama_routes
from relayd.api.ollamachanges import OllamaChanges
from relayd.api.served import peer_of
from relayd.clock import SystemClock
from relayd.daemon.arguments import DeriveArguments, NameArguments
from relayd.errors import ModelNotFoundError
from relayd.rights import KeyRights
from tests.api.conftest import Doors, Response
from tests.api.stage import Stage

pytestmark = pytest.mark.fake


@dataclass
class Verbs:
    """Notes what administrators do."""

    done: list[msgspec.Struct] = field(default_factory=list)

    async def derive(self, arguments: DeriveArguments) -> None:
        if arguments.of == "absent":
            raise ModelNotFoundError("There is no model 'absent'.", remedy="See the list.")
        self.done.append(arguments)

    async def remove(self, arguments: NameArguments) -> None:
        self.done.append(arguments)

    def ask(
        self, doors: Doors, method: str, path: str, body: object, scope: str | None = "admin"
    ) -> Response:
        offered = {
            "derive_model": Verb(DeriveArguments, self.derive),
            "remove_derived": Verb(NameArguments, self.remove),
        }

        def routes(inference: Inference) -> Any:
            return ollama_routes(inference, SystemClock(), changes=OllamaChanges(offered, peer_of))

        grants = {sha256(b"a").digest(): KeyGrant("a", "a", KeyRights(scopes=(scope or "admin",)))}
        known = KnownKeys(grants, is_open=True, is_unused=False, has_admin=True)
        raw = json.dumps(body).encode()
        key = "Authorization: Bearer a\r\n" if scope else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{key}Content-Length: {len(raw)}\r\n\r\n"
        return Stage(routes=routes, known=known).ask(doors, head.encode() + raw)


def test_a_copy_is_another_name(doors: Doors) -> None:
    verbs = Verbs()

    answer = verbs.ask(doors, "POST", "/api/copy", {"source": "qwen:latest", "destination": "mine"})

    assert (200, b"") == (answer.status, answer.body)
    assert [DeriveArguments("mine", "qwen")] == verbs.done


@pytest.mark.parametrize("body", [{"model": "mine"}, {"name": "mine:latest"}, {"model": "", "name": "mine"}])
def test_a_model_is_deleted_by_either_of_two_members(doors: Doors, body: dict[str, str]) -> None:
    verbs = Verbs()

    assert 200 == verbs.ask(doors, "DELETE", "/api/delete", body).status
    assert [NameArguments("mine")] == verbs.done


MADE = {
    "model": "mario",
    "from": "qwen",
    "system": "You are Mario.",
    "parameters": {"temperature": 0.2, "num_ctx": 8192, "num_predict": 50, "stop": ["x"]},
    "template": "",
    "files": {},
    "license": "MIT",
}


def test_a_model_is_made_of_one_that_is_here_with_a_prompt_and_parameters(doors: Doors) -> None:
    verbs = Verbs()

    answer = verbs.ask(doors, "POST", "/api/create", MADE)

    assert (200, "application/x-ndjson") == (answer.status, answer.headers["content-type"])
    assert {"status": "success"} == json.loads(answer.body.splitlines()[-1])
    assert [
        DeriveArguments(
            "mario", "qwen", "You are Mario.", {"temperature": 0.2, "n_predict": 50, "stop": ["x"]}
        )
    ] == verbs.done


def test_a_client_that_wants_one_object_gets_one(doors: Doors) -> None:
    answer = Verbs().ask(doors, "POST", "/api/create", {**MADE, "stream": False})

    assert {"status": "success"} == json.loads(answer.body)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/create", {**MADE, "files": {"a.gguf": "sha256:0"}}, 400, "relayd pull"),
        ("/api/create", {**MADE, "template": "{{ .Prompt }}"}, 400, "template is not taken"),
        ("/api/create", {**MADE, "quantize": "q4_K_M"}, 400, "quantize is not taken"),
        ("/api/create", {"model": "mario", "system": "x"}, 400, "no from"),
        ("/api/create", {"from": "qwen"}, 400, "no model"),
        ("/api/create", {"model": 5, "from": "qwen"}, 400, "not what this path takes"),
        ("/api/copy", {"source": "qwen"}, 400, "no destination"),
        ("/api/copy", {"source": "absent", "destination": "b"}, 404, "not found"),
        ("/api/copy", [], 400, "not what this path takes"),
        ("/api/push", {"model": "mine"}, 404, "not served"),
        ("/api/blobs/sha256:0", {}, 404, "not served"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(
    doors: Doors, path: str, body: object, status: int, words: str
) -> None:
    verbs = Verbs()

    answer = verbs.ask(doors, "POST", path, body)

    assert status == answer.status
    assert words in json.loads(answer.body)["error"]
    assert [] == verbs.done


@pytest.mark.parametrize("scope", ["inference", "metrics", None])
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/copy"), ("POST", "/api/create"), ("DELETE", "/api/delete")]
)
def test_r13_only_administrators_change_models(
    doors: Doors, method: str, path: str, scope: str | None
) -> None:
    verbs = Verbs()

    answer = verbs.ask(doors, method, path, {**MADE, "source": "qwen", "destination": "b"}, scope)

    assert answer.status in (401, 403)
    assert [] == verbs.done
