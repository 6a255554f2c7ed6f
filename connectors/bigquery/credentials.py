"""Whose credentials BigQuery and its bucket are asked with: Application Default ones, of this machine or federated, or
those of a service account they may act as."""

from __future__ import annotations

from typing import Any

import google.auth
from google.auth import external_account, impersonated_credentials
from google.auth.credentials import AnonymousCredentials, CredentialsWithQuotaProject

BIGQUERY = "https://www.googleapis.com/auth/bigquery"
STORAGE = "https://www.googleapis.com/auth/devstorage.read_write"
_TO_IMPERSONATE = ("https://www.googleapis.com/auth/cloud-platform",)


def open_credentials(
    *, anonymous: bool, impersonate: str | None, quota_project: str | None, scope: str = BIGQUERY
) -> Any:
    """The credentials; no token is fetched yet.

    Args:
        anonymous: none at all, for an emulator.
        impersonate: e-mail address of a service account, which the machine's own credentials may act as ("Use service
            account impersonation" in Google Cloud's documentation); they need roles/iam.serviceAccountTokenCreator.
        quota_project: project whose quota is used and which is billed for API calls.
        scope: what the token is good for.

    Raises:
        google.auth.exceptions.GoogleAuthError: there are none, or a file cannot be read.
    """
    if anonymous:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    found: Any = google.auth.default(scopes=_TO_IMPERSONATE if impersonate else (scope,))[0]
    if impersonate:
        found = impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
            source_credentials=found, target_principal=impersonate, target_scopes=[scope]
        )
    if quota_project and isinstance(found, CredentialsWithQuotaProject):
        found = found.with_quota_project(quota_project)  # type: ignore[no-untyped-call]
    return found


def kind_of(credentials: Any) -> str:
    """What kind of credentials these are, for people; nothing secret."""
    if isinstance(credentials, AnonymousCredentials):
        return "no credentials"
    if isinstance(credentials, impersonated_credentials.Credentials):
        source = kind_of(credentials._source_credentials)
        return f"service account {credentials.service_account_email}, acted as by {source}"
    if isinstance(credentials, external_account.Credentials):
        return "workload identity federation"
    email = getattr(credentials, "service_account_email", None)
    if email:
        return "the machine's service account" if email == "default" else f"service account {email}"
    return "a user's credentials" if hasattr(credentials, "refresh_token") else type(credentials).__module__
