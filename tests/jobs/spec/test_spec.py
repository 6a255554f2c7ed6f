"""Specs: which ones are accepted, and what the message about a mistake says."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors import source_class
from connectors.errors import SpecError
from jobs.runtime.project import CODE_ROOT as CHECKOUT
from jobs.spec.reader import load_pipeline, load_pipelines, read_spec

GOOD = """\
pipeline: p
source: {type: aurora, connection: c}
datasets:
  - name: d
    table: a.b
    primary_key: [id]
    write_disposition: merge
    bigquery: {table: x.y}
"""


def _refused(folder: Path, text: str, name: str = "p") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_spec(path)
    return str(caught.value)


def test_the_shipped_pipelines_are_the_five() -> None:
    specs, broken = load_pipelines(CHECKOUT / "dags" / "pipelines")
    assert broken == {}
    assert {name: [dataset.name for dataset in spec.datasets] for name, spec in specs.items()} == {
        "app_events": ["app_events"],
        "merchant_sales": ["daily_merchant_sales"],
        "payments": ["payments", "merchants"],
        "settlements": ["settlements"],
        "wallet": ["balance_entries"],
    }


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("datasets:", "retries: 3\ndatasets:", ["p.yaml:3", "unknown key 'retries'", "schedule"]),
        ("    table: a.b\n", "", ["p.yaml:4", "dataset d", "key 'table' is missing", "Add table: …"]),
        (
            "merge",
            "upsert",
            ["p.yaml:7", "write_disposition is 'upsert'", "append, merge, replace, overwrite_partitions"],
        ),
        (
            "    table: a.b\n",
            "    table: a.b\n    cursor: at\n    cursor_time_zone: Asia/Tokio\n",
            ["p.yaml:7", "cursor_time_zone", "did you mean Asia/Tokyo", "'Asia/Tokio'"],
        ),
        (
            "    table: a.b\n",
            "    table: a.b\n    lookback: -1\n    cursor: id\n",
            ["p.yaml:6", "lookback", "greater than or equal to 0"],
        ),
        ("type: aurora", "type: oracle", ["p.yaml:2", "unknown source type 'oracle'", "aurora, kafka, s3, tidb"]),
        ("{table: x.y}", "{table: y}", ["p.yaml:8", "dataset.table", "'y'"]),
        ("{table: x.y}", "{table: x.y, partiton_by: z}", ["p.yaml:8", "Did you mean partition_by?"]),
        ("    primary_key: [id]\n", "", ["p.yaml:6", "merge needs a primary_key"]),
        ("pipeline: p", "pipeline: q", ["p.yaml:1", "Rename the file to q.yaml"]),
        ("name: d", "name: D-1", ["p.yaml:4", "lower case"]),
        ("    table: a.b", "    table: a.b\n    table: a.c", ["p.yaml:6", "'table' stands twice"]),
        ("datasets:", "datasets: [", ["p.yaml:", "not YAML"]),
        ("merge\n", "replace\n    deletes: sweep\n", ["p.yaml:8", "dataset d", "sweep needs write_disposition merge"]),
        (
            "    primary_key: [id]\n    write_disposition: merge",
            "    deletes: sweep\n    write_disposition: append",
            ["p.yaml:6", "sweep needs write_disposition merge, not append"],
        ),
        ("merge\n", "merge\n    deletes: yes please\n", ["p.yaml:8", "ignore, sweep"]),
        ("merge\n", "merge\n    deletes: sweep\n    most_deleted: 0\n", ["p.yaml:9", "most_deleted", "greater than 0"]),
        ("merge\n", "merge\n    deletes: sweep\n    most_deleted: 20\n", ["p.yaml:9", "less than or equal to 1"]),
        ("merge\n", "merge\n    most_quarantined: 10\n", ["p.yaml:8", "most_quarantined", "less than or equal to 1"]),
        (
            "x.y}",
            "x.y, deletes: remove}",
            ["p.yaml:8", "deletes: remove has no effect without deletes: sweep", "Add deletes: sweep"],
        ),
        (
            "merge\n    bigquery: {table: x.y}",
            "replace\n    bigquery: {table: x.y, deletes: remove}",
            ["p.yaml:8", "dataset d", "deletes: remove is for write_disposition merge, not replace"],
        ),
        ("x.y}", "x.y, deletes: hard}", ["p.yaml:8", "mark, remove"]),
        ("merge\n", "merge\n    most_deleted: 0.5\n", ["p.yaml:8", "Add deletes: sweep"]),
        ("[id]", "id", ["p.yaml:6", "primary_key is a list, and 'id' is not one. Write primary_key: [id]"]),
        ("[id]", "[[id]]", ["p.yaml:6", "primary_key is a text"]),
        ("{table: x.y}", "x.y", ["p.yaml:8", "bigquery is a mapping"]),
        ("x.y}", "x.y, partition_granularity: hour}", ["p.yaml:8", "partition_granularity has no effect without"]),
        ("x.y}", "x.y, partition_by: a, partition_granularity: week}", ["p.yaml:8", "hour, day, month, year"]),
        (
            "x.y}",
            "x.y, partition_by: a, partition_range: {start: 0, end: 9, interval: 1}, partition_expiration_days: 3}",
            ["p.yaml:8", "partition_expiration_days is for partitions by time"],
        ),
        (
            "x.y}",
            "x.y, partition_by: a, partition_range: {start: 0, end: 20000, interval: 1}}",
            ["p.yaml:8", "makes 20000 partitions"],
        ),
        ("x.y}", "x.y, partition_by: a, partition_range: {start: 0, stop: 9}}", ["p.yaml:8", "'end' is missing"]),
        ("x.y}", "x.y, policy_tags: {id: secret}}", ["p.yaml:8", "id: a policy tag is written projects/"]),
        ("x.y}", "x.y, max_bytes_billed: ten}", ["p.yaml:8", "max_bytes_billed: a size is", "10 GB"]),
        ("x.y}", "x.y, labels: {Team: a}}", ["p.yaml:8", "Team: a label is named by"]),
        ("merge\n", "merge\n    reads: twice\n", ["p.yaml:8", "reads is a whole number, and 'twice' is not one"]),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_would_do(
    tmp_path: Path, old: str, new: str, words: list[str]
) -> None:
    assert old in GOOD
    said = _refused(tmp_path, GOOD.replace(old, new, 1))
    for word in words:
        assert word in said


WINDOWS = {
    "cursor": ("aurora", "table: a.b\n    cursor: at", ["p.yaml:8", "Leave cursor out"]),
    "cursors": ("tidb", "table: a.b\n    cursor: [at, id]", ["p.yaml:8", "Leave cursor out"]),
    "topic": ("kafka", "topic: t\n    columns: {id: bigint}", ["p.yaml:8", "of a topic of kafka", "Write merge or"]),
    "files": ("s3", "path: s3://b/p/\n    columns: {id: bigint}", ["p.yaml:8", "of a path of s3", "Write merge or"]),
}


@pytest.mark.parametrize(("source", "read", "words"), WINDOWS.values(), ids=WINDOWS.keys())
def test_a_replace_that_would_keep_the_last_window_is_refused(
    tmp_path: Path, source: str, read: str, words: list[str]
) -> None:
    text = GOOD.replace("aurora", source).replace("table: a.b", read)
    for word in ["replace keeps only the rows of the last run", *words]:
        assert word in _refused(tmp_path, text.replace("merge\n", "replace\n"))
    # A dataset that reads all rows may replace all rows.
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    assert read_spec(tmp_path / "p.yaml").datasets[0].write_disposition == "merge"
    (tmp_path / "p.yaml").write_text(GOOD.replace("merge\n", "replace\n"), encoding="utf-8")
    assert read_spec(tmp_path / "p.yaml").datasets[0].write_disposition == "replace"


def test_days_are_replaced_by_days(tmp_path: Path) -> None:
    text = """\
pipeline: p
datasets:
  - name: d
    inputs: [a]
    transform: m:f
    write_disposition: overwrite_partitions
    bigquery: {table: x.y, partition_by: day, partition_granularity: hour}
"""
    said = _refused(tmp_path, text)
    for word in ("p.yaml:7", "dataset d", "replaces days by a DATE column", "month or year"):
        assert word in said
    (tmp_path / "p.yaml").write_text(text.replace("hour", "month"), encoding="utf-8")
    assert read_spec(tmp_path / "p.yaml").datasets[0].bigquery.partition_granularity == "month"


def test_only_tables_are_swept(tmp_path: Path) -> None:
    kafka = GOOD.replace("aurora", "kafka").replace("table: a.b", "topic: t\n    columns: {id: bigint}")
    said = _refused(tmp_path, kafka.replace("merge\n", "merge\n    deletes: sweep\n"))
    for word in ("p.yaml:9", "dataset d", "a source of type kafka", "aurora and tidb"):
        assert word in said
    derived = """\
pipeline: p
datasets:
  - name: d
    inputs: [a]
    transform: m:f
    primary_key: [id]
    write_disposition: merge
    deletes: sweep
    bigquery: {table: x.y}
"""
    assert "p.yaml:8" in _refused(tmp_path, derived)


def test_a_broken_file_breaks_only_itself_and_a_name_in_two_files_both(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "broken.yaml").write_text("pipeline: [", encoding="utf-8")
    (tmp_path / "z.yaml").write_text(GOOD.replace("pipeline: p", "pipeline: z"), encoding="utf-8")
    other = GOOD.replace("pipeline: p", "pipeline: other").replace("name: d", "name: o").replace("x.y", "x.o")
    (tmp_path / "other.yaml").write_text(other, encoding="utf-8")
    specs, broken = load_pipelines(tmp_path)
    assert list(specs) == ["other"]
    assert {path.name for path in broken} == {"broken.yaml", "p.yaml", "z.yaml"}
    assert str(broken[tmp_path / "p.yaml"]).startswith(
        "p.yaml:4 pipeline p dataset d: dataset 'd' is also in z.yaml:4."
    )
    assert str(broken[tmp_path / "z.yaml"]).startswith(
        "z.yaml:4 pipeline z dataset d: dataset 'd' is also in p.yaml:4."
    )


def test_a_pipeline_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(SpecError, match=r"no pipeline 'q'.*Valid: p\."):
        load_pipeline(tmp_path, "q")


def test_a_pipeline_whose_table_another_file_has_is_refused_by_itself_too(tmp_path: Path) -> None:
    (tmp_path / "o.yaml").write_text(GOOD.replace("pipeline: p", "pipeline: o").replace("name: d", "name: e"))
    (tmp_path / "p.yaml").write_text(GOOD)
    (tmp_path / "q.yaml").write_text("not a pipeline")
    with pytest.raises(
        SpecError, match=r"p\.yaml:8 .*: dataset 'd' goes to x\.y, and so does dataset 'e' of o\.yaml:8"
    ):
        load_pipeline(tmp_path, "p")
    with pytest.raises(
        SpecError, match=r"o\.yaml:8 .*: dataset 'e' goes to x\.y, and so does dataset 'd' of p\.yaml:8"
    ):
        load_pipeline(tmp_path, "o")


def test_three_files_with_one_name_each_name_the_others(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.yaml").write_text(GOOD.replace("pipeline: p", f"pipeline: {name}"))
    specs, broken = load_pipelines(tmp_path)
    assert specs == {}
    assert "is also in a.yaml:4 and c.yaml:4" in str(broken[tmp_path / "b.yaml"])


def test_a_view_is_a_table_that_two_files_may_only_make_of_one_text(tmp_path: Path) -> None:
    for name in ("one.sql", "two.sql"):
        (tmp_path / name).write_text("SELECT 1 AS x FROM x.a")
    for name, view, sql in (("a", "x.v", "one.sql"), ("b", "x.v", "one.sql"), ("c", "x.w", "one.sql")):
        text = GOOD.replace("pipeline: p", f"pipeline: {name}").replace("name: d", f"name: {name}")
        text = text.replace("x.y", f"x.{name}") + f"views:\n  - {{name: {view}, sql: {sql}}}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    assert load_pipelines(tmp_path)[1] == {}
    (tmp_path / "b.yaml").write_text((tmp_path / "b.yaml").read_text().replace("one.sql", "two.sql"))
    (tmp_path / "c.yaml").write_text((tmp_path / "c.yaml").read_text().replace("x.w", "x.a"))
    specs, broken = load_pipelines(tmp_path)
    assert specs == {}
    said = {path.stem: str(error) for path, error in broken.items()}
    assert "dataset 'a' goes to x.a, and so does a view of c.yaml:10" in said["a"]
    assert "b.yaml:10 pipeline b: a view goes to x.v, and so does a view of a.yaml:10" in said["b"]
    assert "a view goes to x.a, and so does dataset 'a' of a.yaml:8" in said["c"]
    with pytest.raises(SpecError, match="so does a view of"):
        load_pipeline(tmp_path, "b")


def test_a_copy_of_a_file_breaks_only_itself(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(GOOD)
    (tmp_path / "p copy.yaml").write_text(GOOD)
    specs, broken = load_pipelines(tmp_path)
    assert (list(specs), [path.name for path in broken]) == (["p"], ["p copy.yaml"])


_FILES = {
    "aurora": "table: s.d, cursor: updated_at",
    "tidb": "table: s.d",
    "kafka": "topic: t, columns: {id: string}",
    "s3": "path: 's3://b/p/', columns: {id: string}",
}


@pytest.mark.parametrize("source", ["aurora", "tidb"])
def test_an_append_of_rows_without_a_place_needs_a_key(tmp_path: Path, source: str) -> None:
    """It would be published, and then fail at every load."""
    text = (
        f"pipeline: p\nsource: {{type: {source}, connection: a}}\ndatasets:\n"
        f"  - {{name: d, {_FILES[source]}, bigquery: {{table: s.d}},\n     write_disposition: append}}\n"
    )
    (tmp_path / "p.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(
        SpecError, match=r"p\.yaml:5 .*append needs a primary_key here.*Add primary_key: \[COLUMN"
    ) as caught:
        read_spec(tmp_path / "p.yaml")
    assert "dataset d" in str(caught.value)
    (tmp_path / "p.yaml").write_text(text.replace("append}", "append, primary_key: [id]}"), encoding="utf-8")
    assert read_spec(tmp_path / "p.yaml").datasets[0].primary_key == ["id"]


@pytest.mark.parametrize("source", ["kafka", "s3"])
def test_an_append_of_rows_that_name_their_place_needs_no_key(tmp_path: Path, source: str) -> None:
    (tmp_path / "p.yaml").write_text(
        f"pipeline: p\nsource: {{type: {source}, connection: a}}\ndatasets:\n"
        f"  - {{name: d, {_FILES[source]}, bigquery: {{table: s.d}}, write_disposition: append}}\n",
        encoding="utf-8",
    )
    assert read_spec(tmp_path / "p.yaml").datasets[0].primary_key == []


@pytest.mark.parametrize("source", _FILES)
def test_options_say_whether_the_source_names_the_place_of_its_rows(source: str) -> None:
    kind = source_class(source)
    assert kind.Options.rows_name_their_place == bool(kind.identity_columns)


def test_no_pipeline_has_the_name_of_the_page_s_dag(tmp_path: Path) -> None:
    text = (
        "pipeline: lakeferry_page\nsource: {type: aurora, connection: a}\ndatasets:\n"
        "  - {name: d, table: s.d, write_disposition: replace, bigquery: {table: s.d}}\n"
    )
    (tmp_path / "lakeferry_page.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"lakeferry_page\.yaml:1: .*has the id of the DAG that draws the status page"):
        read_spec(tmp_path / "lakeferry_page.yaml")
