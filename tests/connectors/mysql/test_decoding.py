"""Rows made by hand become Arrow values, exactly, or are rejected in the words they always were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from connectors.base import Column
from connectors.errors import ServiceError
from connectors.mysql.column_types import column_type
from connectors.mysql.decoding import RowDecoder
from connectors.mysql.rejections import java_double
from connectors.mysql.wire import SLACK_BYTES, Block
from tests.connectors.mysql.test_wire import Row, row


def block(*rows: Row) -> Block:
    packets = [row(*values) for values in rows]
    lengths = np.array([len(packet) for packet in packets], dtype=np.int64)
    ends = np.cumsum(lengths)
    return Block(np.frombuffer(b"".join(packets) + bytes(SLACK_BYTES), np.uint8), ends - lengths, ends)


def columns(**types: str) -> list[Column]:
    return [
        Column(name=name, source_type=kind, spark_type=column_type(kind).spark_type) for name, kind in types.items()
    ]


def decoded(types: dict[str, str], *rows: Row, **more: Any) -> list[dict[str, Any]]:
    batch = RowDecoder(columns(**types), **more).batch(block(*rows))
    batch.validate(full=True)
    found: list[dict[str, Any]] = batch.to_pylist()
    return found


def test_nothing_of_a_block_is_kept_in_a_batch() -> None:
    """The next block overwrites it."""
    data = bytearray(row(b"7", b"ab", b"2026-01-01", b"\0\1") * 3 + bytes(SLACK_BYTES))
    width = len(row(b"7", b"ab", b"2026-01-01", b"\0\1"))
    starts = np.arange(0, 3 * width, width)
    decoder = RowDecoder(columns(a="int", b="varchar(9)", c="date", d="blob"))
    batch = decoder.batch(Block(np.frombuffer(data, np.uint8), starts, starts + width))
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
    ("kind", "text"),
    [
        ("tinyint", b"128"),
        ("int", b"2147483648"),
        ("bigint", b"9223372036854775808"),
        ("int", b""),
        ("int", b"1 "),
        ("decimal(4,2)", b"100.00"),
        ("decimal(4,2)", b"1.005"),
        ("double", b"1,5"),
        ("date", b"2026-1-1-"),
    ],
)
def test_a_value_beyond_its_planned_type_ends_the_read_and_is_not_shown(kind: str, text: bytes) -> None:
    with pytest.raises(ServiceError, match="column 'v' holds a value that is no ") as caught:
        decoded({"id": "int", "v": kind}, (b"1", b"1"), (b"1", text))
    assert not text.strip() or text.decode() not in str(caught.value)
    assert caught.value.__cause__ is None


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
    found = decoded(types, *rows, required="at", hidden={"secret"})
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
        b"00000042",
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
    decoder = RowDecoder(columns(id="bigint unsigned", seen="timestamp(3)"), proved=True)
    assert decoder.schema.names == ["id", "seen", "_rejected", "_fingerprint"]
    assert decoder.schema.field("id").type == pa.decimal128(20, 0)
    assert decoder.batch(block((b"1", None, b"0" * 16))).schema == decoder.schema
