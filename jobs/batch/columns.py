"""Which columns name a row's place and order its versions, asked of the source's class; no connection is made."""

from __future__ import annotations

from dataclasses import dataclass

import connectors
from connectors.base import Column, Dataset
from connectors.connection import Connection
from connectors.versions import BATCH_COLUMN, LogColumns
from jobs.spec import DatasetSpec, PipelineSpec


def identity_columns(spec: PipelineSpec) -> tuple[Column, ...]:
    """Columns the source adds to every row; none for derived datasets."""
    return connectors.source_class(spec.source.type).identity_columns if spec.source else ()


def place_key(spec: PipelineSpec) -> tuple[str, ...]:
    """The columns that name a row's place, the key of an `append` that declares none; none for derived datasets."""
    if spec.source is None:
        return ()
    kind = connectors.source_class(spec.source.type)
    return kind.place_key or tuple(column.name for column in kind.identity_columns)


@dataclass(frozen=True)
class VersionOrder:
    """What orders versions of one key: columns, most significant first, `_batch` last where it is not among them; and
    where a row's place in a log is, if its source is one."""

    columns: tuple[str, ...] = ()
    log: LogColumns | None = None


def version_order(spec: PipelineSpec, dataset: DatasetSpec) -> VersionOrder:
    """How versions of one key are ordered."""
    if spec.source is None:
        return VersionOrder()
    # A place that is never contacted: Kafka's source wants one before it says anything.
    nowhere = Connection(id=spec.source.connection, conn_type="none", host="none.invalid")
    source = connectors.open_source(spec.source.type, nowhere)
    request = Dataset(spec.pipeline, dataset.name, tuple(dataset.primary_key), spec.source_options(dataset))
    first = (BATCH_COLUMN,) if source.later_batches_are_newer else ()
    return VersionOrder((*first, *source.version_columns(request)), source.log_columns(request))
