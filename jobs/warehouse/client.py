"""The warehouse and its bucket as the settings name them."""

from __future__ import annotations

from connectors.bigquery.bucket import Bucket, BucketAddress
from connectors.bigquery.client import Address, Warehouse
from connectors.bigquery.credentials import Identity
from jobs.runtime.settings import Settings


def open_warehouse(settings: Settings) -> Warehouse:
    """The warehouse of the settings; nothing is contacted yet. `ping()` tries it."""
    return Warehouse(
        Address(
            project=settings.warehouse_project,
            location=settings.warehouse_location,
            ledger_dataset=settings.warehouse_ledger_dataset,
            endpoint=settings.warehouse_endpoint,
            kms_key=settings.warehouse_kms_key,
            identity=_identity(settings),
        )
    )


def open_bucket(settings: Settings) -> Bucket | None:
    """The bucket loads go through, or None where files go to BigQuery directly; nothing is contacted yet."""
    if not settings.warehouse_bucket:
        return None
    return Bucket(
        BucketAddress(
            url=settings.warehouse_bucket,
            project=settings.warehouse_project,
            endpoint=settings.warehouse_bucket_endpoint or None,
            identity=_identity(settings),
        )
    )


def _identity(settings: Settings) -> Identity:
    return Identity(
        federation=settings.warehouse_federation,
        impersonate=settings.warehouse_impersonate,
        quota_project=settings.warehouse_quota_project,
    )
