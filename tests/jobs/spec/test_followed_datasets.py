"""A pipeline that runs after others: its schedule names datasets that somebody publishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import SpecError
from jobs.spec.models import After
from jobs.spec.reader import load_pipelines, read_spec

SALES = """\
pipeline: sales
schedule: {schedule}
datasets:
  - name: daily_sales
    inputs: [payments]
    transform: merchant_sales:daily
    primary_key: [day]
    write_disposition: merge
    bigquery: {{table: mart.daily_sales}}
"""
PAYMENTS = """\
pipeline: payments
source: {type: aurora, connection: c}
datasets:
  - {name: payments, table: a.b, primary_key: [id], write_disposition: merge, bigquery: {table: x.y}}
"""


def _write(folder: Path, schedule: str) -> Path:
    (folder / "payments.yaml").write_text(PAYMENTS)
    path = folder / "sales.yaml"
    path.write_text(SALES.format(schedule=schedule))
    return path


def test_a_name_that_nobody_publishes_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = _write(tmp_path, "{after: [paymets]}")
    specs, broken = load_pipelines(tmp_path)
    assert list(specs) == ["payments"]
    assert "sales.yaml:2" in str(broken[path])
    assert "'paymets', which no pipeline" in str(broken[path])
    assert "Did you mean payments?" in str(broken[path])


def test_a_name_may_be_in_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    _write(tmp_path, "{after: [refunds]}")
    (tmp_path / "refunds.yaml").write_text("pipeline: refunds\n")
    specs, broken = load_pipelines(tmp_path)
    assert sorted(specs) == ["payments", "sales"]
    assert [path.name for path in broken] == ["refunds.yaml"]


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("{after: [payments], after_all: [payments]}", "names datasets under after and under after_all"),
        ('{cron: "@daily"}', "schedule names no dataset"),
        ("{after: []}", "schedule names no dataset"),
        ("{after: [daily_sales]}", "follows daily_sales, a dataset of this pipeline"),
        ('{after: [payments], cron: "every day"}', "schedule 'every day' is neither a preset nor"),
        ("{afer: [payments]}", "unknown key 'afer'"),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(tmp_path: Path, schedule: str, words: str) -> None:
    path = _write(tmp_path, schedule)
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    assert "sales.yaml:2" in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("{after: [payments, refunds]}", "after payments or refunds"),
        ("{after_all: [payments, refunds]}", "after payments and refunds"),
        ('{after: [payments], cron: "@daily"}', "after payments, and by @daily"),
    ],
)
def test_a_schedule_is_said_in_words(tmp_path: Path, schedule: str, words: str) -> None:
    followed = read_spec(_write(tmp_path, schedule)).schedule
    assert isinstance(followed, After)
    assert str(followed) == words
