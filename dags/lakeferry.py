"""The file Airflow parses: one DAG for each pipeline that can be read and has no DAG file of its own.

What cannot be registered is reported by `lakeferry_broken_specs.py`, so that one bad file takes down no other.
"""

from __future__ import annotations

from lakeferry_airflow.registration import dags_to_register

globals().update(dags_to_register(__file__))
