"""The rules for changed columns, one by one; the whole way is in tests/e2e/test_drift.py."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.base import Column
from connectors.errors import SchemaBroken, SpecError
from jobs.contracts.drift import BatchSchema, check_drift, judge
from jobs.lake.documents import open_documents
from jobs.lake.schema import holds, widens
from jobs.spec.models import DatasetSpec


def dataset(**keys: Any) -> DatasetSpec:
    plain = {"name": "t", "primary_key": ["id"], "write_disposition": "merge", "bigquery": {"table": "w.t"}}
    return DatasetSpec.model_validate({**plain, **keys})


def columns(**types: str) -> list[Column]:
    return [Column(name=name, source_type=f"source's {kind}", spark_type=kind) for name, kind in types.items()]


def published(**more: Any) -> BatchSchema:
    return BatchSchema.model_validate({"columns": {"id": "int", "a": "string"}, "primary_key": ["id"], **more})


LAKE = {"id": "int", "a": "string"}


@pytest.mark.parametrize(
    ("lake", "arriving", "widened", "held"),
    [
        ("int", "bigint", True, False),
        ("bigint", "int", False, True),
        ("float", "double", True, False),
        ("decimal(10,2)", "decimal(18,2)", True, False),
        ("decimal(18,2)", "decimal(18,4)", False, False),
        ("decimal(18,4)", "decimal(16,2)", False, True),
        ("decimal(18,4)", "decimal(18,2)", False, False),
        ("bigint", "decimal(20,0)", False, False),
        ("decimal(20,0)", "bigint", False, True),
        ("decimal(10,2)", "int", False, False),
        ("int", "string", False, False),
        ("string", "int", False, False),
        ("date", "timestamp_ntz", False, False),
        ("timestamp", "timestamp_ntz", False, False),
    ],
)
def test_types_that_widen_and_types_that_hold(lake: str, arriving: str, widened: bool, held: bool) -> None:
    assert (widens(lake, arriving), holds(lake, arriving)) == (widened, held)


def test_a_column_may_leave_and_come_back_as_it_was_only() -> None:
    kept = {**LAKE, "gone": "date"}
    told = judge(dataset(), columns(id="int", a="string", gone="date"), kept, published())
    assert len(told) == 1
    assert "column 'gone' (date) is new" in told[0]
    with pytest.raises(SchemaBroken, match="column 'gone' is date in the lake and string at the source"):
        judge(dataset(), columns(id="int", a="string", gone="string"), kept, published())


def test_a_table_nothing_was_published_into_may_be_dropped() -> None:
    with pytest.raises(SchemaBroken, match=r"nothing of it is published yet, drop raw\.t and curated\.t"):
        judge(dataset(drift="freeze"), columns(id="string"), LAKE, None)


def test_a_narrowed_column_is_a_change_to_a_frozen_dataset_alone() -> None:
    before = BatchSchema(columns={"id": "bigint"}, primary_key=("id",))
    assert judge(dataset(), columns(id="int"), {"id": "bigint"}, before) == ()
    with pytest.raises(SchemaBroken, match="id changed from bigint to int"):
        judge(dataset(drift="freeze"), columns(id="int"), {"id": "bigint"}, before)
    # Frozen after it was narrowed: what the last batch had is what counts, not what the lake kept.
    judge(dataset(drift="freeze"), columns(id="int"), {"id": "bigint"}, published(columns={"id": "int"}))


def test_a_column_in_another_place_is_no_change() -> None:
    moved = columns(a="string", id="int")
    assert judge(dataset(drift="freeze"), moved, LAKE, published()) == ()


@pytest.mark.parametrize(("before", "now"), [(None, "hmac"), ("hmac", None), ("hmac", "truncate")])
def test_a_column_holds_values_of_one_mask(before: str | None, now: str | None) -> None:
    masks = {"a": before} if before else {}
    with pytest.raises(SpecError, match=f"mask of 'a' was {before or 'none'} and is {now or 'none'}"):
        judge(dataset(mask={"a": now} if now else {}), columns(id="int", a="string"), LAKE, published(masks=masks))


@pytest.mark.parametrize("mask", ["null", "drop"])
def test_a_mask_that_comes_late_leaves_what_was_published(mask: str) -> None:
    arriving = columns(id="int", a="string") if mask == "null" else columns(id="int")
    [told] = judge(dataset(mask={"a": mask}), arriving, LAKE, published())
    assert told == f"column 'a' is masked from now on ({mask}): rows published before keep their values"
    later = BatchSchema(
        columns={column.name: column.spark_type for column in arriving}, masks={"a": mask}, primary_key=("id",)
    )
    assert judge(dataset(mask={"a": mask}), arriving, LAKE, later) == ()


@pytest.mark.parametrize("disposition", ["replace", "overwrite_partitions"])
def test_a_key_nothing_was_merged_by_may_change(disposition: str) -> None:
    arriving = columns(id="int", a="string")
    assert judge(dataset(primary_key=["a"], write_disposition=disposition), arriving, LAKE, published()) == ()
    with pytest.raises(SpecError, match=r"primary_key was \(id\) and is \(a\)"):
        judge(dataset(primary_key=["a"]), arriving, LAKE, published())


def test_a_key_wider_than_a_unique_one_is_unique(tmp_path: Any) -> None:
    documents = open_documents(f"file://{tmp_path}")

    def told(*unique: tuple[str, ...]) -> tuple[str, ...]:
        wide = dataset(primary_key=["id", "day"])
        return check_drift(wide, [], None, documents, source_key=unique[0], unique_keys=unique)

    assert told(("day", "id")) == ()
    assert told(("id",)) == ()
    assert told(("uid",), ("day",)) == ()
    [warning] = told(("id", "region"))
    assert "primary_key (id, day) holds no unique key of the table, whose own is (id, region)" in warning
    assert check_drift(dataset(), [], None, documents) == ()
