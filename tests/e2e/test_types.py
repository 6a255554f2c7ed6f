"""Every column type of both servers, value by value from the server into BigQuery."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from jobs.cli.types import type_lines
from jobs.spec.reader import load_pipeline
from tests.e2e.ferry import Ferry, OwnDatabase

# column, type, value as SQL, value as Google's client gives it
COLUMNS: list[tuple[str, str, str, Any]] = [
    ("tiny", "TINYINT", "-128", -128),
    ("tiny_1", "TINYINT(1)", "2", 2),
    ("flag", "BOOL", "TRUE", 1),
    ("small_unsigned", "SMALLINT UNSIGNED", "65535", 65535),
    ("medium", "MEDIUMINT", "-8388608", -8388608),
    ("whole_unsigned", "INT UNSIGNED", "4294967295", 4294967295),
    ("big", "BIGINT", "-9223372036854775808", -9223372036854775808),
    ("big_unsigned", "BIGINT UNSIGNED", "18446744073709551615", Decimal("18446744073709551615")),
    ("amount", "DECIMAL(18,2)", "-9999999999999999.99", Decimal("-9999999999999999.99")),
    ("scale_9", "DECIMAL(38,9)", "9" * 29 + ".999999999", Decimal("9" * 29 + ".999999999")),
    ("wide", "DECIMAL(65,30)", "9" * 35 + "." + "9" * 30, "9" * 35 + "." + "9" * 30),
    ("wide_whole", "DECIMAL(65,0)", "-" + "9" * 65, "-" + "9" * 65),
    ("single", "FLOAT", "0.1", 0.10000000149011612),
    ("double_1", "DOUBLE", "-1.7976931348623157e308", -1.7976931348623157e308),
    ("bit_1", "BIT(1)", "b'1'", 1),
    ("bit_64", "BIT(64)", "0xFFFFFFFFFFFFFFFF", Decimal(2**64 - 1)),
    ("code", "CHAR(5)", "'ab'", "ab"),
    ("padded", "VARCHAR(10)", "'ab   '", "ab   "),
    ("story", "TEXT", "'二行の\\nメモ 🚢👩‍👩‍👧'", "二行の\nメモ 🚢👩‍👩‍👧"),
    ("padded_text", "TEXT", "'  ab   '", "  ab   "),
    ("kind", "ENUM('CREATED','X')", "'CREATED'", "CREATED"),
    ("tags", "SET('a','b','c')", "'a,c'", "a,c"),
    ("fixed", "BINARY(4)", "0x00FF", b"\x00\xff\x00\x00"),
    ("blob_1", "BLOB", "0x00F09F9A00", b"\x00\xf0\x9f\x9a\x00"),
    ("first_day", "DATE", "'0001-01-01'", date(1, 1, 1)),
    ("last_day", "DATE", "'9999-12-31'", date(9999, 12, 31)),
    ("wall_clock", "DATETIME(6)", "'9999-12-31 23:59:59.999999'", datetime(9999, 12, 31, 23, 59, 59, 999999)),
    ("clock_1", "DATETIME(1)", "'0001-01-01 00:00:00.9'", datetime(1, 1, 1, 0, 0, 0, 900000)),
    ("clock_4", "DATETIME(4)", "'2026-01-01 00:00:00.0009'", datetime(2026, 1, 1, 0, 0, 0, 900)),
    ("skipped_hour", "DATETIME", "'2026-03-08 02:30:00'", datetime(2026, 3, 8, 2, 30)),
    ("instant", "TIMESTAMP(3) NULL", "'2026-11-01 05:30:00.123'", datetime(2026, 11, 1, 5, 30, 0, 123000, UTC)),
    ("instant_5", "TIMESTAMP(5) NULL", "'2026-11-01 06:30:00.00009'", datetime(2026, 11, 1, 6, 30, 0, 90, UTC)),
    ("span", "TIME(6)", "'-838:59:59.000000'", "-838:59:59.000000"),
    ("year_1", "YEAR", "1901", 1901),
    ("金額", "DECIMAL(9,2)", "1.50", Decimal("1.50")),
    ("select", "INT", "1", 1),
    ("pay day", "INT", "2", 2),
    ("back`quote", "INT", "3", 3),
    ("made", "INT AS (2 + 3)", "DEFAULT", 5),
]
STANDARD = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}
"""GoogleSQL's words for types the client calls by their older ones."""
RENAMED = {"pay day": "pay_day", "back`quote": "back_quote"}
OF_ONE_SERVER: dict[str, list[tuple[str, str, str, Any]]] = {
    "aurora": [
        ("place", "POINT", "POINT(0.1, -1e-7)", "SRID=0;POINT(0.1 -0.0000001)"),
        ("unseen", "INT INVISIBLE DEFAULT 4", "4", 4),
        ("token", "UUID", "'123e4567-e89b-12d3-a456-426614174000'", "123e4567-e89b-12d3-a456-426614174000"),
        ("address", "INET6", "'2001:db8::1'", "2001:db8::1"),
    ],
    "tidb": [("document", "JSON", '\'{"b": 12.50, "a": ["é", null]}\'', '{"a": ["é", null], "b": 12.5}')],
}


@pytest.mark.parametrize("source", ["aurora", "tidb"])
def test_every_type_arrives_as_the_server_has_it(ferry: Ferry, request: pytest.FixtureRequest, source: str) -> None:
    database: OwnDatabase = request.getfixturevalue(source)
    columns = COLUMNS + OF_ONE_SERVER[source]
    name, target = f"types_{database.name}", f"{ferry.warehouse_dataset()}.t"
    definitions = [f"`{column.replace('`', '``')}` {kind}" for column, kind, _, _ in columns]
    database.execute(f"CREATE TABLE t (id INT PRIMARY KEY, {', '.join(definitions)})")
    quoted = ", ".join(f"`{column.replace('`', '``')}`" for column, *_ in columns)
    database.execute(f"INSERT INTO t (id, {quoted}) VALUES (1, {', '.join(value for _, _, value, _ in columns)})")
    database.execute("INSERT INTO t (id) VALUES (2)")
    ferry.spec(
        f"""\
        pipeline: {name}
        source: {{type: {source}, connection: {"aurora_payments" if source == "aurora" else "tidb_wallet"}}}
        datasets:
          - name: {name}
            table: {database.name}.t
            primary_key: [id]
            write_disposition: merge
            bigquery: {{table: {target}}}
        """
    )
    ran = ferry.run(name)
    assert ran.code == 0
    assert ran.receipt("check", name).published == 2
    listed = ferry.warehouse.list_rows(ferry.warehouse.get_table(target))
    [full, empty] = sorted((dict(row.items()) for row in listed), key=lambda row: int(row["id"]))
    for column, kind, _, expected in columns:
        arrived = full[RENAMED.get(column, column)]
        assert (arrived, type(arrived)) == (expected, type(expected)), f"{column} {kind}"
        if column not in ("made", "unseen"):
            assert empty[RENAMED.get(column, column)] is None, f"{column} NULL"

    # The reported types are those the tables were made with.
    lines = {line.column: line for line in type_lines(load_pipeline(ferry.settings.pipelines, name), ferry.settings)}
    assert list(lines) == ["id", *(column for column, *_ in columns)]
    raw = ferry.catalog.load_table(("raw", name)).schema()
    fields = {field.name: field.field_type for field in ferry.warehouse.get_table(target).schema}
    for column, line in lines.items():
        lake, warehouse = str(raw.find_field(column).field_type), fields[RENAMED.get(column, column)]
        assert line.lake_type.replace(" ", "") == lake.replace(" ", ""), column
        assert line.warehouse_type == STANDARD.get(warehouse, warehouse), column
    assert {column for column, line in lines.items() if line.verdict == "lossy"} == set()
    told = ferry.cli("types", name, COLUMNS="300")
    assert told.returncode == 0, told.stderr
    [line] = [line for line in told.stdout.splitlines() if "big_unsigned" in line]
    assert [word in line for word in ("unsigned", "decimal(20,0)", "NUMERIC", "widened")] == [True] * 4, line


def test_zero_dates_are_set_aside_or_what_the_spec_says(ferry: Ferry, aurora: OwnDatabase) -> None:
    aurora.execute("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'")
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, born DATE, at DATETIME)")
    aurora.insert(
        "t",
        [
            (1, "0000-00-00", "2026-01-01"),
            (2, "2026-01-01", "2026-00-10 01:02:03"),
            (3, "2026-02-30", "2026-01-01"),
            (4, "0000-01-01", "2026-01-01"),
            (5, "2026-01-01", "2026-01-01"),
        ],
    )
    targets = {rule: f"{ferry.warehouse_dataset()}.t" for rule in ("quarantine", "null", "text")}
    ran = {}
    for rule, target in targets.items():
        name = ferry.spec(
            f"""\
            pipeline: zero_{rule}_{aurora.name}
            source: {{type: aurora, connection: aurora_payments}}
            datasets:
              - name: zero_{rule}_{aurora.name}
                table: {aurora.name}.t
                primary_key: [id]
                write_disposition: merge
                zero_dates: {rule}
                bigquery: {{table: {target}}}
            """
        )
        assert ferry.run(name).code == 0
        ran[rule] = name
    found = {
        rule: {row["id"]: (row["born"], row["at"]) for row in ferry.lake_rows("curated", name)}
        for rule, name in ran.items()
    }
    day, moment = date(2026, 1, 1), datetime(2026, 1, 1)
    assert found["quarantine"] == {5: (day, moment)}
    assert {row["reason"] for row in ferry.lake_rows("quarantine", ran["quarantine"])} == {
        "born: not a date: 0000-00-00",
        "at: not a date: 2026-00-10 01:02:03",
        "born: not a date: 2026-02-30",
        "born: not a date: 0000-01-01",
    }
    # A day that no calendar has is no zero date, and neither is one of the year 0.
    assert found["null"] == {1: (None, moment), 2: (day, None), 5: (day, moment)}
    assert found["text"] == {
        1: ("0000-00-00", "2026-01-01 00:00:00"),
        2: ("2026-01-01", "2026-00-10 01:02:03"),
        3: ("2026-02-30", "2026-01-01 00:00:00"),
        4: ("0000-01-01", "2026-01-01 00:00:00"),
        5: ("2026-01-01", "2026-01-01 00:00:00"),
    }
