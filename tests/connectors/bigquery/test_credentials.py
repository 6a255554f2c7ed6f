"""Whose credentials are used: the requests that are sent for a token, as Google documents them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from google.auth import aws

from connectors.bigquery.credentials import STORAGE, Identity, kind_of, open_credentials

ACCOUNT = "ferry@p.iam.gserviceaccount.com"
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/aws/providers/emr"


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

    credentials = open_credentials(Identity(impersonate=ACCOUNT, quota_project="paying"))
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
    credentials = open_credentials(Identity())
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
    credentials = open_credentials(Identity())
    assert kind_of(credentials) == "workload identity federation"


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a container finds on AWS: an address that answers with its role's credentials, and a region."""

    class Role(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {
                "AccessKeyId": "AKROLE",
                "SecretAccessKey": "s3cret",
                "Token": "session",
                "Expiration": "2099-01-01T00:00:00Z",
            }
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-northeast-1")
    with HTTPServer(("127.0.0.1", 0), Role) as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_port}/role")
        Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


@pytest.mark.services
@pytest.mark.usefixtures("container")
def test_a_container_on_aws_exchanges_the_credentials_of_its_role() -> None:
    sent: list[tuple[str, Any]] = []

    def transport(url: str, method: str = "GET", body: Any = None, headers: Any = None, **_: Any) -> Any:
        sent.append((url, body))
        token = {
            "access_token": "federated",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "expires_in": 3600,
            "token_type": "Bearer",
        }
        return SimpleNamespace(status=200, headers={}, data=json.dumps(token).encode())

    credentials = open_credentials(Identity(federation=AUDIENCE, quota_project="paying"), STORAGE)
    credentials.refresh(transport)
    headers: dict[str, str] = {}
    credentials.apply(headers)

    assert (headers["authorization"], headers["x-goog-user-project"]) == ("Bearer federated", "paying")
    assert kind_of(credentials) == "workload identity federation"
    ((url, body),) = sent
    assert url == "https://sts.googleapis.com/v1/token"
    asked = {key: value for key, (value,) in parse_qs(body.decode()).items()}
    assert (asked["audience"], asked["scope"]) == (AUDIENCE, STORAGE)
    assert asked["subject_token_type"] == "urn:ietf:params:aws:token-type:aws4_request"
    # What Google hands on to AWS, which says whose signature it is: no secret is in it.
    question = json.loads(unquote(asked["subject_token"]))
    assert question["url"].startswith("https://sts.ap-northeast-1.amazonaws.com?Action=GetCallerIdentity")
    signed = {header["key"]: header["value"] for header in question["headers"]}
    assert signed["x-goog-cloud-target-resource"] == AUDIENCE
    assert signed["x-amz-security-token"] == "session"
    assert "AKROLE/" in signed["Authorization"]
    assert "s3cret" not in asked["subject_token"]


@pytest.mark.usefixtures("user")
def test_an_emulator_gets_none() -> None:
    assert kind_of(open_credentials(None)) == "no credentials"
