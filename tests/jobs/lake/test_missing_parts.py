"""Errors of Spark and Iceberg that say a table of the lake, or a file of one, is gone."""

from __future__ import annotations

import pytest

from jobs.lake.missing_parts import missing_part

LAKE = "s3://lake/e2e"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f"org.apache.iceberg.exceptions.NotFoundException: Gone: {LAKE}/curated/sales/metadata/m0.avro",
            "a file of curated.sales is gone from the lake (m0.avro)",
        ),
        (
            f"software.amazon.awssdk.services.s3.model.NoSuchKeyException: {LAKE}/raw/sales/data/memo=secret/a.parquet",
            "a file of raw.sales is gone from the lake (a.parquet)",
        ),
        (
            "software.amazon.awssdk.services.s3.model.NoSuchKeyException: (Service: S3, Status Code: 404)",
            "a file of raw.shop, curated.shop or quarantine.shop is gone",
        ),
        (
            "org.apache.iceberg.exceptions.NoSuchTableException: Table does not exist: pay_quarantine.sales",
            "quarantine.sales was dropped or renamed",
        ),
        (
            "[TABLE_OR_VIEW_NOT_FOUND] The table or view `lake`.`quarantine`.`sales` cannot be found.",
            "quarantine.sales was dropped or renamed",
        ),
    ],
)
def test_the_table_is_named(text: str, words: str) -> None:
    refusal = missing_part(RuntimeError(text), "shop")
    assert refusal is not None
    assert words in str(refusal)
    assert "secret" not in str(refusal)


def test_a_table_of_somebody_else_is_not_ours() -> None:
    text = "[TABLE_OR_VIEW_NOT_FOUND] The table or view `mart`.`sales` cannot be found."
    assert missing_part(RuntimeError(text), "shop") is None
    assert missing_part(ValueError("raw.shop is fine"), "shop") is None
