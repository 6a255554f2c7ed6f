"""The receipts of one run as a task sees them: listed once, and each read once, when it is needed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jobs.runs.receipts import Receipts, place_of, run_prefix

if TYPE_CHECKING:
    from jobs.lake.documents import Documents
    from jobs.runs.receipts import Receipt, Stage

Sought = tuple[int, "Stage", str]
"""Generation, stage and dataset of a requested receipt."""


class RunReceipts:
    """The receipts of a run. One listing names all of them, so no missing receipt is requested. A receipt is never
    replaced, so one that was read stays read; `refresh` lists again to find those that came since."""

    def __init__(self, documents: Documents, pipeline: str, run_id: str) -> None:
        self._documents = documents
        self._receipts = Receipts(documents)
        self._prefix = run_prefix(pipeline, run_id)
        self._keys: dict[Sought, str] | None = None
        self._known: dict[str, Receipt] = {}

    def refresh(self) -> None:
        """List the receipts again at the next question."""
        self._keys = None

    def has(self, generation: int, stage: Stage, dataset: str) -> bool:
        """Whether the receipt is there; it is not read."""
        return (generation, stage, dataset) in self._listed()

    def find(self, generation: int, stage: Stage, dataset: str) -> Receipt | None:
        """Return the receipt; None if the listing does not have it."""
        return next(iter(self.find_all([(generation, stage, dataset)])), None)

    def find_all(self, sought: Iterable[Sought]) -> list[Receipt]:
        """Return those of the receipts that exist; the ones not read yet are read in parallel."""
        listed = self._listed()
        keys = [listed[place] for place in sought if place in listed]
        unread = [key for key in keys if key not in self._known]
        self._known.update(zip(unread, self._receipts.read_all(unread), strict=True))
        return [self._known[key] for key in keys]

    def look(self) -> list[Receipt]:
        """Read all receipts that exist now, in the order they were left: one listing, and a read of what is new."""
        self.refresh()
        return sorted(self.find_all(self._listed()), key=lambda receipt: receipt.finished_at)

    def every(self) -> list[Receipt]:
        """Read all receipts of the run; of the attempts at a view only the last."""
        return self.find_all(list(self._listed()))

    @property
    def generation(self) -> int:
        """Return the highest generation that has left a receipt; 0 before the first."""
        return max((generation for generation, _, _ in self._listed()), default=0)

    def _listed(self) -> dict[Sought, str]:
        if self._keys is None:
            # Several attempts at a view may leave receipts: the last one counts.
            by_attempt = sorted((place_of(key).attempt, key) for key in self._documents.list(self._prefix))
            self._keys = {
                (place.generation, place.stage, place.dataset): key
                for _, key in by_attempt
                for place in [place_of(key)]
            }
        return self._keys
