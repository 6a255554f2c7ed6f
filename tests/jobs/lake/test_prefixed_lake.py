"""A lake whose databases carry a prefix: refusals name its tables as the catalog does."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.types import LongType, NestedField

from connectors.errors import LakeAltered
from jobs.lake import batch_log as batches
from jobs.lake.catalog import open_catalog
from jobs.lake.foreign_changes import verified_batches, verified_consumed
from jobs.runtime.settings import Settings

SCHEMA = Schema(NestedField(1, "id", LongType()), NestedField(2, "amount", LongType()))
SEALED = {
    batches.SEALED: "true",
    batches.BATCH: "1",
    batches.RUN_ID: "run 1",
    batches.GENERATION: "1",
    batches.ROWS: "0",
    batches.QUARANTINED: "0",
}
"""Properties of the snapshot that seals a first batch without rows."""


def written(folder: Path, namespace: str, properties: dict[str, str]) -> Table:
    """The table `pay_lake_<namespace>.p`, with one snapshot of these properties."""
    (folder / "lake").mkdir(exist_ok=True)
    catalog = open_catalog(
        Settings(lake=f"file://{folder}/lake", catalog=f"sqlite:///{folder}/catalog.db", database_prefix="pay_lake_")
    )
    catalog.create_namespace_if_not_exists(f"pay_lake_{namespace}")
    table = catalog.create_table((f"pay_lake_{namespace}", "p"), SCHEMA)
    table.append(SCHEMA.as_arrow().empty_table(), snapshot_properties=properties)
    return table


def drop_amount(table: Table) -> Table:
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("amount")
    return table


def test_the_rebuild_of_curated_is_offered_under_its_prefixed_name(tmp_path: Path) -> None:
    curated = drop_amount(written(tmp_path, "curated", {batches.CONSUMED: "1"}))
    with pytest.raises(LakeAltered, match=r"column 'amount' of pay_lake_curated\.p was dropped") as refused:
        verified_consumed(curated, None, verified_batches(written(tmp_path, "raw", SEALED)))
    assert "or drop pay_lake_curated.p: it is rebuilt from raw by the next run" in str(refused.value.fix)


def test_the_rebuild_of_partitions_whose_batches_expired_takes_raw_too(tmp_path: Path) -> None:
    # Batch 1 is gone from the log, and nothing else names its partitions.
    sealed = SEALED | {batches.BATCH: "2", batches.PARTITIONS: '["2026-11-20"]'}
    published = verified_batches(written(tmp_path, "raw", sealed))
    curated = drop_amount(written(tmp_path, "curated", {batches.CONSUMED: "1"}))
    with pytest.raises(LakeAltered, match="column 'amount'") as refused:
        verified_consumed(curated, None, published)
    assert "or drop pay_lake_raw.p and pay_lake_curated.p: the next run builds all partitions" in str(refused.value.fix)


def test_the_rebuild_of_raw_is_not_offered(tmp_path: Path) -> None:
    raw = drop_amount(written(tmp_path, "raw", SEALED))
    with pytest.raises(LakeAltered, match=r"column 'amount' of pay_lake_raw\.p was dropped") as refused:
        verified_batches(raw)
    assert "load the dataset under a new name" in str(refused.value.fix)
