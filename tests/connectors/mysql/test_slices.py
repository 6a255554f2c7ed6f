"""A read is cut into slices of about equal size that hold every row once."""

from __future__ import annotations

import re
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from connectors.base import ReadPlan
from connectors.mysql.dialects.dialects import InnoDB, TiDB
from connectors.mysql.schema.tables import TableName, describe_table
from connectors.mysql.sessions.session import Session, open_session
from connectors.mysql.slicing.key_boundaries import find_boundaries
from connectors.mysql.slicing.key_index import KeyIndex, key_columns
from connectors.mysql.slicing.key_interpolation import KeySpace
from connectors.mysql.slicing.row_estimates import NoEstimate
from connectors.mysql.slicing.split import WindowRows, slice_predicate, split
from jobs.lake.spark_session import session_options
from tests.connectors.mysql.conftest import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyspark.sql import SparkSession

    from jobs.runtime.settings import Settings

KEYS: dict[str, tuple[str, Sequence[object]]] = {
    # Nine keys close together and one far away: arithmetic between least and greatest would put nine into one slice.
    "skewed": ("BIGINT UNSIGNED", [1, 2, 3, 4, 5, 6, 7, 8, 9, 2**64 - 1]),
    "negative": ("BIGINT", [-(2**63), -5, -4, -1, 0, 1, 2, 3, 2**62, 2**63 - 1]),
    "decimal": ("DECIMAL(30,3)", [f"{n}.125" for n in range(-5, 5)]),
    "text": ("VARCHAR(20)", ["a", "b'", "c\\", "d`", "日", "🚢", " e", "f%", "g\n", ""]),
    "bytes": ("VARBINARY(8)", [bytes([n, 0, 39, 92]) for n in range(250, 256)] + [b"", b"'", b"\\", b"\0"]),
    "padded bytes": ("BINARY(4)", [bytes([n, 0]) for n in range(250, 256)] + [b"", b"'", b"\\", b"\1"]),
    "times": ("DATETIME(6)", [f"2026-03-08 02:30:00.00000{n}" for n in range(10)]),
    "instants": ("TIMESTAMP(3)", [f"2026-11-01 0{n}:30:00.5" for n in range(9)] + ["1970-01-01 00:00:01"]),
    "days": ("DATE", [f"2026-03-0{n}" for n in range(1, 9)] + ["0001-01-01", "0000-00-00"]),
}

SHAPES: dict[str, tuple[str, str]] = {
    "holes": ("id BIGINT PRIMARY KEY, v VARCHAR(200)", "n * n, REPEAT('x', n % 2 * 150)"),
    "wide and narrow": ("id BIGINT PRIMARY KEY, v VARCHAR(1000)", "n, REPEAT('x', 10 + 500 * (n > 30000))"),
    "clusters": (
        "id BIGINT UNSIGNED PRIMARY KEY",
        "CASE WHEN n < 1000 THEN n WHEN n < 30000 THEN 1000000000000 + n"
        " WHEN n = 30000 THEN 18446744073709551615 ELSE 9223372036854775808 + n END",
    ),
    "ever denser": ("id BIGINT PRIMARY KEY", "FLOOR(POW(n / 60000.0, 8) * 9e18) + n"),
    "one heavy first column": ("a INT, b INT, PRIMARY KEY (a, b)", "IF(n % 10, 7, FLOOR(n / 1000)), n"),
    "few first columns in two spellings": (
        "a VARCHAR(5) COLLATE utf8mb4_general_ci, b DATE, c INT, PRIMARY KEY (a, b, c)",
        "ELT(1 + n % 3, IF(n % 2, 'jp', 'JP'), 'us', 'vn'), DATE_ADD('2020-01-01', INTERVAL n % 50 DAY), n",
    ),
    "uuid": (
        "id CHAR(36) COLLATE utf8mb4_unicode_ci PRIMARY KEY",
        "CONCAT_WS('-', SUBSTR(MD5(n), 1, 8), SUBSTR(MD5(n), 9, 4), SUBSTR(MD5(n), 13, 4), SUBSTR(MD5(n), 17, 4),"
        " SUBSTR(MD5(n), 21))",
    ),
    "uuid bytes": ("id BINARY(16) PRIMARY KEY", "UNHEX(MD5(n))"),
    "numbered names": ("id VARCHAR(30) COLLATE utf8mb4_general_ci PRIMARY KEY", "CONCAT('user_', n)"),
    "mail": (
        "id VARCHAR(60) COLLATE utf8mb4_unicode_ci PRIMARY KEY",
        "CONCAT(ELT(1 + n % 7, 'anna', 'Bob', 'carol', 'dave', 'Émile', '日本', 'zoë'), '.', n, '@x.com')",
    ),
    "times": ("t DATETIME(6) PRIMARY KEY", "'2000-01-01' + INTERVAL FLOOR(n * n / 40) SECOND + INTERVAL n MICROSECOND"),
    "wide decimals": ("d DECIMAL(40,6) PRIMARY KEY", "n * 1234567890.123456"),
}

COLLATIONS = {
    "aurora": ("utf8mb4_general_ci", "utf8mb4_unicode_ci", "utf8mb4_bin", "utf8mb4_unicode_nopad_ci"),
    "tidb": ("utf8mb4_general_ci", "utf8mb4_unicode_ci", "utf8mb4_bin", "utf8mb4_0900_ai_ci"),
}
WORDS = ["a", "A", "á", "Ä", "a ", "ab", "AB ", "a\t", "b", "ss", "ß", "Straße", "ひ", "ヒ", "日本", "🚢", "", " "]


def numbered(server: Server, columns: str, values: str, rows: int) -> str:
    """A table with one row for each number `n` up to `rows`."""
    table = server.table(columns)
    if server.source_type == "aurora":
        numbers = f"{server.database}.seq_1_to_{rows}"
        server.run(f"INSERT INTO {table} SELECT {values} FROM (SELECT seq AS n FROM {numbers}) AS numbers")
        return table
    numbers = server.table("n INT PRIMARY KEY")
    server.run(f"INSERT INTO {numbers} VALUES (1)")
    have = 1
    while have < rows:
        server.run(f"INSERT INTO {numbers} SELECT n + {have} FROM {numbers}")
        have *= 2
    for start in range(0, rows, 30_000):
        server.run(
            f"INSERT INTO {table} SELECT {values} FROM {numbers} WHERE n > {start} AND n <= {min(start + 30_000, rows)}"
        )
    return table


def sizes(server: Server, plan: ReadPlan, table: str, column: str) -> list[int]:
    """Rows of each slice, in order; every row must lie in exactly one."""
    held: Counter[object] = Counter()
    found = []
    for slice_ in plan.slices:
        rows = server.run(f"SELECT {column} FROM {table} WHERE {slice_predicate(slice_, plan.columns)}")
        held.update(value for (value,) in rows)
        found.append(len(rows))
    assert held == Counter(value for (value,) in server.run(f"SELECT {column} FROM {table}"))
    return found


def assert_even(counts: Sequence[int]) -> None:
    mean = sum(counts) / len(counts)
    assert max(counts) <= 2 * mean, counts
    assert min(counts) >= mean / 2, counts


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_every_row_lies_in_one_slice(server: Server, kind: str) -> None:
    column_type, keys = KEYS[kind]
    table = server.table(f"k {column_type} NOT NULL PRIMARY KEY, n INT NOT NULL")
    for n, key in enumerate(keys):
        server.run(f"INSERT INTO {table} VALUES (%s, %s)", [key, n])
    plan = server.source(rows_per_slice=3).plan(server.dataset(table), None, None)
    counts = sizes(server, plan, table, "n")
    assert len(counts) == 4
    assert_even(counts)


def test_spark_reads_each_slice_by_itself(server: Server, spark: SparkSession) -> None:
    table = server.table("a VARCHAR(9) COLLATE utf8mb4_general_ci, b BIGINT UNSIGNED, n INT, PRIMARY KEY (a, b)")
    for n in range(10):
        server.run(f"INSERT INTO {table} VALUES (%s, %s, %s)", ["it's" if n % 2 else "IT'S", 2**64 - 1 - n, n])
    dataset = server.dataset(table)
    source = server.source(rows_per_slice=3)
    plan = source.plan(dataset, None, None)
    rows = source.read(spark, dataset, plan).select("n", "_slice", "_source_rows").collect()
    assert sorted(row[0] for row in rows) == list(range(10))
    assert {row[1]: row[2] for row in rows} == dict(Counter(row[1] for row in rows)) == source.count(dataset, plan)


def test_slices_share_the_code_that_spark_generates(aurora: Server, settings: Settings, spark: SparkSession) -> None:
    table = aurora.table("id INT PRIMARY KEY, at DATETIME(3), day DATE, text VARCHAR(9), amount DECIMAL(9,2)")
    aurora.run(f"INSERT INTO {table} VALUES {', '.join(f'({n}, NOW(), NOW(), NULL, 1.25)' for n in range(10))}")
    dataset, source = aurora.dataset(table), aurora.source(rows_per_slice=3)
    plan = source.plan(dataset, None, None)
    option = "spark.sql.codegen.useIdInClassName"
    spark.conf.set(option, session_options(settings)[option])
    try:
        execution: Any = source.read(spark, dataset, plan)._jdf.queryExecution()
        stages = execution.debug().codegenToSeq()
        code = [re.sub(r"/\*.*?\*/|//[^\n]*", "", stages.apply(n)._2(), flags=re.DOTALL) for n in range(stages.size())]
    finally:
        spark.conf.unset(option)
    assert len(plan.slices) > 1
    # One stage of one text, in as many tasks as there are slices.
    assert len(code) == 1
    assert source.read(spark, dataset, plan).rdd.getNumPartitions() == len(plan.slices)


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_slices_are_even_on_skewed_keys(server: Server, shape: str) -> None:
    columns, values = SHAPES[shape]
    table = numbered(server, columns, values, 60_000)
    # On TiDB one key of several columns has statistics; the other is as it is right after a load.
    if server.source_type == "tidb" and shape == "one heavy first column":
        server.analyze(table)
    dataset = server.dataset(table)
    source = server.source(rows_per_slice=3_000)
    plan = source.plan(dataset, None, None)
    counts = list(source.count(dataset, plan).values())
    assert sum(counts) == 60_000
    assert 15 <= len(counts) <= 30
    assert_even(counts)


def test_statistics_of_a_part_of_the_table_are_not_believed(tidb: Server) -> None:
    columns, values = "a INT, b INT, PRIMARY KEY (a, b)", "IF(n <= 10000, 0, 1), n"
    table, rest = (numbered(tidb, columns, values, rows) for rows in (10_000, 60_000))
    tidb.analyze(table)
    tidb.run(f"INSERT INTO {table} SELECT * FROM {rest} WHERE b > 10000 AND b <= 35000")
    tidb.run(f"INSERT INTO {table} SELECT * FROM {rest} WHERE b > 35000")
    dataset = tidb.dataset(table)
    source = tidb.source(rows_per_slice=3_000)
    counts = list(source.count(dataset, source.plan(dataset, None, None)).values())
    assert sum(counts) == 60_000
    assert_even(counts)


def test_an_estimate_that_is_far_too_low_ends_a_plan_only_where_there_is_another(aurora: Server) -> None:
    name = TableName.parse(numbered(aurora, *SHAPES["clusters"], 60_000))
    with open_session(aurora.connection) as session:
        key = key_columns(session, name, describe_table(session, name).columns, frozenset())
        index = KeyIndex(session, name, key)
        spaces = [KeySpace(key[0], lambda texts: [texts])]
        low = {"index": index, "spaces": spaces, "rows": lambda first, last: 1.0, "rows_per_slice": 3_000}
        assert isinstance(find_boundaries(**low), list)
        with pytest.raises(NoEstimate):
            find_boundaries(**low, doubted=True)


def test_rows_of_an_auto_random_key_are_spread_evenly(tidb: Server) -> None:
    table = numbered(tidb, "id BIGINT PRIMARY KEY AUTO_RANDOM(5), v INT", "NULL, n", 0)
    for start in range(0, 60_000, 20_000):
        tidb.run(
            f"INSERT INTO {table} (v) WITH RECURSIVE d (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM d WHERE n < 199)"
            f" SELECT {start} + a.n * 100 + b.n FROM d AS a JOIN d AS b ON b.n < 100"
        )
    dataset = tidb.dataset(table)
    source = tidb.source(rows_per_slice=5_000)
    counts = list(source.count(dataset, source.plan(dataset, None, None)).values())
    assert (sum(counts), len(counts) >= 10) == (60_000, True)
    assert_even(counts)


def test_a_large_table_without_statistics_is_cut_at_its_regions_and_not_scanned(
    tidb: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = numbered(tidb, "a INT, b INT, PRIMARY KEY (a, b) CLUSTERED", "n % 3, n", 60_000)
    statements: list[str] = []
    ask = Session.rows
    monkeypatch.setattr(
        Session, "rows", lambda session, sql, *values: statements.append(sql) or ask(session, sql, *values)
    )

    def counts() -> list[int]:
        statements.clear()
        source, dataset = tidb.source(rows_per_slice=3_000), tidb.dataset(table)
        return list(source.count(dataset, source.plan(dataset, None, None)).values())

    small = counts()
    assert any("RAND()" in statement for statement in statements)
    for first in range(3):
        tidb.run(f"SPLIT TABLE {table} BETWEEN ({first}, 0) AND ({first}, 60000) REGIONS 100")
    large = counts()
    assert not any("RAND()" in statement for statement in statements)
    assert sum(small) == sum(large) == 60_000
    assert len(large) >= 128
    assert_even(large)


def planned(server: Server, table: str, rows_per_slice: int, window: str | None = None) -> tuple[int, int]:
    """Slices, and the rows the server looked at to find them; `window` is a condition on the column `at`."""
    name = TableName.parse(table)
    with open_session(server.connection) as session:
        columns = describe_table(session, name).columns
        rows = WindowRows(window, next(c for c in columns if c.name == "at")) if window else None
        session.rows("FLUSH STATUS")
        dialect = InnoDB()
        estimate_rows = dialect.row_estimator(session, name)
        slices = split(
            session,
            name,
            columns,
            rows_per_slice,
            window=rows,
            estimate_rows=estimate_rows,
            region_boundaries=dialect.region_boundaries,
        )
        counters = session.rows("SHOW SESSION STATUS LIKE 'Handler_read%'")
    return len(slices), sum(int(rows) for _, rows in counters)


def test_planning_looks_at_a_few_rows_a_slice(aurora: Server) -> None:
    small, reads_of_small = planned(aurora, numbered(aurora, *SHAPES["uuid"], 20_000), 2_000)
    large, reads_of_large = planned(aurora, numbered(aurora, *SHAPES["uuid"], 200_000), 2_000)
    assert small >= 10
    assert large >= 100
    # A scan would read the 2,000 rows of each further slice.
    assert reads_of_large - reads_of_small < 100 * (large - small)


def test_planning_a_window_costs_what_it_holds(aurora: Server) -> None:
    columns = "id INT PRIMARY KEY, at DATETIME(6) NOT NULL, KEY (at)"
    values = "n, IF(n <= {}, '2026-01-01', '2026-06-01' + INTERVAL n SECOND)"
    small, reads_of_small = planned(
        aurora, numbered(aurora, columns, values.format(15_000), 20_000), 1_000, "at >= '2026-02-01'"
    )
    large, reads_of_large = planned(
        aurora, numbered(aurora, columns, values.format(195_000), 200_000), 1_000, "at >= '2026-02-01'"
    )
    assert 4 <= small <= 6
    assert 4 <= large <= 6
    assert reads_of_large < reads_of_small + 2_000


def test_a_plan_has_512_slices_at_most(aurora: Server) -> None:
    table = numbered(aurora, *SHAPES["holes"], 6_000)
    dataset = aurora.dataset(table)
    source = aurora.source(rows_per_slice=10)
    counts = list(source.count(dataset, source.plan(dataset, None, None)).values())
    assert sum(counts) == 6_000
    assert 400 <= len(counts) <= 512
    assert_even(counts)


@pytest.mark.parametrize("estimate", [None, 10.0])
def test_statistics_that_are_missing_or_of_another_time_are_not_believed(
    aurora: Server, estimate: float | None
) -> None:
    for shape in ("holes", "clusters", "uuid", "one heavy first column"):
        table = numbered(aurora, *SHAPES[shape], 60_000)
        name = TableName.parse(table)
        with open_session(aurora.connection) as session:
            columns = describe_table(session, name).columns
            slices = split(
                session,
                name,
                columns,
                3_000,
                estimate_rows=lambda select: estimate,
                region_boundaries=InnoDB().region_boundaries,
            )
        plan = ReadPlan(columns=columns, slices=slices)
        counts = list(aurora.source().count(aurora.dataset(table), plan).values())
        assert 15 <= len(counts) <= 30
        assert_even(counts)


def test_boundaries_follow_the_collation(server: Server) -> None:
    for collation in COLLATIONS[server.source_type]:
        for key in ("w", "w, n"):
            table = server.table(f"w VARCHAR(20) COLLATE {collation}, n INT, PRIMARY KEY ({key})")
            for n, word in enumerate(WORDS):
                server.run(f"INSERT IGNORE INTO {table} VALUES (%s, %s)", [word, n])
            plan = server.source(rows_per_slice=3).plan(server.dataset(table), None, None)
            assert len(plan.slices) >= 3
            assert_even(sizes(server, plan, table, "n"))
            for n, word in enumerate(WORDS):
                server.run(f"INSERT IGNORE INTO {table} VALUES (%s, %s)", [f"{word}~", 100 + n])
                server.run(f"INSERT IGNORE INTO {table} VALUES (%s, %s)", [word.swapcase(), 200 + n])
            sizes(server, plan, table, "n")


def test_rows_beyond_the_known_keys_are_read_too(aurora: Server) -> None:
    table = aurora.table("a INT, b INT, PRIMARY KEY (a, b)")
    aurora.run(f"INSERT INTO {table} VALUES (1, 10), (1, 20), (1, 30), (1, 40)")
    plan = aurora.source(rows_per_slice=2).plan(aurora.dataset(table), None, None)
    assert [slice_.detail for slice_ in plan.slices] == [
        {"columns": ["a", "b"], "from": None, "below": ["1", "30"]},
        {"columns": ["a", "b"], "from": ["1", "30"], "below": None},
    ]
    aurora.run(f"INSERT INTO {table} VALUES (-5, 99), (1, 29), (1, 31), (2, 0)")
    assert sizes(aurora, plan, table, "CONCAT(a, ' ', b)") == [4, 4]


def test_ranges_of_a_composite_key_are_ranges_to_the_optimizer(server: Server) -> None:
    table = numbered(server, "a INT, b INT, v INT, PRIMARY KEY (a, b)", "n % 2, n, 1", 8_000)
    server.analyze(table)
    plan = server.source(rows_per_slice=500).plan(server.dataset(table), None, None)
    assert_even(sizes(server, plan, table, "b"))
    for slice_ in plan.slices:
        where = slice_predicate(slice_, plan.columns, "v > 0")
        explained = server.run(f"EXPLAIN SELECT COUNT(*) FROM {table} WHERE {where}")
        looked_at = float(explained[-1][1] if server.source_type == "tidb" else explained[0][8])
        assert looked_at < 1_500, explained


def test_statistics_that_tidb_has_not_in_memory_are_waited_for_and_never_guessed(tidb: Server) -> None:
    table = numbered(tidb, "a INT, b INT, v INT, PRIMARY KEY (a, b)", "n % 2, n, 1", 8_000)
    tidb.analyze(table)
    (usual,) = tidb.run("SELECT @@GLOBAL.tidb_stats_load_sync_wait")
    tidb.run("SET GLOBAL tidb_stats_load_sync_wait = 0")
    try:
        with open_session(tidb.connection) as session:
            estimate_rows = TiDB().row_estimator(session, TableName.parse(table))
            session.rows("SET tidb_stats_load_sync_wait = 0")
            assert estimate_rows(f"SELECT 1 FROM {table} WHERE a = 1 AND b < 4000") is None
        plan = tidb.source(rows_per_slice=500).plan(tidb.dataset(table), None, None)
    finally:
        tidb.run("SET GLOBAL tidb_stats_load_sync_wait = %s", list(usual))
    counts = sizes(tidb, plan, table, "b")
    assert len(counts) >= 14
    assert_even(counts)


def test_statistics_that_go_while_slices_are_cut_are_not_taken_for_empty_ranges(
    tidb: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = numbered(tidb, "a INT, b INT, v INT, PRIMARY KEY (a, b)", "n % 2, n, 1", 8_000)
    tidb.run(f"ANALYZE TABLE {table}")
    row_estimator, asked = TiDB.row_estimator, count()

    def going(self: TiDB, session: Session, name: TableName) -> Callable[[str], float | None]:
        estimate_rows = row_estimator(self, session, name)
        return lambda select: estimate_rows(select) if next(asked) < 20 else None

    monkeypatch.setattr(TiDB, "row_estimator", going)
    plan = tidb.source(rows_per_slice=500).plan(tidb.dataset(table), None, None)
    assert next(asked) > 20
    counts = sizes(tidb, plan, table, "b")
    assert len(counts) >= 14
    assert_even(counts)


@pytest.mark.parametrize(
    "columns",
    [
        "id INT, n INT",
        "id FLOAT, n INT, PRIMARY KEY (id)",
        "id ENUM('z', 'y', 'x', 'w', 'v'), n INT, PRIMARY KEY (id, n)",
        "id BIT(8), n INT, PRIMARY KEY (id)",
    ],
)
def test_keys_no_boundary_can_be_made_of_are_one_slice(server: Server, columns: str) -> None:
    table = server.table(columns)
    server.run(f"INSERT INTO {table} VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5)")
    plan = server.source(rows_per_slice=2).plan(server.dataset(table), None, None)
    assert [slice_.detail for slice_ in plan.slices] == [{}]
    assert sizes(server, plan, table, "n") == [5]


@pytest.mark.parametrize(
    ("columns", "by"),
    [
        ("id INT, n INT, PRIMARY KEY (n, id DESC)", ["n"]),
        ("id TEXT, n INT, PRIMARY KEY (n, id(3))", ["n"]),
        ("id VARCHAR(9) CHARACTER SET cp932, n INT, PRIMARY KEY (n, id)", ["n"]),
        ("id DOUBLE, n INT, PRIMARY KEY (n, id)", ["n"]),
        ("id INT, n INT, PRIMARY KEY (n DESC, id DESC)", ["n", "id"]),
    ],
)
def test_boundaries_are_made_of_the_columns_before_such_a_one(aurora: Server, columns: str, by: list[str]) -> None:
    table = aurora.table(columns)
    aurora.run(f"INSERT INTO {table} (id, n) VALUES (1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)")
    plan = aurora.source(rows_per_slice=2).plan(aurora.dataset(table), None, None)
    assert {tuple(slice_.detail["columns"]) for slice_ in plan.slices} == {tuple(by)}
    assert sizes(aurora, plan, table, "id") == [2, 2, 2]


def test_a_small_table_is_one_slice_and_an_empty_one_none(server: Server) -> None:
    table = server.table("id INT PRIMARY KEY")
    source = server.source(rows_per_slice=3)
    assert source.plan(server.dataset(table), None, None).slices == ()
    server.run(f"INSERT INTO {table} VALUES (1), (2), (3)")
    plan = source.plan(server.dataset(table), None, None)
    assert [slice_.detail for slice_ in plan.slices] == [{}]
    assert plan.keys_are_unique


def test_without_a_key_rows_may_be_alike(server: Server) -> None:
    table = server.table("n INT")
    server.run(f"INSERT INTO {table} VALUES (1), (1)")
    assert not server.source().plan(server.dataset(table), None, None).keys_are_unique


@pytest.mark.parametrize(("hidden", "by"), [("a", None), ("b", ["a"]), ("c", ["a", "b"])])
def test_hidden_columns_are_in_no_boundary(aurora: Server, hidden: str, by: list[str] | None) -> None:
    table = TableName.parse(aurora.table("a INT, b INT, c INT, PRIMARY KEY (a, b, c)"))
    aurora.run(f"INSERT INTO {table} VALUES " + ", ".join(f"({n // 4}, {n // 2}, {n})" for n in range(40)))
    with open_session(aurora.connection) as session:
        columns = describe_table(session, table).columns
        dialect = InnoDB()
        estimate_rows = dialect.row_estimator(session, table)
        slices = split(
            session,
            table,
            columns,
            10,
            estimate_rows=estimate_rows,
            region_boundaries=dialect.region_boundaries,
            masked_columns=frozenset({hidden}),
        )
    assert {tuple(slice_.detail.get("columns") or ()) for slice_ in slices} == {tuple(by or ())}
    assert len(slices) == (4 if by else 1)


def test_the_slices_of_a_window_follow_its_rows(server: Server) -> None:
    """The newest tenth of a table changed; two thirds of it in the same microsecond."""
    table = numbered(
        server,
        "id INT PRIMARY KEY, at DATETIME(6) NOT NULL, KEY (at)",
        "n * 7 % 59999, IF(n <= 54000, '2026-01-01' + INTERVAL n SECOND,"
        " '2026-06-01' + INTERVAL IF(n % 3, 0, n) SECOND)",
        59_998,
    )
    dataset = server.dataset(table, cursor="at")
    source = server.source(rows_per_slice=600)
    plan = source.plan(dataset, {"cursor": "2026-06-01 00:00:00.000000"}, None)
    counts = list(source.count(dataset, plan).values())
    assert sum(counts) == 5_998
    assert 8 <= len(counts) <= 12
    assert_even(counts)
    assert plan.slices[0].detail["columns"] == ["at", "id"]
    whole = source.plan(dataset, None, None)
    assert whole.slices[0].detail["columns"] == ["id"]
    counts = list(source.count(dataset, whole).values())
    assert sum(counts) == 59_998
    assert_even(counts)
    # A row that moves between two slices of a cursor comes with both where each has a snapshot of its own.
    assert (plan.keys_are_unique, whole.keys_are_unique) == (server.source_type == "tidb", True)
