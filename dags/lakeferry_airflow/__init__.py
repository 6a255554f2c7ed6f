"""What turns pipelines into Airflow DAGs. The only part of Lakeferry that imports Airflow."""

from __future__ import annotations

from importlib.util import find_spec

from connectors.optional import missing

# Not imported here: some modules need no Airflow, and some processes count the milliseconds.
if find_spec("airflow") is None:
    raise missing("airflow")
