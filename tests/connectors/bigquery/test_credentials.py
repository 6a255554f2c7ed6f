"""Whose credentials are used: the requests that are sent for a token, as Google documents them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.auth import aws

from connectors.bigquery.credentials import kind_of, open_credentials

ACCOUNT = "ferry@p.iam.gserviceaccount.com"


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Application Default Credentials as gcloud writes them."""
    path = tmp_path / "credentials.json"
    found = {"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}
    path.write_text(json.dumps(found))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))


@pytest.mark.usefixtures("user")
def test_a_service_account_is_acted_as_with_the_scope_of_bigquery_only() -> None:
    sent: list[tuple[str, Any]] = []

    def transport(url: str, method: str = "GET", body: Any = None, headers: Any = None, **_: Any) -> Any:
        sent.append((url, body))
        token = {"access_token": "own", "expires_in": 3600, "token_type": "Bearer"}
        acted = {"accessToken": "acted", "expireTime": "2099-01-01T00:00:00Z"}
        answer = acted if "iamcredentials" in url else token
        return SimpleNamespace(status=200, headers={}, data=json.dumps(answer).encode())

    credentials = open_credentials(anonymous=False, impersonate=ACCOUNT, quota_project="paying")
    credentials.refresh(transport)
    headers: dict[str, str] = {}
    credentials.apply(headers)

    url, body = sent[-1]
    assert url.endswith(f"/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken")
    assert json.loads(body)["scope"] == ["https://www.googleapis.com/auth/bigquery"]
    assert (headers["authorization"], headers["x-goog-user-project"]) == ("Bearer acted", "paying")
    assert kind_of(credentials) == f"service account {ACCOUNT}, acted as by a user's credentials"


@pytest.mark.usefixtures("user")
def test_credentials_of_the_machine_are_used_as_they_are() -> None:
    credentials = open_credentials(anonymous=False, impersonate=None, quota_project=None)
    assert (kind_of(credentials), credentials.quota_project_id) == ("a user's credentials", None)


def test_federated_credentials_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "aws.json"
    path.write_text(
        json.dumps(
            {
                "type": "external_account",
                "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/a/providers/b",
                "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
                "token_url": "https://sts.googleapis.com/v1/token",
                "credential_source": {
                    "environment_id": "aws1",
                    "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity",
                },
            }
        )
    )
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    # Google's library asks its servers for the project, which the settings name.
    monkeypatch.setattr(aws.Credentials, "get_project_id", lambda *_, **__: "p")
    credentials = open_credentials(anonymous=False, impersonate=None, quota_project=None)
    assert kind_of(credentials) == "workload identity federation"


@pytest.mark.usefixtures("user")
def test_an_emulator_gets_none() -> None:
    assert kind_of(open_credentials(anonymous=True, impersonate=ACCOUNT, quota_project="x")) == "no credentials"
