"""Errors of requests: what a client meets."""

from relayd.errors.base import RelaydError


class RequestError(RelaydError):
    """A client's request cannot be served."""

    code = "invalid_request"
    http_status = 400

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.param = param  # the member of the body at fault, if one is
        self.retry_after_seconds = retry_after_seconds  # when trying again makes sense, if it does
        self.queue_position = 0  # the place in its queue that a refused request had, or would have had


class ThreadUnsupportedError(RequestError):
    """A conversation that the server should remember; Anthropic's SDKs then send all of it."""

    code = "thread_unsupported_request"


class UnauthorizedError(RequestError):
    """The key is missing or wrong; the message does not reveal which."""

    code = "invalid_api_key"
    http_status = 401


class OriginRefusedError(RequestError):
    """The request comes from a web page of an origin that is not allowed."""

    code = "origin_not_allowed"
    http_status = 403


class AdminKeyError(RequestError):
    """The key that was sent is not an administrator's, or none was."""

    code = "admin_key_required"
    http_status = 403


class KeyScopeError(RequestError):
    """The key that was sent is valid, but not for this."""

    code = "key_scope"
    http_status = 403


class NotFetchedError(RequestError):
    """A client would have the server fetch from an address."""

    code = "not_fetched"
    http_status = 403


class RequestCancelledError(RequestError):
    """An administrator has ended the request."""

    code = "request_cancelled"
    http_status = 403


class NotFoundError(RequestError):
    """The path does not exist."""

    code = "not_found"
    http_status = 404


class NotServedError(NotFoundError):
    """A known part of an API that relayd does not serve."""

    code = "not_served"


class ModelNotFoundError(NotFoundError):
    """No model of that name is configured."""

    code = "model_not_found"


class MethodNotAllowedError(RequestError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    http_status = 405


class BodyTimeoutError(RequestError):
    """The body stopped arriving."""

    code = "body_timeout"
    http_status = 408


class ConflictError(RequestError):
    """What is asked for cannot be done in the state in which the thing is."""

    code = "conflict"
    http_status = 409


class BodyTooLargeError(RequestError):
    """The body is larger than the limit."""

    code = "body_too_large"
    http_status = 413


class FileLimitError(RequestError):
    """A file is larger than one may be, or its key has as much on disk as it may."""

    code = "file_limit"
    http_status = 413


class MediaTypeError(RequestError):
    """The body is not JSON, or is compressed."""

    code = "unsupported_media_type"
    http_status = 415


class HostRefusedError(RequestError):
    """The Host header names a machine that is not this one."""

    code = "host_not_allowed"
    http_status = 421


class ContextExceededError(RequestError):
    """What is asked is longer than a slot of the model can hold, in any tokens."""

    code = "exceed_context_size_error"


class CrashedReplicasError(RequestError):
    """The same request was running on two replicas as each of them crashed; it is refused for ten minutes."""

    code = "request_refused_after_crash"
    http_status = 422


class QueueFullError(RequestError):
    """More requests wait for this model than its queue may hold."""

    code = "queue_full"
    http_status = 429


class TooManyFailedKeysError(RequestError):
    """One address has sent too many wrong keys."""

    code = "too_many_failed_keys"
    http_status = 429


class RateLimitError(RequestError):
    """The key has sent as many requests, or used as many tokens, as it may in a minute or at once."""

    code = "rate_limit_exceeded"
    http_status = 429


class QuotaError(RateLimitError):
    """The key has used what it may in this day or month."""

    code = "insufficient_quota"


class UpstreamError(RequestError):
    """A replica failed and no other could take over."""

    code = "upstream_failed"
    http_status = 502


class UnavailableError(RequestError):
    """No replica of the model can serve."""

    code = "model_unavailable"
    http_status = 503


class NotLoadedError(UnavailableError):
    """The model is configured, and no replica of it is in memory."""

    code = "model_not_loaded"


class BodyBudgetError(RequestError):
    """The bodies of all requests together take as much memory as they may."""

    code = "body_budget_spent"
    http_status = 503


class TooManyConnectionsError(RequestError):
    """As many connections are open as may be, and none of them is idle."""

    code = "too_many_connections"
    http_status = 503


class StoppingError(RequestError):
    """The daemon ends, or was replaced, and its drain timeout has passed."""

    code = "server_stopping"
    http_status = 503


class ReplicaStoppedError(RequestError):
    """The replica was stopped or restarted by command, and its drain timeout has passed."""

    code = "replica_stopped"
    http_status = 503


class RequestTimeoutError(RequestError):
    """The answer took longer than the server, the model or its client allows."""

    code = "request_timeout"
    http_status = 504


class QueueTimeoutError(RequestError):
    """The request waited as long as it may."""

    code = "queue_timeout"
    http_status = 503


class StorageError(RequestError):
    """What has to be kept on disk cannot be written or read now."""

    code = "storage_failed"
    http_status = 503


class StorageFullError(StorageError):
    """The disk has no room for this."""

    code = "storage_full"
    http_status = 507
