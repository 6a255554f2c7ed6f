"""The fingerprint of rows, made by Arrow and by Google's own SQL engine: of every type, hard values and their text."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from threading import Event, Thread
from typing import Any

import pyarrow as pa
import pytest
from zetasql.api import CatalogBuilder, PreparedQuery
from zetasql.types import AnalyzerOptions, LanguageOptions, ZetaSQLBuiltinFunctionOptions

from connectors.bigquery import fingerprints, statements
from connectors.bigquery.arrow_fingerprints import TransportHash
from connectors.bigquery.columns import WarehouseColumn
from connectors.bigquery.statements import Target

# staged type, Arrow's type, [(value as text, value, canonical text)]
HARD: list[tuple[str, pa.DataType, list[tuple[str, Any, str]]]] = [
    ("INT64", pa.int32(), [("0", 0, "0"), ("-2147483648", -(2**31), "-2147483648")]),
    (
        "INT64",
        pa.int64(),
        [
            ("9223372036854775807", 2**63 - 1, "9223372036854775807"),
            ("-9223372036854775808", -(2**63), "-9223372036854775808"),
        ],
    ),
    ("BOOL", pa.bool_(), [("true", True, "true"), ("false", False, "false")]),
    (
        "DATE",
        pa.date32(),
        [
            ("0001-01-01", date(1, 1, 1), "-719162"),
            ("1969-12-31", date(1969, 12, 31), "-1"),
            ("9999-12-31", date(9999, 12, 31), "2932896"),
        ],
    ),
    (
        "DATETIME",
        pa.timestamp("us"),
        [
            ("0001-01-01 00:00:00", datetime(1, 1, 1), "-62135596800000000"),
            ("1969-12-31 23:59:59.999999", datetime(1969, 12, 31, 23, 59, 59, 999999), "-1"),
            ("2026-03-29 02:30:00", datetime(2026, 3, 29, 2, 30), "1774751400000000"),
            ("9999-12-31 23:59:59.999999", datetime(9999, 12, 31, 23, 59, 59, 999999), "253402300799999999"),
        ],
    ),
    (
        "TIMESTAMP",
        pa.timestamp("us", tz="UTC"),
        [
            ("0001-01-01 00:00:00.000001+00", datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC), "-62135596799999999"),
            ("2026-11-01 14:30:00.123+09", datetime(2026, 11, 1, 5, 30, 0, 123000, UTC), "1793511000123000"),
        ],
    ),
    (
        "NUMERIC",
        pa.decimal128(18, 2),
        [
            ("0", Decimal("0.00"), "0"),
            ("100", Decimal("100.00"), "100000000000"),
            ("1.5", Decimal("1.50"), "1500000000"),
            ("-0.01", Decimal("-0.01"), "-10000000"),
            ("9000000000", Decimal("9000000000.00"), "9000000000000000000"),
            ("9000000000.01", Decimal("9000000000.01"), "9000000000.01"),
            ("-9000000000.5", Decimal("-9000000000.50"), "-9000000000.5"),
            ("-9999999999999999.99", Decimal("-9999999999999999.99"), "-9999999999999999.99"),
        ],
    ),
    (
        "NUMERIC",
        pa.decimal128(38, 9),
        [
            ("0", Decimal("0"), "0"),
            ("1", Decimal("1"), "1000000000"),
            ("-12345678.1", Decimal("-12345678.1"), "-12345678100000000"),
            ("-0.000000001", Decimal("-0.000000001"), "-1"),
            ("8999999999.999999999", Decimal("8999999999.999999999"), "8999999999999999999"),
            ("-8999999999.500000001", Decimal("-8999999999.500000001"), "-8999999999500000001"),
            ("9" * 29 + ".999999999", Decimal("9" * 29 + ".999999999"), "9" * 29 + ".999999999"),
        ],
    ),
    (
        "NUMERIC",
        pa.decimal128(20, 0),
        [
            ("0", Decimal(0), "0"),
            ("42", Decimal(42), "42000000000"),
            ("18446744073709551615", Decimal(2**64 - 1), "18446744073709551615."),
        ],
    ),
    (
        "BIGNUMERIC",
        pa.decimal128(38, 20),
        [
            ("1", Decimal("1"), "1."),
            ("0.00000000000000000001", Decimal("1e-20"), "0.00000000000000000001"),
            (
                "-123456789012345678.12345678901234567891",
                Decimal("-123456789012345678.12345678901234567891"),
                "-123456789012345678.12345678901234567891",
            ),
        ],
    ),
    (
        "BIGNUMERIC",
        pa.decimal128(38, 38),
        [("-0.5", Decimal("-0.5"), "-0.5"), ("0." + "0" * 37 + "1", Decimal("1e-38"), "0." + "0" * 37 + "1")],
    ),
    ("BIGNUMERIC", pa.decimal128(38, 0), [("-" + "9" * 38, Decimal("-" + "9" * 38), "-" + "9" * 38 + ".")]),
    (
        "FLOAT64",
        pa.float64(),
        [
            ("0", 0.0, "0"),
            ("-0.0", -0.0, "0"),
            ("0.1", 0.1, "1.0000000000000001e-01"),
            ("-123456789", -123456789.0, "-1.2345678900000000e+08"),
            ("5e-324", 5e-324, "4.9406564584124654e-324"),
            ("1.7976931348623157e308", 1.7976931348623157e308, "1.7976931348623157e+308"),
            ("inf", float("inf"), "inf"),
            ("-inf", float("-inf"), "-inf"),
            ("nan", float("nan"), "nan"),
        ],
    ),
    ("FLOAT64", pa.float32(), [("0.10000000149011612", 0.1, "1.0000000149011612e-01")]),
    (
        "STRING",
        pa.string(),
        [
            ("", "", "0|"),
            ("a ", "a ", "2|a "),
            ("~", "~", "1|~"),
            ("x|1|y", "x|1|y", "5|x|1|y"),
            ("寿司 🍣", "寿司 🍣", "11|寿司 🍣"),
            ("e\u0301", "e\u0301", "3|e\u0301"),
            ('it\'s "raw"\\\n', 'it\'s "raw"\\\n', '12|it\'s "raw"\\\n'),
        ],
    ),
    ("BYTES", pa.binary(), [("", b"", ""), ("00ff", b"\x00\xff", "00ff"), ("7e", b"~", "7e")]),
]
NAMES = [f"{kind} {arrow}" for kind, arrow, _ in HARD]


def literal(kind: str, text: str) -> str:
    """The value in GoogleSQL."""
    if kind == "STRING":
        return statements.text(text)
    return f"FROM_HEX('{text}')" if kind == "BYTES" else f"CAST('{text}' AS {kind})"


def number(text: str) -> int:
    """The hash of one row with this canonical text."""
    return int(hashlib.md5(text.encode()).hexdigest()[:15], 16)


def null(kind: str) -> str:
    """The canonical text of NULL."""
    return "~|~" if kind == "STRING" else "~"


def total(*pieces: pa.Table, kinds: list[str]) -> int:
    made = TransportHash([WarehouseColumn(f"c{place}", kind) for place, kind in enumerate(kinds)])
    for piece in pieces:
        made.add(piece)
    return made.total()


Evaluate = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="session")
def evaluated(googlesql: None) -> Evaluate:
    """Runs a query in ZetaSQL; its answers are texts and whole numbers."""
    language = LanguageOptions.maximum_features()
    functions = ZetaSQLBuiltinFunctionOptions(language_options=language)
    catalog = CatalogBuilder("warehouse").with_builtin_functions(functions).build()
    options = AnalyzerOptions(language_options=language)

    def run(sql: str) -> list[tuple[Any, ...]]:
        builder = PreparedQuery.builder().set_sql(sql).set_analyzer_options(options).set_catalog(catalog)
        with builder.prepare() as query:
            rows = query.execute().content.table_data.row
        return [
            tuple(cell.int64_value if cell.string_value is None else cell.string_value for cell in row.cell)
            for row in rows
        ]

    return run


@pytest.mark.parametrize(("kind", "arrow", "values"), HARD, ids=NAMES)
def test_a_value_on_its_way_has_the_hash_of_its_canonical_text(
    kind: str, arrow: pa.DataType, values: list[tuple[str, Any, str]]
) -> None:
    array = pa.array([None, *(value for _, value, _ in values)], arrow)
    made = [total(pa.table([array.slice(place, 1)], ["x"]), kinds=[kind]) for place in range(len(array))]
    assert made == [number(null(kind)), *(number(text) for _, _, text in values)]
    assert total(pa.table([array], ["x"]), kinds=[kind]) == sum(made)


@pytest.mark.parametrize(("kind", "arrow", "values"), HARD, ids=NAMES)
def test_bigquery_makes_the_same_hash_of_a_value(
    evaluated: Evaluate, kind: str, arrow: pa.DataType, values: list[tuple[str, Any, str]]
) -> None:
    given = ", ".join([f"CAST(NULL AS {kind})", *(literal(kind, text) for text, _, _ in values)])
    asked = f"SELECT {fingerprints.row_hash([('x', kind)])} FROM UNNEST([{given}]) AS x WITH OFFSET AS place"
    answers = [answer for (answer,) in evaluated(f"{asked} ORDER BY place")]
    assert answers == [number(null(kind)), *(number(text) for _, _, text in values)]


def test_any_double_has_one_text_on_both_sides(evaluated: Evaluate) -> None:
    chance = random.Random(20261123)
    values = [struct.unpack("<d", chance.randbytes(8))[0] for _ in range(500)]
    values += [chance.uniform(-1, 1) * 10 ** chance.randrange(-20, 20) for _ in range(500)]
    given = ", ".join(f"CAST('{value!r}' AS FLOAT64)" for value in values)
    asked = f"SELECT {fingerprints.row_hash([('x', 'FLOAT64')])} FROM UNNEST([{given}]) AS x WITH OFFSET AS place"
    answers = [answer for (answer,) in evaluated(f"{asked} ORDER BY place")]
    assert answers == [total(pa.table([pa.array([v], pa.float64())], ["x"]), kinds=["FLOAT64"]) for v in values]


def test_any_numeric_has_one_text_on_both_sides(evaluated: Evaluate) -> None:
    chance = random.Random(20261127)
    values = [Decimal(chance.randrange(-(10**20), 10**20)).scaleb(-9) for _ in range(300)]
    values += [Decimal(chance.randrange(-(10**digits), 10**digits)).scaleb(-9) for digits in range(1, 38)] * 5
    # Halves and whole numbers are where a double may fall on the other side.
    values += [
        Decimal(chance.randrange(-(2 * 10**10), 2 * 10**10)) / 2 + Decimal(n).scaleb(-9) for n in (-1, 0, 1) * 99
    ]
    given = ", ".join(f"NUMERIC '{value:f}'" for value in values)
    asked = f"SELECT {fingerprints.row_hash([('x', 'NUMERIC')])} FROM UNNEST([{given}]) AS x WITH OFFSET AS place"
    answers = [answer for (answer,) in evaluated(f"{asked} ORDER BY place")]
    array = pa.array(values, pa.decimal128(38, 9))
    assert answers == [total(pa.table([array.slice(n, 1)], ["x"]), kinds=["NUMERIC"]) for n in range(len(values))]
    assert sum(answers) == total(pa.table([array], ["x"]), kinds=["NUMERIC"])


def test_the_census_sums_rows_of_every_type_as_they_were_summed_on_their_way(evaluated: Evaluate) -> None:
    kinds = [kind for kind, _, _ in HARD]
    columns = tuple(WarehouseColumn(f"c{place}", kind) for place, kind in enumerate(kinds))
    rows = [[values[row % len(values)] for _, _, values in HARD] for row in range(40)]
    literals = [
        ", ".join(
            f"{literal(kind, text)} AS c{n}" for n, (kind, (text, _, _)) in enumerate(zip(kinds, row, strict=True))
        )
        for row in rows
    ]
    staging = " UNION ALL ".join(f"SELECT {row}" for row in literals)
    asked = statements.census(Target("`t`", columns, ("c0",)), f"({staging})", None, hashed=True)
    ((count, unkeyed, outside, *parts),) = evaluated(asked)

    arrays = [pa.array([row[n][1] for row in rows], arrow) for n, (_, arrow, _) in enumerate(HARD)]
    table = pa.table(arrays, [column.name for column in columns])
    expected = sum(number("|".join(text for _, _, text in row)) for row in rows)
    assert (count, unkeyed, outside) == (40, 0, 0)
    assert fingerprints.total(parts) == expected
    assert total(table, kinds=kinds) == expected
    assert total(table.slice(17), table.slice(0, 17), kinds=kinds) == expected


def test_the_census_of_no_rows_is_nought(evaluated: Evaluate) -> None:
    target = Target("`t`", (WarehouseColumn("a", "INT64"),))
    asked = statements.census(target, "(SELECT 1 AS a FROM UNNEST([1]) WHERE FALSE)", None, hashed=True)
    assert evaluated(asked) == [(0, 0, 0, 0, 0, 0, 0)]


def test_rows_that_look_alike_are_told_apart() -> None:
    def made(*row: str | None) -> int:
        return total(pa.table([pa.array([value], pa.string()) for value in row], ["a", "b"]), kinds=["STRING"] * 2)

    assert made("x|1|y", None) == number("5|x|1|y|~|~")
    alike = [("a", "b"), ("b", "a"), ("a|1|b", ""), ("", "a|1|b"), ("a", None), ("a", ""), ("a", "~"), (None, "a")]
    assert len({made(*row) for row in alike}) == len(alike)


def test_wide_rows_are_taken_in_small_pieces() -> None:
    texts = ["x" * 3_000_000] * 20
    assert total(pa.table([pa.array(texts, pa.string())], ["a"]), kinds=["STRING"]) == 20 * number(
        "3000000|" + texts[0]
    )


def test_rows_that_wait_to_be_hashed_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = pa.table([pa.array(range(1000), pa.int64())], ["a"])
    monkeypatch.setattr("connectors.bigquery.arrow_fingerprints.WAITING_BYTES", 3 * piece.nbytes)
    going = Event()
    real = TransportHash._sum

    def slow(self: TransportHash, rows: pa.Table) -> int:
        going.wait(10)
        return real(self, rows)

    monkeypatch.setattr(TransportHash, "_sum", slow)
    made = TransportHash([WarehouseColumn("a", "INT64")])
    for _ in range(3):
        made.add(piece)
    fourth = Thread(target=made.add, args=[piece])
    fourth.start()
    fourth.join(0.2)
    assert fourth.is_alive(), "a fourth piece is not taken in before one of the three is hashed"
    going.set()
    fourth.join(10)
    assert made.total() == 4 * sum(number(str(value)) for value in range(1000))
