"""Credentials that a service quotes do not reach a person."""

from __future__ import annotations

import pytest

from connectors.credentials_in_text import first_line, without_credentials
from connectors.errors import ServiceUnavailable

TOKEN = "IQoJb3JpZ2luX2VjEN//////////wEaDmFwLW5vcnRo/+A=="


@pytest.mark.parametrize(
    ("quoted", "shown"),
    [
        (f"x-amz-date:20261201T000000Z\nx-amz-security-token:{TOKEN}\n", "x-amz-security-token:[removed]\n"),
        (f"X-Amz-Security-Token: {TOKEN}", "X-Amz-Security-Token: [removed]"),
        (f"?X-Amz-Security-Token={TOKEN}&X-Amz-Date=2026", "?X-Amz-Security-Token=[removed]&X-Amz-Date=2026"),
        (f'{{"x-amz-security-token": "{TOKEN}"}}', '{"x-amz-security-token": "[removed]"}'),
        (
            f'{{"key": "x-amz-security-token", "value": "{TOKEN}"}}',
            '{"key": "x-amz-security-token", "value": "[removed]"}',
        ),
        (
            f'{{"error": "x-amz-security-token:{TOKEN}\\nhost:sts"}}',
            '{"error": "x-amz-security-token:[removed]\\nhost:sts"}',
        ),
        ("X-Amz-Credential=AKIAEXAMPLE%2F20261201%2Fus-east-1", "X-Amz-Credential=[removed]"),
        ("X-Amz-Signature=0123456789abcdef", "X-Amz-Signature=[removed]"),
        (
            "Authorization=AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261201/us-east-1/s3/aws4_request, "
            "SignedHeaders=host;x-amz-date, Signature=0123456789abcdef0123456789abcdef",
            "Authorization=AWS4-HMAC-SHA256 Credential=[removed], SignedHeaders=host;x-amz-date, Signature=[removed]",
        ),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AWS_SECRET_ACCESS_KEY=[removed]"),
    ],
)
def test_credentials_are_removed(quoted: str, shown: str) -> None:
    text = without_credentials(quoted)
    assert shown in text
    for secret in (TOKEN, "AKIAEXAMPLE", "wJalrXUtnFEMI", "0123456789abcdef"):
        assert secret not in text


@pytest.mark.parametrize(
    "text",
    [
        "the header x-amz-security-token is missing",
        "SignedHeaders=host;x-amz-date;x-amz-security-token",
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role",
        "a signature=of three words, and no AWS",
        "application 00f1 of arn:aws:iam::123456789012:role/lakeferry-job",
        "read 12, published 12",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert without_credentials(text) == text


def test_the_first_line_is_the_reason() -> None:
    assert first_line("\nThe signature does not match.\n\nThe Canonical String\nhost:emr\n") == (
        "The signature does not match."
    )
    assert first_line("") == ""


def test_no_error_shows_credentials() -> None:
    error = ServiceUnavailable(f"the lake's files cannot be read: AWS Error: x-amz-security-token:{TOKEN}")
    assert str(error) == "the lake's files cannot be read: AWS Error: x-amz-security-token:[removed]."
    assert TOKEN not in error.problem
    assert TOKEN not in repr(error)
