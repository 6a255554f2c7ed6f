"""Names, values and windows of any text: quoted they are what they were, else they are refused and sent nowhere.

The texts come from a generator with a fixed seed, over the characters that end quotes, comments and statements.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from connectors.base import Window
from connectors.errors import LakeferryError, ObjectNotFound, SpecError, UsageError
from connectors.mysql import MySQLOptions
from connectors.mysql.schema.tables import TableName
from connectors.mysql.sql import LiteralKind, literal, quote_identifier, quote_table
from connectors.mysql.windows.cursors import Cursor
from connectors.mysql.windows.window import requested_window
from jobs.launch.commands import plan_command
from jobs.spec.models import PipelineSpec
from lakeferry_airflow.windows import requested
from tests.connectors.mysql.conftest import Server
from tests.support.mysql.cutting_proxy import CuttingProxy

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QUOTES = ["`", "``", "'", "''", '"', "\\", "\\'", "x'41'"]
ENDS = [";", "--", "-- ", "#", "/*", "*/", "/*!", "(", ")", ",", ".", "=", "|", "||", "&", "~", "{", "}"]
BLANKS = [" ", "\t", "\n", "\r", "\u3000", "\x01", "\x1a", "\x7f"]
MARKS = ["%", "%s", "%%", "?", ":p", "$1", "@", "@@"]
WORDS = ["select", "FROM", "null", "key", "1e5", "0x41", "DROP TABLE t", "日本", "円", "ﾊﾝｶｸ", "\uffff"]
PIECES = [*QUOTES, *ENDS, *BLANKS, *MARKS, *WORDS]
TABLES, COLUMNS = 12, 12
MODES = ("", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI,NO_BACKSLASH_ESCAPES", "TRADITIONAL", "HIGH_NOT_PRECEDENCE")


def nasty(chance: random.Random, most: int) -> str:
    """A text of at most that many characters which no server refuses as a name for its last one."""
    text = "".join(chance.choices(PIECES, k=chance.randint(1, 12)))[:most].rstrip(" \t\n\r")
    return text or "`"


@pytest.mark.parametrize("seed", [1, 2])
def test_names_of_any_text_are_read_as_they_are(server: Server, spark: SparkSession, seed: int) -> None:
    chance = random.Random(seed)
    ours = server.database.replace("mysql_tests", "hostile") + f" `{seed}` ;"
    server.run(f"CREATE DATABASE {quote_identifier(ours)} CHARACTER SET utf8mb4", None)
    try:
        for number in range(TABLES):
            # A number in front: two names that differ in case or accents alone are one to the server.
            table = TableName(ours, f"{number}{nasty(chance, 40)}")
            names = [f"{n}{nasty(chance, 60)}" for n in range(COLUMNS)]
            key, cursor, *others = names
            columns = [f"{quote_identifier(key)} INT PRIMARY KEY", f"{quote_identifier(cursor)} DATETIME NOT NULL"]
            columns += [f"{quote_identifier(name)} VARCHAR(20)" for name in others]
            server.run(f"CREATE TABLE {table.quoted} ({', '.join(columns)})")
            written = [(row, datetime(2026, 1, 1, row), *(f"{row}/{n}" for n in range(len(others)))) for row in (1, 2)]
            into = f"INSERT INTO {table.quoted} VALUES ".replace("%", "%%")
            for row in written:
                server.run(f"{into}({', '.join(['%s'] * COLUMNS)})", row)
            dataset = server.dataset(str(table), cursor, key=(key,))
            source = server.source(rows_per_slice=1)
            plan = source.plan(dataset, None, None)
            assert [column.name for column in plan.columns] == names
            assert source.describe(dataset).primary_key == (key,)
            assert sum(source.count(dataset, plan).values()) == 2
            if number < 2:
                read = source.read(spark, dataset, plan)
                assert read.columns[:COLUMNS] == names
                assert sorted(tuple(row)[:COLUMNS] for row in read.collect()) == written
    finally:
        server.run(f"DROP DATABASE {quote_identifier(ours)}")


def test_a_table_is_named_with_anything_in_backquotes() -> None:
    chance = random.Random(3)
    for _ in range(500):
        table = TableName(nasty(chance, 64), nasty(chance, 64))
        assert TableName.parse(str(table)) == table
        assert MySQLOptions(table=str(table)).table == str(table)
        assert table.quoted == quote_table(table.database, table.name)
    assert str(TableName("shop", "payments")) == "shop.payments"
    assert TableName.parse("`my.db`.`ta``ble`") == TableName("my.db", "ta`ble")


@pytest.mark.parametrize("text", ["a.b.c", "`a.b`", "`a`b.c", "a.`b", "a.``", "a.`b``", f"a.{'b' * 65}", "a.`b\0`"])
def test_a_name_that_says_two_things_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match=r"a table is written database\.table.*in backquotes"):
        MySQLOptions(table=text)


@pytest.mark.parametrize("name", ["", "a\0b", "\0", "a" * 65, "日" * 65, "half \ud83d", "\udea2"])
def test_what_can_be_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not an identifier"):
        quote_identifier(name)


def test_a_name_of_four_bytes_a_character_is_one_on_tidb_and_none_on_mariadb(aurora: Server, tidb: Server) -> None:
    tidb.run(f"CREATE TABLE {tidb.database}.`船🚢` (`🚢` INT PRIMARY KEY)")
    dataset = tidb.dataset(f"{tidb.database}.船🚢")
    assert [column.name for column in tidb.source().plan(dataset, None, None).columns] == ["🚢"]
    with pytest.raises(ObjectNotFound, match=r"船🚢 is not there: .* allows no character beyond U\+FFFF in a name"):
        aurora.source().describe(aurora.dataset(f"{aurora.database}.船🚢"))


def numbers(chance: random.Random) -> tuple[str, object]:
    scale = chance.choice([0, 0, 1, 30])
    digits = str(chance.randint(1, 9)) + "".join(chance.choices(string.digits, k=chance.randint(0, 64 - scale)))
    text = chance.choice(["", "-"]) + digits
    text += "." + "".join(chance.choices(string.digits, k=scale)) if scale else ""
    return text, Decimal(text)


def dates(chance: random.Random) -> tuple[str, object]:
    day = date.fromordinal(chance.randint(date(1000, 1, 1).toordinal(), date.max.toordinal()))
    return day.isoformat(), day


def datetimes(chance: random.Random) -> tuple[str, object]:
    day = date.fromordinal(chance.randint(date(1000, 1, 1).toordinal(), date.max.toordinal()))
    moment = datetime(day.year, day.month, day.day, chance.randrange(24), chance.randrange(60), chance.randrange(60))
    moment = moment.replace(microsecond=chance.choice([0, 1, 999_999, chance.randrange(1_000_000)]))
    return moment.isoformat(sep=" ", timespec="microseconds"), moment


def texts(chance: random.Random) -> tuple[str, object]:
    text = "".join(chance.choices([*PIECES, "\0", "🚢", "é", "e\u0301", "\u202e", ""], k=chance.randint(0, 30)))
    return text, text


def binaries(chance: random.Random) -> tuple[str, object]:
    content = chance.randbytes(chance.randint(0, 40))
    return content.hex(), content


@pytest.mark.parametrize(
    ("kind", "made"),
    [("number", numbers), ("date", dates), ("datetime", datetimes), ("string", texts), ("binary", binaries)],
)
def test_every_value_reaches_the_server_as_it_is_in_every_sql_mode(
    server: Server, kind: LiteralKind, made: Callable[[random.Random], tuple[str, object]]
) -> None:
    chance = random.Random(5)
    try:
        for mode in MODES:
            server.run(f"SET sql_mode = '{mode}'")
            pairs = [made(chance) for _ in range(100)]
            literals = [literal(kind, text) for text, _ in pairs]
            [row] = server.run(f"SELECT {', '.join(literals)}")
            assert list(row) == [value for _, value in pairs]
    finally:
        server.run("SET sql_mode = ''")


def test_what_is_no_value_of_its_kind_is_no_literal() -> None:
    chance = random.Random(7)
    kinds: tuple[LiteralKind, ...] = ("number", "date", "datetime", "binary")
    for _ in range(2_000):
        good = {"number": "12.5", "date": "2026-01-02", "datetime": "2026-01-02 03:04:05.6", "binary": "00ff"}
        for kind in kinds:
            at = chance.randint(0, len(good[kind]))
            text = good[kind][:at] + chance.choice([*PIECES, "\0", "\n", "１", "²"]) + good[kind][at:]
            with pytest.raises(UsageError):
                literal(kind, text)
    for text in ("9" * 66, "9" * 36 + "." + "9" * 30, "-", "--1", "1.", ".5", "1e5", "NaN", "0x10", "1\n", ""):
        with pytest.raises(UsageError):
            literal("number", text)
    with pytest.raises(UsageError, match="half a character"):
        literal("string", "\ud83d")


def test_a_window_is_times_or_is_refused() -> None:
    chance = random.Random(11)
    cursor, end = Cursor("updated_at", "datetime"), "2026-11-23 00:00:00.000000"
    taken = 0
    for _ in range(5_000):
        good = chance.choice(["2026-11-20T10:00:00+09:00", "2026-11-20", "2026-11-20T10:00:00.123456Z"])
        at = chance.randint(0, len(good))
        text = chance.choice([nasty(chance, 40), good[:at] + nasty(chance, 9) + good[at:]])
        try:
            window = requested_window(cursor, Window(start=text, end=None), end, "now")
        except UsageError:
            continue
        # What is taken is a time, and leaves as one.
        taken += 1
        assert window.start is not None
        assert literal("datetime", window.start) == f"TIMESTAMP'{window.start}'"
        assert datetime.fromisoformat(window.start).tzinfo is None
    assert taken > 20


@pytest.mark.parametrize("which", ["start", "end"])
def test_no_statement_carries_a_window_that_is_none(aurora: Server, which: str) -> None:
    chance = random.Random(13)
    table = aurora.table("id INT PRIMARY KEY, updated_at DATETIME NOT NULL, KEY (updated_at)")
    dataset = aurora.dataset(table, "updated_at")
    proxy = CuttingProxy(aurora.connection.host or "", aurora.connection.port or 0)
    try:
        source = aurora.source(connection=replace(aurora.connection, port=proxy.port))
        for _ in range(25):
            text = f"2026-11-20' mark {nasty(chance, 40)}"
            with pytest.raises(UsageError, match=f"window {which} .* is not an ISO 8601 time") as caught:
                source.plan(dataset, None, Window.model_validate({which: text}))
            assert (caught.value.pipeline, caught.value.dataset) == ("tests", "things")
        assert len(proxy.statements) > 25
        assert not [statement for statement in proxy.statements if "mark" in statement]
    finally:
        proxy.close()


def test_datasets_are_asked_for_by_name_only() -> None:
    spec = PipelineSpec.model_validate(
        {
            "pipeline": "shop",
            "source": {"type": "aurora", "connection": "shop"},
            "datasets": [{"name": "payments", "write_disposition": "replace", "bigquery": {"table": "a.b"}}],
        }
    )
    chance = random.Random(17)
    for _ in range(500):
        with pytest.raises(SpecError, match="no dataset") as caught:
            spec.dataset(nasty(chance, 40))
        assert isinstance(caught.value, LakeferryError)
        assert caught.value.choices == ("payments",)


@pytest.mark.parametrize("key", ["start", "end", "datasets"])
def test_a_triggers_conf_is_times_or_numbers_and_known_datasets_or_is_refused(key: str) -> None:
    chance = random.Random(19)
    others: list[object] = [
        5,
        1.5,
        True,
        [],
        ["2026"],
        {},
        {"a": 1},
        "2026-11-20\0",
        "９９９９-01-01",
        "now()",
        "0000-00-00",
    ]
    texts_given: list[object] = [nasty(chance, 40) for _ in range(2_000)]
    for given in others + texts_given:
        conf = {key: [given] if key == "datasets" else given}
        try:
            request = requested("shop", ("payments",), conf, conf, None)
        except UsageError:
            continue
        asked = [text for text in (request.start, request.end) if text is not None]
        assert all(re.fullmatch("-?[0-9]{1,20}", text) or datetime.fromisoformat(text) for text in asked)
        assert request.datasets == () or set(request.datasets) == {"payments"}


def test_what_looks_like_an_option_stays_a_value() -> None:
    command = plan_command("shop", "--end=2027", start="--end", datasets=("--start=2020",))
    assert command[2:] == ["--pipeline=shop", "--run-id=--end=2027", "--start=--end", "--dataset=--start=2020"]
