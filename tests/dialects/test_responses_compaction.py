"""Does a summary come back as what it was written as, and no other server's as anything?"""

import json
from typing import Any

import pytest

from relayd.dialects.chat_answer import AnswerCost
from relayd.dialects.responses_compaction import CompactionWriter, asking_for_summary, summary_in
from relayd.dialects.responses_items import ItemsAsMessages
from relayd.dialects.responses_tools import offer

pytestmark = pytest.mark.pure

USER = {"role": "user", "content": "Hi"}


def shortened() -> dict[str, Any]:
    writer = CompactionWriter("resp_1", 7, [USER, {"role": "assistant", "content": "Hello"}, "odd"])
    writer.begin()
    writer.think("hm")
    writer.say("They said ")
    writer.say("hello: é.")
    writer.finish("stop", AnswerCost(5, 1, 3))
    return dict(json.loads(writer.take()))


def test_what_the_user_wrote_stays_and_the_rest_is_one_item() -> None:
    made = shortened()

    assert ("resp_1", "response.compaction", 7) == (made["id"], made["object"], made["created_at"])
    user, item = made["output"]
    assert (USER, "compaction", "cmp_1") == (user, item["type"], item["id"])


def test_the_item_is_read_back_as_the_summary() -> None:
    messages = ItemsAsMessages(offer(None), lambda _: None)
    messages.add_all(shortened()["output"])

    assert ["Hi", "Summary of the conversation so far:\n\nThey said hello: é."] == [
        message["content"] for message in messages.messages
    ]


@pytest.mark.parametrize("content", [None, 7, "", "gAAAAAB", "e30=", "é"])
def test_an_item_of_another_server_is_left_out(content: object) -> None:
    messages = ItemsAsMessages(offer(None), lambda _: None)
    messages.add_all([{"type": "compaction", "encrypted_content": content}])

    assert "" == summary_in({"encrypted_content": content})
    assert ([], ["compaction"]) == (messages.messages, list(messages.left_out))


@pytest.mark.parametrize(
    ("messages", "count"),
    [
        ([USER], 1),
        ([USER, {"role": "assistant", "content": "a"}], 3),
        ([], 1),
        ([{"role": "user", "content": []}], 2),
    ],
)
def test_a_summary_is_asked_for_at_the_end(messages: list[object], count: int) -> None:
    asked = json.loads(asking_for_summary(json.dumps({"messages": messages}).encode()))["messages"]

    assert count == len(asked)
    assert "Summarize the conversation" in asked[-1]["content"]
