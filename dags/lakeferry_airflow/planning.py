"""Runs `jobs/plan.py` for an Airflow run: the first time, and again where another run came first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException

from connectors.credentials_in_text import without_credentials
from jobs.launch.child_environment import inherited
from jobs.launch.commands import plan_command, plan_environment
from jobs.runs.run_request import Invocation
from lakeferry_airflow.child import run_child
from lakeferry_airflow.connections import connection_variables
from lakeferry_airflow.messages import by_exit_code
from lakeferry_airflow.windows import Request, requested

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from jobs.runtime.settings import Settings
    from lakeferry_airflow.ends import EndRequest
    from lakeferry_airflow.runners import PassLine

_NOT_KNOWN = Invocation()


class Planning:
    """Plans runs of one pipeline. `connections` are the ids of those it needs; `end` is whether its task is to end;
    `folders` are the variables that name the folders of this version's YAML (`bundle.folder_variables`)."""

    def __init__(
        self,
        pipeline: str,
        datasets: Sequence[str],
        connections: Sequence[str],
        end: EndRequest,
        folders: Mapping[str, str] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self._folders = dict(folders or {})
        self.datasets = tuple(datasets)
        self.connections = tuple(connections)
        self._end = end

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

    def plan_run(self, context: Context, settings: Settings, pass_line: PassLine, moved_only: bool = False) -> str:
        """Plan what the run asks for; see `plan`.

        Raises:
            UsageError: the params or the conf make no sense, see `request`.
        """
        request, logical_date = self.request(context), context["dag_run"].logical_date
        if request.start is None and request.end is None and logical_date is not None:
            pass_line(
                f"The logical date {logical_date.isoformat()} is not a window: this run starts at the published "
                "position. To move a past window, trigger with start and end."
            )
        return self.plan(context["run_id"], request, settings, pass_line, invocation_of(context), moved_only)

    def plan(
        self,
        run_id: str,
        request: Request,
        settings: Settings,
        pass_line: PassLine,
        invocation: Invocation = _NOT_KNOWN,
        moved_only: bool = False,
    ) -> str:
        """Plan, or find the plan that is there; the plan's address, though some of its datasets may have failed.

        Args:
            moved_only: see `jobs.stages.plan.planner.make_plan`.

        Raises:
            AirflowException: there is no plan, with the last line that was said, which names the fix; or the task was
                asked to end.
        """
        command = plan_command(
            self.pipeline,
            run_id,
            start=request.start,
            end=request.end,
            datasets=request.datasets,
            clear_number=invocation.clear_number,
            started_at=invocation.started_at,
            **({"moved_only": True} if moved_only else {}),
        )
        environment = inherited(settings) | plan_environment(settings) | connection_variables(self.connections)
        environment |= self._folders
        lines: list[str] = []

        def said(line: str) -> None:
            # A library may print a request that it signed.
            line = without_credentials(line)
            pass_line(line)
            lines.append(line.strip())

        code = run_child(command, environment, said, self._look)
        uri = next((line for line in reversed(lines) if line.startswith(settings.lake.rstrip("/") + "/")), "")
        last = next((line for line in reversed(lines) if line), "")
        if uri:
            return uri
        if code != 0:
            raise by_exit_code(code, f"planning ended with exit code {code}: {last}")
        raise AirflowException(f"pipeline {self.pipeline}: planning succeeded and named no plan")

    def _look(self) -> None:
        # Nothing adopts a child that plans: it ends with the task, and the next try plans again.
        self._end.obey(f"pipeline {self.pipeline}: planning was stopped, as Airflow ended the task")


def invocation_of(context: Context) -> Invocation:
    """Which invocation of the run this is; retries of a task are the same one."""
    run = context["dag_run"]
    return Invocation(
        clear_number=run.clear_number, started_at=run.start_date.isoformat() if run.start_date is not None else None
    )
