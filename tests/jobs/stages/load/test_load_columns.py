"""Values and columns that do not fit: what load changes in place, and what it refuses with the table as it was."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from google.cloud import bigquery

from connectors.errors import (
    ConfigurationError,
    LoadRefused,
)
from tests.support.load_world import PAYMENTS, World, payment

MakeWorld = Callable[..., World]


def test_a_value_bigquery_refuses_leaves_everything_as_it_was(world: World) -> None:
    world.make_narrow()
    world.publish([payment(1)])
    world.load()
    world.publish([payment(1, "2.00"), payment(2, "12345.00")])

    with pytest.raises(
        LoadRefused, match=r"pipeline payments dataset payments_\S+: BigQuery .* refuses: .*12345"
    ) as told:
        world.load()
    assert told.value.exit_code == 1
    assert world.amounts() == {1: "1.00"}
    assert world.ledger() == [(1, "run 1", 1)]


def test_counts_that_do_not_agree_are_refused(world: World) -> None:
    world.publish([payment(1)], told_rows=2)
    with pytest.raises(LoadRefused, match=r"published with 2 rows, .* holds 1"):
        world.load()
    assert world.ledger() == [(0, None, 0)]


def test_a_key_with_null_is_refused(world: World) -> None:
    world.publish([payment(1), payment(None)])
    with pytest.raises(LoadRefused, match=r"1 rows of batch 1 have NULL in their key \(payment_id\)"):
        world.load()
    assert world.rows() == []


def test_a_new_column_is_added(world: World) -> None:
    world.publish([payment(1)])
    world.load()
    world.columns = {**PAYMENTS, "channel": "string"}
    world.publish([payment(2, channel="app")])
    world.load()
    assert world.values(f"SELECT payment_id, channel FROM {world.table} ORDER BY 1") == [(1, None), (2, "app")]


def test_a_column_of_another_type_is_the_users_to_settle(world: World) -> None:
    world.client.create_dataset(world.table.split(".")[0])
    text = [bigquery.SchemaField("payment_id", "STRING")]
    world.client.create_table(bigquery.Table(f"{world.client.project}.{world.table}", schema=text))
    world.publish([payment(1)])
    with pytest.raises(ConfigurationError, match="column 'payment_id' is STRING in BigQuery and INT64 in the lake"):
        world.load()


def test_a_table_made_narrower_is_widened_and_relaxed(world: World) -> None:
    world.client.create_dataset(world.table.split(".")[0])
    made = [
        bigquery.SchemaField("payment_id", "INT64", mode="REQUIRED"),
        bigquery.SchemaField("amount", "INT64", mode="REQUIRED"),
        bigquery.SchemaField("merchant_id", "NUMERIC"),
        bigquery.SchemaField("theirs", "STRING", mode="REQUIRED"),
    ]
    name = f"{world.client.project}.{world.table}"
    world.client.create_table(bigquery.Table(name, schema=made))
    world.publish([payment(1, "1.25")])
    world.load()
    # Without widening the fraction would be rounded away.
    assert world.values(f"SELECT payment_id, amount, merchant_id FROM {world.table}") == [
        (1, Decimal("1.25"), payment(1)["merchant_id"])
    ]
    modes = {field.name: field.mode for field in world.client.get_table(name).schema}
    assert (modes["payment_id"], modes["amount"], modes["theirs"]) == ("NULLABLE", "NULLABLE", "REQUIRED")


@pytest.mark.parametrize(
    ("kind", "mode", "said"),
    [("FLOAT64", "NULLABLE", "is FLOAT64 in BigQuery and NUMERIC"), ("NUMERIC", "REPEATED", "is REPEATED NUMERIC")],
)
def test_a_column_bigquery_cannot_change_stops_the_load(world: World, kind: str, mode: str, said: str) -> None:
    world.client.create_dataset(world.table.split(".")[0])
    amount = [bigquery.SchemaField("amount", kind, mode=mode)]
    world.client.create_table(bigquery.Table(f"{world.client.project}.{world.table}", schema=amount))
    world.publish([payment(1)])
    with pytest.raises(ConfigurationError, match=f"column 'amount' {said}"):
        world.load()
    assert [field.name for field in world.client.get_table(world.table).schema] == ["amount"]


def test_a_table_partitioned_otherwise_is_the_users_to_settle(world_of: MakeWorld) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at"})
    world.client.create_dataset(world.table.split(".")[0])
    plain = [bigquery.SchemaField("payment_id", "INT64")]
    world.client.create_table(bigquery.Table(f"{world.client.project}.{world.table}", schema=plain))
    world.publish([payment(1)])
    with pytest.raises(ConfigurationError, match="partitioned by nothing in BigQuery, the spec says created_at"):
        world.load()
