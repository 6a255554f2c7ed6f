"""The models of a pipeline's YAML. `jobs/spec/reader.py` reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

import connectors
from connectors.base import SourceOptions, WindowBound
from connectors.errors import SpecError
from connectors.yaml.models import YamlModel
from jobs.masking.masks import Mask
from jobs.spec.airflow_options import AirflowOptions, Options
from jobs.spec.bigquery_table import WarehouseSpec
from jobs.spec.names import Name, WarehouseTable

# YAML reads the bare word `off` as a boolean.
Reconcile = Annotated[
    Literal["fingerprint", "counts", "off"], BeforeValidator(lambda value: "off" if value is False else value)
]
WriteDisposition = Literal["append", "merge", "replace", "overwrite_partitions"]


class SourceSpec(YamlModel):
    type: str
    connection: Name


class After(YamlModel):
    """Run when any of the datasets in `after`, or all of those in `after_all`, were published; and by `cron`, too."""

    after: list[Name] = Field(default_factory=list)
    after_all: list[Name] = Field(default_factory=list)
    cron: str | None = None

    @property
    def datasets(self) -> list[str]:
        """The datasets that are followed; one of the two lists is empty."""
        return self.after or self.after_all

    def __str__(self) -> str:
        together = " and " if self.after_all else " or "
        return f"after {together.join(self.datasets)}" + (f", and by {self.cron}" if self.cron else "")


Schedule = Annotated[
    Annotated[str, Tag("str")] | Annotated[After, Tag("After")],
    # One kind is tried, so that an error speaks of what was meant.
    Discriminator(lambda value: "After" if isinstance(value, dict | After) else "str"),
]


class ViewSpec(YamlModel):
    """A curated view: `sql` is a file beside the YAML that holds one SELECT."""

    name: WarehouseTable
    sql: str
    description: str | None = None


class DatasetSpec(YamlModel):
    """One table, topic or file set and where it goes. Keys of the source's own (`table`, `cursor`,
    `topic`, …) are validated by the source and kept in `options`.

    `mask` maps columns to what reaches the lake of them: `drop`, `null`, `hmac` or `truncate`
    (`jobs/masking/masks.py`). `reconcile` is how a batch is proved: every row by its fingerprint, slices by their
    counts, or not at all. A slice whose rows moved while it was read is read again, `reads` times in all.
    `drift` is what becomes of changed columns (`jobs/contracts/drift.py`): taken where they can be, or refused.
    `most_quarantined` is the share of a batch's rows that may be rejected (`jobs/stages/check/rejected_share.py`).
    `deletes: sweep` marks rows that are gone at the source, `most_deleted` of them at most (`jobs/spec/deletes.py`).
    """

    name: Name
    description: str | None = None
    primary_key: list[str] = Field(default_factory=list)
    write_disposition: WriteDisposition
    mask: Mask = Field(default_factory=dict)
    expectations: Name | None = None
    bigquery: WarehouseSpec
    reconcile: Reconcile = "fingerprint"
    drift: Literal["evolve", "freeze"] = "evolve"
    deletes: Literal["ignore", "sweep"] = "ignore"
    most_deleted: float = Field(default=0.1, gt=0, le=1, description="share of the rows that may vanish in one run")
    most_quarantined: float = Field(default=0.1, ge=0, le=1, description="share of a batch's rows that may be rejected")
    reads: int = Field(default=3, ge=1, le=10, description="how often a slice is read until it is whole")
    inputs: list[Name] = Field(default_factory=list)
    transform: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)

    @property
    def derived(self) -> bool:
        """Made by a transform from other datasets, not read from a source."""
        return self.transform is not None


class PipelineSpec(YamlModel):
    """One source with its schedule and datasets: one YAML file, one DAG.

    `mask_key` is the id of the connection whose password is the key of `mask: hmac`. `takes_over` names pipelines whose
    datasets this one goes on with, under the same names and from their positions (`jobs/contracts/raw_owner.py`).
    """

    pipeline: Name
    description: str = Field(default="", max_length=10_000)
    schedule: Schedule | None = None
    source: SourceSpec | None = None
    mask_key: Name = "mask_key"
    takes_over: list[Name] = Field(
        default_factory=list, description="pipelines whose datasets were moved into this file, or its former names"
    )
    datasets: list[DatasetSpec] = Field(min_length=1)
    views: list[ViewSpec] = Field(default_factory=list)
    # A plan's stages need none of it, so no plan holds it.
    airflow: Options = Field(default_factory=AirflowOptions, exclude=True)
    file: str = ""

    def dataset(self, name: str) -> DatasetSpec:
        """Return the dataset of that name; `SpecError` with the valid names if it is missing."""
        for dataset in self.datasets:
            if dataset.name == name:
                return dataset
        raise SpecError(f"no dataset {name!r}", pipeline=self.pipeline, choices=[d.name for d in self.datasets])

    @property
    def reported_views(self) -> list[ViewSpec]:
        """The views that reports show; `SpecError` without any."""
        if not self.views:
            raise SpecError(
                "this pipeline has no views to report on",
                where=self.file or None,
                pipeline=self.pipeline,
                fix="Add views: [{name: DATASET.VIEW, sql: FILE.sql}]",
            )
        return self.views

    @property
    def connections(self) -> tuple[str, ...]:
        """Ids of the connections a run needs: the source's and, where a mask is `hmac`, that of its key."""
        source = (self.source.connection,) if self.source else ()
        hashed = any("hmac" in dataset.mask.values() for dataset in self.datasets)
        return (*source, self.mask_key) if hashed else source

    @property
    def window_bounds(self) -> frozenset[WindowBound]:
        """What the bounds of a requested window can be. Empty: no dataset can be read by a window, as a derived one
        follows its inputs and a whole table has no cursor."""
        if self.source is None:
            return frozenset()
        return frozenset().union(*(self.source_options(dataset).window_bounds for dataset in self.datasets))

    def source_options(self, dataset: DatasetSpec) -> SourceOptions:
        """The dataset's own keys as its source's typed options."""
        assert self.source is not None, "a derived dataset has no source options"
        return connectors.source_class(self.source.type).Options.model_validate(dataset.options)
