"""A schedule is looked at where it is written: one that Airflow cannot read would take every DAG down."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import SpecError
from jobs.spec.reader import load_pipelines, read_spec
from jobs.spec.schedules import cron_problem

SPEC = """\
pipeline: {name}
schedule: "{schedule}"
source: {{type: aurora, connection: aurora_payments}}
datasets:
  - {{name: {name}, table: shop.{name}, write_disposition: replace, bigquery: {{table: {target}}}}}
"""


@pytest.mark.parametrize(
    "text", ["@hourly", "0 * * * *", "*/15 3-6 1,15 jan-Mar MON-fri", "59 23 31 12 7", "0 0 29 2 *"]
)
def test_what_airflow_reads(text: str) -> None:
    assert cron_problem(text) is None


@pytest.mark.parametrize(
    "text", ["5-1 * * * *", "0 0 * feb-jan sat-sun", "0 0 * * fri-mon", "0-59/70 * * * *", "0  3\t* * *"]
)
def test_what_airflow_reads_as_well(text: str) -> None:
    assert cron_problem(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*/0 * * * *", "says '*/0' for the minute, whose step must be at least 1"),
        ("0 1-5/0 * * *", "says '1-5/0' for the hour, whose step must be at least 1"),
        ("mon * * * *", "says 'mon' for the minute, which goes from 0 to 59"),
        ("0 0 jan * *", "says 'jan' for the day of the month, which goes from 1 to 31"),
        ("0 0 * mon *", "says 'mon' for the month, which goes from 1 to 12 or Jan to Dec"),
        ("0 0 * * jan", "says 'jan' for the day of the week, which goes from 0 to 7 or Mon to Sun"),
        ("０ ３ * * *", "holds '０' (U+FF10)"),
        ("0\u30003 * * *", "holds '\\u3000' (U+3000)"),
        ("0\u00a03 * * *", "holds '\\xa0' (U+00A0)"),
        ("٠ 3 * * *", "holds '٠' (U+0660)"),
        ("0 0 31 2 *", "never comes: no month has such a day"),
        ("0 0 30 feb *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 0 3 * * *", "is neither a preset nor a cron expression of five fields"),
        ("@once", "is neither a preset"),
        ("@Quarterly", "is neither a preset"),
        ("@hourly ", "is neither a preset"),
        ("0 ? * * *", "says '?' for the hour"),
        ("0 0 * * ?,1", "says '?' for the day of the week"),
        ("0060 * * * *", "says '0060' for the minute, which goes from 0 to 59"),
        ("*/000 * * * *", "says '*/000' for the minute, whose step must be at least 1"),
        ("", "is neither a preset"),
        ("0 0 L * *", "says 'L' for the day of the month"),
        ("0 0 * * 5#3", "says '5#3' for the day of the week"),
        ("0, * * * *", "says '' for the minute"),
    ],
)
def test_why_airflow_would_not(text: str, why: str) -> None:
    problem = cron_problem(text)
    assert problem is not None
    assert problem.startswith(why)


@pytest.mark.parametrize("text", ["@hurly", "hourly", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "a * * * *"])
def test_what_it_does_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(SPEC.format(name="p", schedule=text, target="d.t"))
    with pytest.raises(SpecError, match=r"p\.yaml:2 pipeline p: schedule .*Valid: @hourly"):
        read_spec(tmp_path / "p.yaml")


def test_two_datasets_do_not_go_to_one_table(tmp_path: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / f"{name}.yaml").write_text(SPEC.format(name=name, schedule="@daily", target="shop.payments"))
    specs, broken = load_pipelines(tmp_path)
    assert specs == {}
    assert "goes to shop.payments, and so does dataset 'left' of left.yaml:" in str(broken[tmp_path / "right.yaml"])
    assert "goes to shop.payments, and so does dataset 'right' of right.yaml:" in str(broken[tmp_path / "left.yaml"])
    both = SPEC.format(name="left", schedule="@daily", target="shop.payments") + (
        "  - {name: other, table: shop.other, write_disposition: replace, bigquery: {table: shop.payments}}\n"
    )
    (tmp_path / "left.yaml").write_text(both)
    with pytest.raises(SpecError, match=r"left\.yaml:6 .*bigquery.table shop.payments is already where left goes"):
        read_spec(tmp_path / "left.yaml")
