"""Which columns name a row's place and order its versions. The source's class answers; no connection is made."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import connectors
from connectors.base import Column, Dataset
from connectors.connection import Connection
from connectors.versions import BATCH_COLUMN, LogColumns, Version
from jobs.lake.schema import AS_JSON, quoted
from jobs.spec.models import DatasetSpec, PipelineSpec

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn


def identity_columns(spec: PipelineSpec) -> tuple[Column, ...]:
    """Return the columns that the source adds to every row; empty for derived datasets."""
    return connectors.source_class(spec.source.type).identity_columns if spec.source else ()


def place_key(spec: PipelineSpec) -> tuple[str, ...]:
    """Return the columns that name a row's place: the key of an `append` without a declared key. Empty if derived."""
    if spec.source is None:
        return ()
    kind = connectors.source_class(spec.source.type)
    return kind.place_key or tuple(column.name for column in kind.identity_columns)


def place_columns(spec: PipelineSpec, dataset: DatasetSpec, columns: Collection[str]) -> list[str]:
    """Return those of `columns` that name a row's place in quarantine: what the source adds, else the primary key."""
    at = [name for name in place_key(spec) if name in columns]
    # A row of a table has no place other than its key, which is masked here as everywhere in the lake.
    return at or [name for name in dataset.primary_key if name in columns]


def place_of(names: Collection[str]) -> SparkColumn:
    """Return the `place` of quarantine as JSON, from the columns that name it; NULL values have no field."""
    from pyspark.sql import functions as F

    return F.to_json(F.struct(*[F.col(quoted(name)) for name in names] or [F.lit(None).alias("_")]), AS_JSON)


@dataclass(frozen=True)
class VersionOrder:
    """The columns that order the versions of one key, most significant first, with `_batch` last if it is not among
    them. `log` says where a row's place in a log is, if its source is a log."""

    columns: tuple[Version, ...] = ()
    log: LogColumns | None = None


def version_order(spec: PipelineSpec, dataset: DatasetSpec) -> VersionOrder:
    """Return how versions of one key are ordered."""
    if spec.source is None:
        return VersionOrder()
    # An address that is never contacted: Kafka's source needs one before it answers anything.
    nowhere = Connection(id=spec.source.connection, conn_type="none", host="none.invalid")
    source = connectors.open_source(spec.source.type, nowhere)
    request = Dataset(spec.pipeline, dataset.name, tuple(dataset.primary_key), spec.source_options(dataset))
    first = (BATCH_COLUMN,) if source.later_batches_are_newer else ()
    return VersionOrder((*first, *source.version_columns(request)), source.log_columns(request))
