"""What an error of Google's clients becomes: the class, which says what to do, and the text."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from botocore.exceptions import CredentialRetrievalError
from google.api_core import exceptions as api_exceptions
from google.auth import exceptions as auth_exceptions

from connectors.bigquery.credentials import OWN, Identity, open_credentials
from connectors.bigquery.google_errors import GoogleFixes, lakeferry_error
from connectors.errors import (
    AccessDenied,
    ConfigurationError,
    CredentialsMissing,
    LakeferryError,
    ObjectNotFound,
    ServiceUnavailable,
)

# The constructors of both have no types.
api: Any = api_exceptions
auth: Any = auth_exceptions
FIXES = GoogleFixes(
    rights="Grant it",
    unreachable="Start it",
    missing="Create it",
    endpoint="http://127.0.0.1:1",
    setting="LAKEFERRY_WAREHOUSE_BUCKET",
)
LOGIN = "Run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS"


def with_reason(kind: Any, text: str, reason: str) -> Any:
    return kind(text, errors=[{"reason": reason, "message": text}])


def caused(error: Any, cause: Exception) -> Any:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (api.Forbidden("no right"), AccessDenied, "GCS refuses: no right. Grant it."),
        (api.Unauthorized("no login"), AccessDenied, "GCS refuses: no login. Grant it."),
        (
            with_reason(api.Forbidden, "too fast", "rateLimitExceeded"),
            ServiceUnavailable,
            "GCS answers 403: too fast. Run again later.",
        ),
        (api.TooManyRequests("slow"), ServiceUnavailable, "GCS answers 429: slow. Run again later."),
        (api.ServiceUnavailable("down"), ServiceUnavailable, "GCS answers 503: down. Run again later."),
        (api.NotFound("no such bucket"), ObjectNotFound, "GCS: no such bucket. Create it."),
        (api.BadRequest("bad name"), ConfigurationError, "LAKEFERRY_WAREHOUSE_BUCKET: GCS refuses: bad name."),
        (
            api.RetryError("gave up", api.ServiceUnavailable("down")),
            ServiceUnavailable,
            "GCS answers 503: down. Run again later.",
        ),
        (
            api.RetryError("gave up", requests.exceptions.ConnectionError()),
            ServiceUnavailable,
            "http://127.0.0.1:1: GCS does not answer: ConnectionError. Start it.",
        ),
        (
            requests.exceptions.ReadTimeout(),
            ServiceUnavailable,
            "http://127.0.0.1:1: GCS does not answer: ReadTimeout. Start it.",
        ),
        (auth.DefaultCredentialsError("?"), CredentialsMissing, f"GCS has no usable credentials. {LOGIN}."),
        (auth.MalformedError("?"), AccessDenied, f"GCS has no usable credentials. {LOGIN}."),
        (
            auth.OAuthError("Error code invalid_target: no such pool", "{}"),
            AccessDenied,
            f"GCS has no usable credentials. {LOGIN}.",
        ),
        (
            auth.OAuthError("Error code 503: try later", "{}"),
            ServiceUnavailable,
            "http://127.0.0.1:1: GCS does not answer: OAuthError. Start it.",
        ),
        (
            caused(auth.RefreshError("?"), auth.TransportError("no answer")),
            ServiceUnavailable,
            "GCS: the service that renews its credentials does not answer. Run again.",
        ),
        (auth.RefreshError("?"), AccessDenied, f"GCS has no usable credentials. {LOGIN}."),
        (
            auth.RefreshError("?", retryable=True),
            ServiceUnavailable,
            "GCS: the service that renews its credentials does not answer. Run again.",
        ),
    ],
)
def test_an_error_of_google(error: Exception, kind: type[LakeferryError], text: str) -> None:
    translated = lakeferry_error("GCS", error, OWN, FIXES, refused=ConfigurationError)
    assert type(translated) is kind
    assert str(translated) == text


def test_the_fix_names_the_federation() -> None:
    identity = Identity(federation="//iam.googleapis.com/projects/1")
    translated = lakeferry_error("GCS", auth.RefreshError("?"), identity, FIXES, refused=ConfigurationError)
    assert "LAKEFERRY_WAREHOUSE_FEDERATION" in str(translated)


def test_an_address_that_is_as_good_as_a_key_is_not_shown() -> None:
    error = api.Forbidden("PUT https://storage.googleapis.com/upload/b/o?upload_id=s3cr3t&name=a: Request failed")
    translated = lakeferry_error("GCS", error, OWN, FIXES, refused=ConfigurationError)
    assert "s3cr3t" not in str(translated)
    assert "PUT https://storage.googleapis.com/upload/b/o" in str(translated)


def test_a_credentials_file_that_cannot_be_read_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent.json")
    with pytest.raises(auth.DefaultCredentialsError) as caught:
        open_credentials(OWN)
    assert type(lakeferry_error("GCS", caught.value, OWN, FIXES, refused=ConfigurationError)) is AccessDenied


@pytest.mark.parametrize("problem", [None, CredentialRetrievalError(provider="container-role", error_msg="late")])
def test_aws_credentials_that_are_late_for_federation_may_come(
    problem: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        def get_credentials(self) -> None:
            if problem is not None:
                raise problem

    monkeypatch.setattr("boto3.Session", Session)
    credentials = open_credentials(Identity(federation="//iam.googleapis.com/projects/1"))
    with pytest.raises(auth.RefreshError) as caught:
        credentials._aws_security_credentials_supplier.get_aws_security_credentials(None, None)
    assert caught.value.retryable
