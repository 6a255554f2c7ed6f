"""What distinguishes rows and orders versions, by kind of source."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.versions import WhereNull
from jobs.runs.row_identity import RowIdentity, row_identity
from jobs.spec.models import PipelineSpec


def identity(source: str | None, **keys: Any) -> RowIdentity:
    bigquery = {"table": "shop.payments"}
    dataset = {"name": "payments", "write_disposition": "merge", "primary_key": ["id"], "bigquery": bigquery}
    spec = PipelineSpec.model_validate(
        {
            "pipeline": "shop",
            "source": {"type": source, "connection": "c"} if source else None,
            "datasets": [dataset | keys],
        }
    )
    return row_identity(spec, spec.datasets[0])


def test_a_table_orders_versions_by_its_cursor_and_names_no_place() -> None:
    found = identity("aurora", options={"table": "shop.payments", "cursor": ["updated_at", "revision"]})
    assert (found.columns, found.place, found.log) == ((), (), None)
    assert (found.versions, found.cursor) == (("updated_at", "revision"), "updated_at")
    assert identity("tidb", options={"table": "shop.payments"}).cursor is None


@pytest.mark.parametrize(("accepted", "refused"), [("fail", True), ("accept", False)])
def test_a_topic_orders_batches_before_messages(accepted: str, refused: bool) -> None:
    options = {"topic": "t", "columns": {"id": "string"}, "equal_timestamps": accepted}
    found = identity("kafka", options=options)
    place = ("_kafka_partition", "_kafka_offset", "_kafka_timestamp")
    assert tuple(column.name for column in found.columns) == place == found.place
    assert found.versions == ("_batch", "_kafka_timestamp", "_kafka_partition", "_kafka_offset")
    assert found.cursor == "_kafka_timestamp"
    assert found.log is not None
    assert found.log.equal_timestamps_refused is refused


def test_files_name_a_row_by_content_and_line() -> None:
    found = identity("s3", options={"path": "s3://landing/a/", "columns": {"id": "string"}})
    assert found.place == ("_s3_file", "_s3_etag", "_s3_line")
    assert WhereNull("_s3_modified_at", "_s3_listing") in found.versions
    assert found.log is None


def test_a_derived_dataset_has_nothing_of_a_source() -> None:
    assert identity(None, inputs=["a"], transform="m:f") == RowIdentity()


def test_an_identity_survives_a_plans_document() -> None:
    for found in (
        identity("kafka", options={"topic": "t", "columns": {"id": "string"}}),
        identity("s3", options={"path": "s3://landing/a/", "columns": {"id": "string"}}),
    ):
        assert RowIdentity.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("columns", "place"),
    [(["_s3_file", "id"], ["_s3_file"]), (["id", "v"], ["id"]), (["v"], [])],
)
def test_the_place_in_quarantine_is_the_sources_or_the_key(columns: list[str], place: list[str]) -> None:
    found = identity("s3", options={"path": "s3://landing/a/", "columns": {"id": "string"}})
    assert found.place_columns(["id"], columns) == place
