"""A schedule is looked at where it is written: one that Airflow cannot read would take every DAG down."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import SpecError
from jobs.schedules import cron_problem
from jobs.spec_reader import load_pipelines, read_spec

SPEC = """\
pipeline: {name}
schedule: "{schedule}"
source: {{type: aurora, connection: aurora_payments}}
datasets:
  - {{name: {name}, table: shop.{name}, write_disposition: replace, bigquery: {{table: {target}}}}}
"""


@pytest.mark.parametrize("text", ["@hourly", "0 * * * *", "*/15 3-6 1,15 jan-Mar MON-fri", "59 23 31 12 7"])
def test_what_airflow_reads(text: str) -> None:
    assert cron_problem(text) is None


@pytest.mark.parametrize("text", ["@hurly", "hourly", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "a * * * *"])
def test_what_it_does_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(SPEC.format(name="p", schedule=text, target="d.t"))
    with pytest.raises(SpecError, match=r"p\.yaml:2 pipeline p: schedule .*Valid: @hourly"):
        read_spec(tmp_path / "p.yaml")


def test_two_datasets_do_not_go_to_one_table(tmp_path: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / f"{name}.yaml").write_text(SPEC.format(name=name, schedule="@daily", target="shop.payments"))
    specs, broken = load_pipelines(tmp_path)
    assert list(specs) == ["left"]
    [problem] = broken.values()
    assert "goes to shop.payments, where left of left.yaml goes" in str(problem)
    both = SPEC.format(name="left", schedule="@daily", target="shop.payments") + (
        "  - {name: other, table: shop.other, write_disposition: replace, bigquery: {table: shop.payments}}\n"
    )
    (tmp_path / "left.yaml").write_text(both)
    with pytest.raises(SpecError, match=r"left\.yaml:6 .*bigquery.table shop.payments is already where left goes"):
        read_spec(tmp_path / "left.yaml")
