"""Rows as they land: every type hashed as `jobs.masking.keyed_hash` says, card numbers cut, records kept or not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from connectors.base import REJECTED_TYPE, Column
from jobs.masking.keyed_hash import keyed_hash
from jobs.masking.masks import Masking
from jobs.stages.batch.spark_landing import as_landed
from jobs.stages.extract.arrow_landing import ArrowLanding

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KEY = b"0123456789abcdef0123456789abcdef"


def _columns(**types: str) -> list[Column]:
    return [Column(name=name, source_type="x", spark_type=kind) for name, kind in types.items()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4111111111111111", "1111"),
        (" 4111 1111-1111 0042 ", "0042"),
        ("４１１１　１１１１　１１１１　１２３４", "1234"),
        ("123456789012", "9012"),
        ("12345678901", None),
        ("12345678", None),
        ("4111111111111111 12/27 123", None),
        ("41111111111111111234", None),
        ("****1111", None),
        ("4111x111111111111", None),
        ("", None),
        (None, None),
    ],
)
def test_truncate_leaves_four_digits_of_a_card_number_and_of_nothing_else(
    spark: SparkSession, text: str | None, expected: str | None
) -> None:
    rows = spark.createDataFrame([(text, 0, None)], f"card string, _slice int, _rejected {REJECTED_TYPE}")
    landed = as_landed(rows, _columns(card="string"), None, Masking({"card": "truncate"})).first()
    assert landed is not None
    assert landed["card"] == expected


def test_truncate_takes_whole_numbers(spark: SparkSession) -> None:
    rows = spark.sql(
        "SELECT 4111111111110042L AS a, CAST(4111111111110007 AS DECIMAL(20,0)) AS b, 0 AS _slice,"
        f" CAST(NULL AS {REJECTED_TYPE}) AS _rejected"
    )
    mask = Masking({"a": "truncate", "b": "truncate"})
    landed = as_landed(rows, _columns(a="bigint", b="decimal(20,0)"), None, mask).first()
    assert landed is not None
    assert (landed["a"], landed["b"]) == ("0042", "0007")


def test_every_type_is_hashed_by_its_canonical_text(spark: SparkSession) -> None:
    columns = _columns(
        text="string",
        key="string",
        whole="int",
        money="decimal(20,4)",
        day="date",
        instant="timestamp",
        clock="timestamp_ntz",
        raw="binary",
        rate="double",
        short="float",
        flag="boolean",
    )
    values = (
        "' Taro@Example.JP ' AS text, ' Taro@Example.JP ' AS key, 42 AS whole, CAST(42.5 AS DECIMAL(20,4)) AS money,"
        " DATE'0001-01-01' AS day, TIMESTAMP'2026-01-02 03:04:05.6Z' AS instant,"
        " TIMESTAMP_NTZ'9999-12-31 23:59:59.999999' AS clock, X'00FF' AS raw, 4.5E22D AS rate,"
        " CAST(0.1 AS FLOAT) AS short, TRUE AS flag"
    )
    nothing = ", ".join(f"CAST(NULL AS {column.spark_type})" for column in columns)
    rows = spark.sql(
        f"SELECT {values}, 0 AS _slice, CAST(NULL AS {REJECTED_TYPE}) AS _rejected UNION ALL SELECT {nothing}, 0, NULL"
    )
    mask = Masking({column.name: "hmac" for column in columns}, frozenset({"key"}), KEY)
    landed, empty = as_landed(rows, columns, None, mask).collect()
    assert {name: landed[name] for name in mask.mask} == {
        "text": keyed_hash("taro@example.jp", KEY),
        "key": keyed_hash(" Taro@Example.JP ", KEY, exact=True),
        "whole": keyed_hash("42", KEY),
        "money": keyed_hash("42.5", KEY),
        "day": keyed_hash("0001-01-01", KEY),
        "instant": keyed_hash(b"2026-01-02T03:04:05.600000Z", KEY),
        "clock": keyed_hash(b"9999-12-31T23:59:59.999999", KEY),
        "raw": keyed_hash(b"\x00\xff", KEY),
        "rate": keyed_hash("45000000000000000000000", KEY),
        "short": keyed_hash("0.1", KEY),
        "flag": keyed_hash("true", KEY),
    }
    assert all(empty[name] is None for name in mask.mask)


def test_rules_see_what_was_read_and_records_only_what_may_stay(spark: SparkSession) -> None:
    rows = spark.sql(
        "SELECT col1 AS phone, col2 AS memo, col3 AS born, 0 AS _slice,"
        f" CAST(IF(col4 IS NULL, NULL, struct(col4, 'bytes')) AS {REJECTED_TYPE}) AS _rejected FROM VALUES"
        " ('090', 'm', DATE'2000-01-01', NULL), ('x', 'm', DATE'2000-01-01', NULL), ('x', NULL, NULL, 'not JSON')"
    )
    columns = _columns(phone="string", memo="string", born="date")
    rejection = F.when(~F.col("phone").rlike("^0"), F.lit("phone must match ^0"))

    def rejected(masking: Masking) -> list[tuple[str, str] | None]:
        found = as_landed(rows, columns, rejection, masking).collect()
        return [row["_rejected"] and tuple(row["_rejected"]) for row in found]

    good, broken, undecodable = rejected(Masking({"phone": "hmac", "memo": "drop", "born": "null"}, key=KEY))
    assert good is None
    assert broken is not None
    assert broken[0] == "phone must match ^0"
    assert json.loads(broken[1]) == {"phone": keyed_hash("x", KEY), "born": None}
    assert undecodable == ("not JSON", None)
    assert rejected(Masking({})) == [
        None,
        ("phone must match ^0", '{"phone":"x","memo":"m","born":"2000-01-01"}'),
        ("not JSON", "bytes"),
    ]


def test_arrow_lands_rows_as_spark_does(spark: SparkSession) -> None:
    """The way without Spark's rows gives the same values and the same `_rejected`."""
    columns = _columns(id="int", card="string", phone="string", memo="string", age="int", gone="string")
    masking = Masking({"card": "truncate", "phone": "hmac", "age": "null", "gone": "drop"}, frozenset({"id"}), KEY)
    read = [
        (1, "4111 1111 1111 0042", "+81-90-1", "コーヒー ☕", 7, "x", 3, None),
        (2, None, None, None, None, None, 3, {"reason": "day: not a date", "record": '{"id":"2"}'}),
    ]
    fields = "id int, card string, phone string, memo string, age int, gone string"
    rows = spark.createDataFrame(read, f"{fields}, _slice int, _rejected {REJECTED_TYPE}")
    expected = [row.asDict(recursive=True) for row in as_landed(rows, columns, None, masking).orderBy("id").collect()]
    rejected = pa.struct([("reason", pa.string()), ("record", pa.string())])
    types = [pa.int32(), pa.string(), pa.string(), pa.string(), pa.int32(), pa.string(), pa.int32(), rejected]
    names = [*(column.name for column in columns), "_slice", "_rejected"]
    batch = pa.RecordBatch.from_pylist(
        [dict(zip(names, row, strict=True)) for row in read],
        schema=pa.schema(list(zip(names, types, strict=True))),
    )
    kept = [("id", pa.int64()), *((name, pa.string()) for name in ("card", "phone", "memo")), ("age", pa.int32())]
    lineage = [("_run_id", pa.string()), ("_batch", pa.int64()), ("_slice", pa.int32()), ("_rejected", rejected)]
    landed = (
        ArrowLanding(pa.schema([*kept, *lineage]), masking, {"_run_id": "run-1", "_batch": 5})
        .land(batch, 3)
        .to_pylist()
    )
    assert [{**row, "_run_id": "run-1", "_batch": 5} for row in expected] == landed
