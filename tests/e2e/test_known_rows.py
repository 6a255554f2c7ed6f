"""Rows that a lookback reads again: compared with all published rows, in each state of these."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobs.runtime.fault_points import Crash
from tests.e2e.ferry import Ferry, OwnDatabase
from tests.e2e.test_increments import Payments


def test_what_a_run_published_before_it_died_is_known(
    ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    payments = Payments(ferry, aurora, "aurora", lookback_seconds=7200)
    began = payments.database.now() - timedelta(hours=1)
    payments.put(1, "1.00", None, began)
    assert ferry.run(payments.pipeline).code == 0
    payments.put(2, "2.00", None, payments.database.now())
    payments.database.settle()
    with monkeypatch.context() as faulty:
        faulty.setenv("LAKEFERRY_CRASH_AT", "check.published")
        faulty.setenv("LAKEFERRY_CRASH_GENTLY", "yes")
        with pytest.raises(Crash):
            ferry.run(payments.pipeline)
    assert len(ferry.lake_rows("curated", payments.name)) == 1

    payments.put(3, "3.00", None, payments.database.now())
    payments.database.settle()
    check = ferry.run(payments.pipeline).receipt("check", payments.name)
    assert (check.source_rows, check.known, check.published) == (3, 2, 1)
    assert sorted((row["_batch"], row["id"]) for row in ferry.lake_rows("raw", payments.name)) == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]


def test_a_read_that_finds_nothing_any_more_is_an_empty_batch(ferry: Ferry, aurora: OwnDatabase) -> None:
    payments = Payments(ferry, aurora, "aurora", lookback_seconds=7200)
    payments.put(1, "1.00", None, payments.database.now() - timedelta(hours=1))
    assert ferry.run(payments.pipeline).code == 0
    plan = ferry.plan(payments.pipeline, "emptied")
    payments.database.execute("DELETE FROM payments")
    assert ferry.run_stage(plan, "extract", "load") == 0
    assert [row["id"] for row in ferry.lake_rows("curated", payments.name)] == [1]
