"""Every value arrives as it is stored, whatever the time zone of the JVM and the Spark session."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from connectors.base import FingerprintOf
from connectors.errors import UnsupportedType
from connectors.mysql import column_types
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

    table = server.table(
        "id INT PRIMARY KEY, " + ", ".join(f"v{n} {column_type}" for n, (column_type, *_) in enumerate(CASES))
    )
    server.run(f"INSERT INTO {table} VALUES (1, {', '.join(case[1] for case in CASES)})")
    server.run(f"INSERT INTO {table} (id) VALUES (2)")
    dataset = server.dataset(table)
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
    table = server.table(
        "id INT PRIMARY KEY, " + ", ".join(f"v{n} {column_type}" for n, (column_type, *_) in enumerate(CASES))
    )
    server.run(f"INSERT INTO {table} VALUES (1, {', '.join(case[1] for case in CASES)})")
    server.run(f"INSERT INTO {table} (id) VALUES (2)")
    dataset, source = server.dataset(table), server.source()
    plan = source.plan(dataset, None, None)
    made = source.fingerprint(dataset, plan, of)
    assert made is not None
    rows = source.read(new_york, dataset, plan, of).orderBy("id").select(made.alias("made"), "_fingerprint").collect()
    for row in rows:
        differing = [
            n for n, (a, b) in enumerate(zip(row.made.split(","), row._fingerprint.split(","), strict=True)) if a != b
        ]
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
