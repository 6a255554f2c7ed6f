"""Rules on columns whose names hold a dot, a backquote or a blank, from the source into the warehouse."""

from __future__ import annotations

from tests.e2e.ferry import Ferry, OwnDatabase


def test_a_rule_on_a_column_with_a_dot_in_its_name_is_kept_and_broken_as_any_other(
    ferry: Ferry, aurora: OwnDatabase
) -> None:
    name, target = f"odd_{aurora.name}", ferry.warehouse_dataset()
    aurora.execute("CREATE TABLE t (id INT PRIMARY KEY, `unit.qty` INT, `a ``b` VARCHAR(9))")
    aurora.insert("t", [(1, 5, "x"), (2, -1, "y"), (3, 7, "z")])
    ferry.suite(
        name,
        """\
        rows:
          - expect_column_values_to_be_between: {column: "unit.qty", min_value: 0}
        dataset:
          - expect_column_sum_to_be_between: {column: "unit.qty", min_value: 12, max_value: 12}
          - expect_column_values_to_not_be_null: {column: "a `b"}
          - expect_compound_columns_to_be_unique: {column_list: ["unit.qty", "a `b"]}
        """,
    )
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
            bigquery: {{table: {target}.t}}
        """
    )
    ran = ferry.run(name, through="check")
    assert ran.code == 0, [receipt.error for receipt in ran.receipts]
    check = ran.receipt("check", name)
    assert (check.read, check.published, check.quarantined) == (3, 2, 1)

    aurora.insert("t", [(4, 1, "w")])
    broken = ferry.run(name, through="check").receipt("check", name)
    assert broken.verdict == "failed"
    assert broken.error is not None
    assert "the sum of unit.qty must be at least 12 and at most 12; it is 1" in broken.error
