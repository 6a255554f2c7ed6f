"""Which datasets are copied as columns, and which pass through Spark's rows."""

from __future__ import annotations

from typing import Any

import pytest

import connectors
from connectors.base import Column, ReadPlan, Source
from connectors.connection import Connection
from jobs.runs.key_guarantee import key_guarantee
from jobs.spec.frozen_file import FrozenFile
from jobs.spec.models import DatasetSpec
from jobs.stages.plan.route import route_of

COLUMNS = tuple(Column(name=name, source_type="x", spark_type="string") for name in ("id", "phone", "amount"))
RULES = "rows:\n  - expect_column_values_to_not_be_null: {column: phone}\n"


def dataset(**keys: Any) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "payments",
            "write_disposition": "merge",
            "primary_key": ["id"],
            "bigquery": {"table": "shop.payments"},
        }
        | keys
    )


def source(kind: str) -> Source:
    return connectors.open_source(kind, Connection(id="c", conn_type=kind, host="127.0.0.1"))


@pytest.mark.parametrize(
    ("kind", "keys", "overlaps_published", "rules", "route", "reason"),
    [
        ("aurora", {}, False, None, "columns", "no row is compared with earlier ones"),
        ("aurora", {}, False, RULES, "columns", "no row rule judges a masked value"),
        ("aurora", {"mask": {"amount": "null"}}, False, RULES, "columns", "no row rule judges a masked value"),
        ("aurora", {"mask": {"phone": "null"}}, False, RULES, "rows", "row rules judge values that are masked: phone"),
        ("aurora", {}, True, None, "rows", "rows that are read again are compared"),
        ("aurora", {"write_disposition": "replace"}, True, None, "columns", "no row is compared with earlier ones"),
        ("tidb", {}, False, None, "columns", "no row is compared with earlier ones"),
        ("kafka", {}, False, None, "rows", "Spark reads this kind of source"),
    ],
)
def test_the_route_depends_on_source_rules_and_masks(
    kind: str, keys: dict[str, Any], overlaps_published: bool, rules: str | None, route: str, reason: str
) -> None:
    frozen = FrozenFile.of("payments.yaml", rules) if rules else None
    chosen = route_of(
        dataset(**keys), source(kind), ReadPlan(columns=COLUMNS, overlaps_published=overlaps_published), frozen
    )
    assert chosen.kind == route
    assert reason in chosen.reason


@pytest.mark.parametrize(
    ("source_key", "keys", "keys_are_unique", "guarantee"),
    [
        ((), {}, True, "none"),
        (("id",), {}, False, "one_row_per_version"),
        (("id",), {}, True, "one_row_per_key"),
        (("id",), {"primary_key": ["id", "phone"]}, True, "one_row_per_key"),
        (("id", "phone"), {}, True, "none"),
        (("id",), {"mask": {"id": "hmac"}}, True, "one_row_per_version"),
        (("id",), {"mask": {"phone": "hmac"}}, True, "one_row_per_key"),
        (("id",), {"deletes": "sweep"}, True, "none"),
    ],
)
def test_the_key_guarantee_depends_on_the_keys_of_both_sides(
    source_key: tuple[str, ...], keys: dict[str, Any], keys_are_unique: bool, guarantee: str
) -> None:
    plan = ReadPlan(columns=COLUMNS, primary_key=source_key, keys_are_unique=keys_are_unique)
    assert key_guarantee(dataset(**keys), plan) == guarantee
