"""The windows that the form of a trigger, and `airflow dags trigger --conf`, accept: those that can work."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.definitions.param import process_params
from airflow.sdk.exceptions import ParamValidationError

from jobs.runtime.settings import Settings
from jobs.spec.bigquery_table import WarehouseSpec
from jobs.spec.models import DatasetSpec, PipelineSpec, SourceSpec
from lakeferry_airflow.factory import build_dag

TABLE = {"table": "shop.events"}
TOPIC = {"topic": "events", "columns": {"id": "bigint"}}
FILES = {"path": "s3://bucket/in/", "columns": {"id": "bigint"}}
TIMES = ["2026-11-20T00:00:00Z", "2026-11-20T00:00:00.000Z", "2026-11-20T09:00:00+09:00"]
"""The second is what the form's own picker of times writes."""
NUMBERS = [1000, "1000", 0, "-5", 18446744073709551615]


def form(*datasets: dict[str, Any], source: str = "aurora") -> Any:
    spec = PipelineSpec(
        pipeline="events",
        source=SourceSpec(type=source, connection="events_db"),
        datasets=[
            DatasetSpec(
                name=f"events_{number}",
                write_disposition="append",
                bigquery=WarehouseSpec(table=f"shop.events_{number}"),
                options=options,
            )
            for number, options in enumerate(datasets)
        ],
    )
    return build_dag(spec, Settings())


def takes(dag: Any, value: object) -> bool:
    try:
        process_params(dag, dag.get_task("plan"), {"start": value}, suppress_exception=False)
    except ParamValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("source", "options", "times", "numbers"),
    [
        ("aurora", {**TABLE, "cursor": "id"}, True, True),
        ("tidb", {**TABLE, "cursor": "at"}, True, True),
        ("aurora", {**TABLE, "cursor": "id", "lookback": 100}, False, True),
        ("aurora", {**TABLE, "cursor": "at", "lookback_seconds": 60}, True, False),
        ("aurora", {**TABLE, "cursor": "at", "cursor_time_zone": "Asia/Tokyo"}, True, False),
        ("kafka", TOPIC, True, False),
        ("s3", FILES, True, False),
    ],
)
def test_a_window_may_be_what_a_dataset_can_be_read_by(
    source: str, options: dict[str, Any], times: bool, numbers: bool
) -> None:
    dag = form(options, source=source)
    assert [takes(dag, time) for time in TIMES] == [times] * len(TIMES)
    assert [takes(dag, number) for number in NUMBERS] == [numbers] * len(NUMBERS)
    assert takes(dag, None)
    for nonsense in ("yesterday", "1000 or so", "1e3", 10.5, True, "", [1000]):
        assert not takes(dag, nonsense), nonsense
    described = dag.params.get_param("start").description
    assert ("2026-01-31T00:00:00Z" in described, "a whole number such as 1000" in described) == (times, numbers)


def test_days_are_taken_as_on_the_command_line_where_a_cursor_may_hold_them() -> None:
    dag = form({**TABLE, "cursor": "day"})
    assert takes(dag, "2026-11-20")
    assert takes(dag, "20261120")


def test_one_dataset_that_can_be_read_by_numbers_is_enough() -> None:
    dag = form({**TABLE, "cursor": "at", "lookback_seconds": 60}, {**TABLE, "cursor": "id", "lookback": 5}, TABLE)
    assert takes(dag, 1000)
    assert takes(dag, TIMES[0])


def test_tables_that_are_read_whole_have_no_window() -> None:
    assert set(form(TABLE).params) == {"datasets"}


@pytest.mark.parametrize("source", ["kafka", "s3"])
def test_where_only_times_can_work_the_form_has_a_picker(source: str) -> None:
    start = form(TOPIC if source == "kafka" else FILES, source=source).params.get_param("start")
    assert (start.schema["type"], start.schema["format"]) == (["null", "string"], "date-time")


def test_the_documentation_offers_a_backfill_only_where_a_window_of_times_can_work() -> None:
    assert "or backfill" in form({**TABLE, "cursor": "id"}).doc_md
    numbers = form({**TABLE, "cursor": "id", "lookback": 5}).doc_md
    assert "trigger with `start` and `end`, which are numbers" in numbers
    assert "backfill" not in numbers
