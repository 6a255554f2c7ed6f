"""Errors of AWS clients as errors of Lakeferry. Each place that calls AWS adds only its name and its fixes.

Codes: "Common Errors" in the API Reference of EMR Serverless, "Error responses" in that of S3, and the transient and
throttling errors in "Retry behavior" of the AWS SDKs and Tools Reference Guide.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from connectors.credentials_in_text import first_line
from connectors.errors import (
    AccessDenied,
    ConfigurationError,
    CredentialsMissing,
    LakeferryError,
    ObjectNotFound,
    ServiceUnavailable,
)

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

_THROTTLING = {
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}
_TIMES_OUT = {
    # Temporary credentials are renewed, and clocks set, without a change of Lakeferry's configuration.
    "ExpiredToken",
    "ExpiredTokenException",
    "IDPCommunicationError",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "RequestTimeout",
    "RequestTimeoutException",
    "TokenRefreshRequired",
}
_DAMAGED = {
    # The bytes that arrived are not those that were sent.
    "BadDigest",
    "IncompleteBody",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_NOT_SAID = "400"
"""The answer to a `HEAD` has no body, and its status stands for the code: an expired token is 400, too."""
_BAD_CREDENTIALS = {
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_OTHER_REGION = {"PermanentRedirect", "301"}
"""S3's answers where a bucket is in another region than the client. `HEAD` has no body, and the status is the code."""


@dataclass(frozen=True)
class AwsFixes:
    """What a person can do at one place about each kind of error, as imperative sentences."""

    credentials: str = "Correct the AWS credentials, or the clock of this machine"
    rights: str = "Check the rights of the role; see docs/how-to/aws.md"
    missing: str | None = None
    unavailable: str | None = None
    state: str | None = None
    refused: str = "Correct what the message names"


@contextmanager
def translated(where: str, fixes: AwsFixes) -> Iterator[None]:
    """Raise what botocore raises as an error of Lakeferry.

    Args:
        where: what is asked, as a person would name it: the beginning of the error's text.

    Raises:
        LakeferryError: that of `lakeferry_error`.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise lakeferry_error(where, error, fixes) from None


def lakeferry_error(where: str, error: BotoCoreError | ClientError, fixes: AwsFixes) -> LakeferryError:
    """Return the error that says what a person should do.

    The first line of AWS's message is shown, without credentials: for InvalidSignatureException the lines behind it are
    the request that AWS signed, session token included. Where AWS refuses the credentials themselves, only its code is
    shown.

    Returns:
        A ConfigurationError where the same call would be refused again: AccessDenied, ObjectNotFound or the class
        itself. A ServiceError where a later call may succeed without a change of the configuration.
    """
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError):
        return _of_client(where, error, fixes)
    code, status = code_of(error), status_of(error)
    # Where an answer has no body, botocore says "Forbidden" or "Not Found", or nothing.
    text = first_line(str(error.response["Error"].get("Message") or ""))
    message = f"{code}: {text}" if text and text != code else code
    if is_of_state(error):
        return ServiceUnavailable(f"{where} answers {message}", fix=fixes.state or fixes.unavailable)
    if may_pass(error):
        return ServiceUnavailable(f"{where} answers {message}", fix=fixes.unavailable)
    if refuses_credentials(error):
        return AccessDenied(f"{where} refuses the AWS credentials: {code}", fix=fixes.credentials)
    if code in ("AccessDeniedException", "AccessDenied") or status in (401, 403):
        return AccessDenied(f"{where} refuses: {message}", fix=fixes.rights)
    if code in ("ResourceNotFoundException", "NoSuchBucket") or status == 404:
        return ObjectNotFound(f"{where} does not exist: {message}", fix=fixes.missing)
    return ConfigurationError(f"{where} refuses the request for good: {message}", fix=fixes.refused)


def _of_client(where: str, error: BotoCoreError, fixes: AwsFixes) -> LakeferryError:
    """Return the error for what botocore raises without an answer of AWS."""
    from botocore import exceptions as boto

    name = type(error).__name__
    # botocore says NoCredentialsError also where the metadata service of a machine with a role does not answer in time.
    # The words of other programs, such as a credential process, are not repeated.
    if isinstance(error, boto.NoCredentialsError | boto.CredentialRetrievalError | boto.MetadataRetrievalError):
        return CredentialsMissing(f"{where}: there are no AWS credentials ({name})", fix=fixes.credentials)
    if isinstance(error, boto.PartialCredentialsError):
        return AccessDenied(f"{where}: the AWS credentials are incomplete ({name})", fix=fixes.credentials)
    if isinstance(error, boto.ConnectionError | boto.HTTPClientError | boto.ConnectionClosedError):
        return ServiceUnavailable(f"{where} does not answer: {name}", fix=fixes.unavailable)
    if isinstance(
        error, boto.ParamValidationError | boto.NoRegionError | boto.ProfileNotFound | boto.InvalidRegionError
    ):
        # Several lines, one per parameter; the first says that there are some.
        text = str(error.kwargs["report"]) if isinstance(error, boto.ParamValidationError) else str(error)
        return ConfigurationError(
            f"the client does not send the request to {where}: {'; '.join(text.splitlines()).rstrip('.')}",
            fix=fixes.refused,
        )
    return ServiceUnavailable(f"{where} does not answer: {name}", fix=fixes.unavailable)


def may_pass(error: ClientError) -> bool:
    """Whether the same request may be accepted later, as nobody has judged it."""
    if code_of(error) in _OTHER_REGION:
        return False
    if code_of(error) in _THROTTLING | _TIMES_OUT | _DAMAGED | {_NOT_SAID} or status_of(error) in (408, 425, 429):
        return True
    return not 400 <= status_of(error) < 500


def is_of_state(error: ClientError) -> bool:
    """Whether a service refuses for the state of a resource (409) or a quota (402), and might not at another time."""
    return not may_pass(error) and status_of(error) in (402, 409)


def refuses_credentials(error: ClientError) -> bool:
    """Whether a service refuses the credentials themselves, and has not judged the request."""
    return code_of(error) in _BAD_CREDENTIALS


def code_of(error: ClientError) -> str:
    """Return AWS's code, such as `AccessDenied`."""
    return str(error.response["Error"].get("Code", "?"))


def status_of(error: ClientError) -> int:
    """Return the HTTP status."""
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
