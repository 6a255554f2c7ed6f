"""Which columns name a row's place and order its versions, asked of the source's class; no connection is made."""

from __future__ import annotations

import connectors
from connectors.base import Column, Dataset
from connectors.connection import Connection
from jobs.spec import DatasetSpec, PipelineSpec


def identity_columns(spec: PipelineSpec) -> tuple[Column, ...]:
    """Columns the source adds to every row; none for derived datasets."""
    return connectors.source_class(spec.source.type).identity_columns if spec.source else ()


def version_columns(spec: PipelineSpec, dataset: DatasetSpec) -> tuple[str, ...]:
    """Columns that order versions of one key, most significant first; `_batch` follows them."""
    if spec.source is None:
        return ()
    # A place that is never contacted: Kafka's source wants one before it says anything.
    nowhere = Connection(id=spec.source.connection, conn_type="none", host="none.invalid")
    source = connectors.open_source(spec.source.type, nowhere)
    request = Dataset(spec.pipeline, dataset.name, tuple(dataset.primary_key), spec.source_options(dataset))
    return source.version_columns(request)
