"""`json: parse`: text in the lake, JSON in BigQuery; what BigQuery would alter or refuse is set aside."""

from __future__ import annotations

import json

import pytest

from tests.e2e.ferry import Ferry, OwnDatabase

CONNECTIONS = {"aurora": "aurora_payments", "tidb": "tidb_wallet"}


def _write(ferry: Ferry, database: OwnDatabase, source: str, target: str, chosen: str) -> str:
    return ferry.spec(
        f"""\
        pipeline: j_{database.name}
        source: {{type: {source}, connection: {CONNECTIONS[source]}}}
        datasets:
          - name: j_{database.name}
            table: {database.name}.t
            primary_key: [id]
            write_disposition: merge
            json: {chosen}
            bigquery: {{table: {target}}}
        """
    )


@pytest.mark.parametrize(
    ("source", "kind", "chosen"), [("aurora", "LONGTEXT", '["pay load", note]'), ("tidb", "JSON", "parse")]
)
def test_json_arrives_as_json(
    ferry: Ferry, request: pytest.FixtureRequest, source: str, kind: str, chosen: str
) -> None:
    database: OwnDatabase = request.getfixturevalue(source)
    target = f"{ferry.warehouse_dataset()}.t"
    database.execute(f"CREATE TABLE t (id INT PRIMARY KEY, `pay load` {kind}, note {kind}, plain VARCHAR(9))")
    text = '{"名前": "é 😀", "amount": 12.5, "big": 18446744073709551615, "none": null}'
    database.insert("t", [(1, text, "[]", "{}"), (2, None, "null", None)])
    name = _write(ferry, database, source, target, chosen)
    assert ferry.run(name).code == 0
    held = ferry.warehouse_rows(target, "id, TO_JSON_STRING(pay_load) AS a, TO_JSON_STRING(note) AS b, plain")
    assert {row["id"]: (row["a"] and json.loads(row["a"]), row["b"], row["plain"]) for row in held} == {
        1: ({"名前": "é 😀", "amount": 12.5, "big": 18446744073709551615, "none": None}, "[]", "{}"),
        2: (None, "null", None),
    }
    schema = {field.name: field.field_type for field in ferry.warehouse.get_table(f"{target}").schema}
    assert (schema["pay_load"], schema["note"], schema["plain"]) == ("JSON", "JSON", "STRING")
    told = dict(database.rows("SELECT id, CAST(`pay load` AS CHAR) FROM t"))
    assert {row["id"]: row["pay load"] for row in ferry.lake_rows("curated", name)} == told

    database.execute("UPDATE t SET note = '{\"b\": [1, 0.1]}' WHERE id = 2")
    assert ferry.run(name).code == 0
    changed = ferry.warehouse_rows(target, "id, TO_JSON_STRING(note) AS b")
    assert {row["id"]: json.loads(row["b"]) for row in changed} == {1: [], 2: {"b": [1, 0.1]}}

    _write(ferry, database, source, target, "text")
    [failure] = ferry.run(name).plan.failures.values()
    assert f"is JSON in {target} and would be STRING" in failure.error


def test_json_that_bigquery_cannot_hold_is_set_aside(ferry: Ferry, aurora: OwnDatabase) -> None:
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, payload LONGTEXT)")
    aurora.insert("t", [(1, "[1]"), (2, '{"n": 18446744073709551616}'), (3, "{oops"), (4, "[0.12345678901234567891]")])
    target = f"{ferry.warehouse_dataset()}.t"
    name = _write(ferry, aurora, "aurora", target, "[payload]")
    ran = ferry.run(name)
    check = ran.receipt("check", name)
    assert (ran.code, check.read, check.published, check.quarantined) == (0, 4, 1, 3)
    assert ferry.warehouse_rows(target, "id, TO_JSON_STRING(payload) AS p") == [{"id": 1, "p": "[1]"}]
    reasons = sorted(row["reason"] for row in ferry.lake_rows("quarantine", name))
    assert reasons == [
        "BigQuery cannot hold payload as JSON: a number in it has more digits than FLOAT64",
        "BigQuery cannot hold payload as JSON: a whole number in it has more than 64 bits",
        "BigQuery cannot hold payload as JSON: it is not JSON",
    ]


def test_what_is_no_json_is_told(ferry: Ferry, aurora: OwnDatabase) -> None:
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, payload LONGTEXT)")
    target = f"{ferry.warehouse_dataset()}.t"
    for chosen, told in (
        ("parse", "no column of type JSON"),
        ("[pay]", "json 'pay' is not a column"),
        ("[id]", "json 'id' of"),
    ):
        [failure] = ferry.run(_write(ferry, aurora, "aurora", target, chosen)).plan.failures.values()
        assert told in failure.error
        assert ".yaml:8 " in failure.error
    # What a terminal shows leaves nothing out that stands in brackets.
    _write(ferry, aurora, "aurora", target, "parse")
    assert ferry.run(f"j_{aurora.name}", "last").code == 2
    assert "Name the columns: json: [COLUMN, …]" in ferry.cli("receipts", f"j_{aurora.name}").stdout
