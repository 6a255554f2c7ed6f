"""Where the web UI of Airflow says which pipeline's YAML is broken and why: this DAG file's import error.

Airflow reports import errors by Python file, and a file that raises registers no DAG at all. So the
good pipelines are registered by `lakeferry.py`, and this file registers none and raises for the bad.
"""

from __future__ import annotations

from lakeferry_airflow.registration import refuse_broken_specs

refuse_broken_specs(__file__)
