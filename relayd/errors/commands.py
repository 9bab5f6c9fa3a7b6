"""Errors of commands and of the daemon's work: what a person meets."""

from relayd.errors.base import RelaydError


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


class BatchJobError(UsageError, ValueError):
    """A batch job cannot be submitted or found as it was asked for; a ValueError, as in Relay."""

    code = "batch_job_invalid"


class BatchServerError(RelaydError):
    """A batch API refused, or could not be reached."""

    code = "batch_server_failed"
    http_status = 502

    def __init__(self, message: str, *, status: int = 0, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        """What the server answered; 0 where it did not."""


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


class KeyUnknownError(RelaydError):
    """No API key has that name or id, or it is revoked."""

    code = "key_unknown"
    http_status = 404


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


class InvalidMessageError(RelaydError):
    """A frame of ModelRelay's protocol does not hold a message of it."""

    code = "invalid_worker_message"
    http_status = 502


class HubLostError(RelaydError):
    """The connection to a hub of ModelRelay's protocol is closed."""

    code = "hub_lost"
    http_status = 502


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


class LinkError(RelaydError):
    """What came over the link between a hub and a node breaks the protocol."""

    code = "link_failed"
    http_status = 502


class SlotTakenError(LinkError, OSError):
    """A node had no free slot for a request; nothing was sent to a replica, and it is tried elsewhere."""

    code = "slot_taken"
    http_status = 503


class LinkLostError(LinkError, OSError):
    """The link to a node was lost with a request on it, which is tried or continued elsewhere."""

    code = "link_lost"


class HubRefusedError(RelaydError):
    """A hub does not take this machine as a node, or cannot be reached."""

    code = "hub_refused"
    http_status = 502
