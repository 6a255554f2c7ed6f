"""A notifier that writes what it hears into a file: a real Airflow imports it by its path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier


class FileNotifier(BaseNotifier):
    """Appends a line of JSON: who called it, and the run it was called for."""

    def __init__(self, path: str, context: Any = None) -> None:
        super().__init__(context=context)
        self.path = path

    def notify(self, context: Any) -> None:
        run = context["dag_run"]
        self._append("run", run.dag_id, run.run_id)

    async def async_notify(self, context: Any) -> None:
        # The triggerer has the run as the API shows it.
        run = context["dag_run"]
        self._append("deadline", run["dag_id"], run["dag_run_id"])

    def _append(self, caller: str, dag_id: str, run_id: str) -> None:
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(json.dumps([caller, dag_id, run_id]) + "\n")
