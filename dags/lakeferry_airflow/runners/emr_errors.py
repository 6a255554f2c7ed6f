"""Errors of EMR Serverless: which setting a refusal is about, and what an error of StartJobRun proves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from connectors import aws_errors
from connectors.aws_errors import AwsFixes, code_of, may_pass, refuses_credentials, status_of
from connectors.errors import ConfigurationError, LakeferryError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIXES = AwsFixes(
    credentials="Correct the credentials of Airflow's role, or the clock of this machine",
    rights="Check the rights of Airflow's role; see docs/how-to/aws.md",
    state="Start the application or raise the quota, or set another LAKEFERRY_EMR_APPLICATION_ID; then run again",
    refused="Correct what the message names: a LAKEFERRY_EMR_* setting, LAKEFERRY_ARTIFACTS, the application or a role",
)
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
    """Raise what botocore raises as `lakeferry_error`.

    Args:
        where: what is asked, as a person would name it: the beginning of the error's text.
    """
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise lakeferry_error(where, error) from None


def lakeferry_error(where: str, error: BotoCoreError | ClientError) -> LakeferryError:
    """Return the error that says what a person should do: of an invalid request, a SettingError that names the setting;
    else that of `connectors.aws_errors`."""
    translated_error = aws_errors.lakeferry_error(where, error, _FIXES)
    invalid = isinstance(error, ParamValidationError) or (
        isinstance(error, ClientError) and code_of(error) == "ValidationException"
    )
    if not invalid or not isinstance(translated_error, ConfigurationError):
        return translated_error
    problem = translated_error.problem
    for parameter, (variable, fix) in _SETTINGS.items():
        if parameter in problem:
            return SettingError(problem, where=variable, fix=fix)
    return SettingError(
        problem, fix="Correct the LAKEFERRY_EMR_* settings and LAKEFERRY_ARTIFACTS; see docs/how-to/aws.md"
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
    if not isinstance(error, ClientError) or may_pass(error):
        return False
    # The client may have sent it before, too.
    return not (sent_before or error.response["ResponseMetadata"].get("RetryAttempts", 0))


def refuses_request(error: BotoCoreError | ClientError) -> bool:
    """Whether a service refuses the request, and not the credentials it comes with, and may do so each time."""
    if not isinstance(error, ClientError) or may_pass(error):
        return False
    return not refuses_credentials(error) and status_of(error) not in (401, 407)
