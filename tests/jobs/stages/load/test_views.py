"""Curated views: one SELECT each, made in BigQuery over the tables that are there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from connectors.errors import ConfigurationError, LoadRefused, SpecError
from jobs.contracts.view_sql import tables_of, with_project
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec
from jobs.stages.load.views import ViewResult
from tests.support.faulty_endpoint import Answer, configuration, endpoint, refusal
from tests.support.load_world import open_client
from tests.support.views import checked_sql, create_views


@pytest.fixture
def shop(settings: Settings, unique_name: Callable[[str], str]) -> Iterator[str]:
    """A BigQuery dataset with a table `payments` of two rows."""
    name = unique_name("shop")
    client = open_client(settings)
    client.create_dataset(name)
    fields = [bigquery.SchemaField("payment_id", "INT64"), bigquery.SchemaField("_batch", "INT64")]
    client.create_table(bigquery.Table(f"{client.project}.{name}.payments", schema=fields))
    client.query(f"INSERT INTO {name}.payments (payment_id, _batch) VALUES (1, 1), (2, 1)").result()
    yield name
    client.delete_dataset(name, delete_contents=True)


def spec_of(view: str) -> PipelineSpec:
    dataset = {
        "name": "payments",
        "primary_key": ["payment_id"],
        "write_disposition": "merge",
        "bigquery": {"table": "shop.payments"},
        "options": {"table": "shop.payments", "cursor": "updated_at"},
    }
    views = [{"name": view, "sql": "payments.sql", "description": "Payments, curated"}]
    source = {"type": "aurora", "connection": "aurora_payments"}
    return PipelineSpec.model_validate(
        {"pipeline": "payments", "source": source, "datasets": [dataset], "views": views, "file": "payments.yaml"}
    )


def in_folder(settings: Settings, folder: Path, sql: str) -> Settings:
    (folder / "payments.sql").write_text(sql, encoding="utf-8")
    return settings.model_copy(update={"pipelines": folder})


def test_a_broken_view_does_not_keep_the_others_from_being_made(
    settings: Settings, shop: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    views = [{"name": f"{shop}.{name}", "sql": f"{name}.sql"} for name in ("cp932", "wrong", "good")]
    spec = PipelineSpec.model_validate(spec_of(f"{shop}.x").model_dump() | {"views": views})
    (tmp_path / "cp932.sql").write_bytes(f"SELECT payment_id AS `番号` FROM {shop}.payments".encode("cp932"))
    (tmp_path / "wrong.sql").write_text("SELECT (")
    (tmp_path / "good.sql").write_text(f"SELECT payment_id FROM {shop}.payments")
    results: list[ViewResult] = []
    with pytest.raises(SpecError, match=r"cp932\.sql:1 pipeline payments: the file is not UTF-8"):
        create_views(spec, settings.model_copy(update={"pipelines": tmp_path}), results.append)
    assert [result.verdict for result in results] == ["failed", "failed", "done"]
    assert "wrong.sql:1 pipeline payments: not GoogleSQL" in str(results[1].error)
    assert "wrong.sql:1 pipeline payments: not GoogleSQL" in capfd.readouterr().out
    assert open_client(settings).get_table(f"{shop}.good").table_type == "VIEW"


def test_a_view_is_made_and_then_replaced(settings: Settings, shop: str, tmp_path: Path) -> None:
    client, spec = open_client(settings), spec_of(f"{shop}.curated")
    first = in_folder(settings, tmp_path, f"-- all\nSELECT payment_id FROM {shop}.payments AS p")
    assert create_views(spec, first) == [f"{shop}.curated"]
    assert client.get_table(f"{shop}.curated").table_type == "VIEW"
    assert client.get_table(f"{shop}.curated").description == "Payments, curated"
    assert sorted(row[0] for row in client.query(f"SELECT payment_id FROM {shop}.curated").result()) == [1, 2]

    create_views(spec, in_folder(settings, tmp_path, f"SELECT COUNT(*) AS payments FROM `{shop}`.`payments`"))
    assert [tuple(row.items()) for row in client.query(f"SELECT * FROM {shop}.curated").result()] == [
        (("payments", 2),)
    ]


def test_a_view_waits_for_its_tables(
    settings: Settings, shop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sql = f"SELECT p.payment_id FROM {shop}.payments AS p JOIN {shop}.merchants AS m USING (payment_id)"
    results: list[ViewResult] = []
    assert create_views(spec_of(f"{shop}.curated"), in_folder(settings, tmp_path, sql), results.append) == []
    assert [(result.verdict, result.reason) for result in results] == [("skipped", f"no table {shop}.merchants yet")]
    assert f"no table {shop}.merchants yet" in capsys.readouterr().out


def test_a_table_of_the_views_name_is_not_replaced(settings: Settings, shop: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="BigQuery has a table of this name"):
        create_views(
            spec_of(f"{shop}.payments"), in_folder(settings, tmp_path, f"SELECT 1 AS one FROM {shop}.payments")
        )


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1;\nSELECT 2", r"payments\.sql:\d.*: a view is one SELECT, and this has 2 statements"),
        ("DROP TABLE shop.payments", r"payments\.sql:1.*: a view is one SELECT, this is DROP"),
        ("", "this has 0 statements"),
        ("SELECT 1\nFROM\nWHERE (", r"payments\.sql:3 pipeline payments: not GoogleSQL: Expected table name"),
        ("SELECT 1 AS a\nFROM payments", r"payments\.sql:2 .*: table payments is not written dataset\.table"),
        ("SELECT 1 AS a\nFROM project.shop.payments", r"payments\.sql:2 .*is not written dataset\.table"),
    ],
)
def test_what_is_no_view_is_said_with_its_line(tmp_path: Path, sql: str, said: str) -> None:
    path = tmp_path / "payments.sql"
    path.write_text(sql, encoding="utf-8")
    with pytest.raises(SpecError, match=said):
        checked_sql(path, "payments")


def test_only_tables_get_the_project() -> None:
    text = (
        "WITH a AS (SELECT 1 AS id)\nSELECT x.id -- shop.payments\n"
        "FROM shop.payments AS x, `shop`.`merchants`, a, UNNEST([1])"
    )
    assert tables_of(text) == ["shop.payments", "shop.merchants"]
    assert with_project(text, "my-project") == (
        "WITH a AS (SELECT 1 AS id)\nSELECT x.id -- shop.payments\n"
        "FROM `my-project`.shop.payments AS x, `my-project`.`shop`.`merchants`, a, UNNEST([1])"
    )


def test_a_view_that_costs_too_much_to_look_at_is_not_made(settings: Settings, shop: str, tmp_path: Path) -> None:
    spec = spec_of(f"{shop}.curated")
    here = in_folder(settings, tmp_path, f"SELECT payment_id FROM {shop}.payments AS p")

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        status, headers, content = forward()
        if configuration(path, body).get("dryRun"):
            job = json.loads(content)
            job["statistics"] = {"query": {"totalBytesProcessed": "12000000000"}}
            content = json.dumps(job).encode()
        return status, headers, content

    with endpoint(str(settings.warehouse_endpoint), fault) as address:
        there = here.model_copy(update={"warehouse_endpoint": address, "max_bytes_billed": 10_000_000_000})
        with pytest.raises(LoadRefused, match=r"payments\.sql .*each look at view \S+ would scan 12 GB"):
            create_views(spec, there)
        with pytest.raises(NotFound):
            open_client(settings).get_table(f"{shop}.curated")
        cheap = there.model_copy(update={"max_bytes_billed": 12_000_000_000})
        assert create_views(spec, cheap) == [f"{shop}.curated"]


def test_a_view_of_a_table_that_wants_a_filter_is_made(settings: Settings, shop: str, tmp_path: Path) -> None:
    here = in_folder(settings, tmp_path, f"SELECT payment_id FROM {shop}.payments AS p")
    said = "Cannot query over table 'payments' without a filter over column(s) 'day' that can be used for elimination"

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        return refusal(400, "invalidQuery", said) if configuration(path, body).get("dryRun") else forward()

    with endpoint(str(settings.warehouse_endpoint), fault) as address:
        there = here.model_copy(update={"warehouse_endpoint": address, "max_bytes_billed": 10_000_000_000})
        assert create_views(spec_of(f"{shop}.curated"), there) == [f"{shop}.curated"]
