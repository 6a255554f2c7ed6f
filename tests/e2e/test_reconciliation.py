"""What reconciliation must catch: each fault is planted between the server and the lake, or in the lake's files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pyspark.sql import functions as F

from connectors.mysql.source import MySQLSource
from jobs.lake.branches import RawTable
from tests.e2e.ferry import Ferry, OwnDatabase

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    Fault = Callable[[DataFrame], DataFrame]


def _changed(column: str, value: str) -> Fault:
    """Row 2 gets another value, given as SQL."""
    return lambda rows: rows.withColumn(column, F.expr(f"if(id = 2, {value}, `{column}`)"))


FAULTS: dict[str, tuple[Fault, str]] = {
    "a row dropped": (lambda rows: rows.where("id <> 2"), "the source has 4 rows, raw 3 .*row id=2 did not come"),
    "a row doubled": (
        lambda rows: rows.unionByName(rows.where("id = 2")),
        "the source has 4 rows, raw 5 .*row id=2 came 2 times",
    ),
    "two rows' values swapped": (
        lambda rows: rows.withColumn("memo", F.expr("case id when 2 then 'three' when 3 then 'two' else memo end")),
        "2 of 4 rows .*row id=2 differs in memo; row id=3 differs in memo",
    ),
    "a decimal's last digit": (
        _changed("amount", "cast(20.01 as decimal(18,2))"),
        "1 of 4 rows .*row id=2 differs in amount",
    ),
    "a blank padded": (_changed("memo", "'two '"), "row id=2 differs in memo"),
    "a time moved by an hour": (_changed("at", "at + interval 1 hour"), "row id=2 differs in at"),
    "a text cut at 255": (_changed("story", "left(story, 255)"), "row id=2 differs in story"),
    "a NULL turned empty": (_changed("note", "''"), "row id=2 differs in note"),
    "values of two columns swapped": (_changed("note", "memo"), "row id=2 differs in note"),
}


class Ledger:
    """A table of four rows and the pipeline that ferries it."""

    def __init__(self, ferry: Ferry, database: OwnDatabase, more: str = "") -> None:
        self.ferry, self.database = ferry, database
        self.name = f"r_{database.name}"
        database.execute(
            "CREATE TABLE t (id INT PRIMARY KEY, amount DECIMAL(18,2), memo VARCHAR(20), at DATETIME(6),"
            " story TEXT, note VARCHAR(20))"
        )
        words = ("one", "two", "three", "four")
        database.insert(
            "t", [(n, f"{n}0.00", words[n - 1], "2026-11-01 01:30:00.5", "物語" * 200, None) for n in range(1, 5)]
        )
        ferry.spec(
            f"""\
            pipeline: {self.name}
            source: {{type: aurora, connection: aurora_payments}}
            datasets:
              - name: {self.name}
                table: {database.name}.t
                primary_key: [id]
                write_disposition: replace
                {more}
                bigquery: {{table: {ferry.warehouse_dataset()}.t}}
            """
        )

    def extract(self, run_id: str) -> tuple[int, str]:
        """Extract and check in this process: the exit code and what the failed receipt says."""
        plan = self.ferry.plan(self.name, run_id)
        code = self.ferry.run_stage(plan, "extract", "check")
        failed = [r for r in self.ferry.receipts(self.name, run_id) if r.verdict == "failed"]
        return code, failed[-1].error or "" if failed else ""


@pytest.fixture
def ledger(ferry: Ferry, aurora: OwnDatabase) -> Ledger:
    return Ledger(ferry, aurora, "reads: 1")


def test_what_is_altered_on_the_way_is_caught_and_named(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = MySQLSource.read

    def read(*arguments: Any, fault: Fault) -> DataFrame:
        rows = healthy(*arguments)
        # The keys that narrowing down asks for come without a fingerprint, and whole.
        return rows if arguments[-1] not in ("row", "columns") else fault(rows)

    for number, (what, (fault, told)) in enumerate(FAULTS.items()):
        with monkeypatch.context() as faulty:
            faulty.setattr(MySQLSource, "read", lambda *a, fault=fault: read(*a, fault=fault))
            code, error = ledger.extract(f"faulty-{number}")
        assert code == 1, what
        with pytest.raises(AssertionError, match=told):
            raise AssertionError(error)
        assert "20.01" not in error, "values are not told"
    assert ledger.ferry.published(ledger.name) == []
    assert ledger.extract("healthy")[0] == 0
    assert [batch.rows for batch in ledger.ferry.published(ledger.name)] == [4]


def test_what_is_altered_in_the_files_is_caught(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    append = RawTable.append
    for what in ("a decimal's last digit", "a NULL turned empty", "values of two columns swapped"):
        fault = FAULTS[what][0]
        with monkeypatch.context() as faulty:
            faulty.setattr(RawTable, "append", lambda self, rows, *a, fault=fault: append(self, fault(rows), *a))
            code, error = ledger.extract(f"written {what}")
        assert code == 1, what
        assert "the lake's files do not hold the 4 rows that were read" in error
    assert ledger.ferry.published(ledger.name) == []


def test_a_fault_that_passes_is_mended_by_reading_again(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(ferry, aurora)
    faults = [FAULTS["a blank padded"][0], FAULTS["a row dropped"][0]]
    read = MySQLSource.read

    def faulty_at_first(*arguments: Any, **more: Any) -> DataFrame:
        rows = read(*arguments, **more)
        return faults.pop()(rows) if faults else rows

    monkeypatch.setattr(MySQLSource, "read", faulty_at_first)
    assert ledger.extract("twice")[0] == 0
    assert faults == []
    assert [batch.rows for batch in ferry.published(ledger.name)] == [4]


@pytest.mark.parametrize(("reconcile", "caught"), [("counts", {"a row dropped"}), ("off", set())])
def test_the_spec_may_ask_for_less(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch, reconcile: str, caught: set[str]
) -> None:
    ledger = Ledger(ferry, aurora, f"reconcile: {reconcile}")
    read = MySQLSource.read
    for what in ("a row dropped", "a blank padded"):
        fault = FAULTS[what][0]
        with monkeypatch.context() as faulty:
            faulty.setattr(MySQLSource, "read", lambda *a, fault=fault, **k: fault(read(*a, **k)))
            assert (ledger.extract(f"less {what}")[0] == 1) is (what in caught)
