"""Errors of Google's clients as errors of Lakeferry. Each place that calls Google adds only its name and its fixes.

Status codes and reasons: "Error messages" in BigQuery's documentation, and "HTTP status and error codes for JSON" in
that of Cloud Storage.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from connectors.bigquery.credentials import Identity
from connectors.errors import AccessDenied, CredentialsMissing, LakeferryError, ObjectNotFound, ServiceUnavailable

TRANSPORT_ERRORS = (requests.exceptions.RequestException, ConnectionError, auth.TransportError, api.RetryError)
API_ERRORS = (api.GoogleAPICallError, *TRANSPORT_ERRORS)
CLIENT_ERRORS = (*API_ERRORS, auth.GoogleAuthError)
"""All that Google's clients raise about a call."""

_BUSY = {"rateLimitExceeded", "quotaExceeded", "backendError", "internalError", "jobRateLimitExceeded"}
_REFUSED_EXCHANGE = re.compile("Error code (?:invalid_|unauthorized_|unsupported_|access_denied)")
_MOST_CHARACTERS = 600
_QUERY = re.compile(r"(https?://[^\s?]+)[?]\S+")
"""An address with parameters. The `upload_id` of an upload is as good as a key."""


@dataclass(frozen=True)
class GoogleFixes:
    """What a person can do at one place about each kind of error, as imperative sentences. `endpoint` is the address
    that an unreachable service is looked for at, and `setting` the name that a refused request is about."""

    rights: str
    unreachable: str = "Check the network, then run again"
    missing: str | None = None
    endpoint: str | None = None
    setting: str | None = None


def lakeferry_error(
    place: str,
    error: Exception,
    identity: Identity,
    fixes: GoogleFixes,
    *,
    refused: type[LakeferryError],
) -> LakeferryError:
    """Return the error that says what a person should do.

    Args:
        place: what is asked, as a person would name it: the beginning of the error's text.
        error: one of `CLIENT_ERRORS`.
        identity: whose credentials the client has.
        refused: the class for a request that would be refused again.
    """
    if isinstance(error, auth.RefreshError) and (error.retryable or isinstance(error.__cause__, auth.TransportError)):
        return ServiceUnavailable(f"{place}: the service that renews its credentials does not answer", fix="Run again")
    if isinstance(error, auth.DefaultCredentialsError) and not _is_of_file(error):
        # Also where the metadata server of a machine with a service account does not answer in time.
        return CredentialsMissing(f"{place} has no usable credentials", fix=_fix_credentials(identity))
    if isinstance(error, auth.DefaultCredentialsError | auth.RefreshError) or _refuses_exchange(error):
        return AccessDenied(f"{place} has no usable credentials", fix=_fix_credentials(identity))
    error = cause_of(error)
    if not isinstance(error, api.GoogleAPICallError):
        name = type(getattr(error, "cause", None) or error).__name__
        return ServiceUnavailable(f"{place} does not answer: {name}", where=fixes.endpoint, fix=fixes.unreachable)
    code = error.code or 0
    if code in (408, 429) or code >= 500 or reasons_of(error) & _BUSY:
        return ServiceUnavailable(f"{place} answers {int(code)}: {message_of(error)}", fix="Run again later")
    if code in (401, 403):
        return AccessDenied(f"{place} refuses: {message_of(error)}", fix=fixes.rights)
    if code == 404:
        return ObjectNotFound(f"{place}: {message_of(error)}", fix=fixes.missing)
    return refused(f"{place} refuses: {message_of(error)}", where=fixes.setting)


def cause_of(error: Exception) -> Exception:
    """Return the answer that the client tried again until its time was up; of another error the error itself."""
    if isinstance(error, api.RetryError) and isinstance(error.cause, api.GoogleAPICallError):
        return error.cause
    return error


def reasons_of(error: api.GoogleAPICallError) -> set[str]:
    """Return Google's words for why, such as `rateLimitExceeded`."""
    return {str(item.get("reason")) for item in error.errors if isinstance(item, dict)}


def message_of(error: api.GoogleAPICallError) -> str:
    """Return the service's text, in one line of at most 600 characters, without parameters of addresses."""
    first = next((item for item in error.errors if isinstance(item, dict) and item.get("message")), None)
    text = str(first["message"]) if first else _body_of(error) or str(error.message)
    return _QUERY.sub(r"\1", " ".join(text.split()))[:_MOST_CHARACTERS].rstrip(". ")


def _body_of(error: api.GoogleAPICallError) -> str | None:
    """Return the message of the answer's body: for a failed upload the client reports only address and status."""
    try:
        return str(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _is_of_file(error: auth.DefaultCredentialsError) -> bool:
    """Whether a file of credentials that somebody named is missing or cannot be read."""
    return isinstance(error, auth.MalformedError) or "GOOGLE_APPLICATION_CREDENTIALS" in os.environ


def _refuses_exchange(error: Exception) -> bool:
    """Whether Google's token service judged the request for a token, and did not only fail at it (RFC 6749, section
    5.2, and RFC 8693, section 2.2.2)."""
    return isinstance(error, auth.OAuthError) and _REFUSED_EXCHANGE.match(str(error.args[0])) is not None


def _fix_credentials(identity: Identity) -> str:
    if identity.federation:
        return (
            f"See that this process has an AWS role and that {identity.federation} takes it "
            "(LAKEFERRY_WAREHOUSE_FEDERATION)"
        )
    return "Run gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS"
