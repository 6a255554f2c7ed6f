"""The warehouse as the settings name it."""

from __future__ import annotations

from connectors.bigquery.client import Address, Warehouse
from jobs.settings import Settings


def open_warehouse(settings: Settings) -> Warehouse:
    """The warehouse of the settings; nothing is contacted yet. `ping()` tries it."""
    return Warehouse(
        Address(
            project=settings.warehouse_project,
            location=settings.warehouse_location,
            ledger_dataset=settings.warehouse_ledger_dataset,
            endpoint=settings.warehouse_endpoint,
            quota_project=settings.warehouse_quota_project,
            kms_key=settings.warehouse_kms_key,
            impersonate=settings.warehouse_impersonate,
        )
    )
