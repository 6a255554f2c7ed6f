"""Decides how a dataset's rows go into the lake: as columns from the source into files, or as rows through Spark."""

from __future__ import annotations

from connectors.base import ReadPlan, Source
from connectors.capabilities import ArrowSource
from jobs.contracts.rules import row_rules
from jobs.runs.plan_document import Route
from jobs.spec.frozen_file import FrozenFile
from jobs.spec.models import DatasetSpec


def route_of(dataset: DatasetSpec, source: Source, read: ReadPlan, rules: FrozenFile | None) -> Route:
    """Return the route of a dataset: `columns` is the faster one, and `rows` can do everything.

    Args:
        rules: the file of the dataset's rules.
    """
    if not isinstance(source, ArrowSource):
        return Route(kind="rows", reason="Spark reads this kind of source")
    if read.overlaps_published and dataset.write_disposition != "replace":
        return Route(kind="rows", reason="rows that are read again are compared with those published before")
    suite = row_rules(rules, (*read.columns, *source.identity_columns))
    ruled = {name for rule in suite.rows for name in rule.expectation.columns().values()} if suite else set()
    masked = sorted(ruled & dataset.mask.keys())
    if masked:
        return Route(kind="rows", reason=f"row rules judge values that are masked: {', '.join(masked)}")
    return Route(kind="columns", reason="no row is compared with earlier ones, and no row rule judges a masked value")
