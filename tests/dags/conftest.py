"""Airflow's own settings for the tests: a home of their own, before Airflow is first imported."""

from __future__ import annotations

import os
import tempfile

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="lakeferry-airflow-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
