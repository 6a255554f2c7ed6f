"""Merge keys (`<<`, https://yaml.org/type/merge.html): a mapping's own keys override those that it merges."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import SpecError
from jobs.spec.reader import line_of, read_spec
from tests.support.suites import load_suite

HEAD = """\
pipeline: p
source: {type: aurora, connection: c}
datasets:
"""
FIRST = """\
  - &first
    name: a
    table: s.a
    primary_key: [id]
    cursor: updated_at
    write_disposition: merge
    bigquery: &warehouse {table: s.a, cluster_by: [id]}
"""


def test_a_dataset_overrides_what_it_merges(tmp_path: Path) -> None:
    second = "  - <<: *first\n    name: b\n    table: s.b\n    bigquery: {<<: *warehouse, table: s.b}\n"
    third = "  - {<<: *first, name: c, lag_seconds: 60, bigquery: {<<: *warehouse, table: s.c}}\n"
    (tmp_path / "p.yaml").write_text(HEAD + FIRST + second + third)
    spec = read_spec(tmp_path / "p.yaml")
    assert [dataset.name for dataset in spec.datasets] == ["a", "b", "c"]
    assert [dataset.options["table"] for dataset in spec.datasets] == ["s.a", "s.b", "s.a"]
    assert [dataset.bigquery.table for dataset in spec.datasets] == ["s.a", "s.b", "s.c"]
    assert [dataset.bigquery.cluster_by for dataset in spec.datasets] == [["id"], ["id"], ["id"]]
    # A dataset's own key has its own line, and a merged one the line where it is written.
    assert line_of(tmp_path, spec, "b", "table") == "p.yaml:13"
    assert line_of(tmp_path, spec, "b", "cursor") == "p.yaml:8"
    assert line_of(tmp_path, spec, "b", "bigquery", "cluster_by") == "p.yaml:10"


def test_of_a_list_of_merges_the_first_mapping_wins(tmp_path: Path) -> None:
    more = FIRST + "  - &second\n    <<: *first\n    name: b\n    lag_seconds: 60\n    bigquery: {table: s.b}\n"
    more += "  - <<: [*second, *first]\n    name: c\n    bigquery: {table: s.c}\n"
    more += "  - <<: [{lag_seconds: 90}, *second]\n    name: d\n    bigquery: {table: s.d}\n"
    (tmp_path / "p.yaml").write_text(HEAD + more)
    spec = read_spec(tmp_path / "p.yaml")
    assert [dataset.name for dataset in spec.datasets] == ["a", "b", "c", "d"]
    assert [dataset.options.get("lag_seconds") for dataset in spec.datasets] == [None, 60, 60, 90]
    assert line_of(tmp_path, spec, "c", "lag_seconds") == "p.yaml:14"
    assert line_of(tmp_path, spec, "d", "lag_seconds") == "p.yaml:19"


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("  - <<: *first\n    name: b\n    name: c\n", ["p.yaml:13: key 'name' stands twice", "Remove one"]),
        ("  - <<: *first\n    <<: *first\n    name: b\n", ["p.yaml:12: key '<<' stands twice", "<<: [*NAME, *NAME]"]),
        ("  - <<: [*first, {name: b, name: b}]\n", ["p.yaml:11: key 'name' stands twice"]),
        ("  - <<: *first\n    name: no\n", ["p.yaml:12", "name must be a text", "Quote it: 'no'"]),
        ("  - <<: *first\n    lag_seconds: 0300\n", ["p.yaml:12: 0300 begins with 0"]),
        ("  - <<: *first\n    name: b\n    lag_second: 60\n", ["p.yaml:13", "unknown key 'lag_second'"]),
        ("  - <<: 5\n", ["p.yaml:11: not YAML: expected a mapping"]),
    ],
)
def test_a_mistake_beside_a_merge_has_its_own_line(tmp_path: Path, last: str, words: list[str]) -> None:
    (tmp_path / "p.yaml").write_text(HEAD + FIRST + last)
    with pytest.raises(SpecError) as caught:
        read_spec(tmp_path / "p.yaml")
    for word in words:
        assert word in str(caught.value)


def test_a_rule_of_a_suite_overrides_what_it_merges(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "rows:\n"
        "  - expect_column_values_to_be_between: &range {column: n, min_value: 0, max_value: 9}\n"
        "dataset:\n"
        "  - expect_column_values_to_be_between: {<<: *range, max_value: 5}\n"
    )
    suite = load_suite(tmp_path, "r", {"n": "int"})
    assert suite.rows[0].expectation.demand() == "n must be at least 0 and at most 9"
    assert suite.dataset[0].expectation.demand() == "n must be at least 0 and at most 5"
