"""Rows made by hand become Arrow values, exactly, or are rejected in the words they always were."""

from __future__ import annotations

import re
import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from connectors.base import Column
from connectors.errors import ServiceError
from connectors.mysql.schema.column_types import column_type
from connectors.mysql.wire.decoding import RowDecoder
from connectors.mysql.wire.packets import SLACK_BYTES, Block, ProtocolError, WireColumn
from connectors.mysql.wire.undecodable_rows import java_double
from tests.connectors.mysql.test_wire import Row, length_encoded, null_bitmap

# MySQL's numbers of its types, and how `struct` writes them ("Binary Protocol Value").
NUMBERS = {"tinyint": (1, "b"), "smallint": (2, "h"), "int": (3, "i"), "bigint": (8, "q"), "float": (4, "f")}
NUMBERS["double"] = (5, "d")
MOMENTS = {"timestamp": 7, "date": 10, "time": 11, "datetime": 12}
TEXTS = {"decimal": 246, "blob": 252}
VAR_STRING = 253


def word(kind: str) -> str:
    return kind.partition(" ")[0].partition("(")[0]


def sent(kind: str) -> WireColumn:
    """How a server sends a column of that type."""
    unsigned = "unsigned" in kind
    if word(kind) in NUMBERS:
        return WireColumn(NUMBERS[word(kind)][0], unsigned)
    return WireColumn(MOMENTS.get(word(kind)) or TEXTS.get(word(kind), VAR_STRING), unsigned)


def value(kind: str, text: bytes) -> bytes:
    """A value, given as its text, as a server sends it."""
    if word(kind) in NUMBERS:
        letter = NUMBERS[word(kind)][1]
        number = float(text) if letter in "fd" else int(text)
        return struct.pack(f"<{letter.upper() if 'unsigned' in kind else letter}", number)
    if word(kind) not in MOMENTS:
        return length_encoded(text)
    year, month, day, hour, minute, second, micros = (int(n) for n in (*re.findall(rb"\d+", text), 0, 0, 0, 0)[:7])
    parts = struct.pack("<HBBBBBI", year, month, day, hour, minute, second, micros)
    # Zeros at the end are left out.
    size = 11 if micros else 7 if hour or minute or second else 4 if year or month or day else 0
    return bytes([size]) + parts[:size]


def row(kinds: list[str], values: Row) -> bytes:
    written = [value(kind, text) for kind, text in zip(kinds, values, strict=True) if text is not None]
    return b"\0" + null_bitmap(values) + b"".join(written)


def block(kinds: list[str], *rows: Row) -> Block:
    packets = [row(kinds, values) for values in rows]
    lengths = np.array([len(packet) for packet in packets], dtype=np.int64)
    ends = np.cumsum(lengths)
    return Block(np.frombuffer(b"".join(packets) + bytes(SLACK_BYTES), np.uint8), ends - lengths, ends)


def columns(**types: str) -> list[Column]:
    return [
        Column(name=name, source_type=kind, spark_type=column_type(kind).spark_type) for name, kind in types.items()
    ]


def decoded(
    types: dict[str, str], *rows: Row, kinds: dict[str, str] | None = None, **more: Any
) -> list[dict[str, Any]]:
    """Rows of these types as planned; `kinds` are those the server has meanwhile."""
    has = list((types | (kinds or {})).values())
    batch = RowDecoder(columns(**types), **more).batch(block(has, *rows), [sent(kind) for kind in has])
    batch.validate(full=True)
    found: list[dict[str, Any]] = batch.to_pylist()
    return found


def test_nothing_of_a_block_is_kept_in_a_batch() -> None:
    """The next block overwrites it."""
    kinds = ["int", "varchar(9)", "date", "blob"]
    one = row(kinds, (b"7", b"ab", b"2026-01-01", b"\0\1"))
    data = bytearray(one * 3 + bytes(SLACK_BYTES))
    starts = np.arange(0, 3 * len(one), len(one))
    decoder = RowDecoder(columns(a="int", b="varchar(9)", c="date", d="blob"))
    block = Block(np.frombuffer(data, np.uint8), starts, starts + len(one))
    batch = decoder.batch(block, [sent(kind) for kind in kinds])
    before = batch.to_pylist()
    data[:] = b"\xff" * len(data)
    assert batch.to_pylist() == before


@pytest.mark.parametrize("kind", ["tinyint", "decimal(4,2)", "double", "varchar(9)", "blob", "date", "timestamp"])
def test_a_column_of_nulls_is_one(kind: str) -> None:
    found = decoded({"id": "int", "v": kind}, (b"1", None), (b"2", None))
    assert [values["v"] for values in found] == [None, None]
    assert [values["_rejected"] for values in found] == [None, None]


def test_a_block_without_rows_is_a_batch_without_rows() -> None:
    assert decoded({"id": "int", "day": "date", "note": "text"}) == []


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("tinyint", b"-128", -128),
        ("tinyint unsigned", b"255", 255),
        ("smallint unsigned", b"65535", 65535),
        ("int unsigned", b"4294967295", 4294967295),
        ("bigint", b"-9223372036854775808", -9223372036854775808),
        ("bigint unsigned", b"18446744073709551615", Decimal("18446744073709551615")),
        (
            "decimal(38,2)",
            b"-123456789012345678901234567890123456.78",
            Decimal("-123456789012345678901234567890123456.78"),
        ),
        ("double", b"1.7976931348623157e308", 1.7976931348623157e308),
        ("double", b"5e-324", 5e-324),
        ("float", b"16777216", 16777216.0),
        ("date", b"0001-01-01", date(1, 1, 1)),
        ("date", b"9999-12-31", date(9999, 12, 31)),
        ("date", b"2024-02-29", date(2024, 2, 29)),
        ("date", b"1900-02-28", date(1900, 2, 28)),
        ("datetime(6)", b"0001-01-01 00:00:00.000001", datetime(1, 1, 1, 0, 0, 0, 1)),
        ("datetime(6)", b"9999-12-31 23:59:59.999999", datetime(9999, 12, 31, 23, 59, 59, 999999)),
        ("datetime", b"1969-12-31 23:59:59", datetime(1969, 12, 31, 23, 59, 59)),
        ("datetime", b"2026-03-29 00:00:00", datetime(2026, 3, 29)),
        ("timestamp(3)", b"2038-01-19 03:14:07.999000", datetime(2038, 1, 19, 3, 14, 7, 999000, UTC)),
    ],
)
def test_values_arrive_between_nulls_and_others(kind: str, text: bytes, value: object) -> None:
    rows: list[Row] = [(None, b"1", None), (text, b"2", b"x"), (None, None, b"y"), (text, b"3", None)]
    found = decoded({"v": kind, "id": "int", "note": "text"}, *rows)
    assert [tuple(row.values()) for row in found] == [
        (None, 1, None, None),
        (value, 2, "x", None),
        (None, None, "y", None),
        (value, 3, None, None),
    ]


def test_any_number_of_columns_may_be_null() -> None:
    for width in range(1, 20):
        types = {f"c{n}": "int" for n in range(width)}
        rows: list[Row] = [
            tuple(None if place == one else b"%d" % one for place in range(width)) for one in range(width)
        ]
        found = decoded(types, *rows)
        wanted = [[None if place == one else one for place in range(width)] for one in range(width)]
        assert [[row[name] for name in types] for row in found] == wanted


@pytest.mark.parametrize(
    "day",
    [
        b"0000-00-00",
        b"2026-00-10",
        b"2026-10-00",
        b"0000-05-01",
        b"2026-02-29",
        b"1900-02-29",
        b"2026-04-31",
        b"2026-13-01",
        b"2026-16-01",
        b"2026-255-01",
        b"2026-01-32",
        b"2026-01-255",
    ],
)
@pytest.mark.parametrize("kind", ["date", "datetime(3)", "timestamp"])
def test_a_day_no_calendar_has_rejects_its_row(kind: str, day: bytes) -> None:
    found = decoded({"id": "int", "v": kind}, (b"1", b"2026-01-31"), (b"2", day), (b"3", None))
    shown = {"date": "", "datetime(3)": " 00:00:00.000", "timestamp": " 00:00:00"}[kind]
    assert [values["_rejected"] and values["_rejected"]["reason"] for values in found] == [
        None,
        f"v: not a date: {day.decode()}{shown}",
        None,
    ]
    assert [values["v"] is None for values in found] == [False, True, True]


def test_zero_dates_are_null_where_the_spec_says_so() -> None:
    types = {"id": "int", "v": "date"}
    days: list[Row] = [(b"1", b"0000-00-00"), (b"2", b"2026-00-10"), (b"3", b"2026-10-00"), (b"4", b"2026-02-30")]
    found = decoded(types, *days, (b"5", b"2026-02-28"), zero_dates="null")
    assert [values["v"] for values in found] == [None, None, None, None, date(2026, 2, 28)]
    # A day that February does not have is no zero.
    assert [bool(values["_rejected"]) for values in found] == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("kind", "is_now", "text"),
    [
        ("tinyint", "smallint", b"128"),
        ("int", "bigint", b"2147483648"),
        ("bigint", "bigint unsigned", b"9223372036854775808"),
        ("int", "text", b""),
        ("int", "text", b"1 "),
        ("int", "date", b"2026-01-01"),
        ("int", "double", b"1.5"),
        ("decimal(4,2)", "decimal(5,2)", b"100.00"),
        ("decimal(4,2)", "decimal(4,3)", b"1.005"),
        ("double", "text", b"1,5"),
        ("date", "text", b"2026-01-01"),
        ("datetime", "bigint", b"1"),
        ("varchar(9)", "datetime", b"2026-01-01"),
        ("varchar(9)", "time", b"2026-01-01"),
        ("blob", "bigint", b"1"),
    ],
)
def test_a_value_beyond_its_planned_type_ends_the_read_and_is_not_shown(kind: str, is_now: str, text: bytes) -> None:
    with pytest.raises(ServiceError, match="column 'v' has a value that is not of its planned type ") as caught:
        decoded({"id": "int", "v": kind}, (b"1", text), kinds={"v": is_now})
    assert not text.strip() or text.decode() not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("kind", "is_now", "text", "value"),
    [
        ("int", "bigint", b"7", 7),
        ("bigint", "smallint", b"7", 7),
        ("int", "varchar(9)", b"7", 7),
        ("decimal(9,2)", "decimal(12,2)", b"7.50", Decimal("7.50")),
        ("varchar(9)", "int", b"7", "7"),
    ],
)
def test_a_column_that_became_another_is_read_where_its_values_are_the_planned(
    kind: str, is_now: str, text: bytes, value: object
) -> None:
    """The reader looks at the columns once more afterwards."""
    [found] = decoded({"id": "int", "v": kind}, (b"1", text), kinds={"v": is_now})
    assert found["v"] == value


def test_other_columns_than_were_asked_for_are_no_answer() -> None:
    decoder = RowDecoder(columns(id="int", note="text"))
    with pytest.raises(ProtocolError, match="1 columns where 2 were asked for"):
        decoder.batch(block(["int"], (b"1",)), [sent("int")])


def test_text_that_is_no_utf_8_rejects_its_row() -> None:
    found = decoded({"id": "int", "v": "varchar(9)"}, (b"1", "é".encode()), (b"2", b"a\xff"), (b"3", None))
    assert [values["v"] for values in found] == ["é", None, None]
    assert [values["_rejected"] for values in found] == [
        None,
        {"reason": "v: not text in UTF-8", "record": '{"id":"2","v":"a\ufffd"}'},
        None,
    ]


def test_a_row_without_a_required_value_is_rejected_for_that_first() -> None:
    types = {"id": "int", "at": "datetime", "secret": "date"}
    rows: list[Row] = [(b"1", None, b"0000-00-00"), (b"2", None, None), (b"3", b"2026-01-01 00:00:00", None)]
    found = decoded(types, *rows, required="at", masked_columns={"secret"})
    assert [values["_rejected"] and values["_rejected"]["reason"] for values in found] == [
        "at: NULL, so no window holds the row; secret: not a date",
        "at: NULL, so no window holds the row",
        None,
    ]


def test_a_record_holds_each_value_as_it_always_stood_there() -> None:
    types = {
        "day": "date",
        'a`"b': "int(8) unsigned zerofill",
        "money": "decimal(8,2) zerofill",
        "tiny": "decimal(38,30)",
        "rate": "double",
        "raw": "blob",
        "note": "text",
        "none": "int",
    }
    values = (
        b"0000-00-00",
        b"42",
        b"000001.50",
        b"0." + b"0" * 29 + b"1",
        b"1e-10",
        b"\xff",
        b'"\\\x01\n\xe2\x82\xac',
        None,
    )
    [found] = decoded(types, values)
    assert found["_rejected"]["record"] == (
        '{"day":"0000-00-00","a`\\"b":"42","money":"1.50","tiny":"0.000000000000000000000000000001","rate":"1.0E-10",'
        '"raw":"/w==","note":"\\"\\\\\\u0001\\n€","none":null}'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        (1e-3, "0.001"),
        (9.99e-4, "9.99E-4"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (-123456789.25, "-1.2345678925E8"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
    ],
)
def test_doubles_stand_as_java_writes_them(value: float, text: str) -> None:
    assert java_double(value) == text


def test_the_schema_is_that_of_the_batches() -> None:
    decoder = RowDecoder(columns(id="bigint unsigned", seen="timestamp(3)"), fingerprint="columns")
    assert decoder.schema.names == ["id", "seen", "_rejected", "_fingerprint"]
    assert decoder.schema.field("id").type == pa.decimal128(20, 0)
    kinds = ["bigint unsigned", "timestamp(3)", "varchar(16)"]
    rows = block(kinds, (b"1", None, b"0" * 16))
    assert decoder.batch(rows, [sent(kind) for kind in kinds]).schema == decoder.schema
