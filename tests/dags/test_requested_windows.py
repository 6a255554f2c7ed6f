"""What a run may ask for."""

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


def test_a_window_is_in_utc_whatever_zone_it_is_written_in() -> None:
    asked = ask(start="2026-11-20T09:00:00+09:00", end="2026-11-20T01:00:00")
    assert asked == Request("2026-11-20T00:00:00Z", "2026-11-20T01:00:00Z", ())


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
        ({"start": "yesterday"}, "start is 'yesterday', not an instant.*2026-01-31T00:00:00Z"),
        ({"start": "2026-11-20T00:00:00; rm -rf /"}, "not an instant"),
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
