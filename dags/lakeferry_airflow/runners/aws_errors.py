"""Errors of AWS clients as errors of Lakeferry, and what an error of StartJobRun proves.

Codes: "Common Errors" in the API Reference of EMR Serverless, "Error responses" in that of S3, and the transient and
throttling errors in "Retry behavior" of the AWS SDKs and Tools Reference Guide.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from connectors.credentials_in_text import first_line
from connectors.errors import (
    AccessDenied,
    ConfigurationError,
    LakeferryError,
    ObjectNotFound,
    ServiceUnavailable,
    SettingError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

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
_ARTIFACTS = (
    "LAKEFERRY_ARTIFACTS",
    "Set it to the s3:// folder that `make package` fills, such as s3://bucket/lakeferry",
)
_SETTINGS = {
    "executionRoleArn": (
        "LAKEFERRY_EMR_JOB_ROLE_ARN",
        "Set it to the ARN of the job's role, such as arn:aws:iam::123456789012:role/lakeferry-job",
    ),
    "applicationId": (
        "LAKEFERRY_EMR_APPLICATION_ID",
        "Set it to the id of an application, letters a-z and digits, such as 00f1example2345",
    ),
    "entryPoint": _ARTIFACTS,
    "logUri": _ARTIFACTS,
    "bucket name": _ARTIFACTS,
}
"""The setting that gives a parameter its value, and the fix, by the words in which a refusal names the parameter."""


@contextmanager
def translated(where: str) -> Iterator[None]:
    """What botocore raises, as Lakeferry's errors.

    Args:
        where: what is asked, as a person would name it: the beginning of the error's text.

    Raises:
        LakeferryError: that of `lakeferry_error`.
    """
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise lakeferry_error(where, error) from None


def lakeferry_error(where: str, error: BotoCoreError | ClientError) -> LakeferryError:
    """The error that says what a person should do.

    Of what AWS says the first line is shown, without credentials: for InvalidSignatureException the lines behind it
    are the request that AWS signed, session token included. Where AWS refuses the credentials themselves, only its code
    is shown.

    Returns:
        A ConfigurationError where the same call would be refused again: SettingError, AccessDenied, ObjectNotFound or
        the class itself. ServiceUnavailable where a later call may succeed without a change of the configuration.
    """
    if isinstance(error, ParamValidationError):
        report = "; ".join(str(error.kwargs["report"]).splitlines())
        return _invalid(f"the client does not send the request to {where}", report)
    if not isinstance(error, ClientError):
        return ServiceUnavailable(f"{where} does not answer: {type(error).__name__}")
    code, status = _code(error), _status(error)
    message = first_line(str(error.response["Error"].get("Message") or "")) or code
    if hinders(error):
        return ServiceUnavailable(
            f"{where} answers {code}: {message}",
            fix="Start the application or raise the quota, or set another LAKEFERRY_EMR_APPLICATION_ID; then run again",
        )
    if _may_pass(error):
        return ServiceUnavailable(f"{where} answers {code}: {message}")
    if code in _BAD_CREDENTIALS:
        return AccessDenied(
            f"{where} refuses the AWS credentials: {code}",
            fix="Correct the credentials of Airflow's role, or the clock of this machine",
        )
    if code in ("AccessDeniedException", "AccessDenied") or status in (401, 403):
        return AccessDenied(f"{where} refuses: {message}", fix="Check the rights of Airflow's role; see docs/aws.md")
    if code in ("ResourceNotFoundException", "NoSuchBucket") or status == 404:
        return ObjectNotFound(f"{where} is not there: {message}")
    if code == "ValidationException":
        return _invalid(f"{where} refuses the job", message)
    return ConfigurationError(
        f"{where} refuses the request for good: {code}: {message}",
        fix="Correct what the message names: a LAKEFERRY_EMR_* setting, LAKEFERRY_ARTIFACTS, the application or a role",
    )


def starts_no_job(error: BotoCoreError | ClientError, sent_before: bool) -> bool:
    """Whether an error of StartJobRun proves that its client token has started no job, and would start none.

    A request that may have arrived before may have a job, no matter why it is refused now. The application may have
    changed its state (409, which a token known with other parameters gets as well). Its own job may use up a quota
    (402). A right, a role, an application or credentials may have been withdrawn since. Nor does a refusal lose the
    request: sent again, once its cause is removed, it is answered with its job.

    Args:
        error: what botocore raised.
        sent_before: whether anybody may have sent the request before this call.
    """
    if isinstance(error, ParamValidationError):
        return True  # The client refuses each time, before it sends anything.
    if not isinstance(error, ClientError) or _may_pass(error):
        return False
    # The client may have sent it before, too.
    return not (sent_before or error.response["ResponseMetadata"].get("RetryAttempts", 0))


def refuses_request(error: BotoCoreError | ClientError) -> bool:
    """Whether a service refuses the request, and not the credentials it comes with, and may do so each time."""
    if not isinstance(error, ClientError) or _may_pass(error):
        return False
    return _code(error) not in _BAD_CREDENTIALS and _status(error) not in (401, 407)


def hinders(error: BotoCoreError | ClientError) -> bool:
    """Whether a service refuses for the state of a resource (409) or a quota (402), and might not at another time."""
    return isinstance(error, ClientError) and not _may_pass(error) and _status(error) in (402, 409)


def _invalid(problem: str, message: str) -> SettingError:
    for parameter, (variable, fix) in _SETTINGS.items():
        if parameter in message:
            return SettingError(f"{problem}: {message}", where=variable, fix=fix)
    return SettingError(
        f"{problem}: {message}", fix="Correct the LAKEFERRY_EMR_* settings and LAKEFERRY_ARTIFACTS; see docs/aws.md"
    )


def _may_pass(error: ClientError) -> bool:
    """Whether the same request may be accepted later, as nobody has judged it."""
    if _code(error) in _THROTTLING | _TIMES_OUT or _status(error) in (408, 425, 429):
        return True
    return not 400 <= _status(error) < 500


def _code(error: ClientError) -> str:
    return str(error.response["Error"].get("Code", "?"))


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
