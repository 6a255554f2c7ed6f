"""The assets of a dataset: its table in the lake, and that in BigQuery."""

from __future__ import annotations

from airflow.sdk import Asset, AssetAlias

MOST_TASKS = 50
"""Datasets of a pipeline that have a task each. Those of a larger one emit through the pipeline's alias."""


def lake_asset(dataset: str) -> Asset:
    """The asset of a dataset in the lake: what derived pipelines are scheduled after."""
    return Asset(name=f"lake.{dataset}", uri=f"x-lakeferry://lake/{dataset}", group="lake")


def warehouse_asset(project: str, table: str) -> Asset:
    """The asset of a BigQuery table `dataset.name`."""
    dataset, name = table.split(".")
    return Asset(name=f"bigquery.{table}", uri=f"bigquery://{project}/{dataset}/{name}", group="bigquery")


def pipeline_alias(pipeline: str) -> AssetAlias:
    """What the events of a pipeline of many datasets go through."""
    return AssetAlias(name=f"lakeferry.{pipeline}", group="lakeferry")
