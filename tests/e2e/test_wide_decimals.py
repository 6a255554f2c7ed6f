"""A DECIMAL of more digits than NUMERIC holds: BIGNUMERIC in BigQuery, text in the emulator, which has no such type."""

from __future__ import annotations

from tests.e2e.ferry import Ferry, OwnDatabase

NINES = "9" * 38
TINY = "-0." + "0" * 29 + "1"


def test_a_wide_decimal_is_text_in_the_emulator(ferry: Ferry, aurora: OwnDatabase) -> None:
    name, target = f"w_{aurora.name}", f"{ferry.warehouse_dataset()}.t"
    aurora.execute(
        "CREATE TABLE t (id DECIMAL(38,0) PRIMARY KEY, tiny DECIMAL(38,30), small DECIMAL(10,2), at DATETIME(6),"
        " KEY (at))"
    )
    aurora.insert("t", [(NINES, TINY, "1.50", "2026-05-01"), ("-7", None, None, "2026-05-01")])
    ferry.spec(
        f"pipeline: {name}\nsource: {{type: aurora, connection: aurora_payments}}\ndatasets:\n"
        f"  - {{name: {name}, table: {aurora.name}.t, primary_key: [id], cursor: at, lag_seconds: 1,"
        f" write_disposition: merge, bigquery: {{table: {target}}}}}\n"
    )
    first = ferry.run(name)
    assert first.code == 0, [receipt.error for receipt in first.receipts]
    source = first.plan.dataset(name).source
    assert source is not None
    [warning] = source.warnings
    assert warning == (
        "the BigQuery emulator has no BIGNUMERIC: id, tiny are STRING there. In BigQuery they are BIGNUMERIC"
    )
    kinds = {field.name: field.field_type for field in ferry.warehouse.get_table(target).schema}
    assert (kinds["id"], kinds["tiny"], kinds["small"]) == ("STRING", "STRING", "NUMERIC")

    aurora.execute("UPDATE t SET tiny = 2.5, at = UTC_TIMESTAMP(6) WHERE id = -7")
    aurora.settle()
    second = ferry.run(name)
    assert second.code == 0, [receipt.error for receipt in second.receipts]
    rows = {row["id"]: row["tiny"] for row in ferry.warehouse_rows(target, "id, tiny")}
    assert rows == {NINES: TINY, "-7": "2.500000000000000000000000000000"}
