"""Inputs that nobody publishes: a typo is refused, and what has not run yet is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import SpecError
from jobs.stages.plan.derived_inputs import check_inputs

PAYMENTS = """\
pipeline: shop
source: {type: aurora, connection: c}
datasets:
  - {name: payments, table: a.b, primary_key: [id], write_disposition: merge, bigquery: {table: x.y}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.yaml").write_text(PAYMENTS)
    return tmp_path


def test_an_input_that_no_pipeline_has_is_refused_with_the_nearest(folder: Path) -> None:
    with pytest.raises(SpecError) as refused:
        check_inputs(folder, ["paymets"], ["paymets", "merchants"])
    assert "input 'paymets' has no table in the lake" in str(refused.value)
    assert f"no pipeline of {folder.name}/ has such a dataset" in str(refused.value)
    assert "Did you mean payments?" in str(refused.value)
    assert refused.value.key == ("inputs",)


def test_a_name_that_is_only_mentioned_is_no_dataset(folder: Path) -> None:
    (folder / "sales.yaml").write_text(
        "pipeline: sales\ndatasets:\n  - name: sales\n    inputs: [refunds]\n    transform: a.b:c\n"
        "    primary_key: [id]\n    write_disposition: merge\n    bigquery: {table: x.sales}\n"
    )
    with pytest.raises(SpecError, match="input 'refunds' has no table"):
        check_inputs(folder, ["refunds"], ["refunds"])


def test_an_input_that_has_not_run_yet_is_waited_for(folder: Path) -> None:
    check_inputs(folder, ["payments"], ["payments", "merchants"])


def test_an_input_that_has_its_table_needs_no_pipeline(folder: Path) -> None:
    check_inputs(folder, [], ["of_a_pipeline_that_was_removed"])


def test_a_file_that_cannot_be_read_may_declare_it(folder: Path) -> None:
    (folder / "broken.yaml").write_text("pipeline: broken\ndatasets:\n  - name: refunds\n")
    check_inputs(folder, ["refunds"], ["refunds"])
