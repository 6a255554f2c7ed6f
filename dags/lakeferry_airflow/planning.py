"""Runs `jobs/plan.py` for an Airflow run: the first time, and again where another run came first."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException

from jobs.child_environment import inherited
from jobs.submit import local_environment, plan_command
from lakeferry_airflow.connections import connection_variables
from lakeferry_airflow.messages import by_exit_code
from lakeferry_airflow.windows import Request, requested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from jobs.settings import Settings
    from lakeferry_airflow.runners import Tell


class Planning:
    """Plans runs of one pipeline. `connections` are the ids of those it needs."""

    def __init__(self, pipeline: str, datasets: Sequence[str], connections: Sequence[str]) -> None:
        self.pipeline = pipeline
        self.datasets = tuple(datasets)
        self.connections = tuple(connections)
        self._child: subprocess.Popen[str] | None = None

    def request(self, context: Context) -> Request:
        """What the run asks for. Only a backfill's interval is a window; see `windows.requested`.

        Raises:
            UsageError: the params or the conf make no sense.
        """
        run = context["dag_run"]
        interval = None
        if run.run_type == "backfill" and run.data_interval_start and run.data_interval_end:
            interval = (run.data_interval_start, run.data_interval_end)
        return requested(self.pipeline, self.datasets, context["params"], run.conf, interval)

    def plan(self, run_id: str, request: Request, settings: Settings, tell: Tell) -> str:
        """Plan, or find the plan that is there; the plan's address, though some of its datasets may have failed.

        Raises:
            AirflowException: there is no plan; with the last line that was said, which names the fix.
        """
        command = plan_command(self.pipeline, run_id, start=request.start, end=request.end, datasets=request.datasets)
        environment = inherited(settings) | local_environment(settings) | connection_variables(self.connections)
        last = uri = ""
        with subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as child:
            self._child = child
            assert child.stdout is not None
            for line in child.stdout:
                tell(line.rstrip("\n"))
                last = line.strip() or last
                if line.startswith(settings.lake.rstrip("/") + "/"):
                    uri = line.strip()
        if uri:
            return uri
        if child.returncode != 0:
            raise by_exit_code(child.returncode, f"planning ended with exit code {child.returncode}: {last}")
        raise AirflowException(f"pipeline {self.pipeline}: planning succeeded and named no plan")

    def stop(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
