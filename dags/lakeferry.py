"""The file Airflow parses: one DAG for each pipeline that can be read.

What cannot be read is reported by `lakeferry_broken_specs.py`, so that one bad file takes down no other.
"""

from __future__ import annotations

from lakeferry_airflow.registration import dags_to_register

globals().update(dags_to_register())
