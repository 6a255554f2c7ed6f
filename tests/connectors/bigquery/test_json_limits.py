"""JSON that BigQuery holds exactly, and JSON it would refuse or alter."""

from __future__ import annotations

import pytest

from connectors.bigquery.json_limits import json_problem


@pytest.mark.parametrize(
    "text",
    [
        "null",
        '"text 日本語 😀"',
        '{"amount": 1.10, "none": null, "list": [true, {"a": ""}]}',
        "18446744073709551615",
        "-9223372036854775808",
        "1e308",
        "0.1",
        "123456789.123456",
        "[" * 500 + "]" * 500,
    ],
)
def test_what_is_held_exactly(text: str) -> None:
    assert json_problem(text) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("18446744073709551616", "a whole number in it has more than 64 bits"),
        ("-9223372036854775809", "a whole number in it has more than 64 bits"),
        ('{"a": [' + "9" * 5000 + "]}", "a whole number in it has more than 64 bits"),
        ("0.1234567890123456789", "a number in it has more digits than FLOAT64"),
        ("1e999", "a number in it is beyond FLOAT64"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "a key stands twice in it"),
        ("[" * 501 + "]" * 501, "it nests deeper than 500 levels"),
        ("[" * 100_000, "it nests deeper than 500 levels"),
        ("{'a': 1}", "it is not JSON"),
        ("[NaN]", "it is not JSON"),
        ("", "it is not JSON"),
    ],
)
def test_what_is_not(text: str, problem: str) -> None:
    assert json_problem(text) == problem
