"""Is what aiohttp refuses logged as what it is: a line for a client's mistake, a stack for a fault?"""

import logging
from collections.abc import Iterator

import pytest
from aiohttp.http_exceptions import BadHttpMessage, InvalidURLError

from relayd.api.gate import FaultLog

pytestmark = pytest.mark.pure

WRITTEN = "tests.gate"


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


@pytest.mark.parametrize("error", [InvalidURLError("/\xff"), BadHttpMessage("no\r\nfake line")])
def test_a_request_that_aiohttp_refuses_is_one_line_without_a_stack(
    written: pytest.LogCaptureFixture, error: Exception
) -> None:
    FaultLog(logging.getLogger(WRITTEN)).exception("Error handling request from %s", "::1", exc_info=error)

    ((logger, level, message),) = written.record_tuples
    assert ("relayd.api", logging.WARNING) == (logger, level)
    assert message.startswith("request.unreadable ")
    assert "\n" not in message
    assert not written.records[0].exc_info


def test_a_fault_of_aiohttp_keeps_its_stack(written: pytest.LogCaptureFixture) -> None:
    FaultLog(logging.getLogger(WRITTEN)).exception("Unhandled exception", exc_info=ValueError("x"))

    ((logger, level, _),) = written.record_tuples
    assert (WRITTEN, logging.ERROR) == (logger, level)
    assert written.records[0].exc_info
