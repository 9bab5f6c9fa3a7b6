"""What does a client read when its request fails?"""

from math import ceil

from aiohttp import web

from relayd.api.answer import json_answer
from relayd.errors import RelaydError, RequestError

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}
"""Status to `type`, where clients of OpenAI know a name for it."""


def error_type(status: int) -> str:
    """Return the `type` of an error with this HTTP status."""
    return _TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")


def error_payload(error: RelaydError) -> dict[str, object]:
    """Return the body of an error as OpenAI shapes it; the message ends with the remedy."""
    return {
        "error": {
            "message": " ".join(filter(None, (error.message, error.remedy))),
            "type": error_type(error.http_status),
            "code": error.code,
            "param": error.param if isinstance(error, RequestError) else None,
        }
    }


def error_answer(error: RelaydError) -> web.Response:
    """Return the response that tells a client of `error`."""
    answer = json_answer(error_payload(error), status=error.http_status)
    if error.http_status == 401:
        answer.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RequestError) and error.retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(max(1, ceil(error.retry_after_seconds)))
    return answer


def internal_error_answer() -> web.Response:
    """Return the response to a request that met a fault of relayd itself: nothing of it is told."""
    message = (
        "relayd failed to handle this request. The X-Request-ID of this answer finds the cause in its log."
    )
    error = {"message": message, "type": "server_error", "code": RelaydError.code, "param": None}
    return json_answer({"error": error}, status=500)
