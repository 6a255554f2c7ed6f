"""Every value arrives as it is stored, in any time zone of the JVM and the Spark session."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from connectors.base import FingerprintOf, SliceReader
from connectors.errors import UnsupportedType
from connectors.mysql.schema import column_types
from tests.connectors.mysql.conftest import Server

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CASES: list[tuple[str, str, str, object]] = [
    # column type, value as SQL, Spark type, value as Spark gives it
    ("TINYINT(1)", "2", "tinyint", 2),
    ("TINYINT", "-128", "tinyint", -128),
    ("TINYINT UNSIGNED", "255", "smallint", 255),
    ("SMALLINT", "-32768", "smallint", -32768),
    ("SMALLINT UNSIGNED", "65535", "int", 65535),
    ("MEDIUMINT", "-8388608", "int", -8388608),
    ("MEDIUMINT UNSIGNED", "16777215", "int", 16777215),
    ("INT", "-2147483648", "int", -2147483648),
    ("INT UNSIGNED", "4294967295", "bigint", 4294967295),
    ("INT(8) UNSIGNED ZEROFILL", "42", "bigint", 42),
    ("DECIMAL(8,2) ZEROFILL", "1.5", "decimal(8,2)", Decimal("1.50")),
    ("DECIMAL(65,0)", "-" + "9" * 65, "string", "-" + "9" * 65),
    ("BOOL", "TRUE", "tinyint", 1),
    ("DOUBLE", "-5e-324", "double", -5e-324),
    ("DOUBLE", "123456789.987654321", "double", 123456789.987654321),
    ("ENUM('unsigned','zerofill')", "'zerofill'", "string", "zerofill"),
    ("LONGTEXT", "REPEAT('長', 300000)", "string", "長" * 300000),
    ("LONGBLOB", "REPEAT(0x00FF, 300000)", "binary", b"\x00\xff" * 300000),
    ("DATETIME(2)", "'2026-01-01 10:00:00.10'", "timestamp_ntz", "2026-01-01 10:00:00.1"),
    ("BIGINT", "-9223372036854775808", "bigint", -9223372036854775808),
    ("BIGINT UNSIGNED", "18446744073709551615", "decimal(20,0)", Decimal("18446744073709551615")),
    ("DECIMAL(18,2)", "-9999999999999999.99", "decimal(18,2)", Decimal("-9999999999999999.99")),
    ("DECIMAL(38,0)", "9" * 38, "decimal(38,0)", Decimal("9" * 38)),
    ("DECIMAL(38,30)", "0." + "0" * 29 + "1", "decimal(38,30)", Decimal("1E-30")),
    ("DECIMAL(65,30)", "9" * 35 + "." + "9" * 30, "string", "9" * 35 + "." + "9" * 30),
    ("FLOAT", "16777217", "float", 16777216.0),
    ("FLOAT", "0.1", "float", 0.10000000149011612),
    ("DOUBLE", "0.1", "double", 0.1),
    ("DOUBLE", "-1.7976931348623157e308", "double", -1.7976931348623157e308),
    ("DOUBLE", "-2.2250738585072014e-308", "double", -2.2250738585072014e-308),
    ("BIT(1)", "b'1'", "bigint", 1),
    ("BIT(63)", "0x7FFFFFFFFFFFFFFF", "bigint", 2**63 - 1),
    ("BIT(64)", "0xFFFFFFFFFFFFFFFF", "decimal(20,0)", Decimal(2**64 - 1)),
    ("CHAR(10)", "'ab'", "string", "ab"),
    ("CHAR(10)", "''", "string", ""),
    ("VARCHAR(10)", "'ab   '", "string", "ab   "),
    ("VARCHAR(20)", "'NULL'", "string", "NULL"),
    ("VARCHAR(20)", "'a\\\\b''c\"d`e'", "string", "a\\b'c\"d`e"),
    ("VARCHAR(20)", "'日本🚢👩‍👩‍👧'", "string", "日本🚢👩‍👩‍👧"),
    ("VARCHAR(10) CHARACTER SET latin1", "'Zürich'", "string", "Zürich"),
    ("TEXT", "'a\\nb\\tc\\r'", "string", "a\nb\tc\r"),
    ("ENUM('A','LONGER')", "'A'", "string", "A"),
    ("SET('a','b','c')", "'a,c'", "string", "a,c"),
    ("BINARY(4)", "0x00FF", "binary", b"\x00\xff\x00\x00"),
    ("VARBINARY(8)", "0x00FF27", "binary", b"\x00\xff'"),
    ("BLOB", "0xF09F9A", "binary", b"\xf0\x9f\x9a"),
    ("DATE", "'0001-01-01'", "date", date(1, 1, 1)),
    ("DATE", "'1582-10-10'", "date", date(1582, 10, 10)),
    ("DATE", "'9999-12-31'", "date", date(9999, 12, 31)),
    ("TIME", "'-838:59:59'", "string", "-838:59:59"),
    ("TIME(6)", "'25:00:00.000001'", "string", "25:00:00.000001"),
    ("YEAR", "1901", "int", 1901),
    ("DATETIME", "'0001-01-01 00:00:00'", "timestamp_ntz", "0001-01-01 00:00:00"),
    ("DATETIME(6)", "'9999-12-31 23:59:59.999999'", "timestamp_ntz", "9999-12-31 23:59:59.999999"),
    # Clocks in New York skip 02:30 on this day, and pass 01:30 twice on the next one.
    ("DATETIME(3)", "'2026-03-08 02:30:00.123'", "timestamp_ntz", "2026-03-08 02:30:00.123"),
    ("DATETIME(6)", "'2026-11-01 01:30:00.000001'", "timestamp_ntz", "2026-11-01 01:30:00.000001"),
    ("DATETIME", "'1850-01-01 00:00:00'", "timestamp_ntz", "1850-01-01 00:00:00"),
    # Microseconds since 1970 in UTC.
    ("TIMESTAMP NULL", "'1970-01-01 00:00:01'", "timestamp", 1_000_000),
    ("TIMESTAMP(3) NULL", "'2026-03-08 02:30:00.123'", "timestamp", 1_772_937_000_123_000),
    ("TIMESTAMP(6) NULL", "'2026-03-08 07:30:00.000001'", "timestamp", 1_772_955_000_000_001),
    ("TIMESTAMP(6) NULL", "'2026-11-01 05:30:00'", "timestamp", 1_793_511_000_000_000),
    ("TIMESTAMP(6) NULL", "'2026-11-01 06:30:00'", "timestamp", 1_793_514_600_000_000),
    ("TIMESTAMP NULL", "'2038-01-19 03:14:07'", "timestamp", 2**31 * 1_000_000 - 1_000_000),
]


def cases_table(server: Server) -> str:
    """A table of a column for each case, with one row of all values and one of NULLs."""
    table = server.table(
        "id INT PRIMARY KEY, " + ", ".join(f"v{n} {column_type}" for n, (column_type, *_) in enumerate(CASES))
    )
    server.run(f"INSERT INTO {table} VALUES (1, {', '.join(case[1] for case in CASES)})")
    server.run(f"INSERT INTO {table} (id) VALUES (2)")
    return table


@pytest.fixture
def new_york(spark: SparkSession) -> Iterator[SparkSession]:
    """A session whose JVM and SQL both live in New York."""
    assert spark._jvm is not None
    zones = spark._jvm.java.util.TimeZone
    before = zones.getDefault()
    zones.setDefault(zones.getTimeZone("America/New_York"))
    session = spark.newSession()
    session.conf.set("spark.sql.session.timeZone", "America/New_York")
    yield session
    zones.setDefault(before)


def test_values_and_nulls_are_exact(server: Server, new_york: SparkSession) -> None:
    from pyspark.sql import functions as F

    dataset = server.dataset(cases_table(server))
    plan = server.source().plan(dataset, None, None)
    types = {column.name: column.spark_type for column in plan.columns}
    assert {f"v{n}": types[f"v{n}"] for n in range(len(CASES))} == {f"v{n}": c[2] for n, c in enumerate(CASES)}

    frame = server.source().read(new_york, dataset, plan)
    assert {name: kind for name, kind in frame.dtypes if name in types} == types
    assert all(not field.metadata for field in frame.schema.fields)

    def shown(name: str) -> Any:
        match types[name]:
            case "timestamp":
                return F.unix_micros(name).alias(name)
            case "timestamp_ntz":
                return F.col(name).cast("string").alias(name)
            case _:
                return F.col(name)

    read = frame.orderBy("id").select("_rejected", *(shown(f"v{n}") for n in range(len(CASES)))).collect()
    assert [row[0] for row in read] == [None, None]
    for n, (column_type, sql, _, expected) in enumerate(CASES):
        value = bytes(read[0][f"v{n}"]) if isinstance(read[0][f"v{n}"], bytearray) else read[0][f"v{n}"]
        assert value == expected, f"{column_type} {sql}"
        assert read[1][f"v{n}"] is None, f"{column_type} NULL"


@pytest.mark.parametrize("of", ["row", "columns"])
def test_what_arrived_has_the_fingerprint_the_server_made(
    server: Server, new_york: SparkSession, of: FingerprintOf
) -> None:
    dataset, source = server.dataset(cases_table(server)), server.source()
    plan = source.plan(dataset, None, None)
    made = source.fingerprint(dataset, plan, of)
    assert made is not None
    rows = source.read(new_york, dataset, plan, of).orderBy("id").select(made.alias("made"), "_fingerprint").collect()
    for row in rows:
        each = zip(str(row.made).split(","), str(row._fingerprint).split(","), strict=True)
        differing = [n for n, (ours, theirs) in enumerate(each) if ours != theirs]
        assert [CASES[n - 1] if of == "columns" else row for n in differing] == []
    assert len({row.made for row in rows}) == 2
    if of == "columns":
        assert len(rows[0].made.split(",")) == len(CASES) + 1


def test_json_keeps_its_text(server: Server, spark: SparkSession) -> None:
    table = server.table("id INT PRIMARY KEY, document JSON")
    server.run(f'INSERT INTO {table} VALUES (1, \'{{"a": [1, "é"]}}\')')
    dataset = server.dataset(table)
    plan = server.source().plan(dataset, None, None)
    assert server.source().read(spark, dataset, plan).collect()[0].document == '{"a": [1, "é"]}'


def test_zero_dates_are_rejected_with_their_text(server: Server, spark: SparkSession) -> None:
    table = server.table("id INT PRIMARY KEY, born DATE, at DATETIME, seen TIMESTAMP NULL, `raw` VARBINARY(4)")
    server.run(f"INSERT INTO {table} VALUES (1, '0000-00-00', '2026-00-01 00:00:00', '0000-00-00 00:00:00', 0xFF)")
    server.run(f"INSERT INTO {table} VALUES (2, NULL, NULL, NULL, NULL)")
    dataset = server.dataset(table)
    rows = server.source().read(spark, dataset, server.source().plan(dataset, None, None)).orderBy("id").collect()
    assert rows[0]._rejected.reason == (
        "born: not a date: 0000-00-00; at: not a date: 2026-00-01 00:00:00; seen: not a date: 0000-00-00 00:00:00"
    )
    assert rows[0]._rejected.record == (
        '{"id":"1","born":"0000-00-00","at":"2026-00-01 00:00:00","seen":"0000-00-00 00:00:00","raw":"/w=="}'
    )
    assert rows[1]._rejected is None


def test_a_zero_date_that_is_to_be_null_has_the_fingerprint_of_none(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, born DATE, at DATETIME(3), seen TIMESTAMP NULL")
    server.run(f"INSERT INTO {table} VALUES (1, '0000-00-00', '2026-00-01 00:00:00', '0000-00-00 00:00:00')")
    server.run(f"INSERT INTO {table} VALUES (2, NULL, '2026-01-01 00:00:00.5', NULL)")
    dataset, source = server.dataset(table, zero_dates="null"), server.source()
    reader = source.slice_reader(dataset, source.plan(dataset, None, None), "row")
    batch = only_batch(reader)
    assert batch.column("born").to_pylist() == [None, None]
    assert batch.column("_rejected").null_count == 2
    assert reader.altered(batch) == 0


def test_names_no_reader_would_choose(server: Server, spark: SparkSession) -> None:
    table = server.table(
        "`we``ird` INT PRIMARY KEY, `a.b` INT, `select` INT, `日本` INT, `sp ace` INT, counted INT, c0 INT"
    )
    server.run(f"INSERT INTO {table} VALUES (1, 2, 3, 4, 5, 6, 7)")
    dataset = server.dataset(table)
    plan = server.source().plan(dataset, None, None)
    [row] = server.source().read(spark, dataset, plan).collect()
    assert list(row)[:7] == [1, 2, 3, 4, 5, 6, 7]
    assert (row._source_rows, row._slice) == (1, 0)


def test_a_type_the_ledger_does_not_know_must_be_accepted_by_name(
    aurora: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A server of today has no type from tomorrow: one that is known is forgotten.
    monkeypatch.delitem(column_types._OTHERS, "uuid")
    table = aurora.table("id INT PRIMARY KEY, token UUID")
    with pytest.raises(UnsupportedType, match=rf"column 'token' of {table} is uuid.*accept_lossy: \[token\]"):
        aurora.source().plan(aurora.dataset(table), None, None)
    accepted = aurora.dataset(table, accept_lossy=["token"])
    assert [column.verdict for column in aurora.source().plan(accepted, None, None).columns] == ["exact", "lossy"]


def only_batch(reader: SliceReader, slice_id: int = 0) -> pa.RecordBatch:
    """The rows of a small slice, read with what a task would be given."""
    sent: SliceReader = pickle.loads(pickle.dumps(reader))
    with sent.open(slice_id) as piece:
        [batch] = piece.batches
    batch.validate(full=True)
    assert batch.schema == reader.schema
    return batch


@pytest.mark.parametrize("of", ["row", "columns"])
def test_arrow_agrees_with_the_server_and_sees_each_column_that_changed(server: Server, of: FingerprintOf) -> None:
    dataset, source = server.dataset(cases_table(server)), server.source()
    reader = source.slice_reader(dataset, source.plan(dataset, None, None), of)
    batch = only_batch(reader)
    assert batch.num_rows == 2
    assert reader.altered(batch) == 0
    assert reader.altered(batch.slice(1)) == reader.altered(batch.slice(0, 1)) == 0
    for place in range(len(CASES) + 1):
        values = batch.column(place)
        exchanged = batch.set_column(place, batch.schema.field(place), values.take([1, 0]))
        assert reader.altered(exchanged) == 2, f"{CASES[place - 1]} and NULL exchanged"
    for place in (batch.schema.get_field_index(f"v{n}") for n in range(len(CASES))):
        other = nearly(batch.column(place)[0])
        changed = batch.set_column(place, batch.schema.field(place), pa.array([other, None], batch.column(place).type))
        assert reader.altered(changed) == 1, f"{CASES[place - 1]} become {other!r}"


def nearly(value: pa.Scalar) -> object:
    """A value of the same type that differs as little as one can."""
    if pa.types.is_integer(value.type):
        return value.as_py() + (1 if value.as_py() < 0 else -1)
    if pa.types.is_decimal(value.type):
        exact = Context(prec=40)
        last = exact.create_decimal((0, (1,), -value.type.scale))
        return (exact.add if value.as_py() < 0 else exact.subtract)(value.as_py(), last)
    if pa.types.is_float32(value.type):
        return float(np.nextafter(np.float32(value.as_py()), np.float32(0)))
    if pa.types.is_float64(value.type):
        # Fingerprints know doubles from 2^-78 to 2^78.
        return float(np.nextafter(value.as_py(), 0)) if 2**-26 < abs(value.as_py()) < 2**78 else 1.5
    if pa.types.is_date32(value.type) or pa.types.is_timestamp(value.type):
        number = pa.int32() if pa.types.is_date32(value.type) else pa.int64()
        whole = value.cast(number).as_py()
        return pa.scalar(whole + (1 if whole < 0 else -1), number).cast(value.type).as_py()
    text = value.as_py()
    return text + (b"\0" if isinstance(text, bytes) else " ")


def test_a_rejected_row_is_not_altered(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY, born DATE")
    server.run(f"INSERT INTO {table} VALUES (1, '0000-00-00'), (2, '2026-01-01'), (3, NULL)")
    dataset, source = server.dataset(table), server.source()
    reader = source.slice_reader(dataset, source.plan(dataset, None, None), "row")
    batch = only_batch(reader)
    assert batch.column("_rejected").null_count == 2
    assert reader.altered(batch) == 0
    assert reader.altered(batch.set_column(0, batch.schema.field(0), pa.array([7, 8, 9], pa.int32()))) == 2


def test_a_slice_is_counted_with_its_rows_and_only_where_it_is_asked_for(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY")
    server.run(f"INSERT INTO {table} VALUES (1), (2), (3)")
    dataset, source = server.dataset(table), server.source()
    plan = source.plan(dataset, None, None)
    with source.slice_reader(dataset, plan).open(0) as piece:
        if server.source_type == "aurora":
            # Between the count and the rows: both are of one read view.
            server.run(f"INSERT INTO {table} VALUES (4)")
        assert piece.source_rows == 3
        assert sum(len(batch) for batch in piece.batches) == 3
    with source.slice_reader(dataset, plan, counted=False).open(0) as piece:
        assert piece.source_rows is None
    server.run(f"DELETE FROM {table}")
    if server.source_type == "aurora":
        with source.slice_reader(dataset, plan).open(0) as piece:
            assert (piece.source_rows, list(piece.batches)) == (0, [])


def test_dates_that_are_none_are_told_and_dates_near_them_are_read(aurora: Server) -> None:
    table = aurora.table("id INT PRIMARY KEY, day DATE, at DATETIME(3), secret DATE")
    aurora.run("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
    try:
        good = ["0001-01-01", "1900-02-28", "2000-02-29", "2024-02-29", "2024-12-31", "9999-12-31"]
        bad = ["0000-00-00", "0000-01-01", "2024-00-10", "2024-01-00", "2024-02-30", "2023-02-29", "1900-02-29"]
        for number, day in enumerate([*good, *bad]):
            aurora.run(f"INSERT INTO {table} VALUES ({number}, '{day}', '{day} 10:00:00.5', '{day}')")
    finally:
        aurora.run("SET SESSION sql_mode = ''")
    source = aurora.source()
    dataset = replace(aurora.dataset(table), masked_columns=frozenset({"secret"}))
    batch = only_batch(source.slice_reader(dataset, source.plan(dataset, None, None)))
    assert [str(day) for day in batch.column("day").to_pylist()] == [*good, *["None"] * len(bad)]
    assert batch.column("_rejected").to_pylist() == [
        *[None] * len(good),
        *(
            {
                "reason": f"day: not a date: {day}; at: not a date: {day} 10:00:00.500; secret: not a date",
                "record": f'{{"id":"{len(good) + n}","day":"{day}","at":"{day} 10:00:00.500","secret":"{day}"}}',
            }
            for n, day in enumerate(bad)
        ),
    ]
