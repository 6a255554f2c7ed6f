"""Words and numbers that YAML 1.1 reads otherwise than they are written are refused with "quote it"."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.errors import SpecError
from jobs.spec.reader import read_spec
from tests.support.suites import load_suite

GOOD = """\
pipeline: p
source: {type: aurora, connection: c}
datasets:
  - name: d
    table: a.b
    primary_key: [id]
    cursor: updated_at
    lag_seconds: 300
    write_disposition: merge
    bigquery: {table: x.y}
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("300", "0300", ["p.yaml:8", "0300 begins with 0", "octal number 192", "Write 300, or quote it: '0300'"]),
        ("300", "0800", ["p.yaml:8", "0800 begins with 0", "Write 800, or quote it: '0800'"]),
        ("300", "00", ["p.yaml:8", "00 begins with 0", "Write 0, or"]),
        ("300", "-0300", ["p.yaml:8", "octal number -192", "Write -300"]),
        ("300", "0x10", ["p.yaml:8", "YAML reads 0x10 as 16", "quote it: '0x10'"]),
        ("300", "0b11", ["p.yaml:8", "YAML reads 0b11 as 3"]),
        ("300", "0b_", ["p.yaml:8", "YAML reads 0b_ as"]),
        ("300", "1_000", ["p.yaml:8", "YAML reads 1_000 as 1000", "quote it: '1_000'"]),
        ("300", "12:30", ["p.yaml:8", "YAML reads 12:30 as 750", "quote it: '12:30'"]),
        ("300", "12:30.5", ["p.yaml:8", "YAML reads 12:30.5 as 750.5"]),
        ("300", "9" * 5000, ["p.yaml:8", "a number of 5,000 characters"]),
        (
            "300",
            "yes",
            ["p.yaml:8", "dataset d", "lag_seconds must be a whole number (found yes, which YAML reads as true)"],
        ),
        ("300", "2026-01-01", ["p.yaml:8", "lag_seconds"]),
        (
            "{table: x.y}",
            "{table: x.y, partition_by: n, partition_range: {start: 0, end: 010000, interval: 10}}",
            ["p.yaml:10", "010000 begins with 0", "octal number 4096", "Write 10000"],
        ),
        (
            "[id]",
            "[no]",
            ["p.yaml:6", "dataset d", "primary_key", "found no, which YAML reads as false", "Quote it: 'no'"],
        ),
        ("[id]", "[id, ON]", ["p.yaml:6", "found ON, which YAML reads as true", "Quote it: 'ON'"]),
        ("[id]", "[12]", ["p.yaml:6", "found 12", "Quote it: '12'"]),
        ("[id]", "[2026-01-01]", ["p.yaml:6", "found 2026-01-01", "Quote it: '2026-01-01'"]),
        ("[id]", "[null]", ["p.yaml:6", "found null, which YAML reads as no value", "Quote it: 'null'"]),
        ("updated_at", "no", ["p.yaml:7", "cursor must be a text", "found no, which", "Quote it: 'no'"]),
        ("updated_at", "[no]", ["p.yaml:7", "cursor", "found no, which YAML reads as false", "Quote it: 'no'"]),
        ("a.b", "off", ["p.yaml:5", "table must be a text", "Quote it: 'off'"]),
        ("{table: x.y}", "{table: x.y, cluster_by: [no]}", ["p.yaml:10", "cluster_by", "Quote it: 'no'"]),
        ("{table: x.y}", "{table: x.y, partition_by: y}", []),
        ("{table: x.y}", "{table: x.y, labels: {env: off}}", ["p.yaml:10", "Quote it: 'off'"]),
        (
            "merge\n",
            "merge\n    mask: {no: hmac}\n",
            ["p.yaml:10", "YAML reads the key no as true or false", "Quote it: 'no'"],
        ),
        ("merge\n", "merge\n    mask: {1: hmac}\n", ["p.yaml:10", "YAML reads the key 1 as a number"]),
        ("merge\n", "merge\n    reads: yes\n", ["p.yaml:10", "reads must be a whole number"]),
        ("merge\n", "merge\n    deletes: sweep\n    most_deleted: on\n", ["p.yaml:11", "most_deleted must be a"]),
        ("merge\n", "merge\n    description: 2026-01-01\n", ["p.yaml:10", "description", "Quote it: '2026-01-01'"]),
        ("pipeline: p", "pipeline: p\nschedule: off", ["p.yaml:2", "found off, which YAML reads as false"]),
    ],
)
def test_in_a_pipeline(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert old in GOOD
    (tmp_path / "p.yaml").write_text(GOOD.replace(old, new, 1))
    if not words:
        read_spec(tmp_path / "p.yaml")
        return
    with pytest.raises(SpecError) as caught:
        read_spec(tmp_path / "p.yaml")
    for word in words:
        assert word in str(caught.value)


def test_what_is_read_as_written(tmp_path: Path) -> None:
    changes = (
        "merge\n    reconcile: off\n    deletes: sweep\n    most_deleted: 0.25\n    mask: {\"off\": null, memo: 'null'}"
    )
    text = GOOD.replace("merge", changes).replace("[id]", "['no', \"0300\"]").replace("updated_at", "'on'")
    text = text.replace(
        "{table: x.y}",
        "{table: x.y, require_partition_filter: yes, partition_by: n, max_bytes_billed: 10 GB, labels: {zip: '0123'}, "
        "partition_range: {start: 0, end: 1000, interval: +10}}",
    )
    (tmp_path / "p.yaml").write_text(text)
    [dataset] = read_spec(tmp_path / "p.yaml").datasets
    assert dataset.reconcile == "off"
    assert dataset.most_deleted == 0.25
    assert dataset.primary_key == ["no", "0300"]
    assert dataset.options["cursor"] == "on"
    assert dataset.mask == {"off": "null", "memo": "null"}
    assert dataset.bigquery.require_partition_filter is True
    assert dataset.bigquery.partition_range is not None
    assert (dataset.bigquery.partition_range.start, dataset.bigquery.partition_range.interval) == (0, 10)
    assert dataset.bigquery.labels == {"zip": "0123"}


@pytest.mark.parametrize("tag", ["!", "!!str", "!<tag:yaml.org,2002:str>"])
def test_an_explicit_tag_is_the_user_s_word(tmp_path: Path, tag: str) -> None:
    text = GOOD.replace("[id]", f"[{tag} 010, {tag} no]").replace("merge\n", f"merge\n    mask: {{{tag} on: hmac}}\n")
    text = text.replace("{table: x.y}", f"{{table: x.y, labels: {{zip: {tag} 0123, day: {tag} 2026-02-30}}}}")
    (tmp_path / "p.yaml").write_text(text)
    [dataset] = read_spec(tmp_path / "p.yaml").datasets
    assert dataset.primary_key == ["010", "no"]
    assert dataset.mask == {"on": "hmac"}
    assert dataset.bigquery.labels == {"zip": "0123", "day": "2026-02-30"}
    (tmp_path / "r.yaml").write_text(RULE.format(column=f"{tag} no", values=f"[{tag} 010, {tag} NO, {tag} '1']"))
    suite = load_suite(tmp_path, "r", {"no": "string"})
    assert [rule.expectation.demand() for rule in suite.rows] == ["no must be one of 010, NO, 1"]


RULE = "rows:\n  - expect_column_values_to_be_in_set: {{column: {column}, value_set: {values}}}\n"


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("no", "[a]", ["r.yaml:2", "YAML reads no as something else", "Quote it: 'no'"]),
        ("c", "[NO, SE]", ["r.yaml:2", "False is a boolean in YAML", "quote it", "yes, no, on and off"]),
        ("c", "[0300]", ["r.yaml:2", "octal number 192", "quote it: '0300'"]),
        ("c", "[0800]", ["r.yaml:2", "0800 begins with 0", "quote it: '0800'"]),
        ("c", "[12:30]", ["r.yaml:2", "YAML reads 12:30 as 750", "quote it: '12:30'"]),
        ("c", "[1_000]", ["r.yaml:2", "YAML reads 1_000 as 1000"]),
        ("c", "[1_000.5]", ["r.yaml:2", "YAML reads 1_000.5 as 1000.5"]),
    ],
)
@pytest.mark.timeout(15)
def test_in_a_suite(tmp_path: Path, column: str, values: str, words: list[str]) -> None:
    (tmp_path / "r.yaml").write_text(RULE.format(column=column, values=values))
    with pytest.raises(SpecError) as caught:
        load_suite(tmp_path, "r", {"c": "string", "d": "decimal(10,2)"})
    for word in words:
        assert word in str(caught.value)


@pytest.mark.timeout(15)
@pytest.mark.parametrize("number", ["1.0e-400000000", "1.0e+400000000", "1e400000000", "'1e-400000000'"])
def test_a_number_of_an_endless_exponent_is_refused_at_once(tmp_path: Path, number: str) -> None:
    (tmp_path / "r.yaml").write_text(RULE.format(column="d", values=f"[{number}]"))
    with pytest.raises(SpecError, match=r"r\.yaml:2: the value .*"):
        load_suite(tmp_path, "r", {"d": "decimal(10,2)"})


def test_what_a_suite_reads_as_written(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        RULE.format(column="c", values="['NO', '0300', 2026-01-01, a]")
        + RULE.format(column="d", values="[0, 0.10, -12, +3, .5, 1.5e+3]").removeprefix("rows:\n")
        + RULE.format(column="b", values="[yes]").removeprefix("rows:\n")
    )
    suite = load_suite(tmp_path, "r", {"c": "string", "d": "decimal(10,2)", "b": "boolean"})
    assert [rule.expectation.demand() for rule in suite.rows] == [
        "c must be one of NO, 0300, 2026-01-01, a",
        "d must be one of 0, 0.10, -12, 3, 0.5, 1500",
        "b must be one of true",
    ]
