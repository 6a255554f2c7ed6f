"""Rows of partitions that have expired are counted before BigQuery removes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from connectors.bigquery.partitions import Granularity, Partitioning
from tests.support.load_world import World, payment

MakeWorld = Callable[..., World]


def test_rows_that_expire_at_once_are_counted_and_others_are_not(
    world_of: MakeWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    world = world_of(bigquery_spec={"partition_by": "created_at", "partition_expiration_days": 30})
    now = datetime.now(UTC).replace(tzinfo=None)
    world.publish([payment(1, created_at=now - timedelta(days=90)), payment(2, created_at=now - timedelta(days=1))])
    receipt = world.load()
    assert (receipt.loaded, receipt.details.expired_rows) == (2, 1)
    said = capsys.readouterr().out
    assert "1 of 2 rows of batch 1 lie in partitions" in said
    assert "partition_expiration_days: 30" in said

    world.publish([payment(3, created_at=now), payment(4, created_at=now - timedelta(days=29))])
    receipt = world.load()
    assert receipt.details.expired_rows is None
    assert "expired" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("granularity", "kept"),
    [
        # A partition expires 30 days after it begins, not after its last row.
        ("DAY", datetime(2026, 11, 1)),
        ("HOUR", datetime(2026, 10, 31, 13)),
        ("MONTH", datetime(2026, 11, 1)),
        ("YEAR", datetime(2027, 1, 1)),
    ],
)
def test_a_partition_expires_with_all_its_rows(granularity: Granularity, kept: datetime) -> None:
    by = Partitioning("at", "DATETIME", granularity)
    assert by.first_kept(datetime(2026, 11, 30, 12, 30, tzinfo=UTC), 30) == kept


def test_days_are_compared_with_days() -> None:
    assert Partitioning("day", "DATE").before(datetime(2026, 11, 1), "c") == "c < DATE '2026-11-01'"
