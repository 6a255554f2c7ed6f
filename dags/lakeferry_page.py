"""The DAG that draws the status page, in a file of its own: no pipeline's file can keep it from being read."""

from __future__ import annotations

from lakeferry_airflow.status_page import page_dags

globals().update(page_dags(__file__))
