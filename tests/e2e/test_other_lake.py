"""A raw table that is dropped between two runs: the run after it does not pass for one that went on."""

from __future__ import annotations

from datetime import timedelta

from tests.e2e.ferry import Ferry, OwnDatabase
from tests.e2e.test_increments import Payments


def test_a_raw_table_dropped_between_two_runs_stops_the_next(ferry: Ferry, aurora: OwnDatabase) -> None:
    payments = Payments(ferry, aurora, "aurora")
    began = aurora.now() - timedelta(hours=2)
    for identity in (1, 2):
        payments.put(identity, "1.00", None, began)
    assert ferry.run(payments.pipeline).code == 0
    before = payments.in_warehouse()

    ferry.catalog.drop_table(("raw", payments.name))
    # The first batch made again has the number BigQuery is at, the second one more.
    for number in (3, 4):
        payments.put(number, "1.00", None, aurora.now())
        aurora.settle()
        assert ferry.run(payments.pipeline).code == 2
        assert payments.in_warehouse() == before
