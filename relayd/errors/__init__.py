"""Every error a person or a client can meet, as one tree.

A class fixes a `code` (JSON, `--json`, logs), the exit status of a command and the HTTP status of a request.

    RelaydError                     code                    exit  HTTP
    ├── UsageError                  usage                   2     400
    │   ├── ConfigError             config_invalid          2     500
    │   ├── ExposureError           exposed_without_key     2     500
    │   ├── ModelFileError          model_file_invalid      2     500
    │   └── BatchJobError           batch_job_invalid       2     400
    ├── BatchServerError            batch_server_failed     1     502
    ├── EngineError                 engine_failed           1     500
    │   ├── EngineMissing           engine_missing          1     500
    │   └── EngineBuildError        engine_build_failed     1     500
    ├── FetchError                  fetch_failed            1     502
    │   ├── HostSilentError         host_silent             1     504
    │   ├── HashMismatchError       hash_mismatch           1     502
    │   └── NoSpaceError            no_space                1     507
    ├── KeyUnknownError             key_unknown             1     404
    ├── ListenError                 listen_failed           1     500
    ├── StateError                  state_unusable          1     500
    ├── OutputError                 output_failed           1     500
    ├── InvalidMessageError         invalid_worker_message  1     502
    ├── HubLostError                hub_lost                1     502
    ├── DaemonError                 daemon_error            1     500
    │   ├── UpgradeError            upgrade_failed          1     500
    │   ├── NoDaemonError           no_daemon               3     503
    │   ├── DaemonSilentError       daemon_silent           4     504
    │   ├── DaemonRunningError      daemon_running          5     409
    │   └── OtherBuildError         daemon_of_other_build   1     500
    ├── LinkError                   link_failed             1     502
    │   ├── SlotTakenError          slot_taken              1     503
    │   └── LinkLostError           link_lost               1     502
    ├── HubRefusedError             hub_refused             1     502
    └── RequestError                invalid_request         1     400
        ├── ThreadUnsupportedError  thread_unsupported_request  1  400
        ├── UnauthorizedError       invalid_api_key         1     401
        ├── OriginRefusedError      origin_not_allowed      1     403
        ├── AdminKeyError           admin_key_required      1     403
        ├── KeyScopeError           key_scope               1     403
        ├── NotFetchedError         not_fetched             1     403
        ├── RequestCancelledError   request_cancelled       1     403
        ├── NotFoundError           not_found               1     404
        │   ├── NotServedError      not_served              1     404
        │   └── ModelNotFoundError  model_not_found         1     404
        ├── MethodNotAllowedError   method_not_allowed      1     405
        ├── BodyTimeoutError        body_timeout            1     408
        ├── ConflictError           conflict                1     409
        ├── BodyTooLargeError       body_too_large          1     413
        ├── FileLimitError          file_limit              1     413
        ├── MediaTypeError          unsupported_media_type  1     415
        ├── HostRefusedError        host_not_allowed        1     421
        ├── ContextExceededError    exceed_context_size_error  1  400
        ├── CrashedReplicasError    request_refused_after_crash  1  422
        ├── QueueFullError          queue_full              1     429
        ├── TooManyFailedKeysError  too_many_failed_keys    1     429
        ├── RateLimitError          rate_limit_exceeded     1     429
        │   └── QuotaError          insufficient_quota      1     429
        ├── UpstreamError           upstream_failed         1     502
        ├── UnavailableError        model_unavailable       1     503
        │   └── NotLoadedError      model_not_loaded        1     503
        ├── BodyBudgetError         body_budget_spent       1     503
        ├── TooManyConnectionsError too_many_connections    1     503
        ├── StoppingError           server_stopping         1     503
        ├── ReplicaStoppedError     replica_stopped         1     503
        ├── RequestTimeoutError     request_timeout         1     504
        ├── QueueTimeoutError       queue_timeout           1     503
        └── StorageError            storage_failed          1     503
            └── StorageFullError    storage_full            1     507
"""

from relayd.errors.base import RelaydError
from relayd.errors.commands import (
    BatchJobError,
    BatchServerError,
    ConfigError,
    DaemonError,
    DaemonRunningError,
    DaemonSilentError,
    EngineBuildError,
    EngineError,
    EngineMissing,
    ExposureError,
    FetchError,
    HashMismatchError,
    HostSilentError,
    HubLostError,
    HubRefusedError,
    InvalidMessageError,
    KeyUnknownError,
    LinkError,
    LinkLostError,
    ListenError,
    ModelFileError,
    NoDaemonError,
    NoSpaceError,
    OtherBuildError,
    OutputError,
    SlotTakenError,
    StateError,
    UpgradeError,
    UsageError,
)
from relayd.errors.requests import (
    AdminKeyError,
    BodyBudgetError,
    BodyTimeoutError,
    BodyTooLargeError,
    ConflictError,
    ContextExceededError,
    CrashedReplicasError,
    FileLimitError,
    HostRefusedError,
    KeyScopeError,
    MediaTypeError,
    MethodNotAllowedError,
    ModelNotFoundError,
    NotFetchedError,
    NotFoundError,
    NotLoadedError,
    NotServedError,
    OriginRefusedError,
    QueueFullError,
    QueueTimeoutError,
    QuotaError,
    RateLimitError,
    ReplicaStoppedError,
    RequestCancelledError,
    RequestError,
    RequestTimeoutError,
    StoppingError,
    StorageError,
    StorageFullError,
    ThreadUnsupportedError,
    TooManyConnectionsError,
    TooManyFailedKeysError,
    UnauthorizedError,
    UnavailableError,
    UpstreamError,
)

__all__ = [
    "AdminKeyError",
    "BatchJobError",
    "BatchServerError",
    "BodyBudgetError",
    "BodyTimeoutError",
    "BodyTooLargeError",
    "ConfigError",
    "ConflictError",
    "ContextExceededError",
    "CrashedReplicasError",
    "DaemonError",
    "DaemonRunningError",
    "DaemonSilentError",
    "EngineBuildError",
    "EngineError",
    "EngineMissing",
    "ExposureError",
    "FetchError",
    "FileLimitError",
    "HashMismatchError",
    "HostRefusedError",
    "HostSilentError",
    "HubLostError",
    "HubRefusedError",
    "InvalidMessageError",
    "KeyScopeError",
    "KeyUnknownError",
    "LinkError",
    "LinkLostError",
    "ListenError",
    "MediaTypeError",
    "MethodNotAllowedError",
    "ModelFileError",
    "ModelNotFoundError",
    "NoDaemonError",
    "NoSpaceError",
    "NotFetchedError",
    "NotFoundError",
    "NotLoadedError",
    "NotServedError",
    "OriginRefusedError",
    "OtherBuildError",
    "OutputError",
    "QueueFullError",
    "QueueTimeoutError",
    "QuotaError",
    "RateLimitError",
    "RelaydError",
    "ReplicaStoppedError",
    "RequestCancelledError",
    "RequestError",
    "RequestTimeoutError",
    "SlotTakenError",
    "StateError",
    "StoppingError",
    "StorageError",
    "StorageFullError",
    "ThreadUnsupportedError",
    "TooManyConnectionsError",
    "TooManyFailedKeysError",
    "UnauthorizedError",
    "UnavailableError",
    "UpgradeError",
    "UpstreamError",
    "UsageError",
]
