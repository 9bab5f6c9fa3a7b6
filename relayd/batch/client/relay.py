"""`RelayClient`: batches of several providers through one interface, kept in a folder as Relay does."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from relayd.batch.client.access import address_of
from relayd.batch.client.filebatches import OpenAIProvider, bearer
from relayd.batch.client.lines import checked
from relayd.batch.client.messages import AnthropicProvider, message_headers
from relayd.batch.client.together import TogetherProvider
from relayd.batch.client.values import BatchJob, BatchRequest, Standing, has_ended, normalized
from relayd.batch.client.wire import Wire
from relayd.batch.client.workspace import Workspace
from relayd.errors import BatchJobError, BatchServerError

__all__ = ["BatchJob", "BatchRequest", "RelayClient"]

WINDOW = "24h"
"""How long a batch may take, unless another time is given."""

_LONG_AGO = datetime(1970, 1, 1)  # noqa: DTZ001 - local, as Relay's
_DAY_LENGTH = len("2026-01-31")
_REFUSED_AS_ENDED = frozenset({400, 409})


class Provider(Protocol):
    """A batch API; every method raises `BatchServerError`."""

    def submit(self, requests: Sequence[BatchRequest], window: str, metadata: Mapping[str, str]) -> Standing:
        """Make a batch of requests."""
        ...

    def monitor(self, batch: str) -> Standing:
        """Return how a batch stands."""
        ...

    def results(self, standing: Standing) -> list[dict[str, Any]]:
        """Return the results of a batch that has some."""
        ...

    def cancel(self, batch: str) -> Standing:
        """Cancel a batch."""
        ...


class RelayClient:
    """Submits batches, follows them, and keeps their results in a folder.

    A folder that Relay has written can be used, and Relay can use what this one writes.

    Args:
        directory: The folder; it is made.
        base_url: Where the provider's API is, for all jobs of this client; "" takes the variable
            `RELAYD_BASE_URL`, `OPENAI_BASE_URL`, `TOGETHER_BASE_URL` or `ANTHROPIC_BASE_URL`, else the
            provider's own address, or the relayd that runs on this machine.
        api_key: The key; "" takes `…_API_KEY` of the environment, else the one that relayd lends its owner.
        environ: The variables; None is this process's.
        pause: Waits so many seconds between two tries; None does it really.

    Raises:
        StateError: The folder cannot be made.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        base_url: str = "",
        api_key: str = "",
        environ: Mapping[str, str] | None = None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        self._workspace = Workspace(directory)
        self.directory = self._workspace.directory
        self._base_url = base_url
        self._api_key = api_key
        self._environ = os.environ if environ is None else environ
        self._pause = pause
        self._providers: dict[str, Provider] = {}

    def __repr__(self) -> str:
        return f"<RelayClient {self.directory}, {len(self._providers)} providers used>"

    def submit_batch(
        self,
        requests: Iterable[BatchRequest],
        job_id: str,
        provider: str = "relayd",
        description: str = "",
        *,
        completion_window: str = WINDOW,
    ) -> BatchJob:
        """Submit requests as one job, and keep it in the folder.

        A job that has ended may be replaced by another of its id; its results are removed then.

        Args:
            requests: What is asked.
            job_id: What you call the job.
            provider: `relayd`, `openai`, `together` or `anthropic`.
            description: What it is for.
            completion_window: How long it may take, where the provider lets that be chosen.

        Raises:
            BatchJobError: There is no request, two have one id, or a job of this id is in progress.
            BatchServerError: The provider refused, or was not reached.
        """
        asked = checked(requests)
        with self._workspace.submitting(job_id):
            self._refuse_running(job_id)
            metadata = {"job_id": job_id, "description": description}
            standing = self._provider(provider).submit(asked, completion_window, metadata)
            self._workspace.drop_results(job_id)
            document = {
                "job_id": job_id,
                "provider_job_id": standing.id,
                "provider": provider,
                "submitted_at": datetime.now().isoformat(),  # noqa: DTZ005 - local and without a zone, as Relay's
                "status": standing.status,
                "n_requests": len(asked),
                "completed_requests": standing.completed or 0,
                "failed_requests": standing.failed or 0,
                "description": description,
            }
            self._workspace.save(job_id, document)
        return _job(document)

    def list_jobs(self) -> list[str]:
        """Return the ids of all jobs in the folder, sorted."""
        return self._workspace.names()

    def get_job(self, job_id: str) -> dict[str, Any] | None:
        """Return what the folder has of a job; None where it has none. No provider is asked."""
        return self._workspace.job(job_id)

    def get_all_jobs(
        self,
        status: str | None = None,
        provider: str | None = None,
        date_from: str | None = None,
        date_to: str | None = None,
        description_search: str | None = None,
        job_id_search: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the jobs in the folder, the newest first, each with `has_results`.

        Files that are not those of jobs are passed over.

        Args:
            status: Only those in this state, in the words of `normalized`.
            provider: Only those of this one.
            date_from: Only those submitted from then on, in ISO form.
            date_to: Only those submitted until then; a day without a time is meant as a whole.
            description_search: Only those whose description has this, in whatever case.
            job_id_search: Only those whose id has this, in whatever case.

        Raises:
            BatchJobError: A date is not one.
        """
        since = _moment(date_from, "date_from") if date_from else None
        until = _moment(date_to, "date_to") if date_to else None
        if until and date_to and len(date_to) <= _DAY_LENGTH:
            until += timedelta(days=1, microseconds=-1)
        found = list[tuple[datetime, dict[str, Any]]]()
        for document in self._jobs():
            at = _submitted(document)
            if (
                (not status or normalized(str(document.get("status", ""))) == status.lower())
                and (not provider or str(document.get("provider", "")).lower() == provider.lower())
                and (since is None or at >= since)
                and (until is None or at <= until)
                and (description_search or "").lower() in str(document.get("description") or "").lower()
                and (job_id_search or "").lower() in str(document["job_id"]).lower()
            ):
                found.append((at, document))
        return [document for _, document in sorted(found, key=lambda one: one[0], reverse=True)]

    def has_results(self, job_id: str) -> bool:
        """Return whether the folder has results of a job."""
        return self._workspace.has_results(job_id)

    def get_results(self, job_id: str) -> list[dict[str, Any]] | None:
        """Return the results that the folder has of a job; None where it has none."""
        return self._workspace.results(job_id)

    def monitor_batch(self, job_id: str) -> BatchJob:
        """Ask the provider how a job stands, and keep it.

        Raises:
            BatchJobError: There is no such job.
            BatchServerError: The provider refused, or was not reached.
        """
        document = self._workspace.known(job_id)
        self._note(job_id, document, self._standing(document))
        return _job(document)

    def retrieve_batch_results(self, job_id: str, force_refresh: bool = False) -> list[dict[str, Any]]:
        """Return the results of a job that has ended: those in the folder, else the provider's.

        What the provider gives is kept in the folder.

        Failed requests are among them, with their errors. A job that was cancelled or has expired has
        the results of those requests that were done.

        Args:
            job_id: The job.
            force_refresh: Ask the provider even if the folder has results.

        Raises:
            BatchJobError: There is no such job, or it has not ended, or it was refused as a whole.
            BatchServerError: The provider refused, or was not reached.
        """
        if not force_refresh and (kept := self._workspace.results(job_id)) is not None:
            return kept
        document = self._workspace.known(job_id)
        standing = self._standing(document)
        self._note(job_id, document, standing)
        if not has_ended(standing.status):
            raise BatchJobError(
                f"job {job_id} has not ended (status: {standing.status})",
                remedy="Ask monitor_batch() again later.",
            )
        if not standing.results and normalized(standing.status) == "failed":
            why = "; ".join(standing.faults) or standing.status
            raise BatchJobError(f"job {job_id} has no results: {why}")
        results = self._provider(document["provider"]).results(standing) if standing.results else []
        self._workspace.save_results(job_id, results)
        return results

    def cancel_batch(self, job_id: str) -> bool:
        """Cancel a job, and return whether it is or will be cancelled; one that has ended is not.

        Raises:
            BatchJobError: There is no such job.
            BatchServerError: The provider refused, or was not reached.
        """
        document = self._workspace.known(job_id)
        provider = self._provider(document["provider"])
        with self._told_where(document):
            try:
                standing = provider.cancel(_batch(document))
            except BatchServerError as refusal:
                if refusal.status not in _REFUSED_AS_ENDED:
                    raise
                standing = provider.monitor(_batch(document))
                if not has_ended(standing.status):
                    raise
        self._note(job_id, document, standing)
        return normalized(standing.status) in ("cancelling", "cancelled")

    def _standing(self, document: Mapping[str, Any]) -> Standing:
        with self._told_where(document):
            return self._provider(document["provider"]).monitor(_batch(document))

    @contextlib.contextmanager
    def _told_where(self, document: Mapping[str, Any]) -> Iterator[None]:
        """Have the error of a job that the provider does not know name it."""
        try:
            yield
        except BatchServerError as error:
            if error.status == 404 and not error.remedy:
                error.remedy = (
                    f"Job {document.get('job_id')} was submitted to {document['provider']} as "
                    f"{_batch(document)}: is it another server, or was it deleted there?"
                )
            raise

    def _note(self, job: str, document: dict[str, Any], standing: Standing) -> None:
        """Keep how a job stands."""
        total = int(document.get("n_requests") or standing.total or 0)
        document["n_requests"] = standing.total or total
        document["status"] = standing.status
        if standing.completed is not None:
            document["completed_requests"] = standing.completed
        elif standing.share is not None:
            document["completed_requests"] = int(standing.share * total)
        elif normalized(standing.status) == "completed":
            document["completed_requests"] = total - int(standing.failed or 0)
        if standing.failed is not None:
            document["failed_requests"] = standing.failed
        self._workspace.save(job, document)

    def _refuse_running(self, job: str) -> None:
        found = self._workspace.job(job)
        if found is not None and not has_ended(status := str(found.get("status", "unknown"))):
            raise BatchJobError(
                f"job {job!r} already exists and is in progress (status: {status})",
                remedy="Take another id, or call monitor_batch(), which notes when it has ended.",
            )

    def _jobs(self) -> Iterator[dict[str, Any]]:
        for name in self._workspace.names():
            document = self._workspace.job(name)
            if document is not None and "job_id" in document:
                yield {**document, "has_results": self._workspace.has_results(name)}

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            address = address_of(name, self._environ, self._base_url, self._api_key)
            if name == "anthropic":
                self._providers[name] = AnthropicProvider(
                    Wire(address, message_headers(address), self._pause)
                )
            else:
                wire = Wire(address, bearer(address), self._pause)
                self._providers[name] = TogetherProvider(wire) if name == "together" else OpenAIProvider(wire)
        return self._providers[name]


def _batch(document: Mapping[str, Any]) -> str:
    return str(document.get("provider_job_id") or document.get("job_id"))


def _job(document: Mapping[str, Any]) -> BatchJob:
    return BatchJob(
        document["job_id"],
        _submitted(document),
        document["status"],
        document["n_requests"],
        document["completed_requests"],
        document["failed_requests"],
    )


def _submitted(document: Mapping[str, Any]) -> datetime:
    """Return when a job was submitted; the earliest moment where its file does not say so."""
    try:
        return _moment(str(document.get("submitted_at", "")), "submitted_at")
    except BatchJobError:
        return _LONG_AGO


def _moment(text: str, name: str) -> datetime:
    """Return a moment in local time, without a zone.

    Raises:
        BatchJobError: The text is not one.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BatchJobError(
            f"{name} is {text!r}, which is not a date", remedy="Write 2026-01-31, or 2026-01-31T13:00."
        ) from error
    return found.astimezone().replace(tzinfo=None) if found.tzinfo else found
