"""The message that a person sees about a refusal by AWS."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from botocore.exceptions import ClientError

from connectors.errors import AccessDenied, ConfigurationError, LakeferryError, ServiceUnavailable
from lakeferry_airflow.messages import FailureLines
from lakeferry_airflow.runners.emr_errors import lakeferry_error, refuses_request, starts_no_job

TOKEN = "IQoJb3JpZ2luX2VjEN//////////wEaDmFwLW5vcnRo"
QUOTED = (
    "The request signature we calculated does not match the signature you provided.\n\n"
    "The Canonical String for this request should have been\n"
    f"'POST\n/applications/00f1/jobruns\n\nhost:emr\nx-amz-security-token:{TOKEN}\n'"
)


def answer(code: str, status: int, message: str) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "StartJobRun")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("InvalidSignatureException", 403, AccessDenied),
        ("SignatureDoesNotMatch", 403, AccessDenied),
        ("AccessDeniedException", 403, AccessDenied),
        ("RequestExpired", 400, ServiceUnavailable),
        ("ConflictException", 409, ServiceUnavailable),
        ("ValidationException", 400, ConfigurationError),
        ("InternalServerException", 500, ServiceUnavailable),
        ("SerializationException", 400, ConfigurationError),
        ("ResourceNotFoundException", 404, ConfigurationError),
    ],
)
def test_the_request_that_aws_quotes_is_not_shown(code: str, status: int, kind: type[LakeferryError]) -> None:
    error = lakeferry_error("EMR Serverless application 00f1", answer(code, status, QUOTED))
    assert isinstance(error, kind)
    assert TOKEN not in str(error)
    assert "Canonical" not in str(error)
    assert "application 00f1" in str(error)


def test_of_refused_credentials_the_code_alone_is_shown() -> None:
    message = f"Credential=AKIAEXAMPLE/20261201 is not valid: {TOKEN}"
    error = lakeferry_error("EMR Serverless", answer("InvalidSignatureException", 403, message))
    assert str(error) == (
        "EMR Serverless refuses the AWS credentials: InvalidSignatureException. "
        "Correct the credentials of Airflow's role, or the clock of this machine."
    )


def test_what_a_refusal_says_in_one_line_is_shown() -> None:
    error = lakeferry_error("EMR Serverless", answer("AccessDeniedException", 403, "Cross-account pass role"))
    assert "Cross-account pass role" in str(error)


def test_the_output_of_a_job_shows_no_token(caplog: pytest.LogCaptureFixture) -> None:
    lines = FailureLines(logging.getLogger("task"))
    with caplog.at_level(logging.INFO):
        lines(f"x-amz-security-token:{TOKEN}")
        lines(json.dumps({"event": "failed", "error": f"GlueException: {QUOTED}"}))
    assert TOKEN not in caplog.text
    [failure] = lines.failures
    assert failure.endswith("x-amz-security-token:[removed]\n'")


@pytest.mark.parametrize(
    ("code", "status", "first_proves", "refuses"),
    [
        ("ValidationException", 400, True, True),
        ("ServiceQuotaExceededException", 402, True, True),
        ("AccessDeniedException", 403, True, True),
        ("ResourceNotFoundException", 404, True, True),
        ("ConflictException", 409, True, True),
        ("UnrecognizedClientException", 403, True, False),
        ("ExpiredTokenException", 403, False, False),
        ("ThrottlingException", 400, False, False),
        ("InternalServerException", 500, False, False),
    ],
)
def test_no_refusal_proves_what_became_of_an_earlier_request(
    code: str, status: int, first_proves: bool, refuses: bool
) -> None:
    error = answer(code, status, "no")
    assert starts_no_job(error, sent_before=False) == first_proves
    assert starts_no_job(error, sent_before=True) is False
    assert refuses_request(error) == refuses
    error.response["ResponseMetadata"]["RetryAttempts"] = 1
    assert starts_no_job(error, sent_before=False) is False
