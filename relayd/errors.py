"""Every error a person or a client can meet, as one tree.

A class fixes a `code` (JSON, `--json`, logs), the exit status of a command and the HTTP status of a request.

    RelaydError                     code                    exit  HTTP
    ├── UsageError                  usage                   2     400
    │   ├── ConfigError             config_invalid          2     500
    │   ├── ExposureError           exposed_without_key     2     500
    │   └── ModelFileError          model_file_invalid      2     500
    ├── EngineError                 engine_failed           1     500
    │   ├── EngineMissing           engine_missing          1     500
    │   └── EngineBuildError        engine_build_failed     1     500
    ├── FetchError                  fetch_failed            1     502
    │   ├── HostSilentError         host_silent             1     504
    │   ├── HashMismatchError       hash_mismatch           1     502
    │   └── NoSpaceError            no_space                1     507
    ├── ListenError                 listen_failed           1     500
    ├── StateError                  state_unusable          1     500
    ├── OutputError                 output_failed           1     500
    ├── DaemonError                 daemon_error            1     500
    │   ├── UpgradeError            upgrade_failed          1     500
    │   ├── NoDaemonError           no_daemon               3     503
    │   ├── DaemonSilentError       daemon_silent           4     504
    │   ├── DaemonRunningError      daemon_running          5     409
    │   └── OtherBuildError         daemon_of_other_build   1     500
    └── RequestError                invalid_request         1     400
        ├── ThreadUnsupportedError  thread_unsupported_request  1  400
        ├── UnauthorizedError       invalid_api_key         1     401
        ├── OriginRefusedError      origin_not_allowed      1     403
        ├── AdminKeyError           admin_key_required      1     403
        ├── NotFoundError           not_found               1     404
        │   ├── NotServedError      not_served              1     404
        │   └── ModelNotFoundError  model_not_found         1     404
        ├── MethodNotAllowedError   method_not_allowed      1     405
        ├── BodyTimeoutError        body_timeout            1     408
        ├── BodyTooLargeError       body_too_large          1     413
        ├── MediaTypeError          unsupported_media_type  1     415
        ├── HostRefusedError        host_not_allowed        1     421
        ├── ContextExceededError    exceed_context_size_error  1  400
        ├── CrashedReplicasError    request_refused_after_crash  1  422
        ├── QueueFullError          queue_full              1     429
        ├── TooManyFailedKeysError  too_many_failed_keys    1     429
        ├── UpstreamError           upstream_failed         1     502
        ├── UnavailableError        model_unavailable       1     503
        │   └── NotLoadedError      model_not_loaded        1     503
        ├── BodyBudgetError         body_budget_spent       1     503
        ├── TooManyConnectionsError too_many_connections    1     503
        ├── StoppingError           server_stopping         1     503
        ├── ReplicaStoppedError     replica_stopped         1     503
        └── QueueTimeoutError       queue_timeout           1     503
"""

from typing import ClassVar


class RelaydError(Exception):
    """Base of every error; each kind that a caller can tell apart has a class below.

    Args:
        message: What failed and which value, one sentence.
        remedy: What to do next; printed after the message.
    """

    code: ClassVar[str] = "internal_error"
    exit_status: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class UsageError(RelaydError):
    """The command cannot be carried out as it was typed."""

    code = "usage"
    exit_status = 2
    http_status = 400


class ConfigError(UsageError):
    """A configuration file or variable holds a value that relayd cannot follow."""

    code = "config_invalid"
    http_status = 500


class ExposureError(UsageError):
    """The daemon would be reachable from other machines without a key."""

    code = "exposed_without_key"
    http_status = 500


class ModelFileError(UsageError):
    """A model file is missing, unreadable or not a GGUF."""

    code = "model_file_invalid"
    http_status = 500


class EngineError(RelaydError):
    """A llama-server binary failed, or lacks what relayd needs."""

    code = "engine_failed"


class EngineMissing(EngineError):  # noqa: N818 - reads as a state, as the CLI shows it
    """No llama-server was found and none may be installed."""

    code = "engine_missing"


class EngineBuildError(EngineError):
    """Building llama-server from source failed."""

    code = "engine_build_failed"


class FetchError(RelaydError):
    """A download failed."""

    code = "fetch_failed"
    http_status = 502


class HostSilentError(FetchError):
    """A host did not answer in time."""

    code = "host_silent"
    http_status = 504


class HashMismatchError(FetchError):
    """A download has another SHA-256 than expected."""

    code = "hash_mismatch"


class NoSpaceError(FetchError):
    """The disk cannot hold what would be written."""

    code = "no_space"
    http_status = 507


class ListenError(RelaydError):
    """An address cannot be listened on."""

    code = "listen_failed"


class StateError(RelaydError):
    """A folder or file that relayd keeps cannot be used."""

    code = "state_unusable"


class OutputError(RelaydError):
    """What a command prints cannot be written: the disk is full, or the reader has closed the pipe.

    Args:
        message: What failed.
        closed: The reader has closed the pipe, as `head` does: the command itself has not failed.
    """

    code = "output_failed"

    def __init__(self, message: str, *, closed: bool = False) -> None:
        super().__init__(message)
        self.closed = closed


class DaemonError(RelaydError):
    """The daemon refused a command; `code` may be the daemon's own."""

    code = "daemon_error"


class UpgradeError(DaemonError):
    """A new daemon did not take over; the old one goes on."""

    code = "upgrade_failed"


class NoDaemonError(DaemonError):
    """No daemon is running."""

    code = "no_daemon"
    exit_status = 3
    http_status = 503


class DaemonSilentError(DaemonError):
    """A daemon holds the socket but does not answer."""

    code = "daemon_silent"
    exit_status = 4
    http_status = 504


class DaemonRunningError(DaemonError):
    """Another daemon holds the lock."""

    code = "daemon_running"
    exit_status = 5
    http_status = 409


class OtherBuildError(DaemonError):
    """The running daemon is of another build, and does not answer as this one would."""

    code = "daemon_of_other_build"


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
    """The key that came along is not an administrator's, or none did."""

    code = "admin_key_required"
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


class BodyTooLargeError(RequestError):
    """The body is larger than the limit."""

    code = "body_too_large"
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


class QueueTimeoutError(RequestError):
    """The request waited as long as it may."""

    code = "queue_timeout"
    http_status = 503
