"""How tables are laid out. What the emulator does not keep (integer ranges, required filters, policy tags, keys that
are not enforced) is read from the requests that are sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from connectors.base import Column
from connectors.errors import ConfigurationError, ObjectNotFound
from tests.support.faulty_endpoint import Answer, configuration, endpoint
from tests.support.load_world import NOON, World, payment
from tests.support.merge_reading import days_in, merges_of

MakeWorld = Callable[..., World]
TAG = "projects/p/locations/us/taxonomies/1/policyTags/2"


def sent_for_table(world: World) -> list[tuple[str, dict[str, Any]]]:
    """(method, body) of each request about the table itself that a load sends."""
    sent: list[tuple[str, dict[str, Any]]] = []
    _, table = world.table.split(".")

    def listen(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        end = path.split("?")[0].rsplit("/", 1)[-1]
        if method in ("POST", "PATCH", "PUT") and end in ("tables", table) and b"staging_" not in body:
            sent.append((method, json.loads(body)))
        return forward()

    with endpoint(str(world.settings.warehouse_endpoint), listen) as address:
        world.load(settings=world.settings.model_copy(update={"warehouse_endpoint": address}))
    return [(m, body) for m, body in sent if body.get("tableReference", {"tableId": table})["tableId"] == table]


def not_null(*names: str) -> tuple[Column, ...]:
    kinds = {"payment_id": "bigint", "merchant_id": "int", "amount": "decimal(18,2)", "memo": "string"}
    return tuple(
        Column(name=name, source_type="any", spark_type=kind, nullable=name not in names)
        for name, kind in kinds.items()
    )


def test_a_table_is_made_with_all_the_spec_and_the_source_say(world_of: MakeWorld) -> None:
    layout = {
        "partition_by": "created_at",
        "partition_granularity": "month",
        "partition_expiration_days": 400,
        "require_partition_filter": True,
        "labels": {"team": "payments", "managed_by": "us"},
        "policy_tags": {"memo": TAG},
    }
    world = world_of(bigquery_spec=layout)
    world.source_columns = not_null("payment_id", "amount")
    world.publish([payment(1)])
    ((method, body), *_) = sent_for_table(world)

    assert method == "POST"
    assert body["timePartitioning"] == {"type": "MONTH", "field": "created_at", "expirationMs": "34560000000"}
    assert body["requirePartitionFilter"] is True
    assert body["tableConstraints"] == {"primaryKey": {"columns": ["payment_id"]}}
    assert (body["labels"]["team"], body["labels"]["managed_by"]) == ("payments", "lakeferry")
    fields = {field["name"]: field for field in body["schema"]["fields"]}
    assert fields["memo"]["policyTags"] == {"names": [TAG]}
    assert [name for name, field in fields.items() if field["mode"] == "REQUIRED"] == ["payment_id", "amount"]


def test_a_table_by_month_is_merged_by_month_and_counted_with_a_filter(world_of: MakeWorld) -> None:
    layout = {"partition_by": "created_at", "partition_granularity": "month", "require_partition_filter": True}
    world = world_of(bigquery_spec=layout)
    world.publish([payment(1, created_at=datetime(2026, 1, 31, 23)), payment(2, created_at=datetime(2026, 6, 1))])
    world.load()
    world.publish([payment(1, "2.00", created_at=datetime(2025, 12, 31))])
    (merge,) = merges_of(world)
    assert days_in(merge, "created_at") == [("2025-12-01", "2026-02-01")]
    assert [(row["payment_id"], row["created_at"].year) for row in world.rows("payment_id")] == [(1, 2025), (2, 2026)]
    assert world.client.get_table(world.table).time_partitioning.type_ == "MONTH"


def test_ranges_of_integers_are_made_and_merged_by(world_of: MakeWorld) -> None:
    ranges = {"start": 0, "end": 100, "interval": 10}
    world = world_of(bigquery_spec={"partition_by": "merchant_id", "partition_range": ranges})
    world.publish([payment(1, merchant_id=7), payment(2, merchant_id=95), payment(3, merchant_id=1000)])
    ((_, body), *_) = sent_for_table(world)
    assert body["rangePartitioning"] == {
        "field": "merchant_id",
        "range": {"start": "0", "end": "100", "interval": "10"},
    }
    world.publish([payment(1, "2.00", merchant_id=42), payment(3, "2.00", merchant_id=None)])
    (merge,) = merges_of(world)
    assert merge.args["on"].sql("bigquery").split(" AND ", 1)[1] == (
        "((T.`merchant_id` >= 0 AND T.`merchant_id` < 10) OR (T.`merchant_id` >= 40 AND T.`merchant_id` < 50) "
        "OR (T.`merchant_id` >= 100) OR T.`merchant_id` IS NULL)"
    )
    assert [(row["payment_id"], row["merchant_id"]) for row in world.rows("payment_id")] == [
        (1, 42),
        (2, 95),
        (3, None),
    ]


def test_a_column_that_was_never_null_and_is_becomes_nullable(world: World) -> None:
    world.source_columns = not_null("payment_id", "amount", "merchant_id")
    world.publish([payment(1)])
    world.load()

    def modes() -> dict[str, str]:
        return {field.name: field.mode for field in world.client.get_table(world.table).schema}

    assert [name for name, mode in modes().items() if mode == "REQUIRED"] == ["payment_id", "merchant_id", "amount"]
    # The plan knows nothing of it: a batch of a later run is loaded by an earlier one's.
    world.publish([{**payment(2), "amount": None}])
    world.load()
    assert [name for name, mode in modes().items() if mode == "REQUIRED"] == ["payment_id", "merchant_id"]
    assert [row["amount"] for row in world.rows("payment_id")][1] is None
    world.source_columns = not_null("payment_id")
    world.publish([payment(3)])
    world.load()
    assert [name for name, mode in modes().items() if mode == "REQUIRED"] == ["payment_id"]


def test_of_a_swept_table_only_the_key_is_never_null(world_of: MakeWorld) -> None:
    world = world_of(dataset={"deletes": "sweep"})
    world.source_columns = not_null("payment_id", "amount")
    world.publish([payment(1)])
    ((_, body), *_) = sent_for_table(world)
    assert [field["name"] for field in body["schema"]["fields"] if field["mode"] == "REQUIRED"] == ["payment_id"]


def test_what_can_be_changed_in_place_is_and_what_the_spec_leaves_out_stays(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at"})
    world.publish([payment(1)])
    world.load()
    dataset = world.spec.datasets[0]

    def with_layout(**keys: Any) -> None:
        layout = type(dataset.bigquery).model_validate({**dataset.bigquery.model_dump(exclude_unset=True), **keys})
        changed = dataset.model_copy(update={"bigquery": layout})
        world.spec = world.spec.model_copy(update={"datasets": [changed]})
        world.publish([payment(1)])

    with_layout(partition_expiration_days=10, require_partition_filter=True, policy_tags={"memo": TAG})
    ((method, body),) = sent_for_table(world)
    assert method == "PATCH"
    assert body["timePartitioning"]["expirationMs"] == str(10 * 24 * 3600 * 1000)
    assert body["requirePartitionFilter"] is True
    assert [field["name"] for field in body["schema"]["fields"] if "policyTags" in field] == ["memo"]
    with_layout()
    assert sent_for_table(world) == []
    with_layout(partition_granularity="year")
    with pytest.raises(ConfigurationError, match=r"by created_at in BigQuery, the spec says created_at by year"):
        world.load()


def test_a_policy_tag_on_no_column_is_refused(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"policy_tags": {"mem": TAG}})
    world.publish([payment(1, created_at=NOON)])
    with pytest.raises(ObjectNotFound, match=r"bigquery.policy_tags names 'mem'"):
        world.load()


def test_what_is_made_is_encrypted_with_the_key_of_the_settings(world: World) -> None:
    key = "projects/p/locations/us/keyRings/r/cryptoKeys/k"
    made: dict[str, Any] = {}
    jobs: list[dict[str, Any]] = []

    def listen(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        end = path.split("?")[0].rsplit("/", 1)[-1]
        if method == "POST" and end in ("tables", "datasets"):
            asked = json.loads(body)
            name = asked[f"{end[:-1]}Reference"][f"{end[:-1]}Id"]
            made[name] = asked.get("defaultEncryptionConfiguration") or asked.get("encryptionConfiguration")
        elif method == "POST" and b"jobReference" in body:
            jobs.append(configuration("/jobs", body))
        return forward()

    world.publish([payment(1)])
    with endpoint(str(world.settings.warehouse_endpoint), listen) as address:
        changed = {"warehouse_endpoint": address, "warehouse_kms_key": key}
        world.load(settings=world.settings.model_copy(update=changed))
    assert len(made) == 4, "two datasets, the table, its staging table"
    assert all(encryption == {"kmsKeyName": key} for encryption in made.values())
    (load,) = [job["load"] for job in jobs if "load" in job]
    assert load["destinationEncryptionConfiguration"] == {"kmsKeyName": key}
    for job in (job["query"] for job in jobs if "query" in job):
        # BigQuery refuses it on scripts.
        selects = job["query"].startswith("SELECT") and not job.get("dryRun")
        assert ("destinationEncryptionConfiguration" in job) is selects, job["query"]
