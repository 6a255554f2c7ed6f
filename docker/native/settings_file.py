"""`.lakeferry/settings.env`, which every command reads, and the passwords it repeats."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from urllib.parse import quote

import aws
import bigquery
from install import jars_name
from places import cache_dir, state_dir, write_private
from ports import HOST, chosen, port

USERS = ("mariadb", "mariadb_root", "tidb", "tidb_root", "mask_key")


def passwords() -> dict[str, str]:
    """A password for each user, and the key of masks, made at random once and kept."""
    path = state_dir() / "passwords.json"
    kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    missing = [user for user in USERS if user not in kept]
    if missing:
        kept |= {user: secrets.token_urlsafe(18) for user in missing}
        write_private(path, json.dumps(kept, indent=1))
    return kept


def catalog() -> Path:
    """The file of the lake's catalog."""
    return state_dir() / "catalog.db"


def values() -> dict[str, str]:
    """The settings of the local services, by variable."""
    password = passwords()
    aws_endpoint = aws.endpoint()
    return {
        "LAKEFERRY_LAKE": "s3://lakeferry-lake",
        "LAKEFERRY_CATALOG": f"sqlite:///{catalog()}",
        "LAKEFERRY_WAREHOUSE_PROJECT": bigquery.PROJECT,
        "LAKEFERRY_WAREHOUSE_ENDPOINT": bigquery.endpoint(),
        "LAKEFERRY_SPARK_PACKAGES_DIR": str(cache_dir() / jars_name()),
        "AIRFLOW_CONN_AURORA_PAYMENTS": (
            f"mysql://lakeferry:{password['mariadb']}@{HOST}:{port('LAKEFERRY_MARIADB_PORT')}/shop"
        ),
        "AIRFLOW_CONN_TIDB_WALLET": f"mysql://lakeferry:{password['tidb']}@{HOST}:{port('LAKEFERRY_TIDB_PORT')}/wallet",
        "AIRFLOW_CONN_KAFKA_EVENTS": f"kafka://{HOST}:{port('LAKEFERRY_KAFKA_PORT')}",
        "AIRFLOW_CONN_S3_LANDING": (
            f"aws://testing:testing@/?region_name=us-east-1&endpoint_url={quote(aws_endpoint, safe='')}"
        ),
        "AIRFLOW_CONN_MASK_KEY": f"generic://:{password['mask_key']}@",
        **aws.ENVIRONMENT,
        "AWS_ENDPOINT_URL_S3": aws_endpoint,
        "AWS_ENDPOINT_URL_EMR_SERVERLESS": aws_endpoint,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws_endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        **chosen(),
    }


def write() -> Path:
    """Write the settings file (mode 600) where it says something else; its path."""
    path = state_dir() / "settings.env"
    text = "# Written by `make up` for the local services; what the environment says goes first.\n"
    text += "".join(f"{key}={value}\n" for key, value in values().items())
    if not path.exists() or path.read_text(encoding="utf-8") != text or path.stat().st_mode & 0o777 != 0o600:
        write_private(path, text)
    return path
