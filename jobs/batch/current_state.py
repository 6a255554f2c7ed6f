"""A dataset's current state, brought up to its published log."""

from __future__ import annotations

from jobs.batch.columns import identity_columns, version_columns
from jobs.lake.curated import catch_up
from jobs.plan_document import DatasetPlan
from jobs.stages import Context


def catch_up_dataset(context: Context, dataset: DatasetPlan) -> None:
    """Merge into curated what is published and not in it; errors as of `curated.catch_up`."""
    spec = context.spec(dataset)
    catch_up(
        lambda: context.spark,
        context.catalog,
        dataset.name,
        spec.write_disposition,
        keys=tuple(spec.primary_key) or tuple(c.name for c in identity_columns(context.plan.spec)),
        versions=version_columns(context.plan.spec, spec),
        partition_by=spec.bigquery.partition_by,
    )
