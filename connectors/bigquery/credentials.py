"""Whose credentials BigQuery and its bucket are asked with: Application Default ones, those of an AWS role through
workload identity federation, or those of a service account either may act as."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import google.auth
from google.auth import aws, external_account, impersonated_credentials
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials, CredentialsWithQuotaProject

BIGQUERY = "https://www.googleapis.com/auth/bigquery"
STORAGE = "https://www.googleapis.com/auth/devstorage.read_write"
_TO_IMPERSONATE = "https://www.googleapis.com/auth/cloud-platform"
_SIGNED_BY_AWS = "urn:ietf:params:aws:token-type:aws4_request"


@dataclass(frozen=True)
class Identity:
    """Who asks. Without any of these: the Application Default Credentials, as they are.

    Attributes:
        federation: the audience of a workload identity pool's provider for AWS
            (`//iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER`),
            which takes the AWS credentials this process has, wherever boto3 finds them.
        impersonate: e-mail address of a service account to act as ("Use service account impersonation" in Google
            Cloud's documentation); the caller needs roles/iam.serviceAccountTokenCreator on it.
        quota_project: project whose quota is used and which is billed for API calls.
    """

    federation: str | None = None
    impersonate: str | None = None
    quota_project: str | None = None


OWN = Identity()


def open_credentials(identity: Identity | None, scope: str = BIGQUERY) -> Any:
    """The credentials; no token is fetched yet.

    Args:
        identity: None: nobody's, for an emulator.
        scope: what the token is good for.

    Raises:
        google.auth.exceptions.GoogleAuthError: credentials are missing, or a file cannot be read.
    """
    if identity is None:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    scopes = [_TO_IMPERSONATE if identity.impersonate else scope]
    credentials: Any
    if identity.federation:
        credentials = aws.Credentials(  # type: ignore[no-untyped-call]
            audience=identity.federation,
            subject_token_type=_SIGNED_BY_AWS,
            aws_security_credentials_supplier=_Boto(),
            scopes=scopes,
        )
    else:
        credentials = google.auth.default(scopes=scopes)[0]
    if identity.impersonate:
        credentials = impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
            source_credentials=credentials, target_principal=identity.impersonate, target_scopes=[scope]
        )
    if identity.quota_project and isinstance(credentials, CredentialsWithQuotaProject):
        credentials = credentials.with_quota_project(identity.quota_project)  # type: ignore[no-untyped-call]
    return credentials


class _Boto(aws.AwsSecurityCredentialsSupplier):
    """The AWS credentials as boto3 finds and renews them: Google's library knows EC2 and the environment's variables,
    not what containers, EMR Serverless and MWAA among them, are given."""

    @cached_property
    def _session(self) -> Any:
        import boto3

        return boto3.Session()

    def get_aws_security_credentials(self, context: Any, request: Any) -> aws.AwsSecurityCredentials:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            credentials = self._session.get_credentials()
            now = credentials.get_frozen_credentials() if credentials is not None else None
        except (BotoCoreError, ClientError) as error:
            raise _late(type(error).__name__) from None
        if now is None:
            raise _late("boto3 has no credentials")
        return aws.AwsSecurityCredentials(now.access_key, now.secret_key, now.token)

    def get_aws_region(self, context: Any, request: Any) -> str:
        # Whichever it is, AWS's token service there knows the role.
        return str(self._session.region_name or "us-east-1")


def _late(why: str) -> auth.RefreshError:
    """Return the error for AWS credentials that cannot be exchanged now: what gives them may be late."""
    return auth.RefreshError(f"no AWS credentials to exchange: {why}", retryable=True)  # type: ignore[no-untyped-call]


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
