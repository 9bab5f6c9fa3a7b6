"""Is every requirement proved by a test that carries its number, or does the table say why not?"""

import pytest

from tests.security.requirements import REQUIREMENTS, SECURITY, WITHOUT_TEST, files_by_number, regenerated
from tests.sources import report

pytestmark = pytest.mark.pure


def test_each_requirement_is_proved_or_has_a_reason_and_never_both() -> None:
    proved = files_by_number().keys()

    report(
        f"R{number} is not a requirement" for number in (proved | WITHOUT_TEST.keys()) - REQUIREMENTS.keys()
    )
    report(
        f"R{number} {text}: name a test of it test_r{number}_…, or give the reason in WITHOUT_TEST"
        for number, text in REQUIREMENTS.items()
        if number not in proved and number not in WITHOUT_TEST
    )
    report(f"R{number} has a test: take it out of WITHOUT_TEST" for number in proved & WITHOUT_TEST.keys())


def test_r64_the_table_in_security_md_is_current() -> None:
    text = SECURITY.read_text("utf-8")

    for heading in ("## Report a vulnerability", "## Threat model", "### Accepted", "### Requirements"):
        assert heading in text
    assert regenerated(text) == text, "run `python -m tests.security.requirements`"
