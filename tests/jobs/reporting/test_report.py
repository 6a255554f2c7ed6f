"""`lakeferry report`: what it asks BigQuery, and what is read back from its page."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery
from zetasql.api import Analyzer, CatalogBuilder, TableBuilder
from zetasql.types import AnalyzerOptions, LanguageOptions, TypeKind, ZetaSQLBuiltinFunctionOptions

from connectors.errors import LoadRefused, ObjectNotFound, SpecError, UsageError
from jobs.reporting.report import write_report
from jobs.reporting.report.facts import folded
from jobs.reporting.report.statements import by_day, shape_of, totals
from jobs.runtime.settings import Settings
from jobs.spec.models import PipelineSpec
from tests.support.bigquery_contract import documented
from tests.support.browser import DESK, PHONE, look
from tests.support.faulty_endpoint import Answer, configuration, endpoint
from tests.support.load_world import open_client
from tests.support.views import create_views

COLUMNS = {
    "payment_id": "INT64",
    "paid_at": "TIMESTAMP",
    "created_at": "DATETIME",
    "sale_date": "DATE",
    "merchant name": "STRING",
    "amount": "NUMERIC",
    "weight": "FLOAT64",
    "items": "INT64",
}
SQL = """SELECT p.payment_id, p.paid_at, p.status, p.amount, p.items FROM {shop}.payments AS p"""


@pytest.fixture(scope="session")
def analyser(googlesql: None) -> Any:
    """ZetaSQL's analyser over one view."""
    language = LanguageOptions.maximum_features()
    table = TableBuilder("view")
    for column, kind in COLUMNS.items():
        table = table.add_column(column, getattr(TypeKind, f"TYPE_{'DOUBLE' if kind == 'FLOAT64' else kind}"))
    catalog = CatalogBuilder("warehouse").add_table(table.build())
    functions = ZetaSQLBuiltinFunctionOptions(language_options=language)
    built = catalog.with_builtin_functions(functions).build()
    return Analyzer(AnalyzerOptions(language_options=language), built)


@pytest.mark.parametrize("kind", ["DATE", "DATETIME", "TIMESTAMP", None])
def test_what_is_asked_is_googlesql(analyser: Any, kind: str | None) -> None:
    days = ("DATE", "DATETIME", "TIMESTAMP")
    shape = shape_of([column for column in COLUMNS.items() if column[1] == kind or column[1] not in days])
    analyser.analyze_statement(totals("`view`", shape))
    for text in ("merchant name", None):
        analyser.analyze_statement(by_day("`view`", shape, text, date(2026, 11, 30)))
    with pytest.raises(Exception, match="nothing"):
        analyser.analyze_statement(by_day("`view`", shape, "nothing", None))


def test_a_day_goes_before_an_instant_and_ids_are_not_summed() -> None:
    shape = shape_of([*COLUMNS.items(), ("_batch", "INT64"), ("id", "INT64"), ("Order_ID", "STRING")])
    assert (shape.day, shape.day_type) == ("sale_date", "DATE")
    assert shape.numbers == ("amount", "weight", "items")
    assert shape.texts == ("merchant name",)
    assert shape_of([("a", "DATETIME"), ("b", "TIMESTAMP")]).day == "a"
    assert shape_of([("a", "STRING")]).day is None


def test_eight_values_are_told_apart_and_the_rest_are_others() -> None:
    first, second = date(2026, 11, 29), date(2026, 11, 30)
    answer = [(first, f"value {n:02d}", 100 - n, Decimal(n)) for n in range(9)]
    answer += [(second, None, 1000, Decimal("0.1")), (second, "value 08", 1, None)]
    values, cells = folded(answer, keeps_values=True)
    assert values == ("no value", *(f"value {n:02d}" for n in range(7)), "2 others")
    assert (cells[second, 0].rows, cells[second, 0].sums) == (1000, (Decimal("0.1"),))
    assert (cells[first, 8].rows, cells[first, 8].sums) == (93 + 92, (Decimal(15),))
    assert (cells[second, 8].rows, cells[second, 8].sums) == (1, (None,))


@pytest.fixture
def shop(settings: Settings, unique_name: Callable[[str], str]) -> Iterator[str]:
    """A BigQuery dataset with five payments in `payments`, a day of them without a status."""
    name = unique_name("shop")
    client = open_client(settings)
    client.create_dataset(name)
    kinds = {"payment_id": "INT64", "paid_at": "TIMESTAMP", "status": "STRING", "amount": "NUMERIC", "items": "INT64"}
    fields = [bigquery.SchemaField(column, kind) for column, kind in kinds.items()]
    client.create_table(bigquery.Table(f"{client.project}.{name}.payments", schema=fields))
    rows = [
        (1, "2026-11-28 23:59:59", "'<b>PAID</b>'", "0.1", 1),
        (2, "2026-11-29 00:00:00", "'<b>PAID</b>'", "0.2", 1),
        (3, "2026-11-29 10:00:00", "'REFUNDED'", "-12345678901234.05", 2),
        (4, "2026-11-30 10:00:00", "NULL", "1000", 3),
        (5, "2026-05-01 10:00:00", "'REFUNDED'", "7", 900),
    ]
    values = ", ".join(f"({n}, TIMESTAMP '{at}+00', {status}, NUMERIC '{a}', {i})" for n, at, status, a, i in rows)
    client.query(f"INSERT INTO {name}.payments (payment_id, paid_at, status, amount, items) VALUES {values}").result()
    yield name
    client.delete_dataset(name, delete_contents=True)


def spec_of(*views: str) -> PipelineSpec:
    dataset = {
        "name": "payments",
        "write_disposition": "append",
        "bigquery": {"table": "shop.payments"},
        "options": {"table": "shop.payments"},
    }
    return PipelineSpec.model_validate(
        {
            "pipeline": "payments",
            "source": {"type": "aurora", "connection": "aurora_payments"},
            "datasets": [dataset],
            "views": [{"name": view, "sql": "payments.sql"} for view in views],
            "file": "payments.yaml",
        }
    )


def table(page: str, number: int) -> list[list[str]]:
    """The cells of one of the page's tables, by row."""
    found = re.findall(r"<table.*?</table>", page, re.DOTALL)[number]
    rows = re.findall(r"<tr>(.*?)</tr>", found, re.DOTALL)
    return [[html.unescape(cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)] for row in rows]


def test_the_sums_of_a_view_are_on_the_page(settings: Settings, shop: str, tmp_path: Path) -> None:
    (tmp_path / "payments.sql").write_text(SQL.format(shop=shop), encoding="utf-8")
    spec = spec_of(f"{shop}.curated")
    create_views(spec, settings.model_copy(update={"pipelines": tmp_path}))
    file = tmp_path / "report.html"
    with_a_stranger = spec_of(f"{shop}.curated", f"{shop}.not_there")
    assert write_report(with_a_stranger, settings, file) == [f"{shop}.not_there"]
    page = file.read_text(encoding="utf-8")
    # May is more than 90 days before the last day: only the whole view counts it.
    assert table(page, 0) == [
        ["status", "rows", "amount", "items"],
        ["<b>PAID</b>", "2", "0.30", "2"],
        ["REFUNDED", "1", "-12,345,678,901,234.05", "2"],
        ["no value", "1", "1,000", "3"],
        ["these days", "4", "-12,345,678,900,233.75", "7"],
        ["the whole view", "5", "-12,345,678,900,226.75", "907"],
    ]
    assert table(page, 1) == [
        ["paid_at", "rows", "amount", "items"],
        ["2026-11-30", "1", "1,000", "3"],
        ["2026-11-29", "2", "-12,345,678,901,233.85", "3"],
        ["2026-11-28", "1", "0.10", "1"],
    ]
    assert re.findall(r"<figcaption>(\w+)</figcaption><svg", page) == ["rows", "amount", "items"]
    assert "<b>" not in page
    assert "<script" not in page
    assert f"{shop}.not_there is not in BigQuery yet." in page
    assert "lakeferry run payments makes it" in page
    for width in (PHONE, DESK):
        for dark in (False, True):
            seen = look(file, tmp_path, width, dark=dark)
            assert (seen["opened"]["width"], seen["opened"]["beyond"]) == (width, [])
            assert seen["faintest"][0] >= 4.5, seen["faintest"]
    assert "<b>PAID</b>" in seen["closed"]["text"]


def test_what_would_bill_more_than_the_limit_is_refused(settings: Settings, shop: str, tmp_path: Path) -> None:
    (tmp_path / "payments.sql").write_text(SQL.format(shop=shop), encoding="utf-8")
    spec = spec_of(f"{shop}.curated")
    create_views(spec, settings.model_copy(update={"pipelines": tmp_path}))
    limits: list[str] = []

    def fault(method: str, path: str, body: bytes, forward: Callable[[], Answer]) -> Answer | None:
        asked = configuration(path, body).get("query", {})
        if "COUNT(" in asked.get("query", ""):
            limits.append(asked["maximumBytesBilled"])
            return documented("bytes limit", limit=10485760, needed=20971520)
        return forward()

    with endpoint(str(settings.warehouse_endpoint), fault) as address:
        capped = settings.model_copy(update={"max_bytes_billed": 10485760, "warehouse_endpoint": address})
        with pytest.raises(LoadRefused, match=r"exceeded limit for bytes billed.*Raise .*LAKEFERRY_MAX_BYTES_BILLED"):
            write_report(spec, capped, tmp_path / "report.html")
    assert limits == ["10485760"]
    assert not (tmp_path / "report.html").exists()


def test_without_any_view_there_is_no_report(settings: Settings, shop: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no views to report on"):
        write_report(spec_of(), settings, tmp_path / "report.html")
    with pytest.raises(ObjectNotFound, match=r"\.curated is not in BigQuery\. .*lakeferry run payments"):
        write_report(spec_of(f"{shop}.curated"), settings, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_file_that_cannot_be_written_is_told(settings: Settings, shop: str, tmp_path: Path) -> None:
    (tmp_path / "payments.sql").write_text(SQL.format(shop=shop), encoding="utf-8")
    spec = spec_of(f"{shop}.curated")
    create_views(spec, settings.model_copy(update={"pipelines": tmp_path}))
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(spec, settings, tmp_path / "no" / "report.html")
