"""What replicas were made smaller to, between the store's documents and the supervisor's values."""

from collections.abc import Mapping

import msgspec

from relayd.errors import StateError
from relayd.journal import Journal
from relayd.planner.plan import from_document, to_document
from relayd.store import Reductions
from relayd.supervisor.sizing import Reduction


class KeptReductions:
    """Reductions on disk; see `dependencies.ReductionMemory`.

    Args:
        store: Their file.
    """

    def __init__(self, store: Reductions) -> None:
        self._store = store

    def __repr__(self) -> str:
        return f"<KeptReductions in {self._store!r}>"

    def read(self) -> Mapping[str, Reduction]:
        """Return what is kept, by replica; what a later version has written in another way is left out."""
        found = {}
        for name, document in self._store.read().items():
            try:
                found[name] = from_document(document, Reduction)
            except msgspec.ValidationError as error:
                Journal("supervisor").warning("reduction.unknown", replica=name, message=str(error))
        return found

    def put(self, replica: str, reduction: Reduction | None) -> None:
        """Keep a reduction, or none any more; without room the next daemon has to find it again."""
        try:
            self._store.put(replica, to_document(reduction) if reduction else None)
        except StateError as error:
            Journal("supervisor").warning("reduction.not_written", replica=replica, message=error.message)
