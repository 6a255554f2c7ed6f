"""What an error of an AWS client becomes: the class, which says what to do, and the text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore import exceptions as boto

from connectors.aws_errors import AwsFixes, lakeferry_error, translated
from connectors.connection import Connection, find_connection
from connectors.errors import (
    AccessDenied,
    ConfigurationError,
    CredentialsMissing,
    LakeferryError,
    ObjectNotFound,
    ServiceUnavailable,
)
from connectors.s3.bucket import Access
from jobs.lake.documents import open_documents

FIXES = AwsFixes(
    credentials="Give it a login",
    rights="Grant it",
    missing="Create it",
    unavailable="Start it",
    state="Wait",
    refused="Correct it",
)


def answer(code: str, status: int, message: str = "", operation: str = "GetObject") -> boto.ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, operation)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            answer("AccessDenied", 403, "Access Denied"),
            AccessDenied,
            "S3 refuses: AccessDenied: Access Denied. Grant it.",
        ),
        (answer("403", 403, "Forbidden"), AccessDenied, "S3 refuses: 403: Forbidden. Grant it."),
        (
            answer("InvalidAccessKeyId", 403, "The key AKIAEXAMPLE does not exist"),
            AccessDenied,
            "S3 refuses the AWS credentials: InvalidAccessKeyId. Give it a login.",
        ),
        (answer("ExpiredToken", 400, "expired"), ServiceUnavailable, "S3 answers ExpiredToken: expired. Start it."),
        (answer("BadDigest", 400), ServiceUnavailable, "S3 answers BadDigest. Start it."),
        (answer("IncompleteBody", 400), ServiceUnavailable, "S3 answers IncompleteBody. Start it."),
        (answer("400", 400, "Bad Request"), ServiceUnavailable, "S3 answers 400: Bad Request. Start it."),
        (answer("SlowDown", 503), ServiceUnavailable, "S3 answers SlowDown. Start it."),
        (answer("ThrottlingException", 400), ServiceUnavailable, "S3 answers ThrottlingException. Start it."),
        (answer("InternalError", 500), ServiceUnavailable, "S3 answers InternalError. Start it."),
        (answer("ConditionalRequestConflict", 409), ServiceUnavailable, "S3 answers ConditionalRequestConflict. Wait."),
        (answer("NoSuchBucket", 404), ObjectNotFound, "S3 does not exist: NoSuchBucket. Create it."),
        (
            answer("PermanentRedirect", 301, "Use the bucket's endpoint"),
            ConfigurationError,
            "S3 refuses the request for good: PermanentRedirect: Use the bucket's endpoint. Correct it.",
        ),
        (
            answer("AuthorizationHeaderMalformed", 400, "wrong region"),
            ConfigurationError,
            "S3 refuses the request for good: AuthorizationHeaderMalformed: wrong region. Correct it.",
        ),
        (
            boto.NoCredentialsError(),
            CredentialsMissing,
            "S3: there are no AWS credentials (NoCredentialsError). Give it a login.",
        ),
        (
            boto.CredentialRetrievalError(provider="custom-process", error_msg="assumed with s3cr3t"),
            CredentialsMissing,
            "S3: there are no AWS credentials (CredentialRetrievalError). Give it a login.",
        ),
        (
            boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            AccessDenied,
            "S3: the AWS credentials are incomplete (PartialCredentialsError). Give it a login.",
        ),
        (
            boto.EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
            ServiceUnavailable,
            "S3 does not answer: EndpointConnectionError. Start it.",
        ),
        (
            boto.ReadTimeoutError(endpoint_url="http://127.0.0.1:1"),
            ServiceUnavailable,
            "S3 does not answer: ReadTimeoutError. Start it.",
        ),
        (
            boto.ParamValidationError(report="Invalid bucket name\nInvalid key"),
            ConfigurationError,
            "the client does not send the request to S3: Invalid bucket name; Invalid key. Correct it.",
        ),
    ],
)
def test_an_error_of_aws(error: boto.ClientError | boto.BotoCoreError, kind: type[LakeferryError], text: str) -> None:
    with pytest.raises(LakeferryError) as caught, translated("S3", FIXES):
        raise error
    assert type(caught.value) is kind
    assert str(caught.value) == text
    assert caught.value.__cause__ is None


def test_the_request_that_aws_quotes_is_not_shown() -> None:
    token = "IQoJb3JpZ2luX2VjEN//////////wEaDmFwLW5vcnRo"
    error = answer("AccessDenied", 403, f"Access Denied\n\nPOST\nx-amz-security-token:{token}")
    assert str(lakeferry_error("S3", error, FIXES)) == "S3 refuses: AccessDenied: Access Denied. Grant it."


def ask_lake() -> None:
    open_documents("s3://lake/prefix").find("a")


def ask_source() -> None:
    access = Access.of(Connection.parse("files", "aws://"))
    with access.translated("b"):
        access.client().list_objects_v2(Bucket="b")


def ask_secret() -> None:
    find_connection("nobody")


@pytest.mark.parametrize("ask", [ask_lake, ask_source, ask_secret])
def test_a_machine_without_credentials(ask: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each place that calls AWS reports that there are no credentials, and may be asked again: a machine's metadata
    service may have been late."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("LAKEFERRY_SECRETS", "secrets_manager")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    with pytest.raises(CredentialsMissing, match=r"there are no AWS credentials \(NoCredentialsError\)") as caught:
        ask()
    assert caught.value.recovery == "retry"


def test_a_secret_that_is_refused_stops_the_whole_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing:
        def get_secret_value(self, **_: str) -> None:
            raise answer("AccessDeniedException", 400, "not authorized", "GetSecretValue")

    monkeypatch.setenv("LAKEFERRY_SECRETS", "secrets_manager")
    monkeypatch.setattr("boto3.client", lambda *_, **__: Refusing())
    with pytest.raises(AccessDenied, match="secretsmanager:GetSecretValue") as caught:
        find_connection("nobody")
    assert caught.value.is_of_all_datasets
