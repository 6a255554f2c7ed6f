"""Values that look personal, and values that only look alike."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.base import Column, ReadRequest
from jobs.masking.personal_data import is_card_number, is_email_address, is_phone_number
from tests.e2e.ferry import Ferry, OwnDatabase


@pytest.mark.parametrize(
    "text",
    [
        "090-1234-5678",
        "09012345678",
        "０９０−１２３４−５６７８",
        "03-1234-5678",
        "03(1234)5678",
        "(03) 1234-5678",
        "0120-123-456",
        "050 1234 5678",
        "+81-90-1234-5678",
        "+81-90-12345678",
        "+819012345678",
        "+1 (415) 555-2671",
        "415-555-2671",
        "(415) 555-2671",
    ],
)
def test_phone_numbers(text: str) -> None:
    assert is_phone_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20",
        "20-11-2026",
        "01-02-2026",
        "2026-11-20 01:02:03",
        "0000012345",
        "00000012345",
        "1234567890",
        "060-0001",
        "+1000",
        "-1000.00",
        "123e4567-e89b-12d3-a456-426614174000",
        "S-000000123",
        "192.168.100.200",
        "10.20.30.40",
        "1732000000000",
    ],
)
def test_what_is_no_phone_number(text: str) -> None:
    assert not is_phone_number(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4111111111111111", True),
        ("4111 1111 1111 1111", True),
        ("4111-1111-1111-1111", True),
        ("378282246310005", True),
        ("3782 822463 10005", True),
        ("3530111333300000", True),
        ("5555555555554444", True),
        ("4111111111111112", False),  # the check digit is wrong
        ("1732000000000000", False),  # no scheme begins with 1
        ("0000000000000000", False),
        ("20261120010203", False),
        ("4111.1111.1111.1111", False),
        ("42", False),
    ],
)
def test_card_numbers(text: str, expected: bool) -> None:
    assert is_card_number(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("taro@example.jp", True),
        ("taro.yamada+shop@mail.example.co.jp", True),
        ("ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ", True),
        ("@taro", False),
        ("2 @ 300", False),
        ("taro@localhost", False),
    ],
)
def test_email_addresses(text: str, expected: bool) -> None:
    assert is_email_address(text) is expected


def test_plan_warns_of_what_a_table_holds_and_shows_no_value(
    ferry: Ferry, aurora: OwnDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    aurora.execute(
        "CREATE TABLE users (id BIGINT UNSIGNED PRIMARY KEY, contact VARCHAR(100), tel VARCHAR(20), pan BIGINT,"
        " hidden VARCHAR(100), note VARCHAR(100), day DATE, amount DECIMAL(18,2), code VARCHAR(20), nothing TEXT)"
    )
    # Two thirds of the rows carry a telephone number; every card number passes Luhn's test.
    aurora.insert(
        "users",
        [
            (
                n,
                f"taro{n}@example.jp",
                f"090-1234-{n:04d}" if n % 3 else None,
                "4111111111111111",
                f"jiro{n}@example.jp",
                f"note {n}",
                "2026-11-20",
                "4111.11",
                f"{n:010d}",
                None,
            )
            for n in range(1, 301)
        ],
    )
    name = _spec(ferry, aurora, "mask: {hidden: null}")
    plan = ferry.plan(name, "warned")
    told = capsys.readouterr().out
    warnings = plan.dataset(name).source.warnings  # type: ignore[union-attr]
    assert warnings == (
        f"column {aurora.name}.users.contact looks like e-mail addresses (200 of 200 sampled rows);"
        " mask: {contact: hmac}",
        f"column {aurora.name}.users.tel looks like phone numbers (133 of 200 sampled rows); mask: {{tel: hmac}}",
        f"column {aurora.name}.users.pan looks like card numbers (200 of 200 sampled rows); mask: {{pan: truncate}}",
    )
    assert all(warning in told for warning in warnings)
    for shown in (told, plan.model_dump_json()):
        assert "@example.jp" not in shown
        assert "090-1234" not in shown
        assert "4111111111111111" not in shown


def test_plan_says_the_line_of_a_mask_that_does_not_fit(ferry: Ferry, aurora: OwnDatabase) -> None:
    aurora.execute("CREATE TABLE users (id INT PRIMARY KEY, born DATE, email VARCHAR(50))")
    ran = ferry.cli("plan", _spec(ferry, aurora, "mask: {emial: drop}"))
    assert ran.returncode == 2
    assert f"v_{aurora.name}.yaml:8" in ran.stderr
    assert "mask names 'emial'" in ran.stderr
    assert "id, born, email" in ran.stderr
    ran = ferry.cli("plan", _spec(ferry, aurora, "mask: {born: truncate}"))
    assert ran.returncode == 2
    assert f"v_{aurora.name}.yaml:8" in ran.stderr
    assert "'born', which is date" in ran.stderr


def test_plan_needs_the_key_before_anything_moves(ferry: Ferry, aurora: OwnDatabase) -> None:
    aurora.execute("CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(50))")
    name = _spec(ferry, aurora, "mask: {email: hmac}", "mask_key: keyless")
    ran = ferry.cli("run", name)
    assert ran.returncode == 2
    assert "AIRFLOW_CONN_KEYLESS" in ran.stderr
    assert ferry.documents_of(name) == []


def test_plan_refuses_a_dataset_rule_on_a_dropped_column(ferry: Ferry, aurora: OwnDatabase) -> None:
    aurora.execute("CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(50))")
    rule = "dataset:\n  - expect_column_proportion_of_non_null_values_to_be_between: {column: email, min_value: 0.5}\n"
    ferry.suite(aurora.name, rule)
    ran = ferry.cli("plan", _spec(ferry, aurora, f"mask: {{email: drop}}\n            expectations: {aurora.name}"))
    assert ran.returncode == 2
    assert f"{aurora.name}.yaml:2" in ran.stderr
    assert "'email' is dropped by the dataset's mask" in ran.stderr


def test_a_masked_key_stands_in_no_plan(ferry: Ferry, aurora: OwnDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MASK_KEY", "generic://:0123456789abcdef0123456789abcdef@")
    small = ferry.settings.model_copy(update={"rows_per_slice": 20})
    monkeypatch.setattr(ferry, "settings", small)
    aurora.execute("CREATE TABLE users (email VARCHAR(50) PRIMARY KEY, plain INT)")
    aurora.insert("users", [(f"taro{n}@example.jp", n) for n in range(100)])
    open_plan = ferry.plan(_spec(ferry, aurora, "description: open", key="email"), "open")
    assert "@example.jp" in open_plan.model_dump_json()  # its slices are ranges of keys
    masked = ferry.plan(_spec(ferry, aurora, "mask: {email: hmac}", key="email"), "masked")
    assert "@example.jp" not in masked.model_dump_json()
    assert masked.dataset(f"v_{aurora.name}").source.slices  # type: ignore[union-attr]


def test_where_no_value_can_be_seen_the_name_decides() -> None:
    from jobs.masking.personal_data import privacy_warnings

    def column(name: str, spark_type: str = "string") -> Column:
        return Column(name=name, source_type="json", spark_type=spark_type)

    class Unseen:
        def sample(self, *arguments: Any) -> list[tuple[str | None, ...]]:
            return []

    names = ["contact_email", "cardNumber", "電話番号", "email_sent_count", "phone_model", "device", "card_id", "hotel"]
    columns = [*map(column, names), column("email", "boolean"), column("tel")]
    dataset = ReadRequest("app", "app", (), object(), frozenset({"tel"}))
    assert privacy_warnings(Unseen(), dataset, columns) == (  # type: ignore[arg-type]
        "column app.contact_email is named like e-mail addresses, no value was looked at; mask: {contact_email: hmac}",
        "column app.cardNumber is named like card numbers, no value was looked at; mask: {cardNumber: truncate}",
        "column app.電話番号 is named like phone numbers, no value was looked at; mask: {電話番号: hmac}",
    )


def _spec(ferry: Ferry, database: OwnDatabase, line: str, top: str = "description: x", key: str = "id") -> str:
    return ferry.spec(
        f"""\
        pipeline: v_{database.name}
        {top}
        source: {{type: aurora, connection: aurora_payments}}
        datasets:
          - name: v_{database.name}
            table: {database.name}.users
            primary_key: [{key}]
            LINE
            write_disposition: merge
            bigquery: {{table: {database.name}.users}}
        """.replace("LINE", line)
    )
