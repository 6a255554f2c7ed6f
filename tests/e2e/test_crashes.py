"""A process killed at any point, and the run begun again: the same rows as if it had never been killed."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from jobs.runtime.fault_points import Crash
from tests.e2e.ferry import Ferry, OwnDatabase

KILLED_AT = (
    "extract.appended",  # mid-extract: one slice of several is on the branch
    "load.committed",  # after the BigQuery commit, before the receipt
)
BROKEN_OFF_AT = (
    "extract.before",
    "extract.quarantined",  # bad rows are in quarantine and still on the branch
    "extract.read",  # everything is on the branch, not sealed
    "check.proved",  # everything is on the branch and proved, before publish
    "check.published",  # after publish, before curated
    "check.curated",  # curated, before the receipt
    "load.before",
    "load.staged",
)


@dataclass
class Table:
    name: str
    target: str
    database: OwnDatabase

    def expected(self) -> list[tuple[int, str]]:
        return sorted(self.database.rows("SELECT id, kind FROM t WHERE kind <> 'bad'"))


@pytest.fixture
def table(ferry: Ferry, aurora: OwnDatabase) -> Table:
    name = f"c_{aurora.name}"
    target = f"{ferry.warehouse_dataset()}.t"
    ferry.suite(name, "rows:\n  - expect_column_values_to_be_in_set: {column: kind, value_set: [a, b, c]}\n")
    ferry.spec(
        f"""\
        pipeline: {name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: {name}
            table: {aurora.name}.t
            primary_key: [id]
            cursor: updated_at
            lag_seconds: 1
            write_disposition: merge
            expectations: {name}
            bigquery: {{table: {target}}}
        """
    )
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, kind VARCHAR(10), updated_at DATETIME(6), KEY (updated_at))")
    aurora.insert("t", [(n, "abc"[n % 3], f"2026-01-01 00:00:{n:02}") for n in range(40)])
    aurora.insert("t", [(90, "bad", "2026-01-01 00:01:00"), (91, "bad", "2026-01-01 00:01:01")])
    aurora.execute("ANALYZE TABLE t")
    return Table(name, target, aurora)


SMALL_SLICES = {"LAKEFERRY_ROWS_PER_SLICE": "10", "LAKEFERRY_SLICES_PER_COMMIT": "1"}


@pytest.mark.parametrize("point", KILLED_AT)
def test_the_same_run_again_after_a_kill(ferry: Ferry, table: Table, point: str) -> None:
    killed = ferry.process("run", table.name, "--run-id", "killed", LAKEFERRY_CRASH_AT=point, **SMALL_SLICES)
    assert killed.returncode == 3, killed.stdout
    assert "was killed (SIGKILL)" in killed.stderr
    ran = ferry.run(table.name, "killed")
    assert ran.code == 0
    assert [entry.generation for entry in ran.plan.datasets] == [1]
    _assert_whole(ferry, table)


@pytest.mark.parametrize("point", BROKEN_OFF_AT)
def test_the_same_run_again_after_it_broke_off(
    ferry: Ferry, table: Table, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_off(ferry, table, point, monkeypatch)
    assert ferry.run(table.name, "killed").code == 0
    _assert_whole(ferry, table)


@pytest.mark.parametrize("point", ["extract.appended", "extract.read", "check.published", "load.committed"])
def test_another_run_after_one_broke_off(
    ferry: Ferry, table: Table, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _break_off(ferry, table, point, monkeypatch)
    ran = ferry.run(table.name, "next")
    if ran.plan.datasets[0].state == "empty":
        # The first run had published: what follows publish is caught up all the same.
        assert ferry.run_stage(ran.plan, "check", "load") == 0
    assert ran.code == 0
    _assert_whole(ferry, table)


def _break_off(ferry: Ferry, table: Table, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as faulty:
        faulty.setenv("LAKEFERRY_CRASH_AT", point)
        faulty.setenv("LAKEFERRY_CRASH_GENTLY", "yes")
        with pytest.raises(Crash):
            ferry.run(table.name, "killed")


def _assert_whole(ferry: Ferry, table: Table) -> None:
    expected = table.expected()
    assert len(expected) == 40
    for namespace in ("raw", "curated"):
        assert sorted((row["id"], row["kind"]) for row in ferry.lake_rows(namespace, table.name)) == expected
    warehouse = ferry.warehouse_rows(table.target, "id, kind")
    assert sorted((row["id"], row["kind"]) for row in warehouse) == expected
    published = {receipt.run_id for receipt in ferry.published(table.name)}
    bad = [row for row in ferry.lake_rows("quarantine", table.name) if row["_run_id"] in published]
    assert sorted(json.loads(row["record"])["id"] for row in bad) == [90, 91]
