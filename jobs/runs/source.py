"""The source of a pipeline, opened as its settings ask, and what it needs to know of a dataset."""

from __future__ import annotations

import connectors
from connectors.base import ReadRequest, Source, SourceSettings
from connectors.connection import find_connection
from jobs.runtime.settings import Settings
from jobs.spec.models import DatasetSpec, PipelineSpec


def source_of(spec: PipelineSpec, settings: Settings, *, plans_one_run: bool = False) -> Source:
    """The source of a pipeline; nothing is contacted yet. For `plans_one_run` see `SourceSettings`."""
    assert spec.source is not None, "a derived dataset has no source"
    wanted = SourceSettings(rows_per_slice=settings.rows_per_slice, plans_one_run=plans_one_run)
    return connectors.open_source(spec.source.type, find_connection(spec.source.connection), wanted)


def request_of(spec: PipelineSpec, dataset: DatasetSpec) -> ReadRequest:
    """What a source needs to know of a dataset."""
    return ReadRequest(
        pipeline=spec.pipeline,
        name=dataset.name,
        primary_key=tuple(dataset.primary_key),
        options=spec.source_options(dataset),
        masked_columns=frozenset(dataset.mask),
    )
