"""The file Airflow parses for pipelines whose YAML sets `access_control`, apart from the others.

Airflow's FAB auth manager looks a role up after it has parsed the file. A role that does not exist is then an import
error of the whole file, and no DAG file can know that beforehand.
"""

from __future__ import annotations

from lakeferry_airflow.registration import dags_to_register

globals().update(dags_to_register(__file__))
