"""Which columns name a row's place and order its versions. The source's class answers; nothing is contacted."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

import connectors
from connectors.base import Column
from connectors.versions import BATCH_COLUMN, LogColumns, Version, columns_of
from jobs.lake.schema import AS_JSON, quoted
from jobs.runs.source import request_of
from jobs.spec.models import DatasetSpec, PipelineSpec

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn


class RowIdentity(BaseModel):
    """What distinguishes the rows of a dataset, and the versions of one key. All of it is empty for a derived dataset.

    `columns` are those that the source adds to every row. `place` are the columns that no two rows share: the key of
    an `append` that declares none. `versions` order the versions of one key, most significant first; `_batch` follows
    them if it is not among them. `log` says where a row's place in a log is, if the source is a log.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Column, ...] = ()
    place: tuple[str, ...] = ()
    versions: tuple[Version, ...] = ()
    log: LogColumns | None = None

    @property
    def cursor(self) -> str | None:
        """The source's column that orders versions before all others; None if the source orders none."""
        return next((name for name in columns_of(self.versions) if name != BATCH_COLUMN), None)

    def place_columns(self, primary_key: Collection[str], columns: Collection[str]) -> list[str]:
        """Return those of `columns` that name a row's place in quarantine: what the source adds, else the key."""
        at = [name for name in self.place if name in columns]
        # A row of a table has no place other than its key, which is masked here as everywhere in the lake.
        return at or [name for name in primary_key if name in columns]


def row_identity(spec: PipelineSpec, dataset: DatasetSpec) -> RowIdentity:
    """Return what distinguishes the rows of a dataset."""
    if spec.source is None:
        return RowIdentity()
    kind, request = connectors.source_class(spec.source.type), request_of(spec, dataset)
    first = (BATCH_COLUMN,) if kind.later_batches_are_newer else ()
    return RowIdentity(
        columns=kind.identity_columns,
        place=kind.place_key or tuple(column.name for column in kind.identity_columns),
        versions=(*first, *kind.version_columns(request)),
        log=kind.log_columns(request),
    )


def place_of(names: Collection[str]) -> SparkColumn:
    """Return the `place` of quarantine as JSON, from the columns that name it; NULL values have no field."""
    from pyspark.sql import functions as F

    return F.to_json(F.struct(*[F.col(quoted(name)) for name in names] or [F.lit(None).alias("_")]), AS_JSON)
