"""What a head asks of the schedule: its class and its session."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from relayd.api.manner import asked_class, named_session
from relayd.errors import RequestError
from relayd.scheduler.ask import BATCH, CLASSES, INTERACTIVE, NORMAL, rank

pytestmark = pytest.mark.pure


def head(**fields: str) -> CIMultiDictProxy[str]:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return CIMultiDictProxy(CIMultiDict(named))


def test_a_request_that_names_no_class_has_that_of_its_key() -> None:
    assert NORMAL == asked_class(head())
    assert BATCH == asked_class(head(), own=BATCH)


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_read_in_any_case(name: str) -> None:
    assert name == asked_class(head(X_Relayd_Class=f" {name.upper()} "))


def test_a_class_that_is_better_than_the_key_may_have_becomes_the_best_that_it_may() -> None:
    assert [NORMAL, NORMAL, BATCH] == [asked_class(head(X_Relayd_Class=one), best=NORMAL) for one in CLASSES]


def test_a_class_that_is_not_there_is_an_error_that_names_the_classes() -> None:
    with pytest.raises(RequestError) as caught:
        asked_class(head(X_Relayd_Class="urgent"))

    assert "urgent" in caught.value.message
    assert "Use one of: interactive, normal, batch." == caught.value.remedy


def test_a_class_of_another_version_counts_as_normal() -> None:
    assert [0, 1, 2, 1] == [rank(one) for one in (INTERACTIVE, NORMAL, BATCH, "later")]


@pytest.mark.parametrize(
    ("sent", "session"), [("a1", "a1"), (" a b ", "a b"), ("", ""), ("x" * 129, ""), ("caf\u00e9", "")]
)
def test_a_session_is_a_line_that_a_log_can_carry(sent: str, session: str) -> None:
    assert session == named_session(head(X_Session_Id=sent))
