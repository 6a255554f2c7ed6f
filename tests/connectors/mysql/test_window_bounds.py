"""How far a window reaches, by the clock, the lag and the oldest open transaction."""

from __future__ import annotations

from datetime import datetime

import pytest

from connectors.mysql.windows.window import delay_warning_of, window_bound

NOW = datetime(2026, 11, 20, 10, 0, 0, 500_000)


@pytest.mark.parametrize(
    ("oldest", "lag_seconds", "end"),
    [
        (None, 300, datetime(2026, 11, 20, 9, 55, 0, 500_000)),
        (datetime(2026, 11, 20, 9, 59, 59, 900_000), 300, datetime(2026, 11, 20, 9, 54, 59)),
        (datetime(2026, 11, 20, 9, 0, 0), 300, datetime(2026, 11, 20, 8, 55, 0)),
        (datetime(2026, 11, 20, 9, 59, 59), 1, datetime(2026, 11, 20, 9, 59, 58)),
        # A transaction that began after the clock was read.
        (datetime(2026, 11, 20, 10, 0, 2), 10, datetime(2026, 11, 20, 9, 59, 50, 500_000)),
    ],
)
def test_the_lag_lies_before_the_clock_and_before_the_oldest_transaction(
    oldest: datetime | None, lag_seconds: int, end: datetime
) -> None:
    assert window_bound(NOW, lag_seconds, oldest) == end


def test_a_transaction_longer_than_the_lag_is_a_warning_with_the_end_and_the_reason() -> None:
    assert delay_warning_of(NOW, 300, datetime(2026, 11, 20, 9, 0, 0, 250_000)) == (
        "the window ends at 2026-11-20 08:55:00.000000 UTC, lag_seconds (300) before the start of the oldest open "
        "transaction: it is open since 2026-11-20 09:00:00.000000 UTC, 1:00:00.250000 by now"
    )


@pytest.mark.parametrize("oldest", [None, datetime(2026, 11, 20, 9, 55, 1), datetime(2026, 11, 20, 10, 0, 1)])
def test_transactions_within_the_lag_are_no_warning(oldest: datetime | None) -> None:
    assert delay_warning_of(NOW, 300, oldest) is None
