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
        (f"aws_session_token=b'{TOKEN}'", "aws_session_token=b'[removed]'"),
        (f"{{'aws_session_token': b'{TOKEN}'}}", "{'aws_session_token': b'[removed]'}"),
        ("-Daws.secretAccessKey=wJalrXUtnFEMI/K7MDENG", "-Daws.secretAccessKey=[removed]"),
        ("-Daws.accessKeyId=AKIAEXAMPLE1", "-Daws.accessKeyId=[removed]"),
        ("spark.hadoop.fs.s3a.secret.key=wJalrXUtnFEMI/K7MDENG", "fs.s3a.secret.key=[removed]"),
        ("(spark.hadoop.fs.s3a.access.key,AKIAEXAMPLE1)", "(spark.hadoop.fs.s3a.access.key,[removed])"),
        (f'"fs.s3a.session.token" : "{TOKEN}"', '"fs.s3a.session.token" : "[removed]"'),
        (f"%7B%22aws_session_token%22%3A%20%22{TOKEN}%22%7D", "aws_session_token%22%3A%20%22[removed]"),
        (f"%7B%22aws_session_token%22%3A+%22{TOKEN}", "aws_session_token%22%3A+%22[removed]"),
        (f"aws_session_token=['{TOKEN}']", "aws_session_token=['[removed]']"),
        (f"aws_session_token=[{TOKEN}]", "aws_session_token=[[removed]]"),
        (f"('aws_session_token', '{TOKEN}')", "('aws_session_token', '[removed]')"),
        (f"[b'x-amz-security-token', b'{TOKEN}']", "[b'x-amz-security-token', b'[removed]']"),
        (f"<SessionToken>{TOKEN}</SessionToken>", "<SessionToken>[removed]</SessionToken>"),
        ("<SecretAccessKey>wJalrXUtnFEMI/K7MDENG</SecretAccessKey>", "<SecretAccessKey>[removed]</SecretAccessKey>"),
        ('{"SecretAccessKey": "wJalrXUtnFEMI\\/K7MDENG"}', '{"SecretAccessKey": "[removed]"}'),
        ('{"AccessKeyId":"AKIAEXAMPLE1"}', '{"AccessKeyId":"[removed]"}'),
        ("AWS_SECRET_ACCESS_KEY=minioadmin", "AWS_SECRET_ACCESS_KEY=[removed]"),
        ("{'aws_secret_access_key': 'changeme'}", "{'aws_secret_access_key': '[removed]'}"),
        ("aws_secret_access_key = p@ssw0rd!longer", "aws_secret_access_key = [removed]"),
        ("fs.s3a.bucket.landing-1.secret.key=wJalrXUtnFEMI", "fs.s3a.bucket.landing-1.secret.key=[removed]"),
        ("'s3.secret-access-key': 'wJalrXUtnFEMI'", "'s3.secret-access-key': '[removed]'"),
        ("-Daws.secretKey=wJalrXUtnFEMI", "-Daws.secretKey=[removed]"),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer [removed]"),
        (f"Credentials(sessionToken={TOKEN})", "Credentials(sessionToken=[removed])"),
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
        "AWS_SESSION_TOKEN: not set",
        "aws_secret_access_key=None, region=us-east-1",
        "rows of session_token_events: 4711 of 12000",
        "primary_key: [session_token], key: id",
        "SELECT sessiontokens FROM aws_users WHERE access_key_id IS NULL",
        "no columns 'aws_session_token', 'payment_id' in the table",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert without_credentials(text) == text


@pytest.mark.parametrize(
    "part", ["aws_session_token", "'", " ", "+", "%22", "aws_session_token='", "x-amz-", "\\", ","]
)
def test_a_long_text_is_read_once(part: str) -> None:
    """An expression that tried each way to read it would not end before the test's limit."""
    text = f"aws_session_token{part * 200_000} "
    assert without_credentials(text).startswith("aws_session_token")


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
