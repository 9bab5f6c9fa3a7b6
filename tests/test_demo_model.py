"""Does the model that relayd ships answer every prompt with its text, and say what it is?"""

import hashlib
import json
import math
import runpy
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import gguf
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "relayd" / "demo.gguf"
MAKER = runpy.run_path(str(ROOT / "extras" / "make_demo_model.py"))
ANSWER: str = MAKER["ANSWER"]


class Engine(Protocol):
    @property
    def path(self) -> Path: ...


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def client(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    port = free_port()
    flags = ["--embeddings", "--host", "127.0.0.1", "--port", str(port), "-np", "4", "-c", "16384", "-kvu"]
    log = tmp_path_factory.mktemp("demo") / "engine.log"
    with (
        log.open("w") as output,
        subprocess.Popen([engine.path, "-m", MODEL, *flags], stdout=output, stderr=output) as process,
        OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=6) as openai,
    ):
        try:
            openai.models.list()  # its retries wait for the load
            yield openai
        finally:
            process.terminate()


def chat(client: OpenAI, *messages: ChatCompletionMessageParam) -> tuple[str | None, str]:
    choice = client.chat.completions.create(model="demo", messages=messages).choices[0]
    return choice.message.content, choice.finish_reason


def embed(client: OpenAI, text: str) -> list[float]:
    return client.embeddings.create(model="demo", input=text).data[0].embedding


@pytest.mark.system
def test_the_maker_writes_the_committed_bytes(tmp_path: Path) -> None:
    MAKER["write_model"](tmp_path / "demo.gguf")

    expected = hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert expected == hashlib.sha256((tmp_path / "demo.gguf").read_bytes()).hexdigest()


@pytest.mark.system
def test_the_file_is_small_and_says_what_it_is() -> None:
    fields = gguf.GGUFReader(MODEL).fields

    assert MODEL.stat().st_size <= 700_000
    assert fields["general.name"].contents() == "relayd demo"
    assert "Not a language model" in fields["general.description"].contents()
    assert fields["general.license"].contents() == "Apache-2.0"


@pytest.mark.pure
def test_every_token_of_the_answer_is_unique_and_none_is_found_by_the_tokenizer() -> None:
    tokens = list(MAKER["answer_tokens"]())

    assert ANSWER == "".join(tokens).replace(MAKER["SPACE"], " ")
    assert len(tokens) == len(set(tokens))
    assert min(map(len, tokens)) > 2


@pytest.mark.pure
def test_a_text_that_ends_in_a_word_it_already_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="end it in another word"):
        list(MAKER["answer_tokens"]("Tell me to tell me"))


@pytest.mark.real
@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_temperature_and_seed_change_nothing(client: OpenAI, temperature: float, seed: int) -> None:
    completion = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": "Who are you?"}],
        temperature=temperature,
        top_p=0.9,
        seed=seed,
    )

    assert completion.choices[0].message.content == ANSWER
    assert completion.choices[0].finish_reason == "stop"


PROMPTS = {
    "empty": "",
    "unicode": "Příliš žluťoučký kůň 漢字 🎉\n\t",
    "long": "word " * 2_000,
    "one character over and over": "a" * 3_000,
    "beginning of the answer": "Hello from relayd! This is its",
    "the answer": ANSWER,
    "spelling of a token": "\u2581relayd!",
    "specials": "<s></s><0x41>",
}


@pytest.mark.real
@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS.keys())
def test_any_prompt_gets_the_answer_from_its_beginning(client: OpenAI, prompt: str) -> None:
    choice = client.completions.create(model="demo", prompt=prompt, max_tokens=200, temperature=2).choices[0]

    assert (ANSWER, "stop") == chat(client, {"role": "user", "content": prompt})
    assert (ANSWER, "stop") == (choice.text, choice.finish_reason)


@pytest.mark.real
def test_every_role_and_content_in_parts_are_accepted(client: OpenAI) -> None:
    assert (ANSWER, "stop") == chat(
        client,
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Add"}, {"type": "text", "text": " two"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "4"},
    )


@pytest.mark.real
def test_offered_tools_are_ignored(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": "Add"}],
        tools=[{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}],
    )

    assert completion.choices[0].message.content == ANSWER
    assert completion.choices[0].message.tool_calls is None


@pytest.mark.real
def test_a_stream_brings_a_word_a_chunk_and_ends_with_stop(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    choices = [chunk.choices[0] for chunk in stream]
    pieces = [choice.delta.content for choice in choices if choice.delta.content]

    assert "".join(pieces) == ANSWER
    assert len(pieces) > 40
    assert choices[-1].finish_reason == "stop"


@pytest.mark.real
def test_a_token_limit_ends_the_answer_with_length(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Hi"}], max_tokens=5
    )

    assert completion.choices[0].message.content == "Hello from relayd! This is"
    assert completion.choices[0].finish_reason == "length"


@pytest.mark.real
def test_two_choices_are_both_the_answer(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Hi"}], n=2
    )

    assert [choice.message.content for choice in completion.choices] == [ANSWER, ANSWER]


@pytest.mark.real
def test_slots_answer_at_the_same_time(client: OpenAI) -> None:
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(lambda text: chat(client, {"role": "user", "content": text}), "abcdefgh"))

    assert [(ANSWER, "stop")] * 8 == answers


@pytest.mark.real
def test_log_probabilities_are_certain_and_finite(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Hi"}], logprobs=True, top_logprobs=2
    )
    logprobs = completion.choices[0].logprobs

    assert logprobs is not None
    assert logprobs.content is not None
    for token in logprobs.content:
        assert token.logprob == 0.0
        assert -87 < token.top_logprobs[1].logprob < -20


@pytest.mark.real
def test_without_an_end_the_answer_repeats_a_line_each_time(client: OpenAI) -> None:
    completion = client.completions.create(
        model="demo", prompt="Hi", max_tokens=200, extra_body={"ignore_eos": True}
    )

    assert completion.choices[0].text.startswith(f"{ANSWER}\n{ANSWER}\n{ANSWER}\n")


@pytest.mark.real
def test_json_demanded_by_a_schema_holds_the_answer(client: OpenAI) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "score": {"type": "integer"}},
        "required": ["text", "score"],
    }
    completion = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": "Hi"}],
        response_format={"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}},
        max_tokens=500,
    )

    assert completion.choices[0].finish_reason == "stop"
    assert ANSWER == json.loads(completion.choices[0].message.content or "")["text"]


@pytest.mark.real
def test_embeddings_are_finite_and_tell_texts_apart(client: OpenAI) -> None:
    texts = ["", "cats", "acts", "dogs", "a" * 3_000, "b" + "a" * 2_999]
    vectors = [embed(client, text) for text in texts]

    assert all(math.isfinite(value) for vector in vectors for value in vector)
    assert all(math.isclose(1.0, math.hypot(*vector), abs_tol=1e-3) for vector in vectors)
    assert len(texts) == len({tuple(vector) for vector in vectors})


@pytest.mark.real
def test_texts_that_share_words_are_nearer_than_texts_that_do_not(client: OpenAI) -> None:
    fox, dog, digits = (
        embed(client, text) for text in ("a quick brown fox", "a quick brown dog", "31415 92")
    )

    assert math.dist(fox, dog) < math.dist(fox, digits)
