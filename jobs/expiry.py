"""What a plan says of rows that BigQuery would remove as soon as they are loaded, for their partition has expired."""

from __future__ import annotations

from datetime import UTC, datetime

from connectors.base import Dataset, Source, SourcePlan
from jobs.warehouse_spec import WarehouseSpec


def expiry_warnings(spec: WarehouseSpec, source: Source, dataset: Dataset, plan: SourcePlan) -> tuple[str, ...]:
    """A warning with the number of such rows, where the source knows it cheaply. Load counts the others."""
    if spec.partition_expiration_days is None or spec.partition_by is None or not plan.slices:
        return ()
    from jobs.warehouse_layout import expiring, kept_from

    kept = kept_from(spec, datetime.now(UTC))
    older = source.count_older(dataset, plan, spec.partition_by, kept) if kept is not None else None
    if not older or kept is None:
        return ()
    return (expiring(spec, f"{older:,} rows of this batch", kept),)
