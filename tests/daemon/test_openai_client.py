"""An unmodified OpenAI client against the daemon and a real llama-server."""

from collections.abc import Callable, Iterator

import openai
import pytest
from openai import OpenAI

from tests.daemons import Daemon

pytestmark = pytest.mark.real

KEY = "a-key-that-is-long-enough-for-relayd"
GREETING = "Hello from relayd!"


@pytest.fixture
def client(demo: Daemon) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{demo.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_a_chat_completion(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "Hi"}])

    assert answer.choices[0].message.content
    assert answer.choices[0].message.content.startswith(GREETING)
    assert "stop" == answer.choices[0].finish_reason
    assert answer.usage
    assert answer.usage.completion_tokens > 10


def test_a_streamed_chat_completion_is_the_same_text_in_pieces(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "Hi"}])
    chunks = list(
        client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]

    assert whole.choices[0].message.content == "".join(pieces)
    assert len(pieces) > 10


def test_a_completion_streamed_and_whole(client: OpenAI) -> None:
    whole = client.completions.create(model="demo", prompt="Once")
    pieces = [
        chunk.choices[0].text for chunk in client.completions.create(model="demo", prompt="Once", stream=True)
    ]

    assert whole.choices[0].text.startswith(GREETING)
    assert whole.choices[0].text == "".join(pieces)


def test_an_embedding_of_several_inputs(client: OpenAI) -> None:
    answer = client.embeddings.create(model="demo", input=["cats", "acts"])

    assert 2 == len(answer.data)
    assert answer.data[0].embedding != answer.data[1].embedding


def test_the_list_of_models_and_one_of_them(client: OpenAI) -> None:
    models = client.models.list().data

    assert ["demo"] == [model.id for model in models]
    assert "relayd" == models[0].owned_by
    assert True is models[0].model_dump()["demo"]
    assert "demo" == client.models.retrieve("demo").id


def test_an_unknown_model_names_those_there_are(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="demo") as raised:
        client.chat.completions.create(model="dmo", messages=[])

    assert "model_not_found" == raised.value.code
    assert raised.value.response.headers["x-request-id"]


def test_a_request_the_engine_refuses_keeps_its_reason(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="context"):
        client.completions.create(model="demo", prompt="word " * 10_000)


def test_a_key_is_asked_for_when_one_is_set(start_daemon: Callable[..., Daemon]) -> None:
    daemon = start_daemon(f'[server]\napi_key = "{KEY}"\n', "--demo")
    with OpenAI(base_url=f"{daemon.url}/v1", api_key="wrong", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError) as raised:
            client.models.list()
        assert "invalid_api_key" == raised.value.code
        assert "demo" == client.with_options(api_key=KEY).models.list().data[0].id
