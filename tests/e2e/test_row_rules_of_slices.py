"""Row rules of a table that is read as columns: bad rows are set aside, and only their slices are written again."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tests.e2e.ferry import Ferry, OwnDatabase

RULES = """\
rows:
  - expect_column_values_to_be_between: {column: amount, min_value: 0}
  - expect_column_values_to_match_regex: {column: currency, regex: "^[A-Z]{3}$"}
"""


@pytest.fixture
def narrow(ferry: Ferry) -> Ferry:
    """Slices of ten rows."""
    return replace(ferry, settings=ferry.settings.model_copy(update={"rows_per_slice": 10}))


def _pipeline(ferry: Ferry, database: OwnDatabase, more: str = "", rules: str = RULES) -> str:
    """A table of 40 rows, of which 17 has a negative amount, 18 no currency that is one, and 35 no date."""
    database.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, amount DECIMAL(18,2), currency VARCHAR(8), phone VARCHAR(20), day DATE)"
    )
    rows = [(n, f"{n}.50", "JPY", f"+81-90-{n:08}", "2026-11-01") for n in range(1, 41)]
    rows[16] = (17, "-17.50", "JPY", "+81-90-00000017", "2026-11-01")
    rows[17] = (18, "18.50", "yen", "+81-90-00000018", "2026-11-01")
    rows[34] = (35, "35.50", "JPY", "+81-90-00000035", "0000-00-00")
    database.execute("SET sql_mode = ''")
    database.insert("t", rows)
    database.execute("ANALYZE TABLE t")
    name = f"rules_{database.name}"
    ferry.suite(name, rules)
    return ferry.spec(
        f"""\
        pipeline: {name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: {name}
            table: {database.name}.t
            primary_key: [id]
            write_disposition: replace
            expectations: {name}
            bigquery: {{table: {ferry.warehouse_dataset()}.t}}
            {more}
        """
    )


def test_only_slices_with_bad_rows_are_written_again(narrow: Ferry, aurora: OwnDatabase) -> None:
    name = _pipeline(narrow, aurora)
    plan = narrow.plan(name, "run")
    assert plan.datasets[0].source is not None
    slices = {piece.id for piece in plan.datasets[0].source.slices}
    assert len(slices) > 3
    assert narrow.run_stage(plan, "extract", "check") == 0
    [batch] = narrow.published(name)
    assert (batch.rows, batch.quarantined) == (37, 3)
    assert sorted(row["id"] for row in narrow.lake_rows("raw", name)) == [
        n for n in range(1, 41) if n not in (17, 18, 35)
    ]
    bad = {json.loads(row["record"])["id"]: row for row in narrow.lake_rows("quarantine", name)}
    assert {str(key): row["reason"] for key, row in bad.items()} == {
        "17": "amount must be at least 0",
        "18": "currency must match ^[A-Z]{3}$",
        "35": "day: not a date: 0000-00-00",
    }
    files = narrow.catalog.load_table(("raw", name)).inspect.files().to_pylist()
    untouched = [file for file in files if "/slice_" in file["file_path"]]
    rewritten = {row["_slice"] for row in narrow.lake_rows("quarantine", name)}
    assert len(untouched) == len(slices - rewritten) > 1


def test_a_batch_of_bad_rows_only_is_published_empty(narrow: Ferry, aurora: OwnDatabase) -> None:
    rules = "rows:\n  - expect_column_values_to_be_between: {column: id, min_value: 1000}\n"
    name = _pipeline(narrow, aurora, "most_quarantined: 1", rules)
    plan = narrow.plan(name, "run")
    assert narrow.run_stage(plan, "extract", "check") == 0
    [batch] = narrow.published(name)
    assert (batch.rows, batch.quarantined) == (0, 40)


def test_a_record_has_every_value_of_the_row(ferry: Ferry, aurora: OwnDatabase) -> None:
    """To the microsecond, and what is NULL as NULL."""
    aurora.execute(
        "CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, amount DECIMAL(38,9), at DATETIME(6), ts TIMESTAMP(6) NULL,"
        " day DATE, note TEXT)"
    )
    aurora.execute(
        "INSERT INTO t VALUES (18446744073709551615, -0.000000001, '2026-11-28 14:22:59.493226',"
        " '2026-11-28 05:06:07.000008', '2026-11-28', NULL)"
    )
    name = f"rules_{aurora.name}"
    ferry.suite(name, "rows:\n  - expect_column_values_to_be_between: {column: amount, min_value: 0}\n")
    ferry.spec(
        f"""\
        pipeline: {name}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: {name}
            table: {aurora.name}.t
            primary_key: [id]
            write_disposition: merge
            expectations: {name}
            bigquery: {{table: {ferry.warehouse_dataset()}.t}}
        """
    )
    assert ferry.run(name).code == 0
    [row] = ferry.lake_rows("quarantine", name)
    assert json.loads(row["place"], parse_int=str) == {"id": "18446744073709551615"}
    assert json.loads(row["record"], parse_int=str, parse_float=Decimal) == {
        "id": "18446744073709551615",
        "amount": Decimal("-0.000000001"),
        "at": "2026-11-28T14:22:59.493226",
        "ts": "2026-11-28T05:06:07.000008Z",
        "day": "2026-11-28",
        "note": None,
    }


@pytest.mark.parametrize("ruled", ["amount", "phone"])
def test_masks_and_rules_together(narrow: Ferry, aurora: OwnDatabase, ruled: str) -> None:
    """A rule on a masked column sees its values as they were read; no record shows them."""
    rules = RULES
    if ruled == "phone":
        rules += '  - expect_column_values_to_not_match_regex: {column: phone, regex: "00000004$"}\n'
    name = _pipeline(narrow, aurora, "mask: {phone: truncate}", rules)
    plan = narrow.plan(name, "run")
    assert narrow.run_stage(plan, "extract", "check") == 0
    records = narrow.lake_rows("quarantine", name)
    assert len(records) == (4 if ruled == "phone" else 3)
    assert all("+81-90" not in (row["record"] or "") for row in records)
    # A row that cannot be decoded keeps its place and reason alone.
    undecodable = [(row["place"], row["record"]) for row in records if row["reason"].startswith("day")]
    assert undecodable == [('{"id":35}', None)]
    assert all(row["phone"] is None for row in narrow.lake_rows("raw", name))
