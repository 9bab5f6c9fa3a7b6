"""How does an error become a response (in the dialect of its route)?"""

from math import ceil

from aiohttp import web

from relayd.api.answer import body_answer
from relayd.errors import RelaydError, RequestError
from relayd.router import Dialect, Problem

DIALECT = web.RequestKey("dialect", Dialect)
"""Where a request carries the dialect of the route that it is for."""

INTERNAL = RelaydError(
    "relayd failed to handle this request. The X-Request-ID of this answer finds the cause in its log."
)
"""What a client reads after a fault of relayd itself."""


def error_answer(error: RelaydError, dialect: Dialect) -> web.Response:
    """Return the response that reports `error` to a client."""
    answer = body_answer(dialect.error_body(Problem.of(error)), status=error.http_status)
    if error.http_status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RequestError) and error.retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(max(1, ceil(error.retry_after_seconds)))
    return answer
