"""Text becomes its declared type exactly, or the row is refused by name."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from connectors.base import Column
from connectors.declared.columns import REASON, RECORD, text_name, typed_rows
from connectors.declared.text_values import checked_columns
from connectors.kafka import KafkaOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

IDENTITY = (Column(name="_line", source_type="line", spark_type="bigint"),)

KEPT = [
    ("int", "2147483647", "2147483647"),
    ("int", " -7 ", "-7"),
    ("bigint", "12.00", "12"),
    ("bigint", "-9223372036854775808", "-9223372036854775808"),
    ("decimal(22,2)", "12345678901234567890.12", "12345678901234567890.12"),
    ("decimal(18,2)", "1.5000", "1.50"),
    ("decimal(18,2)", "1.25e1", "12.50"),
    ("decimal(18,2)", "1E+3", "1000.00"),
    ("decimal(18,2)", "0.000", "0.00"),
    ("decimal(18,2)", "0e-9", "0.00"),
    ("decimal(38,0)", "99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
    ("decimal(38,38)", "-0.12345678901234567890123456789012345678", "-0.12345678901234567890123456789012345678"),
    ("decimal(10,2)", "1e+5", "100000.00"),
    ("decimal(10,2)", "0e400000000", "0.00"),
    ("decimal(10,2)", "0E-99999999999999999999", "0.00"),
    ("decimal(10,2)", "-125000e-0000000000005", "-1.25"),
    ("decimal(10,2)", "." + "0" * 200 + "1e201", "1.00"),
    ("decimal(10,2)", "+" + "0" * 99 + "1.5" + "0" * 99, "1.50"),
    ("decimal(38,38)", "12e-38", "0.00000000000000000000000000000000000012"),
    ("double", "1e308", "1.0E308"),
    ("double", "0.1", "0.1"),
    ("double", "-0.30000000000000004", "-0.30000000000000004"),
    ("double", "0.10000000000000001", "0.1"),
    ("double", "9007199254740994", "9.007199254740994E15"),
    ("double", "18446744073709551616", "1.8446744073709552E19"),
    ("double", "-18446744073709552000", "-1.8446744073709552E19"),
    ("double", "6.02214076e23", "6.02214076E23"),
    ("double", "1.7976931348623157e+308", "1.7976931348623157E308"),
    ("double", "4.9e-324", "4.9E-324"),
    ("double", "0e400000000", "0.0"),
    ("double", "000.000", "0.0"),
    ("double", "-1." + "0" * 300, "-1.0"),
    ("boolean", "TRUE", "true"),
    ("boolean", "0", "false"),
    ("date", "2024-02-29", "2024-02-29"),
    ("timestamp", "2026-11-20T01:02:03.456Z", "2026-11-20 01:02:03.456"),
    ("timestamp", "2026-11-20T10:02:03.456+09:00", "2026-11-20 01:02:03.456"),
    ("timestamp", "2026-11-20 10:02:03+0900", "2026-11-20 01:02:03"),
    ("timestamp", "2026-11-20 10:02:03 +09", "2026-11-20 01:02:03"),
    ("timestamp", "2026-03-08 02:30:00", "2026-03-08 02:30:00"),
    ("timestamp", "2026-11-20T01:02:03.123456000Z", "2026-11-20 01:02:03.123456"),
    ("timestamp_ntz", "2026-03-08T02:30:00", "2026-03-08 02:30:00"),
    ("string", " kept  as it is ", " kept  as it is "),
]
REFUSED = [
    ("int", "2147483648", "too large for int"),
    ("int", "abc", "not a whole number"),
    ("bigint", "12.5", "not a whole number"),
    ("bigint", "1e3", "not a whole number"),
    ("bigint", "9223372036854775808", "too large for bigint"),
    ("decimal(18,2)", "1.005", "more than 2 digits after the point"),
    ("decimal(18,2)", "1e-3", "more than 2 digits after the point"),
    ("decimal(18,2)", "12345678901234567.00", "too large for decimal(18,2)"),
    ("decimal(18,2)", "1e999999999", "too large for decimal(18,2)"),
    ("decimal(18,2)", "1,000.00", "not a number"),
    ("decimal(18,2)", "NaN", "not a number"),
    ("decimal(10,2)", "1e-101", "more than 2 digits after the point"),
    ("decimal(10,2)", "1e-400000000", "more than 2 digits after the point"),
    ("decimal(10,2)", "1e400000000", "too large for decimal(10,2)"),
    ("decimal(10,2)", "1e99999999999999999999", "too large for decimal(10,2)"),
    ("decimal(10,2)", "0." + "0" * 200 + "1", "more than 2 digits after the point"),
    ("decimal(10,2)", "1" + "0" * 200, "too large for decimal(10,2)"),
    ("decimal(10,2)", "1e8", "too large for decimal(10,2)"),
    ("decimal(10,2)", "1e", "not a number"),
    ("double", "1e999", "too large for double"),
    ("double", "1e400000000", "too large for double"),
    ("double", "1.7976931348623159e308", "too large for double"),
    ("double", "1e-400", "too near to zero for double"),
    ("double", "-1e-400000000", "too near to zero for double"),
    ("double", "2e-324", "too near to zero for double"),
    ("double", "9007199254740993", "more digits than a double holds"),
    ("double", "-9007199254740993.0", "more digits than a double holds"),
    ("double", "9007199254740993e0", "more digits than a double holds"),
    ("double", "1152921504606846970", "more digits than a double holds"),
    ("double", "1152921504606847100", "more digits than a double holds"),
    ("double", "1152921504606847001", "more digits than a double holds"),
    ("double", "100000000000000010", "more digits than a double holds"),
    ("double", "3.14159265358979323846", "more digits than a double holds"),
    ("double", "0.1" + "0" * 900 + "1", "more digits than a double holds"),
    ("double", "Infinity", "not a number"),
    ("boolean", "yes", "not a boolean"),
    ("date", "2026-02-29", "no such day"),
    ("date", "20/11/2026", "not a date"),
    ("timestamp", "2026-11-31T00:00:00Z", "no such time"),
    ("timestamp", "2026-11-20T24:00:00Z", "no such time"),
    ("timestamp", "2026-11-20T00:00:00.1234567Z", "finer than a microsecond"),
    ("timestamp", "1763600523", "not a time"),
    ("timestamp", "2026-11-20", "not a time"),
    ("timestamp", "2026-11-20T00:00:00 Asia/Tokyo", "not a time"),
    ("timestamp_ntz", "2026-11-20T00:00:00Z", "not a time"),
]


def microseconds(utc: str) -> int:
    return (datetime.fromisoformat(utc) - datetime(1970, 1, 1)) // timedelta(microseconds=1)


def typed(
    session: SparkSession,
    columns: list[Column],
    rows: Sequence[Sequence[str | None]],
    records: list[str],
    null_text: str | None,
) -> DataFrame:
    """Rows of text through the check in Arrow and the cast in Spark, as sources send them."""
    texts = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
    checked, reasons = checked_columns(texts, columns, pa.nulls(len(rows), pa.string()), null_text)
    arrays = {text_name(index): text for index, text in enumerate(checked)}
    arrays |= {"_line": pa.array(range(1, len(rows) + 1), pa.int64()), "_slice": pa.array([0] * len(rows), pa.int32())}
    arrays |= {REASON: reasons, RECORD: pa.array(records, pa.string())}
    return typed_rows(session.createDataFrame(pa.table(arrays)), columns, IDENTITY)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_values_are_kept_exactly_or_refused(spark: SparkSession, zone: str) -> None:
    from pyspark.sql import functions as F

    cases = [*KEPT, *REFUSED]
    columns = [Column(name=f"c{i}", source_type="csv", spark_type=kind) for i, (kind, _, _) in enumerate(cases)]
    session = spark.newSession()
    session.conf.set("spark.sql.session.timeZone", zone)
    rows_of_text: list[list[str | None]] = [[text for _, text, _ in cases], [None] * len(cases)]
    found = typed(session, columns, rows_of_text, ["the record", "all null"], null_text=None)
    shown = [
        (F.unix_micros(c.name) if c.spark_type == "timestamp" else F.col(c.name).cast("string")).alias(c.name)
        for c in columns
    ]
    rows: list[Any] = found.select(*shown, "_rejected").where("_line is not null").orderBy("_line").collect()
    first, nulls = rows
    for index, (kind, _, value) in enumerate(KEPT):
        expected = microseconds(value) if kind == "timestamp" else value
        assert first[index] == expected, KEPT[index]
        assert f"column c{index}:" not in first._rejected.reason, KEPT[index]
    for index, (_, text, reason) in enumerate(REFUSED, len(KEPT)):
        assert first[index] is None
        assert f"column c{index}: {reason}" in first._rejected.reason
        assert len(text) < 5 or text not in first._rejected.reason
    assert first._rejected.record == "the record"
    assert nulls._rejected is None
    assert all(nulls[index] is None for index in range(len(cases)))


def test_a_megabyte_of_digits_and_a_huge_exponent_are_judged_at_once() -> None:
    zeros = "0" * 1_000_000
    texts = [f"1{zeros}", f"0.{zeros}1", f"0.{zeros}", f"{zeros}7.50", "9" * 1_000_000, "1e-" + "9" * 1_000_000]
    expected = [None, None, "0", "7.5", None, None]
    for kind, seven in (("decimal(10,2)", "7.5"), ("double", "75E-1")):
        column = Column(name="n", source_type="json", spark_type=kind)
        begun = time.process_time()
        [kept], reasons = checked_columns([pa.array(texts)], [column], pa.nulls(len(texts), pa.string()), None)
        assert time.process_time() - begun < 2
        assert kept.to_pylist() == [*expected[:3], seven, *expected[4:]]
        assert [reason is None for reason in reasons.to_pylist()] == [False, False, True, True, False, False]


def test_a_double_as_any_language_prints_it_is_kept() -> None:
    """17 digits as C prints them, the shortest digits as JavaScript does (large ones padded with zeros), and the 15 of
    a spreadsheet."""
    random = Random(7)
    doubles = [random.uniform(-1, 1) * 10.0 ** random.randrange(-300, 15) for _ in range(3000)]
    texts = [text for value in doubles for text in (repr(value), f"{value:.17g}", f"{value:.15g}")]
    texts += ["1152921504606847000", "36028797018963970", "100000000000000020"]
    large = [random.uniform(2**53, 10.0**21) for _ in range(3000)]
    texts += [f"{Decimal(repr(value)):f}" for value in large]
    column = Column(name="n", source_type="json", spark_type="double")
    [kept], reasons = checked_columns([pa.array(texts)], [column], pa.nulls(len(texts), pa.string()), None)
    assert reasons.null_count == len(texts)
    assert [float(text) for text in kept.to_pylist()] == [float(text) for text in texts]


def test_an_empty_field_is_null_but_in_a_text_column(spark: SparkSession) -> None:
    columns = [
        Column(name="n", source_type="csv", spark_type="int"),
        Column(name="s", source_type="csv", spark_type="string"),
    ]
    [row] = typed(spark, columns, [["", ""]], [","], null_text="").collect()
    assert (row.n, row.s, row._rejected) == (None, "", None)


@pytest.mark.parametrize("kind", ["varchar", "decimal", "decimal(39,2)", "decimal(2,3)", "float", "array<int>"])
def test_an_unknown_type_lists_those_that_are(kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KafkaOptions.model_validate({"topic": "t", "columns": {"a": kind}})
    [error] = caught.value.errors()
    assert error["loc"] == ("columns", "a")
    for word in ("string", "bigint", "timestamp_ntz", "decimal(p,s)"):
        assert word in error["msg"]


def test_types_are_read_whatever_their_case_and_blanks() -> None:
    options = KafkaOptions.model_validate({"topic": "t", "columns": {"a": "Decimal(18, 2)"}})
    assert options.columns == {"a": "decimal(18,2)"}


@pytest.mark.parametrize(
    "columns", [{}, {"a": "int", "A": "int"}, {"a b": "int"}, {"_slice": "int"}, {"_kafka_offset": "int"}]
)
def test_columns_that_could_not_stand_are_refused(columns: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        KafkaOptions.model_validate({"topic": "t", "columns": columns})
