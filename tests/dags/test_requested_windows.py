"""The requests that a run may make."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.errors import UsageError
from lakeferry_airflow.windows import Request, requested

KNOWN = ("payments", "merchants")
HOUR = (datetime(2026, 11, 20, 1, tzinfo=UTC), datetime(2026, 11, 20, 2, tzinfo=UTC))


def ask(interval: tuple[datetime, datetime] | None = None, **conf: Any) -> Request:
    params = {"start": None, "end": None, "datasets": None} | conf
    return requested("payments", KNOWN, params, conf, interval)


def test_a_scheduled_run_has_no_window() -> None:
    assert ask() == Request(None, None, ())


def test_an_instant_is_in_utc_whatever_zone_it_is_written_in() -> None:
    asked = ask(start="2026-11-20T09:00:00+09:00", end="2026-11-20T10:00:00.5+09:00")
    assert asked == Request("2026-11-20T00:00:00Z", "2026-11-20T01:00:00.500000Z", ())


def test_a_time_without_an_offset_stays_one_as_on_the_command_line() -> None:
    """A cursor of days reads it in its own time zone: 2026-11-20 in Tokyo is not a day of UTC."""
    asked = ask(start="2026-11-20", end="2026-11-21T00:00:00")
    assert asked == Request("2026-11-20T00:00:00", "2026-11-21T00:00:00", ())
    assert ask(start="2026-11-20T00:00:00Z", end="2026-11-20").end == "2026-11-20T00:00:00"


@pytest.mark.parametrize(
    ("start", "end", "asked"),
    [
        (1000, 2000, ("1000", "2000")),
        ("1000", "2000", ("1000", "2000")),
        (9, 10, ("9", "10")),
        (-5, "0", ("-5", "0")),
        (0, None, ("0", None)),
        (None, 18446744073709551615, (None, "18446744073709551615")),
        ("007", "8", ("7", "8")),
        # A number of a day: a cursor of numbers reads a number, one of times a day.
        ("20261120", "20261121", ("20261120", "20261121")),
        (20261120, "2026-11-21T00:00:00Z", ("20261120", "2026-11-21T00:00:00Z")),
    ],
)
def test_a_window_of_numbers(start: object, end: object, asked: tuple[str | None, str | None]) -> None:
    given = ask(start=start, end=end)
    assert (given.start, given.end) == asked


def test_a_window_of_numbers_goes_before_the_interval() -> None:
    assert (ask(HOUR, end=5).start, ask(HOUR, end=5).end) == (None, "5")


def test_either_end_may_be_left_open() -> None:
    assert ask(start="2026-11-20T00:00:00Z").end is None
    assert ask(end="2026-11-20T00:00:00Z").start is None


def test_a_backfill_moves_its_interval() -> None:
    assert ask(HOUR) == Request("2026-11-20T01:00:00Z", "2026-11-20T02:00:00Z", ())


def test_a_window_that_is_asked_for_goes_before_the_interval() -> None:
    assert ask(HOUR, start="2026-11-19T00:00:00Z").start == "2026-11-19T00:00:00Z"


def test_some_of_the_datasets_may_be_chosen() -> None:
    assert ask(datasets=["merchants"]).datasets == ("merchants",)


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"strat": "2026-11-20T00:00:00Z"}, "unknown key 'strat'.*Valid: start, end, datasets.*Did you mean start"),
        ({"start": "yesterday"}, "start is 'yesterday', neither a time nor a whole number.*2026-01-31T00:00:00Z"),
        ({"start": "2026-11-20T00:00:00; rm -rf /"}, "neither a time nor a whole number"),
        ({"start": "1000\n"}, "neither a time nor a whole number"),
        ({"start": "--5"}, "neither a time nor a whole number"),
        ({"start": "9" * 5000}, "neither a time nor a whole number"),
        ({"start": "１０００"}, "neither a time nor a whole number"),
        ({"start": 10.5}, "neither a time nor a whole number"),
        ({"start": True}, "neither a time nor a whole number"),
        ({"start": [1000]}, "neither a time nor a whole number"),
        ({"start": 1000, "end": "2026-11-20T00:00:00Z"}, "start 1000 is a number, and end 2026-11-20T00:00:00Z a time"),
        ({"start": "2026-11-20", "end": 10**15}, "end 1000000000000000 is a number, and start 2026-11-20.* a time"),
        ({"start": 10, "end": 9}, "window is empty: end 9 is not after start 10"),
        ({"start": 1000, "end": "1000"}, "window is empty"),
        ({"start": "2026-11-20T02:00:00Z", "end": "2026-11-20T01:00:00Z"}, "window is empty"),
        ({"start": "2026-11-20T01:00:00Z", "end": "2026-11-20T01:00:00Z"}, "window is empty"),
        ({"datasets": ["refunds"]}, "no dataset 'refunds'.*Valid: payments, merchants.*trigger a new run"),
        ({"datasets": [["payments"]]}, "no dataset"),
        ({"datasets": []}, "not a list of names"),
        ({"datasets": "payments"}, "not a list of names"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(conf: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ask(**conf)


def test_a_window_in_the_conf_counts_where_airflow_does_not_merge_it_into_the_params() -> None:
    # `[core] dag_run_conf_overrides_params = False`: the params are the DAG's own.
    params = {"start": None, "end": None, "datasets": None}
    conf = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-20T01:00:00Z", "datasets": ["merchants"]}
    asked = requested("payments", KNOWN, params, conf, None)
    assert asked == Request("2026-11-20T00:00:00Z", "2026-11-20T01:00:00Z", ("merchants",))


def test_a_conf_that_the_params_contradict_is_refused() -> None:
    params = {"start": "2026-11-19T00:00:00Z", "end": None, "datasets": None}
    with pytest.raises(UsageError, match=r"conf has start '2026-11-20.*params have '2026-11-19.*overrides_params"):
        requested("payments", KNOWN, params, {"start": "2026-11-20T00:00:00Z"}, None)


def test_a_conf_that_leaves_a_key_open_asks_for_the_default() -> None:
    params = {"start": None, "end": None, "datasets": None}
    assert requested("payments", KNOWN, params, {"start": None, "datasets": None}, None) == Request()


def test_names_that_an_older_form_stored_still_mean_all() -> None:
    assert ask(datasets=["merchants", "payments"]) == Request()
