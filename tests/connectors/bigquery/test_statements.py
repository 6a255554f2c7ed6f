"""Every statement the warehouse is sent, analysed by Google's own SQL engine: the emulator's is not it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from zetasql.api import Analyzer, CatalogBuilder, TableBuilder
from zetasql.types import AnalyzerOptions, LanguageFeature, LanguageOptions, TypeKind, ZetaSQLBuiltinFunctionOptions

from connectors.bigquery import statements, transactions
from connectors.bigquery.columns import WarehouseColumn
from connectors.bigquery.partitions import IntegerRange, Partitioning
from connectors.bigquery.statements import Target
from connectors.bigquery.transactions import Entry
from connectors.errors import LoadRefused
from connectors.versions import LogColumns
from jobs.runtime.project import CODE_ROOT as CHECKOUT

PAYMENTS = {
    "payment_id": "INT64",
    "merchant_id": "INT64",
    "amount": "NUMERIC",
    "currency": "STRING",
    "status": "STRING",
    "paid_at": "TIMESTAMP",
    "created_at": "DATETIME",
    "updated_at": "DATETIME",
    "business_date": "DATE",
    "_run_id": "STRING",
    "_batch": "INT64",
}
DOCUMENTS = {"id": "INT64", "wide": "BIGNUMERIC", "document": "JSON", "place": "GEOGRAPHY", "_batch": "INT64"}
TABLES = {
    "payments": PAYMENTS,
    "staging": PAYMENTS,
    "ledger": {
        "dataset": "STRING",
        "batch": "INT64",
        "run_id": "STRING",
        "rows": "INT64",
        "loaded_at": "TIMESTAMP",
        "target": "STRING",
        "table_uuid": "STRING",
        "snapshot_id": "INT64",
    },
    "shared_ledger": {
        "dataset": "STRING",
        "batch": "INT64",
        "run_id": "STRING",
        "rows": "INT64",
        "loaded_at": "TIMESTAMP",
        "target": "STRING",
    },
    "swept": {**PAYMENTS, "_deleted_at": "TIMESTAMP"},
    "documents": DOCUMENTS,
    "staged_documents": {**DOCUMENTS, "document": "STRING", "place": "STRING"},
    "shop_payments": PAYMENTS,
    "shop_merchants": {"merchant_id": "INT64", "name": "STRING", "category": "STRING", "region": "STRING"},
    "wallet_balance_entries": {
        "entry_id": "INT64", "wallet_id": "INT64", "kind": "STRING", "amount": "NUMERIC", "created_at": "DATETIME",
    },
    "app_app_events": {
        "event_id": "STRING", "user_id": "INT64", "event_type": "STRING", "amount": "NUMERIC",
        "occurred_at": "TIMESTAMP",
    },
    "finance_settlements": {
        "dt": "DATE", "settlement_id": "STRING", "merchant_id": "INT64", "amount": "NUMERIC", "fee": "NUMERIC",
        "currency": "STRING",
    },
    "mart_daily_merchant_sales": {
        "business_date": "DATE", "merchant_id": "INT64", "merchant_name": "STRING", "category": "STRING",
        "currency": "STRING", "payments": "INT64", "sales": "NUMERIC", "refunds": "NUMERIC", "fee": "NUMERIC",
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def analyser(googlesql: None) -> Any:
    """ZetaSQL's analyser over these tables; it is slow to start and quick after that."""
    language = LanguageOptions.maximum_features()
    # BigQuery has it; ZetaSQL counts it among what is still to come.
    language.enabled_language_features.append(LanguageFeature.FEATURE_ALTER_COLUMN_SET_DATA_TYPE)
    catalog = CatalogBuilder("warehouse")
    for name, columns in TABLES.items():
        table = TableBuilder(name)
        for column, kind in columns.items():
            table = table.add_column(column, getattr(TypeKind, f"TYPE_{kind}"))
        catalog = catalog.add_table(table.build())
    built = catalog.with_builtin_functions(ZetaSQLBuiltinFunctionOptions(language_options=language)).build()
    options = AnalyzerOptions(language_options=language)
    options.language_options.supported_statement_kinds = []
    return Analyzer(options, built)


def target(partition_by: str | None = None, versions: tuple[str, ...] = ("updated_at",), **layout: Any) -> Target:
    columns = tuple(WarehouseColumn(name, kind) for name, kind in PAYMENTS.items())
    partitioning = Partitioning(partition_by, PAYMENTS[partition_by], **layout) if partition_by else None
    return Target("`payments`", columns, ("payment_id", "merchant_id"), versions, partitioning)


def swept(removes: bool, partitioning: Partitioning | None = None) -> Target:
    columns = tuple(WarehouseColumn(name, kind) for name, kind in TABLES["swept"].items())
    return Target("`swept`", columns, ("payment_id", "merchant_id"), ("updated_at",), partitioning, removes)


def logged(in_order: bool) -> Target:
    log = LogColumns(partition="merchant_id", offset="payment_id", timestamp="paid_at")
    versions = ("_batch", "paid_at", "merchant_id", "payment_id")
    return replace(target(versions=versions), key=("currency",), log=log, in_order=in_order)


NAMES = {
    "business_date": ("MONTH", [date(2026, 11, 1), date(2026, 12, 1), None]),
    "created_at": ("DAY", [datetime(2026, 11, 20), datetime(9999, 12, 31), None]),
    "paid_at": ("HOUR", [datetime(2026, 11, 20, 23, tzinfo=UTC), datetime(2026, 11, 21, 1, tzinfo=UTC)]),
    "updated_at": ("YEAR", [datetime(2026, 1, 1), datetime(1, 1, 1)]),
    "merchant_id": ("DAY", [-1, 0, 1, 10, None]),
}
"""Partition column → its granularity and names of partitions as BigQuery gives them."""


def partitioned(column: str) -> Target:
    integers = IntegerRange(0, 95, 10) if column == "merchant_id" else None
    return target(column, granularity=NAMES[column][0], integers=integers)


def within(column: str) -> str:
    by = partitioned(column).partitioning
    assert by is not None
    found = by.scan_condition(NAMES[column][1], f"T.`{column}`")
    assert found is not None
    return found


def some(column: str) -> str:
    return statements.staged_in(partitioned(column), NAMES[column][1])


CHANGES = {
    "merge": statements.merge(target(versions=("updated_at", "amount")), "`staging`"),
    "merge without a version": statements.merge(target(versions=()), "`staging`"),
    **{
        f"merge of a log {'in order' if in_order else 'out of order'}{' into partitions' if only else ''}": (
            statements.merge(logged(in_order), "`staging`", None, only)
        )
        for in_order in (True, False)
        for only in (None, "`business_date` = DATE '2026-11-20'")
    },
    "merge that marks": statements.merge(swept(False), "`swept`"),
    "merge that removes": statements.merge(swept(True), "`swept`"),
    "merge that removes from partitions": statements.merge(
        swept(True, Partitioning("created_at", "DATETIME")), "`swept`", within("created_at")
    ),
    "removal of what was marked": statements.remove_marked(swept(True)),
    "removal of what was marked, with a filter": statements.remove_marked(
        swept(True, Partitioning("created_at", "DATETIME", filter_required=True))
    ),
    "append": statements.append(target(), "`staging`"),
    **{
        f"merge into partitions of {column}": statements.merge(partitioned(column), "`staging`", within(column))
        for column in NAMES
    },
    **{
        f"merge of some partitions of {column}": statements.merge(
            partitioned(column), "`staging`", within(column), some(column)
        )
        for column in NAMES
    },
    "append into partitions": statements.append(partitioned("created_at"), "`staging`", within("created_at")),
    "replace": statements.replace(target(), "`staging`"),
    "replace by nothing": statements.replace(target(), None),
    "nothing": [],
    **{
        f"overwrite days of {column}": statements.overwrite_partitions(
            target(column), "`staging`", ["2026-11-30", "2026-12-01", "2026-12-03"]
        )
        for column in ("business_date", "created_at", "paid_at")
    },
}


LOADED = Entry(
    batch=4,
    run_id="it's \\ a 'run'\n😀",
    rows=10,
    target="shop.payments",
    table_uuid="0b6c0d6e-5a0a-4b39-9b25-fd2f4c0f6f7d",
    snapshot_id=8_123_456_789_012_345_678,
)
EXPECTED = {
    "before the first": Entry(batch=0),
    "of an earlier version": Entry(batch=3, run_id="run 3", target="shop.payments"),
    "after a batch": replace(LOADED, batch=3, snapshot_id=-1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_transaction_is_googlesql(analyser: Any, change: str | list[str]) -> None:
    changes = [change] if isinstance(change, str) else change
    script = transactions.transaction("`ledger`", expected=EXPECTED["after a batch"], loaded=LOADED, changes=changes)
    parts = script.removesuffix(";").split(";\n")
    assert (parts[0], parts[-1]) == ("BEGIN TRANSACTION", "COMMIT TRANSACTION")
    for part in parts:
        analyser.analyze_statement(part)


@pytest.mark.parametrize("expected", EXPECTED.values(), ids=EXPECTED.keys())
def test_an_entry_is_asserted_and_moved_in_googlesql(analyser: Any, expected: Entry) -> None:
    script = transactions.transaction("`ledger`", expected=expected, loaded=LOADED, changes=[])
    for part in script.removesuffix(";").split(";\n"):
        analyser.analyze_statement(part)


def test_the_ledger_is_changed_before_the_table() -> None:
    """BigQuery cancels a transaction at the statement that conflicts; what ran before it is billed."""
    script = transactions.transaction("`ledger`", expected=EXPECTED["after a batch"], loaded=LOADED, changes=["MERGE"])
    assert [part.split()[0] for part in script.removesuffix(";").split(";\n")] == [
        "BEGIN", "SELECT", "UPDATE", "MERGE", "COMMIT",
    ]  # fmt: skip


def test_texts_are_parsed_and_wide_decimals_are_taken_as_they_are(analyser: Any) -> None:
    """The emulator has no BIGNUMERIC, and staging has no JSON and no GEOGRAPHY."""
    columns = tuple(WarehouseColumn(name, kind) for name, kind in TABLES["documents"].items())
    assert [column.staged_type for column in columns] == ["INT64", "BIGNUMERIC", "STRING", "STRING", "INT64"]
    into = Target("`documents`", columns, ("id",), (), None)
    for change in (
        [statements.merge(into, "`staged_documents`")],
        [statements.append(into, "`staged_documents`")],
        statements.replace(into, "`staged_documents`"),
    ):
        assert "PARSE_JSON(`document`, wide_number_mode => 'exact') AS `document`" in change[-1]
        assert "ST_GEOGFROMTEXT(SUBSTR(`place`, STRPOS(`place`, ';') + 1)) AS `place`" in change[-1]
        for part in change:
            analyser.analyze_statement(part)


@pytest.mark.parametrize("layout", [{}, {"partition_by": "created_at", "filter_required": True}])
def test_a_relocation_is_googlesql(analyser: Any, layout: dict[str, Any]) -> None:
    script = transactions.relocation(
        "`ledger`",
        expected=EXPECTED["after a batch"],
        target=target(**layout),
        to="shop.payments_2",
        source="`shop_payments`",
        columns=list(PAYMENTS),
        where="(`paid_at` IS NULL OR `paid_at` IS NOT NULL)",
    )
    for part in script.removesuffix(";").split(";\n"):
        analyser.analyze_statement(part)


@pytest.mark.parametrize(
    "shared_columns", [None, list(TABLES["shared_ledger"]), ["dataset", "batch", "run_id", "rows"]]
)
def test_the_ledgers_own_statements_are_googlesql(analyser: Any, shared_columns: list[str] | None) -> None:
    shared = "`shared_ledger`" if shared_columns else None
    analyser.analyze_statement(transactions.make_ledger("`new_ledger`", "payments", shared, shared_columns or []))
    analyser.analyze_statement(transactions.read_entry("`ledger`"))


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("days", [None, [], ["2026-11-30"]])
def test_the_census_is_googlesql(analyser: Any, days: list[str] | None, hashed: bool) -> None:
    never_null = ["payment_id", "amount"]
    question = statements.census(target("created_at"), "`staging`", days, never_null=never_null, hashed=hashed)
    analyser.analyze_statement(question)


@pytest.mark.parametrize("column", NAMES)
def test_the_question_for_partitions_is_googlesql(analyser: Any, column: str) -> None:
    analyser.analyze_statement(statements.arriving(partitioned(column), "`staging`"))
    analyser.analyze_statement(statements.touched(partitioned(column), "`staging`"))
    analyser.analyze_statement(statements.touched(partitioned(column), "`staging`", some(column)))
    analyser.analyze_statement(statements.count(target(column, filter_required=True)))


@pytest.mark.parametrize(("column", "kind"), [("payment_id", "NUMERIC"), ("amount", "BIGNUMERIC")])
def test_a_column_is_widened_in_googlesql(analyser: Any, column: str, kind: str) -> None:
    analyser.analyze_statement(statements.widen("`payments`", column, kind))


def test_the_analyser_would_say_what_is_wrong(analyser: Any) -> None:
    columns = (WarehouseColumn("payment_id", "INT64"), WarehouseColumn("nothing", "INT64"))
    wrong = statements.merge(Target("`payments`", columns, ("payment_id",)), "`staging`")
    with pytest.raises(Exception, match="nothing"):
        analyser.analyze_statement(wrong)


@pytest.mark.parametrize("path", sorted((CHECKOUT / "dags" / "pipelines").glob("*.sql")), ids=lambda path: path.stem)
def test_a_curated_view_is_googlesql(analyser: Any, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for dataset in ("shop", "wallet", "app", "finance", "mart"):
        text = text.replace(f" {dataset}.", f" {dataset}_")
    analyser.analyze_statement(text)


def test_neighbouring_days_are_one_range() -> None:
    days = ["2026-12-01", "2026-11-30", "2026-12-03"]
    assert statements.overwrite_partitions(target("created_at"), None, days) == [
        "DELETE FROM `payments` AS T WHERE "
        "(T.`created_at` >= DATETIME '2026-11-30' AND T.`created_at` < DATETIME '2026-12-02') OR "
        "(T.`created_at` >= DATETIME '2026-12-03' AND T.`created_at` < DATETIME '2026-12-04')"
    ]


def test_the_rows_of_days_are_named_day_by_day() -> None:
    assert statements.in_days(target("business_date"), ["2026-12-03", "2026-11-30"]) == (
        "DATE_TRUNC(S.`business_date`, DAY) IN (DATE '2026-11-30', DATE '2026-12-03')"
    )


def test_a_partition_that_is_no_day_is_refused() -> None:
    with pytest.raises(LoadRefused, match="not a day"):
        statements.in_days(target("created_at"), ["merchant 7"])
