"""Inputs of a batch become its lines; faults name their line and a remedy."""

import json
from pathlib import Path
from typing import Any

import pytest

from relayd.batch.client.inputs import InputPlan, request_lines
from relayd.batch.client.template import PromptTemplate
from relayd.errors import UsageError

pytestmark = pytest.mark.system


def made(tmp_path: Path, name: str, text: str | bytes, plan: InputPlan | None = None) -> list[dict[str, Any]]:
    file = tmp_path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return [json.loads(line.raw) for line in request_lines(file, plan or InputPlan())]


def chat(name: str, prompt: str, **rest: object) -> dict[str, object]:
    messages = [{"role": "user", "content": prompt}]
    body = {"messages": messages, **rest}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def test_a_line_of_a_batch_stays_as_it_is(tmp_path: Path) -> None:
    line = chat("a", "hi", model="m", temperature=0)

    assert [line] == made(tmp_path, "in.jsonl", json.dumps(line) + "\n\n")


def test_a_model_fills_in_where_none_is_named(tmp_path: Path) -> None:
    lines = json.dumps(chat("a", "hi")) + "\n" + json.dumps(chat("b", "hi", model="mine"))

    found = made(tmp_path, "in.jsonl", lines, InputPlan(model="other"))

    assert ["other", "mine"] == [one["body"]["model"] for one in found]


def test_the_rows_of_a_table_fill_a_template(tmp_path: Path) -> None:
    text = '\ufeffid,text,lang\r\na,"Good,\nmorning",de\r\n,Hello,fr\r\n'
    plan = InputPlan(template="To {lang}: {text}", model="m", max_tokens=9)

    assert [
        chat("a", "To de: Good,\nmorning", model="m", max_tokens=9),
        chat("line-4", "To fr: Hello", model="m", max_tokens=9),
    ] == made(tmp_path, "in.csv", text, plan)
    assert [chat("line-2", "x y")] == made(tmp_path, "in.tsv", "prompt\nx y\n")


def test_each_line_of_a_text_is_a_prompt(tmp_path: Path) -> None:
    assert [chat("line-1", "one"), chat("line-3", "two")] == made(tmp_path, "in.txt", "one\n\n two \n")
    assert [chat("line-1", "Say {one}!")] == made(
        tmp_path, "in.txt", "one", InputPlan(template="Say {{{line}}}!")
    )


def test_objects_without_a_body_fill_a_template(tmp_path: Path) -> None:
    text = '{"q": "why?", "n": 3, "id": "x"}\n{"prompt": "how?"}\n'

    found = made(tmp_path, "a.jsonl", text.splitlines()[0], InputPlan(template="{n} times: {q}"))

    assert [chat("x", "3 times: why?")] == found
    assert [chat("line-1", "how?")] == made(tmp_path, "b.jsonl", text.splitlines()[1])


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "one"}]}),
        ("/v1/completions", {"prompt": "one"}),
        ("/v1/embeddings", {"input": "one"}),
        ("/v1/responses", {"input": "one"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "one"}], "max_tokens": 4096}),
    ],
)
def test_a_prompt_goes_where_the_endpoint_has_it(
    tmp_path: Path, endpoint: str, body: dict[str, object]
) -> None:
    (found,) = made(tmp_path, "in.txt", "one", InputPlan(endpoint=endpoint))

    assert (endpoint, body) == (found["url"], found["body"])


def test_a_system_prompt_is_a_template_too(tmp_path: Path) -> None:
    plan = InputPlan(template="{text}", system="Answer in {lang}.")
    (found,) = made(tmp_path, "in.csv", "text,lang\nhi,de\n", plan)

    assert {"role": "system", "content": "Answer in de."} == found["body"]["messages"][0]


GOOD = json.dumps(chat("a", "hi"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("in.jsonl", f"{GOOD}\n{GOOD}", "line 2: its `custom_id` 'a' is that of line 1"),
        ("in.jsonl", f"{GOOD}\n\n{{x", "line 3: not valid JSON at character 2"),
        ("in.jsonl", "[1]", "line 1: not a JSON object"),
        ("in.jsonl", '{"custom_id": "a"}', "line 1: it has no `body`"),
        ("in.jsonl", '{"body": {}}', "line 1: it has no `custom_id`"),
        ("in.jsonl", '{"custom_id": "a", "body": {}, "url": "/v1/images"}', "`url` is '/v1/images'"),
        ("in.jsonl", b'{"custom_id": "\xff"}', "line 1: not UTF-8"),
        ("in.jsonl", "", "has no requests"),
        ("in.txt", b"good\n\xff", "line 2 is not UTF-8"),
        ("in.csv", "", "has no requests"),
        ("in.csv", "text\nhi\n", "no column 'prompt': there are text"),
        ("in.csv", "id,prompt\na,x\na,y\n", "line 3: its `custom_id` 'a' is that of line 2"),
        ("missing/in.csv", None, "cannot be read"),
    ],
)
def test_a_fault_names_its_line(tmp_path: Path, name: str, text: str | bytes | None, message: str) -> None:
    with pytest.raises(UsageError) as error:
        made(tmp_path, name, text) if text is not None else list(request_lines(tmp_path / name, InputPlan()))

    assert message in str(error.value)
    assert error.value.remedy or text is None or "UTF-8" in message


def test_many_faults_are_shown_at_once_but_not_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 10 bad lines and maybe more") as error:
        made(tmp_path, "in.jsonl", "{\n" * 50)

    assert 10 == error.value.message.count("not valid JSON")


@pytest.mark.parametrize("text", ["{", "{a!r}", "{a:>9}", "{}", "a}"])
def test_a_template_has_names_only(text: str) -> None:
    with pytest.raises(UsageError, match="the template"):
        PromptTemplate(text)


def test_a_template_reads_no_attribute() -> None:
    with pytest.raises(UsageError, match="asks for"):
        PromptTemplate("{a.__class__}").filled({"a": "x"})
