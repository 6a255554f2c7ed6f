"""The assets of a dataset: its table in the lake, and that in BigQuery.

The setting `asset_prefix` keeps the assets of two lakes in one Airflow apart. Airflow knows one asset by each name, and
one by each URI: of two that share one of them, the second stays inactive, and tasks that emit it fail
(`activate_assets_if_possible` in airflow/dag_processing/collection.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Asset, AssetAlias

if TYPE_CHECKING:
    from jobs.runtime.settings import Settings

MOST_TASKS = 50
"""Datasets of a pipeline that have a task each. Those of a larger one emit through the pipeline's alias."""


def lake_asset(dataset: str, settings: Settings) -> Asset:
    """The asset of a dataset in the lake: what derived pipelines are scheduled after."""
    prefix = settings.asset_prefix
    return Asset(name=f"{prefix}lake.{dataset}", uri=f"x-lakeferry://lake/{prefix}{dataset}", group="lake")


def warehouse_asset(table: str, settings: Settings) -> Asset:
    """The asset of a BigQuery table `dataset.name`."""
    dataset, name = table.split(".")
    return Asset(
        name=f"{settings.asset_prefix}bigquery.{table}",
        uri=f"bigquery://{settings.warehouse_project}/{dataset}/{name}",
        group="bigquery",
    )


def pipeline_alias(pipeline: str, settings: Settings) -> AssetAlias:
    """What the events of a pipeline of many datasets go through."""
    return AssetAlias(name=f"{settings.asset_prefix}lakeferry.{pipeline}", group="lakeferry")
