"""A plan's warnings about changes at the source that a merge does not see, or takes for another row."""

from __future__ import annotations

from connectors.base import ReadRequest, Source
from jobs.spec.models import DatasetSpec


def unseen_change_warnings(source: Source, request: ReadRequest, dataset: DatasetSpec) -> tuple[str, ...]:
    """Return the source's warnings for a merged dataset. Others have none: they are read whole, or only added to.

    `deletes: ignore`, written in the spec, says that rows whose keys are gone may stay. So a respelled key is no news.
    """
    if dataset.write_disposition != "merge":
        return ()
    may_respell = "deletes" not in dataset.model_fields_set
    return source.unseen_changes(request, swept=dataset.deletes == "sweep", may_respell=may_respell)
