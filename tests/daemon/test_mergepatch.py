"""Does a patch turn the document it was made from into the other one, whatever both are?"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.daemon.mergepatch import difference, keyed, patched

pytestmark = pytest.mark.pure

VALUES = st.recursive(
    st.integers(-3, 3) | st.booleans() | st.text("ab", max_size=2) | st.lists(st.integers(0, 2), max_size=2),
    lambda inner: st.dictionaries(st.text("abc", max_size=1), inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.text("abc", max_size=1), VALUES, max_size=4)


@given(DOCUMENTS, DOCUMENTS)
def test_a_patch_leads_from_one_document_to_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert repr(sorted_(new)) == repr(sorted_(patched(old, difference(old, new))))


@given(DOCUMENTS)
def test_equal_documents_differ_in_nothing(document: dict[str, Any]) -> None:
    assert {} == difference(document, dict(document))


def sorted_(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: sorted_(value[name]) for name in sorted(value)}
    return value


def test_a_list_whose_elements_have_no_such_name_stays_a_list() -> None:
    document = {"upstreams": [{"name": "a", "models": [{"replica": "m@a"}]}]}

    assert document == keyed(document)


def test_named_things_become_members_and_nulls_are_left_out() -> None:
    document = {"models": [{"name": "a", "replicas": [{"name": "a#0", "pid": None}]}], "loads": [{"at": 1}]}

    assert {"models": {"a": {"name": "a", "replicas": {"a#0": {"name": "a#0"}}}}, "loads": [{"at": 1}]} == (
        keyed(document)
    )


def test_moments_are_as_exact_as_a_person_sees() -> None:
    assert {"at": 1_800_000_000.1, "seconds": 0.123456} == keyed(
        {"at": 1_800_000_000.123, "seconds": 0.123456}
    )
